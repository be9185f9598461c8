//! Facts by digest.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::super::{StoreError, rows};
use super::{Database, query};
use crate::model::Digest;

const FACTS: &str = "SELECT digest, value FROM onetag.fact WHERE kind = $1 AND digest = ANY($2)";

/// In one order, so that two who store the same wait for each other and never both.
const PUT: &str = concat!(
    "INSERT INTO onetag.fact (kind, digest, value, recorded_at)
     SELECT $1, digest, value, ",
    now!(),
    " FROM unnest($2::text[], $3::bytea[]) AS new (digest, value) ORDER BY digest
     ON CONFLICT (kind, digest) DO UPDATE SET value = excluded.value, recorded_at = excluded.recorded_at"
);

/// Of no digest, so nobody reads it.
const ANYTHING: &str = concat!(
    "INSERT INTO onetag.fact (kind, digest, value, recorded_at) VALUES ('writable', '', ''::bytea, ",
    now!(),
    ") ON CONFLICT (kind, digest) DO UPDATE SET recorded_at = excluded.recorded_at"
);

/// Writes something that means nothing.
pub(super) async fn write_anything(db: &mut PgConnection) -> sqlx::Result<()> {
    query(ANYTHING).execute(db).await.map(|_| ())
}

impl Database {
    pub(crate) async fn facts(&self, kind: &str, digests: &[Digest]) -> Result<BTreeMap<Digest, Vec<u8>>, StoreError> {
        let digests: Vec<String> = digests.iter().map(Digest::to_string).collect();
        self.read("look up facts", |db| {
            let query = query(FACTS).bind(kind.to_owned()).bind(digests.clone());
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::fact).collect() })
        })
        .await
    }

    pub(crate) async fn put_facts(&self, kind: &str, facts: Vec<(Digest, Vec<u8>)>) -> Result<(), StoreError> {
        // The last of several counts, as it would one by one.
        let facts: BTreeMap<String, Vec<u8>> =
            facts.into_iter().map(|(digest, value)| (digest.to_string(), value)).collect();
        let (digests, values): (Vec<String>, Vec<Vec<u8>>) = facts.into_iter().unzip();
        self.write("remember facts", |db| {
            let query = query(PUT).bind(kind.to_owned()).bind(digests.clone()).bind(values.clone());
            Box::pin(async move { query.execute(db).await.map(|_| ()) })
        })
        .await
    }
}
