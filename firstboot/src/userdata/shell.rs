//! Parses enough of the shell's grammar to find the simple commands of a line or a script (POSIX.1-2024,
//! Shell Command Language, section 2). Nothing is run and nothing is expanded.

use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

/// The most simple commands.
const COMMANDS: usize = 10_000;

/// A word without its quotes.
#[derive(Default)]
pub struct Word {
    /// The text, which may be secret.
    pub text: Zeroizing<String>,
    /// Whether the shell would expand it: a variable, or the output of a command.
    pub expands: bool,
}

/// A simple command.
#[derive(Default)]
pub struct Simple {
    /// The program and its arguments.
    pub words: Vec<Word>,
    /// The file that `>` or `>>` writes to.
    pub output: Option<Word>,
}

/// The commands of a text.
pub struct Script {
    /// The simple commands in order. A command after a keyword such as `then` has the keyword as its first
    /// word.
    pub commands: Vec<Simple>,
    /// Whether the text ended within quotes, or is too long. Then there may be more commands.
    pub is_broken: bool,
}

/// Parses a line or a script.
pub fn read(text: &str) -> Script {
    let mut reader = Reader { rest: text.chars().peekable(), ..Reader::default() };
    let is_broken = !reader.all();
    Script { commands: reader.commands, is_broken }
}

/// The role of the next word.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Target {
    #[default]
    Words,
    Output,
    /// An input file, or a copy of another stream.
    Nowhere,
    /// The delimiter of a here-document.
    Here,
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    commands: Vec<Simple>,
    command: Simple,
    word: Option<Word>,
    target: Target,
    /// The delimiters of the here-documents that begin after this line.
    here: Vec<String>,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        let rest = "".chars().peekable();
        Self {
            rest,
            commands: Vec::new(),
            command: Simple::default(),
            word: None,
            target: Target::Words,
            here: Vec::new(),
        }
    }
}

impl Reader<'_> {
    /// Returns false if the text is invalid.
    fn all(&mut self) -> bool {
        while let Some(character) = self.rest.next() {
            let is_whole = match character {
                '\'' => self.single(),
                '"' => self.double(),
                '\\' => {
                    self.escaped();
                    true
                }
                ' ' | '\t' | '\r' => self.end_word(),
                '#' if self.word.is_none() => self.comment(),
                '\n' => self.end_command() && self.skip_here(),
                ';' | '&' | '|' | '(' | ')' => self.end_command(),
                '>' | '<' => self.redirect(character),
                character => {
                    self.push(character, matches!(character, '$' | '`'));
                    true
                }
            };
            if !is_whole || self.commands.len() > COMMANDS {
                return false;
            }
        }
        self.end_command()
    }

    fn push(&mut self, character: char, expands: bool) {
        let word = self.word.get_or_insert_default();
        word.text.push(character);
        word.expands |= expands;
    }

    fn single(&mut self) -> bool {
        self.word.get_or_insert_default();
        while let Some(character) = self.rest.next() {
            if character == '\'' {
                return true;
            }
            self.push(character, false);
        }
        false
    }

    fn double(&mut self) -> bool {
        self.word.get_or_insert_default();
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return true,
                '\\' => match self.rest.next() {
                    Some('\n') => {}
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => self.push(escaped, false),
                    Some(other) => {
                        self.push('\\', false);
                        self.push(other, false);
                    }
                    None => return false,
                },
                character => self.push(character, matches!(character, '$' | '`')),
            }
        }
        false
    }

    fn escaped(&mut self) {
        match self.rest.next() {
            Some('\n') | None => {}
            Some(character) => self.push(character, false),
        }
    }

    fn comment(&mut self) -> bool {
        while self.rest.next_if(|character| *character != '\n').is_some() {}
        true
    }

    fn end_word(&mut self) -> bool {
        let Some(word) = self.word.take() else { return true };
        match std::mem::take(&mut self.target) {
            Target::Words => self.command.words.push(word),
            Target::Output => self.command.output = Some(word),
            Target::Nowhere => {}
            Target::Here => self.here.push(word.text.as_str().to_owned()),
        }
        true
    }

    fn end_command(&mut self) -> bool {
        self.end_word();
        self.target = Target::Words;
        let command = std::mem::take(&mut self.command);
        if !command.words.is_empty() || command.output.is_some() {
            self.commands.push(command);
        }
        true
    }

    /// `>`, `>>`, `2>`, `>&`, `>|`, `<`, `<<`, `<<-`, `<<<`
    fn redirect(&mut self, sign: char) -> bool {
        let is_number =
            self.word.as_ref().is_some_and(|word| word.text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = if is_number { self.word.take() } else { None };
        self.end_word();
        let twice = self.rest.next_if_eq(&sign).is_some();
        self.target = match (sign, twice) {
            ('>', _) if number.is_none_or(|number| number.text.as_str() == "1") => Target::Output,
            ('<', true) if self.rest.next_if_eq(&'<').is_none() => Target::Here,
            _ => Target::Nowhere,
        };
        if self.rest.next_if(|character| "&|-".contains(*character)) == Some('&') {
            self.target = Target::Nowhere;
        }
        true
    }

    /// Skips the here-documents that begin here. Returns false if one has no end.
    fn skip_here(&mut self) -> bool {
        for end in std::mem::take(&mut self.here) {
            loop {
                let mut line = Zeroizing::new(String::new());
                while let Some(character) = self.rest.next_if(|character| *character != '\n') {
                    line.push(character);
                }
                let is_last = self.rest.next().is_none();
                if line.trim_start_matches('\t').trim_end_matches('\r') == end {
                    break;
                }
                if is_last {
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> (Vec<String>, bool) {
        let script = read(text);
        let command = |command: &Simple| {
            let words = command
                .words
                .iter()
                .map(|word| format!("{}{}", word.text.as_str(), if word.expands { "$" } else { "" }));
            let output = command.output.iter().map(|word| format!(">{}", word.text.as_str()));
            words.chain(output).collect::<Vec<_>>().join("|")
        };
        (script.commands.iter().map(command).collect(), script.is_broken)
    }

    #[test]
    fn simple_commands_are_told_apart() {
        for (text, expected) in [
            ("a b  c", vec!["a|b|c"]),
            ("a --x  && echo success > /run/f", vec!["a|--x", "echo|success|>/run/f"]),
            ("a;b|c||d&e\n(f)", vec!["a", "b", "c", "d", "e", "f"]),
            (r#"a 'b c' "d 'e' \"f\" \x" g\ h '' "#, vec![r#"a|b c|d 'e' "f" \x|g h|"#]),
            ("a $b \"${c}\" '$d' \\$e `f`", vec!["a|$b$|${c}$|$d|$e|`f`$"]),
            ("a # b\nc#d", vec!["a", "c#d"]),
            ("a \\\n  b\n\n", vec!["a|b"]),
            ("a 2>/dev/null >>/x 2>&1 </y b", vec!["a|b|>/x"]),
            ("a &>/x", vec!["a", ">/x"]),
            ("a >|/x", vec!["a|>/x"]),
            ("cat <<EOF > /f\nkubeadm join\nEOF\nb <<-'E'\n\tx 'y\n\tE\nc <<<d", vec!["cat|>/f", "b", "c"]),
            ("if a; then b; fi", vec!["if|a", "then|b", "fi"]),
            ("", vec![]),
        ] {
            assert_eq!(shown(text), (expected.iter().map(ToString::to_string).collect(), false), "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_is_broken() {
        for text in ["a 'b", "a \"b", "a \"b\\", "a <<E\nb\n", &"a\n".repeat(COMMANDS + 1)] {
            assert!(read(text).is_broken, "{text}");
        }
    }
}
