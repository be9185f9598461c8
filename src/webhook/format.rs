//! Formats: which registry's words a delivery speaks.

use std::fmt;
use std::str::FromStr;

/// Whose deliveries a hook takes. A format is chosen by configuration, not by the delivery: sender,
/// proof and registry are then fixed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// CNCF Distribution, and CI jobs that post its envelope.
    Distribution,
    /// GitLab's container registry; its envelope is Distribution's.
    Gitlab,
    /// zot.
    Zot,
    /// Harbor, and what is derived from it: Tencent TCR, Huawei SWR.
    Harbor,
    /// Quay.
    Quay,
    /// Docker Hub.
    DockerHub,
    /// GitHub's container registry.
    Ghcr,
    /// Azure Container Registry's own webhooks.
    Acr,
    /// Azure Container Registry through Event Grid.
    EventGrid,
    /// Amazon ECR through EventBridge.
    Ecr,
    /// Google Artifact Registry and Container Registry through Pub/Sub.
    Gar,
    /// Gitea.
    Gitea,
    /// Forgejo, which sends all that Gitea sends and more.
    Forgejo,
    /// JFrog Artifactory.
    Artifactory,
    /// Sonatype Nexus.
    Nexus,
    /// Alibaba Cloud Container Registry.
    Alibaba,
    /// Mirantis Secure Registry, formerly Docker Trusted Registry.
    Msr,
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Format; 17] = [
        Format::Distribution,
        Format::Gitlab,
        Format::Zot,
        Format::Harbor,
        Format::Quay,
        Format::DockerHub,
        Format::Ghcr,
        Format::Acr,
        Format::EventGrid,
        Format::Ecr,
        Format::Gar,
        Format::Gitea,
        Format::Forgejo,
        Format::Artifactory,
        Format::Nexus,
        Format::Alibaba,
        Format::Msr,
    ];

    /// The name in settings and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Distribution => "distribution",
            Format::Gitlab => "gitlab",
            Format::Zot => "zot",
            Format::Harbor => "harbor",
            Format::Quay => "quay",
            Format::DockerHub => "dockerhub",
            Format::Ghcr => "ghcr",
            Format::Acr => "acr",
            Format::EventGrid => "eventgrid",
            Format::Ecr => "ecr",
            Format::Gar => "gar",
            Format::Gitea => "gitea",
            Format::Forgejo => "forgejo",
            Format::Artifactory => "artifactory",
            Format::Nexus => "nexus",
            Format::Alibaba => "alibaba",
            Format::Msr => "msr",
        }
    }

    /// The longest body that is read, in bytes.
    ///
    /// zot embeds the whole manifest, and escaping makes it longer; Event Grid sends batches.
    pub fn longest_body_bytes(self) -> usize {
        const MIB: usize = 1024 * 1024;
        match self {
            Format::Zot => 8 * MIB,
            Format::EventGrid => 2 * MIB,
            _ => MIB,
        }
    }

    /// Whether both are read by the same parser: Gitea's reads Forgejo, Distribution's GitLab.
    pub fn reads_like(self, other: Format) -> bool {
        let family = |format| match format {
            Format::Gitlab => Format::Distribution,
            Format::Forgejo => Format::Gitea,
            format => format,
        };
        family(self) == family(other)
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(s: &str) -> Result<Format, UnknownFormat> {
        let known = Format::ALL.into_iter().find(|format| format.as_str() == s);
        known.ok_or_else(|| UnknownFormat { found: crate::model::text::clean(s, 60) })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{found}` is not a format of deliveries: expected one of {}", Format::ALL.map(Format::as_str).join(", "))]
pub struct UnknownFormat {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn a_format_is_read_back_as_it_is_written() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }

    #[test]
    fn an_unknown_format_is_answered_with_the_known_ones() {
        insta::assert_snapshot!("docker".parse::<Format>().expect_err("not a format"), @"`docker` is not a format of deliveries: expected one of distribution, gitlab, zot, harbor, quay, dockerhub, ghcr, acr, eventgrid, ecr, gar, gitea, forgejo, artifactory, nexus, alibaba, msr");
    }
}
