//! `## template: jinja`: replaces cloud-init's instance variables
//! (<https://cloudinit.readthedocs.io/en/latest/explanation/instancedata.html>), and supports nothing else of
//! the language. An expression without a value leaves a mark; only text that uses the mark fails.

use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, append, wrong};
use crate::config::redact::Redactor;
use crate::error::{Failure, Result};

/// Encloses the number of an expression without a value. It is a private-use character, so normal text does
/// not contain it.
pub(super) const MARK: char = '\u{e0f1}';
/// The limit of expressions without a value.
const MISSING: usize = 256;
/// The length limit of a variable's name.
const NAME: usize = 200;
/// The size limit of a value.
const VALUE: usize = 4096;

/// A template after its variables are replaced.
pub struct Rendered {
    /// The text, without the first line of the template.
    pub text: Bytes,
    /// The error of each expression without a value, by the number in its mark.
    pub missing: Vec<Failure>,
}

/// Replaces the variables of `template`. `lookup` returns them by names such as
/// `ds.meta_data.local_hostname`.
pub fn render(template: &str, lookup: &dyn Fn(&str) -> Option<String>, budget: &Budget) -> Result<Rendered> {
    if template.contains(MARK) {
        return Err(wrong("the template holds the character U+E0F1, which has a meaning here"));
    }
    let body = template.split_once('\n').map_or("", |(_, body)| body);
    budget.take(body.len())?;
    let mut renderer = Renderer {
        lookup,
        budget,
        text: Zeroizing::new(Vec::with_capacity(body.len() * 2)),
        missing: Vec::new(),
        line: 2,
    };
    renderer.all(body)?;
    Ok(Rendered { text: renderer.text, missing: renderer.missing })
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
    lookup: &'a dyn Fn(&str) -> Option<String>,
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
                Some(b'#') => self.inside(tag, "#}")?.1,
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
        let (inside, mut behind) = self.inside(tag, "}}")?;
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
        let line = self.line;
        let name = name(expression.trim()).ok_or_else(|| {
            wrong(format!("line {line}: a template expression is more than the name of a variable"))
                .help("variables such as {{ ds.meta_data.local_hostname }} are filled in; filters, calls and arithmetic are not")
        })?;
        let mut redactor = Redactor::default();
        redactor.scan(&name);
        let shown = redactor.clean(&name);
        let value = (self.lookup)(&name).ok_or_else(|| {
            wrong(format!("line {line}: the template variable {shown} has no value on this machine"))
                .help("firstboot explain shows the facts that are known here")
        })?;
        if value.len() > VALUE || !is_plain(&value) {
            let message = format!(
                "line {line}: the value of the template variable {shown} would change the document around it"
            );
            return Err(wrong(message));
        }
        Ok(value)
    }

    /// The content of `{% raw %}…{% endraw %}` stays as it is. Any other statement would have to be run, so
    /// it is an error.
    fn raw<'t>(&mut self, tag: &'t str) -> Result<&'t str> {
        let (statement, behind) = self.inside(tag, "%}")?;
        let word = |statement: &str| statement.trim_matches('-').trim().to_owned();
        if word(statement) != "raw" {
            let message =
                format!("line {}: the template has a statement, and statements are not run", self.line);
            return Err(
                wrong(message).help("only variables such as {{ ds.meta_data.local_hostname }} are filled in")
            );
        }
        let mut end = behind;
        while let Some((_, tag)) = end.split_once("{%") {
            let Some((statement, rest)) = tag.split_once("%}") else { break };
            if word(statement) == "endraw" {
                let length = behind.len() - rest.len() - statement.len() - "{%%}".len();
                append(&mut self.text, behind.get(..length).unwrap_or_default().as_bytes());
                return Ok(rest);
            }
            end = tag;
        }
        Err(wrong(format!("line {}: a raw block of the template is not closed", self.line)))
    }
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// `ds.meta_data["local-hostname"]` → `ds.meta_data.local-hostname`; `None` if it is more than a name.
fn name(expression: &str) -> Option<String> {
    if expression.len() > NAME {
        return None;
    }
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let length =
        |text: &str| text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (first, mut rest) = expression.split_at(length(expression));
    if !first.starts_with(|character: char| character.is_ascii_alphabetic() || character == '_') {
        return None;
    }
    let mut name = first.to_owned();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('.') {
            Some(attribute) => attribute.split_at(length(attribute)),
            None => {
                let (key, behind) = rest.strip_prefix('[')?.split_once(']')?;
                let key = key.trim();
                let unquoted =
                    ['\'', '"'].iter().find_map(|quote| key.strip_prefix(*quote)?.strip_suffix(*quote));
                (unquoted.or_else(|| key.bytes().all(|byte| byte.is_ascii_digit()).then_some(key))?, behind)
            }
        };
        if !is_word(word) {
            return None;
        }
        name = format!("{name}.{word}");
        rest = behind;
    }
    Some(name)
}

/// Whether the value is a plain value in YAML, with or without quotes.
fn is_plain(value: &str) -> bool {
    let is_safe =
        |character: char| !character.is_control() && !"\"'\\{}#".contains(character) && character != MARK;
    value.chars().all(is_safe) && !value.contains(": ") && !value.ends_with(':') && value.trim() == value
}

#[cfg(test)]
#[path = "jinja_tests.rs"]
mod tests;
