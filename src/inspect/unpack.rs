//! Decompression: gzip (RFC 1952), Zstandard (RFC 8878), or nothing at all.
//!
//! The framing of gzip is read here, the rest is left to the libraries. Both formats may come in
//! several pieces, one behind the other, which together are the layer.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::limits::{Flaw, RATIO, RATIO_FROM};

/// How much is unpacked at a time.
const STEP_BYTES: usize = 128 * 1024;
/// The largest window of Zstandard, as a power of two: 128 MiB. A larger one is refused.
const LARGEST_WINDOW_LOG: u32 = 27;
/// The longest gzip header.
const LONGEST_GZIP_HEADER: usize = 64 * 1024;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    /// What the media type says; `None` where it is not one of a layer that can be read.
    pub(super) fn of_media_type(media_type: &str) -> Option<Packing> {
        if media_type.ends_with("+gzip") || media_type.ends_with(".tar.gzip") {
            Some(Packing::Gzip)
        } else if media_type.ends_with("+zstd") || media_type.ends_with(".tar.zstd") {
            Some(Packing::Zstd)
        } else {
            media_type.ends_with(".tar").then_some(Packing::None)
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::None => "not compressed",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }
}

/// What the first bytes are, in words; `None` where they are none of the kinds that are known.
fn sniff(start: &[u8]) -> Result<Packing, &'static str> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Packing::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Packing::Zstd),
        [0xfd, b'7', b'z', b'X', ..] => Err("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err("bzip2"),
        _ => Ok(Packing::None),
    }
}

/// Unpacks a layer as it comes.
pub(super) struct Unpacker {
    promised: Packing,
    /// The first bytes, as long as they are too few to tell what they are.
    start: Vec<u8>,
    decoder: Option<Box<dyn Unpack>>,
    input_bytes: u64,
    output_bytes: u64,
    most_output_bytes: u64,
    output: Vec<u8>,
}

/// One of the formats. `step` takes from `input` and gives to `output`, and says how much.
trait Unpack: Send {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Flaw>;
    /// Whether the input may end here.
    fn may_end(&self) -> bool;
}

impl Unpacker {
    pub(super) fn new(promised: Packing, most_output_bytes: u64) -> Unpacker {
        Unpacker {
            promised,
            start: Vec::new(),
            decoder: None,
            input_bytes: 0,
            output_bytes: 0,
            most_output_bytes,
            output: vec![0; STEP_BYTES],
        }
    }

    /// How many bytes were unpacked so far.
    pub(super) fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// Takes some input, and gives what it unpacks to to `take`.
    pub(super) fn feed(&mut self, input: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<(), Flaw>) -> Result<(), Flaw> {
        self.input_bytes += input.len() as u64;
        if self.decoder.is_some() {
            return self.unpack(input, take);
        }
        self.start.extend_from_slice(input);
        if self.start.len() < 4 {
            return Ok(());
        }
        self.decide()?;
        let start = std::mem::take(&mut self.start);
        self.unpack(&start, take)
    }

    /// Says that there is no more input.
    pub(super) fn finish(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<(), Flaw>) -> Result<(), Flaw> {
        if self.decoder.is_none() && !self.start.is_empty() {
            self.decide()?;
            let start = std::mem::take(&mut self.start);
            self.unpack(&start, take)?;
        }
        match &self.decoder {
            Some(decoder) if !decoder.may_end() => Err(Flaw::new("it ends in the middle")),
            _ => Ok(()),
        }
    }

    fn decide(&mut self) -> Result<(), Flaw> {
        let found = sniff(&self.start);
        match found {
            Ok(found) if found == self.promised => {}
            Ok(Packing::None) => return Err(Flaw::new(format!("it is not {}, as it should be", self.promised.name()))),
            Ok(found) => {
                let (found, promised) = (found.name(), self.promised.name());
                return Err(Flaw::new(format!("it is {found}, and its media type says {promised}")));
            }
            Err(found) => return Err(Flaw::new(format!("it is compressed with {found}, which layers are not"))),
        }
        self.decoder = Some(match self.promised {
            Packing::None => Box::new(Stored),
            Packing::Gzip => Box::new(Gzip::default()),
            Packing::Zstd => Box::new(Zstd::new()?),
        });
        Ok(())
    }

    fn unpack(&mut self, mut input: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<(), Flaw>) -> Result<(), Flaw> {
        let decoder = self.decoder.as_mut().expect("it was decided before anything is unpacked");
        let output = &mut self.output;
        loop {
            let (taken, given) = decoder.step(input, output)?;
            input = &input[taken..];
            self.output_bytes += given as u64;
            if self.output_bytes > self.most_output_bytes {
                let most = self.most_output_bytes >> 20;
                let why = format!("it unpacks to more than {most} MiB, which is the most that is read");
                return Err(Flaw::of_limits(why));
            }
            if self.output_bytes > RATIO_FROM && self.output_bytes / RATIO > self.input_bytes {
                return Err(Flaw::new(format!("it unpacks to more than {RATIO} times its size, as a bomb does")));
            }
            take(&output[..given])?;
            if taken == 0 && given == 0 || input.is_empty() && given < output.len() {
                return if input.is_empty() { Ok(()) } else { Err(Flaw::new("its compressed data is damaged")) };
            }
        }
    }
}

/// Not compressed.
struct Stored;

impl Unpack for Stored {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Flaw> {
        let len = input.len().min(output.len());
        output[..len].copy_from_slice(&input[..len]);
        Ok((len, len))
    }

    fn may_end(&self) -> bool {
        true
    }
}

/// The members of a gzip file (RFC 1952, section 2.2), one after the other.
#[derive(Default)]
struct Gzip {
    state: GzipState,
    inflate: Option<Decompress>,
    crc: Crc,
}

#[derive(Debug)]
enum GzipState {
    /// In a header.
    Header(GzipHeader),
    /// In the compressed data.
    Data,
    /// In the checksum and length behind it.
    Trailer(Vec<u8>),
    /// Behind a member, where zeros may stand until the end.
    Between,
    /// In zeros behind the last member.
    Padding,
}

impl Default for GzipState {
    fn default() -> GzipState {
        GzipState::Header(GzipHeader::default())
    }
}

impl Unpack for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Flaw> {
        let Some(&first) = input.first() else {
            return if matches!(self.state, GzipState::Data) { self.inflate(input, output) } else { Ok((0, 0)) };
        };
        match &mut self.state {
            GzipState::Header(header) => {
                if header.take(first)? {
                    self.state = GzipState::Data;
                    self.crc = Crc::new();
                    match &mut self.inflate {
                        Some(inflate) => inflate.reset(false),
                        None => self.inflate = Some(Decompress::new(false)),
                    }
                }
                Ok((1, 0))
            }
            GzipState::Data => self.inflate(input, output),
            GzipState::Trailer(trailer) => {
                trailer.push(first);
                if let Ok(trailer) = <[u8; 8]>::try_from(trailer.as_slice()) {
                    let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
                    let (crc, len) = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([l0, l1, l2, l3]));
                    if crc != self.crc.sum() || len != self.crc.amount() {
                        return Err(Flaw::new("its gzip checksum is wrong"));
                    }
                    self.state = GzipState::Between;
                }
                Ok((1, 0))
            }
            GzipState::Between if first != 0 => {
                self.state = GzipState::default();
                self.step(input, output)
            }
            GzipState::Between | GzipState::Padding => {
                self.state = GzipState::Padding;
                let zeros = input.iter().take_while(|byte| **byte == 0).count();
                if zeros == 0 {
                    Err(Flaw::new("something stands behind the end of its gzip data"))
                } else {
                    Ok((zeros, 0))
                }
            }
        }
    }

    fn may_end(&self) -> bool {
        matches!(self.state, GzipState::Between | GzipState::Padding)
    }
}

impl Gzip {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Flaw> {
        let inflate = self.inflate.as_mut().expect("it is made with the first header");
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let damaged = |_| Flaw::new("its gzip data is damaged");
        let status = inflate.decompress(input, output, FlushDecompress::None).map_err(damaged)?;
        let taken = usize::try_from(inflate.total_in() - before_in).unwrap_or(input.len());
        let given = usize::try_from(inflate.total_out() - before_out).unwrap_or(output.len());
        self.crc.update(&output[..given]);
        if status == Status::StreamEnd {
            self.state = GzipState::Trailer(Vec::new());
        }
        Ok((taken, given))
    }
}

/// How much of a gzip header came; nothing of it is kept.
#[derive(Debug)]
struct GzipHeader {
    len: usize,
    /// The optional parts that are still to come.
    flags: u8,
    part: GzipPart,
}

/// The part of a gzip header that is passed over.
#[derive(Clone, Copy, Debug)]
enum GzipPart {
    /// So many more bytes.
    Bytes(u16),
    /// The length of the part that follows, and its first byte where that came.
    Len(Option<u8>),
    /// Text that a zero ends.
    Text,
}

impl Default for GzipHeader {
    fn default() -> GzipHeader {
        GzipHeader { len: 0, flags: 0, part: GzipPart::Bytes(10) }
    }
}

impl GzipHeader {
    /// Takes the next byte; whether it is the last.
    fn take(&mut self, byte: u8) -> Result<bool, Flaw> {
        let is_right = match self.len {
            0 => byte == 0x1f,
            1 => byte == 0x8b,
            2 => byte == 8,
            3 => byte & 0xe0 == 0,
            _ => true,
        };
        if !is_right {
            return Err(Flaw::new("something that is not gzip stands where gzip should"));
        }
        if self.len == 3 {
            self.flags = byte;
        }
        self.len += 1;
        if self.len > LONGEST_GZIP_HEADER {
            return Err(Flaw::new("its gzip header does not end"));
        }
        let (part, is_over) = match self.part {
            GzipPart::Bytes(left) => (GzipPart::Bytes(left - 1), left == 1),
            GzipPart::Len(None) => (GzipPart::Len(Some(byte)), false),
            GzipPart::Len(Some(low)) => {
                let len = u16::from_le_bytes([low, byte]);
                (GzipPart::Bytes(len), len == 0)
            }
            GzipPart::Text => (GzipPart::Text, byte == 0),
        };
        self.part = part;
        Ok(is_over && !self.begin_next_part())
    }

    /// Begins the next optional part; whether there is one.
    fn begin_next_part(&mut self) -> bool {
        const PARTS: [(u8, GzipPart); 4] =
            [(4, GzipPart::Len(None)), (8, GzipPart::Text), (16, GzipPart::Text), (2, GzipPart::Bytes(2))];
        let next = PARTS.into_iter().find(|(flag, _)| self.flags & flag != 0);
        if let Some((flag, part)) = next {
            self.flags &= !flag;
            self.part = part;
        }
        next.is_some()
    }
}

/// The frames of Zstandard data, one after the other; those to be skipped are.
struct Zstd {
    decoder: Decoder<'static>,
    is_between: bool,
}

impl Zstd {
    fn new() -> Result<Zstd, Flaw> {
        let no_memory = |_| Flaw::of_machine("there is no memory to unpack it");
        let mut decoder = Decoder::new().map_err(no_memory)?;
        decoder.set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG)).map_err(no_memory)?;
        Ok(Zstd { decoder, is_between: true })
    }
}

impl Unpack for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Flaw> {
        if input.is_empty() && self.is_between {
            return Ok((0, 0));
        }
        let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
        let hint = self.decoder.run(&mut input, &mut output).map_err(|error| {
            let is_window = error.to_string().contains("requires too much memory");
            let why = if is_window { "it needs a window of more than 128 MiB" } else { "its zstd data is damaged" };
            Flaw::new(why)
        })?;
        self.is_between = hint == 0;
        Ok((input.pos(), output.pos()))
    }

    fn may_end(&self) -> bool {
        self.is_between
    }
}

#[cfg(test)]
mod tests;
