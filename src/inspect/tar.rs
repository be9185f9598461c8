//! Tar archives as they come: POSIX ustar and pax, and what GNU tar adds.
//!
//! IEEE Std 1003.1, "pax Interchange Format" and "ustar Interchange Format"; GNU tar manual, "Basic
//! Tar Format". Readers differ in what they make of a damaged or ambiguous archive, and so what one
//! checks need not be what another unpacks (CVE-2025-62518). Here such an archive is not read.

mod header;
mod pax;

use header::{BLOCK, Header, Kind};
use pax::Pax;

use super::limits::{Flaw, LARGEST_PAX, LONGEST_PATH};

/// One entry, its name without `./` before it or `/` behind it; empty for the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) content: Content,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Directory,
    /// Where it leads, as written.
    Symlink(Vec<u8>),
    /// The entry whose file this is, too.
    Hardlink(Vec<u8>),
    /// Its bytes follow.
    File {
        size: u64,
        is_executable: bool,
    },
    /// A device, a pipe, or a file of which only parts are stored.
    Special,
}

/// Who is told what is in an archive.
pub(super) trait Sink {
    /// An entry begins.
    fn entry(&mut self, entry: Entry) -> Result<(), Flaw>;
    /// Bytes of the file that began last.
    fn bytes(&mut self, bytes: &[u8]);
    /// The file that began last is complete.
    fn end(&mut self) -> Result<(), Flaw>;
}

/// Reads an archive in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    /// A header of which only a part came.
    block: Vec<u8>,
    /// What is known of the next entry before its own header.
    ahead: Ahead,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    /// In the bytes of a file: how many are missing, and how many follow that fill the block.
    File { left: u64, fill: u64 },
    /// In what is passed over.
    Skip { left: u64 },
    /// In what is said of the next entry before it comes.
    Extension { kind: Kind, left: u64, fill: u64, bytes: Vec<u8> },
    /// In the map of a sparse file, behind which these bytes follow.
    SparseMap { behind: u64 },
    /// Behind one block of zeros, where another must follow.
    LastBlock,
    /// At the end; whatever follows is of no interest to any reader.
    End,
}

#[derive(Debug, Default)]
struct Ahead {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Reader {
    /// Takes the next piece.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Flaw> {
        while !bytes.is_empty() {
            bytes = self.step(bytes, sink)?;
        }
        Ok(())
    }

    /// Says that no more comes. An archive may lack its end, but not the end of an entry.
    pub(super) fn finish(&self) -> Result<(), Flaw> {
        let is_between = matches!(self.state, State::Header | State::LastBlock) && self.block.is_empty();
        let has_promised = self.ahead.long_name.is_some() || self.ahead.long_link.is_some() || self.ahead.pax.is_some();
        if matches!(self.state, State::End) || is_between && !has_promised {
            return Ok(());
        }
        Err(Flaw::new("its archive ends in the middle of an entry"))
    }

    fn step<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> Result<&'a [u8], Flaw> {
        match &mut self.state {
            State::End => Ok(&[]),
            State::Skip { left } => {
                let rest = pass(bytes, left);
                if *left == 0 {
                    self.state = State::Header;
                }
                Ok(rest)
            }
            State::File { left, fill } => {
                let (mine, rest) = split(bytes, *left);
                sink.bytes(mine);
                *left -= mine.len() as u64;
                if *left == 0 {
                    let left = *fill;
                    self.skip(left);
                    sink.end()?;
                }
                Ok(rest)
            }
            State::Extension { left, fill, bytes: kept, .. } => {
                let (mine, rest) = split(bytes, *left);
                kept.extend_from_slice(mine);
                *left -= mine.len() as u64;
                if *left == 0 {
                    let fill = *fill;
                    let State::Extension { kind, bytes, .. } = std::mem::take(&mut self.state) else {
                        unreachable!("it is what was matched");
                    };
                    self.ahead.take(kind, &bytes)?;
                    self.skip(fill);
                }
                Ok(rest)
            }
            State::Header | State::LastBlock | State::SparseMap { .. } => {
                if self.block.is_empty()
                    && let Some((block, rest)) = bytes.split_first_chunk::<BLOCK>()
                {
                    self.block(block, sink)?;
                    return Ok(rest);
                }
                let (mine, rest) = split(bytes, (BLOCK - self.block.len()) as u64);
                self.block.extend_from_slice(mine);
                if let Ok(block) = <[u8; BLOCK]>::try_from(self.block.as_slice()) {
                    self.block.clear();
                    self.block(&block, sink)?;
                }
                Ok(rest)
            }
        }
    }

    fn skip(&mut self, left: u64) {
        self.state = if left == 0 { State::Header } else { State::Skip { left } };
    }

    fn block(&mut self, block: &[u8; BLOCK], sink: &mut impl Sink) -> Result<(), Flaw> {
        if let State::SparseMap { behind } = self.state {
            if block[504] == 0 {
                self.skip(behind);
            }
            return Ok(());
        }
        let is_zero = block.iter().all(|byte| *byte == 0);
        match (&self.state, is_zero) {
            (State::LastBlock, true) => self.state = State::End,
            (State::LastBlock, false) => return Err(Flaw::new("its archive goes on behind a block of zeros")),
            (_, true) if self.ahead.is_empty() => self.state = State::LastBlock,
            (_, true) => return Err(Flaw::new("its archive ends where an entry was announced")),
            (_, false) => self.header(&Header::read(block)?, sink)?,
        }
        Ok(())
    }

    fn header(&mut self, header: &Header<'_>, sink: &mut impl Sink) -> Result<(), Flaw> {
        let fill = |size: u64| size.next_multiple_of(BLOCK as u64) - size;
        if let kind @ (Kind::LongName | Kind::LongLink | Kind::Pax | Kind::GlobalPax) = header.kind {
            let most =
                if matches!(kind, Kind::LongName | Kind::LongLink) { LONGEST_PATH as u64 + 1 } else { LARGEST_PAX };
            if header.size > most {
                return Err(Flaw::new(format!("a name or extended header in it has {} bytes", header.size)));
            }
            if header.size == 0 {
                return self.ahead.take(kind, &[]);
            }
            self.state = State::Extension { kind, left: header.size, fill: fill(header.size), bytes: Vec::new() };
            return Ok(());
        }
        let ahead = std::mem::take(&mut self.ahead);
        let size = ahead.size(header)?;
        let raw_path = ahead.path(header)?;
        let path = clean_path(&raw_path)?;
        let content = match header.kind {
            Kind::File if raw_path.ends_with(b"/") && size == 0 => Content::Directory,
            Kind::File if raw_path.ends_with(b"/") => {
                return Err(Flaw::new("an entry in it is a directory to some readers and a file to others"));
            }
            Kind::File if ahead.is_sparse() => Content::Special,
            Kind::File => Content::File { size, is_executable: header.mode & 0o111 != 0 },
            Kind::Directory => Content::Directory,
            Kind::Symlink => Content::Symlink(ahead.link(header)?),
            Kind::Hardlink => Content::Hardlink(clean_path(&ahead.link(header)?)?),
            Kind::Special | Kind::Sparse => Content::Special,
            Kind::Label => {
                self.skip(size + fill(size));
                return Ok(());
            }
            Kind::LongName | Kind::LongLink | Kind::Pax | Kind::GlobalPax => unreachable!("they are taken above"),
        };
        let has_bytes = matches!(header.kind, Kind::File | Kind::Sparse);
        if size > 0 && !has_bytes {
            return Err(Flaw::new("an entry in it that is no file has a size, which readers understand differently"));
        }
        let is_file = matches!(content, Content::File { .. });
        sink.entry(Entry { path, content })?;
        if header.kind == Kind::Sparse && header.is_sparse_map_continued {
            self.state = State::SparseMap { behind: size + fill(size) };
        } else if is_file && size > 0 {
            self.state = State::File { left: size, fill: fill(size) };
        } else {
            self.skip(size + fill(size));
            if is_file {
                sink.end()?;
            }
        }
        Ok(())
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax.is_none()
    }

    fn take(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Flaw> {
        let twice = || Flaw::new("an entry in it is announced twice");
        let name = || {
            let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            if name.is_empty() { Err(Flaw::new("an entry in it has an empty long name")) } else { Ok(name.to_vec()) }
        };
        match kind {
            Kind::LongName if self.long_name.is_some() => return Err(twice()),
            Kind::LongName => self.long_name = Some(name()?),
            Kind::LongLink if self.long_link.is_some() => return Err(twice()),
            Kind::LongLink => self.long_link = Some(name()?),
            Kind::Pax if self.pax.is_some() => return Err(twice()),
            Kind::Pax => self.pax = Some(Pax::read(bytes)?),
            _ => Pax::read(bytes)?.check_global()?,
        }
        Ok(())
    }

    fn size(&self, header: &Header<'_>) -> Result<u64, Flaw> {
        let told = self.pax.as_ref().and_then(|pax| pax.size);
        match told {
            // Where the size does not fit, writers leave the field at zero.
            Some(told) if header.size != 0 && header.size != told => {
                Err(Flaw::new("an entry in it has two sizes, of which readers take one or the other"))
            }
            _ => Ok(told.unwrap_or(header.size)),
        }
    }

    fn path(&self, header: &Header<'_>) -> Result<Vec<u8>, Flaw> {
        let pax = self.pax.as_ref();
        let told = pax.and_then(|pax| pax.sparse_name.as_ref().or(pax.path.as_ref()));
        one_of(told, self.long_name.as_ref(), || header.path())
    }

    fn link(&self, header: &Header<'_>) -> Result<Vec<u8>, Flaw> {
        let told = self.pax.as_ref().and_then(|pax| pax.link.as_ref());
        let link = one_of(told, self.long_link.as_ref(), || header.link().to_vec())?;
        if link.is_empty() { Err(Flaw::new("a link in it leads nowhere")) } else { Ok(link) }
    }

    fn is_sparse(&self) -> bool {
        self.pax.as_ref().is_some_and(|pax| pax.is_sparse)
    }
}

/// The name that is told by pax or by GNU tar's own way; in the header where it is neither.
fn one_of(pax: Option<&Vec<u8>>, gnu: Option<&Vec<u8>>, header: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Flaw> {
    let name = match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => {
            return Err(Flaw::new("an entry in it has two names, of which readers take one or the other"));
        }
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => header(),
    };
    if name.len() > LONGEST_PATH {
        return Err(Flaw::new(format!("a name in it has {} bytes", name.len())));
    }
    Ok(name)
}

/// A name within the image's root, in its shortest form.
pub(super) fn clean_path(path: &[u8]) -> Result<Vec<u8>, Flaw> {
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.'])) {
        if part == b".." {
            return Err(Flaw::new("a name in it leads out of where it stands by `..`"));
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    Ok(clean)
}

fn split(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len())))
}

fn pass<'a>(bytes: &'a [u8], left: &mut u64) -> &'a [u8] {
    let (mine, rest) = split(bytes, *left);
    *left -= mine.len() as u64;
    rest
}

#[cfg(test)]
mod tests;
