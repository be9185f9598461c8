//! Connections to the file, its checks, and its schema.

use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection, SqlitePool};

use super::super::StoreError;
use super::file::DatabaseFile;
use super::writer;

/// Each brings the schema from the version before it to its own. A change of the schema is a new
/// file; those that were released stay as they are.
const SCHEMAS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// What marks the file as ours: `onet`.
const APPLICATION: i64 = 0x6f6e_6574;

/// Earlier ones may lose what a write-ahead log held (<https://www.sqlite.org/wal.html>, "The
/// WAL-Reset Bug").
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// How long another program's lock is waited for: less than a delivery may take, so that its
/// sender is told why.
const BUSY: Duration = Duration::from_millis(1500);

/// `FULL`, since in a write-ahead log anything less may lose the last commits with the power.
/// The log is copied into the file, and cut, every 1000 pages. Nothing goes to a folder for
/// temporary files: a container may have none.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
    PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;";

/// Opens a file for the first time in this process: checks that it is ours and sound, and brings
/// it to the newest schema. A file that is refused is not changed.
pub(super) async fn first(file: &DatabaseFile) -> Result<SqliteConnection, StoreError> {
    let mut db = connect(file).await?;
    let failed = |request| move |error| file.failure(request, error);
    assert_version(&mut db).await.map_err(failed("ask for the version of SQLite"))?;
    let found = check(file, &mut db).await?;
    settle(&mut db).await.map_err(failed("set up the database"))?;
    if found < SCHEMAS.len() {
        let migrated = writer::commit(&mut db, |db| Box::pin(migrate(db, found))).await;
        migrated.map_err(failed("bring the schema up to date"))?;
    }
    Ok(db)
}

/// Opens a file again after a failure.
pub(super) async fn again(file: &DatabaseFile) -> Result<SqliteConnection, StoreError> {
    let mut db = connect(file).await?;
    settle(&mut db).await.map_err(|error| file.failure("set up the database", error))?;
    Ok(db)
}

/// Connections that only read, made when they are needed.
pub(super) fn readers(file: &DatabaseFile) -> SqlitePool {
    PoolOptions::new()
        .max_connections(3)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .connect_lazy_with(
            options(file).read_only(true).busy_timeout(Duration::from_secs(5)).pragma("temp_store", "MEMORY"),
        )
}

fn options(file: &DatabaseFile) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(&file.path).busy_timeout(BUSY).disable_statement_logging()
}

async fn connect(file: &DatabaseFile) -> Result<SqliteConnection, StoreError> {
    options(file).connect().await.map_err(|error| file.failure("open the database", error))
}

/// The mode is asked for, since a file system may not allow it without an error.
async fn settle(db: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(SETTINGS).execute(&mut *db).await?;
    let mode: String = one(db, "PRAGMA journal_mode").await?;
    let is_sound = mode == "wal" && one::<i64>(db, "PRAGMA synchronous").await? == 2;
    match is_sound {
        true => Ok(()),
        false => Err(sqlx::Error::Configuration("a write-ahead log is not possible on this file system".into())),
    }
}

async fn assert_version(db: &mut SqliteConnection) -> sqlx::Result<()> {
    let text: String = one(db, "SELECT sqlite_version()").await?;
    let version: Vec<u32> = text.split('.').filter_map(|part| part.parse().ok()).collect();
    match version.as_slice() >= OLDEST_SQLITE.as_slice() {
        true => Ok(()),
        false => Err(sqlx::Error::Configuration(format!("SQLite {text} may lose data: 3.51.3 is needed").into())),
    }
}

/// The schema's version in a file that is ours and sound; 0 for an empty one.
async fn check(file: &DatabaseFile, db: &mut SqliteConnection) -> Result<usize, StoreError> {
    let failed = |error| file.failure("check the database", error);
    let application: i64 = one(db, "PRAGMA application_id").await.map_err(failed)?;
    let version: i64 = one(db, "PRAGMA user_version").await.map_err(failed)?;
    let tables: i64 = one(db, "SELECT count(*) FROM sqlite_schema").await.map_err(failed)?;
    let is_empty = application == 0 && version == 0 && tables == 0;
    if application != APPLICATION && !is_empty {
        return Err(StoreError::Foreign { path: file.path.clone() });
    }
    let Some(schema) = usize::try_from(version).ok().filter(|version| *version <= SCHEMAS.len()) else {
        return Err(StoreError::Newer { database: file.name(), found: version, known: SCHEMAS.len() as i64 });
    };
    let detail: String = one(db, "PRAGMA quick_check(1)").await.map_err(failed)?;
    match detail == "ok" {
        true => Ok(schema),
        false => Err(StoreError::Corrupt { database: file.name(), detail }),
    }
}

/// In the caller's transaction: a crash in it leaves the old schema.
async fn migrate(db: &mut SqliteConnection, found: usize) -> sqlx::Result<()> {
    for schema in &SCHEMAS[found..] {
        sqlx::raw_sql(*schema).execute(&mut *db).await?;
    }
    mark(db).await
}

/// Marks the file as ours and of the newest schema. A file that is already is written all the same.
pub(super) async fn mark(db: &mut SqliteConnection) -> sqlx::Result<()> {
    let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {};", SCHEMAS.len());
    sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *db).await?;
    Ok(())
}

async fn one<T>(db: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    sqlx::query(sql).fetch_one(db).await?.try_get(0)
}
