//! How much is read of a layer, and what is said where reading ends.

/// Why a layer cannot be read as everybody would read it, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Flaw {
    why: String,
    cause: Cause,
}

/// What a flaw is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Layer,
    /// What it may cost, which may be what other layers left.
    Limits,
    /// The machine that reads it.
    Machine,
}

impl Flaw {
    pub(super) fn new(why: impl Into<String>) -> Flaw {
        Flaw { why: why.into(), cause: Cause::Layer }
    }

    pub(super) fn of_limits(why: impl Into<String>) -> Flaw {
        Flaw { why: why.into(), cause: Cause::Limits }
    }

    pub(super) fn of_machine(why: impl Into<String>) -> Flaw {
        Flaw { why: why.into(), cause: Cause::Machine }
    }

    /// Whether the same bytes, read within these limits, will always have it. Where they were less
    /// than any layer may cost, there can be more of them another time: other layers are known then.
    pub fn is_lasting(&self, limits: Limits) -> bool {
        match self.cause {
            Cause::Layer => true,
            Cause::Limits => limits == Limits::default(),
            Cause::Machine => false,
        }
    }
}

/// What one layer may cost; what is left of an image's allowance goes into that of its next layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that it may unpack to.
    pub output_bytes: u64,
    /// The most files, directories and links in it.
    pub entries: usize,
    /// The most bytes of their names, and of what programs and scripts say of what starts them.
    pub name_bytes: usize,
}

impl Default for Limits {
    /// What any one layer may cost.
    fn default() -> Limits {
        Limits { output_bytes: 2 << 30, entries: 500_000, name_bytes: 48 << 20 }
    }
}

/// How far a layer may unpack beyond its size, once it is larger than `RATIO_FROM`.
pub(super) const RATIO: u64 = 200;
/// Where the ratio begins to count: small layers of zeros are common.
pub(super) const RATIO_FROM: u64 = 16 << 20;
/// The longest name of a file, or target of a link.
pub(super) const LONGEST_PATH: usize = 4096;
/// The largest extended header.
pub(super) const LARGEST_PAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_layers_left_too_little_for_is_no_flaw_for_ever() {
        let scarce = Limits { output_bytes: 1, ..Limits::default() };
        let lasting = |flaw: Flaw| [scarce, Limits::default()].map(|limits| flaw.is_lasting(limits));
        assert_eq!(lasting(Flaw::new("it is damaged")), [true, true]);
        assert_eq!(lasting(Flaw::of_limits("it is too large")), [false, true]);
        assert_eq!(lasting(Flaw::of_machine("there is no memory")), [false, false]);
    }
}
