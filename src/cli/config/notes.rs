//! What is wrong with a file, and where: collected while it is read, so that all is told at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::text::clean;

/// The most problems that are told of one file.
const MOST_PROBLEMS: usize = 20;

/// A configuration that cannot be used: what is wrong with it, in the file's order.
#[derive(Debug)]
pub(in crate::cli) struct Invalid {
    problems: Vec<String>,
    untold: usize,
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))?;
        match self.untold {
            0 => Ok(()),
            untold => write!(f, "\nand {untold} more"),
        }
    }
}

impl Invalid {
    /// A file that could not even be read.
    pub(super) fn unread(path: &Path, problem: impl fmt::Display) -> Invalid {
        Invalid { problems: vec![format!("{}: {problem}", shown(path))], untold: 0 }
    }
}

/// A place in the file: so many bytes from its beginning.
pub(super) type Offset = usize;

/// Everything noticed about one file so far.
#[derive(Debug)]
pub(super) struct Notes<'t> {
    path: PathBuf,
    text: &'t str,
    problems: RefCell<BTreeSet<(Offset, String)>>,
    warnings: RefCell<BTreeSet<(Offset, String)>>,
}

impl<'t> Notes<'t> {
    /// Nothing is known yet about `text`, the content of the file at `path`.
    pub(super) fn new(path: &Path, text: &'t str) -> Notes<'t> {
        Notes { path: path.to_owned(), text, problems: RefCell::default(), warnings: RefCell::default() }
    }

    /// Notes something because of which the file cannot be used.
    pub(super) fn problem(&self, at: Offset, message: impl fmt::Display) {
        self.problems.borrow_mut().insert((at, message.to_string()));
    }

    /// Notes something that is worth a look.
    pub(super) fn warning(&self, at: Offset, message: impl fmt::Display) {
        self.warnings.borrow_mut().insert((at, message.to_string()));
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, at: Offset) -> usize {
        self.before(at).matches('\n').count() + 1
    }

    /// What stands in the file from here to there.
    pub(super) fn text(&self, span: std::ops::Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or("")
    }

    /// The warnings if there are no problems, and otherwise the problems.
    pub(super) fn end(self) -> Result<Vec<String>, Invalid> {
        let told = |notes: &BTreeSet<(Offset, String)>| -> Vec<String> {
            notes.iter().take(MOST_PROBLEMS).map(|(at, message)| self.located(*at, message)).collect()
        };
        let problems = self.problems.borrow();
        match problems.len() {
            0 => Ok(told(&self.warnings.borrow())),
            many => Err(Invalid { problems: told(&problems), untold: many.saturating_sub(MOST_PROBLEMS) }),
        }
    }

    fn located(&self, at: Offset, message: &str) -> String {
        let before = self.before(at);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{}:{}:{column}: {message}", shown(&self.path), self.line(at))
    }

    fn before(&self, at: Offset) -> &'t str {
        let at = (0..=at.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at));
        &self.text[..at.unwrap_or(0)]
    }
}

/// A path that is fit for a message.
pub(super) fn shown(path: &Path) -> String {
    clean(&path.to_string_lossy(), 200)
}
