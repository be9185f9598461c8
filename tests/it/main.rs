//! Stories against a registry over real HTTP: one test binary, since each links again.

mod hook;
mod publish;
mod support;
