//! Words of the shell, and what it makes of them.

use zeroize::Zeroizing;

/// The longest text that a word may stand for; no file of user data is longer.
const LONGEST_EXPANDED: usize = 2 << 20;

/// A piece of a word.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text, which may be secret.
    Text(Zeroizing<String>),
    /// What the shell would expand: `$NAME`, `${NAME}`, `$(command)`.
    Expansion {
        /// As it is written.
        source: Zeroizing<String>,
        /// Whether it stands between double quotes, so that the shell does not split its value into words.
        is_quoted: bool,
    },
}

/// A word without its quotes.
#[derive(Default, Clone)]
pub struct Word {
    pub(super) pieces: Vec<Piece>,
    /// Whether it names files by a pattern, such as `/etc/*.yaml`, `{a,b}` or `~/a`.
    pub is_pattern: bool,
}

impl Word {
    /// A word that the shell does not expand.
    pub fn plain(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(Zeroizing::new(text.to_owned()))], is_pattern: false }
    }

    /// The text, with expansions as they are written.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for piece in &self.pieces {
            let (Piece::Text(piece) | Piece::Expansion { source: piece, .. }) = piece;
            text.push_str(piece);
        }
        text
    }

    /// Whether the shell would expand it: a variable, the output of a command, or a pattern.
    pub fn expands(&self) -> bool {
        self.is_pattern || self.sources().next().is_some()
    }

    /// What it is made of.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Its expansions, as they are written.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Expansion { source, .. } => Some(source.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with every expansion replaced by its value; `None` if one has no known value.
    pub fn expanded(&self, value: &dyn Fn(&str) -> Option<String>) -> Option<Zeroizing<String>> {
        if self.is_pattern {
            return None;
        }
        let mut text = Zeroizing::new(String::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Expansion { source, .. } => text.push_str(&value(source)?),
            }
            if text.len() > LONGEST_EXPANDED {
                return None;
            }
        }
        (!text.contains(UNKNOWN)).then_some(text)
    }

    /// Whether the shell divides its value into words.
    pub fn is_divided(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Expansion { is_quoted: false, .. }))
    }

    /// The words that the shell makes of it: values outside quotes are split at blanks. `None` if a value is
    /// not known, or if it is split and has signs of a pattern in it.
    pub fn fields(&self, value: &dyn Fn(&str) -> Option<String>) -> Option<Vec<Zeroizing<String>>> {
        if self.is_pattern {
            return None;
        }
        let mut fields: Vec<Zeroizing<String>> = Vec::new();
        let mut is_open = false;
        let mut length = 0;
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(text) => text.clone(),
                Piece::Expansion { source, .. } => Zeroizing::new(value(source)?),
            };
            length += value.len();
            if length > LONGEST_EXPANDED {
                return None;
            }
            if !matches!(piece, Piece::Expansion { is_quoted: false, .. }) {
                extend(&mut fields, &mut is_open, &value);
                is_open = true;
                continue;
            }
            if value.contains(['*', '?', '[', UNKNOWN]) {
                return None;
            }
            is_open &= !value.starts_with(BLANKS);
            for part in value.split(BLANKS).filter(|part| !part.is_empty()) {
                extend(&mut fields, &mut is_open, part);
                is_open = false;
            }
            is_open = !value.is_empty() && !value.ends_with(BLANKS) || is_open && value.is_empty();
        }
        fields.iter().all(|field| !field.contains(UNKNOWN)).then_some(fields)
    }

    pub(super) fn ends_with(&self, characters: &[char]) -> bool {
        matches!(self.pieces.last(), Some(Piece::Text(text)) if text.ends_with(characters))
    }

    /// Quotes begin: even if there is nothing between them, this is a word.
    pub(super) fn quote(&mut self) {
        if self.pieces.is_empty() {
            self.pieces.push(Piece::Text(Zeroizing::default()));
        }
    }

    pub(super) fn push(&mut self, character: char) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.pieces.push(Piece::Text(Zeroizing::new(character.to_string()))),
        }
    }
}

/// Stands in a text for a value that is not known. A word with it has no known value.
pub const UNKNOWN: char = '\u{e0f2}';

/// What divides a value into words.
const BLANKS: [char; 3] = [' ', '\t', '\n'];

/// Adds `text` to the last field if that is open, else begins another one.
fn extend(fields: &mut Vec<Zeroizing<String>>, is_open: &mut bool, text: &str) {
    match fields.last_mut().filter(|_| *is_open) {
        Some(field) => field.push_str(text),
        None => fields.push(Zeroizing::new(text.to_owned())),
    }
}
