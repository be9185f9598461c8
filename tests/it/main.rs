//! Stories against a registry over real HTTP: one test binary, since each links again.

#![recursion_limit = "256"]

mod archives;
mod audit;
mod auth;
mod cli;
mod config;
mod corpora;
mod demo;
mod faults;
mod files;
mod files_index;
mod google;
mod hook;
mod hostile;
mod images;
mod listing;
mod logins;
mod moving;
mod network;
mod page;
mod proving;
mod publish;
mod real;
mod replicas;
mod report;
mod rewriting;
mod rounds;
mod secrets;
mod serve_catalog;
mod serve_intake;
mod serve_intake_life;
mod serve_intake_slow;
mod serve_manager;
mod serve_notify;
mod serve_story;
mod serve_story_faults;
mod serve_story_journal;
mod store;
mod support;
mod tags;
mod tidy;
mod trust;
mod verifying;
mod waiting;
