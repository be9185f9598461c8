//! What most stories do: publish `ubuntu:xenial`, and look at what came of it.

use serde_json::Value;

use super::cli::{Ran, onetag};
use super::registry::FakeRegistry;
use super::rootfs::starting_busybox;

/// A finished `onetag publish`, and its JSON.
#[derive(Clone, Debug)]
pub struct Told {
    /// The whole run.
    pub ran: Ran,
    /// The line about the only tag.
    pub json: Value,
}

/// Publishes `ubuntu:xenial` with these options and `--output json`.
pub async fn publish(registry: &FakeRegistry, options: &[&str]) -> Told {
    let repository = registry.repository("ubuntu");
    let fixed = ["publish", "-r", &repository, "--tag", "xenial", "--output", "json"];
    let ran = onetag(fixed.iter().chain(options).copied()).run().await;
    assert_eq!(ran.stdout.lines().count(), 1, "one line is promised\nstdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
    assert!(is_printable(&ran.stdout) && is_printable(&ran.stderr), "{}\n{}", ran.stdout, ran.stderr);
    let json = ran.json();
    Told { ran, json }
}

impl Told {
    /// The codes of the reasons of this weight (`hold` or `note`), in order.
    pub fn codes(&self, weight: &str) -> Vec<&str> {
        let reasons = self.json["reasons"].as_array().expect("reasons");
        let of_weight = reasons.iter().filter(|reason| reason["weight"] == weight);
        of_weight.map(|reason| reason["code"].as_str().expect("a code")).collect()
    }

    /// The sentences of all reasons.
    pub fn messages(&self) -> String {
        let reasons = self.json["reasons"].as_array().expect("reasons");
        reasons.iter().map(|reason| reason["message"].as_str().expect("a message")).collect::<Vec<_>>().join("\n")
    }

    /// `armhf-xenial verified linux/arm/v7` of each image.
    pub fn images(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let images = self.json["images"].as_array().expect("images");
        images.iter().map(|it| [text(&it["tag"]), text(&it["verdict"]), text(&it["platform"])].join(" ")).collect()
    }

    /// Panics unless it was published.
    #[track_caller]
    pub fn expect_pushed(self) -> Told {
        assert_eq!(
            (self.ran.code, &self.json["decision"]),
            (0, &"pushed".into()),
            "{:#}\n{}",
            self.json,
            self.ran.stderr
        );
        self
    }

    /// Panics unless it was held for this alone.
    #[track_caller]
    pub fn expect_held(self, code: &str) -> Told {
        assert_eq!(
            (self.ran.code, &self.json["decision"]),
            (6, &"held".into()),
            "{:#}\n{}",
            self.json,
            self.ran.stderr
        );
        assert_eq!(self.codes("hold"), [code], "{:#}", self.json);
        self
    }
}

impl FakeRegistry {
    /// A registry with an `ubuntu` of these architecture tags, each with an image for a platform.
    pub async fn with_ubuntu(tags: &[(&str, &str)]) -> FakeRegistry {
        let registry = FakeRegistry::start().await;
        for (tag, platform) in tags {
            registry.push_image(&format!("ubuntu:{tag}"), platform);
        }
        registry
    }

    /// A registry with what a builder on amd64 made before 2020: `amd64-xenial` is right in label and
    /// files, `armhf-xenial` has armhf's files under the builder's own label.
    pub async fn with_mislabelled_armhf() -> FakeRegistry {
        let registry = FakeRegistry::start().await;
        registry.push("ubuntu:amd64-xenial", &starting_busybox("linux/amd64", "amd64"));
        registry.push("ubuntu:armhf-xenial", &starting_busybox("linux/amd64", "armhf"));
        registry
    }

    /// A registry whose `ubuntu:xenial` was published from `amd64-xenial`, and that nobody has
    /// asked anything since.
    pub async fn with_xenial() -> FakeRegistry {
        let registry = FakeRegistry::with_ubuntu(&[("amd64-xenial", "linux/amd64")]).await;
        publish(&registry, &[]).await.expect_pushed();
        registry.forget_requests();
        registry
    }

    /// Publishes `ubuntu:xenial`, and panics unless that is held for this reason alone and nothing
    /// was written.
    pub async fn expect_refusal(&self, code: &str, options: &[&str]) -> Told {
        let before = (self.writes(), self.digest("ubuntu:xenial"));
        let told = publish(self, options).await.expect_held(code);
        assert_eq!((self.writes(), self.digest("ubuntu:xenial")), before, "{:#}", told.json);
        assert!(told.json["digest"].is_null(), "nothing is planned for a tag that is held: {:#}", told.json);
        told
    }
}

/// Whether a terminal would show this as it is: no control character but the end of a line.
pub fn is_printable(text: &str) -> bool {
    let is_odd =
        |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}'..='\u{200f}');
    !text.chars().any(is_odd)
}
