//! Parses enough of the shell's grammar to find the simple commands of a line or a script (POSIX.1-2024,
//! Shell Command Language, section 2, and what bash adds). Nothing is run and nothing is expanded.

mod grammar;
mod quotes;
mod reader;
mod redirects;
mod word;

use zeroize::Zeroizing;

pub use grammar::read;
pub use word::{Piece, UNKNOWN, Word};

/// Keywords that may stand in front of a command.
pub const KEYWORDS: &[&str] = &["if", "then", "else", "elif", "while", "until", "do", "!", "{"];

/// A text of commands, which may be secret.
pub type Script = Zeroizing<String>;

/// A file that a command writes to.
pub struct Output {
    /// Its path.
    pub path: Word,
    /// Whether it is `>>`.
    pub appends: bool,
    /// Whether it gets the standard output alone.
    pub is_standard: bool,
}

/// How a command follows the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum After {
    /// On a new line, or after `;`.
    #[default]
    Anything,
    /// After `&&`.
    Success,
    /// After `||`.
    Failure,
    /// It reads the output of the command before it.
    Pipe,
}

/// A simple command.
#[derive(Default)]
pub struct Simple {
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// The files that redirections write to.
    pub outputs: Vec<Output>,
    /// The file that `<` reads.
    pub input: Option<Word>,
    /// The text of a here-document.
    pub here: Option<Word>,
    /// What was before it.
    pub after: After,
    /// Whether its output goes to the next command.
    pub is_piped: bool,
    /// Whether the next command asks how it ended: `&&` or `||` is behind it.
    pub is_asked: bool,
    /// Whether a process of its own runs it: between parentheses, in a pipe, or in the background.
    pub is_apart: bool,
    /// Whether it is the name of a function, whose body begins with the next command.
    pub is_function: bool,
    /// How many parentheses open in front of it.
    pub opens: usize,
    /// How many parentheses close behind it.
    pub closes: usize,
}

impl Simple {
    /// The file that gets its standard output.
    pub fn output(&self) -> Option<&Output> {
        self.outputs.last().filter(|output| output.is_standard)
    }
}

/// The commands of a text.
pub struct Commands {
    /// The simple commands in order. A command after a keyword such as `then` has the keyword as its first
    /// word.
    pub commands: Vec<Simple>,
    /// Whether the text ended within quotes, or is too long. Then there may be more commands.
    pub is_broken: bool,
}

/// The text of a command whose words the shell does not expand.
pub fn quoted(words: &[Zeroizing<String>]) -> Script {
    let mut line = Script::default();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push('\'');
        line.push_str(&Zeroizing::new(word.replace('\'', "'\\''")));
        line.push('\'');
    }
    line
}

/// The command in an expansion: `$(command)`, `` `command` ``, also within `${NAME:-$(command)}`.
pub fn substitution(source: &str) -> Option<Zeroizing<String>> {
    let begin = source.match_indices("$(").map(|(at, sign)| at + sign.len());
    let begin = begin.into_iter().find(|at| !source[*at..].starts_with('('));
    let (begin, end) = match begin {
        Some(begin) => (begin, ')'),
        None => (source.find('`')? + 1, '`'),
    };
    let inner = source.get(begin..source.rfind(end)?)?;
    Some(Zeroizing::new(if end == '`' { inner.replace("\\`", "`") } else { inner.to_owned() }))
}

#[cfg(test)]
mod tests;
