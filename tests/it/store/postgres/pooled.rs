//! Behind a pooler that gives each transaction another session: nothing of a session may be left there.

use onetag::store::Store;

use super::super::{deliver_at_last, wake};
use crate::support::postgres::{connect, execute};
use crate::support::{Pooler, Postgres, eventually};

/// What each of the pooler's sessions listens to; all of them are held at one time to ask each.
async fn channels(address: &str) -> Option<Vec<String>> {
    let mut channels = Vec::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut db = connect(address).await;
        execute(&mut db, "BEGIN").await;
        let asked = sqlx::query_scalar("SELECT pg_listening_channels()").persistent(false);
        channels.extend(asked.fetch_all(&mut db).await.ok()?);
        held.push(db);
    }
    Some(channels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listens_in_a_session_that_others_get_and_nobodys_connection_is_lost() {
    let pooler = Pooler::start(Postgres::shared());
    let address = pooler.address(&Postgres::shared().database().await);
    let (one, two) = (Store::open(&address).await.unwrap(), Store::open(&address).await.unwrap());
    for round in 0..60 {
        let wakes = |n: usize| vec![wake(&format!("v{round}-{n}"))];
        tokio::join!(deliver_at_last(&one, wakes(1)), deliver_at_last(&two, wakes(2)), deliver_at_last(&one, wakes(3)));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(one.counts().await.unwrap().waiting, 180);
    let logins = pooler.logins();
    assert!(logins <= 24, "{logins} connections were made: some were lost");
    let left = eventually("three sessions are free", async || channels(&address).await).await;
    assert_eq!(left, [""; 0]);
}
