//! Repairing a label: a copy of an image whose config says what its files are.
//!
//! Config and manifest are edited as text: the values that must change are replaced where they
//! stand, and every other byte stays. So the same image gives the same copy, every time, and
//! nothing in it that this program does not know can get lost. All layers are shared.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::{Descriptor, Digest, Image, Platform};

/// A copy of an image that differs in its label alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewritten {
    /// The digest of the image that it was made of.
    pub of: Digest,
    /// The copy's manifest as an index names it, without a platform.
    pub descriptor: Descriptor,
    /// The manifest: that of the image but for the config's digest and size.
    pub manifest: Bytes,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The config: that of the image but for `architecture` and `variant`.
    pub config: Bytes,
}

/// The digest of the copy of `image` that says `platform`, if there can be one.
pub fn rewritten(image: &Image, platform: &Platform) -> Option<Digest> {
    rewrite(image, platform).ok().map(|rewritten| rewritten.descriptor.digest)
}

/// Makes the copy of `image` that says `platform`.
///
/// # Errors
///
/// Why there cannot be one, in words.
pub(super) fn rewrite(image: &Image, platform: &Platform) -> Result<Rewritten, String> {
    let original = image.original.as_ref().ok_or("its manifest and config were not kept")?;
    if let Some(voucher) = original.vouchers.first() {
        return Err(format!("{voucher} vouches for this very image and would not for a copy"));
    }
    if image.claim.os.as_deref() != Some(platform.os()) {
        return Err(format!("its config does not say that it is for {}", platform.os()));
    }
    let config = relabel(&original.config, platform)?;
    let config_digest = Digest::of(&config);
    let manifest = point_to(&original.manifest, &config_digest, config.len())?;
    let mut descriptor = image.manifest.clone();
    descriptor.digest = Digest::of(&manifest);
    descriptor.size = manifest.len() as u64;
    Ok(Rewritten { of: image.manifest.digest.clone(), descriptor, manifest, config_digest, config })
}

/// The config with another `architecture` and `variant`.
fn relabel(config: &[u8], platform: &Platform) -> Result<Bytes, String> {
    let document = Document::read(config)?;
    let Some(architecture) = document.span("architecture") else {
        return Err("its config has no `architecture` that could be changed".to_owned());
    };
    let mut edits = vec![(architecture.clone(), quoted(platform.architecture()))];
    match (document.span("variant"), platform.variant()) {
        (Some(found), Some(variant)) => edits.push((found, quoted(variant))),
        (Some(found), None) => edits.push((document.member("variant", found)?, String::new())),
        (None, Some(variant)) => {
            let behind = architecture.end..architecture.end;
            edits.push((behind, format!(r#","variant":{}"#, quoted(variant))));
        }
        (None, None) => {}
    }
    let relabelled = document.edited(edits);

    let mut expected = document.value()?;
    expected["architecture"] = platform.architecture().into();
    match (platform.variant(), expected.as_object_mut()) {
        (Some(variant), _) => expected["variant"] = variant.into(),
        (None, Some(fields)) => drop(fields.remove("variant")),
        (None, None) => {}
    }
    checked(relabelled, &expected)
}

/// The manifest with another config.
fn point_to(manifest: &[u8], digest: &Digest, size: usize) -> Result<Bytes, String> {
    let document = Document::read(manifest)?;
    let config = document.span("config").ok_or("its manifest names no config")?;
    let inner = Document::read(&manifest[config.clone()])?;
    if inner.span("data").is_some() {
        return Err("its manifest holds the config itself as well".to_owned());
    }
    let (Some(old_digest), Some(old_size)) = (inner.span("digest"), inner.span("size")) else {
        return Err("its manifest does not say which config it has".to_owned());
    };
    let place = |span: Range<usize>| span.start + config.start..span.end + config.start;
    let edits = vec![(place(old_digest), quoted(digest.as_str())), (place(old_size), size.to_string())];

    let mut expected = document.value()?;
    expected["config"]["digest"] = digest.as_str().into();
    expected["config"]["size"] = size.into();
    checked(document.edited(edits), &expected)
}

/// Takes an edited text only if it says what was meant, and nothing else.
fn checked(text: String, expected: &Value) -> Result<Bytes, String> {
    match serde_json::from_str::<Value>(&text) {
        Ok(found) if found == *expected => Ok(text.into()),
        _ => Err("its JSON is written in a way that cannot be edited safely".to_owned()),
    }
}

/// A JSON object, and where the values of its keys stand in the text.
struct Document<'a> {
    text: &'a str,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Document<'a> {
    fn read(bytes: &'a [u8]) -> Result<Document<'a>, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let fields = serde_json::from_str(text).map_err(|_| "it is not a JSON object")?;
        Ok(Document { text, fields })
    }

    fn value(&self) -> Result<Value, String> {
        serde_json::from_str(self.text).map_err(|_| "it is nested too deeply".to_owned())
    }

    /// Where the value of `key` stands.
    fn span(&self, key: &str) -> Option<Range<usize>> {
        // A raw value borrows from the text, so its place is the distance of their addresses.
        let value = self.fields.get(key)?.get();
        let start = value.as_ptr() as usize - self.text.as_ptr() as usize;
        Some(start..start + value.len())
    }

    /// Where `key` stands with its value and one of the commas around it.
    fn member(&self, key: &str, value: Range<usize>) -> Result<Range<usize>, String> {
        let odd = || format!("its `{key}` is written in a way that cannot be edited safely");
        let before = self.text[..value.start].trim_end().strip_suffix(':').ok_or_else(odd)?;
        let before = before.trim_end().strip_suffix(&quoted(key)).ok_or_else(odd)?.trim_end();
        if let Some(before) = before.strip_suffix(',') {
            return Ok(before.len()..value.end);
        }
        let after = self.text[value.end..].trim_start();
        let comma = after.strip_prefix(',').ok_or_else(odd)?;
        Ok(before.len()..self.text.len() - comma.len())
    }

    /// The text with these parts replaced, none of which overlap.
    fn edited(&self, mut edits: Vec<(Range<usize>, String)>) -> String {
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut text = self.text.to_owned();
        for (span, new) in edits {
            text.replace_range(span, &new);
        }
        text
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
