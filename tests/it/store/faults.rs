//! What the file may suffer: each with its error, none with a false acknowledgement.

use std::path::{Path, PathBuf};
use std::process::Command;

use onetag::store::{End, List, Store, StoreError};

use super::sqlite::{other_program, run};
use super::{address, child, claim_one, deliver_at_last, wake};

/// A small disk that only this process sees.
const SMALL_DISK: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=3m tmpfs \"$ONETAG_TEST_INSIDE\" && exec \"$@\"",
    "sh",
];
/// A process without root's right to write what is read-only.
const NOBODY_SPECIAL: &[&str] = &["unshare", "--user"];
/// Writes past 256 KiB fail, as on a failing disk.
const SHORT_FILES: &[&str] = &["sh", "-c", "trap '' XFSZ; ulimit -S -f 512; exec \"$@\"", "sh"];

/// A container without a folder for temporary files: only `/mnt` can be written.
const NO_TEMPORARY_FILES: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    "exec 9<\"$1\"; shift; mount -t tmpfs tmpfs /mnt;
     for folder in /tmp /var/tmp; do mount -t tmpfs -o ro tmpfs $folder; done;
     cd /tmp && unset TMPDIR && exec /proc/self/fd/9 \"$@\"",
    "sh",
];

fn told(error: &StoreError, folder: &Path) -> String {
    let text = format!("{error}\nhint: {}", error.hint().unwrap_or("none"));
    text.replace(folder.to_str().expect("text"), "")
}

/// A file with something in it, closed.
async fn used(folder: &Path) -> PathBuf {
    let path = folder.join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept((0..200).map(|n| wake(&format!("v{n}"))).collect()).await.unwrap();
    store.close().await;
    path
}

/// Quarantines and wakes until the first error; what was acknowledged is counted.
async fn fill(store: &Store) -> (usize, StoreError) {
    let body = vec![b'x'; 60_000];
    for stored in 0..1000 {
        if let Err(error) = store.quarantine("quay", "not JSON", &body).await {
            return (stored, error);
        }
    }
    panic!("the disk never became full");
}

#[tokio::test]
async fn a_full_disk_refuses_deliveries_until_there_is_space() {
    const STORY: &str = "store::faults::a_full_disk_refuses_deliveries_until_there_is_space";
    let Some(folder) = child::inside() else {
        return child::play(SMALL_DISK, STORY, tempfile::tempdir().unwrap().path());
    };
    std::fs::write(folder.join("ballast"), vec![0; 1_600_000]).unwrap();
    let path = folder.join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept(vec![wake("before")]).await.unwrap();

    let (kept, error) = fill(&store).await;
    insta::assert_snapshot!(told(&error, &folder), @r"
    `/onetag.db` cannot grow: the disk is full
    hint: make space; deliveries are refused and sent again by their senders until then
    ");
    std::fs::write(folder.join("the rest"), vec![0; 4_000_000]).expect_err("nothing is left");
    let mut refused = Vec::new();
    for n in 0..50 {
        let text = format!("full{n}");
        if store.accept(vec![wake(&text)]).await.is_err() {
            refused.push(text);
        }
    }
    assert!(!refused.is_empty());

    std::fs::remove_file(folder.join("ballast")).unwrap();
    std::fs::remove_file(folder.join("the rest")).unwrap();
    store.accept(vec![wake("after")]).await.expect("there is space again");
    store.close().await;
    let store = Store::open(&address(&path)).await.expect("nothing is damaged");
    let jobs = store.jobs(List::Active, 1000).await.unwrap();
    assert_eq!(jobs.len(), 52 - refused.len(), "what was acknowledged, and nothing else");
    assert!(jobs.iter().all(|job| !refused.contains(&job.tag.to_string())));
    assert_eq!(store.counts().await.unwrap().quarantined, kept as u64);
}

#[tokio::test]
async fn a_failing_disk_is_an_error_and_the_next_delivery_has_a_sound_connection() {
    const STORY: &str = "store::faults::a_failing_disk_is_an_error_and_the_next_delivery_has_a_sound_connection";
    let Some(folder) = child::inside() else {
        return child::play(SHORT_FILES, STORY, tempfile::tempdir().unwrap().path());
    };
    let path = folder.join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    let (kept, error) = fill(&store).await;
    assert!(matches!(error, StoreError::Other { request: "store deliveries", .. }), "{error:?}");

    let me = std::process::id().to_string();
    let healed = Command::new("prlimit").args(["--pid", &me, "--fsize=unlimited:unlimited"]).status().unwrap();
    assert!(healed.success());
    store.accept(vec![wake("after")]).await.expect("the disk works again");
    assert_eq!(store.counts().await.unwrap().quarantined, kept as u64);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    const STORY: &str = "store::faults::a_file_that_may_not_be_written_is_refused";
    use std::os::unix::fs::PermissionsExt;
    let Some(folder) = child::inside() else {
        let folder = tempfile::tempdir().unwrap();
        let path = used(folder.path()).await;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        child::play(NOBODY_SPECIAL, STORY, folder.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::remove_file(folder.path().join("onetag.db.lock")).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
        child::play(NOBODY_SPECIAL, STORY, folder.path());
        return std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    };
    let error = Store::open(&address(&folder.join("onetag.db"))).await.expect_err("it may not be written");
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.hint().unwrap().starts_with("the folder must be writable"));
}

#[tokio::test]
async fn a_read_only_file_system_is_refused() {
    const STORY: &str = "store::faults::a_read_only_file_system_is_refused";
    let Some(folder) = child::inside() else {
        return child::play(SMALL_DISK, STORY, tempfile::tempdir().unwrap().path());
    };
    let path = used(&folder).await;
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&folder).status().unwrap();
    assert!(remounted.success());
    let error = Store::open(&address(&path)).await.expect_err("it cannot be written");
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
}

#[tokio::test]
async fn no_folder_for_temporary_files_is_needed() {
    const STORY: &str = "store::faults::no_folder_for_temporary_files_is_needed";
    let Some(folder) = child::inside() else {
        return child::play(NO_TEMPORARY_FILES, STORY, Path::new("/mnt"));
    };
    std::fs::write("/tmp/probe", "").expect_err("there is no such folder");
    let store = Store::open(&address(&folder.join("onetag.db"))).await.unwrap();
    for _ in 0..2 {
        deliver_at_last(&store, (0..5000).map(|n| wake(&format!("v{n}"))).collect()).await;
    }
    assert_eq!(store.jobs(List::Active, u32::MAX).await.unwrap().len(), 5000);
}

#[tokio::test]
async fn another_programs_lock_refuses_deliveries_and_keeps_the_lease() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    let store = Store::open(&address(&path)).await.unwrap();
    store.accept(vec![wake("running")]).await.unwrap();
    let job = claim_one(&store).await;

    let mut other = other_program(&path).await;
    run(&mut other, "BEGIN IMMEDIATE").await;
    let calls = (0..40).map(|n| store.accept(vec![wake(&format!("locked{n}"))]));
    let answers = futures_util::future::join_all(calls).await;
    for answer in answers {
        let error = answer.expect_err("no acknowledgement without a commit");
        insta::allow_duplicates! {
            insta::assert_snapshot!(told(&error, folder.path()), @r"
            `/onetag.db` is locked by another program
            hint: end the other program's transaction, or stop it
            ");
        }
    }
    let finished = store.finish(&job, End::Done, None).await;
    assert!(matches!(finished, Err(StoreError::Locked { .. })), "{finished:?}");
    run(&mut other, "ROLLBACK").await;

    assert!(store.finish(&job, End::Done, None).await.unwrap(), "the lease was kept");
    assert_eq!(store.jobs(List::Active, 100).await.unwrap(), [], "nothing that was refused is there");
    store.accept(vec![wake("after")]).await.unwrap();
}

#[tokio::test]
async fn a_file_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = used(folder.path()).await;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = Store::open(&address(&path)).await.expect_err("half of it is missing");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let hint = told(&error, folder.path());
    assert!(hint.ends_with("only history is lost, tags are found by scanning"), "{hint}");
}

#[tokio::test]
async fn a_file_with_any_page_overwritten_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = used(folder.path()).await;
    let sound = std::fs::read(&path).unwrap();
    let pages = sound.len() / 4096;
    assert!(pages > 10);
    for page in 0..pages {
        let mut damaged = sound.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xa5);
        std::fs::write(&path, &damaged).unwrap();
        let error = Store::open(&address(&path)).await.expect_err("a page is noise");
        assert!(matches!(error, StoreError::Corrupt { .. }), "page {page}: {error}");
        assert!(std::fs::read(&path).unwrap() == damaged, "page {page}: it was written to");
    }
    std::fs::write(&path, &sound).unwrap();
    Store::open(&address(&path)).await.expect("the sound file opens");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = used(folder.path()).await;
    run(&mut other_program(&path).await, "PRAGMA user_version = 99").await;
    let error = Store::open(&address(&path)).await.expect_err("it is newer");
    insta::assert_snapshot!(told(&error, folder.path()), @r"
    `/onetag.db` has schema 99, and this onetag knows schemas up to 2
    hint: run the onetag that wrote it, or a newer one
    ");
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_unchanged() {
    for sql in ["CREATE TABLE theirs (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("onetag.db");
        let mut theirs = other_program(&path).await;
        run(&mut theirs, sql).await;
        sqlx::Connection::close(theirs).await.unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = Store::open(&address(&path)).await.expect_err("it is another program's");
        assert!(matches!(error, StoreError::Foreign { .. }), "{sql}: {error}");
        assert!(std::fs::read(&path).unwrap() == before);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("onetag.db");
    std::fs::write(&path, "listen = \"0.0.0.0:8080\"\n".repeat(40)).unwrap();
    let error = Store::open(&address(&path)).await.expect_err("it is no database");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_gone_takes_no_more_deliveries() {
    for is_replaced in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("onetag.db");
        let store = Store::open(&address(&path)).await.unwrap();
        store.accept(vec![wake("xenial")]).await.unwrap();
        std::fs::rename(&path, folder.path().join("moved.db")).unwrap();
        if is_replaced {
            std::fs::write(&path, "").unwrap();
        }
        let error = store.accept(vec![wake("bionic")]).await.expect_err("nobody could find it again");
        insta::allow_duplicates! {
            insta::assert_snapshot!(told(&error, folder.path()), @r"
            `/onetag.db` was moved or deleted while in use
            hint: start onetag again
            ");
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(&address(&folder.path().join("none/onetag.db"))).await.expect_err("no such folder");
    assert_eq!(error.to_string(), "cannot open the database file");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.starts_with("No such file or directory"), "{cause}");
}
