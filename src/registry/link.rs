//! `Link`: where the next page of a tag listing is (RFC 8288), as registries really write it.

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// Where a listing goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This was the last page.
    End,
    /// With this query, on the same listing.
    Query(String),
    /// Somewhere that is not this listing; shown without its query.
    Elsewhere(String),
}

/// Reads where the page after `page` is.
///
/// Only the query is taken: some registries leave out the path under which they are reached, and
/// some know themselves by another scheme or port. Another host is never meant well.
pub(super) fn next(headers: &HeaderMap, page: &Url) -> Next {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = links.flat_map(split).find_map(|link| target_of_next(&link)) else {
        return Next::End;
    };
    let Ok(url) = page.join(&target) else {
        return Next::Elsewhere("what is not a URL".to_owned());
    };
    let listing = page.path().strip_prefix("/v2").unwrap_or(page.path());
    if url.host_str() != page.host_str() || !url.path().ends_with(listing) {
        return Next::Elsewhere(super::error::shown(&url));
    }
    match url.query() {
        Some(query) if !query.is_empty() => Next::Query(query.to_owned()),
        _ => Next::End,
    }
}

/// The links of one header line; a comma inside `<…>` or quotes divides nothing.
fn split(line: &str) -> Vec<String> {
    let (mut links, mut link) = (Vec::new(), String::new());
    let (mut in_target, mut in_quotes) = (false, false);
    for c in line.chars() {
        match c {
            '<' if !in_quotes => in_target = true,
            '>' if !in_quotes => in_target = false,
            '"' if !in_target => in_quotes = !in_quotes,
            _ => {}
        }
        if c == ',' && !in_target && !in_quotes {
            links.push(std::mem::take(&mut link));
        } else {
            link.push(c);
        }
    }
    links.push(link);
    links
}

/// The target of a link whose relation is `next`, with or without angle brackets and quotes.
fn target_of_next(link: &str) -> Option<String> {
    let link = link.trim();
    let (target, params) = match link.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?,
        None => link.split_once(';')?,
    };
    let is_next = params.split(';').filter_map(|param| param.split_once('=')).any(|(key, value)| {
        let value = value.trim().trim_matches('"');
        key.trim().eq_ignore_ascii_case("rel") && value.split_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
    });
    is_next.then(|| target.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    fn read(link: &str) -> String {
        let page = "https://r.example.com/v2/a/b/tags/list?last=x".parse().expect("a URL");
        let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).expect("a header"))]);
        match next(&headers, &page) {
            Next::End => "end".to_owned(),
            Next::Query(query) => query,
            Next::Elsewhere(target) => format!("elsewhere: {target}"),
        }
    }

    proptest! {
        #[test]
        fn no_link_leads_to_another_listing(
            link in r#"([<>;,?"= ]|rel|next|/v2/a/b/tags/list|https://r[.]example[.]com|http://x|[a-z%\[]){0,12}"#,
        ) {
            let page: Url = "https://r.example.com/v2/a/b/tags/list".parse().expect("a URL");
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(&link).expect("a header"))]);
            if let Next::Query(query) = next(&headers, &page) {
                let mut url = page.clone();
                url.set_query(Some(&query));
                prop_assert_eq!((url.host_str(), url.path()), (page.host_str(), page.path()));
            }
        }
    }

    #[test]
    fn every_form_seen_in_the_field_is_followed() {
        for (link, expected) in [
            (r#"</v2/a/b/tags/list?last=z&n=50>; rel="next""#, "last=z&n=50"),
            (r#"</v2/a/b/tags/list?last=z>;rel=next"#, "last=z"),
            (r#"<https://r.example.com/v2/a/b/tags/list?last=z>; rel="next""#, "last=z"),
            (r#"<http://r.example.com:5000/v2/a/b/tags/list?last=z>; rel="next""#, "last=z"),
            ("https://r.example.com/v2/a/b/tags/list?n=50&last=z; rel=next", "n=50&last=z"),
            (r#"</a/b/tags/list?last=10000>; rel="next""#, "last=10000"),
            (r#"</repository/docker/v2/a/b/tags/list?last=z>; rel="next""#, "last=z"),
            (r#"<?last=a,b>; title="x, y"; rel="prev next""#, "last=a,b"),
            (r#"<x>; rel="prev", </v2/a/b/tags/list?last=q>; rel="next""#, "last=q"),
            (r#"</v2/a/b/tags/list?last=z>; rel="prev""#, "end"),
            (r#"</v2/a/b/tags/list>; rel="next""#, "end"),
            ("nonsense", "end"),
            (
                r#"<https://evil.example.org/v2/a/b/tags/list?last=z>; rel="next""#,
                "elsewhere: https://evil.example.org/v2/a/b/tags/list",
            ),
            (r#"</v2/c/d/tags/list?last=z>; rel="next""#, "elsewhere: https://r.example.com/v2/c/d/tags/list"),
        ] {
            assert_eq!(read(link), expected, "{link}");
        }
    }
}
