//! The expressions of jinja that templates for machines use: a name, keys and positions behind it, a few
//! calls and filters. Any other expression is refused by name.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::CharIndices;

use serde_json::Value;

use super::bounds::wrong;
use crate::config::redact::Redactor;
use crate::error::{Failure, Result};
use crate::instance_data::{Found, Step, walk};
use crate::text::yaml::{python_text, written_otherwise};
use contract::suggest;

/// The length limit of an expression.
const LENGTH: usize = 500;
/// The limit for nested parentheses and arguments.
const NESTING: usize = 8;
/// The most arguments of a call.
const ARGUMENTS: usize = 3;
/// The size limit of a value, also of those in between.
const VALUE: usize = 16 * 1024;

const KNOWN: &str = "known are names such as ds.meta_data.local_hostname, [\"key\"], [0], the calls .split(\".\"), \
    .lower(), .upper(), .strip(), .replace(\"a\", \"b\"), and the filters default, lower, upper, trim, replace, first, last";

/// Words of jinja, of Python's texts and of Ansible that stand in templates and are not supported everywhere.
const WORDS: &[&str] = &[
    "abs",
    "and",
    "attr",
    "b64decode",
    "b64encode",
    "batch",
    "bool",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dict",
    "dictsort",
    "else",
    "endswith",
    "escape",
    "filesizeformat",
    "find",
    "first",
    "float",
    "forceescape",
    "format",
    "from_json",
    "get",
    "groupby",
    "hash",
    "if",
    "in",
    "indent",
    "int",
    "is",
    "items",
    "join",
    "keys",
    "last",
    "length",
    "list",
    "loop",
    "lower",
    "lstrip",
    "map",
    "max",
    "min",
    "namespace",
    "not",
    "or",
    "partition",
    "pprint",
    "quote",
    "random",
    "range",
    "regex_replace",
    "regex_search",
    "reject",
    "rejectattr",
    "removeprefix",
    "removesuffix",
    "replace",
    "reverse",
    "round",
    "rpartition",
    "rsplit",
    "rstrip",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "splitlines",
    "startswith",
    "string",
    "strip",
    "striptags",
    "sum",
    "ternary",
    "title",
    "to_json",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "values",
    "wordcount",
    "xmlattr",
    "zfill",
];
/// Positions above this are not shown.
const POSITION: i64 = 9999;

/// Looks up a name such as `ds` and the steps behind it.
pub type Names<'a> = dyn Fn(&str, &[Step]) -> Result<Found> + 'a;

/// The text of `expression`, which stands between `{{` and `}}`.
pub fn evaluate(expression: &str, names: &Names) -> Result<String> {
    if expression.len() > LENGTH {
        return Err(wrong(format!("a template expression is longer than {LENGTH} characters")));
    }
    let mut parser = Parser { tokens: tokens(expression)?, at: 0, names, nesting: 0 };
    let outcome = parser.expression()?;
    match parser.tokens.get(parser.at) {
        Some(token) => Err(refused(&token.shown())),
        None => as_text(&outcome?),
    }
}

/// The position behind the `}}` that ends the expression at the start of `text`. A `}}` in quotes does not.
pub fn end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match quote {
            Some(_) if character == '\\' => drop(characters.next()),
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None if text.get(at..)?.starts_with("}}") => return Some(at + 2),
            None => {}
        }
    }
    None
}

fn as_text(value: &Value) -> Result<String> {
    match value {
        Value::Null => Err(wrong("the value of a template expression is empty (None)")),
        Value::Array(_) => {
            Err(wrong("the value of a template expression is a list").help("choose an item: [0]"))
        }
        Value::Object(_) if written_otherwise(value).is_none() => {
            Err(wrong("the value of a template expression is a mapping").help("name one of its keys"))
        }
        value => python_text(value).ok_or_else(|| {
            wrong("the value of a template expression is a date or a number that has no one text")
                .help("put it in quotes in the metadata")
        }),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(i64),
    Sign(char),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) => named("the word", name),
            Self::Text(_) => "a text".to_owned(),
            Self::Number(_) => "a number".to_owned(),
            Self::Sign(sign) => format!("the sign {sign}"),
        }
    }
}

fn refused(what: &str) -> Failure {
    wrong(format!("a template expression has {what} in a place where it is not supported")).help(KNOWN)
}

/// Words are shown if they are of the language, because any other may be a part of a token.
fn named(what: &str, word: &str) -> String {
    let word = if WORDS.contains(&word) { word } else { "(hidden)" };
    format!("{what} {word}")
}

/// Names of variables are shown, but not if they look like a token.
fn cleaned(name: &str) -> String {
    let mut redactor = Redactor::default();
    redactor.scan(name);
    redactor.clean(name)
}

fn tokens(expression: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = expression.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        tokens.push(match character {
            ' ' | '\t' | '\n' | '\r' => continue,
            '"' | '\'' => Token::Text(quoted(&mut rest, character)?),
            '0'..='9' => {
                let digits = word(expression, at, &mut rest, |next| next.is_ascii_digit());
                Token::Number(digits.parse().map_err(|_| refused("a number that is too large"))?)
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                let is_part = |next: char| next.is_ascii_alphanumeric() || next == '_';
                Token::Name(word(expression, at, &mut rest, is_part).to_owned())
            }
            '.' | '[' | ']' | '(' | ')' | ',' | '|' | '=' | '-' => Token::Sign(character),
            sign if sign.is_ascii_graphic() => return Err(refused(&format!("the sign {sign}"))),
            _ => return Err(refused("a character")),
        });
    }
    Ok(tokens)
}

fn word<'t>(
    text: &'t str,
    start: usize,
    rest: &mut Peekable<CharIndices>,
    is_part: impl Fn(char) -> bool,
) -> &'t str {
    let mut end = start + 1;
    while let Some((at, character)) = rest.next_if(|(_, character)| is_part(*character)) {
        end = at + character.len_utf8();
    }
    text.get(start..end).unwrap_or_default()
}

fn quoted(rest: &mut Peekable<CharIndices>, quote: char) -> Result<String> {
    let mut text = String::new();
    while let Some((_, character)) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, escaped @ ('\\' | '"' | '\''))) => text.push(escaped),
                _ => return Err(refused("an escape in a text")),
            },
            end if end == quote => return Ok(text),
            other => text.push(other),
        }
    }
    Err(refused("a text without an end"))
}

/// A value, or the reason why there is none. The filter `default` accepts both.
type Outcome = std::result::Result<Value, Failure>;

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    names: &'a Names<'a>,
    nesting: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.tokens.get(self.at + ahead) == Some(&Token::Sign(sign))
    }

    fn accept(&mut self, sign: char) -> bool {
        let is_there = self.is_sign(0, sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: char) -> Result<()> {
        if self.accept(sign) { Ok(()) } else { Err(self.refuse()) }
    }

    /// The error for the next token.
    fn refuse(&self) -> Failure {
        self.tokens
            .get(self.at)
            .map_or_else(|| refused("nothing"), |token| refused(&token.shown()))
    }

    fn expression(&mut self) -> Result<Outcome> {
        self.nesting += 1;
        if self.nesting > NESTING {
            return Err(wrong("a template expression is nested too deeply"));
        }
        let mut outcome = self.operand()?;
        while self.accept('|') {
            let Some(Token::Name(name)) = self.next() else { return Err(refused("no name behind |")) };
            let arguments = if self.accept('(') { self.arguments()? } else { Arguments::default() };
            outcome = filter(&name, outcome, &arguments)?;
        }
        self.nesting -= 1;
        Ok(outcome)
    }

    /// A value with everything behind it that belongs to it.
    fn operand(&mut self) -> Result<Outcome> {
        let mut outcome = self.primary()?;
        loop {
            outcome = if self.is_sign(0, '.') && self.is_sign(2, '(') {
                self.at += 1;
                let Some(Token::Name(name)) = self.next() else { return Err(self.refuse()) };
                self.at += 1;
                let arguments = self.arguments()?;
                Ok(call(&name, outcome?, &arguments)?)
            } else {
                let steps = self.steps()?;
                if steps.is_empty() {
                    return Ok(outcome);
                }
                found(walk(&outcome?, &steps), "it", &steps)?
            };
        }
    }

    fn primary(&mut self) -> Result<Outcome> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Ok(Value::String(text))),
            Some(Token::Number(number)) => Ok(Ok(Value::from(number))),
            Some(Token::Sign('(')) => {
                let outcome = self.expression()?;
                self.expect(')')?;
                Ok(outcome)
            }
            Some(Token::Name(name)) if !self.is_sign(0, '(') => match name.as_str() {
                "true" | "True" => Ok(Ok(Value::Bool(true))),
                "false" | "False" => Ok(Ok(Value::Bool(false))),
                "none" | "None" => Ok(Ok(Value::Null)),
                _ => {
                    let steps = self.steps()?;
                    found((self.names)(&name, &steps)?, &name, &steps)
                }
            },
            Some(Token::Name(name)) => Err(refused(&named("a call of", &name))),
            Some(token) => Err(refused(&token.shown())),
            None => Err(refused("nothing")),
        }
    }

    /// `.key`, `["key"]`, `[0]`, as many as there are, up to a call.
    fn steps(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.is_sign(0, '.') && !self.is_sign(2, '(') {
                self.at += 1;
                steps.push(match self.next() {
                    Some(Token::Name(name)) => Step::Attribute(name),
                    Some(Token::Number(number)) => Step::Index(number),
                    Some(token) => return Err(refused(&token.shown())),
                    None => return Err(refused("nothing behind a dot")),
                });
            } else if self.accept('[') {
                steps.push(self.bracketed()?);
                self.expect(']')?;
            } else {
                return Ok(steps);
            }
        }
    }

    /// `"key"`, `0`, `-1`, or an expression that gives a key or a position.
    fn bracketed(&mut self) -> Result<Step> {
        if self.accept('-') {
            let Some(Token::Number(number)) = self.next() else { return Err(refused("no number behind -")) };
            return Ok(Step::Index(-number));
        }
        match self.expression()?? {
            Value::String(key) => Ok(Step::Item(key)),
            Value::Number(number) => {
                number.as_i64().map(Step::Index).ok_or_else(|| refused("a number that is no position"))
            }
            _ => Err(refused("neither a key nor a position in brackets")),
        }
    }

    fn arguments(&mut self) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        while !self.accept(')') {
            if !arguments.values.is_empty() {
                self.expect(',')?;
            }
            if self.is_sign(1, '=') && self.tokens.get(self.at) == Some(&Token::Name("boolean".to_owned())) {
                self.at += 2;
            }
            if arguments.values.len() == ARGUMENTS {
                return Err(refused("more arguments than any call has"));
            }
            let value = self.expression()?;
            arguments.values.push(value);
        }
        Ok(arguments)
    }
}

#[derive(Default)]
struct Arguments {
    values: Vec<Outcome>,
}

impl Arguments {
    /// The texts, if these are texts and as many as `count`.
    fn texts<const COUNT: usize>(&self, name: &str) -> Result<[&str; COUNT]> {
        let texts: Option<Vec<&str>> =
            self.values.iter().map(|value| value.as_ref().ok()?.as_str()).collect();
        let texts = texts.and_then(|texts| <[&str; COUNT]>::try_from(texts).ok());
        texts.ok_or_else(|| refused(&format!("{name} with other arguments")))
    }
}

/// The value that was found, or why there is none. jinja knows no keys of what does not exist itself.
fn found(found: Found, root: &str, steps: &[Step]) -> Result<Outcome> {
    match found {
        Found::Value(value) => Ok(Ok(value)),
        Found::Missing { is_last, known } => {
            let failure = missing(root, steps, &known);
            if is_last { Ok(Err(failure)) } else { Err(failure) }
        }
    }
}

fn missing(root: &str, steps: &[Step], known: &[String]) -> Failure {
    let mut name = root.to_owned();
    for step in steps {
        let _ = match step {
            Step::Attribute(key) | Step::Item(key) => write!(name, ".{key}"),
            Step::Index(index) if index.abs() <= POSITION => write!(name, "[{index}]"),
            Step::Index(_) => write!(name, "[…]"),
        };
    }
    let last = match steps.last() {
        Some(Step::Attribute(key) | Step::Item(key)) => key,
        _ => root,
    };
    let near = suggest::did_you_mean(last, known.iter().map(String::as_str));
    let others =
        if near.is_empty() && !known.is_empty() { format!("; there are {}", known.join(", ")) } else { near };
    wrong(cleaned(&format!(
        "the template variable {name} has no value on this machine: its platform does not name it{others}"
    )))
    .help("| default(\"…\") behind it gives another value where there is none")
}

fn call(name: &str, value: Value, arguments: &Arguments) -> Result<Value> {
    let Value::String(text) = &value else {
        return Err(refused(&format!("{} on something that is no text", named("a call of", name))));
    };
    match name {
        "split" => split(text, &arguments.values),
        "lower" | "upper" | "strip" => {
            arguments.texts::<0>(name)?;
            Ok(Value::from(match name {
                "lower" => text.to_lowercase(),
                "upper" => text.to_uppercase(),
                _ => text.trim().to_owned(),
            }))
        }
        "replace" => replaced(text, arguments.texts(name)?),
        _ => Err(refused(&named("a call of", name))),
    }
}

/// Python's `split`: at a text or at blanks, at most so many times.
fn split(text: &str, arguments: &[Outcome]) -> Result<Value> {
    let parts: Vec<&str> = match arguments {
        [] => text.split_whitespace().collect(),
        [Ok(Value::String(at))] if !at.is_empty() => text.split(at.as_str()).collect(),
        [Ok(Value::String(at)), Ok(Value::Number(most))] if !at.is_empty() => {
            let most = most.as_u64().and_then(|most| usize::try_from(most).ok());
            let most = most.ok_or_else(|| refused("split with other arguments"))?;
            text.splitn(most.saturating_add(1), at.as_str()).collect()
        }
        _ => return Err(refused("split with other arguments")),
    };
    Ok(Value::from(parts))
}

fn replaced(text: &str, [from, to]: [&str; 2]) -> Result<Value> {
    let length = text.len() + text.matches(from).count() * to.len();
    if length > VALUE {
        return Err(wrong("the value of a template expression is too long"));
    }
    Ok(Value::from(text.replace(from, to)))
}

fn filter(name: &str, outcome: Outcome, arguments: &Arguments) -> Result<Outcome> {
    if matches!(name, "default" | "d") {
        return default(outcome, &arguments.values);
    }
    let value = outcome?;
    let is_bare = arguments.values.is_empty();
    let item = |at: i64| found(walk(&value, &[Step::Index(at)]), "it", &[Step::Index(at)]);
    match name {
        "first" if is_bare => item(0),
        "last" if is_bare => item(-1),
        "lower" | "upper" => Ok(Ok(call(name, Value::String(as_text(&value)?), arguments)?)),
        "trim" if is_bare => Ok(Ok(call("strip", Value::String(as_text(&value)?), arguments)?)),
        "replace" => Ok(Ok(replaced(&as_text(&value)?, arguments.texts(name)?)?)),
        _ => Err(refused(&named("the filter", name))),
    }
}

/// The first argument where there is no value; with `true` behind it, also where the value is empty.
fn default(outcome: Outcome, arguments: &[Outcome]) -> Result<Outcome> {
    let (other, counts_empty) = match arguments {
        [] => (Ok(Value::from("")), false),
        [other] => (other.clone(), false),
        [other, Ok(Value::Bool(counts_empty))] => (other.clone(), *counts_empty),
        _ => return Err(refused("default with other arguments")),
    };
    Ok(match outcome {
        Ok(value) if !counts_empty || !is_empty(&value) => Ok(value),
        _ => other,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
