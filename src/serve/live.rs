//! What changes, told at once to whoever looks at the page: server-sent events.
//!
//! Nobody is told what was missed: a listener that falls behind, or comes back, reads the page anew.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::model::Repository;

/// How many changes a listener may be behind.
const MOST_BEHIND: usize = 64;

/// A plain tag that is not as it was.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Change {
    repository: String,
    tag: String,
    /// How it stands, in one word; none where it is gone.
    state: Option<String>,
}

/// What listeners are told.
#[derive(Clone, Debug)]
enum News {
    Of(Change),
    /// More changed than anybody can tell.
    Much,
}

/// Where changes are told, and who listens.
pub(super) struct Live {
    news: broadcast::Sender<News>,
    seats: Arc<Semaphore>,
    stop: CancellationToken,
}

/// One listener, of one repository or of all.
struct Listener {
    news: broadcast::Receiver<News>,
    repository: Option<String>,
    stop: CancellationToken,
    _seat: OwnedSemaphorePermit,
}

impl Live {
    /// So many may listen at one time.
    pub(super) fn new(seats: usize) -> Live {
        let seats = Arc::new(Semaphore::new(seats));
        Live { news: broadcast::Sender::new(MOST_BEHIND), seats, stop: CancellationToken::new() }
    }

    /// Tells that a plain tag stands differently.
    pub(super) fn tell(&self, repository: &Repository, tag: &str, state: Option<&str>) {
        let change =
            Change { repository: repository.to_string(), tag: tag.to_owned(), state: state.map(str::to_owned) };
        // Without listeners there is nobody to tell.
        let _ = self.news.send(News::Of(change));
    }

    /// Tells everybody to read the page anew: what changed is not known, or is too much.
    pub(super) fn tell_of_much(&self) {
        let _ = self.news.send(News::Much);
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Lets every listener go, so that the process can end.
    pub(super) fn end(&self) {
        self.stop.cancel();
    }

    /// What is told from now on; none where too many listen already.
    pub(super) fn listen(
        &self,
        repository: Option<String>,
    ) -> Option<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let seat = self.seats.clone().try_acquire_owned().ok()?;
        let listener = Listener { news: self.news.subscribe(), repository, stop: self.stop.clone(), _seat: seat };
        Some(unfold(listener, |mut listener| async {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        }))
    }
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let told = tokio::select! {
                told = self.news.recv() => told,
                () = self.stop.cancelled() => return None,
            };
            match told {
                Ok(News::Of(change)) if self.repository.as_ref().is_some_and(|ours| *ours != change.repository) => {}
                Ok(News::Of(change)) => {
                    let text = serde_json::to_string(&change).expect("texts are JSON");
                    return Some(Event::default().event("change").data(text));
                }
                Ok(News::Much) | Err(RecvError::Lagged(_)) => {
                    // What is still waiting is in the page that will be read.
                    self.news = self.news.resubscribe();
                    return Some(Event::default().event("reload").data("{}"));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use axum::response::{IntoResponse as _, Sse};
    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    fn ubuntu() -> Repository {
        "quay.io/acme/ubuntu".parse().expect("a repository")
    }

    /// What goes over the wire until the stream ends.
    async fn wire(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> String {
        let body = Sse::new(stream).into_response().into_body();
        String::from_utf8(body.collect().await.expect("a body").to_bytes().to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_listener_hears_of_its_repository_and_one_that_fell_behind_is_told_to_reload() {
        let live = Live::new(2);
        let mut own = pin!(live.listen(Some(ubuntu().to_string())).expect("a seat"));
        live.tell(&"quay.io/acme/other".parse().expect("a repository"), "1", Some("ok"));
        live.tell(&ubuntu(), "xenial", Some("stale"));
        let event = own.next().await.expect("an event").expect("it cannot fail");
        let told = wire(futures_util::stream::iter([Ok(event)])).await;
        assert_eq!(
            told,
            "event: change\ndata: {\"repository\":\"quay.io/acme/ubuntu\",\"tag\":\"xenial\",\"state\":\"stale\"}\n\n"
        );

        let all = live.listen(None).expect("a seat");
        for _ in 0..1000 {
            live.tell(&ubuntu(), "xenial", None);
        }
        let mut all = Box::pin(all);
        let first = all.next().await.expect("an event").expect("it cannot fail");
        live.end();
        assert!(all.next().await.is_none(), "what was waiting is not told as well");
        assert_eq!(wire(futures_util::stream::iter([Ok(first)])).await, "event: reload\ndata: {}\n\n");
    }

    #[tokio::test]
    async fn everybody_is_told_to_reload_where_it_is_not_known_what_changed() {
        let live = Live::new(1);
        let mut own = pin!(live.listen(Some(ubuntu().to_string())).expect("a seat"));
        live.tell_of_much();
        let event = own.next().await.expect("an event").expect("it cannot fail");
        assert_eq!(wire(futures_util::stream::iter([Ok(event)])).await, "event: reload\ndata: {}\n\n");
    }

    #[tokio::test]
    async fn there_are_seats_for_so_many_and_they_are_given_back() {
        let live = Live::new(3);
        let mut seats: Vec<_> = (0..3).filter_map(|_| live.listen(None)).collect();
        assert_eq!(seats.len(), 3);
        assert!(live.listen(None).is_none());
        seats.pop();
        assert!(live.listen(None).is_some());
    }
}
