//! How long it takes to make one tag of seven images, and how long others take.
//!
//! ```text
//! cargo bench --bench publish
//! cargo bench --bench publish -- --rounds 9 --check
//! ```
//!
//! Debian's `docker-registry` holds seven small images under `<arch>-xenial`. Every tool makes an
//! index of them under `xenial`, through a proxy that adds a round-trip time (`proxy.rs`), over
//! plain HTTP and without a login. Each run is cold: new processes, an empty home, and no `xenial`
//! in the registry. The runs are interleaved, so that a busy machine is busy for all; the figures
//! are medians. After each run the index is read past the proxy: one that does not hold exactly
//! those seven images, each with a platform, fails the tool. Only tools found on PATH take part
//! (`docker buildx` also as a plugin); the command of each is printed (`tools.rs`).
//!
//! - *requests* and *connections* are counted by the proxy, in the last run.
//! - *round trips* are the time divided by the round-trip time: how often a tool waits for answers
//!   before it asks on. A connection costs one by itself.
//! - *ratio* compares with `onetag --arch` in the same run of the bench.
//!
//! `onetag` reads back what it wrote, and looks whether a source moved meanwhile: one round that
//! no other tool makes. It is part of its time here.
//!
//! Bounds stand beside the figures that have one. They decide the exit code with `--check` only,
//! for a machine that does nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../common/mod.rs"]
mod common;
mod figures;
mod report;
mod run;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod tools;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use common::Result;
use common::proxy::Proxy;
use report::{Bounded, Row};
use run::Run;
use support::RealRegistry;
use tools::Tool;

const REPOSITORY: &str = "acme/ubuntu";
const IMAGES: [(&str, &str); 7] = [
    ("amd64", "linux/amd64"),
    ("arm64", "linux/arm64/v8"),
    ("armhf", "linux/arm/v7"),
    ("armel", "linux/arm/v5"),
    ("i386", "linux/386"),
    ("ppc64el", "linux/ppc64le"),
    ("s390x", "linux/s390x"),
];

/// Time `onetag publish` against other tools
#[derive(Parser)]
struct Options {
    /// The round-trip time in milliseconds
    #[arg(long, default_value_t = 100)]
    rtt: u64,
    /// How often each tool is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Fail if a bound is exceeded
    #[arg(long)]
    check: bool,
    /// Show when each request of the last runs was sent
    #[arg(long)]
    trace: bool,
    /// Run `onetag` alone
    #[arg(long)]
    alone: bool,
    /// Measure this binary, not the one built along with the bench
    #[arg(long, default_value = env!("CARGO_BIN_EXE_onetag"), hide_default_value = true)]
    binary: PathBuf,
    /// Said by `cargo bench`, not by `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run("publish", options.bench, options.check, bench(&options))
}

/// Runs everything and prints it; says whether every bound was kept.
async fn bench(options: &Options) -> Result<bool> {
    let registry = RealRegistry::start().await;
    let rtt = Duration::from_millis(options.rtt);
    let proxy = Proxy::start(registry.host(), rtt).await?;
    let images = push_images(&registry).await;
    let stage = Stage { registry, proxy, images };

    let ours = tools::ours(&options.binary, &stage.proxy.host());
    let (others, missing) = if options.alone { Default::default() } else { tools::others(&stage.proxy.host()) };
    let mut ours = ours.map(|tool| (Entry::new(tool), Entry::again()));
    let mut others: Vec<Entry> = others.into_iter().map(Entry::new).collect();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for (first, again) in &mut ours {
            first.measure(&stage).await;
            again.measure_again(&stage, &first.tool).await;
            stage.forget_index().await;
        }
        for other in &mut others {
            other.measure(&stage).await;
            stage.forget_index().await;
        }
    }

    let start_up = figures::start_up(&options.binary).await?;
    let peak_memory = figures::peak_memory(&ours[1].0.tool).await?;
    let size = std::fs::metadata(&options.binary)?.len();

    let [(with_arch, with_arch_again), (listing, listing_again)] = ours.map(|(a, b)| (a.row(), b.row()));
    let bounds = bounds(options, &with_arch, &listing, start_up, peak_memory, size);
    let mut rows = vec![with_arch, with_arch_again, listing, listing_again];
    rows.extend(others.into_iter().map(Entry::row));
    report::print(options, &rows, &missing, &bounds);
    Ok(bounds.iter().all(Bounded::is_kept))
}

fn bounds(
    options: &Options,
    with_arch: &Row,
    listing: &Row,
    start_up: Duration,
    peak_memory: u64,
    size: u64,
) -> Vec<Bounded> {
    let images = IMAGES.len() as f64;
    let rtt = Duration::from_millis(options.rtt);
    let (mb, ms) = (|bytes: u64| bytes as f64 / 1e6, |time: Duration| time.as_secs_f64() * 1e3);
    let mut bounds = vec![
        Bounded::new(
            "requests with --arch, at most 2N+2 and N+1 to read back",
            "",
            with_arch.requests(),
            3.0 * images + 3.0,
        ),
        Bounded::new("requests with a listing, one more", "", listing.requests(), 3.0 * images + 4.0),
        Bounded::new("start-up (`onetag --version`, median of 50)", "ms", ms(start_up), 10.0),
        Bounded::new("peak memory for seven architectures", "MB", mb(peak_memory), 32.0),
        Bounded::new("size of the binary", "MB", mb(size), 12.0),
    ];
    if options.rtt == 100 {
        bounds.extend([
            Bounded::new("rounds with --arch, three and one to read back", "", with_arch.rounds(rtt), 4.0),
            Bounded::new("seconds with --arch", "s", with_arch.seconds(), 0.65),
            Bounded::new("seconds with a listing", "s", listing.seconds(), 0.80),
        ]);
    }
    bounds
}

/// What the tools perform on.
struct Stage {
    registry: RealRegistry,
    proxy: Proxy,
    /// The digests of the images.
    images: BTreeSet<String>,
}

async fn push_images(registry: &RealRegistry) -> BTreeSet<String> {
    let mut digests = BTreeSet::new();
    for (word, platform) in IMAGES {
        digests.insert(registry.push_image(&format!("{REPOSITORY}:{word}-xenial"), platform).await);
    }
    digests
}

impl Stage {
    /// Runs the tool and looks at what it made.
    async fn perform(&self, tool: &Tool) -> Result<Run> {
        let run = run::run(tool, &self.proxy).await?;
        self.check_index().await?;
        Ok(run)
    }

    async fn check_index(&self) -> Result<()> {
        let plain = format!("{REPOSITORY}:xenial");
        let stored = self.registry.manifest(&plain).await.ok_or("it made no index")?;
        let index = stored.json();
        let entries = index["manifests"].as_array().ok_or("what it made is no index")?;
        let digests: BTreeSet<_> = entries.iter().filter_map(|entry| entry["digest"].as_str()).collect();
        let is_ours = digests.iter().eq(self.images.iter()) && entries.len() == IMAGES.len();
        let platforms: BTreeSet<_> = self.registry.platforms(&plain).await.into_iter().collect();
        match is_ours && platforms.len() == IMAGES.len() {
            true => Ok(()),
            false => Err(format!("its index holds {platforms:?} in {} entries", entries.len()).into()),
        }
    }

    async fn forget_index(&self) {
        if let Some(digest) = self.registry.digest(&format!("{REPOSITORY}:xenial")).await {
            self.registry.delete_manifest(&format!("{REPOSITORY}@{digest}")).await;
        }
    }
}

/// A tool and its runs so far.
struct Entry {
    tool: Tool,
    times: Vec<Duration>,
    last: Result<Run>,
}

impl Entry {
    fn new(tool: Tool) -> Entry {
        Entry { tool, times: Vec::new(), last: Err("it was not run".into()) }
    }

    /// A second run of another entry's tool, when there is nothing new.
    fn again() -> Entry {
        Entry::new(Tool { name: "  and again, nothing new", version: String::new(), steps: Vec::new(), file: None })
    }

    /// A tool that failed is not tried again.
    async fn measure(&mut self, stage: &Stage) {
        if self.times.is_empty() || self.last.is_ok() {
            self.note(stage.perform(&self.tool).await);
        }
    }

    async fn measure_again(&mut self, stage: &Stage, tool: &Tool) {
        self.note(stage.perform(tool).await);
    }

    fn note(&mut self, run: Result<Run>) {
        self.times.extend(run.as_ref().map(|run| run.time));
        self.last = run;
    }

    fn row(mut self) -> Row {
        let result = self.last.map(|run| (median(&mut self.times), run)).map_err(|error| error.to_string());
        Row { tool: self.tool, result }
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The name of a program without its folder, as a person would type it.
fn short(program: &str) -> &str {
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program)
}
