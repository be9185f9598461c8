//! Vendors: the headers and body of a delivery in, pushes out; one file a format.
//!
//! Nothing here waits, reads a clock or opens a socket, and nothing here knows HTTP's answers.
//! What a payload says is a hint, never an instruction: no host, URL or digest of it decides where
//! anything is read from or written to. Who may deliver is for [`auth`] and [`oidc`] to say.

pub mod auth;
mod detect;
mod format;
pub mod handshake;
mod json;
mod message;
pub mod oidc;
mod reference;
mod rejection;
mod told;

mod cloud_event;

mod acr;
mod alibaba;
mod artifactory;
mod distribution;
mod dockerhub;
mod ecr;
mod eventgrid;
mod gar;
mod ghcr;
mod gitea;
mod harbor;
mod msr;
mod nexus;
mod quay;
mod zot;

use http::HeaderMap;

use crate::model::Push;
pub use detect::detect;
pub use format::{Format, UnknownFormat};
pub use rejection::Rejection;
pub use told::Ignored;
use told::Outcome;

/// What is in one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The tags that were written, in the order of the body.
    pub pushes: Vec<Push>,
    /// Every other event, and why it is of no interest.
    pub ignored: Vec<Ignored>,
}

/// Returns the tags pushed in one delivery, in the order of the body. An empty list is a good
/// delivery too: a ping, a deletion, a manifest pushed without a tag.
///
/// # Errors
///
/// A [`Rejection`] if the delivery cannot be read as what `format` says. Whether the sender shall
/// hear of it is another question: most of them stop for good, or for everything, once refused.
pub fn parse(format: Format, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Push>, Rejection> {
    read(format, headers, body).map(|delivery| delivery.pushes)
}

/// As [`parse`], and tells what was ignored.
///
/// # Errors
///
/// As [`parse`].
pub fn read(format: Format, headers: &HeaderMap, body: &[u8]) -> Result<Delivery, Rejection> {
    message::check(format, headers, body)?;
    let mut delivery = Delivery::default();
    for outcome in outcomes(format, headers, body)? {
        match outcome {
            Ok(push) => delivery.pushes.push(push),
            Err(ignored) => delivery.ignored.push(ignored),
        }
    }
    Ok(delivery)
}

fn outcomes(format: Format, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Outcome>, Rejection> {
    match format {
        Format::Distribution | Format::Gitlab => distribution::parse(headers, body),
        Format::Zot => zot::parse(headers, body),
        Format::Harbor => harbor::parse(headers, body),
        Format::Quay => quay::parse(headers, body),
        Format::DockerHub => dockerhub::parse(headers, body),
        Format::Ghcr => ghcr::parse(headers, body),
        Format::Acr => acr::parse(headers, body),
        Format::EventGrid => eventgrid::parse(headers, body),
        Format::Ecr => ecr::parse(headers, body),
        Format::Gar => gar::parse(headers, body),
        Format::Gitea | Format::Forgejo => gitea::parse(headers, body),
        Format::Artifactory => artifactory::parse(headers, body),
        Format::Nexus => nexus::parse(headers, body),
        Format::Alibaba => alibaba::parse(headers, body),
        Format::Msr => msr::parse(headers, body),
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
