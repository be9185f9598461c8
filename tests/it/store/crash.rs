//! Dying at any moment: what was acknowledged is there, and nothing is there by halves.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use onetag::store::{Act, End, Held, Hold, JobView, List, Quarantined, Recorded, Store};

use super::{address, child, claim, claim_one, digest, entry, hinted, tag, ubuntu, wake};

const ROUNDS: usize = 60;

#[tokio::test]
async fn what_was_acknowledged_survives_sigkill_at_any_moment() {
    const STORY: &str = "store::crash::what_was_acknowledged_survives_sigkill_at_any_moment";
    if let Some(folder) = child::inside() {
        return work_until_killed(&folder).await;
    }
    let mut acknowledged = 0;
    let mut folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        if round % 5 == 0 {
            folder = tempfile::tempdir().unwrap();
        }
        let told = kill_after(Duration::from_millis(fastrand::u64(20..160)), STORY, folder.path());
        acknowledged += told.len();
        check(folder.path(), told).await;
    }
    assert!(acknowledged > 10 * ROUNDS, "{acknowledged} acknowledgements tell too little");
}

/// Starts the work, kills it some time after its first acknowledgement, and returns all of them.
fn kill_after(time: Duration, story: &str, folder: &Path) -> Vec<(String, String)> {
    let mut worker = child::command(&[], story, folder).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(worker.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let told = |line: String| {
        let mut words = line.split(' ');
        let mark = words.next()?;
        (mark == "accepted" || mark == "finished").then(|| (mark.to_owned(), words.next().unwrap_or("").to_owned()))
    };
    let mut all: Vec<_> = lines.by_ref().find_map(told).into_iter().collect();
    std::thread::sleep(time);
    worker.kill().expect("it is killed");
    all.extend(lines.filter_map(told));
    worker.wait().expect("it is dead");
    all
}

async fn check(folder: &Path, told: Vec<(String, String)>) {
    let store = Store::open(&address(&folder.join("onetag.db"))).await.expect("it opens after a crash");
    let jobs = store.jobs(List::Active, u32::MAX).await.unwrap();
    let jobs: BTreeSet<String> = jobs.into_iter().map(|job| job.tag.to_string()).collect();
    let done = store.history(None, None, u32::MAX, None).await.unwrap();
    let done: BTreeSet<String> = done.into_iter().map(|entry| entry.tag.to_string()).collect();
    assert!(jobs.is_disjoint(&done), "a run's entry and its release are one");
    for (mark, text) in told {
        let is_there = done.contains(&text) || (mark == "accepted" && jobs.contains(&text));
        assert!(is_there, "{mark} {text}, and it is gone");
    }
    store.close().await;
}

/// Accepts and finishes, and tells each acknowledgement as soon as it has it.
async fn work_until_killed(folder: &Path) {
    let store = Store::open(&address(&folder.join("onetag.db"))).await.expect("it opens");
    let me = std::process::id();
    let tell = |mark: &str, text: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{mark} {text}").and_then(|()| out.flush()).expect("somebody listens");
    };
    for caller in 0..8 {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let text = format!("p{me}-c{caller}-{n}");
                store.accept(vec![wake(&text)]).await.expect("it is stored");
                tell("accepted", &text);
            }
        });
    }
    loop {
        let Some(job) = claim(&store).await else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let text = job.tag.to_string();
        assert!(store.finish(&job, End::Done, Some(entry(Act::Pushed, &text))).await.expect("it is stored"));
        tell("finished", &text);
    }
}

/// What somebody who opens the file would see; times and leases aside, which are the process's.
#[derive(Debug, PartialEq)]
struct Seen {
    jobs: Vec<JobView>,
    history: Vec<Recorded>,
    holds: Vec<Held>,
    quarantined: Vec<Quarantined>,
}

async fn look(store: &Store) -> Seen {
    let mut jobs = store.jobs(List::Active, 100).await.unwrap();
    jobs.extend(store.jobs(List::Troubled, 100).await.unwrap());
    jobs.sort_by(|a, b| a.tag.cmp(&b.tag));
    for job in &mut jobs {
        (job.is_running, job.due_in) = (false, None);
    }
    Seen {
        jobs,
        history: store.history(None, None, 100, None).await.unwrap(),
        holds: store.holds().await.unwrap(),
        quarantined: store.quarantined(100).await.unwrap(),
    }
}

/// Every kind of transaction once. After each: how long the log is, and what is to be seen.
async fn every_transaction(store: &Store, log: &Path) -> Vec<(u64, Seen)> {
    let mut acknowledged = Vec::new();
    macro_rules! then {
        ($step:expr) => {{
            let result = $step;
            acknowledged.push((std::fs::metadata(log).unwrap().len(), look(store).await));
            result
        }};
    }
    then!(store.accept(vec![hinted("xenial", "amd64-xenial", "a"), wake("bionic")]).await.unwrap());
    let first = then!(claim_one(store).await);
    then!(store.accept(vec![wake(first.tag.as_str()), wake("focal")]).await.unwrap());
    then!(store.finish(&first, End::Done, Some(entry(Act::Pushed, "one"))).await.unwrap());
    let second = then!(claim_one(store).await);
    let failed = End::Retry { after: Duration::ZERO, reason: "503".into() };
    then!(store.finish(&second, failed, Some(entry(Act::Failed, "two"))).await.unwrap());
    then!(store.quarantine("quay", "not JSON", &[b'x'; 10_000]).await.unwrap());
    let hold = Hold {
        repository: ubuntu(),
        tag: tag("xenial"),
        digest: digest("one"),
        images: [(tag("amd64-xenial"), digest("a"))].into(),
        reason: "broken".into(),
    };
    then!(store.hold(hold).await.unwrap());
    while let Some(job) = claim(store).await {
        then!(());
        then!(store.finish(&job, End::Done, Some(entry(Act::Pushed, job.tag.as_str()))).await.unwrap());
    }
    then!(store.release(&ubuntu(), &tag("xenial")).await.unwrap());
    acknowledged
}

/// A log grows frame by frame, so each crash leaves its beginning: here every one is tried, clean
/// and with the frame that was being written torn.
#[tokio::test]
async fn a_crash_between_any_two_writes_leaves_whole_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let store = Store::open(&address(&path)).await.unwrap();
    let at_first = (std::fs::metadata(&log).unwrap().len(), look(&store).await);
    let mut acknowledged = vec![at_first];
    acknowledged.extend(every_transaction(&store, &log).await);
    let (file, written) = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
    let last = acknowledged.last().unwrap().0;
    assert!(acknowledged.len() > 12 && last == written.len() as u64);

    let mut cuts: Vec<usize> = (0..).map(|frame| 32 + frame * (24 + 4096)).take_while(|c| *c < written.len()).collect();
    cuts.extend([0, written.len()]);
    for cut in cuts {
        for torn in [0, 24 + 1000] {
            let crashed = tempfile::tempdir().unwrap();
            let path = crashed.path().join("onetag.db");
            let torn_to = written.len().min(cut + torn);
            let mut left = written[..torn_to].to_vec();
            left.resize(if torn == 0 || torn_to == written.len() { torn_to } else { cut + 24 + 4096 }, 0x5a);
            std::fs::write(&path, &file).unwrap();
            std::fs::write(format!("{}-wal", path.display()), left).unwrap();

            let store = Store::open(&address(&path)).await.expect("it opens after a crash");
            let expected = acknowledged.iter().rfind(|(length, _)| *length <= cut as u64);
            let seen = look(&store).await;
            match expected {
                Some((_, expected)) => assert_eq!(seen, *expected, "cut at {cut}, torn {torn}"),
                None => assert_eq!(seen, acknowledged[0].1, "a crash in the first start leaves nothing"),
            }
        }
    }
}
