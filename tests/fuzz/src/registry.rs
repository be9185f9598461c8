//! What reads manifests and configs.

#[path = "../../../src/registry/json.rs"]
mod json;
#[path = "../../../src/registry/wire.rs"]
mod wire;

pub use wire::{read_claim, read_manifest, read_published};

/// What a refusal is made of, in place of what HTTP makes of it.
mod error {
    pub(super) struct Refusal {
        pub(super) status: u16,
        pub(super) code: String,
        pub(super) message: String,
    }
}

/// What an answer is made of, in place of what HTTP makes of it.
mod send {
    pub(super) struct Answer {
        pub(super) status: u16,
        pub(super) body: bytes::Bytes,
    }
}
