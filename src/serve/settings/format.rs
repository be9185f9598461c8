//! The names of webhook formats, as long as no module reads their bodies.

use std::str::FromStr;

/// A vendor's way to tell of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is called what its vendor is called")]
pub enum Format {
    Distribution,
    Gitlab,
    Zot,
    Harbor,
    Quay,
    Dockerhub,
    Ghcr,
    Acr,
    Eventgrid,
    Ecr,
    Gar,
    Gitea,
    Forgejo,
    Artifactory,
    Nexus,
    Alibaba,
    Msr,
}

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(s: &str) -> Result<Format, InvalidFormat> {
        Ok(match s {
            "distribution" => Format::Distribution,
            "gitlab" => Format::Gitlab,
            "zot" => Format::Zot,
            "harbor" => Format::Harbor,
            "quay" => Format::Quay,
            "dockerhub" => Format::Dockerhub,
            "ghcr" => Format::Ghcr,
            "acr" => Format::Acr,
            "eventgrid" => Format::Eventgrid,
            "ecr" => Format::Ecr,
            "gar" => Format::Gar,
            "gitea" => Format::Gitea,
            "forgejo" => Format::Forgejo,
            "artifactory" => Format::Artifactory,
            "nexus" => Format::Nexus,
            "alibaba" => Format::Alibaba,
            "msr" => Format::Msr,
            _ => return Err(InvalidFormat),
        })
    }
}

/// Text that is no format's name.
#[derive(Debug, thiserror::Error)]
#[error("not a webhook format")]
pub struct InvalidFormat;
