//! Reading a layer beside only unpacking it.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use onetag::inspect::{LayerReader, Limits};

use crate::{Result, median, run, verdict};

/// The longest that reading may take, compared with unpacking.
const MOST: f64 = 1.3;
/// How large the pieces are that come from a socket.
const PIECE_BYTES: usize = 64 * 1024;

/// Unpacks some bytes to nowhere.
type Unpack = fn(&[u8]) -> io::Result<u64>;

const PACKINGS: [(&str, &str, &[&str], &str, Unpack); 2] = [
    ("gzip", "gz", &["gzip", "-kf6"], "application/vnd.oci.image.layer.v1.tar+gzip", |packed| {
        sink(flate2::read::MultiGzDecoder::new(packed))
    }),
    ("zstd", "zst", &["zstd", "-qkf3"], "application/vnd.oci.image.layer.v1.tar+zstd", |packed| {
        sink(zstd::stream::read::Decoder::new(packed)?)
    }),
];

/// Reads `archive`, which holds `what`, in each packing.
pub(crate) fn bench(what: &str, archive: &Path, rounds: u32) -> Result<bool> {
    let mut is_kept = true;
    for (tool, suffix, pack, media_type, unpack) in PACKINGS {
        let archive_name = archive.display().to_string();
        run(&[pack, &[&archive_name]].concat())?;
        let packed_name = format!("{archive_name}.{suffix}");
        let packed = std::fs::read(&packed_name)?;
        let (mut ours, mut tools, mut libraries, mut entries) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            tools.push(timed(|| run(&[tool, "-dc", &packed_name]))?);
            libraries.push(timed(|| Ok(unpack(&packed)?))?);
            ours.push(timed(|| {
                entries = read(&packed, media_type)?;
                Ok(entries)
            })?);
        }
        let bytes = std::fs::metadata(archive)?.len();
        let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
        let [ours, tools, libraries] = [ours, tools, libraries].map(|mut times| median(&mut times));
        println!(
            "throughput {tool}: {what}; {:.0} MB packed, {:.0} MB of tar, {entries} entries",
            packed.len() as f64 / 1e6,
            bytes as f64 / 1e6
        );
        println!("  onetag         {ours:8.2?}  {:6.0} MB/s", rate(ours));
        let ratio = |theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
        let is_within = ratio(tools) <= MOST;
        is_kept &= is_within;
        let bound = verdict(is_within, &MOST.to_string());
        println!("  {tool} -dc       {tools:8.2?}  {:6.0} MB/s  ratio {:.2}, {bound}", rate(tools), ratio(tools));
        println!("  its library    {libraries:8.2?}  {:6.0} MB/s  ratio {:.2}", rate(libraries), ratio(libraries));
    }
    Ok(is_kept)
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

fn sink(mut unpacked: impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; 2 * PIECE_BYTES];
    let mut sum = 0;
    loop {
        match unpacked.read(&mut buffer)? {
            0 => return Ok(sum),
            len => sum += len as u64,
        }
    }
}

/// Reads a layer as it comes from a registry; returns how many entries it has.
fn read(packed: &[u8], media_type: &str) -> Result<usize> {
    let mut reader = LayerReader::new(media_type, Limits::default())?;
    packed.chunks(PIECE_BYTES).try_for_each(|piece| reader.feed(piece))?;
    Ok(reader.finish()?.0.len())
}
