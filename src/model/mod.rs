//! Nouns: names, digests, platforms, images and the index made of them.
//!
//! Nothing here waits, reads a clock or opens a socket. Every type is checked where it enters the
//! program, so that the layers above can trust it.

pub mod arch;
pub mod digest;
pub mod evidence;
pub mod image;
pub mod index;
pub mod job;
pub mod name;
pub mod natural;
pub mod pattern;
pub mod platform;
pub mod served;
pub mod text;
pub mod version;

pub use arch::{ArchChoice, Dialect, Meaning, Promise, Words};
pub use digest::{Digest, ToldDigest};
pub use evidence::{Evidence, Machine, Proof, Witness};
pub use image::{Claim, Found, Image, Last, Observation, Original, Published, Seen, Unfit};
pub use index::{Descriptor, Entry, Index, IndexKind};
pub use job::{Job, Push};
pub use name::{Host, Repository, RepositoryPath, Tag};
pub use pattern::{ArchTag, Pattern};
pub use platform::Platform;
pub use served::{Fate, Served, ServedChild, Stated};
pub use version::{ImageRow, ImageState, Problem, Summary, Version, VersionState};
