//! How much is read of a layer, and what is said where reading ends.

/// Why a layer cannot be read as everybody would read it, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Flaw(String);

impl Flaw {
    pub(super) fn new(why: impl Into<String>) -> Flaw {
        Flaw(why.into())
    }
}

/// What one layer may cost; what is left of an image's allowance goes into that of its next layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that it may unpack to.
    pub output_bytes: u64,
    /// The most files, directories and links in it.
    pub entries: usize,
    /// The most bytes of their names.
    pub name_bytes: usize,
}

impl Default for Limits {
    /// What any one layer may cost.
    fn default() -> Limits {
        Limits { output_bytes: 2 << 30, entries: 500_000, name_bytes: 48 << 20 }
    }
}

/// How far a layer may unpack beyond its size, once it is larger than `RATIO_FROM`.
pub(super) const RATIO: u64 = 200;
/// Where the ratio begins to count: small layers of zeros are common.
pub(super) const RATIO_FROM: u64 = 16 << 20;
/// The longest name of a file, or target of a link.
pub(super) const LONGEST_PATH: usize = 4096;
/// The largest extended header.
pub(super) const LARGEST_PAX: u64 = 1 << 20;
