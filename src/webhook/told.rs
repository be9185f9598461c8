//! Told: what one event says, and the checks that turn it into a [`Push`] or into a reason why not.

use std::fmt;

use crate::model::text::clean;
use crate::model::{Push, RepositoryPath, Tag, ToldDigest};

/// What became of one event.
pub(super) type Outcome = Result<Push, Ignored>;

/// An event of no interest, and why it is of none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored(String);

impl Ignored {
    /// An event of another kind, `found`, which is named `what` there: `action`, `event type`.
    pub(super) fn other(what: &str, found: Option<&str>) -> Ignored {
        Ignored(match found {
            Some(found) => format!("{what} `{}`", clean(found, 60)),
            None => format!("no {what}"),
        })
    }

    pub(super) fn because(why: impl Into<String>) -> Ignored {
        Ignored(why.into())
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one event says of a push, before anything of it was checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) registry: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) time: Option<String>,
    pub(super) actor: Option<String>,
}

impl Told {
    /// A push, if it names a repository and a tag that can exist.
    pub(super) fn check(self) -> Outcome {
        let tag = match self.tag.as_deref() {
            // Several registries put the digest where the tag belongs.
            Some(tag) if !tag.contains(':') => tag.parse::<Tag>().map_err(|error| Ignored(error.to_string()))?,
            _ => return Err(Ignored::because("no tag: a manifest pushed by its digest")),
        };
        let repository = self.repository.ok_or_else(|| Ignored::because("no repository"))?;
        let repository = repository.parse::<RepositoryPath>().map_err(|error| Ignored(error.to_string()))?;
        Ok(Push {
            registry: self.registry.and_then(for_logs),
            repository,
            tag,
            digest: self.digest.as_deref().and_then(ToldDigest::read),
            media_type: self.media_type.and_then(for_logs),
            event_id: self.event_id.filter(|id| is_id(id)),
            time: self.time.and_then(for_logs),
            actor: self.actor.and_then(for_logs),
        })
    }
}

/// Senders choose this text; what a reader's terminal would obey has to go.
fn for_logs(text: String) -> Option<String> {
    Some(clean(&text, 255)).filter(|text| !text.is_empty())
}

/// Whether text can tell one event from another. It is never changed or cut: two would become one.
fn is_id(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tag: &str, repository: &str) -> Told {
        Told { tag: Some(tag.to_owned()), repository: Some(repository.to_owned()), ..Told::default() }
    }

    fn why(told: Told) -> String {
        told.check().expect_err("not a push").to_string()
    }

    #[test]
    fn a_tag_and_a_repository_are_all_it_takes() {
        let push = told("armhf-xenial", "acme/ubuntu").check().expect("a push");
        assert_eq!((push.repository.as_str(), push.tag.as_str()), ("acme/ubuntu", "armhf-xenial"));
        assert_eq!((push.registry, push.digest, push.event_id), (None, None, None));
    }

    #[test]
    fn what_cannot_be_a_repository_or_a_tag_is_ignored_and_says_so() {
        assert_eq!(why(Told::default()), "no tag: a manifest pushed by its digest");
        assert_eq!(why(Told { tag: Some("a".to_owned()), ..Told::default() }), "no repository");
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(why(told(&digest, "acme/ubuntu")), "no tag: a manifest pushed by its digest");
        assert!(why(told("<script>", "acme/ubuntu")).starts_with("`<script>` is not a tag name"));
        assert!(why(told("../x", "acme/ubuntu")).starts_with("`../x` is not a tag name"));
        assert!(why(told("xenial", "Acme/ubuntu")).starts_with("`Acme/ubuntu` is not a repository name"));
        assert!(why(told("xenial", "../../etc")).starts_with("`../../etc` is not a repository name"));
    }

    #[test]
    fn a_digest_that_is_none_is_absent_and_no_error() {
        let digest = |text: &str| {
            let told = Told { digest: Some(text.to_owned()), ..told("xenial", "acme/ubuntu") };
            told.check().expect("a push").digest
        };
        for text in ["sha256:sample", "SHA256:00", "sha1:00", "latest"] {
            assert_eq!(digest(text), None, "{text}");
        }
        let sha512 = format!("sha512:{}", "a".repeat(128));
        assert_eq!(digest(&sha512).expect("a digest").as_str(), sha512);
    }

    #[test]
    fn text_for_logs_loses_its_escapes_and_an_id_is_taken_whole_or_not_at_all() {
        let push = |text: &str| {
            let text = Some(text.to_owned());
            let told = Told { actor: text.clone(), event_id: text, ..told("xenial", "acme/ubuntu") };
            told.check().expect("a push")
        };
        let odd = push("\u{1b}[31mroot");
        assert_eq!((odd.actor.as_deref(), odd.event_id), (Some("[31mroot"), None));
        let long = push(&"a".repeat(256));
        assert_eq!((long.actor.map(|actor| actor.len()), long.event_id), (Some(258), None));
        assert_eq!(push("\u{0}\u{200b}").actor, None);
        assert_eq!(push("b7c9a688-d5ab/1").event_id.as_deref(), Some("b7c9a688-d5ab/1"));
    }
}
