//! The suite on PostgreSQL, directly and through a pooler, and what only a server can show.

mod failover;
mod fence;
mod lost;
mod pooled;
mod reads;
mod replicas;
mod schema;
mod server;

use std::sync::Arc;

use onetag::store::Store;

use super::suite;
use crate::support::{Pooler, Postgres};

pub(crate) async fn empty() -> (Store, ()) {
    let address = Postgres::shared().database().await;
    (Store::open(&address).await.expect("it opens"), ())
}

/// Two processes on one database, and its address.
async fn two() -> (Store, Store, String) {
    let address = Postgres::shared().database().await;
    (Store::open(&address).await.expect("it opens"), Store::open(&address).await.expect("it opens"), address)
}

/// Through a pooler in transaction mode: any two transactions may be on two connections.
pub(crate) async fn pooled() -> (Store, Arc<Pooler>) {
    let server = Postgres::shared();
    let pooler = Arc::new(Pooler::start(server));
    let address = pooler.address(&server.database().await);
    (Store::open(&address).await.expect("it opens"), pooler)
}

suite!(crate::store::postgres::empty);

mod through_a_pooler {
    use super::suite;

    suite!(crate::store::postgres::pooled);
}
