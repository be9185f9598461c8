//! Text that came from somewhere else, made fit for a terminal, a log or a page.

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
    use super::clean;

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
}
