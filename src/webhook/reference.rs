//! References and URLs in payloads, taken apart for the names in them and never followed.

/// The host of a URL or of a reference, up to its first `/`, without scheme and login.
pub(super) fn host(text: &str) -> Option<String> {
    let (host, _) = split_host(text);
    let host = host.rsplit('@').next().unwrap_or(host);
    (!host.is_empty()).then(|| host.to_owned())
}

/// `host/path:tag@digest` in parts; what is missing is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// The path of the repository, without the host.
    pub(super) path: &'a str,
    /// After the last `:`.
    pub(super) tag: Option<&'a str>,
    /// After the `@`.
    pub(super) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Takes a reference apart; whether its parts are any good is for others to say.
    pub(super) fn read(text: &'a str) -> Reference<'a> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (_, path) = split_host(name);
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (path, None),
        };
        Reference { path, tag: tag.filter(|tag| !tag.is_empty()), digest }
    }
}

fn split_host(text: &str) -> (&str, &str) {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    text.split_once('/').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_ends_at_the_first_slash_and_has_no_scheme_and_no_login() {
        for (text, name) in [
            ("registry.example.com/acme/ubuntu:armhf-xenial", Some("registry.example.com")),
            ("https://registry.example.com:8443/acme", Some("registry.example.com:8443")),
            ("https://registry.example.com", Some("registry.example.com")),
            ("https://robot:secret@registry.example.com/a", Some("registry.example.com")),
            ("/acme/ubuntu:armhf-xenial", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(host(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn a_reference_comes_apart_at_its_last_colon() {
        let parts = |text| {
            let Reference { path, tag, digest } = Reference::read(text);
            (path, tag, digest)
        };
        assert_eq!(parts("ghcr.io/acme/ubuntu:armhf-xenial"), ("acme/ubuntu", Some("armhf-xenial"), None));
        assert_eq!(parts("ghcr.io/acme/ubuntu:"), ("acme/ubuntu", None, None));
        assert_eq!(parts("localhost:5000/acme/ubuntu"), ("acme/ubuntu", None, None));
        assert_eq!(parts("gcr.io/a/b@sha256:00"), ("a/b", None, Some("sha256:00")));
        assert_eq!(parts("gcr.io/a/b:c@sha256:00"), ("a/b", Some("c"), Some("sha256:00")));
        assert_eq!(parts("xenial"), ("", None, None));
        assert_eq!(parts(""), ("", None, None));
    }
}
