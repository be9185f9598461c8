//! Facts by digest.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use super::super::StoreError;
use super::super::rows;
use super::Database;
use crate::model::Digest;

const FACTS: &str = "SELECT digest, value FROM fact WHERE kind = ?1 AND digest IN (SELECT value FROM json_each(?2))";

const PUT: &str = concat!(
    "INSERT INTO fact (kind, digest, value, recorded_at) VALUES (?1, ?2, ?3, ",
    now!(),
    ") ON CONFLICT (kind, digest) DO UPDATE SET value = excluded.value, recorded_at = excluded.recorded_at"
);

/// Of no digest, so nobody reads it. Other bytes each time, since SQLite does not write the same ones
/// again; 32 KiB are more pages than the wake-up of one tag changes.
const ANYTHING: &str = concat!(
    "INSERT INTO fact (kind, digest, value, recorded_at) VALUES ('writable', '', randomblob(32768), ",
    now!(),
    ") ON CONFLICT (kind, digest) DO UPDATE SET value = excluded.value, recorded_at = excluded.recorded_at"
);

/// Writes something that means nothing.
pub(super) async fn write_anything(db: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(ANYTHING).execute(db).await.map(|_| ())
}

impl Database {
    pub(crate) async fn facts(&self, kind: &str, digests: &[Digest]) -> Result<BTreeMap<Digest, Vec<u8>>, StoreError> {
        let request = "look up facts";
        let wanted = serde_json::to_string(digests).expect("digests are JSON");
        let mut db = self.reader(request).await?;
        let found = sqlx::query(FACTS).bind(kind).bind(wanted).fetch_all(&mut *db).await;
        let found = found.map_err(self.failed(request))?;
        found.iter().map(rows::fact).collect::<sqlx::Result<_>>().map_err(self.failed(request))
    }

    pub(crate) async fn put_facts(&self, kind: &str, facts: Vec<(Digest, Vec<u8>)>) -> Result<(), StoreError> {
        let kind = kind.to_owned();
        self.write("remember facts", move |db| {
            Box::pin(async move {
                for (digest, value) in facts {
                    sqlx::query(PUT).bind(&kind).bind(digest.as_str()).bind(value).execute(&mut *db).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
