//! The page as a reader sees it, in a browser.

mod data;
mod shots;

use crate::support::Service;

/// A rule that lets everything of a registry be shown that nobody can reach.
const RULES: &str = "[[repository]]\nregistry = \"registry.example.com\"\nname = \"multiarch/*\"\n";
