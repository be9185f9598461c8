//! Plain tags as they were last found, listed with what their jobs and holds say.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::SqliteArguments;
use sqlx::{Row, Sqlite, SqliteConnection, query::Query};

use super::super::StoreError;
use super::super::inbox::TroubleKind;
use super::super::rows;
use super::super::versions::{Architecture, Difference, Filter, Listed, Overview, Place, Standing, Tally};
use super::Database;
use crate::model::{Repository, Tag, Version};

const NOW: &str = concat!("SELECT ", now!());
/// What was kept in the future was kept before the clock stepped back.
const BEFORE: &str = concat!(
    "SELECT body, ?3 IS NOT NULL AND checked_at > ?3 AND checked_at <= ",
    now!(),
    " AS is_newer FROM version WHERE repository = ?1 AND tag = ?2"
);
const TOUCH: &str = concat!("UPDATE version SET checked_at = ", now!(), " WHERE repository = ?1 AND tag = ?2");
const PUT: &str = concat!(
    "INSERT INTO version (repository, tag, state, body, since, checked_at)
     VALUES (?1, ?2, ?3, ?4, ",
    now!(),
    ", ",
    now!(),
    ") ON CONFLICT (repository, tag) DO UPDATE SET
         since = CASE WHEN version.state = excluded.state THEN version.since ELSE excluded.since END,
         state = excluded.state, body = excluded.body, checked_at = excluded.checked_at"
);
const PUT_IMAGE: &str = "INSERT INTO version_image (repository, tag, place, arch, platform, state)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const DROP: &str = "DELETE FROM version WHERE repository = ?1 AND tag = ?2";
const DROP_IMAGES: &str = "DELETE FROM version_image WHERE repository = ?1 AND tag = ?2";
const FOUND_TAGS: &str = "SELECT tag FROM version WHERE repository = ?1";

/// Every listed tag of the repositories that meet a condition, with its rank: held and given up
/// first, then what is not as it should be.
macro_rules! listed {
    ($condition:literal) => {
        concat!(
            "WITH known AS (
                 SELECT repository, tag FROM version WHERE ",
            $condition,
            " UNION SELECT repository, tag FROM job WHERE trouble <> 'waiting' AND ",
            $condition,
            " UNION SELECT repository, tag FROM hold WHERE ",
            $condition,
            "), listed AS (
                 SELECT known.repository, known.tag, version.state, version.since, version.checked_at,
                        nullif(job.trouble, 'waiting') AS trouble, job.reason, job.troubled_at, hold.since AS held_at,
                        CASE WHEN hold.since IS NOT NULL OR job.trouble IN ('held', 'parked') THEN 0
                             WHEN job.trouble = 'failing' OR version.state NOT IN ('ok', 'unpublished') THEN 1
                             ELSE 2 END AS rank
                 FROM known
                 LEFT JOIN version ON version.repository = known.repository AND version.tag = known.tag
                 LEFT JOIN job ON job.repository = known.repository AND job.tag = known.tag
                 LEFT JOIN hold ON hold.repository = known.repository AND hold.tag = known.tag)"
        )
    };
}

/// What a filter leaves: ?2 a kind of trouble, ?3 whether attention is asked for, ?4 a state as it
/// was found, ?5 an architecture, ?6 a part of the name.
macro_rules! passes {
    () => {
        "(?2 IS NULL OR trouble = ?2 OR (?2 = 'held' AND held_at IS NOT NULL))
         AND (?3 = 0 OR rank < 2)
         AND (?4 IS NULL OR ?5 IS NOT NULL OR state = ?4)
         AND (?5 IS NULL OR EXISTS (
             SELECT 1 FROM version_image AS image
             WHERE image.repository = listed.repository AND image.tag = listed.tag
               AND (image.arch = ?5 OR image.platform = ?5) AND (?4 IS NULL OR image.state = ?4)))
         AND (?6 IS NULL OR instr(lower(tag), ?6) > 0)"
    };
}

const VERSIONS: &str = concat!(
    listed!("repository = ?1"),
    " SELECT page.*, (SELECT body FROM version WHERE version.repository = page.repository AND version.tag = page.tag)
                     AS body
      FROM (SELECT * FROM listed WHERE ",
    passes!(),
    " AND (rank > ?7 OR (rank = ?7 AND tag > ?8)) ORDER BY rank, tag LIMIT ?9) AS page
      ORDER BY rank, tag"
);
const VERSION: &str = concat!(
    listed!("repository = ?1 AND tag = ?2"),
    " SELECT listed.*, (SELECT body FROM version WHERE repository = ?1 AND tag = ?2) AS body FROM listed"
);

const COUNTED: &str = "rank, state, coalesce(trouble, CASE WHEN held_at IS NULL THEN NULL ELSE 'held' END) AS trouble,
                       count(*) AS versions, max(checked_at) AS checked_at";
const TALLY: [&str; 3] = [
    listed!("repository = ?1"),
    COUNTED,
    concat!("FROM listed WHERE ", passes!(), " GROUP BY rank, state, trouble, held_at IS NULL"),
];
const OVERVIEW: [&str; 3] =
    [listed!("true"), COUNTED, "FROM listed GROUP BY repository, rank, state, trouble, held_at IS NULL"];

const ARCHITECTURES: &str =
    "SELECT arch, max(platform) AS platform, count(*) AS versions FROM version_image WHERE repository = ?1
     GROUP BY arch ORDER BY arch";

impl Database {
    pub(crate) async fn put_versions(
        &self,
        repository: &Repository,
        versions: Vec<Version>,
        looked_at_ms: Option<i64>,
    ) -> Result<Vec<Difference>, StoreError> {
        let repository = repository.to_string();
        self.write("keep what was found", move |db| {
            Box::pin(async move {
                let mut differences = Vec::new();
                for version in versions {
                    differences.extend(put(db, &repository, version, looked_at_ms).await?);
                }
                Ok(differences)
            })
        })
        .await
    }

    pub(crate) async fn now_ms(&self) -> Result<i64, StoreError> {
        let request = "ask for the time";
        let mut db = self.reader(request).await?;
        sqlx::query_scalar(NOW).fetch_one(&mut *db).await.map_err(self.failed(request))
    }

    pub(crate) async fn found_tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>, StoreError> {
        let request = "list the tags that were found";
        let mut db = self.reader(request).await?;
        let query = sqlx::query_scalar::<_, String>(FOUND_TAGS).bind(repository.to_string());
        let names = query.fetch_all(&mut *db).await.map_err(self.failed(request))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    pub(crate) async fn forget_versions(
        &self,
        repository: &Repository,
        tags: &BTreeSet<Tag>,
    ) -> Result<(), StoreError> {
        let (repository, tags) = (repository.to_string(), tags.clone());
        self.write("forget tags that are gone", move |db| {
            Box::pin(async move {
                for tag in tags {
                    for statement in [DROP, DROP_IMAGES] {
                        sqlx::query(statement).bind(&repository).bind(tag.as_str()).execute(&mut *db).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn versions(
        &self,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Place>,
        most: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        let request = "list versions";
        let mut db = self.reader(request).await?;
        let query = filtered(sqlx::query(VERSIONS), repository, filter)
            .bind(after.map_or(-1, |place| place.rank))
            .bind(after.map(|place| place.tag.as_str()))
            .bind(most);
        let found = query.fetch_all(&mut *db).await.map_err(self.failed(request))?;
        let mut listed =
            found.iter().map(rows::listed).collect::<sqlx::Result<Vec<_>>>().map_err(self.failed(request))?;
        drop(db);
        self.add_holds(&mut listed, repository).await?;
        Ok(listed.into_iter().map(|(listed, _)| listed).collect())
    }

    pub(crate) async fn version(&self, repository: &Repository, tag: &Tag) -> Result<Option<Listed>, StoreError> {
        let request = "look up a version";
        let mut db = self.reader(request).await?;
        let query = sqlx::query(VERSION).bind(repository.to_string()).bind(tag.as_str());
        let found = query.fetch_optional(&mut *db).await.map_err(self.failed(request))?;
        let found = found.as_ref().map(rows::listed).transpose().map_err(self.failed(request))?;
        drop(db);
        let mut listed = Vec::from_iter(found);
        self.add_holds(&mut listed, repository).await?;
        Ok(listed.pop().map(|(listed, _)| listed))
    }

    /// Adds the holds to tags that have one; a person made each, so they are few.
    async fn add_holds(&self, listed: &mut [(Listed, bool)], repository: &Repository) -> Result<(), StoreError> {
        for (listed, _) in listed.iter_mut().filter(|(_, is_held)| *is_held) {
            listed.hold = self.held(repository, &listed.tag).await?;
        }
        Ok(())
    }

    pub(crate) async fn tally(&self, repository: &Repository, filter: &Filter) -> Result<Tally, StoreError> {
        let request = "count versions";
        let [with, columns, from] = TALLY;
        let statement = format!("{with} SELECT {columns} {from}");
        let mut db = self.reader(request).await?;
        let query = filtered(sqlx::query(sqlx::AssertSqlSafe(statement)), repository, filter);
        let found = query.fetch_all(&mut *db).await.map_err(self.failed(request))?;
        let mut tally = Tally::default();
        for row in &found {
            rows::add_to_tally(&mut tally, row).map_err(self.failed(request))?;
        }
        Ok(tally)
    }

    pub(crate) async fn overview(&self) -> Result<Vec<Overview>, StoreError> {
        let request = "count versions of all repositories";
        let [with, columns, from] = OVERVIEW;
        let statement = format!("{with} SELECT repository, {columns} {from}");
        let mut db = self.reader(request).await?;
        let found = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(&mut *db).await;
        let found = found.map_err(self.failed(request))?;
        let mut overviews: BTreeMap<String, Overview> = BTreeMap::new();
        for row in &found {
            rows::add_to_overview(&mut overviews, row).map_err(self.failed(request))?;
        }
        Ok(overviews.into_values().collect())
    }

    pub(crate) async fn architectures(&self, repository: &Repository) -> Result<Vec<Architecture>, StoreError> {
        let request = "list architectures";
        let mut db = self.reader(request).await?;
        let query = sqlx::query(ARCHITECTURES).bind(repository.to_string());
        let found = query.fetch_all(&mut *db).await.map_err(self.failed(request))?;
        found.iter().map(rows::architecture).collect::<sqlx::Result<_>>().map_err(self.failed(request))
    }
}

/// Keeps one version; none where it is as it was.
async fn put(
    db: &mut SqliteConnection,
    repository: &str,
    version: Version,
    looked_at_ms: Option<i64>,
) -> sqlx::Result<Option<Difference>> {
    let body = serde_json::to_string(&version).expect("texts and lists are JSON");
    let query = sqlx::query(BEFORE).bind(repository).bind(&version.tag).bind(looked_at_ms);
    let row = query.fetch_optional(&mut *db).await?;
    if row.as_ref().map(|row| row.try_get("is_newer")).transpose()?.unwrap_or(false) {
        return Ok(None);
    }
    let before: Option<String> = row.map(|row| row.try_get("body")).transpose()?;
    if before.as_ref() == Some(&body) {
        sqlx::query(TOUCH).bind(repository).bind(&version.tag).execute(db).await?;
        return Ok(None);
    }
    let query = sqlx::query(PUT).bind(repository).bind(&version.tag).bind(version.state.as_str()).bind(&body);
    query.execute(&mut *db).await?;
    sqlx::query(DROP_IMAGES).bind(repository).bind(&version.tag).execute(&mut *db).await?;
    for (place, image) in version.images.iter().enumerate() {
        sqlx::query(PUT_IMAGE)
            .bind(repository)
            .bind(&version.tag)
            .bind(i64::try_from(place).unwrap_or(i64::MAX))
            .bind(image.name())
            .bind(&image.platform)
            .bind(image.state.as_str())
            .execute(&mut *db)
            .await?;
    }
    // What cannot be read any more was written by another version of this program.
    let before = before.and_then(|body| serde_json::from_str(&body).ok());
    Ok(Some(Difference { version, before }))
}

type Prepared<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Binds ?1 to ?6.
fn filtered<'q>(query: Prepared<'q>, repository: &Repository, filter: &Filter) -> Prepared<'q> {
    let (trouble, found) = match &filter.state {
        Some(Standing::Trouble(kind)) => (Some(*kind), None),
        Some(Standing::Found(state)) => (None, Some(state.clone())),
        Some(Standing::Attention) | None => (None, None),
    };
    query
        .bind(repository.to_string())
        .bind(trouble.map(TroubleKind::as_str))
        .bind(filter.state == Some(Standing::Attention))
        .bind(found)
        .bind(filter.arch.clone())
        .bind(filter.name.as_ref().map(|name| name.to_ascii_lowercase()))
}
