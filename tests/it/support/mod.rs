//! What the tests stand on: registries to talk to, images to push, and the program to run.

// Each test takes the piece it needs, and a panic is how a test tells what went wrong.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

pub mod auth;
pub mod browser;
pub mod cli;
pub mod cut;
pub mod desk;
pub mod elsewhere;
pub mod eventually;
pub mod fault;
pub mod image;
pub mod intake;
pub mod pooler;
pub mod postgres;
pub mod raw;
pub mod real;
pub mod recorded;
pub mod registry;
pub mod rootfs;
pub mod server;
pub mod service;
pub mod store;
pub mod story;
pub mod tags;
pub mod tls;

pub use auth::{Auth, Bearer, User};
pub use cli::{Cli, Ran, Running, onetag};
pub use cut::{Cut, Moment};
pub use desk::Desk;
pub use elsewhere::Elsewhere;
pub use eventually::eventually;
pub use fault::{Play, When};
pub use image::{Built, Image};
pub use pooler::Pooler;
pub use postgres::Postgres;
pub use real::{RealRegistry, skopeo};
pub use recorded::{Kind, Recorded};
pub use registry::{Attested, FakeRegistry};
pub use rootfs::{Layer, NINE, busybox, debian, starting_busybox};
pub use server::Answer;
pub use service::Service;
pub use store::{Immutable, RefuseOciIndex, Stored};
pub use story::{Told, is_printable, publish};
pub use tags::{LinkForm, TagList};
