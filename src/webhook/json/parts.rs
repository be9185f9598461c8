//! The parts of a body: text, moments, objects and lists, each of which may be absent.
//!
//! All of them are read from the part's own bytes, so that a mistake in one stays in it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::de::value::MapDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::webhook::Rejection;

/// Twice the largest batch that Event Grid sends; nobody else sends as many.
const MOST_EVENTS: usize = 10_000;

/// Some text that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::webhook) struct Text(pub(in crate::webhook) Option<String>);

impl Text {
    /// Whether it is exactly this text.
    pub(in crate::webhook) fn is(&self, wanted: &str) -> bool {
        self.0.as_deref() == Some(wanted)
    }

    /// Whether it begins like this.
    pub(in crate::webhook) fn begins(&self, prefix: &str) -> bool {
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
pub(in crate::webhook) struct UnixTime(pub(in crate::webhook) Option<String>);

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
pub(in crate::webhook) struct Object<T> {
    value: T,
    is_there: bool,
}

impl<T> Object<T> {
    /// Whether there is an object at all.
    pub(in crate::webhook) fn is_there(&self) -> bool {
        self.is_there
    }

    pub(in crate::webhook) fn into_inner(self) -> T {
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
        let value = T::deserialize(Fields(raw)).unwrap_or_default();
        Ok(Object { value, is_there: raw.get().starts_with('{') })
    }
}

/// An object's fields for a struct that names those it asks for.
///
/// Of a key that stands twice the last counts, as in Go's reader; serde by itself would refuse it.
/// All other keys are passed over.
struct Fields<'de>(&'de RawValue);

impl<'de> Deserializer<'de> for Fields<'de> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        let reader = &mut serde_json::Deserializer::from_str(self.0.get());
        let fields = reader.deserialize_map(Named(names))?;
        visitor.visit_map(MapDeserializer::new(fields.into_iter()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        self.0.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Takes the fields of these names out of an object.
struct Named(&'static [&'static str]);

impl<'de> Visitor<'de> for Named {
    type Value = BTreeMap<&'static str, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().find(|name| **name == key) {
                Some(name) => {
                    fields.insert(*name, map.next_value()?);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// An array, of as many elements as are read; where there is none, nothing.
#[derive(Clone, Debug)]
pub(in crate::webhook) struct List<T> {
    elements: Vec<T>,
    found: usize,
    is_there: bool,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List::none()
    }
}

impl<T> List<T> {
    fn none() -> List<T> {
        List { elements: Vec::new(), found: 0, is_there: false }
    }

    /// Whether there is an array at all.
    pub(in crate::webhook) fn is_there(&self) -> bool {
        self.is_there
    }

    /// The elements, unless there are too many.
    pub(in crate::webhook) fn into_events(self) -> Result<Vec<T>, Rejection> {
        if self.found > MOST_EVENTS {
            return Err(Rejection::TooManyEvents { found: self.found, most: MOST_EVENTS });
        }
        Ok(self.elements)
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let reader = &mut serde_json::Deserializer::from_str(raw.get());
        Ok(reader.deserialize_seq(List::none()).unwrap_or_else(|_| List::none()))
    }
}

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for List<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<List<T>, A::Error> {
        self.is_there = true;
        while self.found < MOST_EVENTS {
            let Some(raw) = seq.next_element::<&'de RawValue>()? else {
                return Ok(self);
            };
            self.found += 1;
            self.elements.push(T::deserialize(raw).unwrap_or_default());
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            self.found += 1;
        }
        Ok(self)
    }
}
