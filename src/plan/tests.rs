//! What is decided, told as stories: architecture tags in, decision and sentences out.

mod files;
mod images;
mod order;
mod published;
mod together;

use std::collections::BTreeMap;

use super::*;
use crate::model::evidence::Role;
use crate::model::image::{Child, Content, Effort};
use crate::model::index::{DOCKER_MANIFEST, OCI_MANIFEST};
use crate::model::{
    ArchChoice, Claim, Descriptor, Dialect, Digest, Evidence, Found, Image, Machine, Observation, Pattern, Unfit,
    Witness, Words,
};

/// An image under `tag` whose config says `platform`; no other tag holds the same.
fn image(tag: &str, platform: &str) -> Observation {
    image_like(tag, platform, tag)
}

/// The same, but tags with one `content` hold one image.
fn image_like(tag: &str, platform: &str, content: &str) -> Observation {
    let mut parts = platform.split('/').map(|part| Some(part.to_owned()));
    let claim = Claim {
        os: parts.next().flatten(),
        architecture: parts.next().flatten(),
        variant: parts.next().flatten(),
        ..Claim::default()
    };
    let manifest = Descriptor::new(OCI_MANIFEST.to_owned(), Digest::of(content.as_bytes()), 500);
    let image = Image {
        manifest,
        claim,
        attestations: Vec::new(),
        has_foreign_layers: false,
        evidence: None,
        effort: Effort::default(),
        original: None,
    };
    found(tag, Found::Image(Box::new(image)))
}

fn missing(tag: &str) -> Observation {
    Observation { digest: None, ..found(tag, Found::Missing) }
}

fn unfit(tag: &str, unfit: Unfit) -> Observation {
    found(tag, Found::Unfit(unfit))
}

fn found(tag: &str, found: Found) -> Observation {
    let words = Words::of(Dialect::Debian);
    let arch_tag = Pattern::default().read(&tag.parse().expect("a tag"), &words).expect("an architecture tag");
    let digest = match &found {
        Found::Image(image) => image.manifest.digest.clone(),
        _ => Digest::of(tag.as_bytes()),
    };
    Observation { arch_tag, digest: Some(digest), found }
}

/// The same observation with its image changed.
fn with(mut observation: Observation, change: impl FnOnce(&mut Image)) -> Observation {
    match &mut observation.found {
        Found::Image(image) => change(image),
        _ => panic!("only an image can be changed"),
    }
    observation
}

fn docker(observation: Observation) -> Observation {
    with(observation, |image| image.manifest.media_type = DOCKER_MANIFEST.to_owned())
}

fn labelled(observation: Observation, label: &str, value: &str) -> Observation {
    with(observation, |image| drop(image.claim.labels.insert(label.to_owned(), value.to_owned())))
}

/// The same observation, its image with an attestation beside it, as BuildKit pushes them.
fn attested(mut observation: Observation) -> Observation {
    observation = with(observation, |image| {
        let content = format!("about {}", image.manifest.digest);
        let mut attestation = Descriptor::new(OCI_MANIFEST.to_owned(), Digest::of(content.as_bytes()), 800);
        attestation.platform = Some(Platform::new("unknown", "unknown", None));
        image.attestations.push(attestation);
    });
    observation.digest = Some(Digest::of(format!("index at {}", observation.arch_tag.tag).as_bytes()));
    observation
}

/// The same observation, whose image starts a program for this platform, as its file says.
fn starting(observation: Observation, platform: &str) -> Observation {
    let platform: Platform = platform.parse().expect("a platform");
    let machine = Machine {
        os: platform.os().to_owned(),
        architecture: Some(platform.architecture().to_owned()),
        level: None,
        hard_float: (platform.architecture() == "arm").then(|| platform.variant() != Some("v5")),
        shown: format!("ELF {}", platform.architecture()),
    };
    let witness = Witness { path: "/bin/sh".to_owned(), role: Role::EntryPoint, machine };
    with(observation, |image| image.evidence = Some(Evidence { witnesses: vec![witness], ..Evidence::default() }))
}

/// The digest of what `image(tag, ..)` holds.
fn digest(tag: &str) -> Digest {
    Digest::of(tag.as_bytes())
}

fn arch(word: &str) -> ArchChoice {
    Words::of(Dialect::Debian).choose(word).expect("an architecture")
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

/// `xenial`, and further tags for the same index.
fn job(also: &[&str]) -> Job {
    Job {
        repository: "registry.example.com/acme/ubuntu".parse().expect("a repository"),
        tag: tag("xenial"),
        also: also.iter().map(|text| tag(text)).collect(),
    }
}

/// What is decided about `xenial`, of which nothing is published.
fn decide(observed: &[Observation], policy: &Policy) -> Plan {
    plan(&job(&[]), &Seen { observed: observed.to_vec(), ..Seen::default() }, policy)
}

/// What is decided about `xenial`, which serves `published` now.
fn decide_over(published: Published, observed: &[Observation], policy: &Policy) -> Plan {
    let published = BTreeMap::from([(tag("xenial"), published)]);
    plan(&job(&[]), &Seen { observed: observed.to_vec(), published, ..Seen::default() }, policy)
}

/// An index somewhere of these platforms, each with an image of its own.
fn index_of(platforms: &[&str]) -> Published {
    let child = |platform: &&str| Child {
        digest: digest(platform),
        platform: Some(platform.parse().expect("a platform")),
        is_image: true,
    };
    Published { digest: digest("an index"), content: Content::Index(platforms.iter().map(child).collect()) }
}

/// What is served after a plan was carried out.
fn served(plan: &Plan) -> Published {
    let index = match &plan.decision {
        Decision::Push(push) => &push.index,
        Decision::Keep(index) => index,
        Decision::Hold => panic!("nothing is served: {}", told(plan)),
    };
    let children = index.children().iter().map(|(digest, platform)| Child {
        digest: digest.clone(),
        platform: Some(platform.clone()),
        is_image: true,
    });
    Published { digest: index.digest().clone(), content: Content::Index(children.collect()) }
}

/// The decision and every reason, one a line.
fn told(plan: &Plan) -> String {
    let platforms = |index: &Index| {
        let names: Vec<String> = index.children().iter().map(|(_, platform)| platform.to_string()).collect();
        names.join(" ")
    };
    let mut text = match &plan.decision {
        Decision::Push(push) => {
            let tags: Vec<&str> = push.tags.iter().map(Tag::as_str).collect();
            format!("push {}: {}\n", tags.join(" "), platforms(&push.index))
        }
        Decision::Keep(index) => format!("keep: {}\n", platforms(index)),
        Decision::Hold => "hold\n".to_owned(),
    };
    for Reason { code, tag, message, remedy, weight } in &plan.reasons {
        let weight = if *weight == Weight::Hold { "no" } else { "note" };
        let about = tag.as_ref().map(|tag| format!("{tag}: ")).unwrap_or_default();
        text.push_str(&format!("{weight}, {code}: {about}{message}\n"));
        text.extend(remedy.iter().map(|remedy| format!("  hint: {remedy}\n")));
    }
    text
}

/// `armhf-xenial mismatch linux/amd64` of each image.
fn verdicts(plan: &Plan) -> Vec<String> {
    let platform = |image: &Weighed| image.platform.as_ref().map_or("-".to_owned(), Platform::to_string);
    plan.images.iter().map(|image| format!("{} {} {}", image.tag, image.verdict.as_str(), platform(image))).collect()
}

/// The codes of the reasons that hold.
fn holds(plan: &Plan) -> Vec<&'static str> {
    plan.reasons.iter().filter(|reason| reason.forbids()).map(|reason| reason.code.as_str()).collect()
}

/// The index that would be written.
fn pushed(plan: &Plan) -> &Index {
    match &plan.decision {
        Decision::Push(push) => &push.index,
        _ => panic!("nothing would be pushed: {}", told(plan)),
    }
}
