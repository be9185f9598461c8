//! The service's life: what it needs to start, what it survives, and how it ends.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::intake::{ADMIN_TOKEN, HOOK_SECRET, Intake, NOWHERE, Place, must_be_able_to_mount, push, sections};
use crate::support::raw;
use crate::support::{FakeRegistry, eventually};

/// A database that was used: its file is complete.
async fn used() -> Place {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    for number in 0..50 {
        assert_eq!(intake.deliver(push("acme/app", &format!("amd64-{number}"))).await, 202);
    }
    intake.end("TERM").await.expect(0);
    place
}

/// Starting fails, and says this.
async fn refuses(place: &Place, says: &[&str]) {
    let ran = place.serve(&[]).run().await.expect(3);
    assert_eq!(ran.stdout, "");
    for part in says {
        assert!(ran.stderr.contains(part), "`{part}` is not in\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_senders_and_once_there_is_space_all_is_well() {
    must_be_able_to_mount().await;
    let registry = FakeRegistry::start().await;
    let place = Place::new(&sections(&registry.host()));
    let cli = place.serve_after_mounting("mount -t tmpfs -o size=1m tmpfs data");
    let intake = Intake::of(cli).await;
    assert_eq!(intake.status("/readyz").await, 200);
    registry.push_image("acme/first:amd64-1", "linux/amd64");
    assert_eq!(intake.deliver(push("acme/first", "amd64-1")).await, 202);
    eventually("the first is published", async || registry.digest("acme/first:1")).await;

    let data = Path::new("/proc").join(intake.process().to_string()).join("root");
    let data = data.join(place.path("data").strip_prefix("/").expect("an absolute path"));
    let fill = data.join("fill");
    // A database that gives up its log makes some room again, so this is done more than once.
    let fill_up = || {
        let mut file = std::fs::File::options().create(true).append(true).open(&fill).expect("a file");
        let full = (0..4096).find_map(|_| file.write_all(&[0; 1024]).err()).expect("the disk is full now");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    };
    fill_up();

    // What the log has room for is stored honestly, then nothing is acknowledged any more.
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        let repository = format!("acme/r{number}");
        let request = intake.request("POST", "/hooks/main");
        let request = request.header("Authorization", crate::support::intake::HOOK_SECRET);
        let answer = request.body(push(&repository, "amd64-1").to_string()).send().await.expect("an answer");
        match answer.status().as_u16() {
            202 => accepted.push(repository),
            status => {
                assert_eq!(status, 503, "{}", intake.log());
                assert_eq!(answer.headers()["retry-after"], "5");
                refused += 1;
            }
        }
        if refused == 20 {
            break;
        }
    }
    assert_eq!(refused, 20, "the disk was never full");
    eventually("it is not ready", async || {
        fill_up();
        (intake.status("/readyz").await == 503).then_some(())
    })
    .await;
    assert_eq!(intake.status("/healthz").await, 200);

    for repository in &accepted {
        registry.push_image(&format!("{repository}:amd64-1"), "linux/amd64");
    }
    std::fs::remove_file(&fill).expect("space again");
    eventually("it is ready again", async || (intake.status("/readyz").await == 200).then_some(())).await;
    registry.push_image("acme/last:amd64-1", "linux/amd64");
    assert_eq!(intake.deliver(push("acme/last", "amd64-1")).await, 202);
    eventually("the last is published", async || registry.digest("acme/last:1")).await;
    for repository in accepted {
        eventually(&repository, async || registry.digest(&format!("{repository}:1"))).await;
    }
    intake.end("TERM").await.expect(0);
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_its_path_and_advice() {
    let place = used().await;
    let file = place.path("data/onetag.db");
    let whole = std::fs::read(&file).expect("a database");
    let mut flipped = whole.clone();
    let length = flipped.len();
    flipped[4096..length.min(5 * 4096)].fill(0xa5);
    for damaged in [&flipped[..], &whole[..whole.len() / 2], &b"no database at all, but long enough to be one"[..]] {
        std::fs::write(&file, damaged).expect("a damaged database");
        refuses(&place, &["data/onetag.db` is damaged", "hint: ", "move the file"]).await;
        assert_eq!(std::fs::read(&file).expect("the file"), damaged, "a refused file was changed");
    }
    std::fs::remove_file(&file).expect("out of the way");
    place.start().await.end("TERM").await.expect(0);
}

#[tokio::test]
async fn a_database_of_a_newer_version_or_of_another_program_is_refused() {
    let place = used().await;
    let file = place.path("data/onetag.db");
    let whole = std::fs::read(&file).expect("a database");
    // https://www.sqlite.org/fileformat.html: the user version at 60, the application's at 68.
    let with = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        std::fs::write(&file, bytes).expect("a database");
    };
    with(60, 99);
    refuses(&place, &["data/onetag.db` has schema 99", "hint: run the onetag that wrote it"]).await;
    with(68, 7);
    refuses(&place, &["data/onetag.db` is a database of another program", "hint: name another file"]).await;
}

#[tokio::test]
async fn a_second_service_on_the_same_database_is_refused() {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    refuses(&place, &["data/onetag.db` is in use by another onetag", "hint: stop the other one"]).await;
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202, "the first goes on");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    must_be_able_to_mount().await;
    let place = used().await;
    let cli = place.serve_after_mounting("mount --bind data data; mount -o remount,bind,ro data");
    let ran = cli.run().await.expect(3);
    assert!(ran.stderr.contains("data/onetag.db"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be written"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: the folder must be writable"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_address() {
    let place = Place::new("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    for [listen, admin] in [["127.0.0.1:0", &address.to_string()], [&address.to_string(), "127.0.0.1:0"]] {
        place.write(&format!("listen = \"{listen}\"\nadmin = \"{admin}\"\n{}", sections(NOWHERE)));
        let says = [&format!("{address} cannot be listened on: Address already in use")[..], "hint: stop the other"];
        refuses(&place, &says).await;
    }
    assert!(!place.path("data/onetag.db").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_check_says_whether_the_configuration_can_be_used_and_touches_nothing() {
    let place = Place::new(&sections(NOWHERE));
    let ran = place.serve(&["--check"]).run().await.expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("onetag.toml can be used\n", ""));
    place.configure(&sections(NOWHERE).replace("quiet", "quite"));
    let ran = place.serve(&["--check"]).run().await.expect(3);
    assert!(ran.stderr.contains("onetag.toml:") && ran.stderr.contains("did you mean `quiet`"), "{}", ran.stderr);
    assert!(!place.path("data/onetag.db").exists());
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_a_good_one_counts_at_once() {
    let place = Place::new(&sections(NOWHERE));
    let intake = place.start().await;
    let broken = ["[[hook]", "", "listen = 7"];
    for (count, text) in broken.into_iter().enumerate() {
        std::fs::write(place.path("onetag.toml"), text).expect("a configuration");
        intake.signal("HUP").await;
        let expected = count as u64 + 1;
        eventually("the refusal is counted", async || {
            (intake.metric("onetag_reload_failures_total").await == expected).then_some(())
        })
        .await;
        assert_eq!(intake.log().matches("The configuration stays as it was").count(), count + 1);
    }
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202);
    assert_eq!(intake.outcome("stored").await, 1, "the old rules and secrets still count");

    let other =
        sections(NOWHERE).replace("name = \"acme/*\"", "name = \"other/*\"").replace("\"quay\"\nf", "\"kiwi\"\nf");
    place.configure(&other);
    intake.signal("HUP").await;
    intake.logs("Read onetag.toml again").await;
    assert_eq!(intake.deliver(push("acme/app", "amd64-2")).await, 202);
    assert_eq!(intake.outcome("ignored").await, 1);
    assert_eq!(intake.deliver(push("other/app", "amd64-1")).await, 202);
    assert_eq!(intake.outcome("stored").await, 2);
    for (path, status) in [("/hooks/kiwi", 401), ("/hooks/quay", 404)] {
        assert_eq!(intake.request("POST", path).send().await.expect("an answer").status(), status, "{path}");
    }
}

#[tokio::test]
async fn told_to_stop_under_load_it_ends_soon_and_loses_nothing_it_acknowledged() {
    let registry = FakeRegistry::start().await;
    registry.set_delay(Duration::from_millis(20));
    let place = Place::new(&sections(&registry.host()));
    let intake = place.start().await;
    let repositories: Vec<String> = (0..400).map(|number| format!("acme/r{number}")).collect();
    for repository in &repositories {
        registry.push_image(&format!("{repository}:amd64-1"), "linux/amd64");
    }
    let mut acknowledged = Vec::new();
    let mut begun = None;
    for (number, repository) in repositories.iter().enumerate() {
        if number == 100 {
            intake.signal("TERM").await;
            begun = Some(Instant::now());
        }
        match intake.try_deliver(push(repository, "amd64-1")).await {
            Some(202) => acknowledged.push(repository),
            Some(status) => assert_eq!(status, 503),
            None => break,
        }
    }
    let ran = intake.wait().await.expect(0);
    assert!(begun.expect("it was told to stop").elapsed() < Duration::from_secs(25));
    assert!(ran.stderr.contains("Stopping"), "{}", ran.stderr);
    assert!(acknowledged.len() >= 100);

    registry.set_delay(Duration::ZERO);
    let intake = place.start().await;
    for repository in acknowledged {
        eventually(repository, async || registry.digest(&format!("{repository}:1"))).await;
    }
    intake.end("INT").await.expect(0);
}

#[tokio::test]
async fn with_sixty_four_files_it_tells_senders_to_come_again_and_lives() {
    let registry = FakeRegistry::start().await;
    let place = Place::new(&sections(&registry.host()));
    let intake = Intake::of(place.serve_after("ulimit -n 64")).await;
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(intake.connect().await);
    }
    let status = intake.deliver(push("acme/app", "amd64-1")).await;
    assert_eq!(status, 503, "{}", intake.log());
    // Those who are inside, and the operators, are not disturbed.
    assert_eq!(intake.jobs().await, 0);

    drop(open);
    registry.push_image("acme/app:amd64-1", "linux/amd64");
    eventually("a delivery is taken again", async || {
        (intake.deliver(push("acme/app", "amd64-1")).await == 202).then_some(())
    })
    .await;
    eventually("it is published", async || registry.digest("acme/app:1")).await;
    intake.end("TERM").await.expect(0);
}

#[tokio::test]
async fn one_address_cannot_keep_the_others_out() {
    let place = Place::new(&sections(NOWHERE));
    let intake = Intake::of(place.serve_after("ulimit -n 64")).await;
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(intake.connect().await);
    }
    let refused = intake.request("GET", "/readyz").send().await.expect("an answer");
    assert_eq!(refused.status(), 503, "the address that has too many gets no more");
    let other = intake.client_at("127.0.0.2");
    for path in ["/healthz", "/readyz"] {
        let answer = other.get(format!("http://{}{path}", intake.listen)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    let delivery = other.post(format!("http://{}/hooks/main", intake.listen)).header("Authorization", HOOK_SECRET);
    let answer = delivery.body(push("acme/app", "amd64-1").to_string()).send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn it_needs_no_temporary_folder_and_writes_beside_its_database_only() {
    must_be_able_to_mount().await;
    let registry = FakeRegistry::start().await;
    let place = Place::new(&sections(&registry.host()));
    // The folder stays where it is, with a program in it, and all the rest becomes read-only.
    let binary = env!("CARGO_BIN_EXE_onetag");
    std::fs::write(place.path("program"), "").expect("a place for the program");
    let script = format!(
        "mount --bind {binary} program; mount --rbind . /mnt; mount -t tmpfs -o ro tmpfs /tmp; \
         mount -t tmpfs -o ro tmpfs /var/tmp; mount --bind /mnt/data /mnt/data; \
         mount -o remount,bind,ro /mnt; cd /mnt; ! touch here 2>&1; ! touch /tmp/here 2>&1; \
         shift; set -- /mnt/program \"$@\""
    );
    let intake = Intake::of(place.serve_after_mounting(&script)).await;
    assert_eq!(intake.status("/readyz").await, 200);
    for number in 0..300 {
        let repository = format!("acme/r{number}");
        assert_eq!(intake.deliver(push(&repository, "amd64-1")).await, 202, "{}", intake.log());
    }
    registry.push_image("acme/app:amd64-1", "linux/amd64");
    assert_eq!(intake.deliver(push("acme/app", "amd64-1")).await, 202);
    eventually("it is published", async || registry.digest("acme/app:1")).await;
    eventually("it is in the history", async || {
        let history = intake.json("/api/v1/history?tag=1").await;
        history["history"].as_array().is_some_and(|entries| !entries.is_empty()).then_some(())
    })
    .await;
    let release = intake.ask("POST", "/api/v1/release").bearer_auth(ADMIN_TOKEN);
    let body = json!({ "repository": registry.repository("acme/app"), "tag": "1" });
    assert_eq!(release.body(body.to_string()).send().await.expect("an answer").status(), 202);
    intake.end("TERM").await.expect(0);
}

/// Each delivery is about a repository of its own: one that was lost is not found by a scan, since
/// nothing else ever named it.
#[tokio::test]
async fn killed_sixty_times_it_acts_on_every_delivery_that_it_acknowledged() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let place = Place::new(&sections(&address.to_string()));
    let mut acknowledged = BTreeSet::new();
    for round in 0..60 {
        let intake = place.start().await;
        let intake_ref = &intake;
        // Eight senders; what is under way when the process dies counts only if it was acknowledged.
        let senders = (0..8).map(|sender| async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let repository = format!("acme/r{round}-{sender}-{number}");
                match intake_ref.try_deliver(push(&repository, "amd64-1")).await {
                    Some(202) => acknowledged.push(repository),
                    Some(status) => panic!("{status} instead of 202"),
                    None => break,
                }
            }
            acknowledged
        });
        let (lists, ()) = tokio::join!(join_all(senders), async {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(0..120_000))).await;
            intake_ref.signal("KILL").await;
        });
        acknowledged.extend(lists.into_iter().flatten());
        intake.wait().await.expect(-1);
    }
    assert!(acknowledged.len() > 60, "too few to prove anything: {}", acknowledged.len());

    let registry = FakeRegistry::start().await;
    for repository in &acknowledged {
        registry.push_image(&format!("{repository}:amd64-1"), "linux/amd64");
    }
    raw::forward(&address.to_string(), registry.host()).await.expect("the port is still free");
    let intake = place.start().await;
    let published = async |repository: &String| registry.digest(&format!("{repository}:1"));
    let mut blamed = Vec::new();
    for repository in &acknowledged {
        let is_there = eventually(repository, async || match published(repository).await {
            Some(_) => Some(true),
            None => is_blamed(&intake, repository).await.then_some(false),
        });
        if !is_there.await {
            let mut again = push(repository, "amd64-1");
            again["events"][0]["target"]["digest"] = json!(registry.digest(&format!("{repository}:amd64-1")));
            assert_eq!(intake.deliver(again).await, 202);
            blamed.push(repository);
        }
    }
    for repository in blamed {
        eventually(repository, async || published(repository).await).await;
    }
}

/// Whether it was under way in five of the deaths, and so is shown, and left alone until somebody asks.
async fn is_blamed(intake: &Intake, repository: &str) -> bool {
    let jobs = intake.json("/api/v1/jobs").await;
    let mut troubled = jobs["troubled"].as_array().expect("jobs").iter();
    troubled.any(|job| {
        let named = job["repository"].as_str().is_some_and(|name| name.ends_with(&format!("/{repository}")));
        named && job["trouble"]["reason"] == "started 5 times and never came to an end"
    })
}
