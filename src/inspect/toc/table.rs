//! The table itself, in JSON: a row for each entry of the archive, and for each further piece of a file.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::inspect::limits::Flaw;

/// The most rows that are read. All of a row may be missing, so that a table of a few packed bytes
/// could be one of many millions.
const MOST_ROWS: usize = 200_000;
/// What is said of a table with more of them.
const TOO_MANY: &str = "its table of contents has more than 200000 rows";

#[derive(Deserialize)]
pub(super) struct Table {
    #[serde(deserialize_with = "some_rows")]
    pub(super) entries: Vec<Row>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Row {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) size: u64,
    pub(super) mode: u64,
    pub(super) link_name: String,
    pub(super) offset: u64,
    pub(super) end_offset: u64,
    pub(super) inner_offset: u64,
    pub(super) chunk_size: u64,
    pub(super) chunk_offset: u64,
    pub(super) chunk_digest: String,
    pub(super) digest: String,
}

impl Table {
    /// Reads a table, as long as it is none that only harms.
    pub(super) fn read(json: &[u8]) -> Result<Table, Flaw> {
        serde_json::from_slice(json).map_err(|error| {
            let is_too_long = error.to_string().starts_with(TOO_MANY);
            Flaw::new(if is_too_long { TOO_MANY } else { "its table of contents is damaged" })
        })
    }
}

fn some_rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Row>, D::Error> {
    struct Rows;

    impl<'de> Visitor<'de> for Rows {
        type Value = Vec<Row>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("rows")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Row>, A::Error> {
            let mut rows = Vec::new();
            while let Some(row) = sequence.next_element()? {
                if rows.len() == MOST_ROWS {
                    return Err(A::Error::custom(TOO_MANY));
                }
                rows.push(row);
            }
            Ok(rows)
        }
    }

    deserializer.deserialize_seq(Rows)
}
