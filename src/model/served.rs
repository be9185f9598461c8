//! What the index under a plain tag names, entry by entry, and what came of looking for each.
//!
//! A decision needs less ([`super::image::Content`]); an audit and the question which image a
//! client would get need every entry as it is written.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::image::{Claim, Unfit};
use super::index::Descriptor;
use super::platform::Platform;

/// An index as it is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// Its digest.
    pub digest: Digest,
    /// What it names, in its order, attestations included.
    pub children: Vec<ServedChild>,
}

/// One entry of a served index.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedChild {
    /// The entry.
    pub descriptor: Descriptor,
    /// Its platform letter for letter, where it states one.
    pub stated: Option<Stated>,
    /// What came of looking for it.
    pub fate: Fate,
    /// Whether it is an attestation, and of which image.
    pub attests: Option<String>,
}

/// What came of looking for an entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody looked.
    Unknown,
    /// The registry says that it has no such manifest.
    Lost,
    /// It is there; what it is was not read, or is no image's.
    There,
    /// It is there, and an image whose config claims this.
    Image(Box<Claim>),
    /// It is there, and cannot be used.
    Unfit(Unfit),
}

/// A platform letter for letter, as somebody stated it: some clients compare letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stated {
    /// `linux`
    #[serde(default)]
    pub os: String,
    /// `arm`, or whatever a builder wrote.
    #[serde(default)]
    pub architecture: String,
    /// `v7`; empty where it is not stated.
    #[serde(default)]
    pub variant: String,
    /// The version of the system; empty where it is not stated.
    #[serde(default, rename = "os.version")]
    pub os_version: String,
}

impl Stated {
    /// The platform that is meant, in its normal form.
    pub fn platform(&self) -> Platform {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Platform::new(&self.os, &self.architecture, text(&self.variant).as_deref())
            .on(text(&self.os_version), Vec::new())
    }
}

impl From<&Claim> for Stated {
    fn from(claim: &Claim) -> Stated {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Stated {
            os: text(&claim.os),
            architecture: text(&claim.architecture),
            variant: text(&claim.variant),
            os_version: text(&claim.os_version),
        }
    }
}

impl std::fmt::Display for Stated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl std::str::FromStr for Stated {
    type Err = super::platform::InvalidPlatform;

    /// Reads `os/architecture` or `os/architecture/variant`.
    fn from_str(s: &str) -> Result<Stated, super::platform::InvalidPlatform> {
        let _checked: Platform = s.parse()?;
        let mut parts = s.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Ok(Stated { os: next(), architecture: next(), variant: next(), os_version: String::new() })
    }
}

impl ServedChild {
    /// Whether the entry is an image's, as far as it says.
    pub fn is_image(&self) -> bool {
        self.attests.is_none()
            && matches!(self.descriptor.media_type.as_str(), super::index::OCI_MANIFEST | super::index::DOCKER_MANIFEST)
    }

    /// The platform that its config claims, where that was read.
    pub fn claimed(&self) -> Option<Stated> {
        match &self.fate {
            Fate::Image(claim) => Some(Stated::from(claim.as_ref())),
            Fate::Unknown | Fate::Lost | Fate::There | Fate::Unfit(_) => None,
        }
    }
}
