//! Layers with a table of contents, of which single files can be asked for: eStargz and
//! zstd:chunked.
//!
//! stargz-snapshotter, "eStargz: Standard-Compatible Extensions to Tar.gz Layers", and
//! containers/storage, `pkg/chunked`. The digest of the table stands in the manifest, and the
//! table has one of every piece, so each byte is checked. What a table cannot prove is that it
//! says the same as the archive around it: clients that read tables get what it says, all others
//! what the archive holds. One program makes both at once, so an error does not make them differ.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use table::{Row, Table};

use super::layer::list;
use super::limits::{Flaw, Limits};
use super::summary::Summary;
use super::tar::{self, Content, Entry, Sink, clean_path};
use super::unpack::{Packing, Unpacker};
use crate::model::{Descriptor, Digest};

/// The length of the part at the end of an eStargz layer that says where the table begins.
const FOOTER_BYTES: u64 = 51;
/// The largest table that is read, packed and unpacked: of some 80,000 files. A layer with a larger
/// one is read as others are.
const LARGEST_PACKED: u64 = 32 << 20;
const LARGEST_TABLE: u64 = 32 << 20;
/// The largest piece of a file that is read; makers cut files at 4 MiB.
const LARGEST_PIECE: u64 = 16 << 20;

/// How a layer's table of contents is found and known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Index {
    /// eStargz: a footer says where it is; the digest is of the unpacked table.
    Stargz(Digest),
    /// zstd:chunked: the manifest says where it is; the digest is of the packed table.
    Chunked(Range<u64>, Digest),
}

impl Index {
    /// The digest by which the table is known to be right.
    pub fn digest(&self) -> &Digest {
        match self {
            Index::Stargz(digest) | Index::Chunked(_, digest) => digest,
        }
    }

    /// The index that a layer's descriptor names, if any.
    pub fn of(layer: &Descriptor) -> Option<Index> {
        let note = |key: &str| layer.annotations.get(key).map(String::as_str);
        let packing = Packing::of_media_type(&layer.media_type)?;
        if packing == Packing::Gzip {
            return Some(Index::Stargz(note("containerd.io/snapshot/stargz/toc.digest")?.parse().ok()?));
        }
        let position = note("io.github.containers.zstd-chunked.manifest-position")?;
        let numbers: Vec<u64> = position.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[start, len, _, 1] = numbers.as_slice() else { return None };
        let digest = note("io.github.containers.zstd-chunked.manifest-checksum")?.parse().ok()?;
        let end = start.checked_add(len).filter(|end| *end <= layer.size && len <= LARGEST_PACKED)?;
        (packing == Packing::Zstd).then_some(Index::Chunked(start..end, digest))
    }

    /// Where the part is that has to be read first in a layer of this size.
    pub fn first_part(&self, size: u64) -> Range<u64> {
        match self {
            Index::Stargz(_) => size.saturating_sub(FOOTER_BYTES)..size,
            Index::Chunked(table, _) => table.clone(),
        }
    }

    /// Where the table is, as the first part says; `None` if it does not.
    pub fn table(&self, first_part: &[u8], size: u64) -> Option<Range<u64>> {
        let Index::Stargz(_) = self else { return Some(self.first_part(size)) };
        // A gzip member of nothing, whose extra field `SG` has 16 hex digits and `STARGZ`.
        let extra = first_part.get(16..38)?.strip_suffix(b"STARGZ")?;
        let start = u64::from_str_radix(std::str::from_utf8(extra).ok()?, 16).ok()?;
        let end = size.checked_sub(FOOTER_BYTES)?;
        (start < end && end - start <= LARGEST_PACKED).then_some(start..end)
    }
}

/// A layer's table of contents.
#[derive(Clone, Debug)]
pub struct Toc {
    /// What the layer holds; its files were not looked into.
    pub summary: Summary,
    packing: Packing,
    files: BTreeMap<String, Pieces>,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The file's size in bytes.
    pub size: u64,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
    /// How many bytes of the file are in them.
    known: u64,
}

/// Some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where they are in the layer, packed.
    pub place: Range<u64>,
    /// How many bytes stand before them, unpacked.
    skip: u64,
    size: u64,
    digest: Digest,
}

impl Toc {
    /// Reads a table whose packed bytes these are.
    ///
    /// # Errors
    ///
    /// [`Flaw`]: it is not the table that the manifest names, or cannot be read.
    pub fn read(index: &Index, place: &Range<u64>, packed: &[u8], limits: Limits) -> Result<Toc, Flaw> {
        let other = || Flaw::new("its table of contents is not the one that the manifest names");
        let (packing, table) = match index {
            Index::Stargz(digest) => {
                let mut file = OneFile::default();
                let mut reader = tar::Reader::default();
                unpack(Packing::Gzip, packed, LARGEST_TABLE, &mut |bytes| reader.feed(bytes, &mut file))?;
                if Digest::of(&file.0) != *digest {
                    return Err(other());
                }
                (Packing::Gzip, file.0)
            }
            Index::Chunked(_, digest) => {
                if Digest::of(packed) != *digest {
                    return Err(other());
                }
                let mut table = Vec::new();
                unpack(Packing::Zstd, packed, LARGEST_TABLE, &mut |bytes| {
                    table.extend_from_slice(bytes);
                    Ok(())
                })?;
                (Packing::Zstd, table)
            }
        };
        let Table { entries } = Table::read(&table)?;
        let damaged = || Flaw::new("its table of contents is damaged");
        let files = pieces(&entries, place.start).ok_or_else(damaged)?;
        let entries = entries.into_iter().filter(|row| row.kind != "chunk").map(entry);
        Ok(Toc { summary: list(entries, limits)?, packing, files })
    }

    /// Where the bytes of a file are, by its name.
    pub fn file(&self, name: &str) -> Option<&Pieces> {
        self.files.get(name)
    }

    /// Unpacks a piece whose packed bytes these are.
    ///
    /// # Errors
    ///
    /// [`Flaw`]: it is not the piece that the table names.
    pub fn unpack(&self, piece: &Piece, packed: &[u8]) -> Result<Vec<u8>, Flaw> {
        let (mut skip, mut bytes) = (piece.skip, Vec::new());
        unpack(self.packing, packed, LARGEST_PIECE * 2, &mut |unpacked| {
            let skipped = skip.min(unpacked.len() as u64);
            skip -= skipped;
            let unpacked = &unpacked[usize::try_from(skipped).expect("it is no more than there is")..];
            let wanted = piece.size - bytes.len() as u64;
            let len = usize::try_from(wanted).map_or(unpacked.len(), |wanted| wanted.min(unpacked.len()));
            bytes.extend_from_slice(&unpacked[..len]);
            Ok(())
        })?;
        if Digest::of(&bytes) == piece.digest {
            return Ok(bytes);
        }
        Err(Flaw::new("a piece of it is not the one that its table of contents names"))
    }
}

/// Where the pieces of all files are, which end where others begin or `end` is.
fn pieces(rows: &[Row], end: u64) -> Option<BTreeMap<String, Pieces>> {
    let has_bytes = |row: &&Row| row.kind == "reg" && row.size > 0 || row.kind == "chunk";
    let starts: BTreeSet<u64> = rows.iter().filter(has_bytes).map(|row| row.offset).chain([end]).collect();
    let mut files: BTreeMap<String, Pieces> = BTreeMap::new();
    for row in rows.iter().filter(has_bytes) {
        let name = super::layer::text(clean_path(row.name.as_bytes()).ok()?);
        let file = files.entry(name).or_default();
        if row.kind == "reg" {
            *file = Pieces { size: row.size, ..Pieces::default() };
        }
        let size = if row.chunk_size > 0 { row.chunk_size } else { file.size.checked_sub(row.chunk_offset)? };
        let place_end = match row.end_offset {
            0 => *starts.range(row.offset + 1..).next()?,
            end => end,
        };
        let digest = if row.chunk_digest.is_empty() { &row.digest } else { &row.chunk_digest };
        let is_next =
            row.chunk_offset == file.known && file.known.checked_add(size)? <= file.size && size <= LARGEST_PIECE;
        let is_possible = row.offset < place_end && place_end <= end && place_end - row.offset <= 2 * LARGEST_PIECE;
        // What is not a piece of this kind is left out, and the file with it.
        if let (true, true, Ok(digest)) = (is_next, is_possible, digest.parse()) {
            file.known += size;
            file.pieces.push(Piece { place: row.offset..place_end, skip: row.inner_offset, size, digest });
        }
    }
    Some(files)
}

fn entry(row: Row) -> Result<Entry, Flaw> {
    let content = match row.kind.as_str() {
        "dir" => Content::Directory,
        "reg" => Content::File { size: row.size, is_executable: row.mode & 0o111 != 0 },
        "symlink" => Content::Symlink(row.link_name.into_bytes()),
        "hardlink" => Content::Hardlink(clean_path(row.link_name.as_bytes())?),
        "char" | "block" | "fifo" => Content::Special,
        _ => return Err(Flaw::new("its table of contents has an entry of unknown kind")),
    };
    Ok(Entry { path: clean_path(row.name.as_bytes())?, content })
}

fn unpack(
    packing: Packing,
    packed: &[u8],
    most: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let mut unpacker = Unpacker::new(packing, most);
    unpacker.feed(packed, take)?;
    unpacker.finish(take)
}

/// Keeps the bytes of an archive's only file.
#[derive(Default)]
struct OneFile(Vec<u8>);

impl Sink for OneFile {
    fn entry(&mut self, _: Entry) -> Result<(), Flaw> {
        self.0.clear();
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn end(&mut self) -> Result<(), Flaw> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
