//! Telling onwards: a signed CloudEvents 1.0 event when a tag is published, held or recovered.
//!
//! Best effort with retry, from memory: the journal is the record. A service that is told to stop
//! sends what is still to be sent; one that is killed does not. What is told carries an id that
//! stays the same when it is told again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::settings::{Event, Notify};
use crate::model::text::first_cause;
use crate::model::{Repository, Tag};
use crate::registry::client_for;

/// How many notices wait to be sent before further ones are dropped, and how often one is tried.
const MOST_WAITING: usize = 10_000;
const MOST_TRIES: u32 = 8;
/// How long sending may go on once nothing more happens, and the longest pause between tries then.
const LAST_CALL: Duration = Duration::from_secs(3);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// What happened to a plain tag.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) event: Event,
    /// The same for everybody who is told, and when it is told again.
    pub(super) id: String,
    pub(super) repository: Repository,
    pub(super) tag: Tag,
    /// When it happened.
    pub(super) at: SystemTime,
    pub(super) data: serde_json::Value,
}

impl Notice {
    fn cloud_event(&self) -> serde_json::Value {
        let mut data = self.data.clone();
        data["repository"] = json!(self.repository.to_string());
        data["tag"] = json!(self.tag.as_str());
        json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("/onetag/{}", self.repository),
            "type": format!("onetag.tag.{}.v1", self.event.as_str()),
            "subject": self.tag.as_str(),
            "time": humantime::format_rfc3339_millis(self.at).to_string(),
            "datacontenttype": "application/json",
            "data": data,
        })
    }
}

/// Where notices wait to be sent.
pub(super) fn queue() -> (mpsc::Sender<Notice>, mpsc::Receiver<Notice>) {
    mpsc::channel(MOST_WAITING)
}

/// Sends notices, each to everybody who wants it. After `no_more` it ends with the queue, or soon.
///
/// Each receiver is told in the order in which things happened, and one that does not answer keeps
/// nobody else waiting.
pub(super) async fn run(app: Arc<App>, mut notices: mpsc::Receiver<Notice>, no_more: CancellationToken) {
    let telling = TaskTracker::new();
    let mut receivers: HashMap<Url, mpsc::Sender<(Notify, Notice)>> = HashMap::new();
    loop {
        let notice = tokio::select! {
            notice = notices.recv() => notice,
            () = no_more.cancelled() => {
                notices.close();
                notices.recv().await
            }
        };
        let Some(notice) = notice else { break };
        let setup = app.setup();
        receivers.retain(|url, _| setup.settings.notify.iter().any(|to| to.url == *url));
        for to in setup.settings.notify.iter().filter(|to| to.wants(notice.event, &notice.repository)) {
            let receiver = receivers.entry(to.url.clone()).or_insert_with(|| {
                let (sender, waiting) = mpsc::channel(MOST_WAITING);
                telling.spawn(tell_one(app.clone(), to.url.clone(), waiting, no_more.clone()));
                sender
            });
            if receiver.try_send((to.clone(), notice.clone())).is_err() {
                app.metrics.told("dropped");
            }
        }
    }
    drop(receivers);
    telling.close();
    telling.wait().await;
}

/// Tells one receiver what there is to tell.
async fn tell_one(app: Arc<App>, url: Url, mut waiting: mpsc::Receiver<(Notify, Notice)>, no_more: CancellationToken) {
    let client = client_for(&url).timeout(Duration::from_secs(10)).build();
    let mut over = std::pin::pin!(async {
        no_more.cancelled().await;
        tokio::time::sleep(LAST_CALL).await;
    });
    while let Some((to, notice)) = waiting.recv().await {
        let outcome = match &client {
            Ok(client) => tokio::select! {
                outcome = tell(client, &to, &notice, &no_more) => outcome,
                () = &mut over => {
                    let rest = std::iter::from_fn(|| waiting.try_recv().ok());
                    for (to, notice) in std::iter::once((to, notice)).chain(rest) {
                        give_up(&to, &notice);
                        app.metrics.told("dropped");
                    }
                    return;
                }
            },
            Err(error) => {
                tracing::error!("`{}` cannot be told of anything: {error}", to.origin());
                "failed"
            }
        };
        app.metrics.told(outcome);
    }
}

/// Sends one notice to one receiver, again after failures with a wait that doubles.
async fn tell(client: &reqwest::Client, to: &Notify, notice: &Notice, no_more: &CancellationToken) -> &'static str {
    let body = notice.cloud_event().to_string();
    let signature = signature(to.secret.expose_secret().as_bytes(), body.as_bytes());
    let mut wait = Duration::from_secs(1);
    for number in 1..=MOST_TRIES {
        let request = client
            .post(to.url.clone())
            .header("content-type", "application/cloudevents+json")
            .header("x-onetag-signature-256", &signature)
            .body(body.clone());
        let failed = match request.send().await {
            Ok(answer) if answer.status().is_success() => return "sent",
            Ok(answer) => format!("status {}", answer.status().as_u16()),
            Err(error) => first_cause(&error.without_url()),
        };
        tracing::warn!(tries = number, "`{}` could not be told of `{}`: {failed}", to.origin(), notice.tag);
        if number < MOST_TRIES {
            let pause = wait.mul_f64(0.5 + 0.5 * fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = no_more.cancelled() => tokio::time::sleep(pause.min(LAST_PAUSE)).await,
            }
            wait = (wait * 2).min(Duration::from_secs(120));
        }
    }
    give_up(to, notice);
    "failed"
}

/// Names what a receiver will never hear.
fn give_up(to: &Notify, Notice { event, repository, tag, .. }: &Notice) {
    tracing::error!("`{}` was not told that `{repository}:{tag}` is {}", to.origin(), event.as_str());
}

/// `sha256=` and the HMAC-SHA256 of the body in hex, as GitHub signs.
fn signature(secret: &[u8], body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signature_is_the_one_that_github_publishes_as_an_example() {
        assert_eq!(
            super::signature(b"It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
