//! An audit for the summary of a CI job: a table in Markdown, in which nothing but the table is
//! markup, whatever a registry says.

use std::fmt::Write as _;

use super::matrix::{MOST_MESSAGES, MOST_REMEDIES, Matrix, groups, sentence};
use super::text::totals;
use super::{Report, Told};
use crate::cli::console::Console;
use crate::model::Repository;
use crate::model::version::Summary;

/// Gathers states, and writes them in the end.
#[derive(Default)]
pub(super) struct Markdown {
    repository: String,
    matrix: Matrix,
}

impl Report for Markdown {
    fn begin(&mut self, _: &Console, repository: &Repository) {
        self.repository = repository.to_string();
    }

    fn tell(&mut self, _: &Console, told: Told<'_>) {
        self.matrix.add(&told);
    }

    fn end(&mut self, console: &Console, summary: &Summary, requests: u64) {
        let mut page = format!("### {}\n\n{}\n", escaped(&self.repository), escaped(&totals(summary, requests)));
        if !self.matrix.lines.is_empty() {
            page.push('\n');
            page.push_str(&self.table());
        }
        for group in groups(&self.matrix.problems) {
            let _ = writeln!(page, "\n**{}**\n", escaped(group.code));
            for message in group.messages.iter().take(MOST_MESSAGES) {
                let _ = writeln!(page, "- {}", escaped(&sentence(message)));
            }
            let more = group.messages.len().saturating_sub(MOST_MESSAGES);
            if more > 0 {
                let _ = writeln!(page, "- and {more} more");
            }
            for remedy in group.remedies.iter().take(MOST_REMEDIES) {
                let _ = writeln!(page, "- → {}", escaped(remedy));
            }
        }
        console.data(&page);
    }
}

impl Markdown {
    fn table(&self) -> String {
        let order = self.matrix.order();
        let has_choice = self.matrix.lines.iter().any(|line| line.choice.is_some());
        let mut heads = vec!["tag".to_owned(), "state".to_owned()];
        heads.extend(order.iter().map(|column| escaped(&self.matrix.columns[*column].name)));
        heads.extend(has_choice.then(|| "client gets".to_owned()));
        let mut table = format!("| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
        for line in &self.matrix.lines {
            let mut cells = vec![escaped(&line.tag), line.state.to_string()];
            cells.extend(order.iter().map(|column| {
                let cell = line.cells.iter().find(|(known, _)| known == column);
                cell.map_or(String::new(), |(_, state)| state.as_str().to_owned())
            }));
            cells.extend(has_choice.then(|| escaped(line.choice.as_deref().unwrap_or_default())));
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }
}

/// Text in which no character is markup: Markdown's own are escaped, HTML's become entities.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '@' => safe.push_str("&#64;"), // a name behind it would be told of the page
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '!' | '|' | '~' | '$' => {
                safe.extend(['\\', c]);
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escaped("a|b `c` <img src=x>"), r"a\|b \`c\` &lt;img src=x&gt;");
        assert_eq!(escaped("[x](http://e) *b* @me #1"), r"\[x\]\(http://e\) \*b\* &#64;me \#1");
    }
}
