//! JSON as registries send it: read leniently, without room for what nobody asked for.
//!
//! A key that is missing, `null`, `""` or a value of another type are all the same: absent. Keys
//! that are not asked for are skipped, not stored, so that a body costs little more memory than its
//! own bytes. Reading a part never fails, and one odd event cannot spoil the others.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::de::value::MapDeserializer;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Rejection;
use crate::model::text::clean;

/// Nothing that a registry sends nests half as deep.
const DEEPEST: usize = 64;
/// Twice the largest batch that Event Grid sends; nobody else sends as many.
const MOST_EVENTS: usize = 10_000;

/// Reads a body. JSON of another shape is a `T` in which everything is absent.
pub(super) fn read<'de, T: Deserialize<'de> + Default>(body: &'de [u8]) -> Result<T, Rejection> {
    let raw = check(body)?;
    Ok(T::deserialize(raw).unwrap_or_default())
}

/// The keys of a body and what stands behind them; none unless it is an object.
pub(super) fn keys(body: &[u8]) -> BTreeMap<String, &RawValue> {
    check(body).map(fields).unwrap_or_default()
}

/// What a body is, in words: ``an object with the keys `a` and `b` ``.
pub(super) fn describe(body: &[u8]) -> String {
    const SHOWN: usize = 8;
    let Ok(raw) = check(body) else {
        return "no JSON".to_owned();
    };
    let fields = fields(raw);
    let text = |key: &str| fields.get(key).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    if let (Some(_), Some(kind)) = (text("specversion"), text("type")) {
        return format!("a CloudEvent of the type `{}`", clean(&kind, 60));
    }
    let mut keys: Vec<String> = fields.keys().take(SHOWN).map(|key| format!("`{}`", clean(key, 40))).collect();
    if fields.len() > SHOWN {
        keys.push(format!("{} more", fields.len() - SHOWN));
    }
    match (raw.get().as_bytes().first(), keys.as_slice()) {
        (Some(b'{'), []) => "an object without keys".to_owned(),
        (Some(b'{'), [key]) => format!("an object with the key {key}"),
        (Some(b'{'), [keys @ .., last]) => format!("an object with the keys {} and {last}", keys.join(", ")),
        (Some(b'['), _) => "an array".to_owned(),
        (Some(b'"'), _) => "a string".to_owned(),
        _ => "a single value".to_owned(),
    }
}

/// Checks that a body is one JSON value, not nested too deeply.
fn check(body: &[u8]) -> Result<&RawValue, Rejection> {
    if nests_too_deeply(body) {
        return Err(Rejection::TooDeep { deepest: DEEPEST });
    }
    serde_json::from_slice(body).map_err(|error| Rejection::not_json(&error))
}

/// Counts brackets outside strings. It runs before the reader, so that nothing is ever stacked.
fn nests_too_deeply(body: &[u8]) -> bool {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => depth += 1,
            b'}' | b']' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

/// Of a key that stands twice, the last counts, as in Go's reader.
fn fields(raw: &RawValue) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Some text that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Option<String>);

impl Text {
    /// Whether it is exactly this text.
    pub(super) fn is(&self, wanted: &str) -> bool {
        self.0.as_deref() == Some(wanted)
    }

    /// Whether it begins like this.
    pub(super) fn begins(&self, prefix: &str) -> bool {
        self.0.as_deref().is_some_and(|text| text.starts_with(prefix))
    }
}

impl Deref for Text {
    type Target = Option<String>;

    fn deref(&self) -> &Option<String> {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let text = serde_json::from_str::<String>(raw.get()).ok();
        Ok(Text(text.filter(|text| !text.is_empty())))
    }
}

/// A moment in Unix seconds, whole or with a fraction, as RFC 3339 has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnixTime(pub(super) Option<String>);

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnixTime, D::Error> {
        /// The last second of the year 9999.
        const LAST: f64 = 253_402_300_799.0;
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let seconds = serde_json::from_str::<f64>(raw.get()).ok().filter(|seconds| (1.0..=LAST).contains(seconds));
        let moment = seconds.map(|seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs_f64(seconds.floor()));
        Ok(UnixTime(moment.map(|moment| humantime::format_rfc3339_seconds(moment).to_string())))
    }
}

/// An object; where there is none, one without keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Object<T> {
    value: T,
    is_there: bool,
}

impl<T> Object<T> {
    /// Whether there is an object at all.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    pub(super) fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let fields = MapDeserializer::new(fields(raw).into_iter());
        let value = T::deserialize(fields).unwrap_or_default();
        Ok(Object { value, is_there: raw.get().starts_with('{') })
    }
}

/// An array, of as many elements as are read; where there is none, nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct List<T> {
    elements: Vec<T>,
    found: usize,
    is_there: bool,
}

impl<T> List<T> {
    /// Whether there is an array at all.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// The elements, unless there are too many.
    pub(super) fn into_events(self) -> Result<Vec<T>, Rejection> {
        if self.found > MOST_EVENTS {
            return Err(Rejection::TooManyEvents { found: self.found, most: MOST_EVENTS });
        }
        Ok(self.elements)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let all: Option<Vec<&'de RawValue>> = serde_json::from_str(raw.get()).ok();
        let is_there = all.is_some();
        let all = all.unwrap_or_default();
        let elements = all.iter().take(MOST_EVENTS).map(|raw| T::deserialize(*raw).unwrap_or_default()).collect();
        Ok(List { elements, found: all.len(), is_there })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Event {
        tag: Text,
        time: UnixTime,
        target: Object<Target>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Target {
        digest: Text,
    }

    fn event(body: &str) -> Event {
        read::<Object<Event>>(body.as_bytes()).expect("JSON").into_inner()
    }

    #[test]
    fn whatever_is_not_some_text_is_absent() {
        assert!(event(r#"{"tag":"xenial"}"#).tag.is("xenial"));
        for body in [
            "{}",
            r#"{"tag":""}"#,
            r#"{"tag":null}"#,
            r#"{"tag":1}"#,
            r#"{"tag":["xenial"]}"#,
            r#"{"tag":{"tag":"xenial"}}"#,
            r#"{"Tag":"xenial"}"#,
            r#"{"tag":"\ud800"}"#,
            r#"["xenial"]"#,
            r#""xenial""#,
            "7",
        ] {
            assert_eq!(event(body).tag, Text(None), "{body}");
        }
    }

    #[test]
    fn an_odd_part_leaves_its_neighbours_alone() {
        let event = event(r#"{"target":[],"time":{"a":1},"tag":"xenial","tag2":1e999,"tag":"bionic"}"#);
        assert!(event.tag.is("bionic"), "the last of a doubled key counts");
        assert_eq!((event.target.is_there(), &event.target.digest), (false, &Text(None)));
        assert_eq!(event.time, UnixTime(None));
    }

    #[test]
    fn seconds_become_dates_whole_or_not_and_nonsense_becomes_nothing() {
        let time = |number: &str| event(&format!(r#"{{"time":{number}}}"#)).time.0;
        assert_eq!(time("1741080074").as_deref(), Some("2025-03-04T09:21:14Z"));
        assert_eq!(time("1741080074.9").as_deref(), Some("2025-03-04T09:21:14Z"));
        assert_eq!(time("253402300799").as_deref(), Some("9999-12-31T23:59:59Z"));
        for number in ["0", "-1", "253402300800", "1e300", "1e999", r#""1741080074""#, "null"] {
            assert_eq!(time(number), None, "{number}");
        }
    }

    #[test]
    fn sixty_four_levels_are_read_and_no_more_however_many_there_are() {
        let nested = |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(read::<Object<Event>>(nested(64).as_bytes()).is_ok());
        for body in [nested(65), nested(400_000), "[".repeat(1_000_000), r#"{"a":"#.repeat(100_000)] {
            assert_eq!(read::<Object<Event>>(body.as_bytes()).err(), Some(Rejection::TooDeep { deepest: 64 }));
        }
        let text = format!(r#"{{"tag":"x","a":"\"{}\\"}}"#, "[{".repeat(100));
        assert!(event(&text).tag.is("x"), "brackets in text are text");
    }

    #[test]
    fn five_thousand_events_are_read_and_no_more() {
        let body = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
        let events = |count| read::<List<Object<Event>>>(body(count).as_bytes()).expect("JSON").into_events();
        assert_eq!(events(10_000).expect("not too many").len(), 10_000);
        assert_eq!(events(10_001).err(), Some(Rejection::TooManyEvents { found: 10_001, most: 10_000 }));
    }

    #[test]
    fn a_body_of_another_kind_is_described_without_its_content() {
        for (body, words) in [
            ("{}", "an object without keys"),
            (r#"{"tag":"secret"}"#, "an object with the key `tag`"),
            (r#"{"b":1,"a":2,"\u001b[31m":3}"#, "an object with the keys `[31m`, `a` and `b`"),
            ("[1]", "an array"),
            (r#"{"specversion":"1.0","type":"com.example.x"}"#, "a CloudEvent of the type `com.example.x`"),
            (r#""text""#, "a string"),
            ("null", "a single value"),
            ("<html>", "no JSON"),
        ] {
            assert_eq!(describe(body.as_bytes()), words);
        }
        let many: Vec<String> = (0..12).map(|n| format!(r#""{n:02}":0"#)).collect();
        let words = describe(format!("{{{}}}", many.join(",")).as_bytes());
        assert_eq!(words, "an object with the keys `00`, `01`, `02`, `03`, `04`, `05`, `06`, `07` and 4 more");
    }
}
