//! How long it takes to look at every tag of a large repository, and how long others take.
//!
//! ```text
//! cargo bench --bench audit
//! cargo bench --bench audit -- --versions 2000 --rounds 3 --check
//! ```
//!
//! Debian's `docker-registry` on this machine holds so many versions of three architectures each,
//! published as indexes. `onetag audit` looks at all of them: once with an empty cache, and again
//! with the one that it left. The same questions are then asked with skopeo, as many at a time as
//! `onetag` has requests in flight: `skopeo inspect --raw` of each index, and `skopeo inspect
//! --config` of each architecture tag, by `xargs -P`. That is less than an audit does (it does not
//! look whether the children are there), and a sample of the versions is enough to know its speed.
//!
//! - *images a second* counts architecture tags.
//! - *ratio* compares with the first audit in the same run of the bench.
//! - *peak memory* is the kernel's own high-water mark (`VmHWM`) of the process.
//!
//! Bounds stand beside the figures that have one. They decide the exit code with `--check` only,
//! for a machine that does nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use common::Result;
use support::RealRegistry;
use support::image::{Image, OCI_INDEX, gzip, index};

const REPOSITORY: &str = "acme/ubuntu";
const IMAGES: [(&str, &str); 3] = [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7")];
/// How many of them run at a time: as many requests as `onetag` has in flight.
const PROCESSES: usize = 32;
/// The most memory that an audit may hold, in bytes.
const MOST_MEMORY: u64 = 150_000_000;

/// Time `onetag audit` against skopeo
#[derive(Parser)]
struct Options {
    /// How many versions the repository has
    #[arg(long, default_value_t = 2_000)]
    versions: usize,
    /// How many of them skopeo is asked about
    #[arg(long, default_value_t = 100)]
    sample: usize,
    /// How often each is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Fail if a bound is exceeded
    #[arg(long)]
    check: bool,
    /// Measure this binary, not the one built along with the bench
    #[arg(long, default_value = env!("CARGO_BIN_EXE_onetag"), hide_default_value = true)]
    binary: PathBuf,
    /// Said by `cargo bench`, not by `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run("audit", options.bench, options.check, bench(&options))
}

/// One run: how long it took, the most memory that it held, and how many requests it sent.
#[derive(Clone, Copy, Debug)]
struct Run {
    time: Duration,
    peak_bytes: u64,
    requests: u64,
}

async fn bench(options: &Options) -> Result<bool> {
    let registry = RealRegistry::start().await;
    eprintln!("pushing {} versions of {} architectures", options.versions, IMAGES.len());
    push(&registry, options.versions).await;

    let (mut first, mut again, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        let cache = TempDir::with_prefix("onetag-bench-")?;
        first.push(audit(&options.binary, &registry, cache.path(), options.versions).await?);
        again.push(audit(&options.binary, &registry, cache.path(), options.versions).await?);
        theirs.push(skopeo(&registry, options.sample.min(options.versions)).await?);
    }
    let (first, again) = (median(&mut first), median(&mut again));
    theirs.sort_unstable();
    let per_version = theirs[theirs.len() / 2] / u32::try_from(options.sample.min(options.versions))?;
    Ok(print(options, first, again, per_version))
}

/// Prints the figures; says whether every bound was kept.
fn print(options: &Options, first: Run, again: Run, theirs: Duration) -> bool {
    let images = (options.versions * IMAGES.len()) as f64;
    let whole = theirs * u32::try_from(options.versions).unwrap_or(u32::MAX);
    println!("{} versions of {} architectures, median of {}\n", options.versions, IMAGES.len(), options.rounds);
    println!("{:34} {:>9} {:>10} {:>9} {:>12} {:>7}", "", "seconds", "images/s", "requests", "peak memory", "ratio");
    for (name, run) in [("onetag audit", first), ("onetag audit, again", again)] {
        let seconds = run.time.as_secs_f64();
        println!(
            "{name:34} {seconds:>9.2} {:>10.0} {:>9} {:>9.1} MB {:>6.2}x",
            images / seconds,
            run.requests,
            run.peak_bytes as f64 / 1e6,
            seconds / first.time.as_secs_f64()
        );
    }
    let seconds = whole.as_secs_f64();
    let name = format!("skopeo, {PROCESSES} at a time ({} asked)", options.sample.min(options.versions));
    println!(
        "{name:34} {seconds:>9.2} {:>10.0} {:>9} {:>12} {:>6.2}x",
        images / seconds,
        "-",
        "-",
        seconds / first.time.as_secs_f64()
    );

    let heads = 1 + options.versions * (1 + 2 * IMAGES.len());
    let bounds = [
        ("peak memory, at most 150 MB", first.peak_bytes.max(again.peak_bytes) <= MOST_MEMORY),
        ("requests again, a listing and HEADs", again.requests <= heads as u64),
        ("faster than skopeo", first.time < whole),
    ];
    println!();
    for (name, is_kept) in bounds {
        println!("{} {name}", if is_kept { "kept  " } else { "BROKEN" });
    }
    bounds.iter().all(|(_, is_kept)| *is_kept)
}

/// Pushes images that share one layer and differ in their configs, and an index of each version.
async fn push(registry: &RealRegistry, versions: usize) {
    let layer = gzip(b"one layer for all");
    registry.put_blob(REPOSITORY, layer.clone()).await;
    let push = |version: usize| {
        let layer = layer.clone();
        async move {
            let mut entries = Vec::new();
            for (word, platform) in IMAGES {
                let image = Image::new(platform).label("version", &version.to_string());
                let built = image.layers(vec![layer.clone()]).build();
                registry.put_blob(REPOSITORY, built.blobs[0].clone()).await;
                let reference = format!("{REPOSITORY}:{word}-{version}");
                registry.put_manifest(&reference, &built.media_type, built.bytes.clone()).await;
                entries.push(built.descriptor(platform));
            }
            let index = index(OCI_INDEX, &entries);
            registry.put_manifest(&format!("{REPOSITORY}:{version}"), OCI_INDEX, index).await;
        }
    };
    futures_util::stream::iter(0..versions).for_each_concurrent(16, push).await;
}

/// One audit, which must find every version in order.
async fn audit(binary: &Path, registry: &RealRegistry, cache: &Path, versions: usize) -> Result<Run> {
    let output = cache.join("output.json");
    let started = Instant::now();
    let mut child = Command::new(binary)
        .args(["audit", "--output", "json", "-r", &registry.repository(REPOSITORY)])
        .env_clear()
        .env("ONETAG_CACHE_DIR", cache.join("cache"))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&output)?)
        .kill_on_drop(true)
        .spawn()?;
    let status_file = format!("/proc/{}/status", child.id().ok_or("it ended before it began")?);
    let mut peak_bytes = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak_bytes = peak_bytes.max(high_water_mark(&status_file).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let time = started.elapsed();
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(output)?)?;
    let summary = &document["summary"];
    if !status.success() || summary["ok"] != versions {
        return Err(format!("{status}: it found {summary}").into());
    }
    Ok(Run { time, peak_bytes, requests: summary["requests"].as_u64().unwrap_or(0) })
}

fn high_water_mark(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The same questions with skopeo about the first versions; how long it took for all of them.
async fn skopeo(registry: &RealRegistry, versions: usize) -> Result<Duration> {
    let image = |tag: &str| format!("docker://{}:{tag}", registry.repository(REPOSITORY));
    let mut questions = String::new();
    for version in 0..versions {
        questions.push_str(&format!("--raw {}\n", image(&version.to_string())));
        for (word, _) in IMAGES {
            questions.push_str(&format!("--config {}\n", image(&format!("{word}-{version}"))));
        }
    }
    let home = TempDir::with_prefix("onetag-bench-")?;
    let started = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-L", "1", "-P", &PROCESSES.to_string()])
        .args(["skopeo", "--insecure-policy", "inspect", "--tls-verify=false"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().ok_or("no pipe")?.write_all(questions.as_bytes()).await?;
    let status = child.wait().await?;
    if status.success() { Ok(started.elapsed()) } else { Err(format!("skopeo: {status}").into()) }
}

fn median(runs: &mut [Run]) -> Run {
    runs.sort_unstable_by_key(|run| run.time);
    let peak_bytes = runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0);
    Run { peak_bytes, ..runs[runs.len() / 2] }
}
