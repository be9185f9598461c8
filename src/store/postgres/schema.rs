//! The schema: made and changed by whoever starts first, while older processes may still be at work.
//!
//! A change adds; what it adds is nullable or has a default, so that the version before it works on.
//! A change that does not can say so: it names the oldest version that may still write.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{PgConnection, Row};
use tokio::time::Instant;

use super::super::StoreError;
use super::{Database, PATIENCE, Patience, kept, taken, unnamed};
use crate::model::text::clean;

/// Each brings the schema from the version before it to its own, and names the oldest version whose
/// programs may use it. Those that were released stay as they are.
const SCHEMAS: &[(&str, i64)] = &[(include_str!("schema/1.sql"), 1), (include_str!("schema/2.sql"), 1)];

/// The latest schema known here.
pub(super) const KNOWN: i64 = SCHEMAS.len() as i64;

/// The first version that names transactions so that their end can be asked for (`xid8`).
const NEEDED: i32 = 13;
const SERVER: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version')";

/// Building an index on a long journal, or waiting for somebody who does, takes as long as it takes;
/// a server that fell silent is not waited for all day.
const LONGEST: Duration = Duration::from_secs(60 * 60);
const BEGIN: &str = "BEGIN;
    SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '1500ms', true),
           set_config('synchronous_commit', replace(replace(current_setting('synchronous_commit'), 'off', 'on'), 'local', 'on'), true)";

/// Any number, if it is always the same: held until the transaction ends, so that one migrates.
const ALONE: &str = "SELECT pg_advisory_xact_lock(8031932279157942632)";

/// Programs that are at work wait for a table that is being changed, and whoever waits for them to let
/// go of it makes all others wait, too.
const BRIEFLY: &str = "SET LOCAL lock_timeout = '1500ms'";

const IS_THERE: &str = "SELECT to_regnamespace('onetag') IS NOT NULL";
const IS_MADE: &str = "SELECT to_regclass('onetag.schema') IS NOT NULL";
/// Only where it is not there: `IF NOT EXISTS` is refused to who may not make one, though one is there.
const MAKE_SCHEMA: &str = "CREATE SCHEMA onetag";
const MAKE: &str = "CREATE TABLE onetag.schema (version bigint NOT NULL, compatible_since bigint NOT NULL);
    INSERT INTO onetag.schema VALUES (0, 0);";
const VERSION: &str = "SELECT version, compatible_since FROM onetag.schema";
const SET_VERSION: &str = "UPDATE onetag.schema SET version = $1, compatible_since = $2";

/// What the database says about itself.
struct Found {
    version: i64,
    compatible_since: i64,
}

impl Database {
    /// Refuses a server that lacks what is needed of it.
    pub(super) async fn check_server(&self) -> Result<(), StoreError> {
        let asked = self.write("ask which version the server is", |db| {
            Box::pin(async move {
                let row = super::query(SERVER).fetch_one(db).await?;
                Ok((row.try_get::<i32, _>(0)?, row.try_get::<String, _>(1)?))
            })
        });
        match asked.await? {
            (number, found) if number < NEEDED * 10_000 => {
                Err(StoreError::Older { database: self.name(), found: clean(&found, 60), needed: NEEDED })
            }
            _ => Ok(()),
        }
    }

    /// Brings the schema up to date, in one transaction, which is not bounded as those of deliveries are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`]: a later version was here and this one may not write any more.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let slot = Arc::new(Mutex::new(None));
        let now = Instant::now();
        let patience = Patience { begins_by: now + PATIENCE, ends_by: now + LONGEST };
        self.run(BEGIN, patience, "bring the schema up to date", &|db| kept(slot.clone(), unnamed(migrate(db))))
            .await?;
        self.judge(&taken(&slot))
    }

    /// Looks whether a later version has made this one stop.
    pub(super) async fn check_schema(&self) -> Result<(), StoreError> {
        let found = self.read("look up the schema", |db| Box::pin(find(db))).await?;
        self.judge(&found)
    }

    fn judge(&self, found: &Found) -> Result<(), StoreError> {
        match found.compatible_since > KNOWN {
            true => Err(StoreError::Newer { database: self.name(), found: found.version, known: KNOWN }),
            false => Ok(()),
        }
    }
}

async fn migrate(db: &mut PgConnection) -> sqlx::Result<Found> {
    sqlx::raw_sql(ALONE).execute(&mut *db).await?;
    sqlx::raw_sql(BRIEFLY).execute(&mut *db).await?;
    let is_there: bool = super::query(IS_THERE).fetch_one(&mut *db).await?.try_get(0)?;
    if !is_there {
        sqlx::raw_sql(MAKE_SCHEMA).execute(&mut *db).await?;
    }
    let is_made: bool = super::query(IS_MADE).fetch_one(&mut *db).await?.try_get(0)?;
    if !is_made {
        sqlx::raw_sql(MAKE).execute(&mut *db).await?;
    }
    let found = find(db).await?;
    let Some(newer) = usize::try_from(found.version).ok().and_then(|version| SCHEMAS.get(version..)) else {
        return Ok(found);
    };
    let Some((_, compatible_since)) = newer.last() else { return Ok(found) };
    for (schema, _) in newer {
        sqlx::raw_sql(*schema).execute(&mut *db).await?;
    }
    super::query(SET_VERSION).bind(KNOWN).bind(compatible_since).execute(&mut *db).await?;
    Ok(Found { version: KNOWN, compatible_since: *compatible_since })
}

async fn find(db: &mut PgConnection) -> sqlx::Result<Found> {
    let row = super::query(VERSION).fetch_one(db).await?;
    Ok(Found { version: row.try_get("version")?, compatible_since: row.try_get("compatible_since")? })
}
