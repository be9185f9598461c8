//! Several rules in one file: which of them counts, and which contradict each other.

use super::*;

fn two_rules(first: &str, second: &str) -> String {
    format!("[[repository]]\nregistry = \"quay.io\"\n{first}\n[[repository]]\nregistry = \"quay.io\"\n{second}\n")
}

#[test]
fn two_rules_of_one_name_must_not_share_plain_tags() {
    insta::assert_snapshot!(problems(&two_rules("name = \"acme/ubuntu\"", "name = \"acme/ubuntu\"\npattern = \"{version}-{arch}\"")), @"4:1: ambiguous-rules: `acme/ubuntu` has a rule on line 1, and both serve `*`: give each its own `versions`, or keep one of them");
    insta::assert_snapshot!(problems(&two_rules("name = \"acme/*\"\nversions = [\"1*\", \"2*\"]", "name = \"acme/*\"\nversions = [\"20.04\"]")), @"5:1: ambiguous-rules: `acme/*` has a rule on line 1, and both serve `20.04`: give each its own `versions`, or keep one of them");
    insta::assert_snapshot!(problems(&two_rules("name = \"a/b\"\nversions = [\"1.*\"]\nalso = { \"1.0\" = [\"one\"] }", "name = \"a/b\"\nversions = [\"one\"]")), @"6:1: ambiguous-rules: `one` of `a/b` is written by the rule on line 1, too");
    insta::assert_snapshot!(problems(&two_rules("name = \"a/b\"\nversions = [\"x*\"]\npattern = \"{version}-{arch}\"", "name = \"a/b\"\nversions = [\"xenial-arm64\"]")), @"
    6:1: ambiguous-rules: `a/b` has a rule on line 1, and both serve `xenial-arm64`: give each its own `versions`, or keep one of them
    6:1: self-feeding: `a/b` has a rule on line 1, too: `xenial-arm64` is written by one and read as arm64 of `xenial` by the other
    ");
}

#[test]
fn rules_of_one_name_may_divide_its_plain_tags() {
    let settings = settings(&two_rules(
        "name = \"acme/base\"\nversions = [\"alpine*\"]\nnames = \"alpine\"",
        "name = \"acme/base\"\nversions = [\"ubuntu*\"]",
    ));
    let source = |text: &str| {
        let (_, arch_tag) = settings.source(&repository("quay.io/acme/base"), &tag(text))?;
        Some(format!("{:?}", arch_tag.meaning))
    };
    assert!(source("armhf-alpine3.18").is_some_and(|meaning| meaning.contains("v6")));
    assert!(source("armhf-ubuntu16.04").is_some_and(|meaning| meaning.contains("v7")));
    assert_eq!(source("armhf-debian9"), None);
}

#[test]
fn a_glob_that_an_earlier_one_covers_would_never_count() {
    insta::assert_snapshot!(problems(&two_rules("name = \"acme/*\"", "name = \"acme/ubuntu-*\"")), @"4:1: ambiguous-rules: `acme/ubuntu-*` never counts, since `acme/*` on line 1 matches the same and comes first: put the closer one first");
    settings(&two_rules("name = \"acme/ubuntu-*\"", "name = \"acme/*\""));
    settings(&two_rules("name = \"acme/*\"", "name = \"*/ubuntu\""));
}

#[test]
fn an_exact_name_comes_before_globs_and_an_earlier_glob_before_later_ones() {
    let text =
        two_rules("name = \"acme/*\"\nquiet = \"1s\"", "name = \"acme/ubuntu\"\nquiet = \"3s\"\nversions = [\"16.*\"]")
            + "[[repository]]\nregistry = \"quay.io\"\nname = \"*/*\"\nquiet = \"4s\"\n";
    let settings = settings(&text);
    let quiet = |name: &str, plain: &str| Some(settings.rule_for(&repository(name), &tag(plain))?.quiet.as_secs());
    assert_eq!(quiet("quay.io/acme/debian", "9"), Some(1));
    assert_eq!(quiet("quay.io/acme/ubuntu", "16.04"), Some(3));
    assert_eq!(quiet("quay.io/acme/ubuntu", "18.04"), None, "what is not listed there is not served");
    assert_eq!(quiet("quay.io/other/ubuntu", "18.04"), Some(4));
    assert_eq!(quiet("quay.io/a/b/c", "9"), None);
    assert_eq!(quiet("docker.io/acme/debian", "9"), None, "another registry is not touched");
}

#[test]
fn a_tag_that_would_be_read_must_not_be_written() {
    insta::assert_snapshot!(rule_problems("versions = [\"*\", \"amd64-*\"]"), @"4:18: self-feeding: `amd64-x` is read as amd64 of `x` by `{arch}-{version}`, so it must not be written");
    insta::assert_snapshot!(rule_problems("also = { xenial = [\"arm64-lts\"], \"armhf-x\" = [\"y\"] }"), @"
    4:20: self-feeding: `arm64-lts` is read as arm64 of `lts` by `{arch}-{version}`, so it must not be written
    4:46: self-feeding: `armhf-x` is read as armhf of `x` by `{arch}-{version}`, so it must not be written
    ");
    let settings = settings(ONE_RULE);
    let repository = repository("registry.example.com/acme/cross");
    assert!(settings.rule_for(&repository, &tag("xenial")).is_some());
    assert!(settings.rule_for(&repository, &tag("arm64-cross")).is_none(), "it is an architecture's tag of `cross`");
    assert!(settings.source(&repository, &tag("amd64-arm64-cross")).is_none(), "so nothing is made for it");
}

#[test]
fn further_tags_must_be_written_by_nothing_else() {
    insta::assert_snapshot!(rule_problems("versions = [\"xenial\", \"bionic\", \"lts\"]\nalso = { xenial = [\"16.04\", \"bionic\"], bionic = [\"16.04\", \"lts\"], focal = [\"20.04\"] }"), @"
    5:20: `16.04` would be written twice: `also` has it already
    5:29: `bionic` is a main tag of `also` itself: expected a tag that nothing else writes
    5:59: `lts` would be written twice: `versions` has it, too
    5:67: `also` is about `focal`, which `versions` does not have
    ");
    let settings = settings(&format!("{ONE_RULE}also = {{ xenial = [\"16.04\"] }}\n"));
    let repository = repository("registry.example.com/acme/ubuntu");
    assert!(settings.rule_for(&repository, &tag("16.04")).is_none(), "it comes along with its main tag only");
    let job = settings.rules[0].job(&repository, &tag("xenial"));
    assert_eq!(job.also, [tag("16.04")]);
}

// Hooks.
