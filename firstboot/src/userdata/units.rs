//! systemd's units in user data (systemd.unit(5), systemd.service(5)): which of them are started, and what
//! they run, as a script for the shell. Nothing is run.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::bounds::wrong;
use super::commands::Command;
use super::files::ExtraFile;
use super::mentions::names_a_join;
use super::prefixes;
use super::shell::{self, Word};
use crate::error::Result;

/// Folders of units.
const FOLDERS: &[&str] = &[
    "/etc/systemd/system/",
    "/run/systemd/system/",
    "/usr/local/lib/systemd/system/",
    "/usr/lib/systemd/system/",
    "/lib/systemd/system/",
];
/// Settings that run commands, in the order of their commands.
const STEPS: &[&str] = &["ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost"];
/// Settings that name units which are started with this one.
const STARTING: &[&str] = &["Wants", "Requires", "Requisite", "BindsTo", "Upholds"];
/// Kinds of units that start another one, which has their name unless they say which.
const TRIGGERS: &[&str] = &[".timer", ".path", ".socket"];
/// Subcommands of systemctl that start units, and those that do with `--now`.
const STARTS: &[&str] = &["start", "restart", "reload-or-restart"];
const ENABLES: &[&str] = &["enable", "reenable"];

/// What specifiers stand for that are the same in every unit (systemd.unit(5), specifiers).
const SPECIFIERS: &[(char, &str)] = &[
    ('t', "/run"),
    ('S', "/var/lib"),
    ('C', "/var/cache"),
    ('L', "/var/log"),
    ('E', "/etc"),
    ('T', "/tmp"),
    ('V', "/var/tmp"),
    ('h', "/root"),
    ('u', "root"),
    ('U', "0"),
];

/// The most texts of units. An operating system has fewer.
const MOST: usize = 256;
/// Longer names of units are not filled in.
const LONGEST_NAME: usize = 64;

type Secret = Zeroizing<String>;

/// One text of a unit.
struct Text {
    unit: String,
    /// The name of the drop-in; `None` for the unit itself.
    drop_in: Option<String>,
    text: Secret,
}

/// The units of user data.
#[derive(Default)]
pub struct Units {
    texts: Vec<Text>,
    /// The names of those that are started without a command, in order.
    pub started: Vec<String>,
    /// The names of all that are started, also of missing ones.
    known: HashSet<String>,
}

impl Units {
    /// Adds a unit's text, or one of its drop-ins.
    pub fn add(&mut self, unit: &str, drop_in: Option<&str>, text: &str) -> Result<()> {
        if self.texts.len() == MOST {
            return Err(wrong(format!("there are more than {MOST} systemd units")));
        }
        let text = Zeroizing::new(text.to_owned());
        self.texts.push(Text { unit: unit.to_owned(), drop_in: drop_in.map(str::to_owned), text });
        Ok(())
    }

    /// Adds the units among the files.
    pub fn add_files<'f>(&mut self, files: impl Iterator<Item = &'f ExtraFile>) -> Result<()> {
        for file in files {
            let name = FOLDERS.iter().find_map(|folder| file.path.strip_prefix(folder));
            let (Some(name), Ok(text)) = (name, std::str::from_utf8(file.content.bytes())) else { continue };
            match name.split_once(".d/") {
                Some((unit, drop_in)) if drop_in.ends_with(".conf") => self.add(unit, Some(drop_in), text)?,
                None if !name.contains('/') => self.add(name, None, text)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a unit names a join that nothing starts.
    pub fn rest_names_a_join(&self) -> bool {
        let templates: HashSet<String> = self.known.iter().filter_map(|name| template(name)).collect();
        let is_started = |text: &&Text| self.known.contains(&text.unit) || templates.contains(&text.unit);
        self.texts
            .iter()
            .filter(|text| !is_started(text))
            .any(|text| names_a_join(text.text.as_bytes()))
    }

    /// The commands of units that name a join and that nothing starts.
    pub fn rest(&mut self) -> Vec<Command> {
        let names: Vec<String> = self.texts.iter().map(|text| text.unit.clone()).collect();
        let names_it =
            |command: &Command| matches!(command, Command::Script(text) if names_a_join(text.as_bytes()));
        self.scripts(names).into_iter().filter(names_it).collect()
    }

    /// The commands, with those of the units that are started: at first, or by one of the commands.
    pub fn in_order(&mut self, commands: Vec<Command>) -> Vec<Command> {
        let mut all = self.scripts(self.started.clone());
        for command in commands {
            let names = if self.texts.is_empty() { Vec::new() } else { started_by(&command) };
            all.push(command);
            all.extend(self.scripts(names));
        }
        all
    }

    fn scripts(&mut self, names: Vec<String>) -> Vec<Command> {
        ordered(self.with_others(names))
            .iter()
            .filter_map(Unit::script)
            .map(Command::Script)
            .collect()
    }

    /// The units of these names, and those that start with them, without those that are known already.
    fn with_others(&mut self, mut names: Vec<String>) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        let mut position = 0;
        while let Some(name) = names.get(position).cloned() {
            position += 1;
            if !self.known.insert(name.clone()) {
                continue;
            }
            if let Some(unit) = self.unit(name) {
                names.extend(unit.starts());
                units.push(unit);
            }
        }
        units
    }

    /// An instance has the text of its template, unless it has one of its own.
    fn unit(&self, name: String) -> Option<Unit> {
        let names = [Some(name.clone()), template(&name)];
        let whole = names
            .iter()
            .flatten()
            .find_map(|name| self.texts.iter().rfind(|text| text.unit == *name && text.drop_in.is_none()));
        let mut drop_ins: Vec<&Text> = self
            .texts
            .iter()
            .filter(|text| text.drop_in.is_some() && names.iter().flatten().any(|name| text.unit == *name))
            .collect();
        drop_ins.sort_by_key(|text| &text.drop_in);
        let texts: Vec<&Text> = whole.into_iter().chain(drop_ins).collect();
        let settings = texts.iter().flat_map(|text| settings(&text.text)).collect();
        (!texts.is_empty()).then(|| Unit::new(name, settings))
    }
}

/// `k@.service` of `k@a.service`
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

/// The settings of a unit's text, in order. A line that ends with a backslash goes on behind the comments
/// after it.
fn settings(text: &str) -> Vec<(String, Secret)> {
    let mut settings = Vec::new();
    let mut line = Secret::default();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    for part in lines.chain([""]) {
        match part.strip_suffix('\\') {
            Some(part) => {
                line.push_str(part);
                line.push(' ');
            }
            None => {
                line.push_str(part);
                let setting = line.split_once('=');
                settings.extend(
                    setting.map(|(name, value)| {
                        (name.trim().to_owned(), Zeroizing::new(value.trim().to_owned()))
                    }),
                );
                line = Secret::default();
            }
        }
    }
    settings
}

/// The units, each behind those that precede it. A circle is broken at its first unit.
fn ordered(mut units: Vec<Unit>) -> Vec<Unit> {
    let mut ordered = Vec::new();
    while !units.is_empty() {
        let is_free = |unit: &Unit| !units.iter().any(|other| other.precedes(unit));
        let next = units.iter().position(is_free).unwrap_or_default();
        ordered.push(units.remove(next));
    }
    ordered
}

/// The units that a command starts.
fn started_by(command: &Command) -> Vec<String> {
    match command {
        Command::Shell(text) | Command::Script(text) => {
            shell::read(text).commands.iter().flat_map(|command| systemctl(&command.words)).collect()
        }
        Command::Words(words) => systemctl(&words.iter().map(|word| Word::plain(word)).collect::<Vec<_>>()),
    }
}

/// The units that `systemctl start` or `systemctl enable --now` names.
fn systemctl(words: &[Word]) -> Vec<String> {
    let words: Vec<Secret> = prefixes::strip(words).iter().map(Word::text).collect();
    let is_systemctl =
        |word: &Secret| matches!(word.as_str(), "systemctl" | "/bin/systemctl" | "/usr/bin/systemctl");
    let Some((_, arguments)) = words.split_first().filter(|(program, _)| is_systemctl(program)) else {
        return Vec::new();
    };
    let is_now = arguments.iter().any(|word| word.as_str() == "--now");
    let mut names = arguments.iter().filter(|word| !word.starts_with('-')).map(|word| word.as_str());
    let starts = |verb: &&str| STARTS.contains(verb) || is_now && ENABLES.contains(verb);
    names.next().filter(starts).map_or_else(Vec::new, |_| names.map(whole_name).collect())
}

fn whole_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

/// A unit with its drop-ins.
struct Unit {
    name: String,
    settings: Vec<(String, Secret)>,
    before: HashSet<String>,
    after: HashSet<String>,
}

impl Unit {
    fn new(name: String, settings: Vec<(String, Secret)>) -> Self {
        let mut unit = Self { name, settings, before: HashSet::new(), after: HashSet::new() };
        unit.before = unit.names("Before").collect();
        unit.after = unit.names("After").collect();
        unit
    }

    /// The values of a list. An empty one removes those before it.
    fn values(&self, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.settings.iter().filter(|(setting, _)| setting == name) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.as_str());
            }
        }
        values
    }

    fn names(&self, setting: &str) -> impl Iterator<Item = String> {
        let values = self.values(setting).into_iter();
        values.flat_map(str::split_whitespace).map(str::to_owned)
    }

    /// The units that are started with it.
    fn starts(&self) -> Vec<String> {
        let mut names: Vec<String> = STARTING.iter().flat_map(|setting| self.names(setting)).collect();
        if let Some(name) = TRIGGERS.iter().find_map(|kind| self.name.strip_suffix(kind)) {
            let target = self.names("Unit").last();
            names.push(target.unwrap_or_else(|| format!("{name}.service")));
        }
        names
    }

    fn precedes(&self, other: &Self) -> bool {
        self.before.contains(&other.name) || other.after.contains(&self.name)
    }

    /// What it runs, for the shell; `None` if that is nothing.
    fn script(&self) -> Option<Secret> {
        let commands = STEPS.iter().flat_map(|step| self.values(step)).map(|command| self.command(command));
        let mut commands = commands.peekable();
        commands.peek()?;
        let environment = self.values("Environment").into_iter().flat_map(|value| self.words(value, false));
        let mut script = Secret::default();
        for line in environment.filter_map(|word| word.assignment()).chain(commands) {
            script.push_str(&line);
            script.push('\n');
        }
        Some(script)
    }

    /// A command for the shell.
    fn command(&self, command: &str) -> Secret {
        let rest = command.trim_start_matches(['-', '@', ':', '+', '!', '|']);
        let front = command.get(..command.len() - rest.len()).unwrap_or_default();
        let mut words = self.words(rest, !front.contains(':'));
        if front.contains('@') && words.len() > 1 {
            // The name under which the program sees itself.
            words.remove(1);
        }
        let mut line = Secret::default();
        for word in words {
            line.push_str(if word.text.as_str() == ";" { "\n" } else { word.quoted.as_str() });
            line.push(' ');
        }
        line
    }

    /// The words of a setting. `expands` says whether variables are replaced.
    fn words(&self, text: &str, expands: bool) -> Vec<UnitWord> {
        let mut words = Vec::new();
        let mut word: Option<UnitWord> = None;
        let mut quote = None;
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            if character.is_whitespace() && quote.is_none() {
                words.extend(word.take().map(UnitWord::closed));
                continue;
            }
            let is_first = word.is_none() && quote.is_none();
            let word = word.get_or_insert_default();
            match character {
                mark @ ('"' | '\'') if quote.is_none_or(|open| open == mark) => {
                    quote = if quote.is_none() { Some(mark) } else { None };
                }
                '\\' => word.push(rest.next().map_or('\\', unescaped)),
                '%' => self.specifier(rest.next(), word),
                '$' if expands && rest.next_if_eq(&'$').is_some() => word.push('$'),
                '$' if expands && rest.next_if_eq(&'{').is_some() => {
                    let name: String = rest.by_ref().take_while(|character| *character != '}').collect();
                    word.expand(&format!("${{{name}}}"));
                }
                // A variable without braces is one only as a word of its own.
                '$' if expands && is_first => {
                    let name: String =
                        std::iter::from_fn(|| rest.next_if(|next| !next.is_whitespace())).collect();
                    match prefixes::assignment(&format!("{name}=")) {
                        Some((name, _)) => word.expand(&format!("${{{name}}}")),
                        None => ["$", &name].iter().for_each(|text| word.push_all(text)),
                    }
                }
                character => word.push(character),
            }
        }
        words.extend(word.map(UnitWord::closed));
        words
    }

    fn specifier(&self, specifier: Option<char>, word: &mut UnitWord) {
        let (stem, _) = self.name.rsplit_once('.').unwrap_or((&self.name, ""));
        let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
        let is_short = self.name.len() <= LONGEST_NAME;
        match specifier {
            Some('%') => word.push('%'),
            Some('H') => word.expand("$(hostname)"),
            Some('l') => word.expand("$(hostname -s)"),
            Some('n') if is_short => word.push_all(&self.name),
            Some('N') if is_short => word.push_all(stem),
            Some('p') if is_short => word.push_all(prefix),
            // In `%I` a hyphen stands for a slash.
            Some('i') if is_short => word.push_all(instance),
            Some('I') if is_short && !instance.contains(['-', '\\']) => word.push_all(instance),
            other => match SPECIFIERS.iter().find(|(name, _)| Some(*name) == other) {
                Some((_, text)) => word.push_all(text),
                // Its value is not known: no command counts that has it.
                None => word.expand("$(systemd-specifier)"),
            },
        }
    }
}

fn unescaped(escaped: char) -> char {
    match escaped {
        'n' => '\n',
        't' => '\t',
        's' => ' ',
        other => other,
    }
}

/// A word of a setting.
#[derive(Default)]
struct UnitWord {
    /// Without what is expanded.
    text: Secret,
    /// As the shell would have to read it.
    quoted: Secret,
    is_open: bool,
}

impl UnitWord {
    fn push(&mut self, character: char) {
        if !self.is_open {
            self.quoted.push('\'');
            self.is_open = true;
        }
        match character {
            '\'' => self.quoted.push_str("'\\''"),
            character => self.quoted.push(character),
        }
        self.text.push(character);
    }

    fn push_all(&mut self, text: &str) {
        text.chars().for_each(|character| self.push(character));
    }

    fn expand(&mut self, source: &str) {
        self.close();
        self.quoted.push('"');
        self.quoted.push_str(source);
        self.quoted.push('"');
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.quoted.push('\'');
        }
    }

    fn closed(mut self) -> Self {
        self.close();
        if self.quoted.is_empty() {
            self.quoted.push_str("''");
        }
        self
    }

    /// `NAME='value'`, if it is an assignment.
    fn assignment(&self) -> Option<Secret> {
        let (name, _) = prefixes::assignment(&self.text)?;
        let value = self.quoted.strip_prefix('\'')?.strip_prefix(name)?.strip_prefix('=')?;
        Some(Zeroizing::new(format!("{name}='{value}")))
    }
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
