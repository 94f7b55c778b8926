//! Text of others, as it may be shown: on a terminal, in a log, on a console that machines read.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character is not shown, or changes how others are shown: controls, separators of lines, marks of
/// the direction of writing, joiners without a width.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `text` with each hidden character as JSON escapes it, except those in `kept`.
pub fn visible<'t>(text: &'t str, kept: &[char]) -> Cow<'t, str> {
    let is_escaped = |letter: char| is_hidden(letter) && !kept.contains(&letter);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::new(), |mut all, letter| {
        if is_escaped(letter) {
            let _ = write!(all, "\\u{:04x}", u32::from(letter));
        } else {
            all.push(letter);
        }
        all
    }))
}

/// The same for a text that may have lines and tabs of its own.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    visible(text, &['\n', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hide_or_move_other_text_is_shown_escaped() {
        assert!(matches!(visible("a\u{e4}\u{1f600} b", &[]), Cow::Borrowed(_)));
        for letter in "\u{0}\u{7}\u{8}\u{1b}\r\n\u{7f}\u{85}\u{9b}\u{2028}\u{2029}".chars() {
            assert!(is_hidden(letter), "{letter:?}");
        }
        for letter in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert_eq!(visible(&format!("a{letter}b"), &[]), format!("a\\u{:04x}b", u32::from(letter)));
        }
        assert_eq!(visible_lines("a\nb\tc\r"), "a\nb\tc\\u000d");
    }
}
