//! Templates: text with variables such as `${name}`, each a fact of the machine.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{ErrorKind, Failure};
use contract::suggest;

/// Longest template.
const LONGEST: usize = 1024;
/// Characters of a name that are shown.
const SHOWN: usize = 40;

/// The variables that a template may use, each with its value on this machine if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Option<String>>);

impl Variables {
    /// Adds a variable.
    pub fn set(&mut self, name: &str, value: Option<String>) {
        self.0.insert(name.to_owned(), value.filter(|value| !value.is_empty()));
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }
}

/// Why a template has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// The template is malformed, or its value cannot be used.
    Text(String),
    /// No fact has such a name.
    Unknown(String),
    /// The fact of this name is not known of this machine.
    Missing(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Unknown(text) => formatter.write_str(text),
            Self::Missing(name) => write!(formatter, "the {name} of this machine is not known"),
        }
    }
}

impl TemplateError {
    /// The failure for a template that someone wrote at `path`.
    pub fn failure(&self, path: &str) -> Failure {
        let failure = Failure::new(ErrorKind::Config, format!("{path}: {self}"));
        if matches!(self, Self::Missing(_)) {
            failure.help("see firstboot explain for what is known, and by whom")
        } else {
            failure
        }
    }
}

/// Puts values in the place of variables.
pub fn expand(template: &str, variables: &Variables) -> Result<String, TemplateError> {
    parts(template)?.into_iter().try_fold(String::new(), |text, part| match part {
        Part::Text(plain) => Ok(text + plain),
        Part::Name(name) => Ok(text + value(name, variables)?),
    })
}

/// The errors of a template that do not depend on facts.
pub fn check(template: &str) -> Result<(), TemplateError> {
    parts(template).map(drop)
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn parts(template: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    if template.len() > LONGEST {
        return Err(TemplateError::Text(format!("the template is longer than {LONGEST} characters")));
    }
    let (mut parts, mut rest) = (Vec::new(), template);
    while let Some((front, back)) = rest.split_once("${") {
        let (name, behind) = back
            .split_once('}')
            .ok_or_else(|| TemplateError::Text("a name begins with ${ and does not end with }".to_owned()))?;
        parts.extend([Part::Text(front), Part::Name(name)]);
        rest = behind;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

fn value<'a>(name: &str, variables: &'a Variables) -> Result<&'a str, TemplateError> {
    match variables.0.get(name) {
        Some(Some(value)) => Ok(value),
        Some(None) => Err(TemplateError::Missing(name.to_owned())),
        None => {
            let known = || variables.0.keys().map(String::as_str);
            let meant = suggest::did_you_mean(name, known());
            let all = if meant.is_empty() {
                format!("; there are {}", known().collect::<Vec<_>>().join(", "))
            } else {
                meant
            };
            let shown: String = name.chars().take(SHOWN).filter(|letter| !letter.is_control()).collect();
            Err(TemplateError::Unknown(format!("no fact is called {shown:?}{all}")))
        }
    }
}
