//! Plain tags as they were last found, listed with what their jobs and holds say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::PgArguments;
use sqlx::{PgConnection, Postgres, Row as _, query::Query};
use tokio::time::Instant;

use super::super::delivery::millis;
use super::super::inbox::TroubleKind;
use super::super::together::Changed;
use super::super::versions::{Architecture, Difference, Filter, Listed, Overview, Place, Standing, Tally};
use super::super::{Store, StoreError, rows};
use super::{Database, PATIENCE, TRANSACTION, query};
use crate::model::{Repository, Tag, Version};

const NOW: &str = concat!("SELECT ", now!(), " AS now");
/// What was kept in the future was kept before the clock stepped back.
const BEFORE: &str = concat!(
    "SELECT tag, body, $3::bigint IS NOT NULL AND checked_at > $3 AND checked_at <= ",
    now!(),
    " AS is_newer FROM onetag.version WHERE repository = $1 AND tag = ANY($2) ORDER BY tag FOR UPDATE"
);
const TOUCH: &str =
    concat!("UPDATE onetag.version SET checked_at = ", now!(), " WHERE repository = $1 AND tag = ANY($2)");
const PUT: &str = concat!(
    "INSERT INTO onetag.version AS version (repository, tag, state, body, since, checked_at, changed_at)
     SELECT $1, new.tag, new.state, new.body, clock.now, clock.now, clock.now FROM (SELECT ",
    now!(),
    " AS now) AS clock, json_to_recordset($2::json) AS new (tag text, state text, body text)
     ON CONFLICT (repository, tag) DO UPDATE SET
         since = CASE WHEN version.state = excluded.state THEN version.since ELSE excluded.since END,
         state = excluded.state, body = excluded.body, checked_at = excluded.checked_at, changed_at = excluded.changed_at"
);
const PUT_IMAGES: &str = "INSERT INTO onetag.version_image (repository, tag, place, arch, platform, state)
     SELECT $1, new.tag, new.place, new.arch, new.platform, new.state
     FROM json_to_recordset($2::json) AS new (tag text, place bigint, arch text, platform text, state text)
     ON CONFLICT (repository, tag, place) DO UPDATE SET
         arch = excluded.arch, platform = excluded.platform, state = excluded.state";
const DROP: &str = "DELETE FROM onetag.version WHERE repository = $1 AND tag = ANY($2)";
const DROP_IMAGES: &str = "DELETE FROM onetag.version_image WHERE repository = $1 AND tag = ANY($2)";
pub(super) const FOUND: &str = "SELECT body FROM onetag.version WHERE repository = $1 AND tag = $2";
const FOUND_TAGS: &str = "SELECT tag FROM onetag.version WHERE repository = $1";

/// Every listed tag of the repositories that meet a condition, with its rank: held and given up
/// first, then what is not as it should be.
macro_rules! listed {
    ($condition:literal) => {
        concat!(
            "WITH known AS (
                 SELECT repository, tag FROM onetag.version WHERE ",
            $condition,
            " UNION SELECT repository, tag FROM onetag.job WHERE trouble <> 'waiting' AND ",
            $condition,
            " UNION SELECT repository, tag FROM onetag.hold WHERE ",
            $condition,
            "), listed AS (
                 SELECT known.repository, known.tag, version.state, version.since, version.checked_at,
                        nullif(job.trouble, 'waiting') AS trouble, job.reason, job.troubled_at, hold.since AS held_at,
                        CASE WHEN hold.since IS NOT NULL OR job.trouble IN ('held', 'parked') THEN 0::bigint
                             WHEN job.trouble = 'failing' OR version.state NOT IN ('ok', 'unpublished') THEN 1
                             ELSE 2 END AS rank
                 FROM known
                 LEFT JOIN onetag.version ON version.repository = known.repository AND version.tag = known.tag
                 LEFT JOIN onetag.job ON job.repository = known.repository AND job.tag = known.tag
                 LEFT JOIN onetag.hold ON hold.repository = known.repository AND hold.tag = known.tag)"
        )
    };
}

/// What a filter leaves: $2 a kind of trouble, $3 whether attention is asked for, $4 a state as it
/// was found, $5 an architecture, $6 a part of the name.
macro_rules! passes {
    () => {
        "($2::text IS NULL OR trouble = $2 OR ($2 = 'held' AND held_at IS NOT NULL))
         AND (NOT $3 OR rank < 2)
         AND ($4::text IS NULL OR $5::text IS NOT NULL OR state = $4)
         AND ($5::text IS NULL OR EXISTS (
             SELECT 1 FROM onetag.version_image AS image
             WHERE image.repository = listed.repository AND image.tag = listed.tag
               AND (image.arch = $5 OR image.platform = $5) AND ($4::text IS NULL OR image.state = $4)))
         AND ($6::text IS NULL OR strpos(lower(tag), $6) > 0)"
    };
}

const VERSIONS: &str = concat!(
    listed!("repository = $1"),
    " SELECT page.*, (SELECT body FROM onetag.version WHERE version.repository = page.repository AND version.tag = page.tag)
                     AS body
      FROM (SELECT * FROM listed WHERE ",
    passes!(),
    " AND (rank > $7 OR (rank = $7 AND tag > $8::text)) ORDER BY rank, tag LIMIT $9) AS page
      ORDER BY rank, tag"
);
const VERSION: &str = concat!(
    listed!("repository = $1 AND tag = $2"),
    " SELECT listed.*, (SELECT body FROM onetag.version WHERE repository = $1 AND tag = $2) AS body FROM listed"
);

/// What is counted of them.
macro_rules! counted {
    () => {
        "rank, state, coalesce(trouble, CASE WHEN held_at IS NULL THEN NULL ELSE 'held' END) AS trouble,
                       count(*) AS versions, max(checked_at) AS checked_at"
    };
}

const TALLY: &str = concat!(
    listed!("repository = $1"),
    " SELECT ",
    counted!(),
    " FROM listed WHERE ",
    passes!(),
    " GROUP BY rank, state, trouble, held_at IS NULL"
);
const OVERVIEW: &str = concat!(
    listed!("true"),
    " SELECT repository, ",
    counted!(),
    " FROM listed GROUP BY repository, rank, state, trouble, held_at IS NULL"
);

const ARCHITECTURES: &str =
    "SELECT arch, max(platform) AS platform, count(*) AS versions FROM onetag.version_image WHERE repository = $1
     GROUP BY arch ORDER BY arch";

/// Of what was written down and found otherwise in the last $1 milliseconds, how it stands.
const CHANGED: &str = concat!(
    "SELECT news.repository, news.tag, max(news.at) AS at,
            coalesce(max(nullif(job.trouble, 'waiting')), max(version.state)) AS state
     FROM (SELECT repository, tag, recorded_at AS at FROM onetag.journal WHERE recorded_at > ",
    now!(),
    " - $1 UNION ALL SELECT repository, tag, changed_at FROM onetag.version WHERE changed_at > ",
    now!(),
    " - $1) AS news
     LEFT JOIN onetag.job ON job.repository = news.repository AND job.tag = news.tag
     LEFT JOIN onetag.version ON version.repository = news.repository AND version.tag = news.tag
     GROUP BY news.repository, news.tag ORDER BY at DESC LIMIT $2"
);

impl Database {
    pub(crate) async fn changed(&self, within: Duration) -> Result<Vec<Changed>, StoreError> {
        self.read("look what changed", |db| {
            let query =
                query(CHANGED).bind(millis(within)).bind(i64::try_from(Store::MOST_CHANGED).unwrap_or(i64::MAX));
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::changed).collect() })
        })
        .await
    }

    pub(crate) async fn put_versions(
        &self,
        repository: &Repository,
        mut versions: Vec<Version>,
        looked_at_ms: Option<i64>,
    ) -> Result<Vec<Difference>, StoreError> {
        // In one order, so that two who keep the same wait for each other and never both.
        versions.sort_by(|a, b| a.tag.cmp(&b.tag));
        let repository = repository.to_string();
        self.write_once(Instant::now() + PATIENCE, "keep what was found", |db| {
            let (repository, versions) = (repository.clone(), versions.clone());
            Box::pin(async move {
                let transaction = query(TRANSACTION).fetch_one(&mut *db).await?.try_get("transaction")?;
                Ok((put(db, &repository, versions, looked_at_ms).await?, Some(transaction)))
            })
        })
        .await
    }

    pub(crate) async fn now_ms(&self) -> Result<i64, StoreError> {
        self.read("ask for the time", |db| Box::pin(async move { query(NOW).fetch_one(db).await?.try_get("now") }))
            .await
    }

    pub(crate) async fn found_tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>, StoreError> {
        self.read("list the tags that were found", |db| {
            let found = query(FOUND_TAGS).bind(repository.to_string());
            Box::pin(async move {
                let names = found.fetch_all(db).await?;
                Ok(names.iter().filter_map(|row| row.try_get::<&str, _>("tag").ok()?.parse().ok()).collect())
            })
        })
        .await
    }

    pub(crate) async fn forget_versions(
        &self,
        repository: &Repository,
        tags: &BTreeSet<Tag>,
    ) -> Result<(), StoreError> {
        let tags: Vec<String> = tags.iter().map(Tag::to_string).collect();
        self.write("forget tags that are gone", |db| {
            let statements = [DROP, DROP_IMAGES];
            let statements = statements.map(|sql| query(sql).bind(repository.to_string()).bind(tags.clone()));
            Box::pin(async move {
                for statement in statements {
                    statement.execute(&mut *db).await?;
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
        let found = self.read("list versions", |db| {
            let query = filtered(query(VERSIONS), repository, filter)
                .bind(after.map_or(-1, |place| place.rank))
                .bind(after.map(|place| place.tag.to_string()))
                .bind(i64::from(most));
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::listed).collect() })
        });
        let listed = found.await?;
        self.with_holds(listed, repository).await
    }

    pub(crate) async fn version(&self, repository: &Repository, tag: &Tag) -> Result<Option<Listed>, StoreError> {
        let found = self.read("look up a version", |db| {
            let query = query(VERSION).bind(repository.to_string()).bind(tag.to_string());
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::listed).collect() })
        });
        let listed = found.await?;
        Ok(self.with_holds(listed, repository).await?.pop())
    }

    /// Adds the holds to tags that have one; a person made each, so they are few.
    async fn with_holds(
        &self,
        listed: Vec<(Listed, bool)>,
        repository: &Repository,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        for (mut listed, is_held) in listed {
            if is_held {
                listed.hold = self.held(repository, &listed.tag).await?;
            }
            all.push(listed);
        }
        Ok(all)
    }

    pub(crate) async fn tally(&self, repository: &Repository, filter: &Filter) -> Result<Tally, StoreError> {
        self.read("count versions", |db| {
            let query = filtered(query(TALLY), repository, filter);
            Box::pin(async move {
                let mut tally = Tally::default();
                for row in &query.fetch_all(db).await? {
                    rows::add_to_tally(&mut tally, row)?;
                }
                Ok(tally)
            })
        })
        .await
    }

    pub(crate) async fn overview(&self) -> Result<Vec<Overview>, StoreError> {
        self.read("count versions of all repositories", |db| {
            Box::pin(async move {
                let mut overviews: BTreeMap<String, Overview> = BTreeMap::new();
                for row in &query(OVERVIEW).fetch_all(db).await? {
                    rows::add_to_overview(&mut overviews, row)?;
                }
                Ok(overviews.into_values().collect())
            })
        })
        .await
    }

    pub(crate) async fn architectures(&self, repository: &Repository) -> Result<Vec<Architecture>, StoreError> {
        self.read("list architectures", |db| {
            let query = query(ARCHITECTURES).bind(repository.to_string());
            Box::pin(async move { query.fetch_all(db).await?.iter().map(rows::architecture).collect() })
        })
        .await
    }
}

/// What a statement is told of a tag.
#[derive(Serialize)]
struct NewVersion<'v> {
    tag: &'v str,
    state: &'v str,
    body: String,
}

/// What a statement is told of an image.
#[derive(Serialize)]
struct NewImage<'v> {
    tag: &'v str,
    place: usize,
    arch: &'v str,
    platform: Option<&'v str>,
    state: &'v str,
}

/// Keeps versions; returns those that are not as they were.
async fn put(
    db: &mut PgConnection,
    repository: &str,
    versions: Vec<Version>,
    looked_at_ms: Option<i64>,
) -> sqlx::Result<Vec<Difference>> {
    let tags: Vec<String> = versions.iter().map(|version| version.tag.clone()).collect();
    let known = query(BEFORE).bind(repository.to_owned()).bind(tags).bind(looked_at_ms).fetch_all(&mut *db).await?;
    let mut before: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for row in known {
        before.insert(row.try_get("tag")?, (row.try_get("body")?, row.try_get("is_newer")?));
    }
    let (mut same, mut bodies, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for version in versions {
        let body = serde_json::to_string(&version).expect("texts and lists are JSON");
        match before.remove(&version.tag) {
            Some((_, true)) => {}
            Some((known, false)) if known == body => same.push(version.tag),
            known => {
                // What cannot be read any more was written by another version of this program.
                let before = known.and_then(|(known, _)| serde_json::from_str(&known).ok());
                differences.push(Difference { version, before });
                bodies.push(body);
            }
        }
    }
    if !same.is_empty() {
        query(TOUCH).bind(repository.to_owned()).bind(same).execute(&mut *db).await?;
    }
    if differences.is_empty() {
        return Ok(differences);
    }
    let (mut news, mut images, mut tags) = (Vec::new(), Vec::new(), Vec::new());
    for (Difference { version, .. }, body) in differences.iter().zip(bodies) {
        let tag = version.tag.as_str();
        tags.push(tag.to_owned());
        news.push(NewVersion { tag, state: version.state.as_str(), body });
        images.extend(version.images.iter().enumerate().map(|(place, image)| NewImage {
            tag,
            place,
            arch: image.name(),
            platform: image.platform.as_deref(),
            state: image.state.as_str(),
        }));
    }
    let [news, images] = [serde_json::to_string(&news), serde_json::to_string(&images)];
    let [news, images] = [news, images].map(|text| text.expect("texts and numbers are JSON"));
    query(PUT).bind(repository.to_owned()).bind(news).execute(&mut *db).await?;
    query(DROP_IMAGES).bind(repository.to_owned()).bind(tags).execute(&mut *db).await?;
    query(PUT_IMAGES).bind(repository.to_owned()).bind(images).execute(&mut *db).await?;
    Ok(differences)
}

type Prepared = Query<'static, Postgres, PgArguments>;

/// Binds $1 to $6.
fn filtered(query: Prepared, repository: &Repository, filter: &Filter) -> Prepared {
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
