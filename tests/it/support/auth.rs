//! Who may do what on the fake registry: Basic, or Bearer with a token endpoint at `/token`.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::recorded::{Kind, Recorded, decode_form};
use super::server::Answer;

/// What a token must grant to list all repositories.
const CATALOG: &str = "registry:catalog:*";

/// Makes the answer to a good token request out of the new token.
pub type TokenAnswer = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// Someone who may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
    /// Whether pushing is granted, or only pulling.
    pub may_push: bool,
}

impl User {
    /// Someone who may pull and push.
    pub fn new(name: &str, password: &str) -> User {
        User { name: name.to_owned(), password: password.to_owned(), may_push: true }
    }

    /// Someone who may only pull.
    pub fn pull_only(name: &str, password: &str) -> User {
        User { may_push: false, ..User::new(name, password) }
    }
}

/// How a registry asks for credentials.
#[derive(Clone, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    Open,
    /// With every request.
    Basic(Vec<User>),
    /// At a token endpoint.
    Bearer(Bearer),
}

/// Token authentication, and the ways in which registries differ about it.
#[derive(Clone)]
pub struct Bearer {
    /// Who may log in.
    pub users: Vec<User>,
    /// Whether tokens that grant pulling are given to anyone.
    pub has_anonymous_pull: bool,
    /// The realm; `{base}`, `{host}` and `{port}` are those of this server.
    pub realm: String,
    /// The service in the challenge; an empty one is left out.
    pub service: String,
    /// The `WWW-Authenticate` lines in place of the usual one; `{realm}`, `{service}`, `{scope}`
    /// and `{error}` are replaced.
    pub challenges: Option<Vec<String>>,
    /// Whether the challenge comes from `/v2/` only, and a 401 elsewhere is bare.
    pub is_challenge_on_ping_only: bool,
    /// Whether only the first `scope` of a token request is read.
    pub is_first_scope_only: bool,
    /// For how many requests a token is good.
    pub token_uses: Option<usize>,
    /// Refresh tokens that are accepted by POST, and the users they are good for.
    pub refresh_tokens: Vec<(String, String)>,
    /// The status for every token request by POST, where only GET is served.
    pub post_status: Option<u16>,
    /// The answer to a good token request in place of the usual one.
    pub answer: Option<TokenAnswer>,
}

impl Default for Bearer {
    /// `user` with the password `secret` may pull and push, nobody else may do anything.
    fn default() -> Bearer {
        Bearer {
            users: vec![User::new("user", "secret")],
            has_anonymous_pull: false,
            realm: "{base}/token".to_owned(),
            service: "fake".to_owned(),
            challenges: None,
            is_challenge_on_ping_only: false,
            is_first_scope_only: false,
            token_uses: None,
            refresh_tokens: Vec::new(),
            post_status: None,
            answer: None,
        }
    }
}

impl Bearer {
    /// Sets the answer to good token requests.
    pub fn answering(mut self, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Bearer {
        self.answer = Some(Arc::new(answer));
        self
    }

    fn challenges(&self, origin: &Origin, scope: &str, error: &str) -> Vec<String> {
        let usual = || {
            let parameter = |name: &str, value: &str| match value {
                "" => String::new(),
                value => format!(",{name}=\"{value}\""),
            };
            let service = parameter("service", &self.service);
            let (scope, error) = (parameter("scope", scope), parameter("error", error));
            vec![format!("Bearer realm=\"{{realm}}\"{service}{scope}{error}")]
        };
        let lines = self.challenges.clone().unwrap_or_else(usual);
        let fill = |line: String| {
            line.replace("{realm}", &self.realm)
                .replace("{service}", &self.service)
                .replace("{scope}", scope)
                .replace("{error}", error)
        };
        lines.into_iter().map(|line| origin.fill(&fill(line))).collect()
    }
}

/// Where this server is, as its clients see it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Origin {
    /// `http://127.0.0.1:PORT`
    pub fn base(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// Replaces `{base}`, `{host}` and `{port}`.
    pub fn fill(&self, text: &str) -> String {
        let port = self.host.rsplit(':').next().unwrap_or_default();
        text.replace("{base}", &self.base()).replace("{host}", &self.host).replace("{port}", port)
    }
}

/// The guard in front of the registry.
pub struct Gate {
    /// How it asks for credentials.
    pub auth: Auth,
    /// Whether new tokens grant no pushing, as while garbage is collected.
    pub is_read_only: bool,
    tokens: HashMap<String, Grant>,
    minted: usize,
}

struct Grant {
    scopes: Vec<(String, Vec<String>)>,
    uses_left: Option<usize>,
}

impl Gate {
    /// A guard that has given no tokens yet.
    pub fn new(auth: Auth) -> Gate {
        Gate { auth, is_read_only: false, tokens: HashMap::new(), minted: 0 }
    }

    /// Every token given so far is refused from now on.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Lets a request pass, or gives the answer that refuses it.
    pub fn check(&mut self, request: &Recorded, origin: &Origin) -> Result<(), Answer> {
        if request.kind == Kind::Token {
            return Ok(());
        }
        match &self.auth {
            Auth::Open => Ok(()),
            Auth::Basic(users) => check_basic(users, request),
            Auth::Bearer(bearer) => {
                let bearer = bearer.clone();
                self.check_bearer(&bearer, request, origin)
            }
        }
    }

    fn check_bearer(&mut self, bearer: &Bearer, request: &Recorded, origin: &Origin) -> Result<(), Answer> {
        let action = needed_action(request);
        let scope = match (&request.repository, action) {
            (None, _) if request.kind == Kind::Catalog => CATALOG.to_owned(),
            (None, _) => String::new(),
            (Some(repository), "push") => format!("repository:{repository}:pull,push"),
            (Some(repository), action) => format!("repository:{repository}:{action}"),
        };
        let refusal = |error: &str| {
            let mut answer = Answer::error(401, "UNAUTHORIZED", "authentication required");
            if !bearer.is_challenge_on_ping_only || request.kind == Kind::Ping {
                for line in bearer.challenges(origin, &scope, error) {
                    answer.headers.push(("WWW-Authenticate".to_owned(), line));
                }
            }
            Err(answer)
        };

        let header = request.header("authorization").unwrap_or_default();
        let Some(token) = header.strip_prefix("Bearer ") else { return refusal("") };
        let Some(grant) = self.tokens.get_mut(token) else { return refusal("invalid_token") };
        if grant.uses_left == Some(0) {
            return refusal("invalid_token");
        }
        let needed = if request.kind == Kind::Catalog { Some(CATALOG.to_owned()) } else { request.repository.clone() };
        let is_granted = needed.is_none_or(|repository| {
            grant
                .scopes
                .iter()
                .any(|(granted, actions)| *granted == repository && actions.iter().any(|granted| granted == action))
        });
        if !is_granted {
            return refusal("insufficient_scope");
        }
        grant.uses_left = grant.uses_left.map(|left| left - 1);
        Ok(())
    }

    /// Answers a token request.
    pub fn token(&mut self, request: &Recorded) -> Answer {
        let Auth::Bearer(bearer) = self.auth.clone() else {
            return Answer::with_body(404, "text/plain", "404 page not found\n");
        };
        let refusal = || Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
        let is_post = request.method == "POST";
        if let (true, Some(status)) = (is_post, bearer.post_status) {
            return Answer::new(status);
        }
        let parameters = match is_post {
            true => decode_form(&String::from_utf8_lossy(&request.body)),
            false => request.parameters(),
        };
        let user = match is_post {
            true => login_by_form(&bearer, &parameters),
            false => login_by_header(&bearer.users, request),
        };
        let Some(user) = user.or_else(|| {
            let is_anonymous = !is_post && request.header("authorization").is_none();
            (bearer.has_anonymous_pull && is_anonymous).then(|| User::pull_only("", ""))
        }) else {
            return refusal();
        };

        let scopes = parameters.iter().filter(|(name, _)| name == "scope");
        let scopes = scopes.flat_map(|(_, scope)| scope.split(' ').filter(|it| !it.is_empty()));
        let limit = if bearer.is_first_scope_only { 1 } else { usize::MAX };
        let may_push = user.may_push && !self.is_read_only;
        let scopes = scopes.take(limit).filter_map(|scope| grant(scope, may_push)).collect();
        self.minted += 1;
        let token = format!("token-{}-{}", self.minted, user.name);
        self.tokens.insert(token.clone(), Grant { scopes, uses_left: bearer.token_uses });
        match &bearer.answer {
            Some(answer) => answer(&token),
            None => Answer::json(200, &json!({ "token": token, "access_token": token, "expires_in": 300 })),
        }
    }
}

fn check_basic(users: &[User], request: &Recorded) -> Result<(), Answer> {
    let Some(user) = login_by_header(users, request) else {
        let refusal = Answer::error(401, "UNAUTHORIZED", "authentication required");
        return Err(refusal.header("WWW-Authenticate", "Basic realm=\"fake\""));
    };
    match needed_action(request) {
        "push" | "delete" if !user.may_push => {
            Err(Answer::error(403, "DENIED", "requested access to the resource is denied"))
        }
        _ => Ok(()),
    }
}

fn needed_action(request: &Recorded) -> &'static str {
    match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    }
}

fn login_by_header(users: &[User], request: &Recorded) -> Option<User> {
    let header = request.header("authorization")?;
    let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (name, password) = decoded.split_once(':')?;
    login(users, name, password)
}

fn login_by_form(bearer: &Bearer, parameters: &[(String, String)]) -> Option<User> {
    let field = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    match field("grant_type")? {
        "refresh_token" => {
            let token = field("refresh_token")?;
            let (_, name) = bearer.refresh_tokens.iter().find(|(known, _)| known == token)?;
            bearer.users.iter().find(|user| user.name == *name).cloned()
        }
        "password" => login(&bearer.users, field("username")?, field("password")?),
        _ => None,
    }
}

fn login(users: &[User], name: &str, password: &str) -> Option<User> {
    users.iter().find(|user| user.name == name && user.password == password).cloned()
}

/// What a token really grants of `repository:acme/ubuntu:pull,push`.
fn grant(scope: &str, may_push: bool) -> Option<(String, Vec<String>)> {
    if scope == CATALOG {
        return Some((CATALOG.to_owned(), vec!["pull".to_owned()]));
    }
    let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let actions = actions.split(',').flat_map(|action| match action {
        "*" => vec!["pull", "push", "delete"],
        action => vec![action],
    });
    let granted = actions.filter(|action| may_push || *action == "pull").map(str::to_owned);
    Some((repository.to_owned(), granted.collect()))
}
