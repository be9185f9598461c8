//! One value of the file, read as what it should be. What it is instead is a problem with its
//! place and an example; a text is never repeated unless its key makes clear that it is no secret.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use toml::de::DeValue;

use super::notes::{Notes, Offset};
use super::section::{Entries, Raw, nearest};
use crate::model::text::clean;

/// A value, its key, and what the key's value might be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) key: &'static str,
    pub(super) example: &'static str,
    pub(super) value: Raw<'a>,
    pub(super) notes: &'a Notes<'a>,
}

impl<'a> Value<'a> {
    /// Where it stands.
    pub(super) fn at(&self) -> Offset {
        self.value.span().start
    }

    /// Notes a problem of this value.
    pub(super) fn problem(&self, message: impl Display) {
        self.notes.problem(self.at(), message);
    }

    /// Notes that this value is worth a look.
    pub(super) fn warning(&self, message: impl Display) {
        self.notes.warning(self.at(), message);
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// The text that it is, if it is one; no problem otherwise.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// A text; `what` says of what kind.
    pub(super) fn text(&self, what: &str) -> Option<&'a str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong(what);
        }
        text
    }

    /// True or false.
    pub(super) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong("true or false");
        }
        boolean
    }

    /// A number within bounds.
    pub(super) fn number(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let what = format!("a number from {} to {}", bounds.start(), bounds.end());
        let DeValue::Integer(number) = self.value.get_ref() else {
            self.wrong(&what);
            return None;
        };
        let read = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| bounds.contains(number));
        if read.is_none() {
            self.problem(format!("`{}` is {}, expected {what}", self.key, clean(&number.to_string(), 40)));
        }
        read
    }

    /// A text that reads as something; the message of what it cannot be read as is told as it is.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, what: &str) -> Option<T> {
        self.text(what)?.parse().map_err(|error| self.problem(error)).ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: ValueEnum>(&self) -> Option<T> {
        let names: Vec<String> =
            T::value_variants().iter().filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned())).collect();
        let text = self.text("a word")?;
        self.one_of(text, names.iter().map(String::as_str)).and_then(|name| T::from_str(name, false).ok())
    }

    /// `text`, if it is one of `names`.
    pub(super) fn one_of<'n>(&self, text: &str, names: impl Iterator<Item = &'n str> + Clone) -> Option<&'n str> {
        let found = names.clone().find(|name| *name == text);
        if found.is_none() {
            let all = names.clone().collect::<Vec<_>>().join(", ");
            let near = nearest(text, names).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            self.problem(format!("`{}` is `{}`, expected one of {all}{near}", self.key, clean(text, 60)));
        }
        found
    }

    /// A duration within bounds.
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text("a duration")?;
        let Ok(duration) = humantime::parse_duration(text) else {
            let (key, found) = (self.key, clean(text, 40));
            self.problem(format!("`{key}` is `{found}`, expected a duration such as `2s`, `10m` or `1h 30m`"));
            return None;
        };
        if !bounds.contains(&duration) {
            let [least, most] = [bounds.start(), bounds.end()].map(|bound| humantime::format_duration(*bound));
            self.problem(format!("`{}` is {}, expected {least} to {most}", self.key, clean(text, 40)));
            return None;
        }
        Some(duration)
    }

    /// The items of a list.
    pub(super) fn items(&self, what: &str) -> Vec<Value<'a>> {
        let Some(items) = self.value.get_ref().as_array() else {
            self.wrong(what);
            return Vec::new();
        };
        items.iter().map(|value| Value { value, ..*self }).collect()
    }

    /// The items of a list of texts, each read as something.
    pub(super) fn parse_all<T: FromStr<Err: Display>>(&self, what: &str) -> Vec<T> {
        self.items("a list").iter().filter_map(|item| item.parse(what)).collect()
    }

    /// A table's own table and place.
    pub(super) fn entries(&self, what: &str) -> Option<Entries<'a>> {
        let table = self.value.get_ref().as_table();
        if table.is_none() {
            self.wrong(what);
        }
        Some((table?, self.at()))
    }

    /// The keys and values of a table whose keys are for the user to choose.
    pub(super) fn pairs(&self, what: &str) -> Vec<(&'a str, Offset, Value<'a>)> {
        let table = self.entries(what).map(|(table, _)| table);
        let pairs = table.into_iter().flat_map(|table| table.iter());
        pairs.map(|(key, value)| (key.get_ref().as_ref(), key.span().start, Value { value, ..*self })).collect()
    }

    /// Notes that it is of another type than it should be.
    pub(super) fn wrong(&self, what: &str) {
        let (key, found, example) = (self.key, kind(self.value.get_ref()), self.example);
        self.problem(format!("`{key}` holds {found}, expected {what}, for example `{key} = {example}`"));
    }
}

/// A value's type as people say it; never the value.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
