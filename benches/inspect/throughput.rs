//! Reading a layer beside only unpacking it.

use std::path::Path;
use std::time::{Duration, Instant};

use onetag::inspect::{LayerReader, Limits};

use crate::{Result, median, run, verdict};

/// The longest that reading may take, compared with unpacking.
const MOST: f64 = 1.3;
/// How large the pieces are that come from a socket.
const PIECE_BYTES: usize = 64 * 1024;

const PACKINGS: [(&str, &[&str], &str); 2] = [
    ("gzip", &["gzip", "-kf6"], "application/vnd.oci.image.layer.v1.tar+gzip"),
    ("zstd", &["zstd", "-qkf3"], "application/vnd.oci.image.layer.v1.tar+zstd"),
];

pub(crate) fn bench(archive: &Path, rounds: u32) -> Result<bool> {
    let mut is_kept = true;
    for (tool, pack, media_type) in PACKINGS {
        let archive_name = archive.display().to_string();
        run(&[pack, &[&archive_name]].concat())?;
        let suffix = if tool == "gzip" { "gz" } else { "zst" };
        let packed_name = format!("{archive_name}.{suffix}");
        let packed = std::fs::read(&packed_name)?;
        let (mut ours, mut theirs, mut entries) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let started = Instant::now();
            run(&[tool, "-dc", &packed_name])?;
            theirs.push(started.elapsed());
            let started = Instant::now();
            entries = read(&packed, media_type)?;
            ours.push(started.elapsed());
        }
        let bytes = std::fs::metadata(archive)?.len();
        let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let is_within = ratio <= MOST;
        is_kept &= is_within;
        println!(
            "throughput {tool}: {:.0} MB packed, {:.0} MB of tar, {entries} entries",
            packed.len() as f64 / 1e6,
            bytes as f64 / 1e6
        );
        println!("  onetag         {ours:8.2?}  {:6.0} MB/s", rate(ours));
        println!("  {tool} -dc       {theirs:8.2?}  {:6.0} MB/s", rate(theirs));
        println!("  ratio          {ratio:8.2}  {}", verdict(is_within, &format!("{MOST}")));
    }
    Ok(is_kept)
}

/// Reads a layer as it comes from a registry; returns how many entries it has.
fn read(packed: &[u8], media_type: &str) -> Result<usize> {
    let mut reader = LayerReader::new(media_type, Limits::default())?;
    packed.chunks(PIECE_BYTES).try_for_each(|piece| reader.feed(piece))?;
    Ok(reader.finish()?.0.len())
}
