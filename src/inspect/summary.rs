//! What one layer holds: names, links, and what its programs run on.
//!
//! A summary is made once and kept by the layer's digest, so that a shared layer is read once ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Read as _, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use super::probe::Nature;

/// The largest summary that is kept, packed and unpacked. A larger one is made again when needed.
const LARGEST_PACKED: usize = 2 << 20;
const LARGEST_UNPACKED: u64 = 64 << 20;
/// How much of it is packed at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// What a layer holds. Names are as in the archive, without `/` before or behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Whether the whole layer was read: only then is what is not here not in the layer.
    pub is_complete: bool,
    pub(super) nodes: BTreeMap<String, Node>,
    /// What it takes away from the layers below.
    pub(super) whiteouts: BTreeSet<String>,
    /// The directories of which it takes away everything that layers below have there.
    pub(super) opaque: BTreeSet<String>,
}

/// One thing in a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A directory.
    #[serde(rename = "d")]
    Directory,
    /// A link, and where it leads.
    #[serde(rename = "s")]
    Symlink(String),
    /// The same file as another of this layer.
    #[serde(rename = "h")]
    Hardlink(String),
    /// A file that may be started, or not, as its mode says.
    #[serde(rename = "f")]
    File(bool, Nature),
    /// A device, a pipe, or a file of which only parts are stored.
    #[serde(rename = "x")]
    Special,
}

impl Summary {
    /// The summary as it is kept; `None` where it is too large to be.
    pub fn pack(&self) -> Option<Vec<u8>> {
        self.pack_within(LARGEST_UNPACKED, LARGEST_PACKED)
    }

    fn pack_within(&self, unpacked: u64, packed: usize) -> Option<Vec<u8>> {
        // Not zstd: its compressor would be used for nothing else, and is half a megabyte.
        let encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let mut packer = BufWriter::with_capacity(PIECE_BYTES, Packer { encoder, left: unpacked, most: packed });
        serde_json::to_writer(&mut packer, self).ok()?;
        let bytes = packer.into_inner().ok()?.encoder.finish().ok()?;
        (bytes.len() <= packed).then_some(bytes)
    }

    /// A summary that was kept; `None` if it cannot be read.
    pub fn unpack(packed: &[u8]) -> Option<Summary> {
        let mut json = Vec::new();
        DeflateDecoder::new(packed).take(LARGEST_UNPACKED).read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Whether a file of this name is in it that nobody looked into.
    pub fn is_unread(&self, name: &str) -> bool {
        matches!(self.nodes.get(name), Some(Node::File(_, Nature::Unread)))
    }

    /// Notes what a file is that nobody had looked into.
    pub fn settle(&mut self, name: &str, nature: Nature) {
        if let Some(Node::File(_, unread @ Nature::Unread)) = self.nodes.get_mut(name) {
            *unread = nature;
        }
    }

    /// How many things are in it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.whiteouts.is_empty() && self.opaque.is_empty()
    }
}

/// Packs what is written, and takes no more once that is too much: a summary may be many times
/// larger than what is kept.
struct Packer {
    encoder: DeflateEncoder<Vec<u8>>,
    /// How much more may be written.
    left: u64,
    /// The most that it may be packed.
    most: usize,
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.filter(|_| self.encoder.get_ref().len() <= self.most).ok_or(io::ErrorKind::FileTooLarge)?;
        self.encoder.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_packed_as_long_as_it_is_small_enough() {
        let nodes = (0..10_000).map(|number| (format!("folder/{number}"), Node::Special)).collect();
        let summary = Summary { is_complete: true, nodes, ..Summary::default() };
        let packed = summary.pack().expect("it is small");
        assert_eq!(Summary::unpack(&packed), Some(summary.clone()));
        let size = serde_json::to_vec(&summary).expect("json").len() as u64;
        assert_eq!(summary.pack_within(size, packed.len()), Some(packed.clone()));
        assert_eq!(summary.pack_within(size - 1, packed.len()), None);
        assert_eq!(summary.pack_within(size, packed.len() - 1), None);
    }

    #[test]
    fn no_more_is_made_of_a_summary_than_may_be_kept() {
        let mut packer =
            Packer { encoder: DeflateEncoder::new(Vec::new(), Compression::fast()), left: 100, most: 1000 };
        assert_eq!(packer.write(&[b'x'; 100]).ok(), Some(100));
        assert_eq!(packer.write(b"x").map_err(|error| error.kind()), Err(io::ErrorKind::FileTooLarge));
    }
}
