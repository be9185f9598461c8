//! Stories against a registry over real HTTP: one test binary, since each links again.

mod auth;
mod demo;
mod publish;
mod support;
mod tidy;
