//! The shape of the source: who may import whom, and that the map names every room.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layers, from the top of the map down. A module imports only from rows above its own.
const ROWS: &[&[&str]] = &[
    &["model"],
    &["plan", "inspect", "webhook", "registry"],
    &["store", "look"],
    &["publish"],
    &["audit"],
    &["serve"],
    &["cli"],
];

/// What a layer without a world must not name.
const WORLDLY: &[&str] = &[
    "async fn",
    ".await",
    "std::env",
    "std::net::Tcp",
    "std::fs",
    "SystemTime::now",
    "Instant::now",
    "tokio",
    "reqwest",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Every source file with its layer and its text, tests left out.
fn layers() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layer = |path: &Path| {
        let first = path.strip_prefix(&src).expect("below src").components().next().expect("a part");
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
    };
    sources(&src)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != "tests.rs" && name != "samples.rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a text");
            let code = text.split("#[cfg(test)]").next().expect("a beginning").to_owned();
            let layer = layer(&path);
            (path, layer, code)
        })
        .filter(|(_, layer, _)| layer != "lib" && layer != "main")
        .collect()
}

#[test]
fn a_layer_imports_only_from_rows_above_it() {
    let rows: BTreeMap<&str, usize> =
        ROWS.iter().enumerate().flat_map(|(row, layers)| layers.iter().map(move |layer| (*layer, row))).collect();
    let mut broken = Vec::new();
    for (path, layer, code) in layers() {
        let own = *rows.get(layer.as_str()).unwrap_or_else(|| panic!("{layer} has no row: add it to the map"));
        for (name, row) in &rows {
            let imports = code.contains(&format!("crate::{name}::")) || code.contains(&format!("crate::{name};"));
            let is_allowed = *row < own || *name == layer;
            if imports && !is_allowed {
                broken.push(format!("{} imports {name}", path.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn layers_without_a_world_do_not_wait_or_ask_it() {
    let pure = ["model", "plan", "inspect", "webhook"];
    let mut broken = Vec::new();
    for (path, layer, code) in layers() {
        for word in WORLDLY.iter().filter(|word| pure.contains(&layer.as_str()) && code.contains(**word)) {
            broken.push(format!("{} says `{word}`", path.display()));
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn the_map_names_every_layer_and_every_file_says_what_it_is_for() {
    let map = include_str!("../../src/lib.md");
    let mut missing = Vec::new();
    for (path, layer, code) in layers() {
        if !map.contains(&format!("[`{layer}`]")) {
            missing.push(format!("lib.md does not name {layer}"));
        }
        if !code.starts_with("//!") {
            missing.push(format!("{} has no header", path.display()));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn nothing_can_delete() {
    for (path, layer, code) in layers() {
        let deletes = code.contains("Method::DELETE") || code.contains(".delete(");
        assert!(!(deletes && layer == "registry"), "{} can send a DELETE", path.display());
    }
}
