//! Does one image keep a promise, by its config and, where asked, by its files?
//!
//! A label and files that contradict each other tell which of the two is wrong. Only files that
//! prove the promise let a wrong label pass, whatever the policy is.

use super::rewrite::{Rewritten, rewrite};
use super::{Code, OnDoubt, OnMismatch, Policy, Reason, Verdict, Verify};
use crate::model::text::clean;
use crate::model::{Claim, Evidence, Image, Platform, Promise, Proof, arch};

/// What to do about an image that is not what its tag says.
pub(super) const PUSH_RIGHT: &str = "push the right image under this tag, or see `--on-mismatch`";
/// What to do about an image whose config alone is wrong.
const REPAIR_LABEL: &str =
    "repair the label where the image is built, or publish with `--on-mismatch trust-tag` or `--on-mismatch rewrite`";
/// What to do where no copy can be made.
const REPAIR_LABEL_ELSEWHERE: &str =
    "repair the label where the image is built; `--on-mismatch trust-tag` publishes the image unchanged";

/// What was made of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved {
    /// In a word.
    pub verdict: Verdict,
    /// Whether an index may hold it, or its copy.
    pub is_accepted: bool,
    /// What an index says that it runs on, or would have; none where not even that is clear.
    pub platform: Option<Platform>,
    /// The copy that takes its place.
    pub rewritten: Option<Rewritten>,
    /// Why; none of them names a tag.
    pub reasons: Vec<Reason>,
}

/// Weighs `image` against what is promised of it; `promiser` says by whom, in words.
pub fn prove(promise: &Promise, promiser: &str, image: &Image, policy: &Policy) -> Proved {
    let asks_files = policy.verify == Verify::Entrypoint;
    let label = keep(promise, &image.claim);
    let label = if asks_files { doubt_label(label, promise, image.evidence.as_ref()) } else { label };
    let proof = asks_files.then(|| judge(promise, &label, image));
    let mut proved = match label {
        Label::Broken(broken) => contradicted(promise, promiser, image, broken, proof, policy),
        Label::As(platform) => {
            // What the promise leaves open is the config's own word.
            let is_same = platform.variant() == promise.platform.variant();
            agreed(if is_same { promiser } else { "its config" }, platform, proof, policy)
        }
        Label::Lower(platform) => {
            let message = format!(
                "{promiser} promises {}, the image needs only {platform} and is published as that",
                promise.platform
            );
            let note = Reason::note(Code::LowerVariant, None, message);
            let mut proved = agreed(promiser, platform, proof, policy);
            if proved.is_accepted {
                proved.reasons.insert(0, note);
            }
            proved
        }
    };
    if image.has_foreign_layers {
        let message = "a layer must be fetched from outside the registry; clients that cannot reach it there cannot run the image";
        proved.reasons.insert(0, Reason::note(Code::ForeignLayers, None, message.to_owned()));
    }
    proved
}

/// Whether an image's config says something else than is promised of it, or than its files need.
pub fn contradicts(promise: &Promise, claim: &Claim, evidence: Option<&Evidence>) -> bool {
    matches!(doubt_label(keep(promise, claim), promise, evidence), Label::Broken(_))
}

/// How the files stand to the promise, or to what the config says where that is left to it.
fn judge(promise: &Promise, label: &Label, image: &Image) -> Proof {
    let Some(evidence) = &image.evidence else {
        return Proof::Unverifiable("its files were not looked at".to_owned());
    };
    evidence.judge(match label {
        Label::As(platform) => platform,
        Label::Lower(_) | Label::Broken(_) => &promise.platform,
    })
}

/// Takes a label for a wrong one that is below what the files need, where these are just what is promised.
fn doubt_label(label: Label, promise: &Promise, evidence: Option<&Evidence>) -> Label {
    let (Label::As(platform) | Label::Lower(platform)) = &label else { return label };
    let Some(evidence) = evidence.filter(|_| promise.platform.variant().is_some()) else { return label };
    let is_right = evidence.judge(platform) == Proof::Match || evidence.judge(&promise.platform) != Proof::Match;
    if is_right {
        label
    } else {
        Label::Broken(Broken { says: format!("says {platform}"), claimed: Some(platform.clone()) })
    }
}

/// The config keeps the promise; what do the files say?
fn agreed(promiser: &str, platform: Platform, proof: Option<Proof>, policy: &Policy) -> Proved {
    let doubts = &policy.doubts;
    let (verdict, is_accepted, reason) = match proof {
        None | Some(Proof::Match) => (Verdict::Verified, true, None),
        Some(Proof::Mismatch(misfit)) => {
            let found = misfit.told(promiser);
            let message = format!("{found}; the image config says {platform}, so the files are wrong");
            (Verdict::Mismatch, false, Some(wrong(Code::ElfMismatch, message, policy)))
        }
        Some(Proof::Mixed(misfit)) => mixed(misfit.told(promiser), policy),
        Some(Proof::Lacking(what)) => mixed(what, policy),
        Some(Proof::Unverifiable(why)) => {
            let message = format!("nobody can say what its files run on: {why}");
            let (is_accepted, reason) = doubt(Code::Unverifiable, message, doubts.unverifiable, "--on-unverifiable");
            (Verdict::Unverifiable, is_accepted, Some(reason))
        }
        Some(Proof::NoExecutable) => {
            let message = "there is no program in it, so its config alone says what it is".to_owned();
            let (is_accepted, reason) = doubt(Code::DataOnly, message, doubts.data_only, "--on-data-only");
            let verdict = if is_accepted { Verdict::Verified } else { Verdict::Unverifiable };
            (verdict, is_accepted, Some(reason))
        }
    };
    let reasons = reason.into_iter().collect();
    Proved { verdict, is_accepted, platform: Some(platform), rewritten: None, reasons }
}

/// What is started is right, and cannot be started.
fn mixed(message: String, policy: &Policy) -> (Verdict, bool, Option<Reason>) {
    let (is_accepted, reason) = doubt(Code::ElfMixed, message, policy.doubts.mixed, "--on-mixed");
    (Verdict::Mismatch, is_accepted, Some(reason))
}

fn doubt(code: Code, message: String, choice: OnDoubt, option: &str) -> (bool, Reason) {
    match choice {
        OnDoubt::Hold => {
            let remedy = format!("look at the image; if it is right, or can be spared, see `{option}`");
            (false, Reason::hold(code, None, message).remedy(remedy))
        }
        OnDoubt::Accept => (true, Reason::note(code, None, format!("{message}; that is accepted"))),
        OnDoubt::Skip => (false, Reason::note(code, None, format!("{message}; left out as asked"))),
    }
}

/// What contradicts the promise, by the policy for that.
fn wrong(code: Code, message: String, policy: &Policy) -> Reason {
    match policy.on_mismatch {
        OnMismatch::Skip => Reason::note(code, None, format!("{message}; left out as asked")),
        _ => Reason::hold(code, None, message).remedy(PUSH_RIGHT),
    }
}

/// The config does not keep the promise; do the files?
fn contradicted(
    promise: &Promise,
    promiser: &str,
    image: &Image,
    broken: Broken,
    proof: Option<Proof>,
    policy: &Policy,
) -> Proved {
    let refused = Proved {
        verdict: Verdict::Mismatch,
        is_accepted: false,
        platform: broken.claimed,
        rewritten: None,
        reasons: Vec::new(),
    };
    let message = format!("{promiser} promises {} but the image config {}", promise.platform, broken.says);
    let unproved = match proof {
        Some(Proof::Match) => return mislabelled(promise, image, message, refused, policy),
        Some(Proof::Mismatch(misfit)) => {
            let found = misfit.told(promiser);
            let files = wrong(Code::ElfMismatch, format!("{found}: the files are wrong, too"), policy);
            return Proved { reasons: vec![wrong(Code::ConfigArchMismatch, message, policy), files], ..refused };
        }
        None => String::new(),
        Some(Proof::Mixed(misfit)) => format!("; {}", misfit.told(promiser)),
        Some(Proof::Lacking(what)) => format!("; {what}"),
        Some(Proof::NoExecutable) => "; there is no program in it that could prove the config wrong".to_owned(),
        Some(Proof::Unverifiable(why)) => format!("; its files do not prove the config wrong: {why}"),
    };
    Proved { reasons: vec![wrong(Code::ConfigArchMismatch, message + &unproved, policy)], ..refused }
}

/// The label is wrong and the files are right.
fn mislabelled(promise: &Promise, image: &Image, message: String, refused: Proved, policy: &Policy) -> Proved {
    let witness = image.evidence.iter().flat_map(|evidence| &evidence.witnesses).next();
    let found = witness.map(|witness| format!(", {} is {}", clean(&witness.path, 200), witness.machine.shown));
    let message = format!("{message}{}: the label is wrong, the files are right", found.unwrap_or_default());
    let note = |message| vec![Reason::note(Code::ConfigArchMismatch, None, message)];
    match policy.on_mismatch {
        OnMismatch::Hold => {
            let reason = Reason::hold(Code::ConfigArchMismatch, None, message).remedy(REPAIR_LABEL);
            Proved { reasons: vec![reason], ..refused }
        }
        OnMismatch::Skip => Proved { reasons: note(format!("{message}; left out as asked")), ..refused },
        OnMismatch::TrustTag => Proved {
            is_accepted: true,
            platform: Some(trusted(promise, &image.claim)),
            reasons: note(format!("{message}; published as the tag says, but clients may warn about the config")),
            ..refused
        },
        OnMismatch::Rewrite => {
            let platform = trusted(promise, &image.claim);
            match rewrite(image, &platform) {
                Ok(rewritten) => {
                    let copy = rewritten.descriptor.digest.short();
                    let message = format!(
                        "{message}; a copy with the right label is published, {copy}, and signatures of the image do not carry over to it"
                    );
                    let (platform, rewritten) = (Some(platform), Some(rewritten));
                    Proved { is_accepted: true, platform, rewritten, reasons: note(message), ..refused }
                }
                Err(why) => {
                    let why = format!("the label cannot be repaired in a copy: {why}");
                    let hold = Reason::hold(Code::NotRewritable, None, why).remedy(REPAIR_LABEL_ELSEWHERE);
                    let reasons = note(message).into_iter().chain([hold]).collect();
                    Proved { reasons, ..refused }
                }
            }
        }
    }
}

/// How an image's config stands to a promise.
enum Label {
    /// It agrees; this is what the index says.
    As(Platform),
    /// It needs less than promised, and so runs there too.
    Lower(Platform),
    Broken(Broken),
}

/// A promise that the image's config does not keep.
struct Broken {
    /// What the config does, in words: `says linux/amd64`.
    says: String,
    /// What the config says, where it says enough.
    claimed: Option<Platform>,
}

fn keep(promise: &Promise, claim: &Claim) -> Label {
    let promised = &promise.platform;
    let broken = |says, claimed| Label::Broken(Broken { says, claimed });
    let (os, architecture) = match (&claim.os, &claim.architecture) {
        (Some(os), Some(architecture)) => (os, architecture),
        (_, None) => return broken("names no architecture".to_owned(), None),
        (None, _) => return broken("names no operating system".to_owned(), None),
    };
    let claimed = Platform::new(os, architecture, claim.variant.as_deref())
        .on(claim.os_version.clone(), claim.os_features.clone());
    let shown = clean(&claimed.to_string(), 60);
    if !claimed.is_plain() {
        return broken(format!("says {shown}, which is not the name of a platform"), None);
    }
    if os != promised.os() || architecture != promised.architecture() {
        let meant = arch::meant_by(architecture).filter(|meant| meant.architecture() != architecture);
        let hint = meant.map(|meant| format!(" (did its builder mean {meant}?)")).unwrap_or_default();
        return broken(format!("says {shown}{hint}"), Some(claimed));
    }
    match (claimed.variant(), promised.variant()) {
        (None, Some(variant)) if architecture == "arm" => Label::As(
            Platform::new(os, architecture, Some(variant)).on(claim.os_version.clone(), claim.os_features.clone()),
        ),
        (Some(variant), None) if !is_variant(architecture, variant) => {
            broken(format!("says {shown}, and no machine is called that"), Some(claimed))
        }
        (_, None) => Label::As(claimed),
        (claim, Some(limit)) => match (level(claim), level(Some(limit))) {
            (Some(claim), Some(limit)) if claim == limit => Label::As(claimed),
            (Some(claim), Some(limit)) if claim < limit && !promise.names_variant => Label::As(claimed),
            (Some(claim), Some(limit)) if claim < limit => Label::Lower(claimed),
            _ => broken(format!("says {shown}, which does not run there"), Some(claimed)),
        },
    }
}

/// Whether machines of the architecture are told apart by this variant. The higher one comes first in an
/// index, and clients that know of no variants take the first: an invented one would be put before all.
fn is_variant(architecture: &str, variant: &str) -> bool {
    match architecture {
        "amd64" => matches!(variant, "v1" | "v2" | "v3" | "v4"),
        "arm64" => matches!(variant.split('.').next(), Some("v8" | "v9")),
        _ => true,
    }
}

/// The number of a variant, `7` of `v7`; the lowest for none.
fn level(variant: Option<&str>) -> Option<u32> {
    variant.map_or(Some(0), |variant| variant.strip_prefix('v')?.parse().ok())
}

fn trusted(promise: &Promise, claim: &Claim) -> Platform {
    let platform = promise.platform.clone().on(claim.os_version.clone(), claim.os_features.clone());
    let same_os = claim.os.as_deref() == Some(promise.platform.os());
    if same_os && platform.is_plain() { platform } else { promise.platform.clone() }
}
