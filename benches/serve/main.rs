//! What `onetag serve` takes in, and how soon it acts.
//!
//! ```text
//! cargo bench --bench serve
//! cargo bench --bench serve -- --seconds 30 --check
//! cargo bench --bench serve -- flood latency
//! ```
//!
//! Each figure is of a fresh `onetag serve` with a database in the build folder, which must not be
//! on a tmpfs; the senders share its processors. No work is left out: the secret is checked, the
//! body is read, and 202 is said after the commit that the file system was told to keep.
//!
//! - *Intake*: 32 connections post the envelopes of a Distribution registry for some seconds, one
//!   push each, every one of another tag but each fifth, which tells of one again. Their quiet time
//!   has not passed yet, so nothing is published meanwhile. *Backlog*: 200,000 different tags. The
//!   memory is the kernel's high-water mark of the process (`VmHWM`).
//! - *Flood*: 10,000 deliveries of one tag, while a registry counts what it is asked. Once without
//!   `require`, where the quiet time counts, and once with it, where every delivery is due at once.
//! - *Latency*: from the answered push of the last required image, at Debian's `docker-registry`
//!   with its notifications on, until a `HEAD` of the plain tag finds it; every 2 ms there is one.
//! - *Far*: the same, but `onetag` asks the registry through a proxy that adds a round-trip time of
//!   100 ms. Its connections are open. A round is a wait for answers before more is asked; the last
//!   of them is the one that writes the tag. Once for new versions, once for images pushed again.
//!
//! Bounds stand beside the figures. They decide the exit code with `--check` only, for a machine
//! that does nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../common/mod.rs"]
mod common;
mod latency;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use common::Result;
use common::figures::{at_least, at_most, heading, note};
use common::load::{self, Load, Until};
use common::service::{SQLITE, Service, free_address};
use support::FakeRegistry;

const BACKLOG: u64 = 200_000;
const FLOOD: u64 = 10_000;

/// Measure what `onetag serve` takes in
#[derive(Parser)]
struct Options {
    /// What to measure; everything without it
    figures: Vec<Figure>,
    /// How long deliveries are posted to measure the intake
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=50))]
    seconds: u64,
    /// Fail if a bound is not kept
    #[arg(long)]
    check: bool,
    /// Measure this binary, not the one built along with the bench
    #[arg(long, default_value = env!("CARGO_BIN_EXE_onetag"), hide_default_value = true)]
    binary: PathBuf,
    /// Said by `cargo bench`, not by `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Figure {
    Intake,
    Backlog,
    Flood,
    Latency,
    Far,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run("serve", options.bench, options.check, bench(&options))
}

/// Runs everything and prints it; says whether every bound was kept.
async fn bench(options: &Options) -> Result<bool> {
    heading();
    let figures = if options.figures.is_empty() { Figure::value_variants() } else { &options.figures };
    let mut is_kept = true;
    for figure in figures {
        is_kept &= match figure {
            Figure::Intake => intake(options).await?,
            Figure::Backlog => backlog(options).await?,
            Figure::Flood => flood(options).await?,
            Figure::Latency => latency::measure(options).await?,
            Figure::Far => latency::measure_far(options).await?,
        };
    }
    Ok(is_kept)
}

async fn intake(options: &Options) -> Result<bool> {
    let service = idle(options).await?;
    let time = Duration::from_secs(options.seconds);
    let load = Load::post(&service.hook(), load::mixed, Until::Passed(time)).await?;
    let rate = load.count() as f64 / load.time.as_secs_f64();
    let what = format!("deliveries stored per second, of {}", load.count());
    let mut is_kept = at_least(&what, "", rate, 5_000.0);
    let each = service.processor_time()?.as_secs_f64() * 1e6 / load.count() as f64;
    note("processor time of the service for each", "µs", each);
    note("half of them are answered within", "ms", load.percentile(50));
    is_kept &= at_most("99 % of them are answered within", "ms", load.percentile(99), 50.0);
    is_kept &= at_most("most memory of the service", "MB", service.peak_memory()?, 256.0);
    Ok(is_kept)
}

async fn backlog(options: &Options) -> Result<bool> {
    let service = idle(options).await?;
    let load = Load::post(&service.hook(), load::different, Until::Sent(BACKLOG)).await?;
    let waiting = service.metric("onetag_jobs_waiting").await?;
    if waiting + service.metric("onetag_tags_failing").await? < BACKLOG as f64 {
        return Err(format!("{} deliveries were accepted, but {waiting} tags wait", load.count()).into());
    }
    Ok(at_most("most memory with 200,000 tags that wait", "MB", service.peak_memory()?, 256.0))
}

/// A service whose registry does not answer, and is not asked for some time either.
async fn idle(options: &Options) -> Result<Service> {
    Service::start(&options.binary, SQLITE, &free_address()?, "quiet = \"1h\"\npoll = \"7d\"").await
}

async fn flood(options: &Options) -> Result<bool> {
    let quiet = flooded(options, "", "").await?;
    let at_once = flooded(options, ", each due at once", "require = [\"amd64\"]").await?;
    Ok(quiet && at_once)
}

async fn flooded(options: &Options, how: &str, rule: &str) -> Result<bool> {
    let registry = FakeRegistry::start().await;
    let digest = registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64");
    let service = Service::start(&options.binary, SQLITE, &registry.host(), rule).await?;
    Load::post(&service.hook(), load::same(digest), Until::Sent(FLOOD)).await?;
    service.settle().await?;
    if registry.digest("acme/ubuntu:xenial").is_none() {
        return Err("the flood was not answered by a published tag".into());
    }
    let asked = registry.requests().len() as f64;
    Ok(at_most(&format!("requests after 10,000 deliveries of a tag{how}"), "", asked, 50.0))
}
