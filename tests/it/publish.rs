//! Publishing on the real registry and on the fake one.

use crate::support::{FakeRegistry, RealRegistry, onetag};

#[tokio::test]
async fn three_architectures_become_one_tag_on_a_real_registry() {
    let registry = RealRegistry::start().await;
    registry.push_image("acme/ubuntu:amd64-xenial", "linux/amd64").await;
    registry.push_image("acme/ubuntu:armhf-xenial", "linux/arm/v7").await;
    registry.push_image("acme/ubuntu:arm64-xenial", "linux/arm64").await;
    onetag(["publish", "-r", &registry.repository("acme/ubuntu"), "--tag", "xenial"]).run().await.expect(0);
    assert_eq!(registry.platforms("acme/ubuntu:xenial").await, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
}

#[tokio::test]
async fn a_late_architecture_joins_the_tag_and_an_idle_run_writes_nothing() {
    let registry = FakeRegistry::start().await;
    let publish =
        || onetag(["publish", "-r", &registry.repository("ubuntu"), "--tag", "xenial", "--output", "json"]).run();
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    publish().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64"]);

    registry.push_image("ubuntu:arm64-xenial", "linux/arm64");
    publish().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:xenial"), ["linux/amd64", "linux/arm64"]);

    publish().await.expect(0);
    assert_eq!(registry.writes(), 2, "nothing new arrived, so the third run should push nothing");
}
