use super::*;
use crate::model::index::OCI_MANIFEST;
use crate::model::{Claim, Descriptor, Fate, ServedChild};

/// An index of these platforms, letter for letter; `-` states none, and `-=linux/arm64` has a
/// config that does.
fn index(platforms: &[&str]) -> Served {
    let children = platforms.iter().enumerate().map(|(place, text)| {
        let digest = Digest::of(place.to_string().as_bytes());
        let stated = |text: &str| -> Stated { text.parse().expect("a platform") };
        let fate = match text.split_once('=') {
            Some((_, config)) => {
                let Stated { os, architecture, .. } = stated(config);
                Fate::Image(Box::new(Claim { os: Some(os), architecture: Some(architecture), ..Claim::default() }))
            }
            None => Fate::There,
        };
        let stated = (!text.starts_with('-')).then(|| stated(text));
        ServedChild { descriptor: Descriptor::new(OCI_MANIFEST.to_owned(), digest, 2), stated, fate, attests: None }
    });
    Served { digest: Digest::of(b"index"), children: children.collect() }
}

fn place(client: Client, host: &str, platforms: &[&str]) -> Option<usize> {
    select(client, &host.parse().expect("a platform"), &index(platforms)).place
}

#[track_caller]
fn check(client: Client, table: &[(&str, &[&str], Option<usize>)]) {
    for (host, platforms, expected) in table {
        assert_eq!(place(client, host, platforms), *expected, "{} on {host} of {platforms:?}", client.as_str());
    }
}

#[test]
fn containerd_normalises_falls_back_and_takes_the_first_of_equals() {
    check(
        Client::Containerd,
        &[
            ("linux/arm64", &["linux/amd64", "linux/arm64/v8"], Some(1)),
            ("linux/arm64/v8", &["linux/arm64"], Some(0)),
            ("linux/arm64", &["linux/arm64/v8", "linux/arm64"], Some(0)),
            ("linux/arm64", &["linux/arm64", "linux/arm64/v8"], Some(0)),
            ("linux/arm64", &["linux/arm/v6", "linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/arm64", &["linux/arm/v5"], Some(0)),
            ("linux/arm64", &["linux/arm/v7", "linux/arm/v8"], Some(1)),
            ("linux/arm64", &["linux/amd64"], None),
            ("linux/arm64/v9.1", &["linux/arm64/v8.6", "linux/arm64/v9"], Some(1)),
            ("linux/arm64/v9", &["linux/arm64/v8.6", "linux/arm64/v8.5"], Some(1)),
            ("linux/arm64/v8.2", &["linux/arm64/v8.3", "linux/arm64/v8.1", "linux/arm64"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v8"], None),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm", &["linux/arm/v7"], Some(0)),
            ("linux/arm/v7", &["linux/arm"], Some(0)),
            ("linux/arm/v7", &["linux/armhf"], Some(0)),
            ("linux/arm/v6", &["linux/armel"], Some(0)),
            ("linux/arm/v5", &["linux/armel"], None),
            ("linux/amd64", &["linux/386"], Some(0)),
            ("linux/amd64", &["linux/386", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/i386"], Some(0)),
            ("linux/amd64", &["linux/x64"], None),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"], Some(1)),
            ("linux/amd64/v3", &["linux/amd64/v4", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/amd64/v3"], None),
            ("linux/386", &["linux/amd64"], None),
            ("linux/ppc64le", &["linux/ppc64el"], None),
            ("windows/amd64", &["linux/amd64"], None),
        ],
    );
}

#[test]
fn containerd_asks_the_config_of_the_first_entry_without_a_platform_and_no_other() {
    check(
        Client::Containerd,
        &[
            ("linux/arm64", &["-=linux/arm64"], Some(0)),
            ("linux/arm64", &["-=linux/arm64", "linux/arm/v5"], Some(1)),
            ("linux/arm64", &["-=linux/amd64", "-=linux/arm64"], None),
            ("linux/arm64", &["-"], None),
        ],
    );
}

#[test]
fn podman_compares_letters_and_goes_down_the_variants_only() {
    check(
        Client::Podman,
        &[
            ("linux/arm64/v8", &["linux/arm64", "linux/arm64/v8"], Some(1)),
            ("linux/arm64", &["linux/arm64/v8", "linux/arm64"], Some(1)),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm64/v8", &["linux/arm64"], Some(0)),
            ("linux/arm64/v8", &["linux/arm/v7"], None),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm", "linux/arm/v6"], Some(2)),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm", &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], Some(1)),
            ("linux/arm", &["linux/arm/v7", "linux/arm"], Some(1)),
            ("linux/amd64", &["linux/386"], None),
            ("linux/amd64", &["linux/x64"], None),
            ("linux/amd64", &["linux/amd64/v3"], None),
            ("linux/amd64/v3", &["linux/amd64"], Some(0)),
            ("linux/arm64", &["-", "linux/amd64"], Some(0)),
            ("linux/amd64", &["-", "linux/amd64"], Some(1)),
        ],
    );
}

#[test]
fn podman_prefers_zstd_among_equals() {
    let mut served = index(&["linux/amd64", "linux/amd64"]);
    let zstd = ("io.github.containers.compression.zstd".to_owned(), "true".to_owned());
    served.children[1].descriptor.annotations.extend([zstd]);
    let host = "linux/amd64".parse().expect("a platform");
    assert_eq!(select(Client::Podman, &host, &served).place, Some(1));
    assert_eq!(select(Client::Containerd, &host, &served).place, Some(0));
}

#[test]
fn crane_takes_the_first_with_all_that_was_asked_for() {
    check(
        Client::Crane,
        &[
            ("linux/arm", &["linux/arm/v5", "linux/arm/v7"], Some(0)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v7"], Some(1)),
            ("linux/arm/v7", &["linux/arm"], None),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm64/v8", &["linux/arm64"], None),
            ("linux/amd64", &["linux/386", "-"], Some(1)),
            ("linux/arm64", &["-=linux/arm64"], None),
        ],
    );
}

#[test]
fn an_old_docker_takes_the_first_of_the_architecture() {
    check(
        Client::Docker,
        &[
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v6"], Some(0)),
            ("linux/amd64", &["windows/amd64", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/386"], None),
            ("linux/amd64", &["-"], None),
        ],
    );
}

#[test]
fn a_choice_says_why() {
    let say = |client, host: &str, platforms: &[&str]| {
        select(client, &host.parse().expect("a platform"), &index(platforms)).why
    };
    assert_eq!(
        say(Client::Containerd, "linux/amd64", &["linux/386"]),
        "there is no entry for linux/amd64, and linux/386 runs there, too"
    );
    assert_eq!(say(Client::Podman, "linux/amd64", &["linux/386"]), "no entry says linux/amd64 in the same letters");
    assert_eq!(
        say(Client::Podman, "linux/arm/v7", &["linux/arm/v6"]),
        "no entry says linux/arm/v7; v6 runs there, too"
    );
}
