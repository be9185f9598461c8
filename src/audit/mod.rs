//! Auditing: which architectures exist for each plain tag, and is what is published still what was
//! pushed? Looks and decides like publishing does, and never writes.
//!
//! One listing finds the plain tags; then each is looked at by itself, several at a time, and
//! forgotten when it was told, so that memory does not grow with the repository.

mod problems;
mod reach;
mod rows;
mod subjects;
mod version;

use futures_util::stream::{self, Stream, StreamExt as _};

use crate::look::{Facts, Lookout, Scope};
use crate::model::{ArchChoice, Job, Pattern, Repository, Served, Tag, Version, Words};
use crate::plan::{Policy, plan};
use crate::publish::{Outcome, Publisher};
use crate::registry::{Registry, RegistryError};
pub use subjects::Subject;
pub use version::{Ground, unread, version};

/// How many plain tags are looked at together; the registry's own bound is on requests.
const TOGETHER: usize = 32;

/// What is audited, and by what measure.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// Where the images are.
    pub repository: Repository,
    /// How its tags are made.
    pub pattern: Pattern,
    /// The vocabulary of its tags.
    pub words: Words,
    /// What publishing would go by; what is required is looked for by name.
    pub policy: Policy,
    /// Look at these architectures only, without listing the repository's tags.
    pub only: Option<Vec<ArchChoice>>,
}

/// Audits one repository.
#[derive(Debug)]
pub struct Auditor {
    registry: Registry,
    lookout: Lookout,
    policy: Policy,
}

/// One plain tag, and what came of looking at it.
#[derive(Debug)]
pub struct Audited {
    /// How it stands. Where it could not be looked at, its state is `unreadable`.
    pub version: Version,
    /// The index that it serves, if it serves one.
    pub served: Option<Served>,
    /// Why it could not be looked at.
    pub failure: Option<RegistryError>,
}

impl Auditor {
    /// Audits by `scheme`, going by `facts` and adding to them. Nothing is sent yet.
    pub fn new(registry: Registry, scheme: Scheme, facts: Facts) -> Auditor {
        let Scheme { repository, pattern, words, policy, only } = scheme;
        let scope = Scope { only, expected: policy.required.clone(), ..Scope::of(&policy) };
        let lookout = Lookout::new(repository, pattern, words, scope).remembering(facts).sparing();
        Auditor { registry, lookout, policy }
    }

    /// Lists the repository's tags: every plain tag that architecture tags belong to, and every
    /// other tag that may turn out to be one, in natural order.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the tags could not be listed.
    pub async fn subjects(&self) -> Result<Vec<Subject>, RegistryError> {
        let tags = self.registry.tags(self.lookout.repository()).await?;
        let subjects = subjects::of(&tags, self.lookout.pattern(), self.lookout.words());
        self.lookout.take_listing(&tags);
        Ok(subjects)
    }

    /// Looks at each subject, several together, and tells of them in their order. Subjects that are
    /// no plain tags after all (a chart, a build cache) are passed over.
    ///
    /// Wire: HEAD for each tag and for each manifest of the index, GET for what nobody knows yet.
    pub fn audit<'a>(&'a self, subjects: &'a [Subject]) -> impl Stream<Item = Audited> + 'a {
        stream::iter(subjects)
            .map(|subject| self.look_at(subject))
            .buffered(TOGETHER)
            .filter_map(|audited| async { audited })
    }

    /// Looks at one subject; none where it is no plain tag after all.
    pub async fn look_at(&self, subject: &Subject) -> Option<Audited> {
        let job = Job { repository: self.lookout.repository().clone(), tag: subject.tag.clone(), also: Vec::new() };
        match self.lookout.survey(&self.registry, &job).await {
            Ok((seen, served)) => {
                let plan = plan(&job, &seen, &self.policy);
                if subject.is_guess && !subjects::is_plain(&seen, &job.tag) {
                    return None;
                }
                let version = version(&self.ground(), subject, &job, &seen, &plan, served.as_ref());
                Some(Audited { version, served, failure: None })
            }
            Err(error) => {
                let version = unread(subject, &error, &self.ground());
                Some(Audited { version, served: None, failure: Some(error) })
            }
        }
    }

    fn ground(&self) -> Ground<'_> {
        Ground { words: self.lookout.words(), policy: &self.policy, only: self.lookout.scope().only.as_deref() }
    }
}

/// How a plain tag stands after a run of `publisher`, as far as the run looked: whether the registry
/// still has every image that a kept index names is for an audit to find out.
pub fn after(publisher: &Publisher, job: &Job, outcome: &Outcome) -> Version {
    let ground = Ground { words: publisher.lookout.words(), policy: &publisher.policy, only: None };
    version::after(&ground, job, outcome)
}

/// A subject that somebody named, listed or not.
pub fn named(tag: Tag) -> Subject {
    Subject { tag, arch_tags: Vec::new(), strangers: Vec::new(), is_guess: false, is_named: true }
}
