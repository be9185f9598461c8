//! Facts in files: what an image starts and what that runs on, read from its layers as they come.
//!
//! Everything here is pushed: bytes go in as they arrive, facts come out, and nothing waits, is
//! written to disk or asks for time. Layers come from strangers: every reader is strict where
//! others could read something else, and gives up at a limit with a reason ([`Flaw`]).
//!
//! `unpack` decompresses, `tar` finds the files, `probe` keeps of each file what says what it is
//! (`elf`, `attributes`, `pe`), and `layer` makes a [`Summary`] of it. Where
//! a layer has a table of contents, `toc` does with less of it. `start` reads from the config what is
//! started, and `rootfs` finds it in the summaries of all layers.

mod attributes;
mod elf;
mod layer;
mod limits;
mod pe;
mod probe;
mod rootfs;
mod start;
mod summary;
mod tar;
mod toc;
mod unpack;

pub use layer::LayerReader;
pub use limits::{Flaw, Limits};
pub use probe::{Nature, Probe, Program, nature_of};
pub use rootfs::{Answer, examine};
pub use start::{Start, read_start};
pub use summary::{Node, Summary};
pub use toc::{Index, Piece, Pieces, Toc};
