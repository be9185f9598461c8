//! Jobs and unusable deliveries as lists and counts.

use super::super::StoreError;
use super::super::inbox::{Counts, JobView, List, Quarantined};
use super::super::rows;
use super::Database;
use crate::model::{Repository, Tag};

/// A job's columns as a list shows them; ?1 are the jobs under lease.
macro_rules! jobs {
    ($condition:literal) => {
        concat!(
            "SELECT *, id IN (SELECT value FROM json_each(?1)) AS is_running,
                    CASE WHEN due_at IS NULL THEN NULL WHEN set_at > ",
            now!(),
            " + 5000 THEN 0 ELSE max(due_at - ",
            now!(),
            ", 0) END AS due_in FROM job WHERE ",
            $condition
        )
    };
}

const ACTIVE: &str = jobs!("due_at IS NOT NULL ORDER BY due_at LIMIT ?2");
const TROUBLED: &str =
    jobs!("trouble IS NOT NULL AND trouble <> 'waiting' ORDER BY troubled_at DESC, id DESC LIMIT ?2");
const ONE: &str = jobs!("repository = ?2 AND tag = ?3");

const COUNTS: &str = concat!(
    "WITH shown AS (SELECT *, id IN (SELECT value FROM json_each(?1)) AS is_running FROM job)
     SELECT count(*) FILTER (WHERE due_at IS NOT NULL AND NOT is_running) AS waiting,
            count(*) FILTER (WHERE is_running) AS running,
            count(*) FILTER (WHERE trouble = 'failing') AS failing,
            count(*) FILTER (WHERE trouble = 'held') AS held,
            count(*) FILTER (WHERE trouble = 'parked') AS parked,
            (SELECT count(*) FROM quarantined) AS quarantined,
            max(0, ",
    now!(),
    " - min(woken_at) FILTER (WHERE due_at IS NOT NULL AND NOT is_running)) AS oldest_waiting
     FROM shown"
);

const QUARANTINED: &str = "SELECT * FROM quarantined ORDER BY id DESC LIMIT ?1";

impl Database {
    pub(crate) async fn counts(&self) -> Result<Counts, StoreError> {
        let request = "count jobs";
        let mut db = self.reader(request).await?;
        let row = sqlx::query(COUNTS).bind(self.leases.ids()).fetch_one(&mut *db).await;
        let row = row.map_err(self.failed(request))?;
        rows::counts(&row).map_err(self.failed(request))
    }

    pub(crate) async fn jobs(&self, list: List, most: u32) -> Result<Vec<JobView>, StoreError> {
        let request = "list jobs";
        let mut db = self.reader(request).await?;
        let statement = match list {
            List::Active => ACTIVE,
            List::Troubled => TROUBLED,
        };
        let found = sqlx::query(statement).bind(self.leases.ids()).bind(most).fetch_all(&mut *db).await;
        let found = found.map_err(self.failed(request))?;
        found.iter().map(rows::job).collect::<sqlx::Result<_>>().map_err(self.failed(request))
    }

    pub(crate) async fn job(&self, repository: &Repository, tag: &Tag) -> Result<Option<JobView>, StoreError> {
        let request = "look up a job";
        let mut db = self.reader(request).await?;
        let query = sqlx::query(ONE).bind(self.leases.ids()).bind(repository.to_string()).bind(tag.as_str());
        let found = query.fetch_optional(&mut *db).await.map_err(self.failed(request))?;
        found.as_ref().map(rows::job).transpose().map_err(self.failed(request))
    }

    pub(crate) async fn quarantined(&self, most: u32) -> Result<Vec<Quarantined>, StoreError> {
        let request = "list unusable deliveries";
        let mut db = self.reader(request).await?;
        let found = sqlx::query(QUARANTINED).bind(most).fetch_all(&mut *db).await.map_err(self.failed(request))?;
        found.iter().map(rows::quarantined).collect::<sqlx::Result<_>>().map_err(self.failed(request))
    }
}
