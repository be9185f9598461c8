//! A layer as it comes: unpacked, its files looked at, and a summary made of them.
//!
//! Of two entries with one name the last counts, as it does when the layer is unpacked. Whoever
//! stops reading at the first takes it that there is no second: builders write none.

use std::collections::HashSet;

use super::limits::{Flaw, Limits};
use super::probe::{Nature, Probe};
use super::summary::{Node, Summary};
use super::tar::{self, Content, Entry, Sink};
use super::unpack::{Packing, Unpacker};

/// Reads one layer in pieces of any size.
pub struct LayerReader {
    unpacker: Unpacker,
    archive: tar::Reader,
    builder: Builder,
}

/// Makes a summary of entries.
struct Builder {
    summary: Summary,
    limits: Limits,
    entries: usize,
    /// The bytes of all text that is kept: names, and what files say of themselves.
    kept_bytes: usize,
    /// The file that is coming.
    file: Option<Coming>,
    wanted: HashSet<String>,
    has_sighted: bool,
}

struct Coming {
    /// Empty once it is taken.
    name: String,
    is_executable: bool,
    probe: Probe,
    is_known: bool,
}

impl LayerReader {
    /// A reader for a layer of this media type.
    ///
    /// # Errors
    ///
    /// [`Flaw`]: nothing of this type can be read.
    pub fn new(media_type: &str, limits: Limits) -> Result<LayerReader, Flaw> {
        let packing = Packing::of_media_type(media_type)
            .ok_or_else(|| Flaw::new(format!("its media type is `{}`", crate::model::text::clean(media_type, 100))))?;
        Ok(LayerReader {
            unpacker: Unpacker::new(packing, limits.output_bytes),
            archive: tar::Reader::default(),
            builder: Builder::new(limits),
        })
    }

    /// Takes the next piece of the layer.
    ///
    /// # Errors
    ///
    /// [`Flaw`]: it cannot be read as everybody would, or it is too much.
    pub fn feed(&mut self, packed: &[u8]) -> Result<(), Flaw> {
        let (archive, builder) = (&mut self.archive, &mut self.builder);
        self.unpacker.feed(packed, &mut |bytes| archive.feed(bytes, builder))
    }

    /// Says that the layer ends here, and gives its complete summary.
    ///
    /// # Errors
    ///
    /// [`Flaw`]: it must not end here.
    pub fn finish(mut self) -> Result<(Summary, Limits), Flaw> {
        let (archive, builder) = (&mut self.archive, &mut self.builder);
        self.unpacker.finish(&mut |bytes| archive.feed(bytes, builder))?;
        self.archive.finish()?;
        let left = self.left();
        self.builder.summary.is_complete = true;
        Ok((self.builder.summary, left))
    }

    /// Gives what is known of the layer so far.
    pub fn stop(self) -> (Summary, Limits) {
        let left = self.left();
        (self.builder.summary, left)
    }

    /// What is known of the layer so far.
    pub fn summary(&self) -> &Summary {
        &self.builder.summary
    }

    /// Looks out for these names.
    pub fn watch(&mut self, names: impl IntoIterator<Item = String>) {
        self.builder.wanted = names.into_iter().collect();
    }

    /// Whether one of the watched names came since this was asked last.
    pub fn take_sighting(&mut self) -> bool {
        std::mem::take(&mut self.builder.has_sighted)
    }

    /// What is left of the limits.
    fn left(&self) -> Limits {
        let Limits { output_bytes, entries, name_bytes } = self.builder.limits;
        Limits {
            output_bytes: output_bytes.saturating_sub(self.unpacker.output_bytes()),
            entries: entries.saturating_sub(self.builder.entries),
            name_bytes: name_bytes.saturating_sub(self.builder.kept_bytes),
        }
    }
}

impl Builder {
    fn new(limits: Limits) -> Builder {
        Builder {
            summary: Summary::default(),
            limits,
            entries: 0,
            kept_bytes: 0,
            file: None,
            wanted: HashSet::new(),
            has_sighted: false,
        }
    }

    fn put(&mut self, name: String, node: Node) {
        self.has_sighted |= self.wanted.contains(&name);
        self.summary.nodes.insert(name, node);
    }

    /// Whether what is kept is still as much as may be.
    fn check(&self) -> Result<(), Flaw> {
        if self.entries <= self.limits.entries && self.kept_bytes <= self.limits.name_bytes {
            return Ok(());
        }
        let before = self.entries.saturating_sub(1);
        Err(Flaw::of_limits(format!("it has more than {before} files, or too long names for them")))
    }

    /// Takes what is known of the coming file, as soon as it is.
    fn settle(&mut self) {
        let Some(file) = self.file.as_mut().filter(|file| !file.is_known) else { return };
        let Some(nature) = file.probe.nature() else { return };
        file.is_known = true;
        self.kept_bytes += nature.text_bytes();
        let (name, node) = (std::mem::take(&mut file.name), Node::File(file.is_executable, nature.clone()));
        self.put(name, node);
    }
}

impl Sink for Builder {
    fn entry(&mut self, entry: Entry) -> Result<(), Flaw> {
        self.entries += 1;
        let name = text(entry.path);
        self.kept_bytes += name.len();
        if let Content::Symlink(target) | Content::Hardlink(target) = &entry.content {
            self.kept_bytes += text_len(target);
        }
        self.check()?;
        if name.is_empty() {
            return Ok(());
        }
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", &name));
        if let Some(hidden) = last.strip_prefix(".wh.") {
            match hidden {
                ".wh..opq" => drop(self.summary.opaque.insert(folder.to_owned())),
                "" | "." | ".." => return Err(Flaw::new("it takes away something without a name")),
                // What AUFS kept for itself.
                aufs if aufs.starts_with(".wh.") => {}
                hidden => {
                    let hidden = if folder.is_empty() { hidden.to_owned() } else { format!("{folder}/{hidden}") };
                    self.summary.whiteouts.insert(hidden);
                }
            }
            return Ok(());
        }
        match entry.content {
            Content::Directory => self.put(name, Node::Directory),
            Content::Symlink(target) => self.put(name, Node::Symlink(text(target))),
            Content::Hardlink(target) => self.put(name, Node::Hardlink(text(target))),
            Content::Special => self.put(name, Node::Special),
            Content::File { size, is_executable } => {
                self.file = Some(Coming { name, is_executable, probe: Probe::new(size), is_known: false });
                self.settle();
            }
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(file) = self.file.as_mut().filter(|file| !file.is_known) {
            file.probe.feed(bytes);
            self.settle();
        }
    }

    fn end(&mut self) -> Result<(), Flaw> {
        if let Some(file) = self.file.take().filter(|file| !file.is_known) {
            self.put(file.name, Node::File(file.is_executable, Nature::Data));
        }
        self.check()
    }
}

/// The summary of a layer whose entries are listed elsewhere; its files are not looked into.
pub(super) fn list(entries: impl Iterator<Item = Result<Entry, Flaw>>, limits: Limits) -> Result<Summary, Flaw> {
    let mut builder = Builder::new(limits);
    for entry in entries {
        builder.entry(entry?)?;
        if let Some(file) = builder.file.take().filter(|file| !file.is_known) {
            builder.put(file.name, Node::File(file.is_executable, Nature::Unread));
        }
    }
    Ok(Summary { is_complete: true, ..builder.summary })
}

/// How many bytes [`text`] makes of a name.
fn text_len(name: &[u8]) -> usize {
    name.utf8_chunks().map(|chunk| chunk.valid().len() + 4 * chunk.invalid().len()).sum()
}

/// A name as text. Bytes that are none become characters for private use, so that different names
/// stay different.
pub(super) fn text(name: Vec<u8>) -> String {
    String::from_utf8(name).unwrap_or_else(|error| {
        let mut text = String::new();
        for chunk in error.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(0x10_ff00 + u32::from(*byte))));
        }
        text
    })
}

#[cfg(test)]
mod tests;
