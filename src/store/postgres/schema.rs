//! The schema: made and changed by whoever starts first, while older processes may still be at work.
//!
//! A change adds; what it adds is nullable or has a default, so that the version before it works on.
//! A change that does not can say so: it names the oldest version that may still write.

use sqlx::{PgConnection, Row};

use super::super::StoreError;
use super::Database;

/// Each brings the schema from the version before it to its own, and names the oldest version whose
/// programs may use it. Those that were released stay as they are.
const SCHEMAS: &[(&str, i64)] = &[(include_str!("schema/1.sql"), 1), (include_str!("schema/2.sql"), 1)];

/// The latest schema known here.
pub(super) const KNOWN: i64 = SCHEMAS.len() as i64;

/// Any number, if it is always the same: held until the transaction ends, so that one migrates.
const ALONE: &str = "SELECT pg_advisory_xact_lock(8031932279157942632)";

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
    /// Brings the schema up to date, in one transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`]: a later version was here and this one may not write any more.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let found = self.write("bring the schema up to date", |db| Box::pin(migrate(db))).await?;
        self.judge(&found)
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
