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
//! - *Claims*: jobs claimed and finished, each with an entry in the journal, eight at a time in each of
//!   1, 2 and 3 stores, as replicas do. With jobs of 30 ms the stores are the limit, and more of them do
//!   more; with jobs of no time the database or the machine is. No registry is asked.
//! - *Publications*: 600 plain tags of two images, published by 1, 2 and 3 replicas at a registry that
//!   takes 30 ms for each answer.
//!
//! Below each rate stands how much of the processors PostgreSQL and the replicas used (in *claims* this
//! process is the replicas): where it adds up to all there are, that is the limit, and beside it stands
//! whose share is how large. Where it does not, the work waits for the registry or for syncs.
//!
//! Bounds stand beside the figures. They decide the exit code with `--check` only, for a machine
//! that does nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../common/mod.rs"]
mod common;
mod cost;
mod server;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use onetag::store::{Act, End, Entry, Store, StoredIndex, Trigger, Wake};
use tokio::task::JoinSet;

use common::Result;
use common::figures::{at_least, heading, note};
use common::load::{self, Load, Until};
use common::service::Service;
use cost::{Durability, Meter};
use support::postgres::connect;
use support::{FakeRegistry, Postgres};

/// How many jobs are claimed and finished.
const JOBS: usize = 6_000;
/// How many a store works on at one time, as a replica does at one registry.
const PLACES: usize = 8;
/// How many plain tags are published.
const TAGS: usize = 600;
/// How long the registry takes for each answer, and a job without one.
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
    let meter = Meter::start(&server, &replicas)?;
    let until = Until::Passed(Duration::from_secs(options.seconds));
    let loads = replicas.iter().enumerate().map(|(number, replica)| {
        let hook = replica.hook();
        async move { Load::post(&hook, move |n| load::mixed(n + 10_000_000 * number as u64), until).await }
    });
    let loads = futures_util::future::try_join_all(loads).await?;
    let cost = meter.stop(&replicas)?;
    let count: usize = loads.iter().map(Load::count).sum();
    let seconds = loads.iter().map(|load| load.time.as_secs_f64()).fold(0.0, f64::max);
    let what = format!("deliveries stored per second by 3 replicas, of {count}");
    let is_kept = at_least(&what, "", count as f64 / seconds, 3_000.0);
    cost.tell(count);
    let slowest = loads.iter().map(|load| load.percentile(99)).fold(0.0, f64::max);
    note("99 % of them are answered within", "ms", slowest);
    let waiting = replicas[0].metric("onetag_jobs_waiting").await?;
    note("bytes of a tag that waits, with its indexes", "B", size(&database, "onetag.job").await? / waiting);
    Ok(is_kept)
}

async fn claims() -> Result<bool> {
    let mut rates = Vec::new();
    for takes in [DISTANCE, Duration::ZERO] {
        for stores in 1..=3 {
            rates.push(claimed_per_second(stores, takes).await?);
        }
    }
    Ok(at_least("jobs of 30 ms by three stores, compared with one", "x", rates[2] / rates[0], 2.5))
}

/// Jobs per second, each of which takes this long.
async fn claimed_per_second(stores: usize, takes: Duration) -> Result<f64> {
    let server = Postgres::start(&["fsync = on"]);
    let database = server.database().await;
    let all = futures_util::future::try_join_all((0..stores).map(|_| Store::open(&database))).await?;
    let wakes: Vec<Wake> = (0..JOBS).map(wake).collect();
    for some in wakes.chunks(1000) {
        all[0].accept(some.to_vec()).await?;
    }
    let durability = Durability::of(&server).await?;
    let meter = Meter::start(&server, &[])?;
    let replicas: Vec<_> = all.iter().map(|store| tokio::spawn(work(store.clone(), takes))).collect();
    let mut done = 0;
    for replica in replicas {
        done += replica.await??;
    }
    let cost = meter.stop(&[])?;
    assert_eq!(done, JOBS, "every job is finished once");
    let rate = done as f64 / cost.time.as_secs_f64();
    note(&format!("jobs of {} ms per second, {stores} stores", takes.as_millis()), "", rate);
    cost.tell(done);
    futures_util::future::join_all(all.iter().map(Store::close)).await;
    durability.tell(&server, done).await?;
    Ok(rate)
}

/// Claims and finishes jobs as a replica does, until there are none; returns how many.
async fn work(store: Store, takes: Duration) -> Result<usize> {
    let (mut running, mut done) = (JoinSet::new(), 0);
    loop {
        let claimed = match PLACES - running.len() {
            0 => Vec::new(),
            places => store.claim(Duration::from_secs(60), &[], places).await?,
        };
        for job in claimed {
            let store = store.clone();
            running.spawn(async move {
                tokio::time::sleep(takes).await;
                store.finish(&job, End::Done, Some(entry())).await
            });
        }
        let Some(ended) = running.join_next().await else { return Ok(done) };
        done += usize::from(ended??);
        while let Some(ended) = running.try_join_next() {
            done += usize::from(ended??);
        }
    }
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
        // What is named is scanned at the start, and not while it is being published.
        let host = registry.host();
        let rules = format!("{rule}\n[[repository]]\nregistry = \"{host}\"\nname = \"acme/app\"\n{rule}");
        for _ in 0..count {
            replicas.push(Service::start(&options.binary, &database, &host, &rules).await?);
        }
        for tag in 0..TAGS {
            for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64")] {
                registry.push_image(&format!("acme/app:{word}-v{tag}"), platform);
            }
        }
        let store = Store::open(&database).await?;
        let durability = Durability::of(&server).await?;
        let meter = Meter::start(&server, &replicas)?;
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
        meter.stop(&replicas)?.tell(TAGS);
        store.close().await;
        drop(replicas);
        durability.tell(&server, TAGS).await?;
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

/// How much a table takes, with its indexes.
async fn size(database: &str, table: &str) -> Result<f64> {
    let mut db = connect(database).await;
    let size: i64 =
        sqlx::query_scalar("SELECT pg_total_relation_size($1::regclass)").bind(table).fetch_one(&mut db).await?;
    Ok(size as f64)
}
