//! One file of a layer as it streams by: what is kept of it, until it is known what it is.
//!
//! A stream gives every byte once. A reader (`elf`, `pe`) asks for the pieces that it needs and is
//! run again once they came; it is content with less where a piece has already gone by.

mod sought;

use serde::{Deserialize, Serialize};

use super::{elf, pe};
use crate::model::Machine;
use sought::Sought;

/// How much is kept of the beginning of a file that may be a program.
const HEAD_BYTES: usize = 4096;
/// How much is kept of the end of one that says something there.
const TAIL_BYTES: usize = 16 * 1024;
/// The longest piece that is kept from the middle, and how many.
const LONGEST_PIECE: u64 = 64 * 1024;
const MOST_PIECES: usize = 8;
/// How much is kept of what was found by its beginning.
const LONGEST_FOUND: u64 = 4096;
/// The longest first line of a script that Linux reads.
const LONGEST_SHEBANG: usize = 256;

/// How everything begins that can be started: ELF, scripts, and programs for Windows.
const MAGIC: [&[u8]; 3] = [b"\x7fELF", b"#!", b"MZ"];
const LONGEST_MAGIC: usize = 4;

/// What a file is, as far as starting it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nature {
    /// Nothing that can be started.
    Data,
    /// A program.
    Program(Box<Program>),
    /// A script; the text behind its `#!`.
    Script(String),
    /// It looks like a program and cannot be started; what it is.
    Odd(String),
    /// It was not looked into.
    Unread,
}

/// A program, and what the kernel starts it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What it runs on.
    pub machine: Machine,
    /// The loader that it names, if any.
    pub loader: Option<String>,
    /// Why the kernel may not start it for all that, if so; what it is instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
}

impl Nature {
    /// How many bytes of text are kept of it.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Nature::Data | Nature::Unread => 0,
            Nature::Script(text) | Nature::Odd(text) => text.len(),
            Nature::Program(program) => {
                let Program { machine, loader, flaw } = &**program;
                let optional =
                    [&machine.architecture, loader, flaw].into_iter().flatten().map(String::len).sum::<usize>();
                machine.os.len() + machine.shown.len() + optional
            }
        }
    }
}

/// What a file is that is there as a whole.
pub fn nature_of(file: &[u8]) -> Nature {
    let mut probe = Probe::new(file.len() as u64);
    probe.feed(file);
    probe.nature.unwrap_or(Nature::Data)
}

/// What is there of a piece that a reader asks for.
pub(super) enum Fetch<'a> {
    /// All of it.
    Here(&'a [u8]),
    /// It will come; ask again.
    Later,
    /// It has gone by, or is beyond the end.
    Gone,
}

/// What was kept of a file.
#[derive(Debug)]
pub(super) struct Seen {
    size: u64,
    at: u64,
    head: Vec<u8>,
    pieces: Vec<Piece>,
    /// The last bytes that came, where the end is of interest.
    tail: Option<Vec<u8>>,
    sought: Option<Sought>,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    len: usize,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.len as u64
    }
}

impl Seen {
    /// `len` bytes from `start` on.
    pub(super) fn fetch(&mut self, start: u64, len: usize) -> Fetch<'_> {
        let Some(end) = start.checked_add(len as u64).filter(|end| *end <= self.size) else {
            return Fetch::Gone;
        };
        if end <= self.head.len() as u64 {
            let from = usize::try_from(start).expect("it is within the head");
            return Fetch::Here(&self.head[from..from + len]);
        }
        if let Some(index) = self.pieces.iter().position(|piece| piece.start <= start && end <= piece.end()) {
            let piece = &self.pieces[index];
            let from = usize::try_from(start - piece.start).expect("it is within the piece");
            return piece.bytes.get(from..from + len).map_or(Fetch::Later, Fetch::Here);
        }
        if let Some(tail) = &self.tail {
            let tail_start = self.size.saturating_sub(TAIL_BYTES as u64);
            if start >= tail_start {
                if self.at < self.size {
                    return Fetch::Later;
                }
                let first = self.at - tail.len() as u64;
                let from = start.checked_sub(first).map(|from| usize::try_from(from).expect("the tail is short"));
                return from.map_or(Fetch::Gone, |from| Fetch::Here(&tail[from..from + len]));
            }
        }
        if self.pieces.len() >= MOST_PIECES || len as u64 > LONGEST_PIECE {
            return Fetch::Gone;
        }
        // What is both in the head and behind it begins with what was kept.
        let kept = self.head.len() as u64;
        let bytes = match start {
            start if start >= self.at => Vec::new(),
            start if self.at == kept && start < kept => {
                self.head[usize::try_from(start).expect("it is within the head")..].to_vec()
            }
            _ => return Fetch::Gone,
        };
        self.pieces.push(Piece { start, len, bytes });
        Fetch::Later
    }

    /// Keeps what stands from `start` on, as far as a piece goes, and behind that what may be ARM's
    /// build attributes, for whoever asks for them once it is known where they are.
    pub(super) fn keep_attributes(&mut self, start: u64) {
        if self.sought.is_some() {
            return;
        }
        let len = self.size.saturating_sub(start).min(LONGEST_PIECE);
        if len > 0 {
            self.fetch(start, usize::try_from(len).expect("a piece is short"));
        }
        self.sought = Some(Sought::new(start));
    }

    /// Keeps the end of the file, which is where some programs say what they need.
    pub(super) fn keep_tail(&mut self) {
        // What came between the head and here has gone by.
        let is_head = self.at == self.head.len() as u64;
        self.tail.get_or_insert_with(|| if is_head { self.head.clone() } else { Vec::new() });
    }

    fn take(&mut self, bytes: &[u8]) {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let is_head = self.at == self.head.len() as u64;
        if is_head {
            self.head.extend_from_slice(&bytes[..wanted]);
        }
        for piece in &mut self.pieces {
            let missing = piece.start + piece.bytes.len() as u64;
            let offset = missing.saturating_sub(self.at);
            if let Some(rest) = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)) {
                let len = rest.len().min(piece.len - piece.bytes.len());
                piece.bytes.extend_from_slice(&rest[..len]);
            }
        }
        if let Some(tail) = &mut self.tail {
            let new = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
            let too_many = (tail.len() + new.len()).saturating_sub(TAIL_BYTES);
            tail.drain(..too_many.min(tail.len()));
            tail.extend_from_slice(new);
        }
        if let Some(sought) = &mut self.sought {
            for (start, mut bytes) in sought.take(self.at, bytes) {
                let len = self.size.saturating_sub(start).min(LONGEST_FOUND);
                let len = usize::try_from(len).expect("it is short");
                bytes.truncate(len);
                self.pieces.push(Piece { start, len, bytes });
            }
        }
        self.at += bytes.len() as u64;
    }
}

/// Finds out what one file is, from its bytes as they come.
#[derive(Debug)]
pub struct Probe {
    seen: Seen,
    nature: Option<Nature>,
}

impl Probe {
    /// For a file of so many bytes.
    pub fn new(size: u64) -> Probe {
        let seen = Seen { size, at: 0, head: Vec::new(), pieces: Vec::new(), tail: None, sought: None };
        Probe { seen, nature: (size == 0).then_some(Nature::Data) }
    }

    /// What the file is, once that is known.
    pub fn nature(&self) -> Option<&Nature> {
        self.nature.as_ref()
    }

    /// Takes the next bytes of the file, of which there are no more than its size.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        // Of most files the first bytes say enough, and nothing needs to be kept.
        if self.seen.at == 0 && bytes.len() >= LONGEST_MAGIC && !MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
            self.nature = Some(Nature::Data);
        }
        // The head by itself, so that pieces behind it are asked for before they go by.
        while self.nature.is_none() && !bytes.is_empty() {
            let until_head = HEAD_BYTES.saturating_sub(self.seen.head.len());
            let len = if until_head > 0 { until_head.min(bytes.len()) } else { self.step(bytes.len()) };
            self.seen.take(&bytes[..len]);
            bytes = &bytes[len..];
            let is_decisive = self.seen.head.len() >= HEAD_BYTES || self.seen.at == self.seen.size;
            if is_decisive && (until_head > 0 || self.is_complete()) {
                self.nature = self.look();
            }
        }
    }

    /// How many of `len` bytes to take before looking again: up to where a piece is complete.
    fn step(&self, len: usize) -> usize {
        let ends = self.seen.pieces.iter().filter(|piece| piece.bytes.len() < piece.len);
        let next = ends.map(|piece| piece.end()).min().unwrap_or(self.seen.size);
        usize::try_from(next.saturating_sub(self.seen.at)).map_or(len, |next| next.clamp(1, len))
    }

    /// Whether everything that was asked for is there, so that looking again is worth it.
    fn is_complete(&self) -> bool {
        let seen = &self.seen;
        seen.at == seen.size || seen.pieces.iter().any(|piece| piece.end() == seen.at)
    }

    fn look(&mut self) -> Option<Nature> {
        let seen = &mut self.seen;
        let nature = match seen.head.as_slice() {
            [0x7f, b'E', b'L', b'F', ..] => elf::read(seen),
            [b'#', b'!', line @ ..] => {
                let line = &line[..line.len().min(LONGEST_SHEBANG)];
                let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
                Some(Nature::Script(String::from_utf8_lossy(line).trim().to_owned()))
            }
            [b'M', b'Z', ..] => pe::read(seen),
            _ => Some(Nature::Data),
        };
        // At the end, what did not come does not come.
        let is_end = seen.at == seen.size;
        nature.or_else(|| is_end.then(|| Nature::Odd("a program that is cut off".to_owned())))
    }
}

#[cfg(test)]
mod tests;
