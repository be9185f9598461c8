//! One image by itself: what is promised of it, and does it keep that?

use super::prove::{Proved, prove};
use super::{Code, Policy, Reason, Verdict};
use crate::model::{Claim, Found, Platform, Promise};

/// Who says what an image should run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promiser {
    /// Its tag, by the word in it.
    Tag(Promise),
    /// The user.
    User(Platform),
    /// The index that it is in.
    Entry(Platform),
    /// Nobody but its own config.
    Itself,
}

impl Promiser {
    fn promise(&self, claim: &Claim) -> Option<Promise> {
        let platform = match self {
            Promiser::Tag(promise) => return Some(promise.clone()),
            Promiser::User(platform) | Promiser::Entry(platform) => platform.clone(),
            Promiser::Itself => {
                Platform::new(claim.os.as_deref()?, claim.architecture.as_deref()?, claim.variant.as_deref())
            }
        };
        let names_variant = platform.variant().is_some();
        Some(Promise { platform, names_variant })
    }

    fn as_str(&self) -> &'static str {
        match self {
            Promiser::Tag(_) => "the tag",
            Promiser::User(_) => "`--platform`",
            Promiser::Entry(_) => "its index entry",
            Promiser::Itself => "its config",
        }
    }
}

/// Weighs what was found against what `promiser` says of it.
pub fn prove_alone(found: &Found, promiser: &Promiser, policy: &Policy) -> Proved {
    let promised = promiser.promise(&Claim::default()).map(|promise| promise.platform);
    let without = |verdict, reason| Proved {
        verdict,
        is_accepted: false,
        platform: promised,
        rewritten: None,
        reasons: vec![reason],
    };
    let image = match found {
        Found::Image(image) => image,
        Found::Missing => {
            let reason = Reason::hold(Code::NothingFound, None, "there is no such image".to_owned());
            return without(Verdict::Missing, reason);
        }
        Found::Unfit(unfit) => return without(Verdict::Unreadable, Reason::unfit(None, unfit)),
    };
    let Some(promise) = promiser.promise(&image.claim) else {
        let message = "its config names no platform, and nothing else says what it should run on".to_owned();
        let remedy = "say what it should run on by `--platform`";
        return without(Verdict::Unverifiable, Reason::hold(Code::Unverifiable, None, message).remedy(remedy));
    };
    let mut proved = prove(&promise, promiser.as_str(), image, policy);
    for reason in &mut proved.reasons {
        // What can be done about it is a matter of publishing.
        reason.remedy = None;
    }
    proved
}
