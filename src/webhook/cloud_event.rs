//! CloudEvents 1.0 over HTTP, in both modes.
//!
//! Structured: the body is the event, its attributes beside `data`. Binary: the attributes are
//! `Ce-*` headers and the body is the data alone. zot sends the latter; forwarders turn one into
//! the other.

use http::HeaderMap;
use serde::Deserialize;

use super::json::{self, Object, Text};
use super::{Rejection, message};

/// An event whose data is a `T`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound = "T: Deserialize<'de> + Default")]
pub(super) struct CloudEvent<T> {
    specversion: Text,
    #[serde(rename = "type")]
    pub(super) kind: Text,
    pub(super) id: Text,
    pub(super) source: Text,
    pub(super) time: Text,
    /// Harbor's own attribute: who did it.
    pub(super) operator: Text,
    pub(super) data: Object<T>,
}

/// Reads an event in the mode that it comes in; none if it is no CloudEvent.
pub(super) fn read<'de, T>(headers: &HeaderMap, body: &'de [u8]) -> Result<Option<CloudEvent<T>>, Rejection>
where
    T: Deserialize<'de> + Default,
{
    let structured = json::read::<Object<CloudEvent<T>>>(body)?.into_inner();
    if structured.specversion.is_some() {
        return Ok(Some(structured));
    }
    let attribute = |name| Text(message::header_text(headers, name));
    let binary = CloudEvent {
        specversion: attribute("ce-specversion"),
        kind: attribute("ce-type"),
        id: attribute("ce-id"),
        source: attribute("ce-source"),
        time: attribute("ce-time"),
        operator: attribute("ce-operator"),
        data: json::read(body)?,
    };
    Ok(binary.kind.is_some().then_some(binary))
}
