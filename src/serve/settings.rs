//! What the service is told to do: `onetag.toml` as values that were checked.
//!
//! Reading the file is left to the command line. Here is which rule is about which tag, so that
//! deliveries, scans and requests all get the same answer.

pub mod glob;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use crate::look::Scope;
use crate::model::{ArchTag, Host, Job, Pattern, Repository, Tag, Words};
use crate::plan::Policy;
use crate::registry;
use crate::store::Address;
pub use crate::webhook::Format;
pub use crate::webhook::oidc::Keys;
pub use glob::Glob;

pub use crate::registry::Rate;

/// Everything the service is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where deliveries come in.
    pub listen: SocketAddr,
    /// Where the page, the API and the metrics are.
    pub admin: SocketAddr,
    /// Names under which operators reach them, beside addresses and `localhost`.
    pub admin_hosts: Vec<String>,
    /// What a request must show that changes something. Without it nothing can be changed there.
    pub admin_token: Option<SecretString>,
    /// What must outlive a restart: `sqlite://onetag.db`, or a PostgreSQL server's for several
    /// processes.
    pub database: Address,
    /// How long a job is nobody else's without a sign of life of the process that has it.
    pub lease: Duration,
    /// How many days the journal goes back.
    pub journal_days: u32,
    /// Every registry that a rule is about, each once, whether it has a section or not.
    pub registries: Vec<RegistrySettings>,
    /// The closed list of what may be touched, in the file's order.
    pub rules: Vec<Rule>,
    /// Who may tell of pushes.
    pub hooks: Vec<Hook>,
    /// Who is told of what was done.
    pub notify: Vec<Notify>,
}

/// How one registry is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrySettings {
    /// The registry as image names write it.
    pub host: Host,
    /// Its connection and login.
    pub client: registry::Settings,
    /// The most requests in a while, if there is a bound.
    pub rate: Option<Rate>,
}

/// What is done with the repositories of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The registry.
    pub host: Host,
    /// The paths in it.
    pub name: Glob,
    /// How tags are made of a word and a version.
    pub pattern: Pattern,
    /// What the words mean.
    pub words: Words,
    /// The plain tags that are served.
    pub versions: Vec<Glob>,
    /// What must hold before one is written.
    pub policy: Policy,
    /// Further tags of a plain tag's index.
    pub also: BTreeMap<Tag, Vec<Tag>>,
    /// How long after the last push the rest of the architectures are waited for.
    pub quiet: Duration,
    /// How often tags are looked at that nobody told of.
    pub poll: Duration,
    /// How often everything is audited.
    pub audit: Duration,
}

/// Somebody who may tell of pushes, at `/hooks/<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Its part of the URL: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// How deliveries are written.
    pub format: Format,
    /// What they are about, whatever they say.
    pub registry: Host,
    /// What shows that they are genuine.
    pub proof: Proof,
    /// What the sender puts before the path in the registry, and we do not.
    pub repository_strip: String,
    /// What the path in the registry has before the sender's.
    pub repository_prefix: String,
}

/// What shows that a delivery is genuine. Where there are several secrets, any of them does.
#[derive(Clone)]
pub enum Proof {
    /// Nothing, as was said explicitly.
    Nothing,
    /// A header that is one of these values, whole.
    Header {
        /// The header.
        name: HeaderName,
        /// Its value.
        values: Vec<SecretString>,
    },
    /// The last part of the URL: `/hooks/<name>/<secret>`.
    Url(Vec<SecretString>),
    /// The format's own signature over the body.
    Signature(Vec<SecretString>),
    /// A token that Google signed.
    GoogleToken {
        /// Whom it must be made for.
        audience: String,
        /// Whose it must be.
        email: String,
        /// What it must be signed with.
        keys: GoogleKeys,
    },
}

/// The keys that Google signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoogleKeys {
    /// These, which the operator sees to when they change.
    Given(Keys),
    /// Those that are here: [`GoogleKeys::URL`] but for tests, mirrors and emulators. It is https,
    /// or this machine itself.
    At(Url),
}

impl GoogleKeys {
    /// Where Google has them, as its `https://accounts.google.com/.well-known/openid-configuration`
    /// says.
    pub const URL: &str = "https://www.googleapis.com/oauth2/v3/certs";
}

/// Somebody who is told of what was done.
#[derive(Clone)]
pub struct Notify {
    /// Where to.
    pub url: Url,
    /// What the message is signed with.
    pub secret: SecretString,
    /// What is told.
    pub events: Vec<Event>,
    /// About which repositories, as `registry.example.com/acme/ubuntu`; all if there are none.
    pub repositories: Vec<Glob>,
}

/// Something that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A plain tag was written and is served.
    Published,
    /// A plain tag is not written any more, because of its images, the policy or a refusal.
    Held,
    /// A plain tag that was held is as it should be again.
    Recovered,
    /// An audit found something wrong that was not known.
    Problem,
}

impl Event {
    /// The event as receivers and the configuration call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Published => "published",
            Event::Held => "held",
            Event::Recovered => "recovered",
            Event::Problem => "problem",
        }
    }
}

impl Settings {
    /// How to talk to `host`, if a rule is about it.
    pub fn registry(&self, host: &Host) -> Option<&RegistrySettings> {
        self.registries.iter().find(|registry| registry.host == *host)
    }

    /// The rules of a repository, in the file's order; none if it may not be touched.
    ///
    /// Rules that name it exactly come before globs; among globs the first in the file wins, with
    /// those that are written alike. What the others say does not count for it.
    pub fn rules_for(&self, repository: &Repository) -> impl Iterator<Item = &Rule> + Clone {
        let matching = self.rules.iter().filter(|rule| rule.covers(repository));
        let exact = matching.clone().find(|rule| rule.name.literal().is_some());
        let chosen = exact.or_else(|| matching.clone().next()).map(|rule| &rule.name);
        matching.filter(move |rule| Some(&rule.name) == chosen)
    }

    /// The rule by which `plain` is published; none if it must not be.
    pub fn rule_for(&self, repository: &Repository, plain: &Tag) -> Option<&Rule> {
        let mut rules = self.rules_for(repository);
        let is_source = rules.clone().any(|rule| rule.source(plain).is_some());
        rules.find(|rule| rule.serves(plain) && !is_source)
    }

    /// What `tag` contributes to, if it is an architecture's tag of a plain tag that is published.
    pub fn source(&self, repository: &Repository, tag: &Tag) -> Option<(&Rule, ArchTag)> {
        self.rules_for(repository).find_map(|rule| {
            let arch_tag = rule.source(tag)?;
            let publishes = self.rule_for(repository, &arch_tag.version)?;
            std::ptr::eq(rule, publishes).then_some((rule, arch_tag))
        })
    }

    /// The settings that `newer` changes and that only a restart can bring about.
    pub fn changed_for_good(&self, newer: &Settings) -> Vec<&'static str> {
        let changes = [
            ("listen", self.listen != newer.listen),
            ("admin", self.admin != newer.admin),
            ("database", self.database != newer.database),
            ("lease", self.lease != newer.lease),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

impl Rule {
    /// Whether this rule's name means `repository`; another rule may be closer to it.
    pub fn covers(&self, repository: &Repository) -> bool {
        self.host == *repository.host() && self.name.matches(repository.path())
    }

    /// The repository, if the rule names just one.
    pub fn repository(&self) -> Option<Repository> {
        format!("{}/{}", self.host, self.name.literal()?).parse().ok()
    }

    /// Whether `versions` has `plain`, and no other tag brings it along.
    pub fn serves(&self, plain: &Tag) -> bool {
        let is_brought_along = self.also.values().flatten().any(|also| also == plain);
        self.versions.iter().any(|glob| glob.matches(plain.as_str())) && !is_brought_along
    }

    /// Takes `tag` apart, if it names an architecture of a plain tag that is served.
    pub fn source(&self, tag: &Tag) -> Option<ArchTag> {
        self.pattern.read(tag, &self.words).filter(|arch_tag| self.serves(&arch_tag.version))
    }

    /// Which architecture tags are looked for.
    pub fn scope(&self) -> Scope {
        Scope { expected: self.policy.required.clone(), ..Scope::of(&self.policy) }
    }

    /// The job of bringing `plain` up to date.
    pub fn job(&self, repository: &Repository, plain: &Tag) -> Job {
        let also = self.also.get(plain).cloned().unwrap_or_default();
        Job { repository: repository.clone(), tag: plain.clone(), also }
    }
}

impl Notify {
    /// Whether this is to be told.
    pub fn wants(&self, event: Event, repository: &Repository) -> bool {
        let name = repository.to_string();
        self.events.contains(&event)
            && (self.repositories.is_empty() || self.repositories.iter().any(|glob| glob.matches(&name)))
    }

    /// The receiver without its path, which may be a secret.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl Hook {
    /// The path in the registry of what the sender calls `told`; none if it is not about it.
    pub fn path(&self, told: &str) -> Option<String> {
        told.strip_prefix(self.repository_strip.as_str()).map(|rest| format!("{}{rest}", self.repository_prefix))
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Settings) -> bool {
        // All of them, so that a new one is not forgotten.
        let Settings {
            listen,
            admin,
            admin_hosts,
            admin_token,
            database,
            lease,
            journal_days,
            registries,
            rules,
            hooks,
            notify,
        } = self;
        *listen == other.listen
            && *admin == other.admin
            && *admin_hosts == other.admin_hosts
            && same(admin_token.as_slice(), other.admin_token.as_slice())
            && *database == other.database
            && *lease == other.lease
            && *journal_days == other.journal_days
            && *registries == other.registries
            && *rules == other.rules
            && *hooks == other.hooks
            && *notify == other.notify
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Proof) -> bool {
        match (self, other) {
            (Proof::Nothing, Proof::Nothing) => true,
            (Proof::Header { name, values }, Proof::Header { name: other_name, values: others }) => {
                name == other_name && same(values, others)
            }
            (Proof::Url(secrets), Proof::Url(others)) | (Proof::Signature(secrets), Proof::Signature(others)) => {
                same(secrets, others)
            }
            (
                Proof::GoogleToken { audience, email, keys },
                Proof::GoogleToken { audience: other_audience, email: other_email, keys: other_keys },
            ) => audience == other_audience && email == other_email && keys == other_keys,
            _ => false,
        }
    }
}

impl PartialEq for Notify {
    fn eq(&self, other: &Notify) -> bool {
        let Notify { url, secret, events, repositories } = self;
        let is_same_secret = secret.expose_secret() == other.secret.expose_secret();
        *url == other.url && is_same_secret && *events == other.events && *repositories == other.repositories
    }
}

/// Whether both readings gave the same secrets; for telling a change, not for checking a sender.
fn same(secrets: &[SecretString], others: &[SecretString]) -> bool {
    secrets.iter().map(|secret| secret.expose_secret()).eq(others.iter().map(|secret| secret.expose_secret()))
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Nothing => f.write_str("Nothing"),
            Proof::Header { name, .. } => write!(f, "Header({name}: ****)"),
            Proof::Url(_) => f.write_str("Url(****)"),
            Proof::Signature(_) => f.write_str("Signature(****)"),
            Proof::GoogleToken { audience, email, .. } => write!(f, "GoogleToken({audience:?}, {email:?})"),
        }
    }
}

impl fmt::Debug for Notify {
    /// Leaves out the path, too: some receivers know their senders by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, repositories) = (self.url.origin().ascii_serialization(), &self.repositories);
        write!(f, "Notify({origin}/****, {:?}, {repositories:?})", self.events)
    }
}
