//! Databases of earlier versions: nothing in them is lost, and their programs go on beside newer ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use onetag::store::{Act, End, Filter, List, Store, StoreError, Turn};
use sqlx::{PgConnection, Row as _};

use super::super::{HOUR, claim_one, digest, entry, tag, ubuntu};
use super::two;
use crate::support::Postgres;
use crate::support::postgres::{connect, execute};

/// The real migrations, in order.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres/schema");
    let count = std::fs::read_dir(&folder).unwrap().count();
    (1..=count).map(|number| std::fs::read_to_string(folder.join(format!("{number}.sql"))).unwrap()).collect()
}

/// A database as a program that knew so many migrations has left it.
async fn of_version(version: usize) -> (PgConnection, String) {
    let address = Postgres::shared().database().await;
    let mut db = connect(&address).await;
    let made = format!(
        "CREATE SCHEMA onetag; CREATE TABLE onetag.schema (version bigint NOT NULL, compatible_since bigint NOT NULL);
         INSERT INTO onetag.schema VALUES ({version}, 1)"
    );
    execute(&mut db, made).await;
    for migration in &migrations()[..version] {
        execute(&mut db, migration.clone()).await;
    }
    (db, address)
}

/// A row in every table of the first version.
fn a_row_in_every_table() -> String {
    format!(
        "INSERT INTO onetag.job (host, repository, tag, due_at, set_at, woken_at, burst_at, last_woken_at, quiet_ms,
             longest_ms, wakes, cause, event_id, hints, attempts, trouble, reason, troubled_at)
         VALUES ('quay.io', 'quay.io/multiarch/ubuntu', 'xenial', 1000, 1000, 900, 900, 1000, 0, 0, 2, 'hook:quay', 'e1',
             '{{\"amd64-xenial\": \"{amd64}\"}}', 3, 'failing', '503', 950);
         INSERT INTO onetag.quarantined (key, received_at, hook, reason, size, body)
         VALUES ('k', 1000, 'quay', 'not JSON', 1, 'x');
         INSERT INTO onetag.journal (repository, tag, act, new_digest, cause, inputs, reasons, requests, woken_at,
             recorded_at, media_type, index_bytes)
         VALUES ('quay.io/multiarch/ubuntu', 'xenial', 'pushed', '{index}', 'scan', '{{}}', '[]', 8, 900, 1000,
             'application/vnd.oci.image.index.v1+json', 'index');
         INSERT INTO onetag.hold (repository, tag, digest, images, reason, since)
         VALUES ('quay.io/multiarch/ubuntu', 'bionic', '{index}', '{{}}', 'broken libc', 1000);
         INSERT INTO onetag.fact VALUES ('config-1', '{amd64}', 'a fact', 1000);
         INSERT INTO onetag.turn VALUES ('scan', 'quay.io/multiarch/ubuntu', {later}, {later}, 1000);
         INSERT INTO onetag.pace VALUES ('quay.io', 0, {soon});
         INSERT INTO onetag.version VALUES ('quay.io/multiarch/ubuntu', 'focal', 'ok',
             '{{\"tag\": \"focal\", \"state\": \"ok\", \"digest\": null, \"images\": [], \"problems\": []}}', 1000, 1000, 1000);
         INSERT INTO onetag.version_image VALUES ('quay.io/multiarch/ubuntu', 'focal', 0, 'amd64', 'linux/amd64', 'ok');",
        amd64 = digest("amd64"),
        index = digest("index"),
        later = 4_000_000_000_000_i64,
        soon = "extract(epoch FROM clock_timestamp()) * 1000 + 60000",
    )
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let (mut db, address) = of_version(1).await;
    let rows = a_row_in_every_table();
    for table in tables(&mut db).await {
        assert!(table == "schema" || rows.contains(&format!("INTO onetag.{table} ")), "nothing in `{table}`");
    }
    execute(&mut db, rows).await;

    let store = Store::open(&address).await.expect("it is brought up to date");
    let version: i64 = sqlx::query("SELECT version FROM onetag.schema").fetch_one(&mut db).await.unwrap().get(0);
    assert_eq!(version, i64::try_from(migrations().len()).unwrap());
    assert_eq!(store.jobs(List::Troubled, 10).await.unwrap()[0].attempts, 3);
    let job = claim_one(&store).await;
    assert_eq!((job.tag, job.event_id.as_deref(), job.woken_at_ms), (tag("xenial"), Some("e1"), 900));
    assert_eq!(job.hints, [(tag("amd64-xenial"), digest("amd64"))].into());
    assert_eq!(store.quarantined(10).await.unwrap()[0].body, b"x");
    let entry = store.history(None, None, 10, None).await.unwrap().remove(0);
    assert_eq!((entry.act, entry.new_digest), (Act::Pushed, Some(digest("index"))));
    assert_eq!(store.index(entry.id).await.unwrap().unwrap().bytes, b"index");
    assert_eq!(store.holds().await.unwrap()[0].hold.reason, "broken libc");
    let facts = store.facts("config-1", &[digest("amd64")]).await.unwrap();
    assert_eq!(facts, [(digest("amd64"), b"a fact".to_vec())].into());
    let turn = store.take_turn("scan", "quay.io/multiarch/ubuntu", HOUR).await.unwrap();
    assert!(matches!(turn, Turn::Others(done) if done.result.is_none()), "nobody said what came of it");
    assert!(store.quiet().await.unwrap()[0].1 > Duration::from_secs(30));
    let listed = store.versions(&ubuntu(), &Filter::default(), None, 10).await.unwrap();
    assert!(listed.iter().any(|listed| listed.tag == tag("focal") && listed.found.is_some()), "{listed:?}");
    assert_eq!(store.architectures(&ubuntu()).await.unwrap()[0].versions, 1);
}

/// What a program of the version before relies on is there in each version, and nothing is asked of it
/// that it does not know.
#[tokio::test]
async fn each_version_leaves_programs_of_the_version_before_at_work() {
    for version in 1..migrations().len() {
        let (mut before, _) = of_version(version).await;
        let (mut after, _) = of_version(version + 1).await;
        let (known, now) = (columns(&mut before).await, columns(&mut after).await);
        for (name, column) in &known {
            assert_eq!(now.get(name), Some(column), "{name} changed in version {}", version + 1);
        }
        for (name, (_, is_nullable, has_default)) in now.iter().filter(|(name, _)| !known.contains_key(*name)) {
            let is_of_new_table = !known.keys().any(|known| known.split('.').next() == name.split('.').next());
            assert!(is_of_new_table || *is_nullable || *has_default, "version {version} does not fill {name}");
        }
        let there = tables(&mut before).await;
        assert_eq!(constraints(&mut before, &there).await, constraints(&mut after, &there).await, "a new rule");
    }
}

/// A program of the first version has jobs that wait, leases and turns in tables that a newer one has
/// changed meanwhile, and goes on to write as it always did.
#[tokio::test]
async fn a_program_of_the_first_version_and_a_newer_one_work_side_by_side() {
    let (mut older, address) = of_version(1).await;
    execute(&mut older, a_row_in_every_table()).await;
    let newer = Store::open(&address).await.unwrap();
    let earlier = a_row_in_every_table().replace("'xenial'", "'jammy'").replace("'bionic'", "'noble'");
    let earlier = earlier.replace("'focal'", "'trusty'").replace("('k'", "('l'").replace("config-1", "config-2");
    let earlier =
        earlier.replace("'scan', 'quay.io", "'scan', 'ghcr.io").replace("pace VALUES ('quay", "pace VALUES ('ghcr");
    execute(&mut older, earlier).await;
    let mut tags = [claim_one(&newer).await.tag.to_string(), claim_one(&newer).await.tag.to_string()];
    tags.sort();
    assert_eq!(tags, ["jammy", "xenial"]);
    assert_eq!(newer.holds().await.unwrap().len(), 2);
    let ended = "UPDATE onetag.turn SET done_at = 2000, next_at = 0, every = 1000 WHERE subject LIKE 'ghcr%'";
    execute(&mut older, ended).await;
    assert_eq!(newer.take_turn("scan", "ghcr.io/multiarch/ubuntu", HOUR).await.unwrap(), Turn::Mine);
}

/// While versions change, the later one writes what the earlier one has no words for.
#[tokio::test]
async fn what_only_a_later_version_understands_is_passed_over() {
    let (store, _other, address) = two().await;
    let mut later = connect(&address).await;
    execute(&mut later, a_row_in_every_table()).await;
    let words = r#"
        UPDATE onetag.version SET state = 'glad', body = '{"tag": "focal", "mood": {"colour": "blue"}}';
        UPDATE onetag.job SET cause = 'schedule:nightly', trouble = 'snoozed';
        INSERT INTO onetag.journal (repository, tag, act, cause, inputs, reasons, requests, woken_at, recorded_at)
        VALUES ('quay.io/multiarch/ubuntu', 'xenial', 'signed', 'schedule:nightly', '{}', '[]', 1, 900, 1000)"#;
    execute(&mut later, words).await;

    let listed = store.versions(&ubuntu(), &Filter::default(), None, 10).await.unwrap();
    assert!(listed.iter().any(|listed| listed.tag == tag("focal") && listed.found.is_none()), "{listed:?}");
    let job = store.jobs(List::Active, 10).await.unwrap().remove(0);
    assert_eq!((job.trigger.to_string().as_str(), job.trouble), ("schedule:nightly", None));
    assert_eq!(store.history(None, None, 1, None).await.unwrap()[0].act, Act::Pushed, "a page is full all the same");
    let known = store.known(&ubuntu(), &tag("xenial")).await.unwrap();
    assert_eq!(known.newest.expect("it was pushed").act, Act::Pushed);

    let job = claim_one(&store).await;
    assert!(store.finish(&job, End::Done, Some(entry(Act::Pushed, "x"))).await.unwrap());
    let told = store.history(None, None, 1, None).await.unwrap().remove(0);
    assert_eq!(told.trigger.to_string(), "schedule:nightly", "what it said is kept");
}

#[tokio::test]
async fn what_no_version_can_have_written_is_told() {
    let (store, _other, address) = two().await;
    let mut db = connect(&address).await;
    execute(&mut db, a_row_in_every_table()).await;
    execute(&mut db, "UPDATE onetag.version SET body = '{\"tag\": '").await;
    let listed = store.versions(&ubuntu(), &Filter::default(), None, 10).await;
    assert!(matches!(listed, Err(StoreError::Corrupt { .. })), "{listed:?}");
    for damage in ["cause = ''", "cause = 'scan', trouble = 'f%iling'"] {
        execute(&mut db, format!("UPDATE onetag.job SET {damage}")).await;
        let jobs = store.jobs(List::Active, 10).await;
        assert!(matches!(jobs, Err(StoreError::Corrupt { .. })), "{damage}: {jobs:?}");
    }
}

async fn tables(db: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'onetag'";
    sqlx::query_scalar(sql).fetch_all(db).await.unwrap()
}

/// Of each column its type, whether it may be null, and whether it fills itself.
async fn columns(db: &mut PgConnection) -> BTreeMap<String, (String, bool, bool)> {
    let sql = "SELECT table_name || '.' || column_name, data_type::text, is_nullable = 'YES',
                      column_default IS NOT NULL OR is_identity = 'YES'
               FROM information_schema.columns WHERE table_schema = 'onetag'";
    let rows: Vec<(String, String, bool, bool)> = sqlx::query_as(sql).fetch_all(db).await.unwrap();
    rows.into_iter().map(|(name, kind, is_nullable, fills)| (name, (kind, is_nullable, fills))).collect()
}

async fn constraints(db: &mut PgConnection, tables: &[String]) -> Vec<String> {
    let sql = "SELECT relname || ' ' || pg_get_constraintdef(pg_constraint.oid)
               FROM pg_constraint JOIN pg_class ON conrelid = pg_class.oid
               WHERE connamespace = 'onetag'::regnamespace AND relname = ANY ($1) ORDER BY 1";
    sqlx::query_scalar(sql).bind(tables).fetch_all(db).await.unwrap()
}
