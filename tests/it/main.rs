//! Stories against a registry over real HTTP: one test binary, since each links again.

mod auth;
mod cli;
mod demo;
mod images;
mod publish;
mod real;
mod report;
mod support;
mod tags;
mod tidy;
mod waiting;
