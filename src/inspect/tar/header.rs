//! The header block of one entry.

use crate::inspect::limits::Flaw;

/// The size of a block; headers and the room for each file are whole blocks.
pub(super) const BLOCK: usize = 512;

/// No file is larger, so that sums of sizes need not be checked.
const LARGEST_FILE: u64 = 1 << 50;

/// What an entry's header says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    /// A device or a pipe.
    Special,
    /// A file of which only parts are stored, as GNU tar writes it.
    Sparse,
    /// GNU tar: the name, or the target, of the next entry.
    LongName,
    LongLink,
    /// Records about the next entry, or about all that follow.
    Pax,
    GlobalPax,
    /// The archive's own label.
    Label,
}

/// A header, its numbers read and its checksum checked.
#[derive(Debug)]
pub(super) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) mode: u64,
    /// Whether the map of a sparse file goes on in the next block.
    pub(super) is_sparse_map_continued: bool,
}

impl Header<'_> {
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Header<'_>, Flaw> {
        let wrong = |what: &str| Flaw::new(format!("its archive has a header with {what}"));
        let told = number(&block[148..156]).ok_or_else(|| wrong("no checksum"))?;
        // Old writers took bytes for signed numbers.
        let is_it = |sum: i32| u64::try_from(sum) == Ok(told);
        if !is_it(checksum(block, i32::from)) && !is_it(checksum(block, |byte| byte.cast_signed().into())) {
            return Err(wrong("a wrong checksum"));
        }
        let kind = match block[156] {
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' | b'4' | b'6' => Kind::Special,
            b'5' => Kind::Directory,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            b'S' => Kind::Sparse,
            b'V' => Kind::Label,
            b'x' => Kind::Pax,
            b'g' => Kind::GlobalPax,
            other => return Err(wrong(&format!("an entry of unknown kind {:?}", char::from(other)))),
        };
        let size = number(&block[124..136]).filter(|size| *size <= LARGEST_FILE);
        Ok(Header {
            block,
            kind,
            size: size.ok_or_else(|| wrong("an impossible size"))?,
            mode: number(&block[100..108]).ok_or_else(|| wrong("an impossible mode"))?,
            is_sparse_map_continued: block[482] != 0,
        })
    }

    /// The name; ustar keeps the beginning of a long one in a field of its own.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = if &self.block[257..265] == b"ustar\x0000" { text(&self.block[345..500]) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Where a link leads.
    pub(super) fn link(&self) -> &[u8] {
        text(&self.block[157..257])
    }
}

/// The sum of a header's bytes, its own field counted as blanks.
fn checksum(block: &[u8; BLOCK], number: impl Fn(u8) -> i32) -> i32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| number(*byte)).sum::<i32>();
    sum(block) - sum(&block[148..156]) + sum(b"        ")
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or binary as GNU tar writes large ones (the first bit set).
fn number(field: &[u8]) -> Option<u64> {
    if let [first @ 0x80..=0xff, rest @ ..] = field {
        let start = u64::from(first & 0x7f);
        return rest.iter().try_fold(start, |number, byte| Some(number.checked_mul(256)? + u64::from(*byte)));
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    let (digits, behind) = digits.split_at(end);
    if !behind.iter().all(is_blank) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| match digit {
        b'0'..=b'7' => Some(number.checked_mul(8)? + u64::from(digit - b'0')),
        _ => None,
    })
}
