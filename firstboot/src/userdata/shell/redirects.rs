//! Redirections and here-documents.

use zeroize::Zeroizing;

use super::reader::{Here, Reader, Target};
use super::word::{Piece, Word};

/// Whether a line goes on in the next one: a backslash is at its end that no other one escapes.
fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// A line of a here-document whose delimiter is not quoted.
fn in_here_document(line: &str) -> Word {
    let mut reader = Reader::of(line);
    while let Some(character) = reader.rest.next() {
        match character {
            '$' | '`' => _ = reader.expansion(character, true),
            '\\' => match reader.rest.next() {
                Some(escaped @ ('\\' | '$' | '`')) => reader.word.get_or_insert_default().push(escaped),
                other => ['\\'].into_iter().chain(other).for_each(|character| {
                    reader.word.get_or_insert_default().push(character);
                }),
            },
            character => reader.word.get_or_insert_default().push(character),
        }
    }
    reader.word.unwrap_or_default()
}

impl Reader<'_> {
    /// `&>` and `&>>`
    pub(super) fn both_outputs(&mut self) -> bool {
        _ = self.rest.next();
        let appends = self.rest.next_if_eq(&'>').is_some();
        self.target = Target::Output { appends, is_standard: false };
        true
    }

    /// `>`, `>>`, `2>`, `>&`, `&>`, `>|`, `<>`, `<`, `<<`, `<<-`, `<<<`
    pub(super) fn redirect(&mut self, sign: char) -> bool {
        let is_number = |word: &Word| word.text().bytes().all(|byte| byte.is_ascii_digit());
        let number = self.word.take_if(|word| is_number(word));
        self.end_word(false);
        let twice = self.rest.next_if_eq(&sign).is_some();
        let is_standard = number.is_none_or(|number| number.text().as_str() == "1");
        self.target = match (sign, twice) {
            ('>', _) => Target::Output { appends: twice, is_standard },
            ('<', true) if self.rest.next_if_eq(&'<').is_some() => Target::HereString,
            ('<', true) => Target::Here { strips_tabs: self.rest.next_if_eq(&'-').is_some() },
            ('<', false) if self.rest.next_if_eq(&'>').is_some() => {
                Target::Output { appends: true, is_standard: false }
            }
            ('<', false) => Target::Input,
            _ => Target::Nowhere,
        };
        if let Target::Output { .. } = self.target {
            if self.rest.next_if(|character| "&|".contains(*character)) == Some('&') {
                self.target = Target::Copy { is_standard };
            }
        } else if self.target == Target::Input && self.rest.next_if_eq(&'&').is_some() {
            self.target = Target::Nowhere;
        }
        true
    }

    /// Reads the here-documents that begin here. Returns false if one has no end.
    pub(super) fn read_here(&mut self) -> bool {
        for Here { end, command, expands, strips_tabs } in std::mem::take(&mut self.here) {
            let mut text = Word::plain("");
            loop {
                let mut line = Zeroizing::new(String::new());
                while let Some(character) = self.rest.next_if(|character| *character != '\n') {
                    line.push(character);
                }
                let mut is_last = self.rest.next().is_none();
                while expands && !is_last && goes_on(&line) {
                    line.pop();
                    while let Some(character) = self.rest.next_if(|character| *character != '\n') {
                        line.push(character);
                    }
                    is_last = self.rest.next().is_none();
                }
                if strips_tabs {
                    line = Zeroizing::new(line.trim_start_matches('\t').to_owned());
                }
                if line.trim_end_matches('\r') == end {
                    break;
                }
                if is_last {
                    return false;
                }
                line.push('\n');
                if expands {
                    text.pieces.extend(in_here_document(&line).pieces);
                } else {
                    text.pieces.push(Piece::Text(line));
                }
            }
            if let Some(command) = self.commands.get_mut(command) {
                command.here = Some(text);
            }
        }
        true
    }
}
