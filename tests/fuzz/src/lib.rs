//! The sources that read what strangers wrote, and nothing else of the program: without the network
//! and the database they are built in a minute.
//!
//! ```text
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz rootfs -- -max_total_time=600
//! ```

#![allow(dead_code, unused_imports, missing_docs, reason = "only a part of the program is here")]

#[path = "../../../src/inspect/mod.rs"]
pub mod inspect;
#[path = "../../../src/model/mod.rs"]
pub mod model;

pub mod registry;
