#![doc = include_str!("lib.md")]

pub mod inspect;
pub mod model;
pub mod plan;
pub mod registry;
pub mod webhook;

pub mod audit;
pub mod look;
pub mod publish;
pub mod store;

pub mod serve;

pub mod cli;
