//! ELF: what a program's header says that it runs on.
//!
//! System V ABI, "Object Files", and its supplements for each processor. Of a program that streams
//! by, the headers, the loader's name, and the notes and attributes that state a level are read.

use super::attributes::{self, Attributes};
use super::probe::{Fetch, Nature, Program, Seen};
use crate::model::Machine;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_PROPERTY: u32 = 0x6474_e553;
const SHT_ARM_ATTRIBUTES: u32 = 0x7000_0003;

const EM_386: u16 = 3;
const EM_MIPS: u16 = 8;
const EM_PPC: u16 = 20;
const EM_PPC64: u16 = 21;
const EM_S390: u16 = 22;
const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const EM_BPF: u16 = 247;
const EM_LOONGARCH: u16 = 258;

/// The longest name of a loader, of which one is kept for each program, and the longest property note.
const LONGEST_LOADER: u64 = 256;
const LONGEST_NOTE: u64 = 4096;
/// The most headers of segments and sections that are read; programs have about a dozen and 40.
const MOST_SEGMENTS: u16 = 512;
const MOST_SECTIONS: u16 = 512;

/// The fixed part at the beginning of the file.
#[derive(Clone, Copy, Debug)]
struct Header {
    is_64: bool,
    is_big: bool,
    abi: u8,
    kind: u16,
    machine: u16,
    flags: u32,
    segments: Table,
    sections: Table,
}

/// Where headers of one kind stand.
#[derive(Clone, Copy, Debug)]
struct Table {
    start: u64,
    each: u16,
    count: u16,
}

/// One segment, as far as it matters.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    start: u64,
    len: u64,
    is_writable: bool,
}

/// What else a file states beside its header.
#[derive(Debug, Default)]
struct Stated {
    loader: Option<String>,
    /// What is wrong with it, where it names a loader and nobody can say which.
    flaw: Option<String>,
    attributes: Attributes,
    /// The x86-64 level that is needed.
    level: Option<u32>,
}

/// What a file that begins as ELF does is; `None` as long as too little of it came.
pub(super) fn read(seen: &mut Seen) -> Option<Nature> {
    let Some(header) = header(seen) else {
        return Some(Nature::Odd("a damaged ELF file".to_owned()));
    };
    let odd = match (header.kind, header.machine) {
        (_, EM_BPF) => Some("a program for the kernel (BPF)"),
        (1, _) => Some("an ELF object that is not linked yet"),
        (2 | 3, _) => None,
        (4, _) => Some("a core dump"),
        _ => Some("an ELF file of an unknown kind"),
    };
    if let Some(odd) = odd {
        return Some(Nature::Odd(odd.to_owned()));
    }
    let segments = match segments(seen, &header) {
        Fetched::Here(segments) => segments,
        Fetched::Later => return None,
        Fetched::Gone => return Some(Nature::Odd("an ELF file without a way to load it".to_owned())),
    };
    let stated = stated(seen, &header, &segments)?;
    let machine = machine(&header, &stated);
    Some(Nature::Program(Box::new(Program { machine, loader: stated.loader, flaw: stated.flaw })))
}

/// What [`Fetch`] is for bytes, for what is read from them.
enum Fetched<T> {
    Here(T),
    Later,
    Gone,
}

/// Numbers in the file's own byte order.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    bytes: &'a [u8],
    is_big: bool,
}

impl Numbers<'_> {
    fn number<const N: usize>(self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..at + N).unwrap_or(&[0; N]).iter();
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.is_big { bytes.fold(0, add) } else { bytes.rev().fold(0, add) }
    }

    fn u16(self, at: usize) -> u16 {
        u16::try_from(self.number::<2>(at)).expect("two bytes")
    }

    fn u32(self, at: usize) -> u32 {
        u32::try_from(self.number::<4>(at)).expect("four bytes")
    }

    fn u64(self, at: usize) -> u64 {
        self.number::<8>(at)
    }
}

fn header(seen: &mut Seen) -> Option<Header> {
    let Fetch::Here(ident) = seen.fetch(0, 16) else { return None };
    let (is_64, is_big, abi) = match *ident {
        [_, _, _, _, class @ (1 | 2), order @ (1 | 2), 1, abi, ..] => (class == 2, order == 2, abi),
        _ => return None,
    };
    let Fetch::Here(bytes) = seen.fetch(0, if is_64 { 64 } else { 52 }) else { return None };
    let n = Numbers { bytes, is_big };
    let table = |start, at: usize| Table { start, each: n.u16(at), count: n.u16(at + 2) };
    Some(Header {
        is_64,
        is_big,
        abi,
        kind: n.u16(16),
        machine: n.u16(18),
        flags: n.u32(if is_64 { 48 } else { 36 }),
        segments: if is_64 { table(n.u64(32), 54) } else { table(n.u32(28).into(), 42) },
        sections: if is_64 { table(n.u64(40), 58) } else { table(n.u32(32).into(), 46) },
    })
}

fn segments(seen: &mut Seen, header: &Header) -> Fetched<Vec<Segment>> {
    let Table { start, each, count } = header.segments;
    let least: u16 = if header.is_64 { 56 } else { 32 };
    if each < least || count == 0 || count > MOST_SEGMENTS {
        return Fetched::Gone;
    }
    let bytes = match seen.fetch(start, usize::from(each) * usize::from(count)) {
        Fetch::Here(bytes) => bytes,
        Fetch::Later => return Fetched::Later,
        Fetch::Gone => return Fetched::Gone,
    };
    let segments = bytes.chunks_exact(usize::from(each)).map(|bytes| {
        let n = Numbers { bytes, is_big: header.is_big };
        let kind = n.u32(0);
        match header.is_64 {
            true => Segment { kind, start: n.u64(8), len: n.u64(32), is_writable: n.u32(4) & 2 != 0 },
            false => Segment { kind, start: n.u32(4).into(), len: n.u32(16).into(), is_writable: n.u32(24) & 2 != 0 },
        }
    });
    Fetched::Here(segments.collect())
}

/// Reads what the file states elsewhere; `None` as long as some of it is still to come.
fn stated(seen: &mut Seen, header: &Header, segments: &[Segment]) -> Option<Stated> {
    let mut stated = Stated::default();
    let mut is_waiting = false;
    let find = |kind| segments.iter().find(|segment| segment.kind == kind);

    if let Some(segment) = find(PT_INTERP) {
        match loader(seen, segment) {
            Fetched::Here(name) => stated.loader = Some(name),
            Fetched::Later => is_waiting = true,
            Fetched::Gone => stated.flaw = Some("an ELF file whose loader's name cannot be read".to_owned()),
        }
    }
    let notes = find(PT_GNU_PROPERTY).filter(|segment| header.machine == EM_X86_64 && segment.len <= LONGEST_NOTE);
    if let Some(segment) = notes {
        match seen.fetch(segment.start, usize::try_from(segment.len).unwrap_or_default()) {
            Fetch::Here(bytes) => stated.level = x86_level(Numbers { bytes, is_big: header.is_big }),
            Fetch::Later => is_waiting = true,
            Fetch::Gone => {}
        }
    }
    if header.machine == EM_ARM {
        // Where the attributes stand is said at the end, which is long behind them where a program has
        // its symbols. What is not loaded begins where the last of what is loaded ends.
        let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
        seen.keep_attributes(loaded.map(|segment| segment.start.saturating_add(segment.len)).max().unwrap_or_default());
        seen.keep_tail();
        match arm_attributes(seen, header) {
            Fetched::Here(attributes) => stated.attributes = attributes,
            Fetched::Later => is_waiting = true,
            Fetched::Gone => {}
        }
        let data = segments.iter().find(|segment| segment.kind == PT_LOAD && segment.is_writable);
        if let Some(segment) = data {
            let len = usize::try_from(segment.len.min(attributes::GO_BYTES)).unwrap_or_default();
            match seen.fetch(segment.start, len) {
                Fetch::Here(bytes) => {
                    let mut by_go = attributes::of_go(bytes);
                    // A static program passes floats to nobody, and one without registers for them runs
                    // where there are some.
                    let is_static = find(PT_INTERP).is_none();
                    by_go.hard_float = by_go.hard_float.filter(|is_hard| *is_hard || !is_static);
                    stated.attributes = stated.attributes.or(by_go);
                }
                Fetch::Later => is_waiting = true,
                Fetch::Gone => {}
            }
        }
    }
    (!is_waiting).then_some(stated)
}

/// The name of the loader. Without it a program cannot be told from one that needs none.
fn loader(seen: &mut Seen, segment: &Segment) -> Fetched<String> {
    if segment.len > LONGEST_LOADER {
        return Fetched::Gone;
    }
    match seen.fetch(segment.start, usize::try_from(segment.len).expect("it is short")) {
        Fetch::Here(bytes) => match bytes.split(|byte| *byte == 0).next() {
            None | Some([]) => Fetched::Gone,
            Some(name) => Fetched::Here(String::from_utf8_lossy(name).into_owned()),
        },
        Fetch::Later => Fetched::Later,
        Fetch::Gone => Fetched::Gone,
    }
}

/// The build attributes of ARM, if their section is where it can be read: mostly at the end.
fn arm_attributes(seen: &mut Seen, header: &Header) -> Fetched<Attributes> {
    let Table { start, each, count } = header.sections;
    if header.is_64 || each < 40 || count == 0 || count > MOST_SECTIONS {
        return Fetched::Gone;
    }
    let bytes = match seen.fetch(start, usize::from(each) * usize::from(count)) {
        Fetch::Here(bytes) => bytes,
        Fetch::Later => return Fetched::Later,
        Fetch::Gone => return Fetched::Gone,
    };
    let mut sections = bytes.chunks_exact(usize::from(each)).map(|bytes| Numbers { bytes, is_big: header.is_big });
    let Some(section) = sections.find(|section| section.u32(4) == SHT_ARM_ATTRIBUTES) else {
        return Fetched::Gone;
    };
    let (start, len) = (u64::from(section.u32(16)), section.u32(20).min(4096));
    match seen.fetch(start, usize::try_from(len).unwrap_or_default()) {
        Fetch::Here(bytes) => Fetched::Here(attributes::of_arm(bytes, header.is_big)),
        Fetch::Later => Fetched::Later,
        Fetch::Gone => Fetched::Gone,
    }
}

/// The level of x86-64 that a program says it needs (x86-64 psABI, "GNU property"): the highest
/// bit of `GNU_PROPERTY_X86_ISA_1_NEEDED`. Most programs do not say.
fn x86_level(note: Numbers<'_>) -> Option<u32> {
    let is_gnu = note.u32(0) == 4 && note.u32(8) == 5 && note.bytes.get(12..16) == Some(b"GNU\0");
    let mut at = 16;
    while is_gnu && at + 8 <= note.bytes.len() {
        let (kind, len) = (note.u32(at), usize::try_from(note.u32(at + 4)).unwrap_or(usize::MAX));
        if kind == 0xc000_8002 && len == 4 {
            let bits = note.u32(at + 8) & 0xf;
            return (bits != 0).then(|| 32 - bits.leading_zeros());
        }
        at = len.checked_next_multiple_of(8).and_then(|len| at.checked_add(8)?.checked_add(len))?;
    }
    None
}

/// What the header and the rest say together.
fn machine(header: &Header, stated: &Stated) -> Machine {
    let Header { is_64, is_big, flags, .. } = *header;
    let (mut level, mut hard_float) = (None, None);
    let mut details: Vec<String> = Vec::new();
    let (architecture, family) = match header.machine {
        EM_386 => (Some("386"), "x86"),
        EM_X86_64 if is_64 => {
            level = stated.level;
            details.extend(level.filter(|level| *level > 1).map(|level| format!("needs level v{level}")));
            (Some("amd64"), "x86-64")
        }
        EM_X86_64 => {
            details.push("x32".to_owned());
            (None, "x86-64")
        }
        EM_ARM if !is_64 => {
            level = stated.attributes.level;
            hard_float = arm_float(flags, stated);
            let abi = match flags >> 24 {
                0 => "no EABI".to_owned(),
                version => format!("EABI{version}"),
            };
            let float = match hard_float {
                Some(true) => " hard-float",
                Some(false) => " soft-float",
                None => "",
            };
            details.push(format!("{abi}{float}"));
            details.extend(level.map(|level| format!("needs v{level}")));
            (Some(if is_big { "armbe" } else { "arm" }), "ARM")
        }
        EM_AARCH64 if is_64 => (Some(if is_big { "arm64be" } else { "arm64" }), "ARM64"),
        EM_AARCH64 => {
            details.push("ILP32".to_owned());
            (None, "ARM64")
        }
        EM_PPC => (Some("ppc"), "PowerPC"),
        EM_PPC64 if is_64 => {
            details.extend([1, 2].iter().find(|abi| flags & 3 == **abi).map(|abi| format!("ELFv{abi} ABI")));
            (Some(if is_big { "ppc64" } else { "ppc64le" }), "PowerPC")
        }
        EM_S390 => (Some(if is_64 { "s390x" } else { "s390" }), "S/390"),
        EM_RISCV => {
            let (float, name) = [(false, "soft"), (true, "single"), (true, "double"), (true, "quad")]
                [usize::try_from(flags >> 1 & 3).expect("two bits")];
            hard_float = Some(float);
            details.push(format!("{name}-float"));
            details.extend((flags & 8 != 0).then(|| "RVE".to_owned()));
            (Some(if is_64 { "riscv64" } else { "riscv" }), "RISC-V")
        }
        EM_MIPS => {
            let is_n32 = !is_64 && flags & 0x20 != 0;
            // The sixth release took instructions away and gave their codes to others: what is built for
            // it runs on no machine of those that the words are about, and none of theirs on its.
            let is_r6 = matches!(flags >> 28, 9 | 10);
            let levels = ["I", "II", "III", "IV", "V", "32", "64", "32r2", "64r2", "32r6", "64r6"];
            details.extend(levels.get(usize::try_from(flags >> 28).expect("four bits")).map(|l| format!("MIPS {l}")));
            details.extend(is_n32.then(|| "n32".to_owned()));
            details.extend((flags & 0x400 != 0).then(|| "NaN 2008".to_owned()));
            let word = match (is_n32 || is_r6, is_64, is_big) {
                (true, ..) => None,
                (false, true, true) => Some("mips64"),
                (false, true, false) => Some("mips64le"),
                (false, false, true) => Some("mips"),
                (false, false, false) => Some("mipsle"),
            };
            (word, "MIPS")
        }
        EM_LOONGARCH => {
            let name = ["", "soft-float", "single-float", "double-float"].get(usize::try_from(flags & 7).unwrap_or(0));
            hard_float = matches!(flags & 7, 1..=3).then_some(flags & 7 != 1);
            details.extend(name.filter(|name| !name.is_empty()).map(|name| (*name).to_owned()));
            (is_64.then_some("loong64"), "LoongArch")
        }
        _ => (None, "unknown"),
    };
    let bits = if is_64 { "64-bit" } else { "32-bit" };
    let has_two_orders = matches!(header.machine, EM_ARM | EM_AARCH64 | EM_MIPS | EM_PPC64);
    let order = match (has_two_orders, is_big, header.machine) {
        (true, true, _) => " big-endian",
        (true, false, EM_MIPS | EM_PPC64) => " little-endian",
        _ => "",
    };
    let family = if family == "unknown" { format!("machine {}", header.machine) } else { family.to_owned() };
    let mut shown = format!("ELF {bits}{order} {family}");
    for detail in details {
        shown.push_str(", ");
        shown.push_str(&detail);
    }
    // What is read of a program for x86 in another byte order is nothing that such a machine starts.
    let is_possible = has_two_orders || is_big == matches!(header.machine, EM_S390 | EM_PPC);
    let architecture = architecture.filter(|_| is_possible).map(str::to_owned);
    Machine { os: system(header.abi).to_owned(), architecture, level, hard_float, shown }
}

/// Whether floating-point numbers travel in registers of their own: what the flags say, or the
/// name of the loader, or the attributes. Go's own linker says nothing in its flags.
fn arm_float(flags: u32, stated: &Stated) -> Option<bool> {
    let by_flags = match (flags >> 24, flags & 0x600) {
        (5, 0x400) => Some(true),
        (5, 0x200) => Some(false),
        _ => None,
    };
    let by_loader = || {
        let name = stated.loader.as_deref()?.rsplit('/').next()?;
        match name {
            "ld-linux.so.3" => Some(false),
            _ if name.starts_with("ld-linux-armhf") || name.starts_with("ld-musl-armhf") => Some(true),
            _ if name.starts_with("ld-musl-arm.") => Some(false),
            _ => None,
        }
    };
    by_flags.or_else(by_loader).or(stated.attributes.hard_float)
}

/// The system whose programs have this ABI number; Linux leaves it zero or sets its own.
fn system(abi: u8) -> &'static str {
    match abi {
        2 => "netbsd",
        6 => "solaris",
        9 => "freebsd",
        12 => "openbsd",
        _ => "linux",
    }
}
