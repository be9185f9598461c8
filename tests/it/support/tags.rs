//! Listings in all their forms: of tags, and of repositories.

use serde_json::{Value, json};

use super::auth::Origin;
use super::recorded::{Kind, Recorded};
use super::server::Answer;

/// How tags, or repositories, are listed; by default all at once and in lexical order.
#[derive(Clone, Debug, Default)]
pub struct TagList {
    /// The most that one page holds.
    pub page_size: Option<usize>,
    /// How the next page is pointed at.
    pub link: LinkForm,
    /// Whether an empty list is `null`.
    pub is_null_when_empty: bool,
    /// Put before the tags of the first page: `null`, empty names, digests.
    pub junk: Vec<Value>,
}

/// How the next page is pointed at.
#[derive(Clone, Debug, Default)]
pub enum LinkForm {
    /// `</v2/...>; rel="next"`
    #[default]
    Relative,
    /// `<http://HOST/v2/...>; rel="next"`
    Absolute,
    /// `</v2/...>; rel=next`
    UnquotedRel,
    /// `http://HOST/v2/...; rel=next`, as Cloudflare does.
    NoAngleBrackets,
    /// The same path on this base, for example `http://127.0.0.1:PORT`.
    OtherHost(String),
    /// Every page points at the first one.
    Looping,
    /// Every page points at another one, with tags made up for it.
    NeverEnding,
    /// Every page but the last has this header, as it is.
    Raw(String),
    /// No header, however many tags are left.
    Missing,
}

/// Answers `GET /v2/<name>/tags/list` with names in lexical order.
pub fn list<'n>(
    request: &Recorded,
    names: impl Iterator<Item = &'n String>,
    options: &TagList,
    origin: &Origin,
) -> Answer {
    let key = if request.kind == Kind::Catalog { "repositories" } else { "tags" };
    let parameters = request.parameters();
    let parameter = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let asked = parameter("n").and_then(|n| n.parse::<usize>().ok());
    let size = asked.unwrap_or(usize::MAX).min(options.page_size.unwrap_or(usize::MAX));
    let last = parameter("last").unwrap_or_default();

    let is_never_ending = matches!(options.link, LinkForm::NeverEnding);
    let mut rest = names.filter(|tag| last.is_empty() || tag.as_str() > last);
    let mut page: Vec<Value> = rest.by_ref().take(size).map(|tag| tag.as_str().into()).collect();
    let has_more = rest.next().is_some();
    if is_never_ending && page.is_empty() {
        let number = last.strip_prefix("zz-").and_then(|number| number.parse::<u32>().ok());
        page.push(format!("zz-{:06}", number.unwrap_or(0) + 1).into());
    }
    let last = page.iter().rev().find_map(Value::as_str).unwrap_or_default().to_owned();
    if parameter("last").is_none() {
        page.splice(0..0, options.junk.iter().cloned());
    }

    let list = match page.is_empty() && options.is_null_when_empty {
        true => Value::Null,
        false => page.into(),
    };
    let body = json!({ "name": request.repository, key: list });
    let answer = Answer::json(200, &body);
    if !has_more && !is_never_ending && !matches!(options.link, LinkForm::Looping) {
        return answer;
    }
    let path = match options.link {
        LinkForm::Looping => request.path.clone(),
        _ => format!("{}?last={last}&n={size}", request.path),
    };
    let base = origin.base();
    let link = match &options.link {
        LinkForm::Missing => return answer,
        LinkForm::Raw(link) => link.clone(),
        LinkForm::Absolute => format!("<{base}{path}>; rel=\"next\""),
        LinkForm::UnquotedRel => format!("<{path}>; rel=next"),
        LinkForm::NoAngleBrackets => format!("{base}{path}; rel=next"),
        LinkForm::OtherHost(base) => format!("<{base}{path}>; rel=\"next\""),
        LinkForm::Relative | LinkForm::Looping | LinkForm::NeverEnding => {
            format!("<{path}>; rel=\"next\"")
        }
    };
    answer.header("Link", &link)
}
