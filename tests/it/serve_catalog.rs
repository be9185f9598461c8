//! Rules with wildcards, and registries that list their repositories, or do not.

use crate::support::{
    Bearer, Elsewhere, FakeRegistry, Kind, LinkForm, Play, RealRegistry, Service, TagList, User, When, eventually,
};

fn rule(host: &str, name: &str) -> String {
    format!("[[repository]]\nregistry = \"{host}\"\nname = \"{name}\"\nquiet = \"50ms\"\npoll = \"1s\"\n")
}

fn login(host: &str) -> String {
    format!("[[registry]]\nhost = \"{host}\"\nusername = \"user\"\npassword = {{ env = \"HOOK_SECRET\" }}\n")
}

fn pages(page_size: usize, link: LinkForm) -> TagList {
    TagList { page_size: Some(page_size), link, ..TagList::default() }
}

async fn scans_pass(registry: &FakeRegistry, repository: &str) {
    let scans =
        || registry.requests_of(Kind::Tags).iter().filter(|it| it.repository.as_deref() == Some(repository)).count();
    let before = scans();
    eventually("it was scanned again", async || (scans() >= before + 3).then_some(())).await;
}

#[tokio::test]
async fn repositories_that_a_wildcard_means_are_found_without_a_delivery_and_no_others() {
    let user = User::new("user", crate::support::service::HOOK_SECRET);
    let bearer = Bearer { users: vec![user], ..Bearer::default() };
    let registry = FakeRegistry::builder().bearer(bearer).catalog(pages(2, LinkForm::Relative)).start().await;
    for name in ["acme/debian", "acme/ubuntu", "acme/deep/down", "other/ubuntu", "zoo/acme"] {
        registry.push_image(&format!("{name}:amd64-1"), "linux/amd64");
    }
    let sections = rule(&registry.host(), "acme/*") + &login(&registry.host());
    let service = Service::start(&registry.host(), &sections).await;
    for name in ["acme/debian:1", "acme/ubuntu:1"] {
        eventually(name, async || registry.digest(name)).await;
    }
    registry.push_image("acme/new:amd64-2", "linux/amd64");
    eventually("a new one is found, too", async || registry.digest("acme/new:2")).await;
    let asked = registry.requests();
    let of_others = |name: &str| ["acme/deep/down", "other/ubuntu", "zoo/acme"].contains(&name);
    assert!(!asked.iter().any(|request| request.repository.as_deref().is_some_and(of_others)));
    let scopes: Vec<_> = asked.iter().filter(|it| it.kind == Kind::Token).flat_map(|it| it.parameters()).collect();
    assert!(scopes.contains(&("scope".into(), "registry:catalog:*".into())), "{scopes:?}");
    let listed = format!("onetag_catalog_listed{{registry=\"{}\"}}", registry.host());
    assert_eq!(service.metric(&listed).await, 1.0);
}

#[tokio::test]
async fn a_registry_that_lists_nothing_is_asked_once_and_followed_by_what_deliveries_name() {
    let refusals = [
        Play::error(401, "UNAUTHORIZED", "authentication required"),
        Play::error(403, "DENIED", "requested access to the resource is denied"),
        Play::error(404, "NOT_FOUND", "page not found"),
        Play::error(405, "UNSUPPORTED", "The operation is unsupported."),
        Play::error(501, "UNSUPPORTED", "The operation is unsupported."),
        Play::Body(b"<html>".to_vec()),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        let what = format!("refusal {number}");
        let user = User::new("user", crate::support::service::HOOK_SECRET);
        let registry = FakeRegistry::builder().basic_users(vec![user]).catalog(TagList::default()).start().await;
        registry.on(When::kind(Kind::Catalog), refusal);
        registry.push_image("acme/hidden:amd64-1", "linux/amd64");
        let sections = rule(&registry.host(), "acme/*") + &login(&registry.host());
        let service = Service::start(&registry.host(), &sections).await;
        let told = "what deliveries name, and no more";
        eventually(&what, async || service.log().contains(told).then_some(())).await;
        let asked = registry.count(Kind::Catalog);

        let amd64 = registry.push_image("acme/debian:amd64-1", "linux/amd64");
        service.tell("acme/debian", "amd64-1", &amd64).await;
        eventually("the login still counts", async || registry.digest("acme/debian:1")).await;
        scans_pass(&registry, "acme/debian").await;
        assert_eq!((registry.count(Kind::Catalog), service.log().matches(told).count()), (asked, 1), "{what}");
        assert!(asked <= 3, "{what}: a login and its proof, and nothing again: {asked}");
        let listed = format!("onetag_catalog_listed{{registry=\"{}\"}} 0", registry.host());
        assert!(service.get("/metrics").await.contains(&listed), "{what}");
        assert_eq!(registry.digest("acme/hidden:1"), None);

        registry.behave();
        service.reload().await;
        eventually("it is asked anew after a reload", async || registry.digest("acme/hidden:1")).await;
    }
}

#[tokio::test]
async fn a_list_of_repositories_stays_where_it_began_and_has_an_end() {
    let elsewhere = Elsewhere::start(r#"{"repositories":["acme/evil"]}"#).await;
    let other = elsewhere.url("").replace("127.0.0.1", "localhost");
    let raw = |target: &str| LinkForm::Raw(format!("<{target}>; rel=\"next\""));
    let endings = [
        (LinkForm::OtherHost(other), "a listing goes on where it began", 1),
        (raw("/v2/acme/debian/tags/list?last=x"), "a listing goes on where it began", 1),
        (LinkForm::NeverEnding, "still goes on after", 1000),
    ];
    for (link, told, requests) in endings {
        let registry = FakeRegistry::builder().catalog(pages(1, link)).start().await;
        registry.push_image("acme/debian:amd64-1", "linux/amd64");
        registry.push_image("acme/ubuntu:amd64-1", "linux/amd64");
        let service = Service::start(&registry.host(), &rule(&registry.host(), "acme/*")).await;
        eventually(told, async || service.log().contains(told).then_some(())).await;
        assert_eq!(registry.count(Kind::Catalog), requests, "{told}");
        assert_eq!(registry.count(Kind::Tags), 0, "half a list is none");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn rules_that_name_their_repositories_ask_for_no_list() {
    let registry = FakeRegistry::builder().catalog(TagList::default()).start().await;
    registry.push_image("acme/debian:amd64-1", "linux/amd64");
    let _service = Service::start(&registry.host(), &rule(&registry.host(), "acme/debian")).await;
    eventually("it is published", async || registry.digest("acme/debian:1")).await;
    scans_pass(&registry, "acme/debian").await;
    assert_eq!(registry.count(Kind::Catalog), 0);
}

#[tokio::test]
async fn a_real_registry_lists_its_repositories_page_by_page() {
    // One page holds 100 names there, unless another number is asked for.
    let registry = RealRegistry::start().await;
    for number in 0..103 {
        registry.push_image(&format!("acme/r{number:03}:amd64-1"), "linux/amd64").await;
    }
    let service = Service::start(&registry.host(), &rule(&registry.host(), "acme/r10*")).await;
    for name in ["acme/r100:1", "acme/r101:1", "acme/r102:1"] {
        eventually(name, async || registry.digest(name).await).await;
    }
    service.idle().await;
    assert_eq!(registry.digest("acme/r099:1").await, None, "no rule is about it");
}
