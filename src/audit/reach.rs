//! What clients make of an index: entries that nobody gets, and hosts that get less than they
//! should without a word.

use super::problems::{problem, short};
use crate::model::text::clean;
use crate::model::version::Problem;
use crate::model::{Fate, ImageState, Job, Served, ServedChild, Stated};
use crate::plan::client::{Client, normal, select};

/// Architectures that hosts have, in the letters that clients use.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
];
/// Hosts that containerd gives another architecture's image, where their own is not there.
const LENIENT_HOSTS: &[&str] = &["linux/amd64", "linux/arm64"];

/// What is worth knowing about an index that is otherwise as it should be.
pub(super) fn problems(job: &Job, served: &Served) -> Vec<(ImageState, Problem)> {
    let unreached = served.children.iter().enumerate().filter(|(place, child)| is_unreached(served, *place, child));
    let mut problems: Vec<(ImageState, Problem)> = unreached.map(|(_, child)| unreached_entry(job, child)).collect();
    problems.extend(LENIENT_HOSTS.iter().filter_map(|host| lesser_platform(job, served, host)));
    problems
}

/// Whether no client takes an entry on any host that it could be for.
fn is_unreached(served: &Served, place: usize, child: &ServedChild) -> bool {
    let Some(stated) = child.stated.as_ref().filter(|_| child.is_image() && child.fate != Fate::Lost) else {
        return false; // what states no platform, or is lost, is told as that
    };
    let host = normal(stated);
    if !ARCHITECTURES.contains(&host.architecture.as_str()) {
        return true;
    }
    // A host may be called in its normal form or in the entry's own letters, if those are a host's.
    let own = Some(stated.clone()).filter(|own| ARCHITECTURES.contains(&own.architecture.as_str()));
    let hosts = std::iter::once(host).chain(own);
    !hosts.into_iter().any(|host| {
        [Client::Containerd, Client::Podman]
            .into_iter()
            .any(|client| select(client, &host, served).place == Some(place))
    })
}

fn unreached_entry(job: &Job, child: &ServedChild) -> (ImageState, Problem) {
    let stated = child.stated.as_ref().map_or(String::new(), |stated| clean(&stated.to_string(), 60));
    let digest = short(child.descriptor.digest.as_str());
    let message = format!(
        "no client gets {digest} from `{}`: its entry says {stated}, and no host asks for that or another entry comes first",
        job.tag
    );
    let remedy = "publish it with onetag, which writes one entry for each platform in the words of clients";
    (ImageState::Unpublished, problem("unreached-entry", Some(&job.tag), message, Some(remedy.to_owned())))
}

/// A host whose own architecture is not in the index, and which gets another one unasked.
fn lesser_platform(job: &Job, served: &Served, host: &str) -> Option<(ImageState, Problem)> {
    let host: Stated = host.parse().expect("a platform");
    let gets = select(Client::Containerd, &host, served).platform?;
    let gets = normal(&gets);
    if gets.architecture == host.architecture {
        return None;
    }
    let message = format!("`{}` has nothing for {host}: containerd and Docker silently run {gets} there", job.tag);
    let remedy = format!("push an image for {host}, or make it required, so that its lack holds the tag");
    Some((ImageState::Ok, problem("lesser-platform", Some(&job.tag), message, Some(remedy))))
}
