//! Listings: a repository's tags and a registry's repositories, page after page along `Link`.
//!
//! Whatever a registry sends, a listing stays where it began and has an end.

use std::collections::BTreeSet;

use reqwest::Method;

use super::link::{self, Next};
use super::send::Call;
use super::wire::{CatalogPage, Listed, TagPage, read_refusal};
use super::{Registry, RegistryError, confirmed};
use crate::model::{Repository, Tag};

/// The most bytes read of one page of a listing, and of all pages.
const LARGEST_PAGE: u64 = 16 * 1024 * 1024;
const LARGEST_LISTING: u64 = 64 * 1024 * 1024;
/// The most pages and entries read of a listing.
const MOST_PAGES: usize = 1_000;
const MOST_ENTRIES: usize = 200_000;

impl Registry {
    /// Lists the tags of a repository, in the registry's order; none if there is no repository.
    ///
    /// Wire: `GET /v2/<name>/tags/list`, and on along `Link`. Spec: distribution-spec 1.1, "Listing
    /// tags" (end-8). No page size is asked for, since registries refuse or clamp what they do not
    /// like. Entries that are no tags are passed over.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::RedirectRefused`]: the listing goes on somewhere else.
    /// - [`RegistryError::Endless`]: the listing goes on beyond all reason.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let call = self.call(Method::GET, repository, "tags/list", LARGEST_PAGE);
        let page = |body: &[u8]| serde_json::from_slice::<TagPage>(body).ok().map(|page| page.tags);
        let tags = self.list(call, "tag", page, |text| text.parse().ok()).await?;
        Ok(tags.unwrap_or_default())
    }

    /// Lists the repositories of the registry that this account may see, in the registry's order.
    ///
    /// Wire: `GET /v2/_catalog`, and on along `Link`, with a token of its own for
    /// `registry:catalog:*`. Spec: none any more (the distribution-spec only reserves the name);
    /// Distribution's "HTTP API V2", "Listing Repositories". Many registries do not have it, or
    /// not for everyone. Entries that are no names are passed over.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::tags`]; also 404, which means that there is no such listing.
    pub async fn repositories(&self) -> Result<Vec<Repository>, RegistryError> {
        let call = self.call_at(Method::GET, "", "_catalog", LARGEST_PAGE);
        let page = |body: &[u8]| serde_json::from_slice::<CatalogPage>(body).ok().map(|page| page.repositories);
        let name = |path: &str| format!("{}/{path}", self.wire.host).parse::<Repository>().ok();
        let listed = self.list(call.clone(), "repository", page, |text| name(text).filter(|it| it.path() == text));
        listed.await?.ok_or_else(|| RegistryError::NoCatalog { request: call.line() })
    }

    /// Reads a listing to its end; `None` if the registry knows nothing of it.
    async fn list<T: Ord + Clone>(
        &self,
        mut call: Call<'_>,
        what: &'static str,
        page: impl Fn(&[u8]) -> Option<Option<Vec<Listed>>>,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, RegistryError> {
        let (mut found, mut seen, mut queries) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let (mut odd, mut bytes) = (0usize, 0u64);
        call.accept = "application/json";
        loop {
            let answer = self.wire.send(&call).await?;
            let refusal = read_refusal(&answer);
            let Some(answer) = confirmed(&call, answer)? else {
                if queries.is_empty() {
                    return Ok(None);
                }
                // Some registries lose the place when the entry that marks it is deleted; what was
                // read by then is not the whole.
                return Err(RegistryError::Failed { request: call.line(), refusal });
            };
            let entries = page(&answer.body).ok_or_else(|| RegistryError::NotARegistry {
                request: call.line(),
                found: format!("something that is not a {what} listing"),
            })?;
            bytes += answer.body.len() as u64;
            let entries = entries.unwrap_or_default();
            let mut is_repetition = !entries.is_empty();
            for entry in entries {
                let entry = match entry {
                    Listed::Text(text) => read(&text),
                    Listed::Other(_) => None,
                };
                match entry {
                    Some(entry) if seen.insert(entry.clone()) => {
                        found.push(entry);
                        is_repetition = false;
                    }
                    Some(_) => {}
                    None => {
                        odd += 1;
                        is_repetition = false;
                    }
                }
            }
            queries.insert(call.url.query().unwrap_or("").to_owned());
            match link::next(&answer.headers, &call.url) {
                Next::End => break,
                Next::Elsewhere(target) => {
                    let why = "a listing goes on where it began";
                    return Err(RegistryError::RedirectRefused { request: call.line(), target, why });
                }
                // Some registries always name a next page.
                Next::Query(query) if queries.contains(&query) || is_repetition => break,
                Next::Query(query) => call.url.set_query(Some(&query)),
            }
            if queries.len() >= MOST_PAGES || found.len() > MOST_ENTRIES || bytes > LARGEST_LISTING {
                let (entries, pages) = (found.len(), queries.len());
                return Err(RegistryError::Endless { request: call.line(), entries, pages });
            }
        }
        tracing::debug!(entries = found.len(), passed_over = odd, "Read {}", call.line());
        Ok(Some(found))
    }
}
