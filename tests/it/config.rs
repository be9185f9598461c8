//! `onetag publish --config`: what the service is told, for one tag by hand.

use crate::support::{Cli, FakeRegistry, onetag};

/// A run of `onetag publish --config` with a file of one rule that has `lines`.
fn publish(registry: &FakeRegistry, lines: &str, arguments: &[&str]) -> Cli {
    let host = registry.host();
    let file = format!("[[repository]]\nregistry = \"{host}\"\nname = \"*\"\n{lines}\n[[hook]]\nname = \"h\"\n");
    let run = onetag(["publish", "-r", &registry.repository("ubuntu")]).home_file("onetag.toml", file);
    let path = run.home_path("onetag.toml");
    arguments.iter().fold(run.arg("--config").arg(path), |run, argument| run.arg(*argument))
}

#[tokio::test]
async fn the_rule_counts_where_no_option_does() {
    let registry = FakeRegistry::with_ubuntu(&[("xenial_armhf", "linux/arm/v6")]).await;
    let lines = r#"
        pattern = "{version}_{arch}"
        names = "alpine"
        require = ["x86_64", "armhf"]
        also = { xenial = ["16.04"] }
        annotations = { "org.opencontainers.image.vendor" = "Acme" }
    "#;
    let held = publish(&registry, lines, &["-t", "xenial"]).run().await.expect(6);
    assert!(held.stdout.contains("xenial_x86_64"), "{}", held.stdout);

    registry.push_image("ubuntu:xenial_x86_64", "linux/amd64");
    publish(&registry, lines, &["-t", "xenial"]).run().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:16.04"), ["linux/amd64", "linux/arm/v6"]);
    assert_eq!(registry.json("ubuntu:xenial")["annotations"]["org.opencontainers.image.vendor"], "Acme");
}

#[tokio::test]
async fn an_option_wins_over_the_rule() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64"), ("xenial_amd64", "linux/arm64")]).await;
    let lines = r#"
        pattern = "{version}_{arch}"
        require = ["armhf"]
        index_type = "docker"
        also = { xenial = ["16.04"] }
    "#;
    let options = ["--pattern", "{arch}-{version}", "--require", "amd64", "--index-type", "oci", "--also", "lts"];
    publish(&registry, lines, &options).arg("-t").arg("xenial").run().await.expect(0);
    assert_eq!(registry.platforms("ubuntu:lts"), ["linux/amd64"]);
    assert_eq!(registry.json("ubuntu:xenial")["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(registry.digest("ubuntu:16.04"), None);
}

#[tokio::test]
async fn the_registrys_section_is_how_it_is_talked_to() {
    let registry = FakeRegistry::builder().basic("robot", "secret").start().await;
    registry.push_image("ubuntu:amd64-xenial", "linux/amd64");
    let section = format!(
        "[[registry]]\nhost = \"{}\"\nusername = \"robot\"\npassword = {{ file = \"password\" }}\n",
        registry.host()
    );
    let run = publish(&registry, &section, &["-t", "xenial"]).home_file("password", "secret\n");
    let ran = run.run().await.expect(0);
    assert!(ran.stderr.contains("`password` can be read by everybody"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_run_with_exit_3() {
    let registry = FakeRegistry::with_ubuntu(&[]).await;
    let ran = publish(&registry, "quit = \"1s\"", &["-t", "xenial"]).run().await.expect(3);
    assert!(ran.stderr.contains("onetag.toml:4:1: unknown key `quit` (did you mean `quiet`?)"), "{}", ran.stderr);
    let missing = onetag(["publish", "-r", "localhost/a", "-t", "b", "--config", "/nowhere.toml"]).run();
    let ran = missing.await.expect(3);
    assert_eq!(ran.stderr, "error: /nowhere.toml: No such file or directory (os error 2)\n");
    assert_eq!(registry.requests().len(), 0, "nothing is asked before the file is understood");
}

#[tokio::test]
async fn tags_of_different_rules_are_published_one_by_one() {
    let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64")]).await;
    let lines = format!(
        "versions = [\"xenial\"]\n[[repository]]\nregistry = \"{}\"\nname = \"*\"\nversions = [\"bionic\"]\n",
        registry.host()
    );
    let ran = publish(&registry, &lines, &["-t", "xenial", "-t", "bionic"]).run().await.expect(2);
    assert!(ran.stderr.contains("`xenial` and `bionic` have different rules"), "{}", ran.stderr);
    let ran = publish(&registry, &lines, &["-t", "focal"]).run().await;
    assert!(ran.stderr.contains("no [[repository]] of the configuration serves"), "{}", ran.stderr);
}
