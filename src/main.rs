//! Runs the command line; a panic is a bug of ours and has an exit code of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    std::panic::catch_unwind(onetag::cli::main).unwrap_or(ExitCode::from(1))
}
