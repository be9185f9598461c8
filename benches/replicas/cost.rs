//! What a piece of work costs those who do it: time on the processors, commits, syncs.

use std::time::{Duration, Instant};

use crate::common::Result;
use crate::common::figures::note;
use crate::common::service::{Service, processor_time};
use crate::server::processor_time_of;
use crate::support::Postgres;
use crate::support::postgres::connect;

/// Runs from its making on.
pub(crate) struct Meter<'s> {
    server: &'s Postgres,
    started: Instant,
    before: Spent,
}

/// What was spent so far.
#[derive(Clone, Copy)]
struct Spent {
    server: Duration,
    replicas: Duration,
}

/// What some work took.
pub(crate) struct Cost {
    pub(crate) time: Duration,
    server: Duration,
    replicas: Duration,
}

/// What the server did to make transactions durable.
#[derive(Clone, Copy)]
pub(crate) struct Durability {
    commits: i64,
    syncs: i64,
}

impl Meter<'_> {
    /// The replicas are processes, or parts of this one where there are none.
    pub(crate) fn start<'s>(server: &'s Postgres, replicas: &[Service]) -> Result<Meter<'s>> {
        Ok(Meter { server, started: Instant::now(), before: spent(server, replicas)? })
    }

    pub(crate) fn stop(self, replicas: &[Service]) -> Result<Cost> {
        let time = self.started.elapsed();
        let after = spent(self.server, replicas)?;
        Ok(Cost { time, server: after.server - self.before.server, replicas: after.replicas - self.before.replicas })
    }
}

fn spent(server: &Postgres, replicas: &[Service]) -> Result<Spent> {
    let replicas = match replicas {
        [] => processor_time(std::process::id(), 2)?,
        replicas => replicas.iter().map(Service::processor_time).sum::<Result<Duration>>()?,
    };
    Ok(Spent { server: processor_time_of(server)?, replicas })
}

impl Cost {
    /// Prints what each of `count` pieces took, and how much of the processors was in use meanwhile.
    pub(crate) fn tell(&self, count: usize) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        let percent = |time: Duration| 100.0 * time.as_secs_f64() / self.time.as_secs_f64();
        note("  processor time of PostgreSQL for each", "µs", each(self.server));
        note("  processor time of the replicas for each", "µs", each(self.replicas));
        note("  processors in use by PostgreSQL, a core is 100 %", "%", percent(self.server));
        note("  processors in use by the replicas, a core is 100 %", "%", percent(self.replicas));
    }
}

impl Durability {
    /// So far. What connections did that are still open may be missing.
    pub(crate) async fn of(server: &Postgres) -> Result<Durability> {
        let mut db = connect(&server.address("postgres")).await;
        let counted = "SELECT (SELECT sum(xact_commit)::bigint FROM pg_stat_database), wal_sync FROM pg_stat_wal";
        let (commits, syncs) = sqlx::query_as(counted).fetch_one(&mut db).await?;
        Ok(Durability { commits, syncs })
    }

    /// Prints what there was of it since, for 100 of `count` pieces.
    pub(crate) async fn tell(self, server: &Postgres, count: usize) -> Result<()> {
        let after = Durability::of(server).await?;
        let hundred = |before: i64, after: i64| 100.0 * (after - before) as f64 / count as f64;
        note("  transactions for a hundred", "", hundred(self.commits, after.commits));
        note("  syncs of the log for a hundred", "", hundred(self.syncs, after.syncs));
        Ok(())
    }
}
