//! systemd's units in user data (systemd.unit(5), systemd.service(5)): which of them are started, and what
//! they run, as scripts for the shell. Nothing is run.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::bounds::wrong;
use super::mentions::names_a_join;
use super::prefixes;
use super::shell::Script;
use super::workspace::{Workspace, place};
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
/// Links that start a unit with another one.
const LINKS: &[&str] = &[".wants", ".requires"];
/// Units that every start of a machine starts.
const OF_BOOT: &[&str] = &[
    "basic.target",
    "default.target",
    "local-fs.target",
    "multi-user.target",
    "network-online.target",
    "network.target",
    "paths.target",
    "sockets.target",
    "sysinit.target",
    "timers.target",
];

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
    /// Pairs of units: the first one starts the second one.
    links: Vec<(String, String)>,
    /// Those that nothing can start.
    masked: HashSet<String>,
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

    /// Nothing can start this unit.
    pub fn mask(&mut self, unit: &str) {
        self.masked.insert(unit.to_owned());
    }

    /// A link on the machine before its start: `multi-user.target.wants/a.service` starts a unit, another
    /// name of one is the same unit, and one that leads to `/dev/null` cannot be started.
    pub fn link(&mut self, path: &str, target: &str) {
        let Some(name) = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder)) else { return };
        match name.split_once('/') {
            Some((folder, unit)) => {
                let by = LINKS.iter().find_map(|link| folder.strip_suffix(link));
                if let Some(by) = by.filter(|_| !unit.contains('/')) {
                    self.start_with(by, unit);
                    self.started.extend(OF_BOOT.contains(&by).then(|| unit.to_owned()));
                }
            }
            None if target == "/dev/null" => self.mask(name),
            None => self.start_with(name, target.rsplit('/').next().unwrap_or_default()),
        }
    }

    fn start_with(&mut self, by: &str, unit: &str) {
        if self.links.len() < MOST {
            self.links.push((by.to_owned(), unit.to_owned()));
        }
    }

    /// A command enables a unit: those start it that it names itself.
    pub fn enable(&mut self, name: &str, files: &Workspace) {
        let Some(unit) = self.unit(name.to_owned(), files, &[]) else { return };
        for by in ["WantedBy", "RequiredBy"].iter().flat_map(|setting| unit.names(setting)) {
            self.start_with(&by, name);
        }
    }

    /// Whether a unit names a join that nothing starts.
    pub fn rest_names_a_join(&self) -> bool {
        self.texts
            .iter()
            .any(|text| !self.is_started(&text.unit) && names_a_join(text.text.as_bytes()))
    }

    fn is_started(&self, name: &str) -> bool {
        self.known.contains(name) || self.known.iter().any(|known| template(known).as_deref() == Some(name))
    }

    /// The commands of units that name a join and that nothing starts.
    pub fn rest(&self, files: &Workspace) -> Vec<Script> {
        let of_files = files.files().filter_map(|file| unit_of(&file.path));
        let names = self.texts.iter().map(|text| text.unit.as_str()).chain(of_files);
        let drop_ins = drop_ins(files);
        let mut seen = HashSet::new();
        names
            .filter(|name| seen.insert(*name) && !self.is_started(name))
            .filter_map(|name| self.unit(name.to_owned(), files, &drop_ins))
            .map(|unit| unit.script(files))
            .filter(|script| names_a_join(script.as_bytes()))
            .collect()
    }

    /// The units that are started by these names, in their order. `files` has the units among the files.
    pub fn start(&mut self, names: Vec<String>, files: &Workspace) -> Vec<Unit> {
        ordered(self.with_others(names, files))
    }

    /// The units of these names, and those that start with them, without those that are known already.
    fn with_others(&mut self, mut names: Vec<String>, files: &Workspace) -> Vec<Unit> {
        let drop_ins = drop_ins(files);
        let mut units: Vec<Unit> = Vec::new();
        let mut position = 0;
        while let Some(name) = names.get(position).cloned() {
            position += 1;
            if self.masked.contains(&name) || self.known.contains(&name) {
                continue;
            }
            let linked = self.links.iter().filter(|(by, _)| *by == name);
            names.extend(linked.map(|(_, unit)| unit.clone()));
            if let Some(unit) = self.unit(name.clone(), files, &drop_ins) {
                names.extend(unit.starts());
                units.push(unit);
            }
            self.known.insert(name);
        }
        units
    }

    /// A unit with its drop-ins. An instance has the text of its template, unless it has one of its own.
    fn unit(&self, name: String, files: &Workspace, drop_ins: &[DropIn]) -> Option<Unit> {
        let names = [Some(name.clone()), template(&name)];
        let names = || names.iter().flatten();
        let whole = names().find_map(|name| self.text(name, files));
        let own = self
            .texts
            .iter()
            .filter_map(|text| Some((&text.unit, text.drop_in.as_ref()?, &text.text)));
        let of_files = drop_ins.iter().map(|drop_in| (&drop_in.unit, &drop_in.name, &drop_in.text));
        let mut drop_ins: Vec<_> =
            own.chain(of_files).filter(|(unit, ..)| names().any(|name| name == *unit)).collect();
        drop_ins.sort_by_key(|(_, name, _)| *name);
        let texts = whole.iter().chain(drop_ins.into_iter().map(|(.., text)| text));
        let mut texts = texts.peekable();
        texts.peek()?;
        Some(Unit::new(name, texts.flat_map(|text| settings(text)).collect()))
    }

    /// The text of a unit, if it is known.
    fn text(&self, name: &str, files: &Workspace) -> Option<Secret> {
        let text = self.texts.iter().rfind(|text| text.unit == name && text.drop_in.is_none());
        let in_folder = |folder: &&str| files.text(&format!("{folder}{name}"));
        text.map(|text| text.text.clone()).or_else(|| FOLDERS.iter().find_map(in_folder))
    }
}

/// A drop-in among the files.
struct DropIn {
    unit: String,
    name: String,
    text: Secret,
}

/// The drop-ins among the files.
fn drop_ins(files: &Workspace) -> Vec<DropIn> {
    let in_folder = |folder: &&str| {
        let drop_in = |path: String| {
            let (unit, name) = path.strip_prefix(*folder)?.split_once(".d/")?;
            let (unit, name) = (unit.to_owned(), name.to_owned());
            name.ends_with(".conf").then_some(DropIn { unit, name, text: files.text(&path)? })
        };
        files
            .below(folder.trim_end_matches('/'))
            .into_iter()
            .filter_map(drop_in)
            .collect::<Vec<_>>()
    };
    FOLDERS.iter().flat_map(in_folder).collect()
}

/// The unit that a file is or belongs to.
fn unit_of(path: &str) -> Option<&str> {
    let name = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder))?;
    let unit = name.split_once(".d/").map_or(name, |(unit, _)| unit);
    (!unit.contains('/')).then_some(unit)
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

/// A unit with its drop-ins.
pub struct Unit {
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

    /// What it runs, for the shell: each is a process of its own.
    pub fn commands(&self) -> Vec<Script> {
        STEPS
            .iter()
            .flat_map(|step| self.values(step))
            .map(|command| self.command(command))
            .collect()
    }

    /// What it sets for its commands, for the shell: its own variables, and those of files in the user data.
    pub fn environment(&self, files: &Workspace) -> Script {
        let own = self.values("Environment").into_iter().flat_map(|value| self.words(value, false));
        let paths = self.values("EnvironmentFile").into_iter().flat_map(|value| self.words(value, false));
        let texts = paths.filter_map(|word| files.text(&place(word.text.trim_start_matches('-'))?));
        let mut script = Script::default();
        for assignment in own.filter_map(|word| word.assignment()) {
            export(&assignment, &mut script);
        }
        texts.for_each(|text| export_all(&text, &mut script));
        script
    }

    /// All of it.
    fn script(&self, files: &Workspace) -> Script {
        let mut script = self.environment(files);
        for command in self.commands() {
            script.push_str(&command);
            script.push('\n');
        }
        script
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

/// Writes the assignments in a file of `EnvironmentFile=` (systemd.exec(5)) for the shell. A value with a
/// backslash, or with a quote that is not around all of it, is not known: nor is any other behind it.
fn export_all(text: &str, script: &mut Script) {
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
        else {
            continue;
        };
        let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let bare = bare.unwrap_or(value);
        if bare.contains(['"', '\'', '\\']) {
            script.push_str("eval \"$(systemd-environment)\"\n");
            return;
        }
        let assignment = Zeroizing::new(format!("{name}='{bare}'"));
        if prefixes::assignment(&assignment).is_some_and(|(whole, _)| whole == name) {
            export(&assignment, script);
        }
    }
}

fn export(assignment: &str, script: &mut Script) {
    script.push_str("export ");
    script.push_str(assignment);
    script.push('\n');
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
