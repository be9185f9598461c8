//! One story for every way in which a configuration can be wrong, and some in which it is right.

mod hooks;
mod registries;
mod rules;
mod secrets;

use std::io;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::section::{HOOK, NOTIFY, REGISTRY, REPOSITORY, TOP};
use super::*;
use crate::model::{Repository, Tag};
use crate::plan::{Doubts, OnDoubt, Verify};
use crate::registry::credentials::Environment;
use crate::serve::settings::{GoogleKeys, Proof, Rate};

const ONE_RULE: &str = "[[repository]]\nregistry = \"registry.example.com\"\nname = \"acme/*\"\n";
const PEM: &str = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";

/// Loads `text` as `onetag.toml` in a folder with a few files and variables.
fn read(text: &str, reader: Reader<'_>) -> Result<Loaded, Invalid> {
    let variable = |name: &str| match name {
        "EMPTY" => Some(String::new()),
        "SHORT" => Some("hunter2".to_owned()),
        "SPACED" => Some(" correct-horse-battery-staple".to_owned()),
        name if name.starts_with("MISSING") || name.starts_with("PG") => None,
        _ => Some("correct-horse-battery-staple".to_owned()),
    };
    let file = |path: &Path| {
        let is_readable_by_others = path.ends_with("public");
        let bytes = match path.to_str().unwrap_or("") {
            "/etc/onetag/onetag.toml" => text.as_bytes().to_vec(),
            "/etc/onetag/crlf" => b"correct-horse-battery-staple\r\n".to_vec(),
            "/etc/onetag/two" => b"correct-horse-battery-staple\n\n".to_vec(),
            "/etc/onetag/binary" => b"\xff\xfe".to_vec(),
            path if path.ends_with("keys.json") => {
                let modulus = "u".repeat(341) + "w"; // 256 bytes
                format!(r#"{{"keys": [{{"kid": "a", "kty": "RSA", "n": "{modulus}", "e": "AQAB"}}]}}"#).into_bytes()
            }
            path if path.ends_with("no-keys.js") => br#"{"keys": []}"#.to_vec(),
            path if path.ends_with("pem") || path.ends_with("key") => PEM.into(),
            path if path.contains("missing") => return Err(io::Error::from(io::ErrorKind::NotFound)),
            _ => b"correct-horse-battery-staple\n".to_vec(),
        };
        Ok(File { bytes, is_readable_by_others })
    };
    let world = World { variable: &variable, file: &file, logins: Environment::default() };
    load(Path::new("/etc/onetag/onetag.toml"), reader, &world)
}

fn settings(text: &str) -> Settings {
    read(text, Reader::Service).unwrap_or_else(|invalid| panic!("{invalid}")).settings
}

/// All that is wrong with `text`.
fn problems(text: &str) -> String {
    let invalid = read(text, Reader::Service).expect_err("it should be refused").to_string();
    invalid.replace("/etc/onetag/onetag.toml:", "")
}

/// All that is wrong with a rule that has these lines, the first of which is line 4.
fn rule_problems(lines: &str) -> String {
    problems(&format!("{ONE_RULE}{lines}"))
}

/// All that is wrong with a hook that has these lines, the first of which is line 7.
fn hook_problems(lines: &str) -> String {
    problems(&format!("{ONE_RULE}[[hook]]\nname = \"prod\"\nregistry = \"registry.example.com\"\n{lines}"))
}

fn hook(lines: &str) -> Hook {
    let hook = format!("{ONE_RULE}[[hook]]\nname = \"prod\"\nregistry = \"registry.example.com\"\n{lines}");
    settings(&hook).hooks.remove(0)
}

fn warnings(text: &str) -> String {
    let loaded = read(text, Reader::Service).unwrap_or_else(|invalid| panic!("{invalid}"));
    loaded.warnings.join("\n").replace("/etc/onetag/onetag.toml:", "")
}

fn repository(text: &str) -> Repository {
    text.parse().expect("a repository")
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

#[test]
fn a_file_with_one_rule_has_the_documented_defaults() {
    let settings = settings(ONE_RULE);
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8470");
    assert_eq!(settings.admin.to_string(), "127.0.0.1:8471");
    assert!(settings.admin_token.is_none());
    assert_eq!((settings.database, settings.journal_days), ("sqlite://onetag.db".into(), 90));
    let rule = &settings.rules[0];
    assert_eq!((rule.quiet, rule.poll), (Duration::from_secs(2), Duration::from_secs(600)));
    assert_eq!(rule.pattern.to_string(), "{arch}-{version}");
    assert_eq!(rule.policy, crate::plan::Policy::default());
    let registry = &settings.registries[0];
    assert_eq!((registry.host.as_str(), registry.client.plain_http), ("registry.example.com", false));
    assert_eq!((registry.client.concurrency, registry.rate), (32, None));
}

#[test]
fn the_example_that_we_ship_loads_with_and_without_what_is_commented_out() {
    let example = include_str!("../../../docker/onetag.example.toml");
    assert_eq!(warnings(example), "");
    let is_key = |rest: &&str| rest.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '`']));
    let keys: Vec<&str> = example.lines().map(|line| line.strip_prefix("# ").filter(is_key).unwrap_or(line)).collect();
    let all = settings(&keys.join("\n"));
    assert!(all.registries[0].client.trust.identity_pem.is_some(), "{:?}", all.registries);
    let mut plain = settings(example);
    plain.registries.clone_from(&all.registries);
    plain.hooks.clone_from(&all.hooks);
    assert_eq!(plain, all, "what the comments show should be what counts without them");
}

#[test]
fn a_database_of_a_server_has_its_password_beside_it() {
    for line in [
        "database = \"postgres://onetag@db/onetag\"",
        "database = { url = \"postgres://onetag@db/onetag?sslmode=verify-full\" }",
        "database = { url = \"postgresql://db/onetag\", password = { env = \"HOOK_SECRET\" } }",
    ] {
        let settings = settings(&format!("{line}\n{ONE_RULE}"));
        assert!(settings.database.is_shared(), "{line}");
        assert!(!format!("{settings:?}").contains("postgres"), "an address may hold a password: {line}");
    }
    let bare = "database = { url = \"postgres://db/onetag\", password = \"hunter2hunter2\" }";
    insta::assert_snapshot!(warnings(&format!("{bare}\n{ONE_RULE}")), @"1:55: `password` holds the secret itself, where every copy of this file has it: expected `{ env = … }` or `{ file = … }`");
    insta::assert_snapshot!(problems(&format!("database = 1\nlease = \"1s\"\n{ONE_RULE}")), @r#"
    1:12: `database` holds a number, expected an address, or a table with its `url` and `password`, for example `database = "sqlite://onetag.db"`
    2:9: `lease` is 1s, expected 2s to 10m
    "#);
}

#[test]
fn every_key_is_in_the_example_that_we_ship() {
    let example = include_str!("../../../docker/onetag.example.toml");
    for kind in [&TOP, &REGISTRY, &REPOSITORY, &HOOK, &NOTIFY] {
        for (key, _) in kind.keys {
            let is_shown = example.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = ")) || line == format!("[[{key}]]") || line == format!("[{key}]")
            });
            assert!(is_shown, "`{key}` of {} is missing", kind.name);
        }
    }
}

#[test]
fn the_example_value_of_every_key_is_accepted() {
    let try_key = |prefix: &str, key: &str, value: &str| {
        if let Err(invalid) = read(&format!("{prefix}\n{key} = {value}\n"), Reader::Service) {
            let text = invalid.to_string();
            assert!(text.contains("needs `") || text.contains("duplicate key"), "{key}: {text}");
        }
    };
    for (key, value) in REPOSITORY.keys {
        try_key(ONE_RULE, key, value);
    }
    let registry = format!("{ONE_RULE}[[registry]]\nhost = \"registry\"");
    for (key, value) in REGISTRY.keys {
        try_key(&registry, key, value);
    }
    for (key, value) in TOP.keys.iter().filter(|(_, value)| value.starts_with(['"', '{'])) {
        assert!(read(&format!("{key} = {value}\n{ONE_RULE}"), Reader::Service).is_ok(), "{key}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one_or_with_its_home() {
    insta::assert_snapshot!(rule_problems("quit = \"2s\"\nplain-http = true\ndatabase = \"x\"\nconcurency = 3\ncolour = 1\n\n[defaults]\nrequired = []\n"), @"
    4:1: unknown key `quit` (did you mean `quiet`?)
    5:1: unknown key `plain-http` in [[repository]]: `plain_http` belongs in [[registry]]
    6:1: unknown key `database` in [[repository]]: `database` belongs before the first section
    7:1: unknown key `concurency` in [[repository]]: `concurrency` belongs in [[registry]]
    8:1: unknown key `colour` in [[repository]]
    11:1: unknown key `required` (did you mean `require`?)
    ");
}

#[test]
fn a_wrong_type_is_told_with_what_was_found_and_an_example() {
    insta::assert_snapshot!(rule_problems("quiet = 2\ntake_over = \"yes\"\nrequire = \"amd64\"\nalso = [\"xenial\"]\nversions = [1.5]\nname_ = 1979-05-27\n"), @r#"
    4:9: `quiet` holds a number, expected a duration, for example `quiet = "2s"`
    5:13: `take_over` holds a text, expected true or false, for example `take_over = true`
    6:11: `require` holds a text, expected a list of architectures, for example `require = ["amd64", "arm64"]`
    7:8: `also` holds a list, expected a table of tags and their further tags, for example `also = { xenial = ["16.04"] }`
    8:13: `versions` holds a number with a point, expected a glob of tags, for example `versions = ["*"]`
    9:1: unknown key `name_` (did you mean `name`?)
    "#);
    insta::assert_snapshot!(problems("listen = 8470\n[repository]\nname = \"x\"\n"), @r#"
    1:10: `listen` holds a number, expected an address and a port, for example `listen = "0.0.0.0:8470"`
    2:1: `repository` is not a list of tables: expected `[[repository]]`, since there may be several
    "#);
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_every_place() {
    insta::assert_snapshot!(problems("listen = 0.0.0.0:8470\nadmin = \"127.0.0.1:8471\nquiet\n"), @r#"
    1:13: invalid float (a text stands in quotes)
    2:24: invalid basic string, expected `"`
    3:6: key with no value, expected `=`
    "#);
    insta::assert_snapshot!(rule_problems("quiet = \"2s\"\nquiet = \"3s\"\n"), @"5:1: duplicate key `quiet`: expected each key once");
    insta::assert_snapshot!(problems("[defaults]\n[defaults]\n"), @"2:2: duplicate key `defaults`: expected each key once");
    let invalid = text(Path::new("onetag.toml"), b"# \xc3\xa9\n# \xff").expect_err("it is not UTF-8");
    insta::assert_snapshot!(invalid, @"onetag.toml:2:3: this is not text in UTF-8");
}

#[test]
fn a_file_that_is_missing_or_names_nothing_is_refused() {
    let nothing = World {
        variable: &|_| None,
        file: &|_| Err(io::Error::from(io::ErrorKind::NotFound)),
        logins: Environment::default(),
    };
    let invalid = load(Path::new("/nowhere/onetag.toml"), Reader::Service, &nothing).expect_err("it is missing");
    insta::assert_snapshot!(invalid, @"/nowhere/onetag.toml: entity not found");
    insta::assert_snapshot!(problems(""), @"1:1: there is no [[repository]]: nothing may be touched, so there is nothing to do");
    insta::assert_snapshot!(problems("[[repository]]\n[[registry]]\n[[hook]]\n[[notify]]\n"), @r#"
    1:1: [[repository]] has no `name`: expected for example `name = "acme/*"`
    1:1: [[repository]] has no `registry`: expected for example `registry = "registry.example.com"`
    2:1: [[registry]] has no `host`: expected for example `host = "registry.example.com"`
    3:1: [[hook]] has no `format`: expected for example `format = "distribution"`
    3:1: [[hook]] has no `name`: expected for example `name = "prod"`
    3:1: [[hook]] has no `registry`: expected for example `registry = "registry.example.com"`
    4:1: [[notify]] has no `secret`: expected for example `secret = { env = "NOTIFY_SECRET" }`
    4:1: [[notify]] has no `url`: expected for example `url = "https://example.com/onetag"`
    "#);
}

#[test]
fn values_that_make_no_sense_are_told_with_what_would() {
    insta::assert_snapshot!(problems("listen = \"localhost:8470\"\ndatabase = \"onetag.db\"\njournal = \"36h\"\n[[repository]]\nregistry = \"a b\"\nname = \"x\""), @"
    1:10: `listen` is `localhost:8470`, expected an IP address and a port such as `0.0.0.0:8470`
    2:12: `database` is not one that can be used: expected for example `sqlite://onetag.db` or `postgres://onetag@db/onetag`
    3:11: `journal` is not a number of days: expected for example `90d`
    5:12: `a b` is not a registry name: expected a host name such as `registry.example.com` or `localhost:5000`
    ");
    insta::assert_snapshot!(rule_problems("pattern = \"{arch}\"\nnames = \"redhat\"\nverify = \"entrypiont\"\non_mismatch = \"hodl\"\nindex_type = \"oci-index\"\nrequire = [\"arm46\", \"x86\", \"plan9/amd64\"]\nwords = { \"a b\" = \"linux/386\", vax = \"vax\" }\nversions = [\"[\"]\nquiet = \"2 parsecs\"\npoll = \"10ms\""), @r#"
    4:11: `{arch}` is not a tag pattern: expected `{arch}` and `{version}`, each once, as in `{arch}-{version}`
    5:9: `names` is `redhat`, expected one of debian, alpine, docker
    6:10: `verify` is `entrypiont`, expected one of config, entrypoint (did you mean `entrypoint`?)
    7:15: `on_mismatch` is `hodl`, expected one of hold, skip, trust-tag, rewrite (did you mean `hold`?)
    8:14: `index_type` is `oci-index`, expected one of auto, oci, docker
    9:12: `arm46` is not a known architecture (did you mean `arm64`?)
    9:21: `x86` means 386 to some builders and amd64 to others: say which by `words = { x86 = "linux/386" }`, or use `i386` or `amd64`
    9:28: no architecture word stands for `plan9/amd64`: give one by `words = { WORD = "plan9/amd64" }`
    10:11: `a b` cannot be part of a tag: expected letters, digits, `_`, `.` and `-`
    10:38: `vax` is not a platform: expected `os/architecture` or `os/architecture/variant`, for example `linux/arm/v7`
    11:13: `[` is not a glob: unclosed character class; missing ']'
    12:9: `quiet` is `2 parsecs`, expected a duration such as `2s`, `10m` or `1h 30m`
    13:8: `poll` is 10ms, expected 1s to 7days
    "#);
}

#[test]
fn a_tag_is_believed_only_where_the_files_are_asked() {
    for on_mismatch in ["trust-tag", "rewrite"] {
        let said = format!("on_mismatch = \"{on_mismatch}\"");
        let expected = r#"a tag is believed against its image's config only where the files prove it: add `verify = "entrypoint"`"#;
        assert_eq!(rule_problems(&said).trim_end(), format!("4:15: {expected}"));
        settings(&format!("{ONE_RULE}{said}\nverify = \"entrypoint\"\n"));
    }
}

#[test]
fn what_doubts_lead_to_is_a_key_each() {
    let said = "verify = \"entrypoint\"\non_unverifiable = \"accept\"\non_data_only = \"hold\"\non_mixed = \"skip\"";
    let policy = settings(&format!("{ONE_RULE}{said}\n")).rules.swap_remove(0).policy;
    let doubts = Doubts { unverifiable: OnDoubt::Accept, data_only: OnDoubt::Hold, mixed: OnDoubt::Skip };
    assert_eq!((policy.verify, policy.doubts), (Verify::Entrypoint, doubts));
    insta::assert_snapshot!(rule_problems("on_data_only = \"believe\""), @"4:16: `on_data_only` is `believe`, expected one of hold, accept, skip");
}

#[test]
fn quiet_must_be_shorter_than_poll() {
    insta::assert_snapshot!(rule_problems("quiet = \"15m\"\npoll = \"10m\""), @"4:9: `quiet` (15m) must be shorter than `poll` (10m), or scans overtake pushes");
    insta::assert_snapshot!(rule_problems("quiet = \"2h\""), @"4:9: `quiet` is 2h, expected 0s to 1h");
}

#[test]
fn both_listeners_need_a_port_of_their_own() {
    insta::assert_snapshot!(problems(&format!("admin = \"127.0.0.1:8470\"\n{ONE_RULE}")), @"1:9: `listen` and `admin` would share port 8470: expected two ports");
    assert_eq!(settings(&format!("listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{ONE_RULE}")).listen.port(), 0);
}

#[test]
fn a_name_that_matches_no_repository_is_refused() {
    let name = |registry: &str, name: &str| {
        problems(&format!("[[repository]]\nregistry = \"{registry}\"\nname = \"{name}\"\n"))
    };
    insta::assert_snapshot!(name("registry.example.com", "registry.example.com/acme/*"), @"3:8: `registry.example.com/acme/*` begins with the registry, which `registry` names already: expected the path after it");
    insta::assert_snapshot!(name("registry.example.com", "Acme/*"), @"3:8: `Acme/*` matches no repository: paths are in lower case, and have no tag or digest");
    insta::assert_snapshot!(name("registry.example.com", "acme/ubuntu:xenial"), @"3:8: `acme/ubuntu:xenial` matches no repository: paths are in lower case, and have no tag or digest");
    insta::assert_snapshot!(name("registry.example.com", "/acme"), @"3:8: `/acme` matches no repository: expected parts divided by single `/`, such as `acme/*`");
    insta::assert_snapshot!(name("docker.io", "*"), @"3:8: `*` matches no repository: names on docker.io have two parts, as in `library/*`");
    let hub = settings("[[repository]]\nregistry = \"index.docker.io\"\nname = \"ubuntu\"\n");
    assert!(hub.rule_for(&repository("ubuntu"), &tag("xenial")).is_some());
}

#[test]
fn defaults_count_where_a_rule_says_nothing_and_their_problems_are_told_once() {
    let text = format!(
        "[defaults]\nrequire = [\"amd64\"]\nquiet = \"5s\"\nregistry = \"quay.io\"\n{ONE_RULE}quiet = \"1s\"\n[[repository]]\nname = \"a/b\"\n"
    );
    let settings = settings(&text);
    let [first, second] = settings.rules.as_slice() else { panic!("two rules") };
    assert_eq!((first.quiet.as_secs(), second.quiet.as_secs()), (1, 5));
    assert_eq!((first.host.as_str(), second.host.as_str()), ("registry.example.com", "quay.io"));
    assert_eq!(first.policy.required.len(), 1);
    let text = format!(
        "[defaults]\nrequire = [\"amd46\"]\n{ONE_RULE}[[repository]]\nregistry = \"quay.io\"\nname = \"a/b\"\n"
    );
    insta::assert_snapshot!(problems(&text), @"2:12: `amd46` is not a known architecture (did you mean `amd64`?)");
}

// F6 and what else a registry's section can get wrong.

#[test]
fn a_command_needs_only_what_is_about_its_registry() {
    let text = format!(
        "admin_token = {{ env = \"MISSING\" }}\n{ONE_RULE}[[registry]]\nhost = \"quay.io\"\nca_file = \"missing.pem.x\"\n[[registry]]\nhost = \"registry.example.com\"\nconcurrency = 2\n[[hook]]\nsecret = {{ env = \"MISSING\" }}\n"
    );
    let host = "registry.example.com".parse().expect("a host");
    let settings = read(&text, Reader::Command(&host)).unwrap_or_else(|invalid| panic!("{invalid}")).settings;
    assert_eq!(settings.registry(&host).map(|registry| registry.client.concurrency), Some(2));
    assert!(settings.hooks.is_empty());
}

#[test]
fn what_only_a_restart_can_change_is_named() {
    let (old, new) = (settings(ONE_RULE), settings(&format!("database = \"sqlite://other.db\"\n{ONE_RULE}")));
    assert_eq!(old.changed_for_good(&new), ["database"]);
    assert_ne!(old, new);
}

#[test]
fn many_problems_are_cut_short() {
    let lines: String = (0..50).map(|number| format!("zzzzzz{number} = 1\n")).collect();
    let problems = problems(&lines);
    assert_eq!(problems.lines().count(), 21);
    assert!(problems.ends_with("and 31 more"), "{problems}");
}

#[test]
fn a_file_of_nothing_but_brackets_is_refused() {
    for text in ["[".repeat(100_000), format!("a = {}", "[".repeat(100_000)), format!("a = {}", "{a=".repeat(50_000))] {
        assert!(read(&text, Reader::Service).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text, Reader::Service);
    }

    #[test]
    fn no_mixture_of_keys_and_values_panics(
        lines in proptest::collection::vec((0usize..60, 0usize..60, 0usize..8), 0..40)
    ) {
        let kinds = [&TOP, &REGISTRY, &REPOSITORY, &HOOK, &NOTIFY];
        let all: Vec<(&str, &str)> = kinds.iter().flat_map(|kind| kind.keys.iter().copied()).collect();
        let mut text = String::new();
        for (key, value, header) in lines {
            if let Some(header) = ["[[registry]]", "[[repository]]", "[[hook]]", "[[notify]]", "[defaults]"].get(header) {
                text.push_str(&format!("{header}\n"));
            }
            text.push_str(&format!("{} = {}\n", all[key % all.len()].0, all[value % all.len()].1));
        }
        if let Err(invalid) = read(&text, Reader::Service) {
            prop_assert!(!invalid.to_string().contains("cannot be used"), "{}", invalid);
        }
    }
}
