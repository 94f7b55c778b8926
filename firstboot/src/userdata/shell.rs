//! Parses enough of the shell's grammar to find the simple commands of a line or a script (POSIX.1-2024,
//! Shell Command Language, section 2, and what bash adds). Nothing is run and nothing is expanded.

use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

/// The most simple commands.
const COMMANDS: usize = 10_000;

/// The longest text that a word may stand for; no file of user data is longer.
const LONGEST_EXPANDED: usize = 2 << 20;

/// Keywords that may stand in front of a command.
pub const KEYWORDS: &[&str] = &["if", "then", "else", "elif", "while", "until", "do", "!", "{"];

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
    pieces: Vec<Piece>,
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

    fn ends_with(&self, characters: &[char]) -> bool {
        matches!(self.pieces.last(), Some(Piece::Text(text)) if text.ends_with(characters))
    }

    /// Quotes begin: even if there is nothing between them, this is a word.
    fn quote(&mut self) {
        if self.pieces.is_empty() {
            self.pieces.push(Piece::Text(Zeroizing::default()));
        }
    }

    fn push(&mut self, character: char) {
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
pub struct Script {
    /// The simple commands in order. A command after a keyword such as `then` has the keyword as its first
    /// word.
    pub commands: Vec<Simple>,
    /// Whether the text ended within quotes, or is too long. Then there may be more commands.
    pub is_broken: bool,
}

/// Parses a line or a script.
pub fn read(text: &str) -> Script {
    let mut reader = Reader::of(text);
    let is_broken = !reader.all();
    Script { commands: reader.commands, is_broken }
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

/// The role of the next word.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Target {
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
struct Here {
    end: String,
    /// The position of its command, if that has ended already.
    command: usize,
    expands: bool,
    strips_tabs: bool,
}

/// What a parenthesis may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Parenthesis,
    /// `case`; whether a pattern stands here.
    Case {
        is_pattern: bool,
    },
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    commands: Vec<Simple>,
    command: Simple,
    word: Option<Word>,
    target: Target,
    here: Vec<Here>,
    /// The parentheses and the `case` that are open.
    open: Vec<Open>,
    /// Whether a brace is open in this word, as in `{a,b}` or `{1..3}`.
    is_in_braces: bool,
}

impl<'a> Reader<'a> {
    fn of(text: &'a str) -> Self {
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

    /// `(a b)` behind `NAME=`
    fn array(&mut self) -> bool {
        let mut source = Zeroizing::new("(".to_owned());
        let is_whole = self.nested(&mut source, 1);
        self.word
            .get_or_insert_default()
            .pieces
            .push(Piece::Expansion { source, is_quoted: true });
        is_whole
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

    /// `&>` and `&>>`
    fn both_outputs(&mut self) -> bool {
        _ = self.rest.next();
        let appends = self.rest.next_if_eq(&'>').is_some();
        self.target = Target::Output { appends, is_standard: false };
        true
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

    fn single(&mut self) -> bool {
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

    fn double(&mut self) -> bool {
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
    fn expansion(&mut self, sign: char, is_quoted: bool) -> bool {
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
    fn nested(&mut self, source: &mut String, mut depth: usize) -> bool {
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

    fn escaped(&mut self) {
        match self.rest.next() {
            Some('\n') | None => {}
            Some(character) => self.word.get_or_insert_default().push(character),
        }
    }

    fn comment(&mut self) -> bool {
        while self.rest.next_if(|character| *character != '\n').is_some() {}
        true
    }

    fn end_word(&mut self, is_quoted: bool) -> bool {
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

    /// `>`, `>>`, `2>`, `>&`, `&>`, `>|`, `<>`, `<`, `<<`, `<<-`, `<<<`
    fn redirect(&mut self, sign: char) -> bool {
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
    fn read_here(&mut self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> (Vec<String>, bool) {
        let script = read(text);
        let command = |command: &Simple| {
            let words = command
                .words
                .iter()
                .map(|word| format!("{}{}", word.text().as_str(), if word.expands() { "$" } else { "" }));
            let sign = |output: &Output| match (output.is_standard, output.appends) {
                (true, true) => ">>",
                (true, false) => ">",
                (false, _) => "2>",
            };
            let output = command
                .outputs
                .iter()
                .map(|output| format!("{}{}", sign(output), output.path.text().as_str()));
            let input = command.input.iter().map(|word| format!("<{}", word.text().as_str()));
            let here = command.here.iter().map(|word| format!("<<{}", word.text().as_str()));
            words.chain(output).chain(input).chain(here).collect::<Vec<_>>().join("|")
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
            ("a 2>/dev/null >>/x 2>&1 </y b", vec!["a|b|2>/dev/null|>>/x|</y"]),
            ("a &>/x b", vec!["a|b|2>/x"]),
            ("a >&/x; b >&2; c >& 1", vec!["a|2>/x", "b", "c"]),
            ("a >|/x |& b", vec!["a|>/x", "b"]),
            ("{ a; } >> /x\n( b ) > /y\n> /z", vec!["{|a", "}|>>/x", "b", ">/y", ">/z"]),
            (
                "cat <<EOF > /f\nkubeadm join\n\tEOF\nEOF\nb <<-'E'\n\tx 'y\n\tE\nc <<<d",
                vec!["cat|>/f|<<kubeadm join\n\tEOF\n", "b|<<x 'y\n", "c|<<d\n"],
            ),
            ("f() { a; }\nfunction g { b; }", vec!["f", "{|a", "}", "function|g", "{|b", "}"]),
            ("{ f() { a; }; }", vec!["{", "f", "{|a", "}", "}"]),
            ("((N++)); A=(b 'c)') d", vec!["let|((N++))", "A=(b 'c)')$|d"]),
            (
                "a /etc/*.yaml {b,c} ~/d '*' [ x ] {} {e} f[1]",
                vec!["a|/etc/*.yaml$|{b,c}$|~/d$|*|[|x|]|{}|{e}|f[1]$"],
            ),
            ("a \"x$(b 'c)' \"d\" | e)/y\" $(f)g ${h%.*}", vec!["a|x$(b 'c)' \"d\" | e)/y$|$(f)g$|${h%.*}$"]),
            ("if a; then b; fi", vec!["if|a", "then|b", "fi"]),
            ("", vec![]),
        ] {
            assert_eq!(shown(text), (expected.iter().map(ToString::to_string).collect(), false), "{text}");
        }
    }

    #[test]
    fn commands_know_what_is_before_them() {
        let after = |text| read(text).commands.iter().map(|command| command.after).collect::<Vec<_>>();
        let expected = [After::Anything, After::Success, After::Failure, After::Pipe, After::Anything];
        assert_eq!(after("a && b || c | d; e"), expected);
        assert_eq!(after("a &&\n b ||\n\n c |\n d\n e"), expected);
    }

    #[test]
    fn what_is_not_whole_is_broken() {
        for text in
            ["a 'b", "a \"b", "a \"b\\", "a $(b", "a ${b", "a `b", "a <<E\nb\n", &"a\n".repeat(COMMANDS + 1)]
        {
            assert!(read(text).is_broken, "{text}");
        }
    }
}
