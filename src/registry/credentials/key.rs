//! The keys of login files: which of them mean the repository that a login is wanted for.

use std::collections::BTreeMap;

use serde_json::Value;

/// The name Docker Hub has in image names.
const DOCKER_HUB: &str = "docker.io";

/// The name Docker Hub has in everything that `docker login` writes.
const DOCKER_HUB_URL: &str = "https://index.docker.io/v1/";

/// The repository that a login is wanted for.
#[derive(Debug)]
pub(super) struct Wanted {
    host: String,
    path: String,
}

impl Wanted {
    pub(super) fn new(host: &str, path: &str) -> Wanted {
        Wanted { host: canonical_host(host), path: path.to_owned() }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What credential helpers know this registry by.
    pub(super) fn server_url(&self) -> &str {
        if self.host == DOCKER_HUB { DOCKER_HUB_URL } else { &self.host }
    }

    /// The same for the registry as a whole.
    pub(super) fn of_host(&self) -> Wanted {
        Wanted { host: self.host.clone(), path: String::new() }
    }

    fn is_within(&self, namespace: &str) -> bool {
        match self.path.strip_prefix(namespace) {
            Some(rest) => namespace.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// One name per registry: lowercase, and Docker Hub's many names are `docker.io`.
fn canonical_host(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    }
}

/// How well a key fits a repository; the greatest is asked first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    namespace_bytes: usize,
    spelling: Spelling,
}

/// How a key spells the host, worst to best.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spelling {
    Pattern { literal_bytes: usize },
    Alias,
    Url,
    Plain,
}

/// The entries that fit `wanted` and are not `null`, best first.
pub(super) fn best_first<'a>(
    entries: Option<&'a BTreeMap<String, Value>>,
    wanted: &Wanted,
) -> Vec<(&'a str, &'a Value)> {
    let mut fitting: Vec<_> = entries
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(key, value)| Some((fit(key, wanted)?, key.as_str(), value)))
        .collect();
    fitting.sort_by(|(one, ..), (other, ..)| other.cmp(one));
    fitting.into_iter().map(|(_, key, value)| (key, value)).collect()
}

/// Weighs one key, which may be a host, a host and the start of a path, a URL or a pattern.
fn fit(key: &str, wanted: &Wanted) -> Option<Fit> {
    if key.contains('*') {
        let literal_bytes = key.len() - key.matches('*').count();
        let spelling = Spelling::Pattern { literal_bytes };
        return matches_pattern(key, &wanted.host).then_some(Fit { namespace_bytes: 0, spelling });
    }

    let after_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let place = after_scheme.unwrap_or(key);
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let path = path.trim_end_matches('/');
    // A URL is the API's address and its path means nothing; only a key that looks like an image
    // name is about some repositories. Both docker and podman read them so.
    let is_api = after_scheme.is_some() || matches!(path, "v1" | "v2");
    let namespace = if is_api { "" } else { path };

    if canonical_host(host) != wanted.host || !wanted.is_within(namespace) {
        return None;
    }
    let spelling = if !host.eq_ignore_ascii_case(&wanted.host) {
        Spelling::Alias
    } else if is_api {
        Spelling::Url
    } else {
        Spelling::Plain
    };
    Some(Fit { namespace_bytes: namespace.len(), spelling })
}

/// Whether `host` fits a pattern such as `*.example.com`, by docker's rules.
///
/// A `*` stands for anything within one label, and the last two labels must be spelled out, so
/// that nobody's password is offered to all of `*.com`.
fn matches_pattern(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let pattern: Vec<&str> = pattern.split('.').collect();
    let host: Vec<&str> = host.split('.').collect();
    let [.., domain, top] = pattern.as_slice() else {
        return false;
    };
    let is_too_wide = domain.contains('*') || top.contains('*') || domain.is_empty();
    let has_path = pattern.iter().any(|label| label.contains('/'));
    if is_too_wide || has_path || pattern.len() != host.len() {
        return false;
    }
    pattern.iter().zip(&host).all(|(pattern, label)| matches_label(pattern, label))
}

fn matches_label(pattern: &str, label: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == label;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let within = label.strip_prefix(start).and_then(|label| label.strip_suffix(end));
    let (Some(mut within), false) = (within, label.is_empty()) else {
        return false;
    };
    for part in middle.split('*') {
        let Some((_, after)) = within.split_once(part) else {
            return false;
        };
        within = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that fit, best first.
    fn order(host: &str, path: &str, keys: &[&str]) -> Vec<String> {
        let entries = keys.iter().map(|key| ((*key).to_owned(), Value::from(1))).collect();
        let fitting = best_first(Some(&entries), &Wanted::new(host, path));
        fitting.into_iter().map(|(key, _)| key.to_owned()).collect()
    }

    #[test]
    fn the_longest_key_is_asked_first_and_only_whole_path_segments_count() {
        let keys = ["quay.io", "quay.io/org", "quay.io/org/repo", "quay.io/or", "quay.io/org/re"];
        assert_eq!(order("quay.io", "org/repo", &keys), ["quay.io/org/repo", "quay.io/org", "quay.io"]);
        assert_eq!(order("quay.io", "organ/repo", &keys), ["quay.io"]);
    }

    #[test]
    fn a_host_is_known_by_its_urls_too_and_its_plain_name_is_asked_first() {
        for key in [
            "https://reg.test",
            "http://reg.test",
            "https://reg.test/",
            "https://reg.test/v1/",
            "https://reg.test/v2/",
            "https://reg.test/v2",
            "reg.test/v1/",
            "reg.test/v2/",
            "REG.test",
        ] {
            assert_eq!(order("reg.test", "a/b", &[key]), [key]);
        }
        let keys = ["https://reg.test/v2/", "*.io.reg.test", "reg.test"];
        assert_eq!(order("reg.test", "a", &keys), ["reg.test", "https://reg.test/v2/"]);
    }

    #[test]
    fn another_host_or_port_never_fits() {
        let keys = ["reg.test:5000", "a.reg.test", "reg.test.evil", "evil/reg.test", "test", ""];
        assert!(order("reg.test", "a", &keys).is_empty());
        assert_eq!(order("reg.test:5000", "a", &keys), ["reg.test:5000"]);
        assert_eq!(order("[::1]:5000", "a", &["[::1]:5000", "[::1]"]), ["[::1]:5000"]);
        assert_eq!(order("127.0.0.1:5000", "a", &["127.0.0.1:5000"]), ["127.0.0.1:5000"]);
    }

    #[test]
    fn docker_hub_goes_by_all_its_names() {
        let keys = [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "registry-1.docker.io",
            "docker.io/library",
        ];
        for host in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let order = order(host, "library/ubuntu", &keys);
            assert_eq!(order.len(), keys.len());
            assert_eq!(order[..2], ["docker.io/library", "docker.io"]);
            assert_eq!(Wanted::new(host, "").server_url(), "https://index.docker.io/v1/");
        }
    }

    #[test]
    fn a_star_stands_for_one_label_and_the_closest_pattern_is_asked_first() {
        let keys = ["*.example.com", "*.eu.example.com", "r*.eu.example.com", "*.com", "*", "*.*"];
        assert_eq!(order("reg.example.com", "a", &keys), ["*.example.com"]);
        assert_eq!(order("reg.eu.example.com", "a", &keys), ["r*.eu.example.com", "*.eu.example.com"]);
        assert!(order("example.com", "a", &keys).is_empty());
        assert!(order("reg.example.com:5000", "a", &keys).is_empty());
        assert!(order("reg.example.com.evil", "a", &keys).is_empty());

        let ecr = ["*.dkr.ecr.*.amazonaws.com", "1*3*5.dkr.ecr.*-west-*.amazonaws.com"];
        assert_eq!(
            order("12345.dkr.ecr.eu-west-1.amazonaws.com", "a", &ecr),
            ["1*3*5.dkr.ecr.*-west-*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"]
        );
        assert_eq!(order("12445.dkr.ecr.eu-west-1.amazonaws.com", "a", &ecr), [ecr[0]]);
    }

    #[test]
    fn a_pattern_gives_way_to_the_host_spelled_out() {
        let keys = ["*.example.com", "https://reg.example.com"];
        let order = order("reg.example.com", "a", &keys);
        assert_eq!(order, ["https://reg.example.com", "*.example.com"]);
    }
}
