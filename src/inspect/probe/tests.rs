use proptest::prelude::*;

use super::*;

/// An ELF file to be, as far as its headers go.
#[derive(Clone)]
struct Elf {
    is_64: bool,
    is_big: bool,
    abi: u8,
    kind: u16,
    machine: u16,
    flags: u32,
    loader: Option<&'static str>,
    /// Where the loader's name stands, where it is not right behind the headers.
    loader_at: Option<usize>,
    note: Option<Vec<u8>>,
    attributes: Option<Vec<u8>>,
    /// How many bytes of debugging information stand before the attributes, and of symbols behind them.
    debugging: usize,
    symbols: usize,
    data: Option<Vec<u8>>,
    size: usize,
}

fn elf(is_64: bool, is_big: bool, machine: u16, flags: u32) -> Elf {
    Elf {
        is_64,
        is_big,
        abi: 0,
        kind: 3,
        machine,
        flags,
        loader: None,
        loader_at: None,
        note: None,
        attributes: None,
        debugging: 0,
        symbols: 0,
        data: None,
        size: 0,
    }
}

impl Elf {
    fn number(&self, bytes: usize, number: u64) -> Vec<u8> {
        let all = number.to_be_bytes();
        let mut number = all[8 - bytes..].to_vec();
        if !self.is_big {
            number.reverse();
        }
        number
    }

    fn build(&self) -> Vec<u8> {
        let word = if self.is_64 { 8 } else { 4 };
        let (header, each) = if self.is_64 { (64, 56) } else { (52, 32) };
        let mut pieces: Vec<(u32, u32, usize, Vec<u8>)> = vec![(1, 5, 0, vec![0; 16])];
        let mut at = header + 5 * each;
        let mut place = |len: usize, wish: Option<usize>| {
            let start = wish.unwrap_or(at);
            at = at.max(start + len);
            start
        };
        if let Some(loader) = self.loader {
            let name = [loader.as_bytes(), b"\0"].concat();
            pieces.push((3, 4, place(name.len(), self.loader_at), name));
        }
        if let Some(note) = &self.note {
            pieces.push((0x6474_e553, 4, place(note.len(), None), note.clone()));
        }
        if let Some(data) = &self.data {
            pieces.push((1, 6, place(data.len(), None), data.clone()));
        }
        let end = self.size.max(at) + self.debugging;
        let attributes = self.attributes.clone().unwrap_or_default();
        let sections_at = end + attributes.len() + self.symbols;

        let mut file =
            vec![0x7f, b'E', b'L', b'F', if self.is_64 { 2 } else { 1 }, if self.is_big { 2 } else { 1 }, 1, self.abi];
        file.resize(16, 0);
        file.extend(
            [self.number(2, self.kind.into()), self.number(2, self.machine.into()), self.number(4, 1)].concat(),
        );
        file.extend(self.number(word, 0));
        file.extend(self.number(word, header as u64));
        file.extend(self.number(word, if self.attributes.is_some() { sections_at as u64 } else { 0 }));
        file.extend(self.number(4, self.flags.into()));
        for number in [header, each, pieces.len(), 40, usize::from(self.attributes.is_some()), 0] {
            file.extend(self.number(2, number as u64));
        }
        for (kind, flags, start, bytes) in &pieces {
            let (start, len) = (*start as u64, bytes.len() as u64);
            file.extend(self.number(4, (*kind).into()));
            if self.is_64 {
                file.extend(self.number(4, (*flags).into()));
                for number in [start, 0, 0, len, len, 0] {
                    file.extend(self.number(8, number));
                }
            } else {
                for number in [start, 0, 0, len, len, (*flags).into(), 0] {
                    file.extend(self.number(4, number));
                }
            }
        }
        file.resize(sections_at, 0);
        for (_, _, start, bytes) in pieces.iter().skip(1) {
            file[*start..start + bytes.len()].copy_from_slice(bytes);
        }
        file[end..end + attributes.len()].copy_from_slice(&attributes);
        if self.attributes.is_some() {
            for number in [0, 0x7000_0003, 0, 0, end, attributes.len(), 0, 0, 0, 0] {
                file.extend(self.number(4, number as u64));
            }
        }
        file
    }
}

/// What a file is that comes in pieces of this size.
fn nature_in(file: &[u8], piece: usize) -> Nature {
    let mut probe = Probe::new(file.len() as u64);
    for piece in file.chunks(piece) {
        probe.feed(piece);
    }
    probe.nature().cloned().expect("at its end, it is known what a file is")
}

fn nature(file: &[u8]) -> Nature {
    let whole = nature_in(file, file.len().max(1));
    for piece in [1, 100, 4096, 5000] {
        assert_eq!(nature_in(file, piece), whole, "in pieces of {piece} bytes");
    }
    whole
}

/// `arm v7 hard /lib/ld.so: shown`, as far as each is stated.
fn told(elf: &Elf) -> String {
    match nature(&elf.build()) {
        Nature::Program(program) => {
            let Program { machine, loader, .. } = *program;
            let level = machine.level.map(|level| format!(" v{level}")).unwrap_or_default();
            let float = machine.hard_float.map_or("", |is_hard| if is_hard { " hard" } else { " soft" });
            let loader = loader.map(|loader| format!(" {loader}")).unwrap_or_default();
            let architecture = machine.architecture.as_deref().unwrap_or("none");
            let os = if machine.os == "linux" { String::new() } else { format!("{}/", machine.os) };
            format!("{os}{architecture}{level}{float}{loader}: {}", machine.shown)
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn every_machine_is_told_by_its_header() {
    let machines = [
        (elf(false, false, 3, 0), "386: ELF 32-bit x86"),
        (elf(true, false, 62, 0), "amd64: ELF 64-bit x86-64"),
        (elf(false, false, 62, 0), "none: ELF 32-bit x86-64, x32"),
        (elf(true, false, 183, 0), "arm64: ELF 64-bit ARM64"),
        (elf(false, false, 183, 0), "none: ELF 32-bit ARM64, ILP32"),
        (elf(true, true, 183, 0), "arm64be: ELF 64-bit big-endian ARM64"),
        (elf(false, false, 40, 0x0500_0400), "arm hard: ELF 32-bit ARM, EABI5 hard-float"),
        (elf(false, false, 40, 0x0500_0200), "arm soft: ELF 32-bit ARM, EABI5 soft-float"),
        (elf(false, false, 40, 0x0500_0002), "arm: ELF 32-bit ARM, EABI5"),
        (elf(false, true, 40, 0x0500_0200), "armbe soft: ELF 32-bit big-endian ARM, EABI5 soft-float"),
        (elf(true, false, 21, 2), "ppc64le: ELF 64-bit little-endian PowerPC, ELFv2 ABI"),
        (elf(true, true, 21, 1), "ppc64: ELF 64-bit big-endian PowerPC, ELFv1 ABI"),
        (elf(false, true, 20, 0), "ppc: ELF 32-bit PowerPC"),
        (elf(true, true, 22, 0), "s390x: ELF 64-bit S/390"),
        (elf(false, true, 22, 0), "s390: ELF 32-bit S/390"),
        (elf(true, false, 243, 5), "riscv64 hard: ELF 64-bit RISC-V, double-float"),
        (elf(true, false, 243, 0), "riscv64 soft: ELF 64-bit RISC-V, soft-float"),
        (elf(true, false, 8, 0x8000_0000), "mips64le: ELF 64-bit little-endian MIPS, MIPS 64r2"),
        (elf(true, true, 8, 0x8000_0000), "mips64: ELF 64-bit big-endian MIPS, MIPS 64r2"),
        (elf(false, false, 8, 0x7000_0400), "mipsle: ELF 32-bit little-endian MIPS, MIPS 32r2, NaN 2008"),
        (elf(false, true, 8, 0x7000_0000), "mips: ELF 32-bit big-endian MIPS, MIPS 32r2"),
        (elf(false, false, 8, 0x8000_0020), "none: ELF 32-bit little-endian MIPS, MIPS 64r2, n32"),
        (elf(true, false, 8, 0xa000_0400), "none: ELF 64-bit little-endian MIPS, MIPS 64r6, NaN 2008"),
        (elf(false, false, 8, 0x9000_0400), "none: ELF 32-bit little-endian MIPS, MIPS 32r6, NaN 2008"),
        (elf(true, false, 258, 0x43), "loong64 hard: ELF 64-bit LoongArch, double-float"),
        (elf(true, false, 4242, 0), "none: ELF 64-bit machine 4242"),
        (elf(true, true, 62, 0), "none: ELF 64-bit x86-64"),
        (Elf { abi: 9, ..elf(true, false, 62, 0) }, "freebsd/amd64: ELF 64-bit x86-64"),
    ];
    for (elf, expected) in machines {
        assert_eq!(told(&elf), expected);
    }
}

#[test]
fn the_loader_is_read_wherever_its_name_stands() {
    let loader = Some("/lib/ld.so.1");
    for loader_at in [None, Some(4090), Some(10_000), Some(300_000)] {
        let elf = Elf { loader, loader_at, ..elf(true, false, 8, 0) };
        assert!(told(&elf).starts_with("mips64le /lib/ld.so.1: "), "at {loader_at:?}");
    }
    for (loader, float) in [
        ("/lib/ld-linux-armhf.so.3", " hard "),
        ("/lib/ld-musl-armhf.so.1", " hard "),
        ("/lib/ld-linux.so.3", " soft "),
        ("/lib/ld-musl-arm.so.1", " soft "),
    ] {
        let told = told(&Elf { loader: Some(loader), ..elf(false, false, 40, 0x0500_0002) });
        assert!(told.starts_with(&format!("arm{float}")), "{told}");
    }
}

#[test]
fn a_program_whose_loader_cannot_be_read_is_not_taken_for_one_without() {
    let flawed = "amd64: ELF 64-bit x86-64, but an ELF file whose loader's name cannot be read";
    let loader = Some("/lib/ld.so.1");
    let whole = Elf { loader, loader_at: Some(9000), ..elf(true, false, 62, 0) }.build();
    let shown = |file: &[u8]| match nature(file) {
        Nature::Program(program) => {
            format!("amd64: {}, but {}", program.machine.shown, program.flaw.unwrap_or_default())
        }
        other => format!("{other:?}"),
    };
    assert_eq!(shown(&whole[..8000]), flawed, "it is beyond the end");
    let mut long = whole.clone();
    long[64 + 56 + 32..64 + 56 + 40].copy_from_slice(&5000u64.to_le_bytes());
    long.resize(20_000, 0);
    assert_eq!(shown(&long), flawed, "Linux takes no name that is longer than a path");
    long[64 + 56 + 32..64 + 56 + 40].copy_from_slice(&0u64.to_le_bytes());
    assert_eq!(shown(&long), flawed, "and no empty one");
}

#[test]
fn a_loader_whose_name_is_longer_than_any_is_not_kept() {
    let name = |len: usize| Some(&*format!("/{}", "l".repeat(len - 2)).leak());
    let longest = Elf { loader: name(256), ..elf(true, false, 62, 0) };
    assert!(matches!(nature(&longest.build()), Nature::Program(program) if program.loader.is_some()));
    let longer = Elf { loader: name(257), ..elf(true, false, 62, 0) };
    let Nature::Program(program) = nature(&longer.build()) else { panic!("it still says what it runs on") };
    assert_eq!((program.loader, program.flaw.is_some()), (None, true));
}

/// A section `.ARM.attributes` with a name of the processor and these pairs.
fn arm_attributes(pairs: &[u8]) -> Vec<u8> {
    let pairs = [b"\x057-A\0", pairs].concat();
    let file = [&[1][..], &u32::try_from(pairs.len() + 5).expect("short").to_le_bytes(), &pairs].concat();
    let len = u32::try_from(file.len() + 10).expect("short");
    [&b"A"[..], &len.to_le_bytes(), b"aeabi\0", &file].concat()
}

#[test]
fn levels_are_read_where_they_are_stated() {
    let arm = |pairs: &[u8], flags, size| {
        told(&Elf { attributes: Some(arm_attributes(pairs)), size, ..elf(false, false, 40, flags) })
    };
    for size in [0, 4000, 100_000] {
        assert!(arm(&[6, 10, 28, 1], 0x0500_0000, size).starts_with("arm v7 hard: "), "{size}");
    }
    for (value, level) in [(2, 4), (5, 5), (9, 6), (10, 7), (14, 8), (18, 8), (19, 8), (20, 8), (21, 8), (22, 9)] {
        let told = arm(&[6, value, 28, 1], 0x0500_0000, 0);
        assert!(told.starts_with(&format!("arm v{level} hard: ")), "{value}: {told}");
    }
    assert!(arm(&[6, 4, 8, 1], 0x0500_0000, 0).starts_with("arm v5 soft: "), "what is not said is the base standard");
    assert!(arm(&[6, 7, 28, 3], 0x0500_0400, 0).starts_with("arm v6 hard: "), "the flags are the linker's own word");
    assert!(arm(&[6], 0x0500_0400, 0).starts_with("arm hard: "), "a cut section states nothing");

    let go_with = |loader, goarm: &str| {
        let info = format!("{}\u{0}\u{0}path\tx\nbuild\tGOARM={goarm}\nbuild\tGOOS=linux\n", "x".repeat(300));
        let data = [b"\xff Go buildinf:".as_slice(), info.as_bytes()].concat();
        told(&Elf { loader, data: Some(data), size: 90_000, ..elf(false, false, 40, 0x0500_0002) })
    };
    let go = |goarm: &str| go_with(None, goarm);
    assert!(go("6").starts_with("arm v6: "), "{}", go("6"));
    assert!(go("7,hardfloat").starts_with("arm v7 hard: "), "{}", go("7,hardfloat"));
    assert!(go("7,softfloat").starts_with("arm v7: "), "a static one runs where there are registers for floats, too");
    let dynamic = go_with(Some("/lib/ld.so"), "7,softfloat");
    assert!(dynamic.starts_with("arm v7 soft /lib/ld.so: "), "{dynamic}");

    let property = |bits: u32| {
        let head = [4u32, 16, 5].map(u32::to_le_bytes).concat();
        let body = [0xc000_8002, 4, bits, 0].map(u32::to_le_bytes).concat();
        told(&Elf { note: Some([head, b"GNU\0".to_vec(), body].concat()), ..elf(true, false, 62, 0) })
    };
    assert_eq!(property(0b111), "amd64 v3: ELF 64-bit x86-64, needs level v3");
    assert_eq!(property(1), "amd64 v1: ELF 64-bit x86-64");
    assert_eq!(property(0), "amd64: ELF 64-bit x86-64");
}

#[test]
fn a_level_is_read_whatever_symbols_stand_behind_it() {
    for size in [0, 4000, 50_000] {
        for symbols in [100, 16 * 1024, 70_000] {
            let attributes = Some(arm_attributes(&[6, 10, 28, 1]));
            let data = Some(vec![1; size]);
            for debugging in [0, 65_000, 100_000] {
                let (attributes, data) = (attributes.clone(), data.clone());
                let elf = Elf { attributes, debugging, symbols, data, ..elf(false, false, 40, 0x0500_0400) };
                assert!(told(&elf).starts_with("arm v7 hard: "), "{size} {debugging} {symbols}: {}", told(&elf));
            }
        }
    }
}

#[test]
fn what_had_gone_by_before_the_end_was_of_interest_is_not_there() {
    let mut file = elf(false, false, 40, 0x0500_0400).build();
    let segments = file[52..84].to_vec();
    file.resize(12_000, 0);
    file[10_000..10_032].copy_from_slice(&segments);
    file[28..32].copy_from_slice(&10_000u32.to_le_bytes());
    file[48..50].copy_from_slice(&1u16.to_le_bytes());
    for sections_at in [5000u32, 9000, 11_000] {
        file[32..36].copy_from_slice(&sections_at.to_le_bytes());
        let Nature::Program(program) = nature(&file) else { panic!("a program, with sections at {sections_at}") };
        assert_eq!(program.machine.level, None);
    }
}

#[test]
fn what_cannot_be_started_is_no_evidence() {
    let odd = |elf: &Elf| told(elf);
    assert_eq!(odd(&Elf { kind: 1, ..elf(true, false, 62, 0) }), r#"Odd("an ELF object that is not linked yet")"#);
    assert_eq!(odd(&Elf { kind: 4, ..elf(true, false, 62, 0) }), r#"Odd("a core dump")"#);
    assert_eq!(odd(&elf(true, false, 247, 0)), r#"Odd("a program for the kernel (BPF)")"#);
    let whole = elf(true, false, 62, 0).build();
    let damaged = Nature::Odd("a damaged ELF file".to_owned());
    assert_eq!(nature(&whole[..20]), damaged);
    for (at, byte) in [(4, 3), (4, 0), (5, 3), (6, 2)] {
        let mut changed = whole.clone();
        changed[at] = byte;
        assert_eq!(nature(&changed), damaged, "byte {at}");
    }
    let mut segments = whole.clone();
    segments[56..58].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(nature(&segments), Nature::Odd("an ELF file without a way to load it".to_owned()));
    let mut sections = Elf { attributes: Some(arm_attributes(&[6, 10])), ..elf(false, false, 40, 0x0500_0400) }.build();
    sections[48..50].copy_from_slice(&[0xff, 0xff]);
    let Nature::Program(program) = nature(&sections) else { panic!("sections are for linkers") };
    assert_eq!((program.machine.level, program.machine.hard_float), (None, Some(true)));
}

#[test]
fn scripts_data_and_windows_programs_are_told_apart() {
    assert_eq!(nature(b"#!/bin/sh -e\necho"), Nature::Script("/bin/sh -e".to_owned()));
    assert_eq!(nature(b"#!"), Nature::Script(String::new()));
    assert_eq!(nature(&[b"#!".as_slice(), &[b'x'; 9000]].concat()), Nature::Script("x".repeat(256)));
    assert_eq!(nature(b"hello"), Nature::Data);
    assert_eq!(nature(b""), Nature::Data);

    let pe = |machine: u16, at: u32, flags: u16| {
        let mut file = vec![0; usize::try_from(at).expect("short") + 300];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c..0x40].copy_from_slice(&at.to_le_bytes());
        let at = usize::try_from(at).expect("short");
        file[at..at + 4].copy_from_slice(b"PE\0\0");
        file[at + 4..at + 6].copy_from_slice(&machine.to_le_bytes());
        file[at + 22..at + 24].copy_from_slice(&flags.to_le_bytes());
        match nature(&file) {
            Nature::Program(program) => {
                let machine = program.machine;
                format!("{}/{}: {}", machine.os, machine.architecture.unwrap_or_default(), machine.shown)
            }
            other => format!("{other:?}"),
        }
    };
    assert_eq!(pe(0x8664, 0x80, 2), "windows/amd64: PE x86-64");
    assert_eq!(pe(0xaa64, 6000, 2), "windows/arm64: PE ARM64");
    assert_eq!(pe(0x1c4, 0x80, 2), "windows/arm: PE 32-bit ARM");
    assert_eq!(pe(0x14c, 5000, 2), "windows/386: PE 32-bit x86");
    let mut dotnet = vec![0; 600];
    dotnet[..2].copy_from_slice(b"MZ");
    dotnet[0x3c] = 0x40;
    dotnet[0x40..0x46].copy_from_slice(b"PE\0\0\x4c\x01");
    (dotnet[0x56], dotnet[0x40 + 24 + 96 + 112]) = (2, 0x20);
    assert_eq!(nature(&dotnet), Nature::Odd("a .NET program, which may be for any machine".to_owned()));
    assert_eq!(pe(0x8664, 0x80, 0), r#"Odd("an object file")"#);
    assert_eq!(nature(&[b"MZ".as_slice(), &[0; 200]].concat()), Nature::Odd("a program for DOS".to_owned()));
    assert_eq!(nature(b"MZ"), Nature::Data);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_pieces_make_no_difference(
        changes in proptest::collection::vec((0usize..700, any::<u8>()), 0..6),
        cut in 0usize..60_000,
        symbols in 0usize..50_000,
        piece in 1usize..6000,
        is_arm in any::<bool>(),
        is_64 in any::<bool>(),
    ) {
        let machine = if is_arm { 40 } else { 62 };
        let elf = Elf {
            loader: Some("/lib/ld.so"),
            loader_at: Some(5000),
            attributes: Some(arm_attributes(&[6, 10, 28, 1])),
            symbols,
            ..elf(is_64 && !is_arm, false, machine, 0x0500_0000)
        };
        let mut file = elf.build();
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(cut.max(1));
        prop_assert_eq!(nature_in(&file, piece), nature_in(&file, file.len()));
    }

    #[test]
    fn attributes_of_any_bytes_make_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = crate::inspect::attributes::of_arm(&[b"A\x40\0\0\0aeabi\0".as_slice(), &bytes].concat(), false);
        let _ = crate::inspect::attributes::of_go(&bytes);
    }
}
