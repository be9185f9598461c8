//! Stories against a registry over real HTTP: one test binary, since each links again.

#![recursion_limit = "256"]

mod auth;
mod cli;
mod demo;
mod hook;
mod images;
mod listing;
mod network;
mod publish;
mod real;
mod report;
mod serve_intake;
mod serve_intake_life;
mod support;
mod tags;
mod tidy;
mod trust;
mod waiting;
