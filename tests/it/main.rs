//! Stories against a registry over real HTTP: one test binary, since each links again.

mod demo;
mod publish;
mod store;
mod support;
mod tidy;
