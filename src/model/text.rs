//! Text that came from somewhere else, made fit for a terminal, a log or a page.

use std::error::Error;

/// How much of each cause of an error is said.
const LONGEST_CAUSE: usize = 600;

/// `text` on one line: without control characters and without the marks that turn or hide text,
/// cut after `longest` characters.
///
/// Registries, images and their builders choose this text; escape sequences in it would be run by
/// the reader's terminal.
pub fn clean(text: &str, longest: usize) -> String {
    let mut seen = text.chars().map(|c| if is_unsafe(c) { ' ' } else { c });
    let mut cut: String = seen.by_ref().take(longest).collect();
    if seen.next().is_some() {
        cut.push_str("...");
    }
    cut.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error and its causes in one sentence, each fit to be shown and said once:
/// `what failed: because of this: because of that`.
pub fn with_causes(error: &dyn Error) -> String {
    let mut texts = vec![clean(&error.to_string(), LONGEST_CAUSE)];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(clean(&error.to_string(), LONGEST_CAUSE));
        cause = error.source();
    }
    texts.dedup();
    texts.join(": ")
}

/// What an error began with, fit to be shown: for errors whose other causes only say where they passed.
pub fn first_cause(error: &dyn Error) -> String {
    let mut first = error;
    while let Some(cause) = first.source() {
        first = cause;
    }
    clean(&first.to_string(), LONGEST_CAUSE)
}

/// `message` behind the name of what it is about, unless it has that name itself.
pub fn about(name: Option<&str>, message: &str) -> String {
    match name {
        Some(name) if !message.contains(name) => format!("`{name}`: {message}"),
        Some(_) | None => message.to_owned(),
    }
}

/// A secret in a file, without the newline that editors and `echo` end it with.
pub fn without_newline(text: &str) -> &str {
    let line = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    line.unwrap_or(text)
}

/// Control characters, and the format characters that reorder, hide or join what stands near them.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_bidi_marks_lose_their_power() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\r\nnext", 80), "[31mred [0m next");
        assert_eq!(clean("gpj\u{202e}exe", 80), "gpj exe");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(clean("abcdef", 3), "abc...");
        assert_eq!(clean("abc", 3), "abc");
    }

    #[test]
    fn a_message_names_what_it_is_about_once() {
        assert_eq!(about(Some("armhf-1"), "there is no such tag"), "`armhf-1`: there is no such tag");
        assert_eq!(about(Some("armhf-1"), "`armhf-1` is not there"), "`armhf-1` is not there");
        assert_eq!(about(None, "nothing is there"), "nothing is there");
    }

    #[test]
    fn an_error_tells_its_causes_and_repeats_none() {
        #[derive(Debug, thiserror::Error)]
        #[error("{says}")]
        struct Failed {
            says: &'static str,
            source: Option<Box<Failed>>,
        }
        let failed = |says, source: Option<Failed>| Failed { says, source: source.map(Box::new) };
        let refused = failed("connection\u{1b} refused", None);
        let error = failed("not read", Some(failed("not read", Some(refused))));
        assert_eq!(with_causes(&error), "not read: connection refused");
        assert_eq!(first_cause(&error), "connection refused");
    }
}
