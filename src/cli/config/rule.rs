//! `[[repository]]`: what is done with the repositories of one name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::section::Section;
use super::value::Value;
use crate::cli::policy::{Attestations, IndexType, OnDoubt, OnMismatch, Verify, contradiction};
use crate::model::arch::InvalidArch;
use crate::model::text::clean;
use crate::model::{ArchChoice, Dialect, Host, Pattern, Platform, Tag, Words};
use crate::plan::{Doubts, Policy};
use crate::serve::settings::{Glob, Rule};

/// What `also` holds.
const ALSO: &str = "a table of tags and their further tags";
const HOUR: Duration = Duration::from_secs(3600);
/// How long the rest of the architectures are waited for, unless the file says otherwise.
const QUIET: Duration = Duration::from_secs(2);
/// How often tags are looked at that nobody told of, unless the file says otherwise.
const POLL: Duration = Duration::from_secs(600);
/// How often everything is audited, unless the file says otherwise.
const AUDIT: Duration = Duration::from_secs(6 * 3600);

/// Reads one section with its defaults.
pub(super) fn read(section: &Section<'_>) -> Option<Rule> {
    let host = section.required("registry").and_then(|value| value.parse::<Host>("a host"));
    let name = section.required("name").and_then(|value| name(value, host.as_ref()?));
    let words = words(section);
    let pattern: Pattern = section.key("pattern").and_then(|value| value.parse("a pattern")).unwrap_or_default();
    let versions = section.key("versions").map_or_else(|| vec!["*".parse().expect("a glob")], versions);
    let policy = policy(section, &words);
    let also = section.key("also").map(also).unwrap_or_default();
    let (quiet, poll) = pace(section);
    let audit = section.key("audit").and_then(|value| value.duration(Duration::from_secs(1)..=31 * 24 * HOUR));
    let audit = audit.unwrap_or(AUDIT);
    let rule = Rule { host: host?, name: name?, pattern, words, versions, policy, also, quiet, poll, audit };
    check_tags(section, &rule);
    Some(rule)
}

/// A path or a glob of paths, as the registry has them.
fn name(value: Value<'_>, host: &Host) -> Option<Glob> {
    let text = value.text("a repository's path, or a glob of paths")?;
    let found = clean(text, 80);
    let problem = if text.starts_with(&format!("{host}/")) {
        format!("`{found}` begins with the registry, which `registry` names already: expected the path after it")
    } else if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
        format!("`{found}` matches no repository: expected parts divided by single `/`, such as `acme/*`")
    } else if text.contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace() || c == ':' || c == '@') {
        format!("`{found}` matches no repository: paths are in lower case, and have no tag or digest")
    } else if host.is_docker_hub() && !text.contains('/') && text != "**" {
        return docker_hub_name(value, text);
    } else {
        return value.parse("a glob");
    };
    value.problem(problem);
    None
}

/// A one-part name on Docker Hub: `ubuntu` is `library/ubuntu` there.
fn docker_hub_name(value: Value<'_>, text: &str) -> Option<Glob> {
    let glob = value.parse::<Glob>("a glob")?;
    if glob.literal().is_some() {
        return format!("library/{text}").parse().map_err(|error| value.problem(error)).ok();
    }
    let found = clean(text, 80);
    value.problem(format!("`{found}` matches no repository: names on docker.io have two parts, as in `library/*`"));
    None
}

fn words(section: &Section<'_>) -> Words {
    let names = section.key("names").and_then(|value| {
        let text = value.text("a word")?;
        value.one_of(text, ["debian", "alpine", "docker"].into_iter())?.parse::<Dialect>().ok()
    });
    let mut words = Words::of(names.unwrap_or_default());
    let pairs = section.key("words").map(|value| value.pairs("a table of words and platforms")).unwrap_or_default();
    for (word, at, value) in pairs {
        let Some(platform) = value.parse::<Platform>("a platform") else {
            continue;
        };
        match words.clone().with(word, platform) {
            Ok(with_word) => words = with_word,
            Err(error) => value.notes.problem(at, error),
        }
    }
    words
}

fn versions(value: Value<'_>) -> Vec<Glob> {
    let globs = value.parse_all("a glob of tags");
    if value.is_list() && value.items("a list").is_empty() {
        value.problem(r#"`versions` is empty, so nothing would be served: expected for example `["*"]`"#);
    }
    globs
}

fn policy(section: &Section<'_>, words: &Words) -> Policy {
    let attestations = section.key("attestations").and_then(|value| value.choice::<Attestations>());
    let flag = |key| section.key(key).and_then(|value| value.boolean()).unwrap_or_default();
    let required = section.key("require").map(|value| value.items("a list of architectures")).unwrap_or_default();
    let defaults = Doubts::default();
    let doubt = |key, default| {
        let choice = section.key(key).and_then(|value| value.choice::<OnDoubt>());
        choice.map_or(default, Into::into)
    };
    let policy = Policy {
        required: required.iter().filter_map(|value| arch(value, words)).collect(),
        verify: section.key("verify").and_then(|value| value.choice::<Verify>()).unwrap_or_default().into(),
        on_mismatch: section
            .key("on_mismatch")
            .and_then(|value| value.choice::<OnMismatch>())
            .unwrap_or_default()
            .into(),
        doubts: Doubts {
            mixed: doubt("on_mixed", defaults.mixed),
            unverifiable: doubt("on_unverifiable", defaults.unverifiable),
            data_only: doubt("on_data_only", defaults.data_only),
        },
        same_labels: section.key("same").map(|value| value.parse_all("a label")).unwrap_or_default(),
        expected: Vec::new(),
        allow_removal: flag("allow_removal"),
        take_over: flag("take_over"),
        index_type: section.key("index_type").and_then(|value| value.choice::<IndexType>()).unwrap_or_default().into(),
        drop_attestations: attestations == Some(Attestations::Drop),
        annotations: section.key("annotations").map(annotations).unwrap_or_default(),
    };
    if let (Some(value), Some(message)) =
        (section.key("on_mismatch"), contradiction(&policy, r#"verify = "entrypoint""#))
    {
        value.problem(message);
    }
    policy
}

fn arch(value: &Value<'_>, words: &Words) -> Option<ArchChoice> {
    let choice = words.choose(value.text("an architecture")?);
    let problem = match choice {
        Ok(choice) => return Some(choice),
        Err(InvalidArch::Ambiguous { word }) => format!(
            "`{word}` means 386 to some builders and amd64 to others: \
             say which by `words = {{ {word} = \"linux/386\" }}`, or use `i386` or `amd64`"
        ),
        Err(InvalidArch::NoWord { platform }) => {
            format!("no architecture word stands for `{platform}`: give one by `words = {{ WORD = \"{platform}\" }}`")
        }
        Err(error) => error.to_string(),
    };
    value.problem(problem);
    None
}

fn annotations(value: Value<'_>) -> BTreeMap<String, String> {
    let pairs = value.pairs("a table of texts").into_iter();
    pairs.filter_map(|(key, _, value)| Some((key.to_owned(), value.text("a text")?.to_owned()))).collect()
}

fn also(value: Value<'_>) -> BTreeMap<Tag, Vec<Tag>> {
    let pairs = value.pairs(ALSO).into_iter();
    let tags = pairs.filter_map(|(key, at, value)| {
        let key = key.parse::<Tag>().map_err(|error| value.notes.problem(at, error)).ok()?;
        Some((key, value.parse_all("a tag")))
    });
    tags.collect()
}

/// How long after a push, and how often without one.
fn pace(section: &Section<'_>) -> (Duration, Duration) {
    let quiet_value = section.key("quiet");
    let quiet = quiet_value.and_then(|value| value.duration(Duration::ZERO..=HOUR)).unwrap_or(QUIET);
    let poll = section.key("poll").and_then(|value| value.duration(Duration::from_secs(1)..=24 * 7 * HOUR));
    let poll = poll.unwrap_or(POLL);
    if let Some(value) = quiet_value.or(section.key("poll")).filter(|_| quiet >= poll) {
        let [quiet, poll] = [quiet, poll].map(humantime::format_duration);
        value.problem(format!("`quiet` ({quiet}) must be shorter than `poll` ({poll}), or scans overtake pushes"));
    }
    (quiet, poll)
}

/// Tags that this rule would write and read, write twice, or never write.
fn check_tags(section: &Section<'_>, rule: &Rule) {
    let mut seen = BTreeSet::new();
    for value in section.key("versions").map(|value| value.items("a list")).unwrap_or_default() {
        let glob = value.as_text().and_then(|text| text.parse::<Glob>().ok());
        if let Some(tag) = glob.and_then(|glob| glob.example("x")).and_then(|example| example.parse().ok()) {
            check_feeding(value, rule, &tag);
        }
    }
    for (key, at, value) in section.key("also").map(|value| value.pairs(ALSO)).unwrap_or_default() {
        let Ok(main) = key.parse::<Tag>() else {
            continue;
        };
        check_feeding(value, rule, &main);
        if !rule.versions.iter().any(|glob| glob.matches(key)) {
            value.notes.problem(at, format!("`also` is about `{main}`, which `versions` does not have"));
        }
        for item in value.items("a list") {
            let Some(tag) = item.as_text().and_then(|text| text.parse::<Tag>().ok()) else {
                continue;
            };
            check_feeding(item, rule, &tag);
            if rule.also.contains_key(&tag) {
                item.problem(format!(
                    "`{tag}` is a main tag of `also` itself: expected a tag that nothing else writes"
                ));
            } else if !seen.insert(tag.clone()) {
                item.problem(format!("`{tag}` would be written twice: `also` has it already"));
            } else if rule.versions.iter().any(|glob| glob.literal() == Some(tag.as_str())) {
                item.problem(format!("`{tag}` would be written twice: `versions` has it, too"));
            }
        }
    }
}

/// A tag that is written must not be one that is read.
fn check_feeding(value: Value<'_>, rule: &Rule, tag: &Tag) {
    if let Some(source) = rule.source(tag) {
        value.problem(format!(
            "self-feeding: `{tag}` is read as {} of `{}` by `{}`, so it must not be written",
            source.word, source.version, rule.pattern
        ));
    }
}
