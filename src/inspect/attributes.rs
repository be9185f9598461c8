//! What ARM programs state about the level and the float ABI that they were built for.
//!
//! "Addenda to, and Errata in, the ABI for the Arm Architecture", section "Build Attributes"; and
//! what Go's linker leaves about how a program was built.

/// How much of a Go program's data is looked through for how it was built.
pub(super) const GO_BYTES: u64 = 64 * 1024;

const TAG_FILE: u64 = 1;
const TAG_CPU_RAW_NAME: u64 = 4;
const TAG_CPU_NAME: u64 = 5;
const TAG_CPU_ARCH: u64 = 6;
const TAG_ABI_VFP_ARGS: u64 = 28;
const TAG_COMPATIBILITY: u64 = 32;

/// What was stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The lowest level that is needed, `7` for v7.
    pub(super) level: Option<u32>,
    /// Whether floating-point numbers travel in registers of their own.
    pub(super) hard_float: Option<bool>,
}

impl Attributes {
    /// These, and from `other` what is not stated here.
    pub(super) fn or(self, other: Attributes) -> Attributes {
        Attributes { level: self.level.or(other.level), hard_float: self.hard_float.or(other.hard_float) }
    }
}

/// Reads a section `.ARM.attributes`. What cannot be read was not stated.
pub(super) fn of_arm(section: &[u8], is_big: bool) -> Attributes {
    let mut attributes = Attributes::default();
    let length = |bytes: &[u8]| {
        let bytes = bytes.first_chunk::<4>()?;
        let length = if is_big { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
        usize::try_from(length).ok()
    };
    let vendor = section.strip_prefix(b"A").and_then(|rest| rest.get(4..length(rest)?));
    let Some(mut files) = vendor.and_then(|vendor| vendor.strip_prefix(b"aeabi\0")) else {
        return attributes;
    };
    while let Some((tag, rest)) = uleb(files) {
        let read = files.len() - rest.len();
        let Some(len) = length(rest).filter(|len| *len >= read + 4 && *len <= files.len()) else {
            break;
        };
        if tag == TAG_FILE {
            read_pairs(&files[read + 4..len], &mut attributes);
        }
        files = &files[len..];
    }
    // Where it is not said how floats are passed, the base standard is: in core registers.
    if attributes.level.is_some() && attributes.hard_float.is_none() {
        attributes.hard_float = Some(false);
    }
    attributes
}

fn read_pairs(mut pairs: &[u8], attributes: &mut Attributes) {
    while let Some((tag, rest)) = uleb(pairs) {
        let is_text = matches!(tag, TAG_CPU_RAW_NAME | TAG_CPU_NAME) || tag > TAG_COMPATIBILITY && tag % 2 == 1;
        let mut rest = rest;
        if !is_text {
            let Some((value, behind)) = uleb(rest) else { return };
            match tag {
                TAG_CPU_ARCH => attributes.level = level(value),
                TAG_ABI_VFP_ARGS => {
                    attributes.hard_float = match value {
                        0 => Some(false),
                        1 => Some(true),
                        _ => None,
                    }
                }
                _ => {}
            }
            rest = behind;
        }
        if is_text || tag == TAG_COMPATIBILITY {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return };
            rest = &rest[end + 1..];
        }
        pairs = rest;
    }
}

/// The level of a value of `Tag_CPU_arch`.
fn level(value: u64) -> Option<u32> {
    match value {
        1 | 2 => Some(4),
        3..=5 => Some(5),
        6..=9 | 11 | 12 => Some(6),
        10 | 13 => Some(7),
        14..=21 => Some(8),
        22 => Some(9),
        _ => None,
    }
}

/// A number in groups of seven bits, the lowest first, and what is behind it.
fn uleb(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

/// Reads the build settings that stand at the beginning of a Go program's data: `GOARM`.
pub(super) fn of_go(data: &[u8]) -> Attributes {
    let find = |needle: &[u8]| data.windows(needle.len()).position(|window| window == needle);
    if find(b"\xff Go buildinf:").is_none() {
        return Attributes::default();
    }
    let key = b"\nbuild\tGOARM=";
    let Some(value) = find(key).and_then(|at| data.get(at + key.len()..at + key.len() + 11)) else {
        return Attributes::default();
    };
    let hard_float = match &value[1..] {
        [b',', b'h', ..] => Some(true),
        [b',', b's', ..] => Some(false),
        _ => None,
    };
    Attributes { level: char::from(value[0]).to_digit(10).filter(|level| (5..=8).contains(level)), hard_float }
}
