//! What several `onetag serve` do on one PostgreSQL.
//!
//! ```text
//! cargo bench --bench replicas
//! cargo bench --bench replicas -- --seconds 30 --check
//! cargo bench --bench replicas -- intake claims
//! ```
//!
//! The server is Debian's, fresh for each figure, with its own settings for durability (`fsync` and
//! `synchronous_commit` are on) and its data below the folder for temporary files, which must not be
//! on a tmpfs. It, the replicas and whoever asks them share the machine's processors.
//!
//! - *Intake*: 32 connections to each of three replicas post the envelopes of a Distribution registry
//!   for some seconds, one push each, four of five of another tag. 202 is said after the commit.
//! - *Claims*: jobs claimed and finished, each with an entry in the journal, by eight workers of
//!   each of 1, 2 and 3 stores, without a registry: the database's share of a publication.
//! - *Publications*: 600 plain tags of two images, published by 1, 2 and 3 replicas at a registry that
//!   takes 30 ms for each answer.
//!
//! Bounds stand beside the figures. They decide the exit code with `--check` only, for a machine
//! that does nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../common/mod.rs"]
mod common;
mod server;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use onetag::store::{Act, End, Entry, Store, StoredIndex, Trigger, Wake};

use common::Result;
use common::figures::{at_least, heading, note};
use common::load::{self, Load, Until};
use common::service::Service;
use server::processor_time_of;
use support::postgres::connect;
use support::{FakeRegistry, Postgres};

/// How many jobs are claimed and finished.
const JOBS: usize = 6_000;
/// How many plain tags are published.
const TAGS: usize = 600;
/// How long the registry takes for each answer.
const DISTANCE: Duration = Duration::from_millis(30);

/// Measure what several replicas do on one PostgreSQL
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
    Claims,
    Publications,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run("replicas", options.bench, options.check, bench(&options))
}

/// Runs everything and prints it; says whether every bound was kept.
async fn bench(options: &Options) -> Result<bool> {
    heading();
    let figures = if options.figures.is_empty() { Figure::value_variants() } else { &options.figures };
    let mut is_kept = true;
    for figure in figures {
        is_kept &= match figure {
            Figure::Intake => intake(options).await?,
            Figure::Claims => claims().await?,
            Figure::Publications => publications(options).await?,
        };
    }
    Ok(is_kept)
}

async fn intake(options: &Options) -> Result<bool> {
    let server = Postgres::start(&["fsync = on"]);
    let database = server.database().await;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas
            .push(Service::start(&options.binary, &database, "127.0.0.1:9", "quiet = \"1h\"\npoll = \"7d\"").await?);
    }
    let before = (processor_time_of(&server)?, processor_time_all(&replicas)?);
    let until = Until::Passed(Duration::from_secs(options.seconds));
    let loads = replicas.iter().enumerate().map(|(number, replica)| {
        let hook = replica.hook();
        async move { Load::post(&hook, move |n| load::mixed(n + 10_000_000 * number as u64), until).await }
    });
    let loads = futures_util::future::try_join_all(loads).await?;
    let count: usize = loads.iter().map(Load::count).sum();
    let seconds = loads.iter().map(|load| load.time.as_secs_f64()).fold(0.0, f64::max);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let what = format!("deliveries stored per second by 3 replicas, of {count}");
    let is_kept = at_least(&what, "", count as f64 / seconds, 3_000.0);
    note("processor time of the replicas for each", "µs", each(processor_time_all(&replicas)? - before.1));
    note("processor time of PostgreSQL for each", "µs", each(processor_time_of(&server)? - before.0));
    let slowest = loads.iter().map(|load| load.percentile(99)).fold(0.0, f64::max);
    note("99 % of them are answered within", "ms", slowest);
    let waiting = replicas[0].metric("onetag_jobs_waiting").await?;
    note("bytes of a tag that waits, with its indexes", "B", size(&database, "onetag.job").await? / waiting);
    Ok(is_kept)
}

async fn claims() -> Result<bool> {
    for stores in 1..=3 {
        let server = Postgres::start(&["fsync = on"]);
        let database = server.database().await;
        let all = futures_util::future::try_join_all((0..stores).map(|_| Store::open(&database))).await?;
        let wakes: Vec<Wake> = (0..JOBS).map(wake).collect();
        for some in wakes.chunks(1000) {
            all[0].accept(some.to_vec()).await?;
        }
        let before = processor_time_of(&server)?;
        let started = Instant::now();
        let workers = all.iter().flat_map(|store| (0..8).map(|_| tokio::spawn(work(store.clone()))));
        let workers: Vec<_> = workers.collect();
        let mut done = 0;
        for worker in workers {
            done += worker.await??;
        }
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(done, JOBS, "every job is finished once");
        note(&format!("jobs claimed and finished per second, {stores} stores"), "", done as f64 / seconds);
        let each = (processor_time_of(&server)? - before).as_secs_f64() * 1e6 / done as f64;
        note("processor time of PostgreSQL for each", "µs", each);
    }
    Ok(true)
}

async fn work(store: Store) -> std::result::Result<usize, onetag::store::StoreError> {
    let mut done = 0;
    while let Some(job) = store.claim(Duration::from_secs(60), &[]).await? {
        done += usize::from(store.finish(&job, End::Done, Some(entry())).await?);
    }
    Ok(done)
}

fn wake(number: usize) -> Wake {
    Wake {
        repository: "registry.example.com/acme/app".parse().expect("a repository"),
        tag: format!("v{number}").parse().expect("a tag"),
        trigger: Trigger::Scan,
        quiet: Duration::ZERO,
        longest: Duration::ZERO,
        hint: None,
        event_id: None,
    }
}

/// As large as that of a tag with two images.
fn entry() -> Entry {
    let bytes = vec![b'x'; 600];
    Entry {
        act: Act::Pushed,
        old_digest: None,
        new_digest: None,
        index: Some(StoredIndex { media_type: "application/vnd.oci.image.index.v1+json".into(), bytes }),
        inputs: serde_json::json!({ "amd64-v1": "x".repeat(150), "arm64-v1": "x".repeat(150) }),
        reasons: serde_json::json!([]),
        requests: 8,
    }
}

async fn publications(options: &Options) -> Result<bool> {
    let mut rates = Vec::new();
    for count in 1..=3 {
        let registry = FakeRegistry::builder().delay(DISTANCE).start().await;
        let server = Postgres::start(&["fsync = on"]);
        let database = server.database().await;
        let mut replicas = Vec::new();
        let rule = "require = [\"amd64\", \"arm64\"]\nquiet = \"0s\"\npoll = \"7d\"";
        for _ in 0..count {
            replicas.push(Service::start(&options.binary, &database, &registry.host(), rule).await?);
        }
        for tag in 0..TAGS {
            for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64")] {
                registry.push_image(&format!("acme/app:{word}-v{tag}"), platform);
            }
        }
        let store = Store::open(&database).await?;
        let before = (processor_time_of(&server)?, processor_time_all(&replicas)?);
        let started = Instant::now();
        let repository = format!("{}/acme/app", registry.host()).parse::<onetag::model::Repository>()?;
        let wakes = (0..TAGS).map(|number| Wake { repository: repository.clone(), ..wake(number) });
        store.accept(wakes.collect()).await?;
        while registry.count(support::Kind::PutManifest) < TAGS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rate = TAGS as f64 / started.elapsed().as_secs_f64();
        replicas[0].settle().await?;
        rates.push(rate);
        note(&format!("tags published per second, {count} replicas, 30 ms from the registry"), "", rate);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / TAGS as f64;
        note("processor time of the replicas for each", "µs", each(processor_time_all(&replicas)? - before.1));
        note("processor time of PostgreSQL for each", "µs", each(processor_time_of(&server)? - before.0));
        if count == 3 {
            note(
                "bytes kept of each publication, with indexes",
                "B",
                size(&database, "onetag.journal").await? / TAGS as f64,
            );
        }
    }
    Ok(at_least("publications of three replicas, compared with one's", "x", rates[2] / rates[0], 2.0))
}

/// How much time these spent on the processors so far.
fn processor_time_all(replicas: &[Service]) -> Result<Duration> {
    replicas.iter().map(Service::processor_time).sum()
}

/// How much a table takes, with its indexes.
async fn size(database: &str, table: &str) -> Result<f64> {
    let mut db = connect(database).await;
    let size: i64 =
        sqlx::query_scalar("SELECT pg_total_relation_size($1::regclass)").bind(table).fetch_one(&mut db).await?;
    Ok(size as f64)
}
