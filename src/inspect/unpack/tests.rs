use std::io::Write as _;

use flate2::{Compression, GzBuilder, write::GzEncoder};
use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("gzip to memory");
    encoder.finish().expect("gzip to memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("zstd to memory")
}

/// What `packed` unpacks to in pieces of this size, or why it does not.
fn unpack_in(packing: Packing, packed: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let mut unpacker = Unpacker::new(packing, 64 << 20);
    let mut all = Vec::new();
    let mut take = |bytes: &[u8]| {
        all.extend_from_slice(bytes);
        Ok(())
    };
    let mut pieces = packed.chunks(piece);
    pieces
        .try_for_each(|piece| unpacker.feed(piece, &mut take))
        .and_then(|()| unpacker.finish(&mut take))
        .map_err(|flaw| flaw.to_string())?;
    Ok(all)
}

fn unpack(packing: Packing, packed: &[u8]) -> Result<Vec<u8>, String> {
    let whole = unpack_in(packing, packed, packed.len().max(1));
    for piece in [1, 3, 100] {
        assert_eq!(unpack_in(packing, packed, piece), whole, "in pieces of {piece} bytes");
    }
    whole
}

fn why(packing: Packing, packed: &[u8]) -> String {
    unpack(packing, packed).expect_err("it should not be read")
}

#[test]
fn pieces_behind_each_other_are_one_layer() {
    let one = [gzip(b"hello "), gzip(b""), gzip(b"world")].concat();
    assert_eq!(unpack(Packing::Gzip, &one), Ok(b"hello world".to_vec()));
    assert_eq!(unpack(Packing::Gzip, &[one.as_slice(), &[0; 700]].concat()), Ok(b"hello world".to_vec()), "padding");
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let two = [skipped.clone(), zstd(b"hello "), skipped, zstd(b"world")].concat();
    assert_eq!(unpack(Packing::Zstd, &two), Ok(b"hello world".to_vec()));
    assert_eq!(unpack(Packing::None, b"hello world"), Ok(b"hello world".to_vec()));
    assert_eq!(unpack(Packing::Gzip, b""), Ok(Vec::new()));
}

#[test]
fn every_part_of_a_gzip_header_is_passed_over() {
    let mut encoder = GzBuilder::new()
        .filename("layer.tar")
        .comment("a comment")
        .extra(vec![1; 300])
        .write(Vec::new(), Compression::best());
    encoder.write_all(b"hello").expect("gzip to memory");
    assert_eq!(unpack(Packing::Gzip, &encoder.finish().expect("gzip to memory")), Ok(b"hello".to_vec()));
    let mut endless = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0];
    endless.resize(80_000, b'n');
    assert_eq!(unpack_in(Packing::Gzip, &endless, 80_000), Err("its gzip header does not end".to_owned()));
}

#[test]
fn long_gzip_headers_take_no_longer_than_short_ones() {
    let mut member = gzip(b"x");
    member[3] = 8;
    let member = [&member[..10], &[b'n'; 60_000], &[0], &member[10..]].concat();
    let begun = std::time::Instant::now();
    assert_eq!(unpack_in(Packing::Gzip, &member.repeat(50), 100_000), Ok(vec![b'x'; 50]));
    assert!(begun.elapsed().as_secs() < 20, "it took {:?}", begun.elapsed());
}

#[test]
fn a_layer_is_what_its_media_type_says() {
    assert_eq!(why(Packing::Gzip, &zstd(b"hello")), "it is zstd, and its media type says gzip");
    assert_eq!(why(Packing::None, &gzip(b"hello")), "it is gzip, and its media type says not compressed");
    assert_eq!(why(Packing::Zstd, b"hello"), "it is not zstd, as it should be");
    assert_eq!(why(Packing::Gzip, b"\xfd7zXZ\0\0"), "it is compressed with xz, which layers are not");
    assert_eq!(why(Packing::Gzip, b"BZh91AY"), "it is compressed with bzip2, which layers are not");
    for (media_type, packing) in [
        ("application/vnd.oci.image.layer.v1.tar", Some(Packing::None)),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Packing::Gzip)),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Packing::Zstd)),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(Packing::Gzip)),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Packing::Gzip)),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Packing::Gzip)),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some(Packing::Zstd)),
        ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
    ] {
        assert_eq!(Packing::of_media_type(media_type), packing, "{media_type}");
    }
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let whole = gzip(&[b'x'; 5000]);
    for end in [3, 9, 12, whole.len() - 9, whole.len() - 1] {
        assert_eq!(why(Packing::Gzip, &whole[..end]), "it ends in the middle", "{end}");
    }
    let mut changed = whole.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert_eq!(why(Packing::Gzip, &changed), "its gzip checksum is wrong");
    changed = whole.clone();
    changed[12] ^= 0xff;
    assert!(why(Packing::Gzip, &changed).starts_with("its gzip "));
    let behind = [whole.as_slice(), b"\0\0x"].concat();
    assert_eq!(why(Packing::Gzip, &behind), "something stands behind the end of its gzip data");
    let behind = [whole.as_slice(), b"junk"].concat();
    assert_eq!(why(Packing::Gzip, &behind), "something that is not gzip stands where gzip should");

    let whole = zstd(&(0..5000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    assert_eq!(why(Packing::Zstd, &whole[..whole.len() - 1]), "it ends in the middle");
    let behind = [whole.as_slice(), b"junk behind the end"].concat();
    assert_eq!(why(Packing::Zstd, &behind), "its zstd data is damaged");
}

#[test]
fn bombs_are_put_down_early() {
    let zeros = vec![0; 20 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&zeros).expect("gzip to memory");
    let gzip = encoder.finish().expect("gzip to memory");
    for (packing, bomb) in [(Packing::Gzip, gzip), (Packing::Zstd, zstd(&zeros))] {
        let told = unpack_in(packing, &bomb, 32 * 1024).expect_err("it should not be read");
        assert_eq!(told, "it unpacks to more than 200 times its size, as a bomb does");
    }
    let noise: Vec<u8> = (0..2u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut unpacker = Unpacker::new(Packing::None, 1 << 20);
    let told = unpacker.feed(&noise, &mut |_| Ok(())).expect_err("it should not be read");
    assert_eq!(told.to_string(), "it unpacks to more than 1 MiB, which is the most that is read");
}

#[test]
fn a_window_that_costs_too_much_memory_is_refused() {
    // A frame whose header asks for a window of 2 GiB: RFC 8878, section 3.1.1.1.2.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert_eq!(why(Packing::Zstd, &frame), "it needs a window of more than 128 MiB");
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
    assert_eq!(unpack(Packing::Zstd, &frame), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_pieces_make_no_difference(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        packing in prop_oneof![Just(Packing::Gzip), Just(Packing::Zstd), Just(Packing::None)],
        piece in 1usize..50,
    ) {
        let start: &[u8] = match packing {
            Packing::Gzip => &[0x1f, 0x8b, 8],
            Packing::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Packing::None => &[],
        };
        let bytes = [start, &bytes].concat();
        prop_assert_eq!(unpack_in(packing, &bytes, piece).is_ok(), unpack_in(packing, &bytes, bytes.len().max(1)).is_ok());
    }

    #[test]
    fn what_was_packed_is_unpacked(bytes in proptest::collection::vec(0u8..4, 0..5000), piece in 1usize..500) {
        prop_assert_eq!(unpack_in(Packing::Gzip, &gzip(&bytes), piece), Ok(bytes.clone()));
        prop_assert_eq!(unpack_in(Packing::Zstd, &zstd(&bytes), piece), Ok(bytes));
    }
}
