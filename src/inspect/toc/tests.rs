use serde_json::json;

use super::*;

/// Reads a table of these rows, as zstd:chunked has them at the end of a layer.
fn read(rows: &str) -> Result<Toc, Flaw> {
    let packed = zstd::bulk::compress(format!(r#"{{"entries":[{rows}]}}"#).as_bytes(), 1).expect("zstd to memory");
    let place = (1 << 40)..(1 << 40) + packed.len() as u64;
    Toc::read(&Index::Chunked(place.clone(), Digest::of(&packed)), &place, &packed, Limits::default())
}

#[test]
fn rows_without_end_are_not_read() {
    let rows = |count: usize| ["{}"].repeat(count).join(",");
    let flaw = |count| read(&rows(count)).expect_err("it is no good table").to_string();
    assert_eq!(flaw(200_000), "its table of contents has an entry of unknown kind");
    assert_eq!(flaw(200_001), "its table of contents has more than 200000 rows");
    let flaw = flaw(15_000_000);
    assert!(flaw.starts_with("it unpacks to more than "), "{flaw}");
}

#[test]
fn a_file_of_very_many_pieces_is_read_as_soon_as_others() {
    const PIECES: usize = 100_000;
    let digest = Digest::of(b"x");
    let row = |number: usize| {
        let kind = if number == 0 { "reg" } else { "chunk" };
        let (size, end) = (if number == 0 { PIECES } else { 0 }, number + 1);
        json!({ "name": "f", "type": kind, "size": size, "offset": number, "endOffset": end, "chunkOffset": number,
            "chunkSize": 1, "chunkDigest": digest.as_str() })
        .to_string()
    };
    let rows: Vec<String> = (0..PIECES).map(row).collect();
    let begun = std::time::Instant::now();
    let toc = read(&rows.join(",")).expect("a table");
    assert!(begun.elapsed().as_secs() < 20, "it took {:?}", begun.elapsed());
    assert_eq!(toc.file("f").map(|file| file.pieces.len()), Some(PIECES));
}
