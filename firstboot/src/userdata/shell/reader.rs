//! How far a text is read, and what is open there.

use std::iter::Peekable;
use std::str::Chars;

use super::Simple;
use super::word::Word;

/// The role of the next word.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    #[default]
    Words,
    Output {
        appends: bool,
        is_standard: bool,
    },
    Input,
    /// A copy of another stream, or a stream that does not matter.
    Nowhere,
    /// A copy of another stream if it is a number, else a file that both outputs go to.
    Copy {
        is_standard: bool,
    },
    /// The text of a here-string.
    HereString,
    /// The delimiter of a here-document.
    Here {
        strips_tabs: bool,
    },
}

/// A here-document that begins after this line.
pub(super) struct Here {
    pub(super) end: String,
    /// The position of its command, if that has ended already.
    pub(super) command: usize,
    pub(super) expands: bool,
    pub(super) strips_tabs: bool,
}

/// What a parenthesis may end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    Parenthesis,
    /// `case`; whether a pattern stands here.
    Case {
        is_pattern: bool,
    },
}

pub(super) struct Reader<'a> {
    pub(super) rest: Peekable<Chars<'a>>,
    pub(super) commands: Vec<Simple>,
    pub(super) command: Simple,
    pub(super) word: Option<Word>,
    pub(super) target: Target,
    pub(super) here: Vec<Here>,
    /// The parentheses and the `case` that are open.
    pub(super) open: Vec<Open>,
    /// Whether a brace is open in this word, as in `{a,b}` or `{1..3}`.
    pub(super) is_in_braces: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            commands: Vec::new(),
            command: Simple::default(),
            word: None,
            target: Target::Words,
            here: Vec::new(),
            open: Vec::new(),
            is_in_braces: false,
        }
    }
}
