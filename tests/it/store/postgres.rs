//! The suite on PostgreSQL, and what only a server can show.

use onetag::store::Store;

use super::suite;
use crate::support::Postgres;

async fn empty() -> (Store, ()) {
    let address = Postgres::shared().database().await;
    (Store::open(&address).await.expect("it opens"), ())
}

suite!(super::super::postgres::empty);
