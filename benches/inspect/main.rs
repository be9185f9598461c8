//! How fast layers are read, and how little of them.
//!
//! ```text
//! cargo bench --bench inspect
//! cargo bench --bench inspect -- --rounds 9 --check
//! cargo bench --bench inspect -- throughput
//! ```
//!
//! - *Throughput*: a layer of this machine's own files and one of many small files, as gzip and as
//!   zstd. Each is read as it is from a registry, but from memory: unpacked, its archive followed,
//!   every file looked at. Beside it `gzip -d` and `zstd -d` unpack it to `/dev/null`, and the
//!   libraries that are used here unpack it to nowhere; neither looks at anything.
//! - *Download*: an image with a base of 200 MB, packed, and a program in a small layer on top, at
//!   Debian's `docker-registry`, through a relay that counts bytes. Beside it `skopeo copy` and
//!   `file`, the usual way to find out. Once everything that starts the program is in the top
//!   layer; once its loader is the base's first file; once it is the last.
//!
//! Runs are interleaved, so that a busy machine is busy for all; times are medians. Bounds stand
//! beside the figures. They decide the exit code with `--check` only.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../common/mod.rs"]
mod common;
mod download;
mod layers;
mod relay;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod throughput;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use common::Result;

/// Measure how layers are read
#[derive(Parser)]
struct Options {
    /// What to measure; everything without it
    figures: Vec<Figure>,
    /// How often each is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How large the layer of own files is, unpacked
    #[arg(long, default_value_t = 500)]
    megabytes: u64,
    /// Fail if a bound is not kept
    #[arg(long)]
    check: bool,
    /// Said by `cargo bench`, not by `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Beside what only unpacks
    Throughput,
    /// Beside what copies the image
    Download,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run("inspect", options.bench, options.check, bench(&options))
}

/// Runs everything and prints it; says whether every bound was kept.
async fn bench(options: &Options) -> Result<bool> {
    let folder = tempfile::TempDir::with_prefix("onetag-bench-")?;
    let archive = layers::own_files(folder.path(), options.megabytes << 20)?;
    let wants = |figure| options.figures.is_empty() || options.figures.contains(&figure);
    let mut is_kept = true;
    if wants(Figure::Throughput) {
        is_kept &= throughput::bench("files of this machine", &archive, options.rounds)?;
        let small = layers::small_files(folder.path(), &archive)?;
        is_kept &= throughput::bench("many small files", &small, options.rounds)?;
    }
    if wants(Figure::Download) {
        is_kept &= download::bench(&archive, options.rounds).await?;
    }
    Ok(is_kept)
}

/// Runs a program that must succeed, its output thrown away.
fn run(command: &[&str]) -> Result<()> {
    let status = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", command.join(" ")).into()) }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Says whether a bound is kept, in words.
fn verdict(is_kept: bool, bound: &str) -> String {
    format!("bound {bound}: {}", if is_kept { "kept" } else { "NOT KEPT" })
}
