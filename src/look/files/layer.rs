//! One layer on its way from the registry through the reader.
//!
//! The network waits here and the reader is busy on a thread of its own; a short queue is between
//! them, so that neither runs ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Read;
use crate::inspect::{Answer, Flaw, LayerReader, Limits, Start, Summary, examine as weigh};
use crate::model::{Descriptor, Repository};
use crate::registry::{Registry, RegistryError};

/// How many pieces wait between the network and the reader.
const QUEUE: usize = 16;
/// What is left of a layer is read, too, when it is this little: then all of it is known for ever.
const REST_BYTES: u64 = 2 << 20;
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
        Err(flaw) => return Ok((Read::Flawed(flaw.to_string()), limits)),
    };
    let Some(mut blob) = registry.blob(repository, descriptor).await? else {
        return Ok((Read::Missing, limits));
    };
    let (pieces, queue) = mpsc::channel::<Bytes>(QUEUE);
    let size = descriptor.size;
    let reading = tokio::task::spawn_blocking(move || take(reader, queue, &goal, size));
    let mut received = 0;
    while let Some(piece) = blob.next().await? {
        bytes_read.fetch_add(blob.received() - received, Ordering::Relaxed);
        received = blob.received();
        // A reader that is gone needs no more; dropping the blob ends the download.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    drop(blob);
    Ok(match reading.await.expect("readers do not panic") {
        Ok((summary, left)) => (Read::Summary(summary), left),
        Err(flaw) => (Read::Flawed(flaw.to_string()), limits),
    })
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
