//! Quotes, and what the shell expands.

use zeroize::Zeroizing;

use super::reader::Reader;
use super::word::Piece;

impl Reader<'_> {
    /// `(a b)` behind `NAME=`
    pub(super) fn array(&mut self) -> bool {
        let mut source = Zeroizing::new("(".to_owned());
        let is_whole = self.nested(&mut source, 1);
        self.word
            .get_or_insert_default()
            .pieces
            .push(Piece::Expansion { source, is_quoted: true });
        is_whole
    }

    pub(super) fn single(&mut self) -> bool {
        let word = self.word.get_or_insert_default();
        word.quote();
        for character in self.rest.by_ref() {
            if character == '\'' {
                return true;
            }
            word.push(character);
        }
        false
    }

    pub(super) fn double(&mut self) -> bool {
        self.word.get_or_insert_default().quote();
        while let Some(character) = self.rest.next() {
            let mut push = |character| self.word.get_or_insert_default().push(character);
            match character {
                '"' => return true,
                '\\' => match self.rest.next() {
                    Some('\n') => {}
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => push(escaped),
                    Some(other) => {
                        push('\\');
                        push(other);
                    }
                    None => return false,
                },
                '$' | '`' => {
                    if !self.expansion(character, true) {
                        return false;
                    }
                }
                character => push(character),
            }
        }
        false
    }

    /// `$NAME`, `${…}`, `$(…)`, or a command between backquotes. Returns false if it has no end.
    pub(super) fn expansion(&mut self, sign: char, is_quoted: bool) -> bool {
        let mut source = Zeroizing::new(sign.to_string());
        let is_whole = match self.rest.peek() {
            _ if sign == '`' => self.until(&mut source, '`'),
            Some('{') => self.until(&mut source, '}'),
            // The parenthesis behind a pattern of a `case` is not told from the end.
            Some('(') => self.nested(&mut source, 0) && !source.contains("case "),
            _ => {
                let is_name = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
                while let Some(character) = self.rest.next_if(is_name) {
                    source.push(character);
                }
                if source.len() == 1
                    && let Some(special) = self.rest.next_if(|character| "@*#?$!-".contains(*character))
                {
                    source.push(special);
                }
                true
            }
        };
        self.word.get_or_insert_default().pieces.push(Piece::Expansion { source, is_quoted });
        is_whole
    }

    fn until(&mut self, source: &mut String, end: char) -> bool {
        for character in self.rest.by_ref() {
            source.push(character);
            if character == end {
                return true;
            }
        }
        false
    }

    /// `$(…)`, where parentheses may be nested and quotes may hold others. `depth` is how many are read.
    pub(super) fn nested(&mut self, source: &mut String, mut depth: usize) -> bool {
        let mut quote = None;
        while let Some(character) = self.rest.next() {
            source.push(character);
            match (quote, character) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (None, '\'' | '"') => quote = Some(character),
                (None | Some('"'), '\\') => source.extend(self.rest.next()),
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth -= 1;
                    if depth == 0 {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }

    pub(super) fn escaped(&mut self) {
        match self.rest.next() {
            Some('\n') | None => {}
            Some(character) => self.word.get_or_insert_default().push(character),
        }
    }
}
