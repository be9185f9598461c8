//! Plain tags down, architectures across: what of an audit is held until all of it is known.

use std::collections::HashMap;

use crate::model::natural::natural;
use crate::model::version::{ImageState, Problem, VersionState};
use crate::model::{ImageRow, Platform};

use super::Told;

/// The most remedies that are told of one kind of problem.
pub(super) const MOST_REMEDIES: usize = 3;
/// The most sentences that are told of one kind of problem.
pub(super) const MOST_MESSAGES: usize = 10;

/// The most tags that are named before one sentence.
const MOST_TAGS: usize = 5;

/// What is left of an audit for a table: a mark for each image, and the problems.
#[derive(Default)]
pub(super) struct Matrix {
    /// The architectures, in the order of platforms once it is sorted.
    pub(super) columns: Vec<Column>,
    pub(super) lines: Vec<Line>,
    /// Problems with their plain tags, in the order of these.
    pub(super) problems: Vec<(String, Problem)>,
}

/// One architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    platform: Option<Platform>,
}

/// One plain tag.
pub(super) struct Line {
    pub(super) tag: String,
    pub(super) state: VersionState,
    /// The worst state in each column, by the column's number.
    pub(super) cells: Vec<(usize, ImageState)>,
    /// What a client would get, if that was asked for.
    pub(super) choice: Option<String>,
}

/// How a state is drawn: a mark that reads without colour.
pub(super) fn mark(state: ImageState) -> &'static str {
    match state {
        ImageState::Ok => "+",
        ImageState::Unpublished => "-",
        ImageState::Stale => "~",
        ImageState::Orphan => "o",
        ImageState::Missing => "M",
        ImageState::Duplicate => "=",
        ImageState::Unreadable => "?",
        ImageState::Mismatch => "!",
        ImageState::Dangling => "x",
    }
}

impl Matrix {
    /// Keeps what a table needs of one plain tag.
    pub(super) fn add(&mut self, told: &Told<'_>) {
        let version = &told.audited.version;
        let mut cells: Vec<(usize, ImageState)> = Vec::new();
        for row in &version.images {
            let column = self.column(row);
            match cells.iter_mut().find(|(known, _)| *known == column) {
                Some((_, state)) => *state = (*state).max(row.state),
                None => cells.push((column, row.state)),
            }
        }
        self.problems.extend(version.problems.iter().map(|problem| (version.tag.clone(), problem.clone())));
        let choice = told.choice.as_ref().map(|(_, _, choice)| match choice {
            None => "no index".to_owned(),
            Some(choice) => {
                let got = choice.platform.as_ref().map_or("nothing".to_owned(), |platform| platform.to_string());
                let digest = choice.digest.as_ref().map_or(String::new(), |digest| format!(" {}", digest.short()));
                crate::model::text::clean(&format!("{got}{digest}: {}", choice.why), 300)
            }
        });
        self.lines.push(Line { tag: version.tag.clone(), state: version.state, cells, choice });
    }

    fn column(&mut self, row: &ImageRow) -> usize {
        let name = match (&row.platform, &row.tag) {
            (Some(platform), _) => platform.strip_prefix("linux/").unwrap_or(platform).to_owned(),
            (None, Some(_)) => "unknown".to_owned(),
            (None, None) => "other".to_owned(),
        };
        if let Some(known) = self.columns.iter().position(|column| column.name == name) {
            return known;
        }
        let platform = row.platform.as_ref().and_then(|platform| platform.parse().ok());
        self.columns.push(Column { name, platform });
        self.columns.len() - 1
    }

    /// The numbers of the columns, in the order of platforms.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (&self.columns[*a], &self.columns[*b]);
            let known = a.platform.is_none().cmp(&b.platform.is_none());
            known.then_with(|| a.platform.cmp(&b.platform)).then_with(|| natural(&a.name, &b.name))
        });
        order
    }

    /// The states that occur, from right to wrong.
    pub(super) fn states(&self) -> Vec<ImageState> {
        let occurs = |state: &ImageState| self.lines.iter().any(|line| line.cells.iter().any(|(_, s)| s == state));
        ImageState::ALL.into_iter().filter(occurs).collect()
    }
}

/// Problems of one kind, told together.
#[derive(Default)]
pub(super) struct Group<'a> {
    pub(super) code: &'a str,
    /// Each sentence once, with the tags that it is about.
    pub(super) messages: Vec<(&'a str, Vec<&'a str>)>,
    /// What can be done, each once.
    pub(super) remedies: Vec<&'a str>,
}

/// The problems by their kind, in the order in which kinds come first.
pub(super) fn groups(problems: &[(String, Problem)]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for (plain, problem) in problems {
        let group = groups.iter().position(|group| group.code == problem.code).unwrap_or_else(|| {
            groups.push(Group { code: &problem.code, ..Group::default() });
            groups.len() - 1
        });
        let group = &mut groups[group];
        let place = *places.entry((&problem.code, &problem.message)).or_insert_with(|| {
            group.messages.push((&problem.message, Vec::new()));
            group.messages.len() - 1
        });
        group.messages[place].1.push(problem.tag.as_deref().unwrap_or(plain));
        let few = &group.remedies[..group.remedies.len().min(MOST_REMEDIES + 1)];
        if let Some(remedy) = problem.remedy.as_deref().filter(|remedy| !few.contains(remedy)) {
            group.remedies.push(remedy);
        }
    }
    groups
}

/// A sentence with the tags that it is about, where it does not name them itself.
pub(super) fn sentence((message, tags): &(&str, Vec<&str>)) -> String {
    if tags.iter().all(|tag| message.contains(&format!("`{tag}`"))) {
        return (*message).to_owned();
    }
    let few: Vec<String> = tags.iter().take(MOST_TAGS).map(|tag| format!("`{tag}`")).collect();
    let more = tags.len().saturating_sub(MOST_TAGS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}: {message}", few.join(", "))
}
