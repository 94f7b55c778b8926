//! Text that every module may need: hexadecimal, percent-encoding, foreign text in a message. Pure.

pub(crate) mod percent;
pub(crate) mod yaml;

use std::fmt::Write;

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

/// Text from another machine, fit for one line of a log.
pub(crate) fn one_line(text: &str) -> String {
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
