//! One layer on its way from the registry through the reader.
//!
//! The network waits here and the reader is busy on a thread of its own; a short queue is between
//! them, so that neither runs ahead.

use std::sync::Arc;

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
            Answer::Needs { layer, names } if layer == above.len() => {
                reader.watch(names);
                true
            }
            _ => false,
        }
    }
}

/// Reads a layer: what it is, what is left of the limits, and the bytes that came.
pub(super) async fn read_layer(
    registry: &Registry,
    repository: &Repository,
    descriptor: &Descriptor,
    limits: Limits,
    goal: Goal,
) -> Result<(Read, Limits, u64), RegistryError> {
    let reader = match LayerReader::new(&descriptor.media_type, limits) {
        Ok(reader) => reader,
        Err(flaw) => return Ok((Read::Flawed(flaw.to_string()), limits, 0)),
    };
    let Some(mut blob) = registry.blob(repository, descriptor).await? else {
        return Ok((Read::Missing, limits, 0));
    };
    let (pieces, queue) = mpsc::channel::<Bytes>(QUEUE);
    let size = descriptor.size;
    let reading = tokio::task::spawn_blocking(move || take(reader, queue, &goal, size));
    let mut is_whole = false;
    loop {
        let Some(piece) = blob.next().await? else {
            is_whole = true;
            break;
        };
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let bytes_read = blob.received();
    drop(blob);
    let result = reading.await.expect("readers do not panic");
    Ok(match result {
        Ok((summary, left)) => {
            debug_assert!(is_whole || !summary.is_complete);
            (Read::Summary(summary), left, bytes_read)
        }
        Err(flaw) => (Read::Flawed(flaw.to_string()), limits, bytes_read),
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
    if left == 0 { reader.finish().map_err(Into::into) } else { Ok(reader.stop()) }
}
