//! JSON that every reader understands alike.
//!
//! Two readers of one document must not see different things: a key that stands twice is read
//! first by some and last by others, and Go's reader takes `Manifests` for `manifests`, and even
//! `manifeſts`, since it folds letters as Unicode does. Documents that name images are therefore
//! refused when a key is doubled, or when a key that matters is written in other letters. Depth is
//! limited, since nesting costs stack.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::text::clean;

/// Manifests nest four levels, configs about five.
const DEEPEST: usize = 32;

/// Keys of manifests, indexes and descriptors that decide something.
const KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "digest",
    "size",
    "platform",
    "architecture",
    "os",
    "variant",
    "os.version",
    "os.features",
    "urls",
    "data",
    "rootfs",
    "fsLayers",
];

/// Keys of a config that decide what an image starts: they stand in its `config`.
const START_KEYS: &[&str] = &["Entrypoint", "Cmd", "Env", "WorkingDir"];

/// The parts of a manifest whose keys are anybody's.
pub(super) const FREE_IN_MANIFESTS: &[&str] = &["annotations"];
/// The parts of an image config whose keys are anybody's: labels and volumes are in them. What stands
/// in `config` itself says what the image starts, too.
pub(super) const FREE_IN_CONFIGS: &[&str] = &["config", "container_config", "history"];

/// What is wrong with a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Not JSON.
    Broken(String),
    /// Nested too deeply to be read.
    Deep(String),
    /// JSON that readers understand differently.
    Ambiguous(String),
}

/// Checks that `bytes` are one JSON object that every reader understands alike. Below the keys in
/// `free`, keys are anybody's, and need only not be doubled.
pub(super) fn check(bytes: &[u8], free: &[&str]) -> Result<(), Flaw> {
    let flaw = std::cell::RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let place = Place { depth: 0, keys: KEYS, free, flaw: &flaw };
    let result = place.deserialize(&mut reader).and_then(|()| reader.end());
    match (flaw.into_inner(), result) {
        (Some(flaw), _) => Err(flaw),
        (None, Err(error)) => Err(Flaw::Broken(format!("not JSON: {}", clean(&error.to_string(), 120)))),
        (None, Ok(())) if bytes.trim_ascii_start().first() != Some(&b'{') => {
            Err(Flaw::Broken("not a JSON object".to_owned()))
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Where in a document the reader is.
#[derive(Clone, Copy)]
struct Place<'a> {
    depth: usize,
    /// The keys that matter here; none where they are anybody's.
    keys: &'static [&'static str],
    free: &'a [&'a str],
    flaw: &'a std::cell::RefCell<Option<Flaw>>,
}

impl Place<'_> {
    fn stop<E: serde::de::Error>(&self, flaw: Flaw) -> E {
        *self.flaw.borrow_mut() = Some(flaw);
        E::custom("refused")
    }

    fn check_key<E: serde::de::Error>(&self, key: &str, seen: &HashSet<String>) -> Result<(), E> {
        let shown = clean(key, 60);
        if seen.contains(key) {
            return Err(self.stop(Flaw::Ambiguous(format!("the key `{shown}` stands twice in one object"))));
        }
        let meant = self.keys.iter().find(|known| known.eq_ignore_ascii_case(&folded(key)) && **known != key);
        match meant {
            Some(meant) => Err(self.stop(Flaw::Ambiguous(format!(
                "the key `{shown}` is `{meant}` to some readers and unknown to others"
            )))),
            None => Ok(()),
        }
    }

    /// The keys that matter below `key`.
    fn keys_below(&self, key: &str) -> &'static [&'static str] {
        match key {
            "config" if self.depth == 0 && self.free.contains(&key) => START_KEYS,
            _ if self.free.contains(&key) || self.keys == START_KEYS => &[],
            _ => self.keys,
        }
    }
}

/// `key` with the letters replaced that Unicode folds to a letter of ASCII: there are these two.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k")
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > DEEPEST {
            return Err(self.stop(Flaw::Deep(format!("nested more than {DEEPEST} levels deep"))));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            self.check_key(&key, &seen)?;
            let keys = self.keys_below(&key);
            map.next_value_seed(Place { depth: self.depth + 1, keys, ..self })?;
            seen.insert(key);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Place { depth: self.depth + 1, ..self })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flaw(text: &str) -> String {
        match check(text.as_bytes(), FREE_IN_CONFIGS) {
            Ok(()) => "fine".to_owned(),
            Err(Flaw::Broken(what)) => format!("broken: {what}"),
            Err(Flaw::Deep(what)) => format!("deep: {what}"),
            Err(Flaw::Ambiguous(what)) => format!("ambiguous: {what}"),
        }
    }

    #[test]
    fn what_readers_understand_differently_is_refused() {
        assert_eq!(flaw(r#"{"os":"linux","config":{"Labels":{"a":"1","A":"2","OS":"x"}}}"#), "fine");
        assert_eq!(flaw(r#"{"os":"linux","os":"windows"}"#), "ambiguous: the key `os` stands twice in one object");
        assert_eq!(
            flaw(r#"{"manifests":[{"digest":"a","Digest":"b"}]}"#),
            "ambiguous: the key `Digest` is `digest` to some readers and unknown to others"
        );
        assert_eq!(
            flaw(r#"{"Architecture":"arm"}"#),
            "ambiguous: the key `Architecture` is `architecture` to some readers and unknown to others"
        );
        assert_eq!(
            flaw(r#"{"manifests":[{"digest":"a","dige\u017ft":"b"}]}"#),
            "ambiguous: the key `digeſt` is `digest` to some readers and unknown to others"
        );
        assert_eq!(
            flaw(r#"{"config":{"Labels":{"a":"1","a":"2"}}}"#),
            "ambiguous: the key `a` stands twice in one object"
        );
        assert_eq!(flaw(r#"{"o\u0073":1,"os":2}"#), "ambiguous: the key `os` stands twice in one object");
    }

    #[test]
    fn what_an_image_starts_is_said_in_one_spelling() {
        assert_eq!(flaw(r#"{"config":{"Entrypoint":["/a"],"Cmd":null,"Env":[],"WorkingDir":"/","User":""}}"#), "fine");
        for (key, meant) in
            [("entrypoint", "Entrypoint"), ("CMD", "Cmd"), ("env", "Env"), ("Wor\u{212a}ingDir", "WorkingDir")]
        {
            assert_eq!(
                flaw(&format!(r#"{{"config":{{"Entrypoint":["/right"],"{key}":["/wrong"]}}}}"#)),
                format!("ambiguous: the key `{key}` is `{meant}` to some readers and unknown to others")
            );
        }
        for free in [
            r#"{"config":{"Labels":{"cmd":"","entrypoint":""},"Volumes":{"env":{}}}}"#,
            r#"{"container_config":{"cmd":[]}}"#,
            r#"{"history":[{"cmd":""}],"cmd":1}"#,
            r#"{"config":{"config":{"cmd":1}}}"#,
        ] {
            assert_eq!(flaw(free), "fine", "{free}");
        }
        let manifest = br#"{"config":{"cmd":1,"digest":"a"}}"#;
        assert_eq!(check(manifest, FREE_IN_MANIFESTS), Ok(()), "in a manifest it is a descriptor");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert!(flaw("").starts_with("broken: not JSON"));
        assert!(flaw("<html>").starts_with("broken: not JSON"));
        assert!(flaw("{} {}").starts_with("broken: not JSON"));
        assert!(flaw(r#"{"size":NaN}"#).starts_with("broken: not JSON"));
        assert_eq!(flaw("[]"), "broken: not a JSON object");
        let deep = format!("{}{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        assert_eq!(flaw(&deep), "deep: nested more than 32 levels deep");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes, FREE_IN_MANIFESTS);
        }
    }
}
