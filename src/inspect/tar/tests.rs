use proptest::prelude::*;

use super::*;

/// Keeps everything that it is told, in text.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    bytes: usize,
}

impl Sink for Told {
    fn entry(&mut self, entry: Entry) -> Result<(), Flaw> {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        self.lines.push(match entry.content {
            Content::Directory => format!("{path}/"),
            Content::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(&target)),
            Content::Hardlink(target) => format!("{path} = {}", String::from_utf8_lossy(&target)),
            Content::File { size, is_executable } => format!("{path} {size}{}", if is_executable { "*" } else { "" }),
            Content::Special => format!("{path} special"),
        });
        self.bytes = 0;
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    fn end(&mut self) -> Result<(), Flaw> {
        self.lines.push(format!("{} bytes", self.bytes));
        Ok(())
    }
}

/// What an archive holds when it comes in pieces of this size, or why it is not read.
fn read_in(archive: &[u8], piece: usize) -> String {
    let (mut reader, mut told) = (Reader::default(), Told::default());
    let result =
        archive.chunks(piece).try_for_each(|piece| reader.feed(piece, &mut told)).and_then(|()| reader.finish());
    match result {
        Ok(()) => told.lines.join(", "),
        Err(flaw) => flaw.to_string(),
    }
}

fn read(archive: &[u8]) -> String {
    let whole = read_in(archive, archive.len().max(1));
    for piece in [1, 7, 511, 512, 513] {
        assert_eq!(read_in(archive, piece), whole, "in pieces of {piece} bytes");
    }
    whole
}

/// A header block with its checksum.
fn header(name: &str, kind: u8, size: &str, change: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000755");
    block[124..124 + size.len()].copy_from_slice(size.as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

fn plain(name: &str, kind: u8, size: usize) -> Vec<u8> {
    header(name, kind, &format!("{size:011o}"), |_| {})
}

/// An entry with its bytes, filled up to whole blocks.
fn entry(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut entry = plain(name, kind, bytes.len());
    entry.extend_from_slice(bytes);
    entry.resize(entry.len().next_multiple_of(BLOCK), 0);
    entry
}

fn pax(records: &[&str]) -> Vec<u8> {
    let record = |record: &&str| {
        let len = (1..).find(|len: &usize| len.to_string().len() + record.len() + 2 == *len).expect("a length");
        format!("{len} {record}\n")
    };
    entry("PaxHeaders/x", b'x', records.iter().map(record).collect::<String>().as_bytes())
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 2 * BLOCK]].concat()
}

#[test]
fn entries_of_every_kind_are_told_in_order() {
    let link = header("l", b'2', "", |block| block[157..164].copy_from_slice(b"../dest"));
    let hard = header("h", b'1', "", |block| block[157..160].copy_from_slice(b"./f"));
    let data = header("data", b'0', "", |block| block[100..107].copy_from_slice(b"0000644"));
    let prefixed = header("end", b'5', "", |block| block[345..350].copy_from_slice(b"start"));
    let parts = [plain("./", b'5', 0), entry("f", b'0', b"hello"), link, hard, data, prefixed, plain("null", b'3', 0)];
    assert_eq!(
        read(&archive(&parts)),
        "/, f 5*, 5 bytes, l -> ../dest, h = f, data 0, 0 bytes, start/end/, null special"
    );
    assert_eq!(read(&parts.concat()), read(&archive(&parts)), "the end may be missing, but not in an entry");
    assert_eq!(read(&[]), "");
}

#[test]
fn long_names_come_in_two_ways() {
    let long = "folder/".repeat(40) + "file";
    let gnu = archive(&[entry("././@LongLink", b'L', format!("{long}\0").as_bytes()), entry("cut", b'0', b"x")]);
    assert_eq!(read(&gnu), format!("{long} 1*, 1 bytes"));
    let posix = archive(&[pax(&[&format!("path={long}"), "mtime=1.5"]), entry("cut", b'0', b"x")]);
    assert_eq!(read(&posix), read(&gnu));
    let link = archive(&[entry("k", b'K', b"far/away\0"), pax(&["linkpath=far/away"]), plain("l", b'2', 0)]);
    assert_eq!(read(&link), "l -> far/away");
    let both = archive(&[pax(&["path=one"]), entry("k", b'L', b"two\0"), plain("f", b'0', 0)]);
    assert_eq!(read(&both), "an entry in it has two names, of which readers take one or the other");
}

#[test]
fn sizes_that_readers_take_differently_are_not_read() {
    let size = |told: &str, header: usize| {
        let told = format!("size={told}");
        read(&archive(&[pax(&[&told]), plain("f", b'0', header), vec![b'x'; BLOCK]]))
    };
    assert_eq!(size("5", 0), "f 5*, 5 bytes");
    assert_eq!(size("5", 5), "f 5*, 5 bytes");
    assert_eq!(size("0", 512), "an entry in it has two sizes, of which readers take one or the other");
    assert_eq!(size("-1", 0), "an entry in it has an impossible size");
    assert_eq!(size("5.0", 0), "an entry in it has an impossible size");
    assert_eq!(size("99999999999999999999", 0), "an entry in it has an impossible size");
    let hidden = "an entry in it that is no file has a size, which readers understand differently";
    for kind in [b'1', b'2', b'5', b'3'] {
        let parts = [header("l", kind, "00000001000", |block| block[157] = b'x'), entry("inner", b'0', b"x")];
        assert_eq!(read(&archive(&parts)), hidden);
    }
    let binary = |first: u8| {
        read(&archive(&[header("f", b'0', "", |block| (block[124], block[135]) = (first, 3)), vec![b'x'; BLOCK]]))
    };
    assert_eq!(binary(0x80), "f 3*, 3 bytes");
    assert_eq!(binary(0xff), "its archive has a header with an impossible size", "it would be negative");
    for size in ["77777777778", "-0000000001", "12 34", "0x10"] {
        let told = read(&archive(&[header("f", b'0', size, |_| {})]));
        assert_eq!(told, "its archive has a header with an impossible size", "{size}");
    }
}

#[test]
fn what_is_announced_twice_or_badly_is_not_read() {
    let twice = "an entry in it is announced twice";
    assert_eq!(read(&archive(&[pax(&["path=a"]), pax(&["size=1"]), plain("f", b'0', 0)])), twice);
    let long = || entry("k", b'L', b"name\0");
    assert_eq!(read(&archive(&[long(), long(), plain("f", b'0', 0)])), twice);
    assert_eq!(
        read(&archive(&[pax(&["path=a", "path=b"]), plain("f", b'0', 0)])),
        "an extended header in it says something twice"
    );
    let damaged = "an extended header in it is damaged";
    for records in ["5 a=b", "99 a=b\n", "4 ab\n", "x a=b\n", "6 =ab\n", "00000000000006 a=b\n", "0 \n"] {
        assert_eq!(read(&archive(&[entry("x", b'x', records.as_bytes()), plain("f", b'0', 0)])), damaged, "{records}");
    }
    assert_eq!(
        read(&archive(&[entry("g", b'g', b"10 path=a\n"), plain("f", b'0', 0)])),
        "its archive gives one name or size to all entries"
    );
    assert_eq!(read(&archive(&[entry("g", b'g', b"11 comment=\n"), plain("f", b'0', 0)])), damaged);
    assert_eq!(read(&archive(&[entry("g", b'g', b"13 comment=x\n"), plain("f", b'0', 0)])), "f 0*, 0 bytes");
    assert_eq!(read(&archive(&[long()])), "its archive ends where an entry was announced");
    assert_eq!(read(&long()), "its archive ends in the middle of an entry");
}

#[test]
fn a_damaged_archive_is_not_read() {
    let whole = archive(&[entry("f", b'0', &[b'x'; 600])]);
    for end in [1, 100, 512, 600, 1300, 1535] {
        assert_eq!(read(&whole[..end]), "its archive ends in the middle of an entry", "{end}");
    }
    let mut wrong = whole.clone();
    wrong[0] = b'g';
    assert_eq!(read(&wrong), "its archive has a header with a wrong checksum");
    let lone = [plain("f", b'5', 0), vec![0; BLOCK], plain("g", b'5', 0)].concat();
    assert_eq!(read(&lone), "its archive goes on behind a block of zeros");
    assert_eq!(read(&[archive(&[plain("f", b'5', 0)]), b"whatever".to_vec()].concat()), "f/", "the end is the end");
    assert_eq!(read(&archive(&[plain("f", b'M', 0)])), "its archive has a header with an entry of unknown kind 'M'");
    assert_eq!(read(&archive(&[entry("../f", b'0', b"x")])), "a name in it leads out of where it stands by `..`");
    assert_eq!(
        read(&archive(&[entry("f/", b'0', b"x")])),
        "an entry in it is a directory to some readers and a file to others"
    );
    assert_eq!(read(&archive(&[plain("l", b'2', 0)])), "a link in it leads nowhere");
}

#[test]
fn names_and_headers_without_end_are_not_read() {
    let told = read(&archive(&[plain("k", b'L', 5000)]));
    assert_eq!(told, "a name or extended header in it has 5000 bytes");
    let told = read(&archive(&[plain("x", b'x', 2 << 20)]));
    assert_eq!(told, "a name or extended header in it has 2097152 bytes");
    let name = format!("path={}", "n".repeat(5000));
    assert_eq!(read(&archive(&[pax(&[&name]), plain("f", b'0', 0)])), "a name in it has 5000 bytes");
}

#[test]
fn sparse_files_are_passed_over_and_what_follows_is_found() {
    let old = header("s", b'S', "00000000003", |block| block[482] = 1);
    let map = |is_continued: u8| {
        let mut block = vec![1; BLOCK];
        block[504] = is_continued;
        block
    };
    let parts = [old, map(1), map(0), vec![b'x'; BLOCK], entry("f", b'0', b"y")];
    assert_eq!(read(&archive(&parts)), "s special, f 1*, 1 bytes");
    let new = pax(&["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=real", "GNU.sparse.realsize=9"]);
    let parts = [new, entry("GNUSparseFile.0/s", b'0', b"1\n0\n"), entry("f", b'0', b"y")];
    assert_eq!(read(&archive(&parts)), "real special, f 1*, 1 bytes");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_pieces_make_no_difference(
        bytes in proptest::collection::vec(any::<u8>(), 0..1500),
        piece in 1usize..700,
    ) {
        prop_assert_eq!(read_in(&bytes, piece), read_in(&bytes, bytes.len().max(1)));
    }

    #[test]
    fn a_changed_byte_makes_no_panic(at in 0usize..3000, to in any::<u8>(), piece in 1usize..700) {
        let mut bytes = archive(&[pax(&["path=a/b", "size=3"]), plain("f", b'0', 0), vec![b'x'; BLOCK], entry("k", b'L', b"n\0"), entry("g", b'0', b"yy")]);
        let at = at % bytes.len();
        bytes[at] = to;
        prop_assert_eq!(read_in(&bytes, piece), read_in(&bytes, bytes.len()));
    }
}
