//! An audit for people: a matrix that fits the terminal, a legend, and what can be done.

use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::matrix::{Line, MOST_MESSAGES, MOST_REMEDIES, Matrix, groups, mark, sentence};
use super::{Report, Told};
use crate::cli::console::{Console, DIM, GREEN, RED, YELLOW, width};
use crate::model::version::{ImageState, Summary, VersionState};
use crate::model::{Repository, text};

/// The longest tag that is shown whole.
const LONGEST_TAG: usize = 40;
/// What stands between two columns.
const GAP: usize = 2;

/// Gathers marks, and draws them in the end.
#[derive(Default)]
pub(super) struct Text {
    repository: String,
    matrix: Matrix,
}

impl Report for Text {
    fn begin(&mut self, _: &Console, repository: &Repository) {
        self.repository = repository.to_string();
    }

    fn tell(&mut self, _: &Console, told: Told<'_>) {
        self.matrix.add(&told);
    }

    fn end(&mut self, console: &Console, summary: &Summary, requests: u64) {
        let width = width();
        let mut page = format!("{DIM}{}{DIM:#}\n", self.repository);
        if !self.matrix.lines.is_empty() {
            page.push('\n');
            page.push_str(&self.table(width));
            page.push_str(&self.legend(width));
        }
        page.push_str(&self.problems(width));
        let _ = writeln!(page, "\n{}", totals(summary, requests));
        console.report(&page);
    }
}

impl Text {
    /// Plain tags down, architectures across; a line for each plain tag where that is too wide.
    fn table(&self, width: usize) -> String {
        let order = self.matrix.order();
        let names: Vec<&str> = order.iter().map(|column| self.matrix.columns[*column].name.as_str()).collect();
        let longest = self.matrix.lines.iter().map(|line| line.tag.width()).max().unwrap_or(0);
        let tags = longest.min(LONGEST_TAG).min(width / 2).max(8);
        let states = self.matrix.lines.iter().map(|line| line.state.as_str().len()).max().unwrap_or(0);
        let across: usize = names.iter().map(|name| name.width() + GAP).sum();
        if tags + across + GAP + states > width {
            return self.matrix.lines.iter().map(|line| self.folded(line, &order, tags, width)).collect();
        }
        let mut table = format!("{DIM}{:tags$}", "");
        names.iter().for_each(|name| table.extend([" ".repeat(GAP).as_str(), *name]));
        let _ = writeln!(table, "{DIM:#}");
        for line in &self.matrix.lines {
            let mut drawn = padded(&cut(&line.tag, tags), tags);
            for (column, name) in order.iter().zip(&names) {
                drawn.push_str(&" ".repeat(GAP));
                drawn.push_str(&match line.cells.iter().find(|(known, _)| known == column) {
                    Some((_, state)) => drawn_mark(*state, name.width()),
                    None => " ".repeat(name.width()),
                });
            }
            let style = style(line.state);
            let _ = writeln!(table, "{drawn}{:GAP$}{style}{}{style:#}", "", line.state);
            table.push_str(&chosen(line, width));
        }
        table
    }

    /// `xenial  stale  + amd64 arm64  ~ arm/v7`
    fn folded(&self, line: &Line, order: &[usize], tags: usize, width: usize) -> String {
        let state_style = style(line.state);
        let head = format!("{}  {state_style}{}{state_style:#}\n", padded(&cut(&line.tag, tags), tags), line.state);
        let of_state = |state: ImageState| {
            let has = |column: &&usize| line.cells.contains(&(**column, state));
            let names: Vec<&str> =
                order.iter().filter(has).map(|column| self.matrix.columns[*column].name.as_str()).collect();
            (!names.is_empty()).then(|| {
                let style = style(VersionState::Images(state));
                wrapped(&names.join(" "), width, 4).replacen("    ", &format!("  {style}{}{style:#} ", mark(state)), 1)
            })
        };
        head + &ImageState::ALL.into_iter().filter_map(of_state).collect::<String>() + &chosen(line, width)
    }

    /// The marks that occur, and what they mean.
    fn legend(&self, width: usize) -> String {
        let marks: Vec<String> =
            self.matrix.states().into_iter().map(|state| format!("{} {}", mark(state), meaning(state))).collect();
        let last = marks.len().saturating_sub(1);
        let marks =
            marks.iter().enumerate().map(|(at, mark)| if at < last { format!("{mark},") } else { mark.clone() });
        format!("\n{DIM}{}{DIM:#}", flowed(marks, width, 0))
    }

    fn problems(&self, width: usize) -> String {
        let mut told = String::new();
        for group in groups(&self.matrix.problems) {
            let _ = writeln!(told, "\n{YELLOW}{}{YELLOW:#}", group.code);
            for message in group.messages.iter().take(MOST_MESSAGES) {
                told.push_str(&wrapped(&sentence(message), width, 2));
            }
            let more = group.messages.len().saturating_sub(MOST_MESSAGES);
            if more > 0 {
                let _ = writeln!(told, "  {DIM}and {more} more: `--output json` has them all{DIM:#}");
            }
            for remedy in group.remedies.iter().take(MOST_REMEDIES) {
                let _ = write!(told, "{GREEN}{}{GREEN:#}", wrapped(&format!("-> {remedy}"), width, 2));
            }
        }
        told
    }
}

/// What a client gets, on a line of its own.
fn chosen(line: &Line, width: usize) -> String {
    line.choice.as_ref().map(|choice| wrapped(choice, width, 4)).unwrap_or_default()
}

fn style(state: VersionState) -> Style {
    match state {
        VersionState::Images(ImageState::Ok) => GREEN,
        VersionState::Images(ImageState::Unpublished | ImageState::Stale | ImageState::Orphan) => YELLOW,
        VersionState::Images(_) | VersionState::Foreign(_) => RED,
    }
}

fn drawn_mark(state: ImageState, width: usize) -> String {
    let style = style(VersionState::Images(state));
    format!("{style}{}{style:#}{}", mark(state), " ".repeat(width.saturating_sub(1)))
}

fn meaning(state: ImageState) -> &'static str {
    match state {
        ImageState::Ok => "ok",
        ImageState::Unpublished => "not in the index",
        ImageState::Stale => "stale (older in the index)",
        ImageState::Orphan => "orphan (no tag for it)",
        ImageState::Missing => "missing",
        ImageState::Duplicate => "duplicate",
        ImageState::Unreadable => "unreadable",
        ImageState::Mismatch => "mismatch",
        ImageState::Dangling => "dangling (the registry lost it)",
    }
}

pub(super) fn totals(summary: &Summary, requests: u64) -> String {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let states = VersionState::all().filter_map(|state| {
        let number = summary.states.get(state.as_str())?;
        Some(format!("{number} {state}"))
    });
    let states: Vec<String> = states.collect();
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    let (tags, problems) = (count(summary.versions, "tag"), count(summary.problems, "problem"));
    format!("{tags}{states}; {problems}; {requests} requests")
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Text that is too long loses its middle: both ends of a tag tell it from others.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(3);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let letters: Vec<char> = text.chars().collect();
    letters[..head]
        .iter()
        .chain("...".chars().collect::<Vec<_>>().iter())
        .chain(&letters[letters.len() - tail..])
        .collect()
}

/// Lines of at most `width` columns, each set in by `indent`; a word that is longer stands alone.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    flowed(text::clean(text, 2_000).split(' ').map(str::to_owned), width, indent)
}

/// The same of pieces that stay whole.
fn flowed(pieces: impl Iterator<Item = String>, width: usize, indent: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for piece in pieces {
        if !line.is_empty() && indent + line.width() + 1 + piece.width() > width {
            let _ = writeln!(lines, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&piece);
    }
    let _ = writeln!(lines, "{:indent$}{line}", "");
    lines
}
