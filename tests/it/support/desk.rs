//! `Desk`: the library as a program uses it, with a patience that fits a test.

use std::time::Duration;

use onetag::look::{Lookout, Scope};
use onetag::model::{Dialect, Job, Repository, Tag, Version, Words};
use onetag::plan::Policy;
use onetag::publish::{Known, Options, Outcome, PublishError, Publisher};
use onetag::registry::credentials::Keychain;
use onetag::registry::{Access, Registry, Retry, Settings};
use tokio_util::sync::CancellationToken;

/// Whatever is published from one repository.
pub struct Desk {
    /// How the registry is talked to.
    pub settings: Settings,
    /// How publishing is gone about.
    pub options: Options,
    /// Which architecture tags are looked for.
    pub scope: Scope,
    /// What must hold.
    pub policy: Policy,
    repository: Repository,
}

impl Desk {
    /// For a repository on this machine. Waits are so short that a test need not be.
    pub fn at(repository: &str) -> Desk {
        let quick = Retry { attempts: 5, first: Duration::from_millis(1), longest: Duration::from_millis(5) };
        let settings = Settings {
            plain_http: true,
            retry: quick,
            deadline: Duration::from_millis(1500),
            ..Settings::new(Access::Publish)
        };
        let pause = Duration::from_millis(2);
        let options = Options { pause, settle: Duration::from_millis(300), ..Options::default() };
        let repository = repository.parse().expect("a repository");
        Desk { settings, options, scope: Scope::default(), policy: Policy::default(), repository }
    }

    /// Looks for these architectures only.
    pub fn arch(mut self, words: &[&str]) -> Desk {
        let known = Words::of(Dialect::Debian);
        self.scope.only = Some(words.iter().map(|word| known.choose(word).expect("a word")).collect());
        self
    }

    /// Logs in as this user.
    pub fn login(mut self, username: &str, password: &str) -> Desk {
        self.settings.keychain = Keychain::given(username.to_owned(), password.into()).expect("a login");
        self
    }

    /// Ready to publish, again and again.
    pub fn open(self) -> OpenDesk {
        let Desk { settings, options, scope, policy, repository } = self;
        let registry = Registry::new(repository.host(), settings).expect("a registry");
        let pattern = "{arch}-{version}".parse().expect("a pattern");
        let lookout = Lookout::new(repository.clone(), pattern, Words::of(Dialect::Debian), scope);
        let stop = CancellationToken::new();
        let progress = std::sync::Arc::new(|_: &Tag, _| {});
        OpenDesk { publisher: Publisher { registry, lookout, policy, options, stop, progress }, repository }
    }

    /// Publishes one tag.
    pub async fn publish(self, tag: &str) -> Result<Outcome, PublishError> {
        self.open().publish(tag).await
    }
}

/// A desk that remembers what it saw.
pub struct OpenDesk {
    publisher: Publisher,
    repository: Repository,
}

impl OpenDesk {
    /// The registry it talks to.
    pub fn registry(&self) -> &Registry {
        &self.publisher.registry
    }

    /// The repository it publishes in.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Publishes one tag; says what came of it, and how the tag stands then.
    pub async fn publish_and_show(&self, tag: &str) -> (Outcome, Version) {
        let outcome = self.publish(tag).await.expect("the registry is well");
        let version = onetag::audit::after(&self.publisher, &self.job(tag), &outcome);
        (outcome, version)
    }

    fn job(&self, tag: &str) -> Job {
        Job { repository: self.repository.clone(), tag: tag.parse().expect("a tag"), also: Vec::new() }
    }

    /// Publishes one tag.
    pub async fn publish(&self, tag: &str) -> Result<Outcome, PublishError> {
        let job = self.job(tag);
        self.publisher.publish(&self.publisher.registry, &job, &Known::default()).await
    }
}
