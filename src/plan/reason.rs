//! Why a decision is what it is: a stable code for programs, a sentence for people.

use std::fmt;

use crate::model::text::clean;
use crate::model::{Tag, Unfit};

/// One thing that was found, and whether it holds the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What kind of thing; users script against it.
    pub code: Code,
    /// The tag that it is about; none if it is about the whole.
    pub tag: Option<Tag>,
    /// What was found and what was expected.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Whether it holds the tag.
    pub weight: Weight,
}

/// Whether a reason holds the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing is written.
    Hold,
    /// Worth knowing.
    Note,
}

impl Weight {
    /// The weight as programs see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Weight::Hold => "hold",
            Weight::Note => "note",
        }
    }
}

impl Reason {
    /// A reason that holds the tag.
    pub fn hold(code: Code, tag: Option<&Tag>, message: String) -> Reason {
        Reason { code, tag: tag.cloned(), message, remedy: None, weight: Weight::Hold }
    }

    /// Something worth knowing that holds nothing.
    pub fn note(code: Code, tag: Option<&Tag>, message: String) -> Reason {
        Reason { weight: Weight::Note, ..Reason::hold(code, tag, message) }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Reason {
        Reason { remedy: Some(remedy.into()), ..self }
    }

    /// Whether it holds the tag.
    pub fn forbids(&self) -> bool {
        self.weight == Weight::Hold
    }

    /// The reason why nobody knows what `tag` is: builders use its word in different senses.
    pub fn ambiguous_word(tag: &Tag, word: &str) -> Reason {
        let message = format!("`{word}` means 386 to some builders and amd64 to others");
        let remedy = format!("say which it is here: `--word {word}=linux/386` or `--word {word}=linux/amd64`");
        Reason::hold(Code::AmbiguousWord, Some(tag), message).remedy(remedy)
    }

    /// The reason why what `tag` holds cannot be used.
    pub fn unfit(tag: Option<&Tag>, unfit: &Unfit) -> Reason {
        let (code, message, remedy) = explain(unfit);
        let reason = Reason::hold(code, tag, message);
        match remedy {
            Some(remedy) => reason.remedy(remedy),
            None => reason,
        }
    }
}

fn explain(unfit: &Unfit) -> (Code, String, Option<&'static str>) {
    match unfit {
        Unfit::AmbiguousWord => (
            Code::AmbiguousWord,
            "its architecture word means 386 to some builders and amd64 to others".to_owned(),
            Some("say which it is here by `--word`"),
        ),
        Unfit::UnsupportedMediaType(found) => (
            Code::UnsupportedMediaType,
            format!("it is {found}, which no index should hold"),
            Some("build and push the image again with a current builder"),
        ),
        Unfit::NotAnImage(found) => (
            Code::NotAnImage,
            format!("it is no image but {found}"),
            Some("push an image under this tag, or delete the tag"),
        ),
        Unfit::SeveralImages(platforms) => (
            Code::AmbiguousArchTag,
            format!(
                "it is an index of {} images ({}), where one image was expected",
                platforms.len(),
                clean(&platforms.join(", "), 200)
            ),
            Some("build and push this tag for one platform"),
        ),
        Unfit::AmbiguousManifest(what) => (
            Code::AmbiguousManifest,
            format!("two readers of it could see different images: {what}"),
            Some("build and push the image again; no known builder makes such a document"),
        ),
        Unfit::Malformed(what) => {
            (Code::Malformed, format!("it cannot be read: {what}"), Some("build and push the image again"))
        }
        Unfit::TooLarge(what) => (Code::TooLarge, format!("it is too large: {what}"), None),
        Unfit::DigestMismatch { expected, found } => (
            Code::DigestMismatch,
            format!("the registry announced {} but sent bytes of {found}", clean(expected, 80)),
            Some(
                "the registry, or a proxy before it, returns wrong content: have it repaired, and trust nothing from it until then",
            ),
        ),
        Unfit::SizeMismatch { expected, found } => {
            let or_more = if found > expected { " or more" } else { "" };
            (
                Code::SizeMismatch,
                format!("a part of it should have {expected} bytes, but the registry sent {found}{or_more}"),
                Some("build and push the image again"),
            )
        }
        Unfit::ContentMissing(what) => (
            Code::ContentMissing,
            format!("the registry does not have {what} any more"),
            Some("push the image again; a clean-up may have deleted what it consists of"),
        ),
        Unfit::AttestationMissing(digest) => (
            Code::AttestationMissing,
            format!("the registry does not have its attestation {} any more", digest.short()),
            Some("push the image again, or publish with `--attestations drop`"),
        ),
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// The kinds of reasons. Their texts are stable; users script against them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// The code as scripts see it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// An architecture that is required, or was looked for, has no tag.
    ArchMissing = "arch-missing",
    /// The image's config contradicts its tag.
    ConfigArchMismatch = "config-arch-mismatch",
    /// The image's files contradict its tag.
    ElfMismatch = "elf-mismatch",
    /// The image starts a program that is right, and needs others that are not.
    ElfMixed = "elf-mixed",
    /// Nobody can say what the image's files run on.
    Unverifiable = "unverifiable",
    /// There is no program in the image.
    DataOnly = "data-only",
    /// A copy with a repaired label was asked for and cannot be made.
    NotRewritable = "not-rewritable",
    /// The image needs less than its tag promises.
    LowerVariant = "lower-variant",
    /// Two different images for one platform.
    DuplicatePlatform = "duplicate-platform",
    /// One image under tags of two architectures.
    SameDigestTwoArches = "same-digest-two-arches",
    /// A manifest of something that does not run.
    NotAnImage = "not-an-image",
    /// An architecture tag that is an index of several images.
    AmbiguousArchTag = "ambiguous-arch-tag",
    /// A word that builders use in different senses.
    AmbiguousWord = "ambiguous-word",
    /// A kind of manifest that no index should hold.
    UnsupportedMediaType = "unsupported-media-type",
    /// A published platform would drop out.
    Removal = "removal",
    /// The plain tag holds what this program would not have made.
    ForeignTag = "foreign-tag",
    /// A label that should have one value in all images has not.
    LabelDiffers = "label-differs",
    /// An image is not the one that was expected.
    DigestNotExpected = "digest-not-expected",
    /// The registry sent other bytes than it announced.
    DigestMismatch = "digest-mismatch",
    /// A blob of another size than its descriptor says.
    SizeMismatch = "size-mismatch",
    /// A document that different readers understand differently.
    AmbiguousManifest = "ambiguous-manifest",
    /// A manifest or config that cannot be read.
    Malformed = "malformed",
    /// More than is read or written.
    TooLarge = "too-large",
    /// The registry does not let the plain tag change.
    ImmutableTag = "immutable-tag",
    /// No architecture tag at all.
    NothingFound = "nothing-found",
    /// What an image consists of is gone.
    ContentMissing = "content-missing",
    /// What an attestation consists of is gone.
    AttestationMissing = "attestation-missing",
    /// The images do not fit the kind of index that was asked for.
    IndexType = "index-type",
    /// The index would replace an architecture tag that it is made of.
    SelfFeeding = "self-feeding",
    /// Somebody put an earlier index back, and nothing is new since.
    RolledBack = "rolled-back",
    /// A layer is to be fetched from elsewhere.
    ForeignLayers = "foreign-layers",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
