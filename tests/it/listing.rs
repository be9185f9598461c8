//! Tag listings as registries send them: paged in every way, full of junk, or without an end.

use serde_json::json;

use crate::support::registry::Builder;
use crate::support::{Desk, Elsewhere, FakeRegistry, Kind, LinkForm, Play, When, onetag};

const VERSIONS: usize = 6;

/// A registry that lists two architectures of several versions, a few at a time.
async fn listing(builder: Builder) -> FakeRegistry {
    let registry = builder.start().await;
    for number in 0..VERSIONS {
        registry.push_image(&format!("acme/ubuntu:amd64-{number}"), "linux/amd64");
        registry.push_image(&format!("acme/ubuntu:arm64-{number}"), "linux/arm64");
    }
    registry
}

async fn paged(link: LinkForm) -> FakeRegistry {
    listing(FakeRegistry::builder().tag_pages(5, link)).await
}

fn desk(registry: &FakeRegistry) -> Desk {
    Desk::at(&registry.repository("acme/ubuntu"))
}

/// Publishes the version whose tags are on the first page and on the last.
async fn publish(registry: &FakeRegistry) -> Vec<String> {
    desk(registry).publish("5").await.unwrap_or_else(|error| panic!("{error}"));
    registry.platforms("acme/ubuntu:5")
}

#[tokio::test]
async fn a_listing_is_followed_to_its_end_in_every_form_of_link() {
    let query = "?last=amd64-4&n=50";
    for link in [
        LinkForm::Relative,
        LinkForm::Absolute,
        LinkForm::UnquotedRel,
        LinkForm::NoAngleBrackets,
        LinkForm::Raw(format!("<{query}>; rel=\"next\"")),
        LinkForm::Raw(format!("</acme/ubuntu/tags/list{query}>; rel=\"next\"")),
        LinkForm::Raw(format!("<http://127.0.0.1:1/v2/acme/ubuntu/tags/list{query}>; rel=\"next\"")),
        LinkForm::Raw(format!("</x>; rel=\"first\", <{query}>; title=\"a, b\"; rel=\"prev next\"")),
    ] {
        // Raw links always lead to the second page, so that the whole fits on two.
        let size = if matches!(link, LinkForm::Raw(_)) { 7 } else { 5 };
        let form = format!("{link:?}");
        let registry = listing(FakeRegistry::builder().tag_pages(size, link)).await;
        assert_eq!(publish(&registry).await, ["linux/amd64", "linux/arm64"], "{form}");
        assert!(registry.count(Kind::Tags) > 1, "{form}");
    }
}

#[tokio::test]
async fn entries_that_are_no_tags_are_passed_over() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let junk = vec![
        json!(null),
        json!(""),
        json!(digest),
        json!("x".repeat(300)),
        json!(7),
        json!({ "name": "amd64-9" }),
        json!(["amd64-9"]),
        json!("-bad"),
        json!("a b"),
        json!("\u{1b}[2J"),
        json!("amd64-5"),
    ];
    let registry = listing(FakeRegistry::builder().tag_junk(junk)).await;
    assert_eq!(publish(&registry).await, ["linux/amd64", "linux/arm64"]);
}

#[tokio::test]
async fn a_page_of_nothing_but_junk_does_not_end_a_listing() {
    for page in [r#"{"tags":["sha256:junk",null]}"#, r#"{"tags":[]}"#, r#"{"tags":null}"#, "{}"] {
        let registry = paged(LinkForm::Relative).await;
        registry.on(When::kind(Kind::Tags).once(), Play::Body(page.into()));
        desk(&registry).publish("4").await.expect("a page is no end");
        assert_eq!(registry.platforms("acme/ubuntu:4"), ["linux/arm64"], "only what the page hid is missing");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_has_no_tags() {
    let registry = FakeRegistry::start().await;
    let repository = registry.repository("acme/nothing");
    let ran = onetag(["publish", "-r", &repository, "--tag", "xenial", "--output", "json"]).run().await.expect(6);
    assert_eq!(ran.json()["reasons"][0]["code"], "nothing-found");
}

#[tokio::test]
async fn a_page_that_got_lost_is_not_the_end_of_the_list() {
    let registry = paged(LinkForm::Relative).await;
    registry.on(When::kind(Kind::Tags).after(1), Play::error(404, "NAME_UNKNOWN", "last tag not found"));
    let error = desk(&registry).publish("5").await.expect_err("half a list is none");
    assert!(error.to_string().contains("failed (404 NAME_UNKNOWN: last tag not found)"), "{error}");
    assert_eq!(registry.digest("acme/ubuntu:5"), None);
}

#[tokio::test]
async fn a_listing_elsewhere_is_not_read() {
    let elsewhere = Elsewhere::start(r#"{"tags":["amd64-5"]}"#).await;
    for link in [
        LinkForm::OtherHost(elsewhere.url("").replace("127.0.0.1", "localhost")),
        LinkForm::Raw(format!("<{}>; rel=\"next\"", elsewhere.url("/tags?n=1").replace("127.0.0.1", "localhost"))),
        LinkForm::Raw("</v2/acme/other/tags/list?last=x>; rel=\"next\"".to_owned()),
        LinkForm::Raw("<http://169.254.169.254/v2/acme/ubuntu/tags/list?last=x>; rel=\"next\"".to_owned()),
        LinkForm::Raw("<http://[>; rel=\"next\"".to_owned()),
    ] {
        let registry = paged(link).await;
        let error = desk(&registry).publish("5").await.expect_err("the list goes on elsewhere");
        assert_eq!(error.code(), "redirect-refused");
        assert!(error.to_string().contains("a listing goes on where it began"), "{error}");
        assert_eq!(registry.digest("acme/ubuntu:5"), None);
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_listing_that_turns_in_circles_ends_where_it_began() {
    let registry = paged(LinkForm::Looping).await;
    desk(&registry).publish("4").await.expect("the first page has what there is to have");
    assert_eq!(registry.count(Kind::Tags), 1);

    let circle = "</v2/acme/ubuntu/tags/list?last=amd64-4&n=5>; rel=\"next\"";
    let registry = paged(LinkForm::Raw(circle.to_owned())).await;
    desk(&registry).publish("4").await.expect("two pages have what there is to have");
    assert_eq!(registry.count(Kind::Tags), 2);
}

#[tokio::test]
async fn a_listing_without_an_end_is_given_up() {
    let registry = paged(LinkForm::NeverEnding).await;
    let repository = registry.repository("acme/ubuntu");
    let ran = onetag(["publish", "-r", &repository, "--tag", "5", "--output", "json"]).run().await.expect(5);
    assert_eq!(ran.json()["reasons"][0]["code"], "too-large");
    assert!(ran.stderr.contains("entries on 1000 pages"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: `--arch` names the architectures"), "{}", ran.stderr);
    assert_eq!(registry.count(Kind::Tags), 1000);
}

#[tokio::test]
async fn a_page_has_a_size_that_is_read_and_a_kind() {
    let registry = paged(LinkForm::Relative).await;
    registry.on(When::kind(Kind::Tags), Play::Body(vec![b' '; (16 << 20) + 1]));
    let error = desk(&registry).publish("5").await.expect_err("nobody reads that");
    assert_eq!(error.code(), "too-large");

    for page in [&b"[]"[..], b"", b"null", b"{\"tags\":\"amd64-5\"}", b"<html>"] {
        let registry = paged(LinkForm::Relative).await;
        registry.on(When::kind(Kind::Tags), Play::Body(page.to_vec()));
        let error = desk(&registry).publish("5").await.expect_err("that is no list");
        assert_eq!(error.code(), "not-a-registry", "{}", String::from_utf8_lossy(page));
    }
}

#[tokio::test]
async fn a_listing_is_asked_for_as_every_registry_likes_it() {
    let registry = paged(LinkForm::Relative).await;
    publish(&registry).await;
    let first = registry.requests_of(Kind::Tags).remove(0);
    assert_eq!((first.query.as_str(), first.header("accept").as_deref()), ("", Some("application/json")));
}
