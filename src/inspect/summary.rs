//! What one layer holds: names, links, and what its programs run on.
//!
//! A summary is made once and kept by the layer's digest, so that a shared layer is read once ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use serde::{Deserialize, Serialize};

use super::probe::Nature;

/// The largest summary that is kept, packed and unpacked. A larger one is made again when needed.
const LARGEST_PACKED: usize = 2 << 20;
const LARGEST_UNPACKED: u64 = 64 << 20;

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
        let json = serde_json::to_vec(self).expect("strings and numbers always serialize");
        let mut packed = Vec::new();
        // Not zstd: its compressor would be used for nothing else, and is half a megabyte.
        DeflateEncoder::new(json.as_slice(), Compression::fast()).read_to_end(&mut packed).ok()?;
        (packed.len() <= LARGEST_PACKED && json.len() as u64 <= LARGEST_UNPACKED).then_some(packed)
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
