//! The long-running process: deliveries and polls in, published tags out.

pub mod settings;
