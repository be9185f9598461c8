//! Looking for a name through layers, whiteouts and links.
//!
//! The top layer that says anything about a name decides. A layer may say that the name, or a
//! folder above it, is a link, is something else, or is taken away. A folder that is only implied
//! by what is in it says nothing: what lies below may still be a link to where it really is.
//!
//! Links and names come from strangers and can be made so that they lead on almost for ever: paths
//! are no longer than in Linux, and looking has a budget.

mod folded;

use std::cell::Cell;

use folded::Folded;

use crate::inspect::limits::LONGEST_PATH;
use crate::inspect::probe::{Nature, Program};
use crate::inspect::summary::{Node, Summary};

/// How many links are followed, as in Linux.
const MOST_LINKS: usize = 40;
/// How many names are looked for in a layer, all told. A usual image takes some hundred, one of
/// which all programs are weighed some million.
const MOST_STEPS: u64 = 16_000_000;
/// So many bytes of a name cost as much as one more.
const BYTES_A_STEP: usize = 64;
/// Where programs lie that are not there to be run by the image.
const NOT_TO_RUN: &[&str] =
    &["usr/share/", "lib/firmware/", "usr/lib/firmware/", "lib/modules/", "usr/lib/modules/", "boot/"];

/// Why there is no answer yet, or none at all.
#[derive(Debug)]
pub(super) enum Stop {
    Needs { layer: usize, names: Vec<String> },
    Gap(String),
}

/// Where something was found, links followed.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The path, without `/` before it.
    pub(super) path: String,
    pub(super) node: &'a Node,
    pub(super) layer: usize,
    /// The name in that layer; not the path, where it is linked there (hard).
    pub(super) name: String,
}

/// All layers, the top one first.
#[derive(Debug)]
pub(super) struct Files<'a> {
    layers: &'a [Option<&'a Summary>],
    /// For Windows, whose names differ in more than the case of their letters.
    folded: Option<Folded<'a>>,
    steps_left: Cell<u64>,
}

/// What the top layer that says anything about a name says.
enum Said<'a> {
    Node(&'a Node, usize, String),
    /// It is linked to this one.
    Link(Vec<String>),
    Nothing,
}

impl<'a> Files<'a> {
    pub(super) fn new(layers: &'a [Option<&'a Summary>], is_windows: bool) -> Files<'a> {
        let folded = is_windows.then(|| Folded::new(layers.len()));
        Files { layers, folded, steps_left: Cell::new(MOST_STEPS) }
    }

    /// Follows `path` from the root to what is there, if anything is.
    pub(super) fn find(&self, path: &str) -> Result<Option<Place<'a>>, Stop> {
        self.follow(path, &mut 0)
    }

    fn follow(&self, path: &str, links: &mut usize) -> Result<Option<Place<'a>>, Stop> {
        check_len(path.len(), path)?;
        let mut parts: Vec<String> = split(path);
        loop {
            check_len(parts.iter().map(|part| part.len() + 1).sum(), path)?;
            // What is above a folder depends on where the folder really is.
            while let Some(at) = parts.iter().position(|part| part == "..") {
                self.spend(parts.len())?;
                let above = match &parts[..at] {
                    [] => Vec::new(),
                    // A folder of which no layer has an entry of its own is where its name says.
                    above => match self.follow(&above.join("/"), links)? {
                        Some(place) => split(&place.path),
                        None => above.to_vec(),
                    },
                };
                let above = &above[..above.len().saturating_sub(1)];
                parts = [above, &parts[at + 1..]].concat();
            }
            match self.said(&parts, 0, links)? {
                Said::Nothing => return Ok(None),
                Said::Node(node, layer, name) => return Ok(Some(Place { path: parts.join("/"), node, layer, name })),
                Said::Link(target) => {
                    count_link(links, path)?;
                    parts = target;
                }
            }
        }
    }

    /// What the layers from `first` down say about a name without `..`.
    fn said(&self, parts: &[String], first: usize, links: &mut usize) -> Result<Said<'a>, Stop> {
        static ROOT: Node = Node::Directory;
        if parts.is_empty() {
            return Ok(Said::Node(&ROOT, first, String::new()));
        }
        // The names of all folders above, and the whole name last.
        let whole = parts.join("/");
        let ends = whole.match_indices('/').map(|(end, _)| end).chain([whole.len()]);
        let names: Vec<&str> = ends.map(|end| &whole[..end]).collect();
        let (&whole, folders) = names.split_last().expect("there is at least one part");
        let mut is_folder = vec![false; folders.len()];
        let cost = names.iter().map(|name| 1 + name.len() / BYTES_A_STEP).sum();
        for (index, layer) in self.layers.iter().enumerate().skip(first) {
            self.spend(cost)?;
            let owned = || names.iter().map(|name| (*name).to_owned()).collect();
            let needs = || Stop::Needs { layer: index, names: owned() };
            let layer = layer.ok_or_else(needs)?;
            match self.get(index, layer, whole) {
                None => {}
                Some(Node::Symlink(target)) => return Ok(Said::Link(linked(parts, folders.len(), target))),
                Some(Node::Hardlink(origin)) => {
                    count_link(links, whole)?;
                    return self.said(&split(origin), index, links);
                }
                Some(node) => return Ok(Said::Node(node, index, whole.to_owned())),
            }
            for (at, folder) in folders.iter().enumerate().rev() {
                match self.get(index, layer, folder) {
                    None => {}
                    Some(Node::Directory) => is_folder[at] = true,
                    // A folder above it took the link's place, and what it led to with it.
                    Some(Node::Symlink(target)) if !is_folder[at] => return Ok(Said::Link(linked(parts, at, target))),
                    Some(_) => return Ok(Said::Nothing),
                }
            }
            if !layer.is_complete {
                return Err(needs());
            }
            let is_opaque = layer.opaque.contains("") || folders.iter().any(|folder| layer.opaque.contains(*folder));
            if is_opaque || names.iter().any(|name| self.is_taken_away(index, layer, name)) {
                return Ok(Said::Nothing);
            }
        }
        Ok(Said::Nothing)
    }

    /// What a layer has under a name. A symbolic link with two names is one under both, and leads on
    /// from where it was found.
    fn get(&self, index: usize, layer: &'a Summary, name: &str) -> Option<&'a Node> {
        let node = self.entry(index, layer, name)?;
        let Node::Hardlink(origin) = node else { return Some(node) };
        self.entry(index, layer, origin).filter(|origin| matches!(origin, Node::Symlink(_))).or(Some(node))
    }

    fn entry(&self, index: usize, layer: &'a Summary, name: &str) -> Option<&'a Node> {
        match &self.folded {
            None => layer.nodes.get(name),
            Some(folded) => folded.node(index, layer, name),
        }
    }

    fn is_taken_away(&self, index: usize, layer: &'a Summary, name: &str) -> bool {
        layer.whiteouts.contains(name)
            || self.folded.as_ref().is_some_and(|folded| folded.is_taken_away(index, layer, name))
    }

    /// Notes that something was done, and that it is not done without end.
    fn spend(&self, steps: usize) -> Result<(), Stop> {
        let left = self.steps_left.get().saturating_sub(steps as u64);
        self.steps_left.set(left);
        if left == 0 { Err(Stop::Gap("finding what the image starts takes too long".to_owned())) } else { Ok(()) }
    }

    /// Every program that is there to be run, by path. All layers must have been read.
    pub(super) fn programs(&self) -> Result<Vec<(String, &'a Program)>, Stop> {
        let mut programs = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let layer = layer.filter(|layer| layer.is_complete);
            let layer = layer.ok_or(Stop::Needs { layer: index, names: Vec::new() })?;
            for (path, node) in &layer.nodes {
                let node = match node {
                    Node::Hardlink(origin) => layer.nodes.get(origin).unwrap_or(node),
                    node => node,
                };
                let Node::File(is_executable, nature @ (Nature::Program(_) | Nature::Unread)) = node else { continue };
                if !is_executable && self.folded.is_none() || is_not_to_run(path) {
                    continue;
                }
                if !matches!(self.said(&split(path), 0, &mut 0)?, Said::Node(_, there, _) if there == index) {
                    continue;
                }
                match nature {
                    Nature::Program(program) => programs.push((path.clone(), &**program)),
                    // What a table of contents says of files is not what they are.
                    _ => return Err(Stop::Needs { layer: index, names: Vec::new() }),
                }
            }
        }
        programs.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(programs)
    }
}

/// Linux takes no longer path, and what is looked for of one grows with its square.
fn check_len(len: usize, path: &str) -> Result<(), Stop> {
    if len <= LONGEST_PATH {
        return Ok(());
    }
    let path = crate::model::text::clean(path, 200);
    Err(Stop::Gap(format!("`{path}` leads to a path of more than {LONGEST_PATH} bytes")))
}

/// Where a name leads of which the part `at` is a link to `target`.
fn linked(parts: &[String], at: usize, target: &str) -> Vec<String> {
    let folder = if target.starts_with('/') { &[] } else { &parts[..at] };
    [folder, &split(target), &parts[at + 1..]].concat()
}

fn count_link(links: &mut usize, path: &str) -> Result<(), Stop> {
    *links += 1;
    if *links > MOST_LINKS {
        let path = crate::model::text::clean(path, 200);
        return Err(Stop::Gap(format!("`{path}` leads through more than {MOST_LINKS} links")));
    }
    Ok(())
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
}

/// Test data, firmware, and the libraries of compilers for other machines.
fn is_not_to_run(path: &str) -> bool {
    let is_cross = |rest: &str| rest.split_once('/').is_some_and(|(folder, _)| folder.contains("-linux-"));
    NOT_TO_RUN.iter().any(|folder| path.starts_with(folder))
        || path.split('/').any(|part| part == "testdata")
        || path.starts_with("usr/lib/gcc")
        || path.strip_prefix("usr/").is_some_and(is_cross)
}
