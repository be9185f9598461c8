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
    /// The shell, or an init: it starts the one above, or the image starts nothing else.
    Shell,
    /// The command gives it to the one above, a script, to start.
    Command,
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
    /// They do not: the program that is started is another machine's.
    Mismatch(Misfit),
    /// The program that is started keeps it, and one that is needed to start it does not.
    Mixed(Misfit),
    /// The program that is started keeps it, and what is needed to start it is not there, in words.
    Lacking(String),
    /// There is no program in the image.
    NoExecutable,
    /// Nobody can say, and why.
    Unverifiable(String),
}

/// A program that does not keep a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What the image starts, where that keeps the promise and this is only needed for it.
    pub fitting: Option<String>,
    /// The program.
    pub program: Witness,
    /// What of the promise it does not keep.
    pub wrong: Wrong,
}

/// What of a promise a program does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is for another machine than this.
    Machine(Platform),
    /// Floating-point numbers travel in the other way than on arm of this level.
    Float {
        /// The level, as the number of OCI's variant.
        level: u32,
        /// Whether it was named; arm without a variant is understood.
        is_named: bool,
    },
    /// It needs a higher level than is promised to be enough.
    Level {
        /// What it needs.
        needed: u32,
        /// What is promised.
        enough: u32,
        /// Whether that was named; arm without a variant is understood.
        is_named: bool,
    },
}

impl Misfit {
    /// Says which program it is, what it runs on, and what `promiser` promises:
    /// `/bin/busybox is ELF 32-bit ARM, EABI5 soft-float; the tag promises hard-float (arm/v7)`.
    pub fn told(&self, promiser: &str) -> String {
        let Witness { path, role, machine } = &self.program;
        let which = match (&self.fitting, role) {
            (None, _) => path.clone(),
            (Some(fitting), Role::Loader) => format!("{fitting} fits, but {path}, which loads it,"),
            (Some(fitting), Role::Command) => format!("{fitting} fits, but {path}, which the command names,"),
            (Some(fitting), _) => format!("{fitting} fits, but {path}, which starts it,"),
        };
        let promised = match &self.wrong {
            Wrong::Machine(promised) => format!("{promiser} promises {}", in_words(promised)),
            Wrong::Float { level, is_named } => {
                let float = if is_hard_float(*level) { "hard-float" } else { "soft-float" };
                let taken = if *is_named { "" } else { "linux/arm, which is taken for " };
                format!("{promiser} promises {taken}{float} (arm/v{level})")
            }
            Wrong::Level { needed, enough, is_named: true } => {
                format!("it needs v{needed}, and {promiser} promises that v{enough} is enough")
            }
            Wrong::Level { needed, enough, is_named: false } => {
                format!(
                    "it needs v{needed}, and {promiser} promises linux/arm, for which v{enough} is taken to be enough"
                )
            }
        };
        format!("{which} is {}; {promised}", machine.shown)
    }
}

impl Evidence {
    /// How the files stand to `promised`.
    ///
    /// The first witness decides. The others are needed to start it, so that an image in which they
    /// are another machine's does not run either. What a program does not state contradicts nothing,
    /// and what could not be read takes nothing back that was seen.
    pub fn judge(&self, promised: &Platform) -> Proof {
        let is_wrong = |witness: &Witness| Some((witness.clone(), witness.machine.contradiction(promised)?));
        if let Some((program, wrong)) = self.witnesses.first().and_then(is_wrong) {
            return Proof::Mismatch(Misfit { fitting: None, program, wrong });
        }
        if let Some((program, wrong)) = self.witnesses.iter().find_map(is_wrong) {
            let fitting = self.witnesses.first().map(|first| first.path.clone());
            return Proof::Mixed(Misfit { fitting, program, wrong });
        }
        match (&self.gap, self.witnesses.is_empty()) {
            (Some(gap), _) => Proof::Unverifiable(gap.clone()),
            (None, true) => Proof::NoExecutable,
            (None, false) => self.lacks.clone().map_or(Proof::Match, Proof::Lacking),
        }
    }
}

impl Machine {
    /// What of `promised` this is not, if anything.
    fn contradiction(&self, promised: &Platform) -> Option<Wrong> {
        let is_same = self.os == promised.os() && self.architecture.as_deref() == Some(promised.architecture());
        if !is_same {
            return Some(Wrong::Machine(promised.clone()));
        }
        let (level, is_named) = (level(promised)?, promised.variant().is_some());
        if promised.architecture() == "arm" && self.hard_float.is_some_and(|is_hard| is_hard != is_hard_float(level)) {
            return Some(Wrong::Float { level, is_named });
        }
        let needed = self.level.filter(|needed| *needed > level)?;
        Some(Wrong::Level { needed, enough: level, is_named })
    }
}

/// On arm the level names the float ABI, too: soft up to v5 (Debian's armel), hard from v6 on
/// (Raspbian, Alpine's armhf, Debian's armhf).
fn is_hard_float(level: u32) -> bool {
    level >= 6
}

/// The level that is promised, of those architectures that have levels, where one is.
///
/// Old builders' arm without a variant is v7, as clients have it. A plain amd64 promises none: glibc
/// stamps the level of its own build into all that is linked with it, so that each program of a
/// distribution for v2 states that, and the configs of its images name no variant.
fn level(promised: &Platform) -> Option<u32> {
    let variant = match (promised.architecture(), promised.variant()) {
        ("arm", variant) => variant.unwrap_or("v7"),
        ("amd64", Some(variant)) => variant,
        _ => return None,
    };
    variant.strip_prefix('v')?.parse().ok()
}

/// A platform with what its name leaves unsaid: `linux/ppc64le, little-endian`.
fn in_words(platform: &Platform) -> String {
    let particular = match platform.architecture() {
        "386" => "32-bit",
        "mips64" | "ppc64" => "64-bit big-endian",
        "mips64le" | "ppc64le" => "64-bit little-endian",
        "mips" => "32-bit big-endian",
        "mipsle" => "32-bit little-endian",
        _ => return platform.to_string(),
    };
    format!("{platform}, {particular}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(architecture: &str, shown: &str) -> Machine {
        Machine {
            os: "linux".to_owned(),
            architecture: Some(architecture.to_owned()),
            level: None,
            hard_float: None,
            shown: shown.to_owned(),
        }
    }

    fn arm(level: Option<u32>, hard_float: Option<bool>) -> Machine {
        Machine { level, hard_float, ..machine("arm", "ELF 32-bit ARM, EABI5") }
    }

    fn evidence(machines: &[(Role, &Machine)]) -> Evidence {
        let witness = |(role, machine): &(Role, &Machine)| {
            let path = if *role == Role::Loader { "/lib/ld.so" } else { "/bin/busybox" };
            Witness { path: path.to_owned(), role: *role, machine: (*machine).clone() }
        };
        Evidence { witnesses: machines.iter().map(witness).collect(), ..Evidence::default() }
    }

    fn judge(machine: &Machine, platform: &str) -> String {
        told(&evidence(&[(Role::EntryPoint, machine)]), platform)
    }

    fn told(evidence: &Evidence, platform: &str) -> String {
        match evidence.judge(&platform.parse().expect("a platform")) {
            Proof::Match => "match".to_owned(),
            Proof::Mismatch(misfit) => format!("mismatch: {}", misfit.told("the tag")),
            Proof::Mixed(misfit) => format!("mixed: {}", misfit.told("the tag")),
            Proof::Lacking(what) => format!("lacking: {what}"),
            Proof::NoExecutable => "no executable".to_owned(),
            Proof::Unverifiable(why) => format!("unverifiable: {why}"),
        }
    }

    #[test]
    fn another_machine_is_a_mismatch_in_words_of_size_and_byte_order() {
        let amd64 = machine("amd64", "ELF 64-bit x86-64");
        assert_eq!(judge(&amd64, "linux/amd64"), "match");
        assert_eq!(
            judge(&amd64, "linux/386"),
            "mismatch: /bin/busybox is ELF 64-bit x86-64; the tag promises linux/386, 32-bit"
        );
        let ppc64 = machine("ppc64", "ELF 64-bit big-endian PowerPC, ELFv1 ABI");
        assert_eq!(
            judge(&ppc64, "linux/ppc64le"),
            "mismatch: /bin/busybox is ELF 64-bit big-endian PowerPC, ELFv1 ABI; the tag promises linux/ppc64le, 64-bit little-endian"
        );
        let x32 = Machine { architecture: None, ..machine("", "ELF 32-bit x86-64, x32") };
        assert_eq!(
            judge(&x32, "linux/amd64"),
            "mismatch: /bin/busybox is ELF 32-bit x86-64, x32; the tag promises linux/amd64"
        );
        assert!(judge(&amd64, "windows/amd64").starts_with("mismatch"), "a system is more than its processor");
    }

    #[test]
    fn on_arm_the_float_abi_is_part_of_the_promise() {
        for platform in ["linux/arm/v7", "linux/arm/v6", "linux/arm"] {
            assert_eq!(judge(&arm(None, Some(true)), platform), "match", "{platform}");
            assert!(judge(&arm(None, Some(false)), platform).contains("hard-float (arm/v"), "{platform}");
        }
        assert_eq!(judge(&arm(None, Some(false)), "linux/arm/v5"), "match");
        assert_eq!(
            judge(&arm(None, Some(true)), "linux/arm/v5"),
            "mismatch: /bin/busybox is ELF 32-bit ARM, EABI5; the tag promises soft-float (arm/v5)"
        );
        assert_eq!(judge(&arm(None, None), "linux/arm/v5"), "match", "Go's programs do not say");
        assert_eq!(judge(&arm(None, None), "linux/arm/v7"), "match", "Go's programs do not say");
    }

    #[test]
    fn a_level_that_is_only_understood_is_not_said_to_be_promised() {
        assert_eq!(
            judge(&arm(None, Some(false)), "linux/arm"),
            "mismatch: /bin/busybox is ELF 32-bit ARM, EABI5; the tag promises linux/arm, which is taken for hard-float (arm/v7)"
        );
        assert_eq!(
            judge(&arm(Some(8), Some(true)), "linux/arm"),
            "mismatch: /bin/busybox is ELF 32-bit ARM, EABI5; it needs v8, and the tag promises linux/arm, for which v7 is taken to be enough"
        );
    }

    #[test]
    fn a_program_may_need_less_than_the_tag_promises_and_no_more() {
        assert_eq!(judge(&arm(Some(6), Some(true)), "linux/arm/v7"), "match");
        assert_eq!(
            judge(&arm(Some(7), Some(true)), "linux/arm/v6"),
            "mismatch: /bin/busybox is ELF 32-bit ARM, EABI5; it needs v7, and the tag promises that v6 is enough"
        );
        let v3 = Machine { level: Some(3), ..machine("amd64", "ELF 64-bit x86-64, needs level v3") };
        assert_eq!(judge(&v3, "linux/amd64/v3"), "match");
        assert_eq!(
            judge(&v3, "linux/amd64/v2"),
            "mismatch: /bin/busybox is ELF 64-bit x86-64, needs level v3; it needs v3, and the tag promises that v2 is enough"
        );
    }

    #[test]
    fn a_distribution_built_for_a_higher_level_keeps_the_promise_of_a_plain_amd64() {
        let v2 = Machine { level: Some(2), ..machine("amd64", "ELF 64-bit x86-64, needs level v2") };
        assert_eq!(judge(&v2, "linux/amd64"), "match", "every program of RHEL 9 states v2, and its config no variant");
    }

    #[test]
    fn what_a_program_needs_to_start_must_fit_too() {
        let (arm64, amd64) = (machine("arm64", "ELF 64-bit ARM64"), machine("amd64", "ELF 64-bit x86-64"));
        let mixed = evidence(&[(Role::EntryPoint, &arm64), (Role::Loader, &amd64)]);
        assert_eq!(
            told(&mixed, "linux/arm64"),
            "mixed: /bin/busybox fits, but /lib/ld.so, which loads it, is ELF 64-bit x86-64; the tag promises linux/arm64"
        );
        assert!(told(&mixed, "linux/amd64").starts_with("mismatch"), "what is started decides");
        let command = evidence(&[(Role::EntryPoint, &arm64), (Role::Command, &amd64)]);
        assert!(told(&command, "linux/arm64").contains(", which the command names, is ELF 64-bit x86-64;"));
        let lacking = Evidence { lacks: Some("it lacks".to_owned()), ..evidence(&[(Role::EntryPoint, &arm64)]) };
        assert_eq!(told(&lacking, "linux/arm64"), "lacking: it lacks");
    }

    #[test]
    fn a_gap_is_never_a_match_and_no_program_is_no_proof() {
        assert_eq!(told(&Evidence::default(), "linux/amd64"), "no executable");
        let amd64 = machine("amd64", "ELF 64-bit x86-64");
        let gap = Evidence { gap: Some("a bomb".to_owned()), ..evidence(&[(Role::EntryPoint, &amd64)]) };
        assert_eq!(told(&gap, "linux/amd64"), "unverifiable: a bomb");
    }

    #[test]
    fn what_was_seen_before_a_gap_still_contradicts() {
        let (arm64, amd64) = (machine("arm64", "ELF 64-bit ARM64"), machine("amd64", "ELF 64-bit x86-64"));
        let gap = |machines: &[_]| Evidence { gap: Some("a bomb".to_owned()), ..evidence(machines) };
        assert_eq!(
            told(&gap(&[(Role::EntryPoint, &amd64)]), "linux/arm64"),
            "mismatch: /bin/busybox is ELF 64-bit x86-64; the tag promises linux/arm64"
        );
        let loader = gap(&[(Role::EntryPoint, &arm64), (Role::Loader, &amd64)]);
        assert!(told(&loader, "linux/arm64").starts_with("mixed"));
    }
}
