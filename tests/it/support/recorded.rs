//! What the fakes remember of the requests they got.

use std::sync::Mutex;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

/// What a request asks of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `GET /v2/`
    Ping,
    /// `GET /v2/_catalog`
    Catalog,
    /// `GET /v2/<name>/tags/list`
    Tags,
    /// `GET /v2/<name>/manifests/<reference>`
    GetManifest,
    /// `HEAD /v2/<name>/manifests/<reference>`
    HeadManifest,
    /// `PUT /v2/<name>/manifests/<reference>`
    PutManifest,
    /// `GET` or `HEAD /v2/<name>/blobs/<digest>`
    Blob,
    /// Any step of a blob upload.
    Upload,
    /// `GET` or `POST /token`
    Token,
    /// Everything else, deletions too.
    Other,
}

/// One request as it arrived, and what became of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method, in capitals.
    pub method: String,
    /// The path, as sent.
    pub path: String,
    /// The query, as sent and without its `?`; empty if there was none.
    pub query: String,
    /// The header lines.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// What it asks of a registry.
    pub kind: Kind,
    /// The repository in its path.
    pub repository: Option<String>,
    /// The tag or digest in its path.
    pub reference: Option<String>,
    /// The number of its TCP connection, counted from 0.
    pub connection: usize,
    /// Whether a client certificate came with its connection.
    pub has_client_certificate: bool,
    /// The status it was answered; `None` while unanswered, or when its connection was reset.
    pub status: Option<u16>,
    /// Its place among all arrivals and answers of this server.
    pub arrived: usize,
    /// The place of its answer (or reset) among all arrivals and answers of this server.
    pub answered: Option<usize>,
}

impl Recorded {
    /// The value of a header, if it was sent once or more: lines are joined by `, `.
    pub fn header(&self, name: &str) -> Option<String> {
        let lines: Vec<_> =
            self.headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// The decoded parameters of the query.
    pub fn parameters(&self) -> Vec<(String, String)> {
        decode_form(&self.query)
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// `GET /v2/acme/ubuntu/manifests/xenial`, to compare a whole conversation with a list.
    pub fn line(&self) -> String {
        match self.query.as_str() {
            "" => format!("{} {}", self.method, self.path),
            query => format!("{} {}?{query}", self.method, self.path),
        }
    }

    /// Whether it could change something: not a GET, a HEAD or a request for a token.
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD") && self.kind != Kind::Token
    }
}

/// Decodes `a=1&b=two+words`.
pub fn decode_form(form: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://form/?{form}")).expect("a query parses");
    url.query_pairs().into_owned().collect()
}

/// Everything one server was asked, with one logical clock for arrivals and answers.
#[derive(Default)]
pub struct Log(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    clock: usize,
    requests: Vec<Recorded>,
}

impl Entries {
    fn tick(&mut self) -> usize {
        self.clock += 1;
        self.clock
    }
}

impl Log {
    /// Notes that the head of a request arrived, and when.
    pub fn arrive(&self, head: &Parts, connection: usize, has_client_certificate: bool) -> usize {
        let mut entries = self.0.lock().unwrap();
        let arrived = entries.tick();
        let mut recorded = describe(head, arrived);
        recorded.connection = connection;
        recorded.has_client_certificate = has_client_certificate;
        entries.requests.push(recorded);
        arrived
    }

    /// Notes that the body of a request is complete, and returns the request.
    pub fn read(&self, arrived: usize, head: &Parts, body: Bytes) -> Recorded {
        let mut entries = self.0.lock().unwrap();
        match entries.requests.iter_mut().find(|request| request.arrived == arrived) {
            Some(recorded) => {
                recorded.body = body;
                recorded.clone()
            }
            None => Recorded { body, ..describe(head, arrived) }, // forgotten while on its way
        }
    }

    /// Notes how a request was answered; `None` for a reset connection.
    pub fn answer(&self, arrived: usize, status: Option<u16>) {
        let mut entries = self.0.lock().unwrap();
        let answered = entries.tick();
        if let Some(recorded) = entries.requests.iter_mut().find(|it| it.arrived == arrived) {
            recorded.status = status;
            recorded.answered = Some(answered);
        }
    }

    /// Every request in the order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.0.lock().unwrap().requests.clear();
    }

    /// The length of the longest chain of requests, each sent after the one before was answered.
    ///
    /// A request that arrives after others were answered may depend on them, so this is one more
    /// than the round of the latest of those. It counts round trips, however long they take.
    pub fn rounds(&self) -> usize {
        let requests = self.requests();
        let mut rounds: Vec<(Option<usize>, usize)> = Vec::new();
        for request in &requests {
            let before = |(answered, round): &(Option<usize>, usize)| {
                answered.is_some_and(|answered| answered < request.arrived).then_some(*round)
            };
            let round = 1 + rounds.iter().filter_map(before).max().unwrap_or(0);
            rounds.push((request.answered, round));
        }
        rounds.into_iter().map(|(_, round)| round).max().unwrap_or(0)
    }
}

fn describe(head: &Parts, arrived: usize) -> Recorded {
    let path = head.uri.path().to_owned();
    let (kind, repository, reference) = classify(&head.method, &path);
    Recorded {
        method: head.method.as_str().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers.clone(),
        body: Bytes::new(),
        kind,
        repository: repository.map(str::to_owned),
        reference: reference.map(str::to_owned),
        connection: 0,
        has_client_certificate: false,
        status: None,
        arrived,
        answered: None,
        path,
    }
}

fn classify<'a>(method: &Method, path: &'a str) -> (Kind, Option<&'a str>, Option<&'a str>) {
    if path == "/token" {
        return (Kind::Token, None, None);
    }
    let Some(rest) = path.strip_prefix("/v2/").or((path == "/v2").then_some("")) else {
        return (Kind::Other, None, None);
    };
    if rest.is_empty() {
        return (Kind::Ping, None, None);
    }
    if rest == "_catalog" {
        return (Kind::Catalog, None, None);
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return (Kind::Tags, Some(repository), None);
    }
    if let Some((repository, session)) = rest.split_once("/blobs/uploads") {
        return (Kind::Upload, Some(repository), Some(session.trim_start_matches('/')));
    }
    if let Some((repository, reference)) = rest.rsplit_once("/manifests/") {
        let kind = match method.as_str() {
            "GET" => Kind::GetManifest,
            "HEAD" => Kind::HeadManifest,
            "PUT" => Kind::PutManifest,
            _ => Kind::Other,
        };
        return (kind, Some(repository), Some(reference));
    }
    if let Some((repository, digest)) = rest.rsplit_once("/blobs/") {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        let kind = if is_read { Kind::Blob } else { Kind::Other };
        return (kind, Some(repository), Some(digest));
    }
    (Kind::Other, None, None)
}
