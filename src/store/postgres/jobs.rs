//! Jobs and unusable deliveries as lists and counts.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::super::inbox::{Counts, JobView, List, Quarantined};
use super::super::{StoreError, rows};
use super::{Database, query};
use crate::model::{Repository, Tag};

/// Whether somebody works on a job.
macro_rules! is_running {
    () => {
        concat!("coalesce(lease_ms IS NOT NULL AND leased_until > ", now!(), ", false)")
    };
}

/// A job's columns as a list shows them.
macro_rules! jobs {
    ($condition:literal) => {
        concat!(
            "SELECT *, ",
            is_running!(),
            " AS is_running,
              CASE WHEN due_at IS NULL THEN NULL WHEN set_at > ",
            now!(),
            " + 5000 THEN 0 ELSE greatest(due_at - ",
            now!(),
            ", 0) END AS due_in FROM onetag.job WHERE ",
            $condition
        )
    };
}

const ACTIVE: &str = jobs!("due_at IS NOT NULL ORDER BY due_at LIMIT $1");
const TROUBLED: &str =
    jobs!("trouble IS NOT NULL AND trouble <> 'waiting' ORDER BY troubled_at DESC, id DESC LIMIT $1");
pub(super) const ONE: &str = jobs!("repository = $1 AND tag = $2");

const COUNTS: &str = concat!(
    "WITH shown AS (SELECT *, ",
    is_running!(),
    " AS is_running FROM onetag.job)
     SELECT count(*) FILTER (WHERE due_at IS NOT NULL AND NOT is_running) AS waiting,
            count(*) FILTER (WHERE is_running) AS running,
            count(*) FILTER (WHERE trouble = 'failing') AS failing,
            count(*) FILTER (WHERE trouble = 'held') AS held,
            count(*) FILTER (WHERE trouble = 'parked') AS parked,
            (SELECT count(*) FROM onetag.quarantined) AS quarantined,
            CASE WHEN count(*) FILTER (WHERE due_at IS NOT NULL AND NOT is_running) > 0 THEN greatest(0, ",
    now!(),
    " - min(woken_at) FILTER (WHERE due_at IS NOT NULL AND NOT is_running)) END AS oldest_waiting
     FROM shown"
);

const QUARANTINED: &str = "SELECT * FROM onetag.quarantined ORDER BY id DESC LIMIT $1";

impl Database {
    pub(crate) async fn counts(&self) -> Result<Counts, StoreError> {
        self.read("count jobs", |db| Box::pin(async move { rows::counts(&query(COUNTS).fetch_one(db).await?) })).await
    }

    pub(crate) async fn jobs(&self, list: List, most: u32) -> Result<Vec<JobView>, StoreError> {
        let statement = match list {
            List::Active => ACTIVE,
            List::Troubled => TROUBLED,
        };
        self.listed(move || query(statement).bind(i64::from(most))).await
    }

    pub(crate) async fn job(&self, repository: &Repository, tag: &Tag) -> Result<Option<JobView>, StoreError> {
        let found = self.listed(|| query(ONE).bind(repository.to_string()).bind(tag.to_string())).await?;
        Ok(found.into_iter().next())
    }

    async fn listed(
        &self,
        ask: impl Fn() -> Query<'static, Postgres, PgArguments> + Sync,
    ) -> Result<Vec<JobView>, StoreError> {
        self.read("list jobs", |db| {
            let query = ask();
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::job).collect() })
        })
        .await
    }

    pub(crate) async fn quarantined(&self, most: u32) -> Result<Vec<Quarantined>, StoreError> {
        self.read("list unusable deliveries", |db| {
            let query = query(QUARANTINED).bind(i64::from(most));
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::quarantined).collect() })
        })
        .await
    }
}
