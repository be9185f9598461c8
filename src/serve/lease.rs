//! Leases of plain tags, as whoever writes one has to keep them.

use std::sync::Arc;
use std::time::Instant;

use super::App;
use crate::registry::Gate;
use crate::store::Claimed;

/// Into how many parts a lease falls: after one a sign of life is given, and a write may take one.
const PARTS: u32 = 4;

/// Does `work` as long as the lease is kept. None: it was lost, and the work was broken off.
pub(super) async fn while_kept<T>(app: &App, claimed: &Claimed, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = lost(app, claimed) => {
            tracing::warn!("The lease of `{}` was lost; somebody else works on it", claimed.tag);
            None
        }
    }
}

/// Resolves when the lease could not be kept.
async fn lost(app: &App, claimed: &Claimed) {
    loop {
        tokio::time::sleep(app.lease / PARTS).await;
        match app.store.extend(claimed, app.lease).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!("The lease of `{}` could not be kept: {error}", claimed.tag),
        }
    }
}

/// Lets a write begin only under the lease, which is made to last longer than the write may take.
pub(super) fn gate(app: &App, claimed: &Claimed) -> Gate {
    let (store, claimed, lease) = (app.store.clone(), Arc::new(claimed.clone()), app.lease);
    Gate::new(Arc::new(move || {
        let (store, claimed) = (store.clone(), claimed.clone());
        Box::pin(async move {
            let until = Instant::now() + lease / PARTS;
            match store.extend(&claimed, lease).await {
                Ok(true) => Ok(until),
                Ok(false) => Err("the lease was lost, and somebody else works on the tag".to_owned()),
                Err(error) => Err(format!("the lease could not be kept: {error}")),
            }
        })
    }))
}
