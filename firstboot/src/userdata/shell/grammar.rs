//! Reads the commands of a text.

use zeroize::Zeroizing;

use super::reader::{Here, Open, Reader, Target};
use super::word::Word;
use super::{After, Commands, KEYWORDS, Output, Simple};

/// The most simple commands.
pub(super) const COMMANDS: usize = 10_000;

/// Parses a line or a script.
pub fn read(text: &str) -> Commands {
    let mut reader = Reader::of(text);
    let is_broken = !reader.all();
    Commands { commands: reader.commands, is_broken }
}

impl Reader<'_> {
    /// Returns false if the text is invalid.
    fn all(&mut self) -> bool {
        let mut is_quoted = false;
        while let Some(character) = self.rest.next() {
            is_quoted |= matches!(character, '\'' | '"' | '\\');
            let is_whole = match character {
                '\'' => self.single(),
                '"' => self.double(),
                '\\' => {
                    self.escaped();
                    true
                }
                '$' | '`' => self.expansion(character, false),
                '(' if self.begins_array() => self.array(),
                ' ' | '\t' | '\r' => self.end_word(std::mem::take(&mut is_quoted)),
                '#' if self.word.is_none() => self.comment(),
                '\n' => {
                    self.end_word(std::mem::take(&mut is_quoted));
                    self.end_command(After::Anything) && self.read_here()
                }
                ';' | '&' | '|' | '(' | ')' => {
                    self.end_word(std::mem::take(&mut is_quoted));
                    self.joint(character)
                }
                '>' | '<' => {
                    is_quoted = false;
                    self.redirect(character)
                }
                character => {
                    self.plain(character);
                    true
                }
            };
            if !is_whole || self.commands.len() > COMMANDS {
                return false;
            }
        }
        self.end_word(is_quoted);
        self.end_command(After::Anything)
    }

    /// A character outside quotes.
    fn plain(&mut self, character: char) {
        let is_first = self.word.is_none();
        let word = self.word.get_or_insert_default();
        word.is_pattern |= match character {
            '*' | '?' => true,
            '[' => !is_first,
            '~' => is_first || word.ends_with(&['=', ':']),
            ',' | '.' => self.is_in_braces,
            _ => word.ends_with(&['[']) && word.text().as_str() == "[",
        };
        word.push(character);
        self.is_in_braces = character == '{' || self.is_in_braces && character != '}';
    }

    /// Whether a parenthesis here begins the values of an array: `NAME=(`.
    fn begins_array(&self) -> bool {
        self.target == Target::Words
            && self.word.as_ref().is_some_and(|word| {
                let text = word.text();
                let name = text.trim_end_matches('=').trim_end_matches('+');
                text.ends_with('=') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
    }

    /// `;`, `&`, `&&`, `|`, `||`, `(`, `)`
    fn joint(&mut self, sign: char) -> bool {
        if sign == '&' && self.rest.peek() == Some(&'>') {
            return self.both_outputs();
        }
        let is_twice = matches!(sign, '&' | '|') && self.rest.next_if_eq(&sign).is_some();
        let next = match (sign, is_twice) {
            ('&', true) => After::Success,
            ('|', true) => After::Failure,
            ('|', false) => After::Pipe,
            _ => After::Anything,
        };
        if sign == '|' && !is_twice {
            // `|&`
            _ = self.rest.next_if_eq(&'&');
        }
        self.command.is_piped = next == After::Pipe;
        self.command.is_apart |= self.command.is_piped || (sign, is_twice) == ('&', false);
        if sign == '(' {
            if self.command.words.is_empty() && self.rest.peek() == Some(&'(') {
                return self.arithmetic();
            }
            if self.names_function() {
                self.command.is_function = true;
                return self.end_command(After::Anything);
            }
        }
        let is_whole = self.end_command(next);
        self.parenthesis(sign);
        is_whole
    }

    /// Notes what a parenthesis, or a `;` in a `case`, begins or ends.
    fn parenthesis(&mut self, sign: char) {
        match (sign, self.open.last_mut()) {
            ('(', Some(Open::Case { is_pattern: true })) => {}
            (')', Some(Open::Case { is_pattern })) => *is_pattern = false,
            (';', Some(Open::Case { is_pattern })) => *is_pattern |= self.rest.peek() == Some(&';'),
            ('(', _) => {
                self.open.push(Open::Parenthesis);
                self.command.opens += 1;
            }
            (')', Some(Open::Parenthesis)) => {
                self.open.pop();
                if let Some(last) = self.commands.last_mut() {
                    last.closes += 1;
                }
            }
            _ => {}
        }
    }

    /// Whether the command is `function NAME` until here.
    fn is_function_keyword(&self) -> bool {
        let words = self.command.words.get(self.keywords()..).unwrap_or_default();
        matches!(words, [word, _] if word.text().as_str() == "function")
    }

    /// Whether `()` stands here, behind a name. Reads the second parenthesis.
    fn names_function(&mut self) -> bool {
        let begin = self.keywords();
        let is_name = match self.command.words.get(begin..).unwrap_or_default() {
            [name] => !name.expands(),
            _ => self.is_function_keyword(),
        };
        if !is_name {
            return false;
        }
        while self.rest.next_if(|character| matches!(character, ' ' | '\t')).is_some() {}
        if self.rest.next_if_eq(&')').is_none() {
            return false;
        }
        self.end_keywords();
        true
    }

    /// How many keywords are in front of the command.
    fn keywords(&self) -> usize {
        let is_keyword = |word: &&Word| KEYWORDS.contains(&word.text().as_str());
        self.command.words.iter().take_while(is_keyword).count()
    }

    /// The keywords in front become a command of their own.
    fn end_keywords(&mut self) {
        let rest = self.command.words.split_off(self.keywords());
        if !self.command.words.is_empty() {
            self.end_command(After::Anything);
        }
        self.command.words = rest;
    }

    /// `((N++))`, which does the same as `let 'N++'`.
    fn arithmetic(&mut self) -> bool {
        let mut source = Zeroizing::new("(".to_owned());
        let is_whole = self.nested(&mut source, 1);
        self.command.words.push(Word::plain("let"));
        self.command.words.push(Word::plain(&source));
        is_whole
    }

    fn comment(&mut self) -> bool {
        while self.rest.next_if(|character| *character != '\n').is_some() {}
        true
    }

    pub(super) fn end_word(&mut self, is_quoted: bool) -> bool {
        self.is_in_braces = false;
        let Some(word) = self.word.take() else { return true };
        match std::mem::take(&mut self.target) {
            Target::Words => {
                if word.text().as_str() == "{" && self.is_function_keyword() {
                    self.end_keywords();
                    self.command.is_function = true;
                    self.end_command(After::Anything);
                }
                self.command.words.push(word);
            }
            Target::Output { appends, is_standard } => {
                self.command.outputs.push(Output { path: word, appends, is_standard });
            }
            Target::Copy { is_standard } => {
                if word.text().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                    let outputs = self.command.outputs.iter_mut().filter(|_| is_standard);
                    outputs.for_each(|output| output.is_standard = false);
                } else {
                    self.command.outputs.push(Output { path: word, appends: false, is_standard: false });
                }
            }
            Target::Input => self.command.input = Some(word),
            Target::HereString => {
                let mut word = word;
                word.push('\n');
                self.command.here = Some(word);
            }
            Target::Nowhere => {}
            Target::Here { strips_tabs } => {
                let (end, command) = (word.text().as_str().to_owned(), self.commands.len());
                self.here.push(Here { end, command, expands: !is_quoted, strips_tabs });
            }
        }
        true
    }

    fn end_command(&mut self, next: After) -> bool {
        self.target = Target::Words;
        let after = self.command.after;
        self.command.is_apart |= self.open.contains(&Open::Parenthesis) || after == After::Pipe;
        self.command.is_asked = matches!(next, After::Success | After::Failure);
        self.note_case();
        let is_empty = self.command.words.is_empty() && self.command.outputs.is_empty();
        // A line that ends in `&&`, `||` or `|` goes on in the next one.
        let next = if is_empty && next == After::Anything { after } else { next };
        let opens = if is_empty { self.command.opens } else { 0 };
        let following = Simple { after: next, opens, ..Simple::default() };
        let command = std::mem::replace(&mut self.command, following);
        if !is_empty {
            self.commands.push(command);
        }
        true
    }

    /// Notes a `case` that the command begins or ends.
    fn note_case(&mut self) {
        let words = self.command.words.iter().map(Word::text);
        for word in words {
            match word.as_str() {
                "case" => {
                    self.open.push(Open::Case { is_pattern: true });
                    break;
                }
                "esac" if matches!(self.open.last(), Some(Open::Case { .. })) => _ = self.open.pop(),
                word if KEYWORDS.contains(&word) => {}
                _ => break,
            }
        }
    }
}
