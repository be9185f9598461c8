//! What other processes did: heard by `LISTEN` where that is possible, looked for where it is not.
//!
//! Nothing depends on being told. `NOTIFY` is sent on its own after a commit, and many changes are
//! told as one: inside the commits it would make them wait for each other.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::StoreError;
use super::connections::is_about_connection;
use super::{Database, Shared, pooler};

/// The name under which changes are told.
const CHANNEL: &str = "onetag";
/// How many changes are told as one.
const GATHER: Duration = Duration::from_millis(20);
/// How long one's own voice may take before one is taken for deaf.
const ECHO: Duration = Duration::from_secs(3);
/// How long it may take to find out whether a pooler stands between, also where the server is far away.
const LOOKING: Duration = Duration::from_secs(20);
/// How often it is looked whether something changed, where that cannot be heard.
const POLL: Duration = Duration::from_secs(1);
/// How often listening is tried again where it was in vain.
const AGAIN: Duration = Duration::from_secs(60);
/// How long nobody needs to say anything before it is asked whether the server is there.
const SILENCE: Duration = Duration::from_secs(10);
/// How often leases are looked after, whoever held them.
const TIDY: Duration = Duration::from_secs(1);
/// In how many of those times it is looked whether a later version has taken over.
const CHECKS: u32 = 10;

/// What the tasks here and their store share.
#[derive(Debug)]
pub(super) struct News {
    /// What this process tells begins with it.
    me: String,
    rung: Notify,
    stopped: CancellationToken,
}

impl Default for News {
    fn default() -> News {
        News { me: format!("{:016x}", fastrand::u64(..)), rung: Notify::new(), stopped: CancellationToken::new() }
    }
}

impl News {
    /// Has the others told that something changed.
    pub(super) fn ring(&self) {
        self.rung.notify_one();
    }

    pub(super) fn stop(&self) {
        self.stopped.cancel();
    }
}

/// Starts to tell, to hear and to look after what nobody else does. All of it ends with the store.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let stopped = shared.news.stopped.clone();
    for task in [tokio::spawn(tell(weak.clone())), tokio::spawn(hear(weak.clone())), tokio::spawn(look_after(weak))] {
        let stopped = stopped.clone();
        tokio::spawn(async move {
            stopped.cancelled().await;
            task.abort();
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.news.stop();
    }
}

/// Tells the others, as often as something changed and no more often than they need to know.
async fn tell(shared: Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let rung = strong.news.rung.notified();
        tokio::select! {
            () = rung => {}
            () = strong.news.stopped.cancelled() => return,
        }
        tokio::time::sleep(GATHER).await;
        // Who is not told looks.
        let _ = say(&strong, "changed").await;
    }
}

/// Says a word to everybody who listens. It need not be on stable storage.
async fn say(shared: &Shared, word: &str) -> sqlx::Result<()> {
    let me = &shared.news.me;
    let words = format!("BEGIN; SET LOCAL synchronous_commit TO off; NOTIFY {CHANNEL}, '{me} {word}'; COMMIT");
    let mut lent = within(ECHO, shared.connections.lend()).await?;
    let said = within(ECHO, sqlx::raw_sql(sqlx::AssertSqlSafe(words)).execute(&mut lent.connection)).await;
    match said {
        Ok(_) => lent.give_back(),
        Err(error) => {
            if is_about_connection(&error) {
                shared.connections.forget_idle();
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Hears what others tell, and looks by itself whenever that is not possible.
async fn hear(shared: Weak<Shared>) {
    let mut is_told = false;
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let heard = listen(&strong).boxed().await;
        drop(strong);
        let pause = match heard {
            Ok(Heard::Nothing) => {
                if !is_told {
                    tracing::info!(
                        "Other processes cannot be heard through this connection; looking every second instead"
                    );
                }
                is_told = true;
                AGAIN
            }
            Ok(Heard::UntilLost) => {
                is_told = false;
                POLL
            }
            // A server that was away is listened to as soon as it is back.
            Err(error) => {
                tracing::debug!("Changes cannot be heard: {error}");
                POLL
            }
        };
        let again = tokio::time::Instant::now() + pause;
        while tokio::time::Instant::now() < again {
            tokio::time::sleep(POLL).await;
            let Some(strong) = shared.upgrade() else { return };
            strong.changed.send_replace(());
        }
    }
}

enum Heard {
    /// Not even one's own voice, or nothing was listened to since a pooler stands between.
    Nothing,
    /// Everything, until the connection was lost.
    UntilLost,
}

/// Listens as long as something is heard. An error is of a time before it was asked to listen.
async fn listen(shared: &Shared) -> sqlx::Result<Heard> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ECHO).max_lifetime(None).idle_timeout(None);
    let pool = pool.connect_lazy_with(shared.connections.options());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    if within(LOOKING, is_pooled(shared, &mut listener)).await? {
        return Ok(Heard::Nothing);
    }
    match within(ECHO, hears_itself(shared, &mut listener).boxed()).await {
        Ok(true) => {}
        Ok(false) => return Ok(Heard::UntilLost),
        Err(error) => {
            tracing::debug!("Nothing is heard: {error}");
            return Ok(Heard::Nothing);
        }
    }
    // What was told before the first word was heard.
    shared.changed.send_replace(());
    while let Some(is_news) = hear_one(shared, &mut listener).await.unwrap_or_default() {
        if is_news {
            shared.changed.send_replace(());
        }
    }
    Ok(Heard::UntilLost)
}

async fn is_pooled(shared: &Shared, listener: &mut PgListener) -> sqlx::Result<bool> {
    let mut lent = shared.connections.lend().await?;
    let is_pooled = pooler::is_between(listener, &mut lent.connection).await?;
    lent.give_back();
    Ok(is_pooled)
}

/// Listens from now on, until one's own voice is heard. False: the connection was lost.
async fn hears_itself(shared: &Shared, listener: &mut PgListener) -> sqlx::Result<bool> {
    listener.listen(CHANNEL).await?;
    say(shared, "hello").await?;
    let mine = format!("{} hello", shared.news.me);
    while let Some(heard) = listener.try_recv().await? {
        if heard.payload() == mine {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether another process told something, once something is told or nothing was for a while. None: the
/// connection was lost; one that was lost without a word is as silent as one that has nothing to say.
async fn hear_one(shared: &Shared, listener: &mut PgListener) -> sqlx::Result<Option<bool>> {
    let Ok(heard) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
        within(ECHO, pooler::session(listener)).await?;
        return Ok(Some(false));
    };
    Ok(heard?.map(|heard| !heard.payload().starts_with(&shared.news.me)))
}

/// What takes longer than it may has failed.
async fn within<T>(time: Duration, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(time, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Frees what processes held that are gone, and stops this one once a later version says so.
async fn look_after(shared: Weak<Shared>) {
    for round in 1u32.. {
        tokio::time::sleep(TIDY).await;
        let Some(shared) = shared.upgrade() else { return };
        let database = Database { shared };
        match database.tidy().await {
            Ok(0) => {}
            Ok(_) => database.tell(),
            Err(error) => tracing::debug!("Leases could not be looked after: {error}"),
        }
        if round.is_multiple_of(CHECKS)
            && let Err(newer @ StoreError::Newer { .. }) = database.check_schema().await
        {
            tracing::error!("{newer}; nothing is written any more");
            let _ = database.shared.outdated.set(newer);
        }
    }
}
