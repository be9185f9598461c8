//! Scripted faults and quirks: which requests they hit, and what happens to those.

use std::sync::Arc;
use std::time::Duration;

use super::recorded::{Kind, Recorded};
use super::registry::FakeRegistry;
use super::server::{Answer, Delivery};

/// Something done with the registry in the middle of a request.
pub type Hook = Box<dyn Fn(&FakeRegistry) + Send + Sync>;

/// Which requests a play is for; without a limit it is for all of them, for ever.
#[derive(Clone, Debug, Default)]
pub struct When {
    kind: Option<Kind>,
    reference: Option<String>,
    repository: Option<String>,
    containing: Option<String>,
    is_authorized_only: bool,
    after: usize,
    times: Option<usize>,
}

impl When {
    /// Every request.
    pub fn any() -> When {
        When::default()
    }

    /// Requests of one kind.
    pub fn kind(kind: Kind) -> When {
        When { kind: Some(kind), ..When::default() }
    }

    /// Only for exactly this tag (or digest).
    pub fn tag(mut self, reference: &str) -> When {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Only in this repository.
    pub fn repository(mut self, repository: &str) -> When {
        self.repository = Some(repository.to_owned());
        self
    }

    /// Only if the path or the query has this in it.
    pub fn containing(mut self, part: &str) -> When {
        self.containing = Some(part.to_owned());
        self
    }

    /// Only requests that the registry would not refuse with 401 or 403 anyway.
    pub fn authorized(mut self) -> When {
        self.is_authorized_only = true;
        self
    }

    /// Leaves the first `skipped` of them alone.
    pub fn after(mut self, skipped: usize) -> When {
        self.after = skipped;
        self
    }

    /// Plays so many times, then never again.
    pub fn times(mut self, times: usize) -> When {
        self.times = Some(times);
        self
    }

    /// Plays one time.
    pub fn once(self) -> When {
        self.times(1)
    }

    fn is_for(&self, request: &Recorded, is_authorized: bool) -> bool {
        let wants = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.kind.is_none_or(|kind| kind == request.kind)
            && wants(&self.reference, &request.reference)
            && wants(&self.repository, &request.repository)
            && self.containing.as_ref().is_none_or(|part| request.line().contains(part))
            && (is_authorized || !self.is_authorized_only)
    }
}

/// What happens to a request.
///
/// Of the plays that answer in the registry's stead only the first that is due is played, and a
/// later one waits for its turn. All others that are due are played together.
pub enum Play {
    /// Answers this; the request is not applied.
    Status {
        /// The status code.
        code: u16,
        /// Header lines.
        headers: Vec<(String, String)>,
        /// The body, JSON or not.
        body: Vec<u8>,
    },
    /// Answers 200 with a web page; the request is not applied.
    Html,
    /// Answers this status with a web page; the request is not applied.
    HtmlStatus(u16),
    /// Sends the client elsewhere; the request is not applied.
    Redirect {
        /// The status code.
        status: u16,
        /// The `Location`, as sent.
        location: String,
    },
    /// Resets the connection; the request is not applied.
    Reset,
    /// Never answers; the request is not applied.
    Hang,
    /// Applies the request, then resets the connection.
    ApplyThenReset,
    /// Applies the request, then never answers.
    ApplyThenHang,
    /// Closes the connection in the middle of the body.
    Truncate,
    /// Sends one byte of the body every 200 ms.
    Slow,
    /// Changes one byte of the body.
    WrongBytes,
    /// Answers 200 with these bytes; headers stay as they were.
    Body(Vec<u8>),
    /// Sends this `Content-Type`.
    ContentType(String),
    /// Sends this `Docker-Content-Digest`.
    DigestHeader(String),
    /// Leaves `Docker-Content-Digest` out.
    NoDigestHeader,
    /// Sends one more header line.
    Header(String, String),
    /// Applies the request only after so long.
    Late(Duration),
    /// Applies the request at once and holds the answer back for so long.
    Delay(Duration),
    /// Runs before the request is handled, to move a tag in the middle of things.
    Run(Hook),
    /// Runs after the request was applied and before it is answered.
    RunAfter(Hook),
}

impl Play {
    /// Answers a status without a body; the request is not applied.
    pub fn status(code: u16) -> Play {
        Play::Status { code, headers: Vec::new(), body: Vec::new() }
    }

    /// Answers an error as the specification writes it; the request is not applied.
    pub fn error(status: u16, code: &str, message: &str) -> Play {
        let Answer { headers, body, .. } = Answer::error(status, code, message);
        Play::Status { code: status, headers, body: body.to_vec() }
    }

    /// Answers 429 with this `Retry-After`, as sent; the request is not applied.
    pub fn too_many_requests(retry_after: &str) -> Play {
        let headers = vec![("Retry-After".to_owned(), retry_after.to_owned())];
        Play::Status { code: 429, headers, body: Vec::new() }
    }

    /// Sends the client elsewhere; the request is not applied.
    pub fn redirect(status: u16, location: &str) -> Play {
        Play::Redirect { status, location: location.to_owned() }
    }

    /// Runs before the request is handled.
    pub fn run(hook: impl Fn(&FakeRegistry) + Send + Sync + 'static) -> Play {
        Play::Run(Box::new(hook))
    }

    /// Runs after the request was applied and before it is answered.
    pub fn run_after(hook: impl Fn(&FakeRegistry) + Send + Sync + 'static) -> Play {
        Play::RunAfter(Box::new(hook))
    }

    /// The answer given in the registry's stead, if this is such a play.
    pub fn instead(&self) -> Option<Answer> {
        let page = "<!DOCTYPE html><html><body><h1>Welcome</h1></body></html>";
        let html = |status| Answer::with_body(status, "text/html; charset=utf-8", page);
        let silence = |delivery| Answer { delivery, ..Answer::new(500) };
        Some(match self {
            Play::Status { code, headers, body } => {
                Answer { headers: headers.clone(), body: body.clone().into(), ..Answer::new(*code) }
            }
            Play::Html => html(200),
            Play::HtmlStatus(status) => html(*status),
            Play::Redirect { status, location } => Answer::new(*status).header("Location", location),
            Play::Reset => silence(Delivery::Reset),
            Play::Hang => silence(Delivery::Never),
            _ => return None,
        })
    }

    /// Changes the registry's own answer, if this is such a play.
    pub fn spoil(&self, answer: &mut Answer) {
        let mut set = |name, value: &str| *answer = answer.clone().header(name, value);
        match self {
            Play::ApplyThenReset => answer.delivery = Delivery::Reset,
            Play::ApplyThenHang => answer.delivery = Delivery::Never,
            Play::Truncate => answer.delivery = Delivery::Truncated,
            Play::Slow => answer.delivery = Delivery::Slow,
            Play::WrongBytes => change_one_byte(answer),
            Play::Body(bytes) => {
                answer.status = 200;
                answer.body = bytes.clone().into();
            }
            Play::ContentType(value) => set("Content-Type", value),
            Play::DigestHeader(value) => set("Docker-Content-Digest", value),
            Play::NoDigestHeader => answer.remove_header("Docker-Content-Digest"),
            Play::Header(name, value) => answer.headers.push((name.clone(), value.clone())),
            _ => (),
        }
    }
}

/// The last letter or digit becomes another one, so that JSON mostly stays JSON.
fn change_one_byte(answer: &mut Answer) {
    let mut body = answer.body.to_vec();
    if let Some(byte) = body.iter_mut().rev().find(|byte| byte.is_ascii_alphanumeric()) {
        *byte = if *byte == b'1' { b'2' } else { b'1' };
    }
    answer.body = body.into();
}

/// The plays of a registry, and how often each came up.
#[derive(Default)]
pub struct Script(Vec<Rule>);

struct Rule {
    when: When,
    play: Arc<Play>,
    seen: usize,
    played: usize,
}

impl Script {
    /// Adds a play behind those there are.
    pub fn add(&mut self, when: When, play: Play) {
        self.0.push(Rule { when, play: Arc::new(play), seen: 0, played: 0 });
    }

    /// Drops every play.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The plays that are due for this request, which counts as seen by them.
    pub fn due(&mut self, request: &Recorded, is_authorized: bool) -> Vec<Arc<Play>> {
        let mut due = Vec::new();
        let mut is_answered = false;
        for rule in self.0.iter_mut().filter(|rule| rule.when.is_for(request, is_authorized)) {
            rule.seen += 1;
            let is_exhausted = rule.when.times.is_some_and(|times| rule.played >= times);
            let is_answer = rule.play.instead().is_some();
            if rule.seen <= rule.when.after || is_exhausted || (is_answer && is_answered) {
                continue;
            }
            rule.played += 1;
            is_answered |= is_answer;
            due.push(Arc::clone(&rule.play));
        }
        due
    }
}
