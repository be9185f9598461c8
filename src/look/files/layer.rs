//! One layer on its way from the registry through the reader.
//!
//! The network waits here and the reader is busy on a thread of its own; a short queue is between
//! them, so that neither runs ahead.
//!
//! Bytes are known to be the layer's once all of them came and the digest holds. What was read before
//! may be anything that a proxy answered, and what is wrong with it is not what is wrong with the layer:
//! so a layer that cannot be read is nevertheless received to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::Read;
use crate::inspect::{Answer, Flaw, LayerReader, Limits, Start, Summary, examine as weigh};
use crate::model::{Descriptor, Repository};
use crate::registry::{Blob, Registry, RegistryError};

/// How many pieces wait between the network and the reader.
const QUEUE: usize = 16;
/// What is left of a layer is read, too, when it is this little: then all of it is known for ever.
const REST_BYTES: u64 = 2 << 20;
/// The most that is received of a layer only to see whether the digest holds.
pub(super) const MOST_CHECKED: u64 = 512 << 20;
/// The windows that zstd may need at one time in this process, in MiB.
static WINDOWS: Semaphore = Semaphore::const_new(512);

/// What a layer is read for.
pub(super) struct Goal {
    pub(super) start: Arc<Start>,
    /// How many layers the image has.
    pub(super) layers: usize,
    /// The layers above it and the names that are looked for, where reading may stop early.
    pub(super) early: Option<(Vec<Arc<Summary>>, Vec<String>)>,
}

impl Goal {
    /// Looks out in `reader` for what is needed. Returns whether anything still is.
    fn look_out(&self, reader: &mut LayerReader) -> bool {
        let Some((above, _)) = &self.early else { return true };
        let mut layers: Vec<Option<&Summary>> = above.iter().map(|summary| Some(&**summary)).collect();
        layers.push(Some(reader.summary()));
        layers.resize(self.layers, None);
        match weigh(&self.start, &layers) {
            Answer::Needs { layer, names, .. } if layer == above.len() => {
                reader.watch(names);
                true
            }
            _ => false,
        }
    }
}

/// Reads a layer: what it is, and what is left of the limits. Adds the bytes that come to `bytes_read`.
pub(super) async fn read_layer(
    registry: &Registry,
    repository: &Repository,
    descriptor: &Descriptor,
    limits: Limits,
    goal: Goal,
    bytes_read: &AtomicU64,
) -> Result<(Read, Limits), RegistryError> {
    let reader = match LayerReader::new(&descriptor.media_type, limits) {
        Ok(reader) => reader,
        Err(flaw) => return Ok((Read::Flawed(flaw.to_string(), true), limits)),
    };
    let _windows = WINDOWS.acquire_many(window_mib(descriptor)).await.expect("the semaphore is never closed");
    let size = descriptor.size;
    let Some(blob) = registry.blob(repository, descriptor).await? else {
        return Ok((Read::Missing, limits));
    };
    let mut arriving = Arriving { blob, bytes_read, counted: 0 };
    let (pieces, queue) = mpsc::channel::<Bytes>(QUEUE);
    let reading = tokio::task::spawn_blocking(move || take(reader, queue, &goal, size));
    let mut is_whole = false;
    loop {
        let piece = match arriving.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => {
                is_whole = true;
                break;
            }
            Err(error @ RegistryError::DigestMismatch { .. }) => return Err(error),
            Err(_) if arriving.blob.at() > size => {
                let why = format!("it has more than {size} bytes, which is what its manifest says");
                return Ok((Read::Flawed(why, false), limits));
            }
            Err(error) => return Err(error),
        };
        // What comes behind the end is only counted. A reader that is gone needs no more; dropping
        // the blob ends the download.
        if arriving.blob.at() <= size && pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let read = reading.await.expect("readers do not panic");
    let found = arriving.blob.at();
    Ok(match read {
        _ if is_whole && found != size => {
            (Read::Flawed(format!("it has {found} bytes, and its manifest says {size}"), true), limits)
        }
        Ok((summary, left)) => (Read::Summary(summary), left),
        Err(flaw) => {
            let is_sure = flaw.is_lasting(limits) && (is_whole || arriving.is_right(size).await?);
            (Read::Flawed(flaw.to_string(), is_sure), limits)
        }
    })
}

/// How much memory a layer's window may take, in MiB: none is larger than 128, or than what comes of
/// a layer that is no bomb.
fn window_mib(descriptor: &Descriptor) -> u32 {
    let is_zstd = descriptor.media_type.ends_with("zstd");
    let mib = u32::try_from(descriptor.size.saturating_mul(200) >> 20).map_or(128, |mib| mib.clamp(16, 128));
    if is_zstd { mib } else { 0 }
}

/// A layer that is being received, its bytes counted.
struct Arriving<'a> {
    blob: Blob<'a>,
    bytes_read: &'a AtomicU64,
    counted: u64,
}

impl Arriving<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let piece = self.blob.next().await;
        let received = self.blob.received();
        self.bytes_read.fetch_add(received - self.counted, Ordering::Relaxed);
        self.counted = received;
        piece
    }

    /// Receives the rest, if that is not too much: whether these are the bytes that the digest names,
    /// as far as that can be found out.
    async fn is_right(&mut self, size: u64) -> Result<bool, RegistryError> {
        if size.saturating_sub(self.blob.at()) > MOST_CHECKED {
            return Ok(false);
        }
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(error @ RegistryError::DigestMismatch { .. }) => return Err(error),
                Err(_) => return Ok(false),
            }
        }
    }
}

/// Feeds the reader until the layer ends or the question is answered.
fn take(
    mut reader: LayerReader,
    mut queue: mpsc::Receiver<Bytes>,
    goal: &Goal,
    size: u64,
) -> Result<(Summary, Limits), Flaw> {
    let mut is_wanted = goal.look_out(&mut reader);
    let mut left = size;
    while let Some(piece) = queue.blocking_recv() {
        left = left.saturating_sub(piece.len() as u64);
        reader.feed(&piece)?;
        if is_wanted && reader.take_sighting() {
            is_wanted = goal.look_out(&mut reader);
        }
        if !is_wanted && left > REST_BYTES {
            return Ok(reader.stop());
        }
    }
    if left == 0 { reader.finish() } else { Ok(reader.stop()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn a_window_counts_for_what_may_come_of_the_layer() {
        let mib = |kind: &str, size: u64| {
            let media_type = format!("application/vnd.oci.image.layer.v1.tar{kind}");
            window_mib(&Descriptor::new(media_type, Digest::of(b"layer"), size))
        };
        assert_eq!([mib("", 1 << 40), mib("+gzip", 1 << 40)], [0, 0]);
        assert_eq!([1000, 200 << 10, 1 << 20, u64::MAX].map(|size| mib("+zstd", size)), [16, 39, 128, 128]);
    }
}
