//! Finding out what an image runs on, beside copying all of it and asking `file`.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use onetag::look::{Facts, examine};
use onetag::model::{Descriptor, Host, Proof, Repository};
use onetag::registry::{Access, Registry, Settings};
use tempfile::TempDir;

use crate::layers::noise;
use crate::relay::Relay;
use crate::support::image::{Image, gzip};
use crate::support::{Layer, RealRegistry};
use crate::{Result, median, run, verdict};

const NAME: &str = "acme/app";
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
/// The last file of the base, to which the loader is a link in one image.
const LAST: &str = "var/lib/loader";

/// How large the base is, packed.
const BASE_BYTES: usize = 200_000_000;
/// How often fewer bytes there must be where the answer is in the top layer.
const TIMES_FEWER: f64 = 10.0;
/// What comes with the layers: the manifest, the config, and the headers of all answers.
const AROUND_BYTES: u64 = 16 * 1024;

pub(crate) async fn bench(archive: &Path, rounds: u32) -> Result<bool> {
    let registry = RealRegistry::start().await;
    let relay = Relay::start(registry.host()).await?;
    let loader = std::fs::read(format!("/{LOADER}"))?;
    let base = base(&loader, &std::fs::read(archive)?);
    let program = || Layer::new().file("app/server", std::fs::read("/bin/sh").expect("there is a shell"));

    let mut is_kept = true;
    for (tag, top, what) in [
        ("whole", program().file(LOADER, &loader), "everything that starts the program is in the top layer"),
        ("loader-first", program(), "the program's loader is the first file of the base"),
        (
            "loader-last",
            program().link(LOADER, &format!("/{LAST}")),
            "the program's loader is the last file of the base",
        ),
    ] {
        let layers = vec![base.clone(), top.gzipped()];
        let bytes: u64 = layers.iter().map(|layer: &Bytes| layer.len() as u64).sum();
        let image = Image::new("linux/amd64").entrypoint(&["/app/server"]).layers(layers);
        registry.push(&format!("{NAME}:{tag}"), &image).await;

        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (mut our_bytes, mut their_bytes) = (0, 0);
        for _ in 0..rounds {
            ours.push(onetag(relay.host(), tag).await?);
            our_bytes = relay.take_bytes();
            theirs.push(skopeo_and_file(relay.host(), tag)?);
            their_bytes = relay.take_bytes();
        }
        let times = their_bytes as f64 / our_bytes as f64;
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let (wants, bound) = match tag {
            "whole" => (TIMES_FEWER, format!("{TIMES_FEWER}, and no more than the image")),
            _ => (0.0, "no more than the image".to_owned()),
        };
        let is_few = times >= wants && our_bytes <= bytes + AROUND_BYTES;
        is_kept &= is_few;
        println!("download: an image of {:.1} MB; {what}", bytes as f64 / 1e6);
        for (name, time, bytes) in [("onetag", ours, our_bytes), ("skopeo + file", theirs, their_bytes)] {
            println!("  {name:14} {time:8.2?}  {:8.2} MB", bytes as f64 / 1e6);
        }
        println!("  {:.1} times faster", theirs.as_secs_f64() / ours.as_secs_f64());
        println!("  {times:.1} times fewer bytes, {}", verdict(is_few, &bound));
    }
    Ok(is_kept)
}

/// A layer that begins and ends with the loader, with noise before the end where it is too small.
fn base(loader: &[u8], files: &[u8]) -> Bytes {
    let packed = |layer: &[u8]| gzip(layer.strip_suffix(&[0; 1024]).unwrap_or(layer));
    let begin = [packed(&Layer::new().file(LOADER, loader).plain()), packed(files)].concat();
    let noise = noise(BASE_BYTES.saturating_sub(begin.len()));
    let end = Layer::new().file("noise", noise).file(LAST, loader).gzipped();
    [&begin[..], &end].concat().into()
}

async fn onetag(host: &str, tag: &str) -> Result<Duration> {
    let started = Instant::now();
    let settings = Settings { plain_http: true, ..Settings::new(Access::Read) };
    let registry = Registry::new(&host.parse::<Host>()?, settings)?;
    let repository: Repository = format!("{host}/{NAME}").parse()?;
    let manifest = registry.manifest(&repository, tag).await?.ok_or("no manifest")?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes)?;
    let config: Descriptor = serde_json::from_value(manifest["config"].clone())?;
    let layers: Vec<Descriptor> = serde_json::from_value(manifest["layers"].clone())?;
    let config = registry.config(&repository, &config).await?.ok_or("no config")?.map_err(|_| "an unfit config")?;
    let examined = examine(&registry, &repository, &config, &layers, &Facts::default()).await?;
    let took = started.elapsed();
    match examined.evidence.judge(&"linux/amd64".parse()?) {
        Proof::Match => Ok(took),
        other => Err(format!("{other:?}").into()),
    }
}

/// Copies the image, takes the program out of its top layer, and asks `file` what it is.
fn skopeo_and_file(host: &str, tag: &str) -> Result<Duration> {
    let folder = TempDir::with_prefix("onetag-bench-")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let started = Instant::now();
    let (from, to) = (format!("docker://{host}/{NAME}:{tag}"), format!("dir:{}", path("image")));
    run(&["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", &from, &to])?;
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(path("image/manifest.json"))?)?;
    let top = manifest["layers"][1]["digest"].as_str().and_then(|digest| digest.split_once(':')).ok_or("no layer")?.1;
    run(&["tar", "-xzf", &path(&format!("image/{top}")), "-C", &path(""), "app/server"])?;
    run(&["file", "-L", &path("app/server")])?;
    Ok(started.elapsed())
}
