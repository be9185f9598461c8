//! How many requests a publish costs, and how many of them wait for one another.

use std::time::Duration;

use crate::support::{Bearer, Desk, FakeRegistry, Kind, onetag};

const ARCHES: [(&str, &str); 4] =
    [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7"), ("s390x", "linux/s390x")];
const N: usize = ARCHES.len();

async fn registry(bearer: Option<Bearer>) -> FakeRegistry {
    let builder = FakeRegistry::builder();
    let builder = bearer.into_iter().fold(builder, |builder, bearer| builder.bearer(bearer));
    let registry = builder.start().await;
    for (word, platform) in ARCHES {
        registry.push_image(&format!("acme/ubuntu:{word}-xenial"), platform);
    }
    // Whatever can overlap does.
    registry.set_delay(Duration::from_millis(200));
    registry
}

fn words() -> Vec<&'static str> {
    ARCHES.iter().map(|(word, _)| *word).collect()
}

fn desk(registry: &FakeRegistry) -> Desk {
    let mut desk = Desk::at(&registry.repository("acme/ubuntu"));
    desk.settings.deadline = Duration::from_secs(10);
    desk
}

/// How often each kind of request was sent: manifests, configs, writes, read back.
fn counts(registry: &FakeRegistry) -> [usize; 4] {
    [Kind::GetManifest, Kind::Blob, Kind::PutManifest, Kind::HeadManifest].map(|kind| registry.count(kind))
}

#[tokio::test]
async fn a_first_publish_takes_four_rounds() {
    let registry = registry(None).await;
    let desk = desk(&registry).arch(&words()).open();
    desk.publish("xenial").await.expect("it publishes");
    assert_eq!(registry.platforms("acme/ubuntu:xenial").len(), N);
    assert_eq!(counts(&registry), [N + 1, N, 1, N + 1]);
    assert_eq!(registry.requests().len(), (2 * N + 2) + (N + 1));
    assert_eq!(registry.rounds(), 4);
    assert_eq!(desk.registry().requests() as usize, registry.requests().len());
}

#[tokio::test]
async fn a_listing_costs_one_request_and_one_round() {
    let registry = registry(None).await;
    desk(&registry).publish("xenial").await.expect("it publishes");
    assert_eq!(counts(&registry), [N + 1, N, 1, N + 1]);
    assert_eq!((registry.count(Kind::Tags), registry.rounds()), (1, 5));
}

#[tokio::test]
async fn a_token_costs_two_rounds() {
    let registry = registry(Some(Bearer::default())).await;
    let desk = desk(&registry).arch(&words()).login("user", "secret");
    desk.publish("xenial").await.expect("it publishes");
    // The challenge and the token; then everything as without.
    assert_eq!(counts(&registry), [N + 2, N, 1, N + 1]);
    assert_eq!((registry.count(Kind::Token), registry.rounds()), (1, 6));
}

#[tokio::test]
async fn a_stranger_pays_no_rounds_more_than_a_friend() {
    let registry = registry(Some(Bearer { has_anonymous_pull: true, ..Bearer::default() })).await;
    let repository = registry.repository("acme/ubuntu");
    let arch = words().join(",");
    onetag(["publish", "-r", &repository, "--tag", "xenial", "--arch", &arch, "--dry-run"]).run().await.expect(0);
    assert_eq!((registry.count(Kind::Token), registry.rounds()), (1, 4));
}

#[tokio::test]
async fn nothing_new_costs_no_write_and_two_rounds() {
    let registry = registry(None).await;
    desk(&registry).arch(&words()).publish("xenial").await.expect("it publishes");
    registry.forget_requests();
    desk(&registry).arch(&words()).publish("xenial").await.expect("it has nothing to do");
    assert_eq!(counts(&registry), [N + 1, N, 0, 0]);
    assert_eq!(registry.rounds(), 2);
}

#[tokio::test]
async fn what_was_seen_before_costs_one_round_of_heads() {
    let registry = registry(None).await;
    let desk = desk(&registry).arch(&words()).open();
    desk.publish("xenial").await.expect("it publishes");
    desk.publish("xenial").await.expect("it learns what it published");
    registry.forget_requests();
    desk.publish("xenial").await.expect("it has nothing to do");
    assert_eq!((counts(&registry), registry.rounds()), ([0, 0, 0, N + 1], 1));
}

#[tokio::test]
async fn waiting_reads_no_image_twice() {
    let registry = registry(None).await;
    registry.delete("acme/ubuntu:s390x-xenial");
    registry.set_delay(Duration::ZERO);
    let mut desk = desk(&registry).arch(&words());
    desk.policy.required = desk.scope.only.clone().expect("some words");
    desk.options.wait = Some(Duration::from_secs(30));
    let desk = desk.open();
    let late = async {
        while registry.count(Kind::HeadManifest) < 3 * N {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        registry.push_image("acme/ubuntu:s390x-xenial", "linux/s390x");
    };
    let (result, ()) = tokio::join!(desk.publish("xenial"), late);
    result.expect("it publishes");
    assert_eq!(registry.platforms("acme/ubuntu:xenial").len(), N);
    assert_eq!(registry.count(Kind::Blob), N);
    let again = |word: &str| {
        let gets = registry.requests_of(Kind::GetManifest).into_iter();
        gets.filter(|get| get.path.ends_with(&format!("{word}-xenial"))).count()
    };
    assert_eq!((again("amd64"), again("arm64"), again("armhf")), (1, 1, 1));
}
