//! A first look at a unit file (systemd.syntax(7)), which needs no systemd.

use super::{Finding, place::UNITS};
use crate::definition::plan::FilePlan;
use crate::tree::units;

/// Kinds of units by the ending of their names, with the section that is theirs alone (systemd.unit(5)).
const KINDS: [(&str, Option<&str>); 10] = [
    (".automount", Some("Automount")),
    (".mount", Some("Mount")),
    (".path", Some("Path")),
    (".scope", Some("Scope")),
    (".service", Some("Service")),
    (".slice", Some("Slice")),
    (".socket", Some("Socket")),
    (".swap", Some("Swap")),
    (".target", None),
    (".timer", Some("Timer")),
];

/// Sections of every unit.
const COMMON: [&str; 2] = ["Unit", "Install"];

/// Words that a shell would understand. systemd runs none.
const SHELL: [&str; 6] = ["|", "||", "&&", ">", ">>", "<"];

/// The kind of the unit with this name: its ending, and its section.
pub fn kind(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    KINDS.into_iter().find(|(ending, _)| name.len() > ending.len() && name.ends_with(ending))
}

/// The name of the unit at `path`.
pub fn name(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    (UNITS.contains(&folder) && kind(name).is_some()).then_some(name)
}

/// The name of the unit that the drop-in at `path` changes.
fn changed(path: &str) -> Option<&str> {
    let (folder, file) = path.rsplit_once('/')?;
    let (folder, unit) = folder.strip_suffix(".d")?.rsplit_once('/')?;
    (UNITS.contains(&folder) && file.ends_with(".conf")).then_some(unit)
}

/// Whether `path` is that of a unit or of a drop-in for one.
pub fn is_one(path: &str) -> bool {
    name(path).or_else(|| changed(path)).is_some()
}

/// Whether the unit says by whom it wants to be started.
pub fn can_be_enabled(file: &FilePlan) -> bool {
    let text = String::from_utf8_lossy(&file.content);
    units::can_be_enabled(&text)
}

/// Everything that is wrong with the unit file at `path`.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let own = name(path);
    let (ending, section) = kind(own.or_else(|| changed(path)).unwrap_or_default()).unwrap_or(("", None));
    let (unit, mut findings) = Unit::read(text);
    for (number, name) in &unit.sections {
        let known = COMMON.contains(name) || section == Some(*name) || name.starts_with("X-");
        // A drop-in for all units of a kind: service.d.
        if !known && !ending.is_empty() {
            let valid: Vec<&str> = COMMON.into_iter().chain(section).collect();
            let help = format!("valid in a {ending}: [{}]", valid.join("], ["));
            findings.push((format!("line {number}: systemd knows no section [{name}] there"), help));
        }
    }
    for Assignment { number, section, key, value } in &unit.assignments {
        let bare = without_quoted(value);
        let word = bare.split_whitespace().find(|word| SHELL.contains(word));
        if let Some(word) = word.filter(|_| *section == "Service" && key.starts_with("Exec")) {
            let message =
                format!("line {number}: \"{word}\" in {key} is an argument, because systemd runs no shell");
            findings.push((message, "run a script of the layer, or /bin/sh -c '…'".to_owned()));
        }
    }
    let has = |wanted: &[&str]| unit.assignments.iter().any(|it| wanted.contains(&it.key));
    if own.is_some() && ending == ".service" && !has(&["ExecStart", "ExecStop", "SuccessAction"]) {
        findings.push(("it starts no program".to_owned(), "add ExecStart= to [Service]".to_owned()));
    }
    findings
}

/// A command line without what stands in quotes (systemd.syntax(7), "QUOTING").
fn without_quoted(line: &str) -> String {
    let (mut open, mut bare) = (None, String::new());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match open {
            _ if character == '\\' => drop(characters.next()),
            Some(quote) if quote == character => open = None,
            Some(_) => {}
            None if matches!(character, '"' | '\'') => open = Some(character),
            None => bare.push(character),
        }
    }
    bare
}

struct Assignment<'a> {
    number: usize,
    section: &'a str,
    key: &'a str,
    value: String,
}

#[derive(Default)]
struct Unit<'a> {
    sections: Vec<(usize, &'a str)>,
    assignments: Vec<Assignment<'a>>,
}

impl<'a> Unit<'a> {
    /// Its sections and assignments, and the lines that are neither.
    fn read(text: &'a str) -> (Self, Vec<Finding>) {
        let (mut unit, mut findings) = (Self::default(), Vec::new());
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        while let Some((number, line)) = lines.next() {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                unit.sections.push((number, name));
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                let help = "write [Section], Key=value, or # in front of a comment";
                findings.push((format!("line {number}, \"{line}\", is no assignment"), help.to_owned()));
                continue;
            };
            let mut value = value.trim().to_owned();
            while value.ends_with('\\') {
                value.pop();
                value.push(' ');
                value.push_str(lines.next().map_or("", |(_, next)| next));
            }
            let key = key.trim();
            match unit.sections.last() {
                Some((_, section)) => unit.assignments.push(Assignment { number, section, key, value }),
                None => findings.push((
                    format!("line {number}: {key} stands before the first section, where nothing reads it"),
                    "move it below [Unit], [Service] or another section".to_owned(),
                )),
            }
        }
        (unit, findings)
    }
}
