//! Stories against a registry over real HTTP: one test binary, since each links again.

mod auth;
mod demo;
mod faults;
mod listing;
mod network;
mod publish;
mod rounds;
mod secrets;
mod support;
mod tidy;
mod trust;
