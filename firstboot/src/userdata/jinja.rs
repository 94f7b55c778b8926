//! `## template: jinja`: fills in [expressions](super::expression) with cloud-init's instance data, and runs
//! nothing else of the language. An expression without a value leaves a mark; only text that uses the mark
//! fails.

use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, append, wrong};
use super::expression::{self, Names};
use crate::error::{Failure, Result};

/// Encloses the number of an expression without a value. It is a private-use character, so normal text does
/// not contain it.
pub(super) const MARK: char = '\u{e0f1}';
/// The limit of expressions without a value.
const MISSING: usize = 256;
/// The most characters of a statement's name that are shown.
const SHOWN: usize = 12;
/// The size limit of a value.
const VALUE: usize = 4096;

/// A template after its variables are replaced.
pub struct Rendered {
    /// The text, without the first line of the template.
    pub text: Bytes,
    /// The error of each expression without a value, by the number in its mark.
    pub missing: Vec<Failure>,
}

/// Replaces the expressions of `template` by their values.
pub fn render(template: &str, names: &Names, budget: &Budget) -> Result<Rendered> {
    if template.contains(MARK) {
        return Err(wrong("the template holds the character U+E0F1, which has a meaning here"));
    }
    let body = template.split_once('\n').map_or("", |(_, body)| body);
    budget.take(body.len())?;
    let mut renderer = Renderer {
        names,
        budget,
        text: Zeroizing::new(Vec::with_capacity(body.len() * 2)),
        missing: Vec::new(),
        line: 2,
    };
    renderer.all(body)?;
    Ok(Rendered { text: renderer.text, missing: renderer.missing })
}

impl Rendered {
    /// Lets the numbers of marks begin at `first`, because a template before this one has lower ones.
    pub fn number_from(&mut self, first: usize) {
        let mut text = Bytes::default();
        let Ok(rendered) = std::str::from_utf8(&self.text).map(|text| text.split(MARK)) else { return };
        for (position, piece) in rendered.enumerate() {
            if position > 0 {
                append(&mut text, MARK.to_string().as_bytes());
            }
            match piece.parse::<usize>() {
                Ok(number) if position % 2 == 1 => append(&mut text, (number + first).to_string().as_bytes()),
                _ => append(&mut text, piece.as_bytes()),
            }
        }
        self.text = text;
    }
}

/// Fails if `text` contains the mark of an expression without a value.
pub fn check(text: &[u8], missing: &[Failure]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mark = MARK.to_string().into_bytes();
    let Some(start) = text.windows(mark.len()).position(|window| window == mark) else { return Ok(()) };
    let number = text
        .get(start + mark.len()..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let number = number
        .fold(0_usize, |number, digit| number.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    Err(missing
        .get(number)
        .cloned()
        .unwrap_or_else(|| wrong("a template expression has no value")))
}

struct Renderer<'a> {
    names: &'a Names<'a>,
    budget: &'a Budget,
    text: Bytes,
    missing: Vec<Failure>,
    line: usize,
}

impl Renderer<'_> {
    fn all(&mut self, body: &str) -> Result<()> {
        let mut rest = body;
        while let Some(at) = rest.find('{').filter(|at| at + 1 < rest.len()) {
            let (before, tag) = rest.split_at(at);
            append(&mut self.text, before.as_bytes());
            self.line += lines(before);
            let behind = match tag.as_bytes().get(1) {
                Some(b'{') => self.expression(tag)?,
                Some(b'%') => self.raw(tag)?,
                Some(b'#') => without_line_break(self.inside(tag, "#}")?.1),
                _ => {
                    append(&mut self.text, b"{");
                    tag.get(1..).unwrap_or_default()
                }
            };
            self.line += lines(tag.get(..tag.len() - behind.len()).unwrap_or_default());
            rest = behind;
        }
        append(&mut self.text, rest.as_bytes());
        Ok(())
    }

    /// The content of a tag, and the rest of the text.
    fn inside<'t>(&self, tag: &'t str, end: &str) -> Result<(&'t str, &'t str)> {
        let inside = tag.get(2..).and_then(|tag| tag.split_once(end));
        inside.ok_or_else(|| wrong(format!("line {}: a template tag is not closed", self.line)))
    }

    fn expression<'t>(&mut self, tag: &'t str) -> Result<&'t str> {
        let rest = tag.get(2..).unwrap_or_default();
        let length = expression::end(rest)
            .ok_or_else(|| wrong(format!("line {}: a template tag is not closed", self.line)))?;
        let (inside, mut behind) = rest.split_at(length);
        let inside = inside.strip_suffix("}}").unwrap_or(inside);
        let mut expression = inside;
        if let Some(inner) = expression.strip_prefix('-') {
            expression = inner;
            let kept = self.text.trim_ascii_end().len();
            self.text.truncate(kept);
        }
        if let Some(inner) = expression.strip_suffix('-') {
            expression = inner;
            behind = behind.trim_start();
        }
        match self.value(expression) {
            Ok(value) => {
                self.budget.take(value.len())?;
                append(&mut self.text, value.as_bytes());
            }
            Err(failure) if self.missing.len() < MISSING => {
                append(&mut self.text, format!("{MARK}{}{MARK}", self.missing.len()).as_bytes());
                self.missing.push(failure);
            }
            Err(failure) => return Err(failure),
        }
        Ok(behind)
    }

    fn value(&self, expression: &str) -> Result<String> {
        let value = expression::evaluate(expression, self.names)
            .map_err(|failure| failure.doing(format!("line {}", self.line)))?;
        if value.len() > VALUE || !is_plain(&value) {
            let message = format!(
                "line {}: the value of a template expression would change the document around it",
                self.line
            );
            return Err(wrong(message).help(
                "a value has letters, digits and -._~:/@+=() alone, as an argument has, and single blanks",
            ));
        }
        Ok(value)
    }

    /// The content of `{% raw %}…{% endraw %}` stays as it is. Any other statement would have to be run, so
    /// it is an error.
    fn raw<'t>(&mut self, tag: &'t str) -> Result<&'t str> {
        let (statement, behind) = self.inside(tag, "%}")?;
        let word = |statement: &str| statement.trim_matches('-').trim().to_owned();
        if word(statement) != "raw" {
            let name: String =
                word(statement).chars().take_while(char::is_ascii_lowercase).take(SHOWN).collect();
            let message = format!(
                "line {}: the template has the statement {name:?}, and statements are not run",
                self.line
            );
            return Err(wrong(message)
                .help("only expressions such as {{ ds.meta_data.local_hostname }} are filled in"));
        }
        let mut end = behind;
        while let Some((_, tag)) = end.split_once("{%") {
            let Some((statement, rest)) = tag.split_once("%}") else { break };
            if word(statement) == "endraw" {
                let length = behind.len() - rest.len() - statement.len() - "{%%}".len();
                append(&mut self.text, behind.get(..length).unwrap_or_default().as_bytes());
                return Ok(without_line_break(rest));
            }
            end = tag;
        }
        Err(wrong(format!("line {}: a raw block of the template is not closed", self.line)))
    }
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// cloud-init has jinja drop the line break behind a comment or a statement.
fn without_line_break(text: &str) -> &str {
    text.strip_prefix('\n').unwrap_or(text)
}

/// Whether the value has the same meaning in YAML, with or without quotes, in a shell and in the kubelet's
/// lists: it may end as an argument, and nobody signs facts. A blank may stand in front of a letter or a
/// digit: the words behind it are no flags.
fn is_plain(value: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-._~:/@+=()".contains(letter);
    let is_word = |word: &str| word.starts_with(char::is_alphanumeric) && !word.ends_with(':');
    let (first, rest) = value.split_once(' ').map_or((value, None), |(first, rest)| (first, Some(rest)));
    rest.is_none_or(|rest| is_word(first) && rest.split(' ').all(is_word))
        && value.chars().all(|letter| is_plain(letter) || letter == ' ')
        && !value.ends_with(':')
        && !value.starts_with(['-', '@', '=', '(', '~', ':'])
}

#[cfg(test)]
#[path = "jinja_tests.rs"]
mod tests;
