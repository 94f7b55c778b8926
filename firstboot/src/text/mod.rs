//! Text that every module may need: hexadecimal, percent-encoding, foreign text in a message.

pub(crate) mod percent;
pub(crate) mod yaml;

use std::fmt::Write;

use crate::secret::redacted;
pub(crate) use contract::text::{is_hidden, visible, visible_lines};

/// Characters of a foreign message that are shown.
const LONGEST_MESSAGE: usize = 300;

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text from another machine, fit for one line of a log. A secret in it is hidden before the text is cut,
/// because a part of one is not recognized.
pub(crate) fn one_line(text: &str) -> String {
    let text = redacted(text);
    let mut line: String = text
        .chars()
        .take(LONGEST_MESSAGE)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    line = visible(&line, &[]).into_owned();
    if text.chars().nth(LONGEST_MESSAGE).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_secret_at_the_end_of_what_is_shown_is_hidden_whole() {
        let token = Secret::new("2vr73c.c8uxyaju799qwdjx".to_owned());
        for before in 270..LONGEST_MESSAGE {
            let said = one_line(&format!("{}{}", "-".repeat(before), token.reveal()));
            assert!(!said.contains("2v") && !said.contains("c8u"), "{before}: {said}");
        }
    }
}
