//! Replicas that are killed, stopped and started while everything is pushed, on a database that is
//! restarted: every tag ends right, and no two write one tag at one time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Replica, registry, sender};
use tokio::task::JoinSet;

use crate::support::{FakeRegistry, Kind, Postgres, Recorded};

/// How many plain tags there are; `ONETAG_TEST_TAGS` asks for more.
const TAGS: usize = 1000;
const ARCHES: [(&str, &str); 2] = [("amd64", "linux/amd64"), ("arm64", "linux/arm64")];
/// Shorter than a replica is stopped.
const LEASE: Duration = Duration::from_secs(4);
/// How long nothing may come right once the trouble is over, and how long nobody may take a delivery.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many deliveries are on their way at most, so that each is tried often enough to get through.
const MOST_ON_THEIR_WAY: usize = 64;

struct World {
    registry: FakeRegistry,
    replicas: Vec<Replica>,
    server: Postgres,
    is_over: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tag_ends_right_whatever_happens_to_replicas_and_the_database() {
    let tags = std::env::var("ONETAG_TEST_TAGS").ok().and_then(|text| text.parse().ok()).unwrap_or(TAGS);
    let registry = registry().delay(Duration::from_millis(2)).start().await;
    let server = Postgres::start(&["fsync = on"]);
    let database = server.database().await;
    // No scan helps: what is not acknowledged and kept is lost.
    let (top, rule) = (
        format!("lease = \"{}s\"", LEASE.as_secs()),
        "require = [\"amd64\", \"arm64\"]\nquiet = \"200ms\"\npoll = \"6h\"",
    );
    let replicas: Vec<Replica> = (0..3).map(|number| Replica::new(number, &database, &registry, &top, rule)).collect();
    futures_util::future::join_all(replicas.iter().map(Replica::start)).await;
    let world = Arc::new(World { registry, replicas, server, is_over: AtomicBool::new(false) });

    let pushing = async {
        let pushed = push_everything(&world, tags).await;
        world.is_over.store(true, Ordering::SeqCst);
        pushed
    };
    let (pushed, counts) = tokio::join!(pushing, trouble(&world));
    assert!(counts.iter().all(|count| *count >= 2), "too little happened: {counts:?}");

    let newest: HashMap<String, String> = pushed.iter().cloned().collect();
    let (mut before, mut since) = (usize::MAX, Instant::now());
    loop {
        let wrong = wrong(&world.registry, tags, &newest);
        let Some(example) = wrong.first() else { break };
        if wrong.len() < before {
            (before, since) = (wrong.len(), Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let logs: String = world.replicas.iter().map(Replica::log).collect();
            let about: Vec<&str> = logs.lines().filter(|line| line.contains(example)).collect();
            panic!("{} tags are wrong and stay so, as `{example}`:\n{}", wrong.len(), about.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    idle(&world).await;
    assert!(wrong(&world.registry, tags, &newest).is_empty(), "nothing was written over what was right");

    let log = world.registry.requests_of(Kind::PutManifest);
    let mut of_tags: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
    for put in log.iter().filter(|put| put.status == Some(201) || put.status.is_none() && sender(put).is_some()) {
        of_tags.entry(put.reference.as_deref().unwrap()).or_default().push(put);
    }
    assert_eq!(of_tags.len(), tags);
    let order: HashMap<&str, usize> =
        pushed.iter().enumerate().map(|(at, (_, digest))| (digest.as_str(), at)).collect();
    for (tag, puts) in of_tags {
        no_two_overlap(tag, &puts);
        none_goes_back(tag, &puts, &order);
    }
    for replica in &world.replicas {
        assert!(!replica.log().contains("panicked"), "{}", replica.log());
    }
}

/// Pushes every architecture tag in random order, some of them again, and tells of each until
/// somebody has it; returns them in order.
async fn push_everything(world: &Arc<World>, tags: usize) -> Vec<(String, String)> {
    let mut order: Vec<(usize, usize)> = (0..tags).flat_map(|tag| [(tag, 0), (tag, 1)]).collect();
    let again: Vec<_> = order.iter().copied().filter(|_| fastrand::u32(..5) == 0).collect();
    order.extend(again);
    fastrand::shuffle(&mut order);
    let (mut pushed, mut telling) = (Vec::new(), JoinSet::new());
    for (number, (tag, arch)) in order.into_iter().enumerate() {
        let (word, platform) = ARCHES[arch];
        let name = format!("{word}-v{tag}");
        let digest = world.registry.push_image(&format!("acme/app:{name}"), platform);
        pushed.push((name.clone(), digest.clone()));
        telling.spawn(tell(world.clone(), name, digest));
        if telling.len() > MOST_ON_THEIR_WAY {
            telling.join_next().await.expect("one is on its way").expect("somebody took it");
        }
        if number % 16 == 0 {
            // As long as the trouble needs to be trouble.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    telling.join_all().await;
    pushed
}

/// As a load balancer does: another replica is tried if one does not take it.
async fn tell(world: Arc<World>, name: String, digest: String) {
    let (mut number, started) = (fastrand::usize(..3), Instant::now());
    while !world.replicas[number].tell("acme/app", &name, &digest).await {
        assert!(started.elapsed() < PATIENCE, "nobody takes `{name}`; {}", world.replicas[number].log());
        number = (number + 1) % 3;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Kills, stops and restarts until told; returns how often it did each.
async fn trouble(world: &Arc<World>) -> [usize; 3] {
    let mut counts = [0; 3];
    for round in 0.. {
        if world.is_over.load(Ordering::SeqCst) && round >= 6 {
            return counts;
        }
        let replica = &world.replicas[fastrand::usize(..3)];
        counts[round % 3] += 1;
        match round % 3 {
            0 => {
                replica.kill().await;
                replica.start().await;
            }
            1 => {
                replica.signal("STOP").await;
                tokio::time::sleep(LEASE * 3 / 2).await;
                replica.signal("CONT").await;
            }
            _ => {
                with_server(world, Postgres::down).await;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1500))).await;
                with_server(world, Postgres::up).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..1000))).await;
    }
    counts
}

async fn with_server(world: &Arc<World>, act: fn(&Postgres)) {
    let world = world.clone();
    tokio::task::spawn_blocking(move || act(&world.server)).await.unwrap();
}

/// The plain tags that do not hold the newest image of each architecture.
fn wrong(registry: &FakeRegistry, tags: usize, newest: &HashMap<String, String>) -> Vec<String> {
    let is_right = |tag: usize| {
        let images = ARCHES.map(|(word, _)| newest[&format!("{word}-v{tag}")].clone());
        registry.children(&format!("acme/app:v{tag}")) == images
    };
    (0..tags).filter(|tag| !is_right(*tag)).map(|tag| format!("v{tag}")).collect()
}

async fn idle(world: &World) {
    crate::support::eventually("no job waits", async || {
        world.replicas[0].json("/api/v1/jobs").await?["active"].as_array()?.is_empty().then_some(())
    })
    .await;
}

/// A write takes from its arrival to its answer; one that was never answered ended when it came.
#[track_caller]
fn no_two_overlap(tag: &str, puts: &[&Recorded]) {
    for (at, other) in puts.iter().enumerate() {
        for one in &puts[..at] {
            let is_over = one.answered.is_none_or(|answered| answered < other.arrived);
            let (one, other) = (sender(one), sender(other));
            assert!(is_over || one == other, "`{tag}` was written by {one:?} and {other:?} at one time");
        }
    }
}

/// What was written later is not made of earlier images.
#[track_caller]
fn none_goes_back(tag: &str, puts: &[&Recorded], order: &HashMap<&str, usize>) {
    let mut newest: HashMap<usize, usize> = HashMap::new();
    for put in puts {
        let index = put.json();
        for (place, entry) in index["manifests"].as_array().unwrap().iter().enumerate() {
            let pushed = order[entry["digest"].as_str().unwrap()];
            let before = newest.insert(place, pushed).unwrap_or_default();
            assert!(before <= pushed, "`{tag}` went back to an earlier image, by {:?}", sender(put));
        }
    }
}
