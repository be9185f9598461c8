//! Extended headers: records `27 path=some/long/name` about the entry that follows.

use std::collections::HashSet;

use crate::inspect::limits::Flaw;

/// The records that matter here.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The real name of a sparse file.
    pub(super) sparse_name: Option<Vec<u8>>,
    /// Whether the file's bytes are parts of it only.
    pub(super) is_sparse: bool,
}

impl Pax {
    pub(super) fn read(mut records: &[u8]) -> Result<Pax, Flaw> {
        let mut pax = Pax::default();
        let mut seen = HashSet::new();
        while !records.is_empty() {
            let Some((key, value, rest)) = record(records) else {
                return Err(Flaw::new("an extended header in it is damaged"));
            };
            // Parts of a sparse file's map stand one behind the other under the same keys.
            let may_repeat = key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes";
            if !seen.insert(key) && !may_repeat {
                return Err(Flaw::new("an extended header in it says something twice"));
            }
            let name = || match value {
                [] => Err(Flaw::new("an extended header in it has an empty name")),
                name if name.contains(&0) => Err(Flaw::new("a name in it has a NUL byte within")),
                name => Ok(Some(name.to_vec())),
            };
            match key {
                b"path" => pax.path = name()?,
                b"linkpath" => pax.link = name()?,
                b"GNU.sparse.name" => pax.sparse_name = name()?,
                b"size" => {
                    pax.size = Some(decimal(value).ok_or_else(|| Flaw::new("an entry in it has an impossible size"))?)
                }
                _ => {}
            }
            pax.is_sparse |= key.starts_with(b"GNU.sparse.");
            records = rest;
        }
        Ok(pax)
    }

    /// What holds for all entries must not be what makes them different.
    pub(super) fn check_global(&self) -> Result<(), Flaw> {
        let is_harmless = self.path.is_none() && self.link.is_none() && self.size.is_none() && !self.is_sparse;
        if is_harmless { Ok(()) } else { Err(Flaw::new("its archive gives one name or size to all entries")) }
    }
}

/// The first record, and what follows it: `LENGTH KEY=VALUE\n`.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().take(8).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&records[..blank])?).ok()?;
    let (record, rest) = records.split_at_checked(len)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse::<u64>().ok().filter(|number| *number <= 1 << 50)
}
