//! Style, script and sign of the page, under names that change with what is in them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::model::Digest;

/// A file that is compiled in.
pub(super) struct Asset {
    name: String,
    media_type: &'static str,
    text: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("style.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("live.js")));
pub(super) static SIGN: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("sign.svg")));

impl Asset {
    fn new(extension: &str, media_type: &'static str, text: &'static str) -> Asset {
        let digest = Digest::of(text.as_bytes()).short().replace("sha256:", "");
        Asset { name: format!("{digest}.{extension}"), media_type, text }
    }

    /// Where it is.
    pub(super) fn address(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// A file of the page
///
/// Its name changes with its content, so that it may be kept for ever.
#[utoipa::path(get, path = "/assets/{name}", tag = "page", params(("name" = String, Path, description = "The file")),
    responses((status = 200, description = "The file"), (status = 404, description = "There is no such file")))]
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match [&STYLE, &SCRIPT, &SIGN].into_iter().find(|asset| asset.name == name) {
        Some(asset) => {
            let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, asset.text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}
