//! Something in a file that is known by how it begins, and whose place is told only behind it.

/// How often it is taken down where it stands.
const MOST_FOUND: usize = 4;

/// What is looked for as a file streams by.
#[derive(Debug)]
pub(super) struct Sought {
    /// Where looking begins.
    from: u64,
    /// The end of what came before, in which it may have begun.
    last: Vec<u8>,
    found: usize,
}

impl Sought {
    pub(super) fn new(from: u64) -> Sought {
        Sought { from, last: Vec::new(), found: 0 }
    }

    /// Takes the bytes that stand at `at`: where it begins in them, and what came of it by now.
    ///
    /// It is a section of ARM's build attributes: a version, the length of what a vendor has to say,
    /// and the name of the vendor ("Build Attributes", "The attributes section").
    pub(super) fn take(&mut self, at: u64, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let skipped = usize::try_from(self.from.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        let joined = [&self.last, &bytes[skipped..]].concat();
        let first = at + skipped as u64 - self.last.len() as u64;
        let mut found = Vec::new();
        for (offset, name) in joined.windows(11).enumerate().filter(|(_, bytes)| bytes[0] == b'A') {
            if name.ends_with(b"aeabi\0") && self.found < MOST_FOUND {
                self.found += 1;
                found.push((first + offset as u64, joined[offset..].to_vec()));
            }
        }
        self.last = joined[joined.len().saturating_sub(10)..].to_vec();
        found
    }
}
