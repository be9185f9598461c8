//! Stories against a registry over real HTTP: one test binary, since each links again.

mod auth;
mod demo;
mod listing;
mod network;
mod publish;
mod support;
mod tidy;
mod trust;
