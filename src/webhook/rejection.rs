//! Rejection: why a delivery cannot be read as what its format says.

use super::json;
use crate::model::text::clean;

/// Why a delivery cannot be read as what its format says. An event of no interest is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Longer than any delivery of its format.
    #[error("the body has more than {longest_bytes} bytes, the most that is read of this format")]
    TooLong {
        /// The most that is read.
        longest_bytes: usize,
    },
    /// Compressed, which no sender does.
    #[error("the body is encoded (`Content-Encoding: {encoding}`), expected it as it is")]
    Encoded {
        /// The encoding, as the header names it.
        encoding: String,
    },
    /// A form without the field that holds the delivery.
    #[error("the body is a form without a field `payload`, which should hold the delivery")]
    NoPayload,
    /// Not JSON.
    #[error("the body is not JSON: {problem}")]
    NotJson {
        /// What the reader stumbled over, and where.
        problem: String,
    },
    /// Nested more deeply than anything a registry sends.
    #[error("the body is nested more than {deepest} levels deep")]
    TooDeep {
        /// The most that is read.
        deepest: usize,
    },
    /// More events than any sender puts into one delivery.
    #[error("the body has {found} events, and at most {most} are read")]
    TooManyEvents {
        /// How many there are.
        found: usize,
        /// The most that is read.
        most: usize,
    },
    /// Without the header that tells the event.
    #[error("the header `{name}` is missing, which tells what the delivery is about")]
    NoHeader {
        /// The header.
        name: &'static str,
    },
    /// Some other JSON.
    #[error("found {found}, expected {expected}")]
    Unlike {
        /// What there is.
        found: String,
        /// What makes a delivery of this format.
        expected: &'static str,
    },
}

impl Rejection {
    /// The body is JSON, but not what is `expected`.
    pub(super) fn unlike(body: &[u8], expected: &'static str) -> Rejection {
        Rejection::Unlike { found: json::describe(body), expected }
    }

    pub(super) fn not_json(problem: &impl ToString) -> Rejection {
        Rejection::NotJson { problem: clean(&problem.to_string(), 120) }
    }
}
