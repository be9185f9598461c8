//! Parts of a layer that has a table of contents.
//!
//! What does not come as it should, or is not what a digest names, is given up: the layer is then
//! read from its beginning.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::inspect::{Index, Limits, Nature, Probe, Toc};
use crate::model::{Descriptor, Digest, Repository};
use crate::registry::{Registry, RegistryError};

/// Reads parts, and counts their bytes.
pub(super) struct Reader<'a> {
    pub(super) registry: &'a Registry,
    pub(super) repository: &'a Repository,
    pub(super) bytes_read: &'a AtomicU64,
}

impl Reader<'_> {
    /// The table of contents; `None` if it cannot be had.
    pub(super) async fn toc(
        &self,
        layer: &Descriptor,
        index: &Index,
        limits: Limits,
    ) -> Result<Option<Toc>, RegistryError> {
        let first = index.first_part(layer.size);
        let Some(mut bytes) = self.part(&layer.digest, &first).await? else {
            return Ok(None);
        };
        let Some(table) = index.table(&bytes, layer.size) else {
            return Ok(None);
        };
        if table != first {
            let Some(packed) = self.part(&layer.digest, &table).await? else {
                return Ok(None);
            };
            bytes = packed;
        }
        let index = index.clone();
        let reading = tokio::task::spawn_blocking(move || Toc::read(&index, &table, &bytes, limits));
        let toc = reading.await.expect("readers do not panic");
        Ok(toc.inspect_err(|flaw| tracing::info!("A layer is read without its index: {flaw}")).ok())
    }

    /// What a file is; `None` if its bytes cannot be had.
    pub(super) async fn nature(
        &self,
        layer: &Descriptor,
        toc: &Toc,
        name: &str,
    ) -> Result<Option<Nature>, RegistryError> {
        let Some(file) = toc.file(name) else { return Ok(None) };
        let mut probe = Probe::new(file.size);
        for piece in &file.pieces {
            let Some(packed) = self.part(&layer.digest, &piece.place).await? else { return Ok(None) };
            let Ok(bytes) = toc.unpack(piece, &packed) else { return Ok(None) };
            probe.feed(&bytes);
            if let Some(nature) = probe.nature() {
                return Ok(Some(nature.clone()));
            }
        }
        Ok(None)
    }

    /// The bytes of a part; `None` where the registry gives no parts.
    async fn part(&self, digest: &Digest, place: &Range<u64>) -> Result<Option<Vec<u8>>, RegistryError> {
        let Some(mut blob) = self.registry.blob_part(self.repository, digest, place.clone()).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        loop {
            match blob.next().await {
                Ok(Some(piece)) => {
                    self.bytes_read.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    bytes.extend_from_slice(&piece);
                }
                Ok(None) => return Ok(Some(bytes)),
                Err(RegistryError::TooLarge { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
