//! Which image of an index a client gets.
//!
//! Clients disagree: some bring platforms to a normal form, some compare letters; some fall back to
//! a lesser platform, some do not. The rules here are the clients' own, so that their answers can
//! be told before anybody pulls.

use crate::model::{Digest, Served, Stated};

/// A client, or rather a way to choose that several share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// containerd, BuildKit, and Docker with containerd's image store.
    Containerd,
    /// podman, skopeo, CRI-O.
    Podman,
    /// Docker before 20.10.
    Docker,
    /// crane, ko, kaniko.
    Crane,
}

/// What a client gets, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The place of the entry in the index; none where the client finds nothing.
    pub place: Option<usize>,
    /// Its digest.
    pub digest: Option<Digest>,
    /// What it runs on, as far as the index or its config says.
    pub platform: Option<Stated>,
    /// Why this one, in words.
    pub why: String,
}

impl Client {
    /// The client as options name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Client::Containerd => "containerd",
            Client::Podman => "podman",
            Client::Docker => "docker",
            Client::Crane => "crane",
        }
    }
}

/// Says which entry of `served` a client takes on `host`.
pub fn select(client: Client, host: &Stated, served: &Served) -> Choice {
    let offers: Vec<Offer<'_>> = served.children.iter().enumerate().map(Offer::of).collect();
    let found = match client {
        Client::Containerd => containerd(host, &offers),
        Client::Podman => podman(host, &offers),
        Client::Docker => docker(host, &offers),
        Client::Crane => crane(host, &offers),
    };
    match found {
        Ok((place, why)) => {
            let child = &served.children[place];
            Choice {
                place: Some(place),
                digest: Some(child.descriptor.digest.clone()),
                platform: child.stated.clone().or_else(|| child.claimed()),
                why,
            }
        }
        Err(why) => Choice { place: None, digest: None, platform: None, why },
    }
}

/// An entry as clients see it.
struct Offer<'a> {
    place: usize,
    stated: Option<&'a Stated>,
    /// What the config claims; only containerd asks, and only where the entry states nothing.
    claimed: Option<Stated>,
    is_zstd: bool,
}

type Found = Result<(usize, String), String>;

impl<'a> Offer<'a> {
    fn of((place, child): (usize, &'a crate::model::ServedChild)) -> Offer<'a> {
        let is_zstd = child.descriptor.annotations.get("io.github.containers.compression.zstd");
        Offer {
            place,
            stated: child.stated.as_ref(),
            claimed: child.claimed(),
            is_zstd: is_zstd.is_some_and(|value| value == "true"),
        }
    }
}

/// Normal forms, fallbacks to lesser platforms, the first of equals; entries without a platform
/// come last, and their configs decide.
fn containerd(host: &Stated, offers: &[Offer<'_>]) -> Found {
    let host = normal(host);
    let wanted = compatible(&host);
    for (rank, platform) in wanted.iter().enumerate() {
        let is_it = |stated: &Stated| {
            let offered = normal(stated);
            let is_same_build = builds(&platform.os_version) == builds(&offered.os_version);
            let is_for_it = platform.os_version.is_empty() || offered.os_version.is_empty() || is_same_build;
            (&offered.os, &offered.architecture, &offered.variant)
                == (&platform.os, &platform.architecture, &platform.variant)
                && (platform.os != "windows" || is_for_it)
        };
        if let Some(offer) = offers.iter().find(|offer| offer.stated.is_some_and(is_it)) {
            let why = match rank {
                0 => "the first entry for this platform".to_owned(),
                _ => format!("there is no entry for {host}, and {platform} runs there, too"),
            };
            return Ok((offer.place, why));
        }
    }
    // It reads the config of the first entry that states nothing, and looks no further.
    let silent = offers.iter().find(|offer| offer.stated.is_none());
    match silent.map(|offer| (offer.place, offer.claimed.as_ref().map(normal))) {
        Some((place, Some(claimed))) if wanted.iter().any(|platform| is_alike(platform, &claimed)) => {
            Ok((place, "no entry states this platform; the config of one that states none does".to_owned()))
        }
        _ => Err(format!("no entry is for {host} or for anything else that runs there")),
    }
}

fn is_alike(one: &Stated, other: &Stated) -> bool {
    (&one.os, &one.architecture, &one.variant) == (&other.os, &other.architecture, &other.variant)
}

/// Letters; then down from the host's own variant, or all there are where it names none; an entry
/// without a platform as a last resort. Of equals, one in zstd comes first.
fn podman(host: &Stated, offers: &[Offer<'_>]) -> Found {
    let known: &[&str] = match host.architecture.as_str() {
        "arm" => &["v8", "v7", "v6", "v5"],
        "arm64" => &["v8"],
        _ => &[],
    };
    let own = host.variant.as_str();
    let down = known.iter().position(|variant| *variant == own).map(|first| &known[first..]);
    let variants: Vec<&str> = match down {
        _ if own.is_empty() => [""].iter().chain(known).copied().collect(),
        Some(down) => down.iter().chain(&[""]).copied().collect(),
        None => vec![own, ""],
    };
    let rank = |offer: &Offer<'_>| match offer.stated {
        None => Some(usize::MAX),
        Some(stated) => variants.iter().position(|variant| {
            (stated.os.as_str(), stated.architecture.as_str(), stated.variant.as_str())
                == (host.os.as_str(), host.architecture.as_str(), *variant)
        }),
    };
    let ranked = offers.iter().filter_map(|offer| Some((rank(offer)?, !offer.is_zstd, offer.place)));
    let Some((rank, _, place)) = ranked.min() else {
        return Err(format!("no entry says {host} in the same letters"));
    };
    let why = match (rank, variants.get(rank)) {
        (0, _) => "the first entry in the same letters".to_owned(),
        (_, Some(&"")) => format!("no entry says {host}; this one names no variant"),
        (_, Some(variant)) => format!("no entry says {host}; {variant} runs there, too"),
        (_, None) => "no entry says this platform; this one says nothing, and is the last resort".to_owned(),
    };
    Ok((place, why))
}

/// The first entry with the right system and architecture, whatever its variant.
fn docker(host: &Stated, offers: &[Offer<'_>]) -> Found {
    let is_it = |stated: &Stated| stated.os == host.os && stated.architecture == host.architecture;
    match offers.iter().find(|offer| offer.stated.is_some_and(is_it)) {
        Some(offer) => Ok((offer.place, "the first entry with this architecture, whatever its variant".to_owned())),
        None => Err(format!("no entry has the architecture {}", host.architecture)),
    }
}

/// The first entry with all that was asked for; one without a platform counts as linux/amd64.
fn crane(host: &Stated, offers: &[Offer<'_>]) -> Found {
    let is_it = |stated: &Stated| {
        let is_asked = |asked: &str, offered: &str| asked.is_empty() || asked == offered;
        stated.os == host.os
            && stated.architecture == host.architecture
            && is_asked(&host.variant, &stated.variant)
            && is_asked(&host.os_version, &stated.os_version)
    };
    let assumed = Stated { os: "linux".to_owned(), architecture: "amd64".to_owned(), ..Stated::default() };
    match offers.iter().find(|offer| is_it(offer.stated.unwrap_or(&assumed))) {
        Some(offer) if offer.stated.is_none() => {
            Ok((offer.place, "the first entry; one without a platform counts as linux/amd64".to_owned()))
        }
        Some(offer) => Ok((offer.place, "the first entry with all that was asked for".to_owned())),
        None => Err(format!("no entry is exactly {host}")),
    }
}

/// The normal form of containerd (`platforms.Normalize`). Debian's armel, which is v5, is v6 to it.
pub fn normal(stated: &Stated) -> Stated {
    let os = match stated.os.to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    };
    let (architecture, variant) = (stated.architecture.to_ascii_lowercase(), stated.variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    Stated {
        os,
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        os_version: stated.os_version.clone(),
    }
}

/// What runs on a host of this platform, the best first; `host` is in its normal form.
fn compatible(host: &Stated) -> Vec<Stated> {
    let with =
        |architecture: &str, variant: String| Stated { architecture: architecture.to_owned(), variant, ..host.clone() };
    let arm = |from: u32| (5..=from).rev().map(|level| with("arm", format!("v{level}"))).collect::<Vec<_>>();
    let level = |variant: &str| variant.trim_start_matches('v').parse::<u32>().ok();
    let mut platforms = vec![host.clone()];
    match host.architecture.as_str() {
        "amd64" => {
            let below = 1..level(&host.variant).unwrap_or(1);
            platforms.extend(below.rev().map(|level| with("amd64", format!("v{level}"))));
            platforms.push(with("386", String::new()));
        }
        "arm" => platforms.extend(level(&host.variant).map(|level| arm(level.saturating_sub(1))).into_iter().flatten()),
        "arm64" => {
            platforms.extend(arm64_below(&host.variant).into_iter().map(|variant| with("arm64", variant)));
            platforms.extend(arm(8));
        }
        _ => {}
    }
    // An image for amd64/v1 says so by saying nothing.
    platforms.iter_mut().for_each(|platform| *platform = normal(platform));
    platforms
}

/// The variants that run where `variant` does: v9.x has all of v8.(x+5).
fn arm64_below(variant: &str) -> Vec<String> {
    let (major, minor) = variant.split_once('.').unwrap_or((variant, "0"));
    let Ok(minor) = minor.parse::<u32>() else { return Vec::new() };
    let name = |major: u32, minor: u32| if minor == 0 { format!("v{major}") } else { format!("v{major}.{minor}") };
    let mut below = Vec::new();
    let highest_of_eight = match major {
        "v9" => {
            below.extend((0..minor).rev().map(|minor| name(9, minor)));
            minor.min(1_000) + 6
        }
        "v8" => minor,
        _ => return below,
    };
    below.extend((0..highest_of_eight.min(1_000)).rev().map(|minor| name(8, minor)));
    below
}

/// The first three numbers of a version of Windows.
fn builds(version: &str) -> Vec<&str> {
    version.split('.').take(3).collect()
}

#[cfg(test)]
mod tests;
