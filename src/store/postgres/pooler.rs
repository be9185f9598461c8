//! Whether a pooler stands between that gives each transaction another session.
//!
//! What is asked of a session there stays behind in it, for whoever gets it next. A `LISTEN` would have
//! the server speak to clients that asked for nothing, also between a commit and its answer.

use sqlx::postgres::PgListener;
use sqlx::{Executor, PgConnection, Postgres, Row as _};

/// How often it is looked: once, a third client may have taken the session just then.
const LOOKS: u32 = 8;

/// Whether `one` has no session of its own between two transactions: another is given it, or it is
/// given another. Nothing is left in any session.
pub(super) async fn is_between(one: &mut PgListener, other: &mut PgConnection) -> sqlx::Result<bool> {
    let its_own = session(&mut *one).await?;
    for _ in 0..LOOKS {
        let held = sqlx::raw_sql("BEGIN READ ONLY; SELECT pg_backend_pid()").fetch_one(&mut *other).await?;
        let is_between = held.try_get::<i32, _>(0)? == its_own || session(&mut *one).await? != its_own;
        sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
        if is_between {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The session that a client has now.
pub(super) async fn session<'c>(client: impl Executor<'c, Database = Postgres>) -> sqlx::Result<i32> {
    sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(client).await?.try_get(0)
}
