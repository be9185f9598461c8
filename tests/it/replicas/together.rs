//! What replicas owe each other, one thing at a time.

use std::time::Duration;

use super::{Replica, registry, sender};
use crate::support::postgres::{connect, execute};
use crate::support::{FakeRegistry, Kind, Play, Postgres, TagList, When, eventually};

const RULE: &str = "require = [\"amd64\", \"arm64\"]\nquiet = \"0s\"\npoll = \"1h\"";

async fn replicas(registry: &FakeRegistry, top: &str, rule: &str) -> Vec<Replica> {
    let database = Postgres::shared().database().await;
    let replicas: Vec<Replica> = (0..3).map(|number| Replica::new(number, &database, registry, top, rule)).collect();
    futures_util::future::join_all(replicas.iter().map(Replica::start)).await;
    replicas
}

fn push(registry: &FakeRegistry, tag: &str) -> [String; 2] {
    [
        registry.push_image(&format!("acme/app:amd64-{tag}"), "linux/amd64"),
        registry.push_image(&format!("acme/app:arm64-{tag}"), "linux/arm64"),
    ]
}

/// Stopped between looking and writing, for longer than its lease: the last moment before a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_wakes_after_its_lease_writes_nothing() {
    let registry = registry().start().await;
    let database = Postgres::shared().database().await;
    let replicas: Vec<Replica> =
        (0..2).map(|number| Replica::new(number, &database, &registry, "lease = \"2s\"", RULE)).collect();
    replicas[0].start().await;
    let old = push(&registry, "v1");
    // The last that it asks before it writes is answered late: nothing but the write is left to do.
    registry.on(When::kind(Kind::Blob).authorized().times(2), Play::Delay(Duration::from_secs(4)));
    replicas[0].tell_at_last("acme/app", "amd64-v1", &old[0]).await;
    eventually("it looks", async || {
        (registry.requests_of(Kind::Blob).iter().filter(|it| sender(it).is_some()).count() == 2).then_some(())
    })
    .await;
    replicas[0].signal("STOP").await;
    replicas[1].start().await;
    let new = push(&registry, "v1");
    replicas[1].tell_at_last("acme/app", "amd64-v1", &new[0]).await;
    eventually("the other takes over", async || (registry.children("acme/app:v1") == new).then_some(())).await;

    replicas[0].signal("CONT").await;
    eventually("it notices", async || {
        let log = replicas[0].log();
        (log.contains("somebody else works on") || log.contains("lease of `v1` was lost")).then_some(())
    })
    .await;
    let senders: Vec<_> = registry.requests_of(Kind::PutManifest).iter().filter_map(sender).collect();
    assert!(!senders.is_empty() && senders.iter().all(|sender| *sender == 1), "{senders:?}\n{}", replicas[0].log());
    assert_eq!(registry.children("acme/app:v1"), new);
}

#[tokio::test]
async fn one_replica_scans_for_all_and_all_work() {
    let registry = registry().delay(Duration::from_millis(100)).start().await;
    // A name without wildcards is scanned from the start.
    let rule = RULE.replace("1h", "2s");
    let rule = format!("{rule}\n[[repository]]\nregistry = \"{}\"\nname = \"acme/app\"\n{rule}", registry.host());
    let replicas = replicas(&registry, "", &rule).await;
    // Everybody is there when there is something to do.
    for n in 0..60 {
        push(&registry, &format!("v{n}"));
    }
    eventually("every tag is published", async || {
        (0..60).all(|n| registry.platforms(&format!("acme/app:v{n}")).len() == 2).then_some(())
    })
    .await;
    for replica in &replicas {
        eventually("everybody knows that it was scanned", async || {
            let name = format!("onetag_scan_staleness_seconds{{repository=\"{}/acme/app\"}}", registry.host());
            replica.metric(&name).await.filter(|age| *age < 60.0)
        })
        .await;
    }
    let mut writers: Vec<_> = registry.requests_of(Kind::PutManifest).iter().filter_map(sender).collect();
    assert_eq!(writers.len(), 60);
    writers.sort();
    writers.dedup();
    assert_eq!(writers, [0, 1, 2], "everybody takes a share");
}

/// There is nothing to publish, so whoever lists tags scans or audits.
#[tokio::test]
async fn one_replica_lists_repositories_scans_and_audits_for_all() {
    let registry = registry().catalog(TagList::default()).delay(Duration::from_millis(20)).start().await;
    registry.push_image("acme/app:latest", "linux/amd64");
    let started = std::time::Instant::now();
    let replicas = replicas(&registry, "", "quiet = \"0s\"\npoll = \"1h\"\naudit = \"2s\"").await;
    for replica in &replicas {
        eventually("everybody knows what is listed, and that it was scanned", async || {
            let host = registry.host();
            let listed = replica.metric(&format!("onetag_catalog_listed{{registry=\"{host}\"}}")).await?;
            let age = format!("onetag_scan_staleness_seconds{{repository=\"{host}/acme/app\"}}");
            (listed == 1.0).then_some(replica.metric(&age).await?)
        })
        .await;
    }
    let asked = |kind: Kind| registry.requests_of(kind).iter().filter(|it| sender(it).is_some()).count();
    assert_eq!(asked(Kind::Catalog), 1);
    // Three would make nine of them in less than half of that time.
    let listings =
        eventually("it is audited again and again", async || Some(asked(Kind::Tags)).filter(|n| *n >= 9)).await;
    let (audits, turns) = (listings as f64 - 1.0, started.elapsed().as_secs_f64() / (0.8 * 2.0));
    assert!(audits <= turns + 1.0, "{audits} audits in {turns} times of 1.6 s");
}

/// A roll-back that takes long, and an image that ends it before it is over.
#[tokio::test]
async fn a_run_waits_for_a_roll_back_at_another_replica() {
    let registry = registry().start().await;
    let replicas = replicas(&registry, "", RULE).await;
    for _ in 0..2 {
        let images = push(&registry, "v1");
        replicas[1].tell_at_last("acme/app", "arm64-v1", &images[1]).await;
        eventually("it is published", async || (registry.children("acme/app:v1") == images).then_some(())).await;
        eventually("nothing waits", async || {
            replicas[1].json("/api/v1/jobs").await?["active"].as_array()?.is_empty().then_some(())
        })
        .await;
    }
    registry.forget_requests();
    registry.on(When::kind(Kind::PutManifest).authorized().once(), Play::Late(Duration::from_millis(1500)));
    let target = registry.repository("acme/app");
    let roll_back = replicas[0].operate("rollback", &target, "v1");
    let push_meanwhile = async {
        eventually("the roll-back is under way", async || {
            registry.requests_of(Kind::PutManifest).iter().any(|put| sender(put).is_some()).then_some(())
        })
        .await;
        let newest = push(&registry, "v1");
        replicas[1].tell_at_last("acme/app", "arm64-v1", &newest[1]).await;
        newest
    };
    let (status, newest) = tokio::join!(roll_back, push_meanwhile);
    assert_eq!(status, 200);
    eventually("the newest counts", async || (registry.children("acme/app:v1") == newest).then_some(())).await;
    let puts: Vec<_> =
        registry.requests_of(Kind::PutManifest).into_iter().filter(|put| sender(put).is_some()).collect();
    assert_eq!(sender(&puts[0]), Some(0), "the roll-back");
    assert!(puts[0].answered < Some(puts[1].arrived), "two wrote at one time");
}

#[tokio::test]
async fn a_registry_that_asks_one_replica_for_quiet_is_left_alone_by_all() {
    let registry = registry().start().await;
    let replicas = replicas(&registry, "", RULE).await;
    let first = push(&registry, "v1");
    registry.on(When::any().authorized().once(), Play::too_many_requests("15"));
    replicas[0].tell_at_last("acme/app", "amd64-v1", &first[0]).await;
    eventually("somebody was asked", async || {
        registry.requests().iter().any(|it| it.status == Some(429)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await; // everybody looks within a second
    let before = registry.requests().len();
    for n in 2..8 {
        let images = push(&registry, &format!("v{n}"));
        replicas[n % 3].tell_at_last("acme/app", &format!("amd64-v{n}"), &images[0]).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(registry.requests().len(), before, "nobody asked anything");
    eventually("then everything is done", async || {
        (1..8).all(|n| registry.platforms(&format!("acme/app:v{n}")).len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn replicas_together_keep_the_pace_of_one() {
    let registry = registry().start().await;
    let database = Postgres::shared().database().await;
    let replicas: Vec<Replica> = (0..3)
        .map(|number| {
            let replica = Replica::new(number, &database, &registry, "", RULE);
            replica.also("password = { env = \"REGISTRY\" }", "password = { env = \"REGISTRY\" }\nrate = \"600/min\"");
            replica
        })
        .collect();
    futures_util::future::join_all(replicas.iter().map(Replica::start)).await;
    let started = std::time::Instant::now();
    for n in 0..12 {
        let images = push(&registry, &format!("v{n}"));
        replicas[n % 3].tell_at_last("acme/app", &format!("amd64-v{n}"), &images[0]).await;
    }
    eventually("every tag is published", async || {
        (0..12).all(|n| registry.platforms(&format!("acme/app:v{n}")).len() == 2).then_some(())
    })
    .await;
    let (sent, seconds) = (registry.requests().len() as f64, started.elapsed().as_secs_f64());
    // Ten a second, a burst of sixty, and what each may have taken and not used yet.
    assert!(sent <= 10.0 * seconds + 60.0 + 3.0 * 10.0, "{sent} requests in {seconds} s");
    assert!(sent > 100.0, "it would be no test otherwise: {sent}");
}

#[tokio::test]
async fn whichever_replica_is_asked_the_answer_is_about_all() {
    let registry = registry().start().await;
    let replicas = replicas(&registry, "", RULE).await;
    let images = push(&registry, "v1");
    replicas[0].tell_at_last("acme/app", "amd64-v1", &images[0]).await;
    for replica in &replicas {
        eventually("it knows of the publication", async || {
            let history = replica.json("/api/v1/history").await?;
            (history["history"][0]["tag"] == "v1").then_some(())
        })
        .await;
    }
    registry.push_image("acme/app:amd64-v2", "linux/arm64");
    let wrong = registry.digest("acme/app:amd64-v2").unwrap();
    replicas[1].tell_at_last("acme/app", "amd64-v2", &wrong).await;
    for replica in &replicas {
        eventually("it counts what is held", async || (replica.metric("onetag_tags_held").await? >= 1.0).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn each_metric_says_whose_it_is() {
    let registry = registry().start().await;
    let database = Postgres::shared().database().await;
    let replica = Replica::new(0, &database, &registry, "", RULE);
    replica.start().await;
    let text = eventually("it tells its metrics", async || replica.get("/metrics").await).await;
    let help: Vec<&str> = text.lines().filter(|line| line.starts_with("# HELP")).collect();
    assert!(help.len() >= 8, "{text}");
    for line in help {
        let line = line.trim_end_matches('.');
        let ends = [", here", ", for all replicas", ", by any replica"];
        assert!(ends.iter().any(|end| line.ends_with(end)), "{line}");
    }
}

#[tokio::test]
async fn whoever_looks_at_one_replica_hears_what_another_did() {
    let registry = registry().start().await;
    let replicas = replicas(&registry, "", RULE).await;
    replicas[0].kill().await;
    replicas[1].kill().await;
    let mut heard = replicas[2].listen_to("/events").await;
    replicas[2].signal("STOP").await; // so that it is another that publishes
    replicas[0].start().await;
    let images = push(&registry, "v1");
    replicas[0].tell_at_last("acme/app", "amd64-v1", &images[0]).await;
    eventually("it is published", async || (registry.children("acme/app:v1") == images).then_some(())).await;
    replicas[2].signal("CONT").await;
    // A busy machine may take so long that it is told to read the page anew.
    hear(&mut heard, &["\"tag\":\"v1\"", "event: reload"]).await;
    assert_eq!(registry.requests_of(Kind::PutManifest).iter().filter_map(sender).collect::<Vec<_>>(), [0]);
}

/// Reads on until one of these was said.
async fn hear(events: &mut reqwest::Response, wanted: &[&str]) {
    let mut text = String::new();
    while !wanted.iter().any(|wanted| text.contains(wanted)) {
        let more = tokio::time::timeout(Duration::from_secs(60), events.chunk()).await.expect("something is told");
        text.push_str(&String::from_utf8_lossy(&more.expect("it goes on").expect("it has no end")));
    }
}

#[tokio::test]
async fn whoever_was_not_told_for_a_while_is_told_to_read_the_page_anew() {
    let registry = registry().start().await;
    let database = Postgres::shared().database().await;
    let replica = Replica::new(0, &database, &registry, "", RULE);
    replica.start().await;
    let mut heard = replica.listen_to("/events").await;
    // It must have looked once since somebody listens.
    tokio::time::sleep(Duration::from_secs(2)).await;
    replica.signal("STOP").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    replica.signal("CONT").await;
    hear(&mut heard, &["event: reload"]).await;
}

/// Whoever has it already acknowledged what whoever does not have it yet works on.
#[tokio::test]
async fn a_delivery_waits_for_a_replica_whose_settings_are_about_it() {
    let registry = registry().start().await;
    let database = Postgres::shared().database().await;
    let [new, old] = [0, 1].map(|number| Replica::new(number, &database, &registry, "", RULE));
    old.also("name = \"acme/*\"", "name = \"elsewhere/*\"");
    registry.on(When::any().authorized(), Play::status(503));
    let images = push(&registry, "v1");
    new.start().await;
    new.tell_at_last("acme/app", "amd64-v1", &images[0]).await;
    eventually("it was looked at", async || {
        let jobs = new.json("/api/v1/jobs").await?["troubled"].to_string();
        jobs.contains("failing").then_some(())
    })
    .await;
    new.kill().await;
    old.start().await;
    eventually("the other looks at it", async || {
        let jobs = old.json("/api/v1/jobs").await?["active"].to_string();
        jobs.contains("no rule of the process that looked").then_some(())
    })
    .await;
    registry.behave();
    new.start().await;
    eventually("it is published", async || (registry.children("acme/app:v1") == images).then_some(())).await;
}

#[tokio::test]
async fn a_scan_whose_process_is_gone_is_done_by_another() {
    let registry = registry().start().await;
    let database = Postgres::shared().database().await;
    let rule = format!("{RULE}\n[[repository]]\nregistry = \"{}\"\nname = \"acme/app\"\n{RULE}", registry.host());
    let [one, other] = [0, 1].map(|number| Replica::new(number, &database, &registry, "", &rule));
    let images = push(&registry, "v1");
    one.start().await;
    eventually("it is scanned", async || (registry.children("acme/app:v1") == images).then_some(())).await;
    one.kill().await;
    // It had just begun the next one, and three seconds of its time are left.
    let again = "UPDATE onetag.turn SET done_at = NULL, every = 300000,
                 next_at = extract(epoch FROM clock_timestamp()) * 1000 + 3000 WHERE kind = 'scan'";
    execute(&mut connect(&database).await, again).await;
    let images = push(&registry, "v2");
    other.start().await;
    eventually("it is scanned again", async || (registry.children("acme/app:v2") == images).then_some(())).await;
}

#[tokio::test]
async fn a_replica_tells_its_own_metrics_while_the_database_is_away() {
    let registry = registry().start().await;
    let server = Postgres::start(&[]);
    let replica = Replica::new(0, &server.database().await, &registry, "", RULE);
    replica.start().await;
    let answers = async || replica.metric("onetag_database_answers").await;
    eventually("it tells of all", async || answers().await.filter(|it| *it == 1.0)).await;
    assert!(replica.metric("onetag_jobs_waiting").await.is_some());
    server.down();
    assert!(!replica.tell("acme/app", "amd64-v1", "sha256:0").await);
    eventually("it tells of itself", async || answers().await.filter(|it| *it == 0.0)).await;
    let text = eventually("it tells its metrics", async || replica.get("/metrics").await).await;
    assert!(text.contains("outcome=\"not-stored\""), "{text}");
    assert!(!text.contains("onetag_jobs_waiting"), "nobody knows: {text}");
}
