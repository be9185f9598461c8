//! Names of files for Windows, to which `A` and `a` are the same.
//!
//! Layers know names as they are written. Here they are put in lower case, each layer once and only
//! if it is looked into: comparing a name with all of them takes long in a layer of 100,000.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use crate::inspect::summary::{Node, Summary};

/// The names of all layers, in lower case.
#[derive(Debug)]
pub(super) struct Folded<'a>(Vec<OnceCell<Names<'a>>>);

#[derive(Debug)]
struct Names<'a> {
    nodes: HashMap<String, &'a Node>,
    whiteouts: HashSet<String>,
}

impl<'a> Folded<'a> {
    /// For so many layers.
    pub(super) fn new(layers: usize) -> Folded<'a> {
        Folded((0..layers).map(|_| OnceCell::new()).collect())
    }

    /// What the layer at `index` has under a name; the first of several that are the same.
    pub(super) fn node(&self, index: usize, layer: &'a Summary, name: &str) -> Option<&'a Node> {
        self.names(index, layer).nodes.get(&name.to_ascii_lowercase()).copied()
    }

    /// Whether the layer at `index` takes a name away.
    pub(super) fn is_taken_away(&self, index: usize, layer: &'a Summary, name: &str) -> bool {
        self.names(index, layer).whiteouts.contains(&name.to_ascii_lowercase())
    }

    fn names(&self, index: usize, layer: &'a Summary) -> &Names<'a> {
        self.0[index].get_or_init(|| {
            let mut nodes = HashMap::new();
            for (name, node) in &layer.nodes {
                nodes.entry(name.to_ascii_lowercase()).or_insert(node);
            }
            let whiteouts = layer.whiteouts.iter().map(|name| name.to_ascii_lowercase()).collect();
            Names { nodes, whiteouts }
        })
    }
}
