//! What the benches share: how one begins and ends, its figures, a slow road to a registry, a service
//! and those who post deliveries to it.

// Each bench takes the piece it needs.
#![allow(dead_code)]

pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod proxy;
pub(crate) mod service;

use std::process::ExitCode;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs the bench `name`, which says whether every bound was kept; that decides the exit code where
/// `is_checked`. Under `cargo test`, where `is_bench` is false, nothing is measured.
pub(crate) fn run(name: &str, is_bench: bool, is_checked: bool, bench: impl Future<Output = Result<bool>>) -> ExitCode {
    if !is_bench {
        println!("this is no test: `cargo bench --bench {name}` runs it");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    match runtime.block_on(bench) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(u8::from(is_checked)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
