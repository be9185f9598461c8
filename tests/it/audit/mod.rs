//! Stories of `onetag audit`: what is found, how it is told, and what it costs.

mod cache;
mod clients;
mod failures;
mod files;
mod real;
mod states;
mod told;

use serde_json::Value;

use crate::support::{FakeRegistry, Ran, onetag};

/// Audits `ubuntu` and returns the document, after a look at the exit code.
async fn audit(registry: &FakeRegistry, options: &[&str], exit: i32) -> Value {
    let document = run(&registry.repository("ubuntu"), options).await.expect(exit).json();
    assert_eq!(registry.writes(), 0, "an audit never writes");
    document
}

async fn run(repository: &str, options: &[&str]) -> Ran {
    onetag(["audit", "-r", repository, "--output", "json"]).args(options).run().await
}

/// `xenial stale: amd64=ok armhf=stale`, one line for each version.
fn states(document: &Value) -> Vec<String> {
    let version = |version: &Value| {
        let image = |image: &Value| {
            let name = image["arch"].as_str().or(image["tag"].as_str()).unwrap_or("?");
            format!(" {name}={}", text(&image["state"]))
        };
        let images: String = version["images"].as_array().expect("images").iter().map(image).collect();
        format!("{} {}:{images}", text(&version["tag"]), text(&version["state"]))
    };
    document["versions"].as_array().expect("versions").iter().map(version).collect()
}

/// The codes of a version's problems, in their order.
fn codes(document: &Value, tag: &str) -> Vec<String> {
    problems(document, tag).iter().map(|problem| text(&problem["code"])).collect()
}

fn problems(document: &Value, tag: &str) -> Vec<Value> {
    let versions = document["versions"].as_array().expect("versions");
    let version = versions.iter().find(|version| version["tag"] == tag).expect("the version is there");
    version["problems"].as_array().expect("problems").clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

/// Pushes three architectures of each version, and publishes them.
async fn publish_all(registry: &FakeRegistry, versions: &[&str]) {
    for version in versions {
        for (word, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("armhf", "linux/arm/v7")] {
            registry.push_image(&format!("ubuntu:{word}-{version}"), platform);
        }
        publish(registry, version).await;
    }
    registry.forget_requests();
}

async fn publish(registry: &FakeRegistry, version: &str) {
    let repository = registry.repository("ubuntu");
    onetag(["publish", "-r", &repository, "--tag", version]).run().await.expect(0);
    registry.forget_requests();
}
