//! Layers that were made to harm who looks into them, at a registry: each is told with its reason,
//! within 30 seconds of computing and 256 MiB of memory.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::support::image::{gzip, tar};
use crate::support::{Cli, FakeRegistry, Image, Layer, busybox, debian};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GIB: usize = 1 << 30;

/// Verifies an image for arm64 of this layer, which starts `/app`.
async fn verify(packing: &str, layer: impl Into<Bytes>, code: i32) -> Value {
    let registry = FakeRegistry::start().await;
    let image = Image::new("linux/arm64").layers(vec![layer.into()]).layer_media_type(&format!("{TAR}{packing}"));
    registry.push("ubuntu:arm64-xenial", &image.entrypoint(&["/app"]));
    let limited = "ulimit -t 30 -d 262144; exec \"$0\" \"$@\"";
    let name = format!("{}:arm64-xenial", registry.repository("ubuntu"));
    let arguments = ["-c", limited, env!("CARGO_BIN_EXE_onetag"), "verify", "--output", "json", &name];
    Cli::program("sh", arguments).run().await.expect(code).json()
}

/// Wants the layer to be unverifiable for this reason.
async fn expect_unverifiable(what: &str, packing: &str, layer: impl Into<Bytes>, reason: &str) {
    let told = verify(packing, layer, 6).await;
    assert_eq!(told["verdict"], "unverifiable", "{what}: {told:#}");
    let message = told["images"][0]["reasons"][0]["message"].as_str().expect("a message");
    assert!(message.contains(reason), "{what}: {message}");
}

/// As many zeros, in pieces behind each other.
fn zeros(bytes: usize, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    const PIECE: usize = 64 << 20;
    pack(&vec![0; PIECE]).repeat(bytes / PIECE)
}

fn best_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("gzip to memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("zstd to memory")
}

/// M24, TH6
#[tokio::test]
async fn bombs_are_put_down() {
    let bomb = "it unpacks to more than 200 times its size, as a bomb does";
    expect_unverifiable("10 GiB as gzip", "+gzip", zeros(10 * GIB, best_gzip), bomb).await;
    expect_unverifiable("10 GiB as zstd", "+zstd", zeros(10 * GIB, zstd), bomb).await;
    let file = [&entry("app", b'0', 8 * GIB as u64)[..], &vec![0; 64 << 20]].concat();
    expect_unverifiable("a file of 8 GiB", "+zstd", zstd(&file), bomb).await;

    let mut wide = zstd::stream::Encoder::new(Vec::new(), 1).expect("zstd to memory");
    wide.window_log(28).expect("a window of 256 MiB");
    wide.write_all(&tar(&[("app".to_owned(), busybox("arm64"))])).expect("zstd to memory");
    let wide = wide.finish().expect("zstd to memory");
    expect_unverifiable("a wide window", "+zstd", wide, "it needs a window of more than 128 MiB").await;
    let xz = b"\xfd7zXZ\0\0\x04".to_vec();
    expect_unverifiable("xz", "", xz, "it is compressed with xz, which layers are not").await;
}

/// A header with its checksum, and nothing behind it.
fn entry(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("a short name");
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// An entry, its content and what fills the block.
fn whole(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut entry = [&entry(name, kind, content.len() as u64), content].concat();
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn pax(records: &str) -> Vec<u8> {
    whole("pax", b'x', records.as_bytes())
}

/// TH6
#[tokio::test]
async fn names_and_headers_without_end_are_not_read() {
    let long = [whole("././@LongLink", b'L', &[b'n'; 5000]), whole("x", b'0', b"")].concat();
    expect_unverifiable("a long name", "", long, "a name or extended header in it has 5000 bytes").await;
    let record = format!("{} comment={}\n", 2_000_000, "c".repeat(2_000_000 - 17));
    let reason = "a name or extended header in it has 2000000 bytes";
    expect_unverifiable("a long extended header", "", pax(&record), reason).await;
}

/// TH7
#[tokio::test]
async fn archives_that_readers_take_differently_are_not_read() {
    let program = busybox("amd64");
    let two_sizes = [pax("13 size=1024\n"), whole("app", b'0', &program)].concat();
    expect_unverifiable("two sizes", "", two_sizes, "an entry in it has two sizes").await;
    let twice = [pax("10 path=a\n10 path=b\n"), whole("app", b'0', &program)].concat();
    expect_unverifiable("a record twice", "", twice, "an extended header in it says something twice").await;
    let mut damaged = whole("app", b'0', &program);
    damaged[0] ^= 1;
    expect_unverifiable("a wrong checksum", "", damaged, "its archive has a header with a wrong checksum").await;
    let mut two_names = whole("././@LongLink", b'L', b"app\0");
    two_names.extend([pax("11 path=sh\n"), whole("x", b'0', &program)].concat());
    expect_unverifiable("two names", "", two_names, "an entry in it has two names").await;
    let cut_off = whole("app", b'0', &program)[..100_000].to_vec();
    expect_unverifiable("cut off", "", cut_off, "its archive ends in the middle of an entry").await;
}

/// TH6: neither is opened or made whole, and both are passed over.
#[tokio::test]
async fn archives_in_archives_and_sparse_files_are_no_more_than_files() {
    let nested = gzip(&tar(&[("app".to_owned(), busybox("amd64"))]));
    let mut sparse = entry("hole", b'S', 512);
    sparse[386..397].copy_from_slice(b"00000000000"); // one part, at the beginning
    sparse[398..409].copy_from_slice(b"00000001000");
    sparse[483..495].copy_from_slice(b"777777777777"); // of a file of 64 GiB
    let sum: u32 =
        sparse.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    sparse[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let layer =
        [sparse, vec![1; 512], whole("layer.tar.gz", b'0', &nested), whole("app", b'0', &busybox("arm64"))].concat();
    assert_eq!(verify("", layer, 0).await["verdict"], "verified");
}

/// M22
#[tokio::test]
async fn damaged_programs_are_no_evidence() {
    let program = debian("arm64", "bin/dash");
    let with = |at: usize, byte: u8| {
        let mut changed = program.clone();
        changed[at] = byte;
        changed
    };
    let mut sections_only = program[..64].to_vec();
    sections_only[56..58].copy_from_slice(&[0, 0]);
    sections_only[60..62].copy_from_slice(&[0xff, 0xff]);
    for (what, file, reason) in [
        ("20 bytes", program[..20].to_vec(), "`/app`, which the image starts, is a damaged ELF file"),
        ("class 3", with(4, 3), "is a damaged ELF file"),
        ("byte order 3", with(5, 3), "is a damaged ELF file"),
        ("65535 sections", sections_only, "is an ELF file without a way to load it"),
    ] {
        expect_unverifiable(what, "", tar(&[("app".to_owned(), file)]), reason).await;
    }
    // What a program that can be loaded says of its sections is not needed.
    let mut many = with(60, 0xff);
    many[61] = 0xff;
    let layer = Layer::new().file("app", many).debian_loader("arm64").plain();
    assert_eq!(verify("", layer, 0).await["verdict"], "verified");
}
