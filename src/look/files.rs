//! What an image's files prove, from as few of its bytes as will do.
//!
//! Layers are read from the top, and no further than the question needs; what is learned of a layer
//! is kept by its digest. Unpacking runs beside the network, on threads that may be busy, and a
//! download ends when nobody wants more of it.
//!
//! Only a whole layer has a digest: what was read of one in part may be anything that a proxy
//! answered. It is good enough to go by as long as it says what the image's config says. Before
//! anything is held against the image, the rest of the layer is read as well.

mod index;
mod layer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;

use super::facts::Facts;
use crate::inspect::{Answer, Index, Limits, Start, Summary, Toc, examine as weigh, read_start};
use crate::model::image::Effort;
use crate::model::{Claim, Descriptor, Digest, Evidence, Platform, Proof, Repository};
use crate::registry::{Registry, RegistryError, read_claim};
use layer::{Goal, MOST_CHECKED, read_layer};

/// How long one image may take.
const LONGEST: Duration = Duration::from_secs(120);
/// The most bytes that all layers of one image may unpack to.
const MOST_OUTPUT_BYTES: u64 = 4 << 30;
/// The most files in all layers of one image.
const MOST_ENTRIES: usize = 800_000;
/// Layers below the one that is needed are read along with it while they are this small together.
const ALONG_BYTES: u64 = 1 << 20;
/// The most layers of an image that are read at one time.
const MOST_AT_ONCE: usize = 4;
/// How many images are examined at one time in this process, which bounds memory and threads.
static EXAMINERS: Semaphore = Semaphore::const_new(4);

const LAYER: &str = "layer-2";
/// What a layer's table of contents says: of layer and table together, since only some manifests name
/// the table, and another table may say something else.
const TABLE: &str = "table-1";
const EVIDENCE: &str = "evidence-2";

/// What an image's files prove, and what it took to find out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// What was found.
    pub evidence: Evidence,
    /// What it took.
    pub effort: Effort,
}

/// Examines the image with this config and these layers, the lowest first.
///
/// What is found is remembered by the digests of config and layers together.
///
/// # Errors
///
/// [`RegistryError`]: the layers could not be read. That something in them cannot be understood is
/// no error but a gap in the evidence, and so is a layer that the registry does not have.
pub async fn examine(
    registry: &Registry,
    repository: &Repository,
    config: &[u8],
    layers: &[Descriptor],
    facts: &Facts,
) -> Result<Examined, RegistryError> {
    examine_within(LONGEST, registry, repository, config, layers, facts).await
}

/// Examines an image as [`examine`] does, and gives up after another time than two minutes.
///
/// # Errors
///
/// As [`examine`].
pub async fn examine_within(
    longest: Duration,
    registry: &Registry,
    repository: &Repository,
    config: &[u8],
    layers: &[Descriptor],
    facts: &Facts,
) -> Result<Examined, RegistryError> {
    let image = key(&Digest::of(config), layers);
    if let Some(evidence) = recall(facts, &image).await {
        return Ok(Examined { evidence, effort: Effort::default() });
    }
    let Some(start) = read_start(config) else {
        return Ok(with_gap("its config does not say what it starts"));
    };
    let bytes_read = AtomicU64::new(0);
    let mut reading = Reading {
        registry,
        repository,
        facts,
        start: Arc::new(start),
        claimed: claimed(config),
        doubted: None,
        layers: layers.iter().rev().map(Layer::new).collect(),
        allowance: Limits { output_bytes: MOST_OUTPUT_BYTES, entries: MOST_ENTRIES, ..Limits::default() },
        bytes_read: &bytes_read,
    };
    let _permit = EXAMINERS.acquire().await.expect("the semaphore is never closed");
    let answer = tokio::time::timeout(longest, reading.answer()).await;
    let Ok(answer) = answer else {
        if let Some(evidence) = reading.doubted.take() {
            reading.forget_parts();
            return Ok(Examined { evidence, effort: reading.effort() });
        }
        // Another day may be faster, so this is not remembered.
        let gap = format!("its layers could not be read within {}", humantime::format_duration(longest));
        return Ok(Examined { effort: reading.effort(), evidence: reading.seen_up_to(gap).await });
    };
    let (evidence, is_lasting) = answer?;
    if is_lasting {
        let fact = serde_json::to_vec(&evidence).expect("strings and numbers always serialize");
        facts.learn(EVIDENCE, &image, Bytes::from(fact));
    }
    Ok(Examined { evidence, effort: reading.effort() })
}

/// What the image with this config and these layers is known to prove.
pub(super) async fn known(facts: &Facts, config: &Digest, layers: &[Descriptor]) -> Option<Evidence> {
    recall(facts, &key(config, layers)).await
}

async fn recall(facts: &Facts, key: &Digest) -> Option<Evidence> {
    serde_json::from_slice(&facts.recall(EVIDENCE, key).await?).ok()
}

/// What evidence is kept under: the whole content of an image, and all that says how it is read.
fn key(config: &Digest, layers: &[Descriptor]) -> Digest {
    type Way<'a> = (&'a str, &'a str, u64, &'a BTreeMap<String, String>);
    let ways: Vec<Way<'_>> =
        layers.iter().map(|it| (it.digest.as_str(), it.media_type.as_str(), it.size, &it.annotations)).collect();
    Digest::of(&serde_json::to_vec(&(config.as_str(), ways)).expect("text always serializes"))
}

/// What an image's config says that it runs on.
fn claimed(config: &[u8]) -> Option<Platform> {
    let Claim { os, architecture, variant, .. } = read_claim(config).ok()?;
    let words: Vec<String> = [Some(os?), Some(architecture?), variant].into_iter().flatten().collect();
    words.join("/").parse().ok()
}

/// What is known of a layer; nothing where that was forgotten.
async fn known_layer(facts: &Facts, kind: &'static str, digest: &Digest) -> Option<Arc<Summary>> {
    let summary = Summary::unpack(&facts.recall(kind, digest).await?)?;
    (summary.is_complete || !summary.is_empty()).then(|| Arc::new(summary))
}

fn with_gap(gap: &str) -> Examined {
    Examined { evidence: Evidence { gap: Some(gap.to_owned()), ..Evidence::default() }, ..Examined::default() }
}

/// What became of one layer.
enum Read {
    /// This was learned of it.
    Summary(Summary),
    /// It cannot be read: why, and whether it never can.
    Flawed(String, bool),
    /// The registry does not have it.
    Missing,
}

struct Layer<'a> {
    descriptor: &'a Descriptor,
    summary: Option<Arc<Summary>>,
    /// How single files of it can be asked for, as long as that works.
    index: Option<Index>,
    toc: Option<Toc>,
    /// Whether the registry was asked for any of it.
    is_read: bool,
    /// Whether it was asked for all of it.
    is_read_whole: bool,
}

impl<'a> Layer<'a> {
    fn new(descriptor: &'a Descriptor) -> Layer<'a> {
        let index = Index::of(descriptor).filter(|_| descriptor.size > ALONG_BYTES);
        Layer { descriptor, summary: None, index, toc: None, is_read: false, is_read_whole: false }
    }

    /// Whether what is known of it was read from bytes that may not be its own.
    fn is_in_doubt(&self) -> bool {
        self.summary.as_ref().is_some_and(|summary| !summary.is_complete)
    }

    /// What is learned of it is kept under this: its bytes, and how its media type says that they are
    /// packed, since a wrong one makes them unreadable.
    fn content(&self) -> Digest {
        let packing = self.descriptor.media_type.rsplit(['+', '.']).next().unwrap_or_default();
        Digest::of(format!("{} {packing}", self.descriptor.digest).as_bytes())
    }

    /// What is learned of it by its table of contents, and under which digest.
    fn table(&self) -> Option<Digest> {
        let index = self.index.as_ref()?;
        Some(Digest::of(format!("{} {}", self.descriptor.digest, index.digest()).as_bytes()))
    }
}

/// An image that is being examined.
struct Reading<'a> {
    registry: &'a Registry,
    repository: &'a Repository,
    facts: &'a Facts,
    start: Arc<Start>,
    /// What the image's config says that it runs on.
    claimed: Option<Platform>,
    /// What was found, as long as it is not sure.
    doubted: Option<Evidence>,
    /// The top layer first.
    layers: Vec<Layer<'a>>,
    /// What is left of what one image may cost.
    allowance: Limits,
    bytes_read: &'a AtomicU64,
}

impl Reading<'_> {
    /// Reads layers until the answer is there; and whether it will always be the same.
    async fn answer(&mut self) -> Result<(Evidence, bool), RegistryError> {
        loop {
            let (layer, names) = match self.weigh().await {
                Answer::Known(evidence) => match self.make_sure(evidence).await? {
                    Some(answer) => return Ok(answer),
                    None => continue,
                },
                Answer::Needs { layer, names, .. } => (layer, names),
            };
            if self.recall(layer).await || self.look_up(layer, &names).await? {
                continue;
            }
            if let Some((gap, is_lasting)) = self.read(layer, names).await? {
                let is_lasting = is_lasting && self.is_sure_beside(layer);
                self.forget_parts();
                return Ok((self.seen_up_to(gap).await, is_lasting));
            }
        }
    }

    /// Weighs what is known, on a thread that may be busy: somebody may have made the image so that
    /// it takes long.
    async fn weigh(&self) -> Answer {
        let start = self.start.clone();
        let summaries: Vec<Option<Arc<Summary>>> = self.layers.iter().map(|layer| layer.summary.clone()).collect();
        let weighing = tokio::task::spawn_blocking(move || {
            let summaries: Vec<Option<&Summary>> = summaries.iter().map(Option::as_deref).collect();
            weigh(&start, &summaries)
        });
        weighing.await.expect("weighing does not panic")
    }

    /// The answer, and whether it will always be the same; `None` once more was read to be sure of it.
    async fn make_sure(&mut self, evidence: Evidence) -> Result<Option<(Evidence, bool)>, RegistryError> {
        let is_as_claimed = self.claimed.as_ref().is_some_and(|claimed| evidence.judge(claimed) == Proof::Match);
        let in_doubt = self.layers.iter().position(Layer::is_in_doubt).filter(|_| !is_as_claimed);
        let Some(layer) = in_doubt else { return Ok(Some((evidence, true))) };
        if self.layers[layer].descriptor.size <= MOST_CHECKED {
            self.doubted = Some(evidence.clone());
            match self.read(layer, Vec::new()).await? {
                None => {
                    self.doubted = None;
                    return Ok(None);
                }
                // The rest of it cannot be read, but these were its bytes.
                Some((_, true)) if self.is_sure_beside(layer) => return Ok(Some((evidence, true))),
                Some(_) => {}
            }
        }
        self.forget_parts();
        Ok(Some((evidence, false)))
    }

    /// Whether nothing is in doubt of all layers but this one.
    fn is_sure_beside(&self, layer: usize) -> bool {
        self.layers.iter().enumerate().all(|(index, other)| index == layer || !other.is_in_doubt())
    }

    /// Lets nobody go by what was read of layers in part.
    fn forget_parts(&self) {
        let nothing = Summary::default().pack().expect("nothing is small");
        for layer in self.layers.iter().filter(|layer| layer.is_in_doubt()) {
            self.facts.learn(LAYER, &layer.content(), Bytes::from(nothing.clone()));
        }
    }

    /// What was seen before something could not be read: it still contradicts what it contradicts.
    async fn seen_up_to(&self, gap: String) -> Evidence {
        let (Answer::Known(seen) | Answer::Needs { seen, .. }) = self.weigh().await;
        Evidence { gap: Some(gap), ..seen }
    }

    /// Remembers what was learned of a layer before; whether that is news.
    async fn recall(&mut self, layer: usize) -> bool {
        let layer = &mut self.layers[layer];
        if layer.summary.is_some() {
            return false;
        }
        layer.summary = known_layer(self.facts, LAYER, &layer.content()).await;
        if layer.summary.is_some() {
            layer.index = None; // the layer itself says more than a table about it
        } else if let Some(table) = layer.table() {
            layer.summary = known_layer(self.facts, TABLE, &table).await;
        }
        layer.summary.is_some()
    }

    /// Asks for what is needed of a layer by its table of contents; whether that brought any news.
    /// Where it fails, the layer is read as others are.
    async fn look_up(&mut self, layer: usize, names: &[String]) -> Result<bool, RegistryError> {
        let limits = self.limits();
        let reader =
            index::Reader { registry: self.registry, repository: self.repository, bytes_read: self.bytes_read };
        let layer = &mut self.layers[layer];
        let (Some(index), Some(table)) = (&layer.index, layer.table()) else { return Ok(false) };
        if names.is_empty() {
            // All of it is of interest.
            (layer.index, layer.toc, layer.summary) = (None, None, None);
            return Ok(false);
        }
        layer.is_read = true;
        if layer.toc.is_none() {
            layer.toc = reader.toc(layer.descriptor, index, limits).await?;
            if let (Some(toc), None) = (&layer.toc, &layer.summary) {
                layer.summary = Some(Arc::new(toc.summary.clone()));
                return Ok(true);
            }
        }
        let unread = |summary: &Arc<Summary>| names.iter().find(|name| summary.is_unread(name)).cloned();
        if let (Some(toc), Some(summary)) = (&layer.toc, &mut layer.summary)
            && let Some(name) = unread(summary)
            && let Some(nature) = reader.nature(layer.descriptor, toc, &name).await?
        {
            Arc::make_mut(summary).settle(&name, nature);
            if let Some(packed) = summary.pack() {
                self.facts.learn(TABLE, &table, Bytes::from(packed));
            }
            return Ok(true);
        }
        (layer.index, layer.toc, layer.summary) = (None, None, None);
        Ok(false)
    }

    /// Reads a layer, and small ones below it along with it; gives a reason where one is unfit.
    async fn read(&mut self, first: usize, names: Vec<String>) -> Result<Option<(String, bool)>, RegistryError> {
        let mut turns = vec![self.facts.turn(&self.layers[first].descriptor.digest).await];
        if self.recall(first).await {
            return Ok(None); // another image has it, too, and was faster
        }
        if self.layers[first].is_read_whole {
            let short = self.layers[first].descriptor.digest.short();
            return Ok(Some((format!("its layer {short} does not come to an end"), false)));
        }
        let mut batch = vec![first];
        let mut bytes = self.layers[first].descriptor.size;
        for index in first + 1..self.layers.len() {
            bytes = bytes.saturating_add(self.layers[index].descriptor.size);
            if bytes > ALONG_BYTES || batch.len() >= MOST_AT_ONCE {
                break;
            }
            let Some(turn) = self.facts.turn_now(&self.layers[index].descriptor.digest) else { continue };
            if !self.recall(index).await && self.layers[index].summary.is_none() {
                turns.push(turn);
                batch.push(index);
            }
        }
        batch.iter().for_each(|index| self.layers[*index].is_read = true);
        // A layer of which a part was read before, and not enough, is read to its end.
        let is_again = self.layers[first].summary.is_some();
        self.layers[first].is_read_whole = is_again;
        let above: Vec<Arc<Summary>> = self.layers[..first].iter().map_while(|layer| layer.summary.clone()).collect();
        let goals = batch.iter().map(|index| {
            let early = (*index == first && !is_again).then(|| (above.clone(), names.clone()));
            Goal { start: self.start.clone(), layers: self.layers.len(), early }
        });
        let limits = self.limits();
        let reads = batch.iter().zip(goals).map(|(index, goal)| {
            read_layer(self.registry, self.repository, self.layers[*index].descriptor, limits, goal, self.bytes_read)
        });
        let results = try_join_all(reads).await?;
        for (index, (read, left)) in batch.into_iter().zip(results) {
            self.spend(limits, left);
            let layer = &mut self.layers[index];
            let short = layer.descriptor.digest.short();
            match read {
                Read::Summary(summary) => {
                    if let Some(packed) = summary.pack() {
                        self.facts.learn(LAYER, &layer.content(), Bytes::from(packed));
                    }
                    layer.summary = Some(Arc::new(summary));
                }
                Read::Flawed(why, is_lasting) => {
                    return Ok(Some((format!("its layer {short} cannot be read: {why}"), is_lasting)));
                }
                Read::Missing if layer.descriptor.urls.is_empty() => {
                    return Ok(Some((format!("its layer {short} is not in the registry"), false)));
                }
                Read::Missing => {
                    return Ok(Some((format!("its layer {short} is kept elsewhere, and not in the registry"), false)));
                }
            }
        }
        Ok(None)
    }

    /// What it took by now.
    fn effort(&self) -> Effort {
        let known = |layer: &&Layer<'_>| layer.summary.is_some() && !layer.is_read;
        Effort {
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            layers_read: self.layers.iter().filter(|layer| layer.is_read).count(),
            layers_known: self.layers.iter().filter(known).count(),
        }
    }

    fn limits(&self) -> Limits {
        let (most, left) = (Limits::default(), self.allowance);
        Limits {
            output_bytes: most.output_bytes.min(left.output_bytes),
            entries: most.entries.min(left.entries),
            name_bytes: most.name_bytes.min(left.name_bytes),
        }
    }

    fn spend(&mut self, given: Limits, left: Limits) {
        let allowance = &mut self.allowance;
        allowance.output_bytes -= (given.output_bytes - left.output_bytes).min(allowance.output_bytes);
        allowance.entries -= (given.entries - left.entries).min(allowance.entries);
        allowance.name_bytes -= (given.name_bytes - left.name_bytes).min(allowance.name_bytes);
    }
}
