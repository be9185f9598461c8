//! Stories against a registry over real HTTP: one test binary, since each links again.

mod publish;
mod support;
