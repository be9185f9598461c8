//! What a server may refuse or suffer, and the schema while versions change.

use onetag::store::{List, Store, StoreError};

use super::super::{claim_one, deliver_at_last, wake};
use crate::support::postgres::{connect, execute};
use crate::support::{Pooler, Postgres, eventually};

fn told(error: &StoreError) -> String {
    let text = format!("{error}\nhint: {}", error.hint().unwrap_or("none"));
    text.replace(&Postgres::shared().port().to_string(), "5432")
}

#[tokio::test]
async fn a_schema_is_made_once_by_whoever_starts_first() {
    let address = Postgres::shared().database().await;
    let opened = futures_util::future::join_all((0..12).map(|_| Store::open(&address))).await;
    for store in opened {
        deliver_at_last(&store.expect("it opens"), vec![wake("xenial")]).await;
    }
}

#[tokio::test]
async fn a_newer_schema_is_used_if_it_says_so_and_refused_if_not() {
    let address = Postgres::shared().database().await;
    let store = Store::open(&address).await.unwrap();
    let mut newer = connect(&address).await;
    let migration = "ALTER TABLE onetag.job ADD COLUMN mood text NOT NULL DEFAULT 'good';
                     UPDATE onetag.schema SET version = 99";
    execute(&mut newer, migration).await;
    deliver_at_last(&store, vec![wake("xenial")]).await;
    let again = Store::open(&address).await.expect("and starts again");
    claim_one(&again).await;

    execute(&mut newer, "UPDATE onetag.schema SET compatible_since = 98").await;
    let error = Store::open(&address).await.expect_err("it may not write any more");
    let database = address.rsplit('/').next().unwrap();
    let text = told(&error).replace(database, "onetag");
    insta::assert_snapshot!(text, @r"
    `postgres://127.0.0.1:5432/onetag` has schema 99, and this onetag knows schemas up to 2
    hint: run the onetag that wrote it, or a newer one
    ");
    let refused = loop {
        match store.accept(vec![wake("bionic")]).await {
            Ok(()) | Err(StoreError::Slow | StoreError::Unreachable { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, StoreError::Newer { .. }), "a version that is running stops, too: {refused}");
}

#[tokio::test]
async fn a_migration_that_is_broken_off_leaves_nothing() {
    let address = Postgres::shared().database().await;
    let mut other = connect(&address).await;
    execute(&mut other, "CREATE SCHEMA onetag; CREATE TABLE onetag.journal (theirs text)").await;
    Store::open(&address).await.expect_err("somebody else's table is in the way");
    execute(&mut other, "DROP TABLE onetag.journal").await;
    let store = Store::open(&address).await.expect("nothing of the first try is left");
    deliver_at_last(&store, vec![wake("xenial")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_acknowledges_nothing_and_forgets_nothing() {
    let server = Postgres::start(&["fsync = on"]);
    let address = server.database().await;
    let store = Store::open(&address).await.unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for n in 0..20 {
            let text = format!("r{round}-{n}");
            deliver_at_last(&store, vec![wake(&text)]).await;
            acknowledged.push(text);
        }
        let calls = (0..200).map(|n| {
            let (store, text) = (store.clone(), format!("during{round}-{n}"));
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(n)).await;
                (store.accept(vec![wake(&text)]).await, text)
            })
        });
        let calls: Vec<_> = calls.collect();
        server.down();
        let error = store.assert_writable().await.expect_err("nobody is there");
        assert!(matches!(error, StoreError::Unreachable { .. } | StoreError::Slow), "{error}");
        for call in calls {
            let (stored, text) = call.await.unwrap();
            if stored.is_ok() {
                acknowledged.push(text);
            }
        }
        server.up();
        eventually("it is back", async || store.assert_writable().await.ok()).await;
    }
    let jobs = store.jobs(List::Active, 10_000).await.unwrap();
    let there: std::collections::BTreeSet<String> = jobs.iter().map(|job| job.tag.to_string()).collect();
    assert!(acknowledged.iter().all(|text| there.contains(text)));
}

#[tokio::test]
async fn a_standby_is_refused() {
    let address = Postgres::shared().database().await;
    let store = Store::open(&address).await.unwrap();
    let name = address.rsplit('/').next().unwrap();
    let mut other = connect(&Postgres::shared().address("postgres")).await;
    execute(&mut other, format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    store.close().await;
    let store = Store::open(&address).await;
    let error = store.expect_err("nothing can be written");
    let text = told(&error).replace(name, "onetag");
    insta::assert_snapshot!(text, @r"
    `postgres://127.0.0.1:5432/onetag` cannot be written
    hint: name the primary: this is a standby
    ");
}

#[tokio::test]
async fn a_commit_is_durable_whatever_the_servers_settings_say() {
    let address = Postgres::shared().database().await;
    let name = address.rsplit('/').next().unwrap();
    let mut other = connect(&Postgres::shared().address("postgres")).await;
    execute(&mut other, format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let store = Store::open(&address).await.unwrap();
    // A trigger sees what the transaction was told.
    let mut db = connect(&address).await;
    execute(
        &mut db,
        "CREATE FUNCTION onetag.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('synchronous_commit') <> 'on' THEN RAISE 'not durable'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON onetag.job FOR EACH ROW EXECUTE FUNCTION onetag.refuse()",
    )
    .await;
    deliver_at_last(&store, vec![wake("xenial")]).await;
    claim_one(&store).await;
}

/// A user who may make nothing in a database, but owns what stands there.
async fn user_of_schema(address: &str, name: &str) -> String {
    let database = address.rsplit('/').next().unwrap();
    let mut db = connect(address).await;
    let made = format!(
        "CREATE ROLE {name} LOGIN; REVOKE ALL ON DATABASE {database} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {database} TO {name}; CREATE SCHEMA onetag AUTHORIZATION {name}"
    );
    execute(&mut db, made).await;
    address.replace("postgres@", &format!("{name}@"))
}

#[tokio::test]
async fn a_schema_that_was_made_for_it_is_enough() {
    let address = Postgres::shared().database().await;
    let store = Store::open(&user_of_schema(&address, "tenant").await).await.expect("it owns the schema");
    store.accept(vec![wake("xenial")]).await.unwrap();
}

/// On a journal of years, an index takes minutes to build.
#[tokio::test]
async fn a_migration_takes_as_long_as_it_takes_and_others_wait_for_it() {
    let address = Postgres::shared().database().await;
    let mut db = connect(&address).await;
    let slow = "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(17); END $$;
                CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION slow()";
    execute(&mut db, slow).await;
    let (one, two) = futures_util::future::join(Store::open(&address), Store::open(&address)).await;
    one.expect("it took its time").accept(vec![wake("xenial")]).await.unwrap();
    two.expect("it waited").accept(vec![wake("bionic")]).await.unwrap();
}

#[tokio::test]
async fn a_migration_waits_for_no_other_program_for_long() {
    let address = Postgres::shared().database().await;
    let mut db = connect(&address).await;
    // A trigger sees what the transaction was told.
    let asked = "CREATE FUNCTION asked() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF current_setting('lock_timeout') <> '1500ms' OR current_setting('statement_timeout') <> '0'
                     THEN RAISE 'bounded by % and %', current_setting('lock_timeout'), current_setting('statement_timeout');
                     END IF; END $$;
                 CREATE EVENT TRIGGER asked ON ddl_command_start EXECUTE FUNCTION asked()";
    execute(&mut db, asked).await;
    Store::open(&address).await.expect("a lock is waited for 1.5 s, the rest as long as it takes");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let address = Postgres::shared().database().await;
    let name = address.rsplit('/').next().unwrap();
    let mut db = connect(&address).await;
    // What the server says of itself, in a place that is looked at first.
    let older = format!(
        "CREATE SCHEMA older;
         CREATE FUNCTION older.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT CASE $1
             WHEN 'server_version_num' THEN '120022' WHEN 'server_version' THEN '12.22 (Debian)'
             ELSE pg_catalog.current_setting($1) END $$;
         ALTER DATABASE {name} SET search_path = older, pg_catalog"
    );
    execute(&mut db, older).await;
    let error = Store::open(&address).await.expect_err("it knows no xid8");
    let text = told(&error).replace(name, "onetag");
    insta::assert_snapshot!(text, @r"
    `postgres://127.0.0.1:5432/onetag` is PostgreSQL 12.22 (Debian), and this onetag needs 13 or later
    hint: bring the server up to date, or name another
    ");
}

/// Between two messages that are not in one transaction, the pooler may change the server's side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_may_be_behind_poolers() {
    let pooler = Pooler::with_connections(Postgres::shared(), 2);
    let address = pooler.address(&Postgres::shared().database().await);
    let store = Store::open(&address).await.unwrap();
    let calls = (0..40).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.jobs(List::Active, n).await })
    });
    for call in futures_util::future::join_all(calls).await {
        call.unwrap().unwrap();
    }
    store.close().await;
    // The pooler has two connections from now on, and takes one after the other.
    let host = address.split('@').nth(1).unwrap().split('/').next().unwrap();
    let both = address.replace(host, &format!("{host},{host}"));
    for _ in 0..3 {
        Store::open(&both).await.expect("one of them can be written").close().await;
    }
}
