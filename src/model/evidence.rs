//! What an image's own files prove about the machine that they run on.
//!
//! A config is a claim that a builder wrote down; a program's header is what the kernel goes by.
//! Evidence is gathered by `inspect`, kept by digest, and judged here against a promise.

use serde::{Deserialize, Serialize};

use super::platform::Platform;

/// What was read from an image's files; true for ever of the image's digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The programs that say what the image runs on, the most telling first.
    pub witnesses: Vec<Witness>,
    /// What the started program needs to start and the image does not have, in words.
    #[serde(default)]
    pub lacks: Option<String>,
    /// Why the files could not be read as far as was needed, in words; none where they could.
    pub gap: Option<String>,
}

/// One program, and what its header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Where it lies in the image, links followed: `/bin/busybox`.
    pub path: String,
    /// Why it was looked at.
    pub role: Role,
    /// What it runs on.
    pub machine: Machine,
}

/// Why a program is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The image starts it.
    EntryPoint,
    /// The kernel starts it first, to load the one above.
    Loader,
    /// The shell: it starts the one above, or the image starts nothing else.
    Shell,
    /// One of the programs of an image that starts none and has no shell.
    Program,
}

/// What a program runs on, as far as its header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `linux` or `windows`.
    pub os: String,
    /// The architecture in OCI's words; none where OCI has no word for it, as for x32.
    pub architecture: Option<String>,
    /// The lowest level that it needs, as the number of OCI's variant, where that is stated.
    pub level: Option<u32>,
    /// Whether floating-point numbers travel in registers of their own, where that is stated.
    pub hard_float: Option<bool>,
    /// In words for people: `ELF 32-bit ARM, EABI5 soft-float`.
    pub shown: String,
}

/// How an image's files stand to a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// They keep it.
    Match,
    /// They do not, in words: which file, what it is, what was promised.
    Mismatch(String),
    /// The program that is started keeps it, and others that are needed do not, in words.
    Mixed(String),
    /// There is no program in the image.
    NoExecutable,
    /// Nobody can say, and why.
    Unverifiable(String),
}

impl Evidence {
    /// How the files stand to `promised`.
    pub fn judge(&self, promised: &Platform) -> Proof {
        if let Some(gap) = &self.gap {
            return Proof::Unverifiable(gap.clone());
        }
        let Some(witness) = self.witnesses.first() else {
            return Proof::NoExecutable;
        };
        let is_right = witness.machine.os == promised.os()
            && witness.machine.architecture.as_deref() == Some(promised.architecture());
        if is_right {
            return Proof::Match;
        }
        Proof::Mismatch(format!("{} is {}; the tag promises {promised}", witness.path, witness.machine.shown))
    }
}
