//! The page as a reader sees it, in a browser; and the data behind it.

mod api;
mod audits;
mod data;
mod hostile;
mod layout;
mod live;
mod reading;
mod schema;

use crate::support::Service;
use crate::support::real::free_address;
use onetag::store::Store;

/// A rule that lets everything of a registry be shown that nobody can reach.
const RULES: &str = "[[repository]]\nregistry = \"registry.example.com\"\nname = \"multiarch/*\"\n";
const UBUNTU: &str = "/repository?repository=registry.example.com%2Fmultiarch%2Fubuntu";
const NOBLE: &str = "/tag?repository=registry.example.com%2Fmultiarch%2Fubuntu&tag=24.04";

/// A service that shows what was put into its database.
async fn showing(fill: impl AsyncFnOnce(&Store)) -> Service {
    let mut service = Service::start_raw(&free_address(), RULES, &[]).await;
    service.fill(fill).await;
    service
}

/// A service that shows the collection.
async fn collection() -> Service {
    showing(async |store| data::collection(store).await).await
}
