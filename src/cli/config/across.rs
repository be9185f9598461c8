//! What sections say about each other: rules that contradict, hooks that lead nowhere.
//!
//! For one repository the rules that name it exactly count, otherwise those of the first glob in
//! the file that matches it. Two rules of one name may divide its plain tags among themselves, but
//! not share any. A glob that an earlier one covers would never count. Globs that merely cross
//! (`acme/*` and `*/ubuntu`) are the file's own choice: its order decides.

use std::collections::BTreeMap;

use super::notes::{Notes, Offset};
use super::section::Section;
use crate::model::{Host, Tag};
use crate::serve::settings::{Hook, RegistrySettings, Rule};

/// Something that was read, and where it stands.
pub(super) type Placed<T> = (Offset, T);

/// Looks at every two rules of one registry.
pub(super) fn check_rules(rules: &[Placed<Rule>], notes: &Notes<'_>) {
    for (later, (at, rule)) in rules.iter().enumerate() {
        for (before, earlier) in rules[..later].iter().filter(|(_, earlier)| earlier.host == rule.host) {
            let line = notes.line(*before);
            let (name, other) = (&rule.name, &earlier.name);
            if name == other {
                check_shares(*at, rule, earlier, line, notes);
            } else if name.literal().is_none() && other.literal().is_none() && other.covers(name) {
                notes.problem(
                    *at,
                    format!("ambiguous-rules: `{name}` never counts, since `{other}` on line {line} matches the same and comes first: put the closer one first"),
                );
            }
        }
    }
}

/// Two rules of one name: no plain tag may be of both.
fn check_shares(at: Offset, rule: &Rule, earlier: &Rule, line: usize, notes: &Notes<'_>) {
    let name = &rule.name;
    let shared = rule.versions.iter().find(|glob| earlier.versions.iter().any(|other| other.overlaps(glob)));
    if let Some(shared) = shared {
        let advice = "give each its own `versions`, or keep one of them";
        notes.problem(
            at,
            format!("ambiguous-rules: `{name}` has a rule on line {line}, and both serve `{shared}`: {advice}"),
        );
    }
    let written = |rule: &Rule| -> Vec<Tag> {
        let literal = rule.versions.iter().filter_map(|glob| glob.literal()?.parse().ok());
        literal.chain(rule.also.values().flatten().cloned()).collect()
    };
    let (own, others) = (written(rule), written(earlier));
    if let Some(tag) = own.iter().find(|tag| shared.is_none() && others.contains(tag)) {
        notes.problem(at, format!("ambiguous-rules: `{tag}` of `{name}` is written by the rule on line {line}, too"));
    }
    for (tags, reader) in [(&own, earlier), (&others, rule)] {
        for (tag, source) in tags.iter().filter_map(|tag| Some((tag, reader.source(tag)?))) {
            let (word, version) = (&source.word, &source.version);
            let message = format!("`{tag}` is written by one and read as {word} of `{version}` by the other");
            notes.problem(at, format!("self-feeding: `{name}` has a rule on line {line}, too: {message}"));
        }
    }
}

/// Hooks have names of their own, and are about registries where something may be touched.
pub(super) fn check_hooks(hooks: &[(Section<'_>, Hook)], rules: &[Placed<Rule>]) {
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    for (section, hook) in hooks {
        if names.insert(&hook.name, ()).is_some() {
            let value = section.key("name");
            value
                .inspect(|value| value.problem(format!("there is another hook `{}`: each has its own URL", hook.name)));
        }
        if rules.iter().all(|(_, rule)| rule.host != hook.registry) {
            let value = section.key("registry");
            let registry = &hook.registry;
            value.inspect(|value| {
                value.problem(format!("no [[repository]] is on `{registry}`, so this hook could do nothing"));
            });
        }
    }
}

/// Each registry has one section, and one that nothing is about is probably misspelt.
pub(super) fn check_registries(registries: &[(Section<'_>, RegistrySettings)], rules: &[Placed<Rule>]) {
    for (number, (section, registry)) in registries.iter().enumerate() {
        let host: &Host = &registry.host;
        let Some(value) = section.key("host") else {
            continue;
        };
        if registries[..number].iter().any(|(_, earlier)| earlier.host == *host) {
            value.problem(format!("`{host}` has a section already: expected one [[registry]] for each"));
        } else if rules.iter().all(|(_, rule)| rule.host != *host) {
            value.warning(format!("no [[repository]] is on `{host}`"));
        }
    }
}
