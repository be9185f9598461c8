//! JSON as registries send it: read leniently, without room for what nobody asked for.
//!
//! A key that is missing, `null`, `""` or a value of another type are all the same: absent. Keys
//! that are not asked for are skipped, not stored, so that a body costs little more memory than its
//! own bytes. Reading a part never fails, and one odd event cannot spoil the others.

mod parts;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Rejection;
use crate::model::text::clean;
pub(super) use parts::{List, Object, Text, UnixTime};

/// Nothing that a registry sends nests half as deep.
const DEEPEST: usize = 64;
/// As many keys of a body as are shown to people.
const SHOWN: usize = 8;

/// Reads a body. JSON of another shape is a `T` in which everything is absent.
pub(super) fn read<'de, T: Deserialize<'de> + Default>(body: &'de [u8]) -> Result<T, Rejection> {
    let raw = check(body)?;
    Ok(T::deserialize(raw).unwrap_or_default())
}

/// What a body is, in words: ``an object with the keys `a` and `b` ``.
pub(super) fn describe(body: &[u8]) -> String {
    let Ok(raw) = check(body) else {
        return "no JSON".to_owned();
    };
    match raw.get().as_bytes().first() {
        Some(b'{') => describe_object(raw),
        Some(b'[') => "an array".to_owned(),
        Some(b'"') => "a string".to_owned(),
        _ => "a single value".to_owned(),
    }
}

fn describe_object(raw: &RawValue) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct CloudEvent {
        specversion: Text,
        #[serde(rename = "type")]
        kind: Text,
    }
    let event = Object::<CloudEvent>::deserialize(raw).unwrap_or_default().into_inner();
    if let (Some(_), Some(kind)) = (event.specversion.0, event.kind.0) {
        return format!("a CloudEvent of the type `{}`", clean(&kind, 60));
    }
    let reader = &mut serde_json::Deserializer::from_str(raw.get());
    let Keys { mut shown, count } = reader.deserialize_map(Keys::default()).unwrap_or_default();
    if count > SHOWN {
        shown.push(format!("{} more", count - SHOWN));
    }
    match shown.as_slice() {
        [] => "an object without keys".to_owned(),
        [key] => format!("an object with the key {key}"),
        [keys @ .., last] => format!("an object with the keys {} and {last}", keys.join(", ")),
    }
}

/// The first keys of an object, as they are shown, and how many there are.
#[derive(Default)]
struct Keys {
    shown: Vec<String>,
    count: usize,
}

impl<'de> Visitor<'de> for Keys {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Keys, A::Error> {
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            self.count += 1;
            if self.count <= SHOWN {
                self.shown.push(format!("`{}`", clean(&key, 40)));
            }
        }
        Ok(self)
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
            (r#"{"b":1,"a":2,"\u001b[31m":3}"#, "an object with the keys `b`, `a` and `[31m`"),
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
