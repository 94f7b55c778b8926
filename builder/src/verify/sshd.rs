//! sshd_config(5): what sshd is told, in all files that it reads and by its command lines.

use std::collections::BTreeSet;

use super::text::{name_of, words};
use super::unit_files::{self, Units};
use super::{Findings, Subject};
use crate::archive::pattern;

const FILES: &[&str] = &["etc/ssh/sshd_config", "usr/etc/ssh/sshd_config"];
const FOLDERS: &[&str] = &["etc/ssh/sshd_config.d", "usr/etc/ssh/sshd_config.d"];
/// Files with options for a server that a distribution's unit starts.
const OPTIONS: &[&str] = &["etc/default/ssh", "etc/default/sshd", "etc/sysconfig/sshd", "etc/conf.d/sshd"];

/// Settings that let somebody in without a key.
const OPEN: &[&str] = &[
    "permitrootlogin",
    "passwordauthentication",
    "permitemptypasswords",
    "hostbasedauthentication",
    "kbdinteractiveauthentication",
    "challengeresponseauthentication",
    "kerberosauthentication",
];

/// A setting.
pub(crate) struct Setting {
    /// The file that has it.
    pub(crate) path: String,
    /// In lower case.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// Whether it is below `Match`, and counts for some alone.
    pub(crate) is_conditional: bool,
}

impl Setting {
    fn of(path: &str, line: &str) -> Option<Self> {
        let line = line.trim();
        let end = line.find(|letter: char| letter.is_whitespace() || letter == '=').unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let name = name.trim_matches('"').to_ascii_lowercase();
        let rest = rest.trim_start();
        let arguments = words(rest.strip_prefix('=').unwrap_or(rest)).into_iter();
        let arguments = arguments.take_while(|word| !word.starts_with('#')).collect();
        let is_one = !name.is_empty() && !name.starts_with('#');
        is_one.then(|| Self { path: path.to_owned(), name, arguments, is_conditional: false })
    }

    fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    fn shown(&self) -> String {
        format!("{} {}", self.name, self.arguments.join(" "))
    }
}

/// The settings of a file, with those that it includes where it does.
pub(crate) fn settings(subject: &Subject, path: &str) -> Vec<Setting> {
    let mut reader = Reader { subject, found: Vec::new(), looks: 0 };
    reader.read(path, 0, false);
    reader.found
}

struct Reader<'a> {
    subject: &'a Subject,
    found: Vec<Setting>,
    /// How many files and patterns were looked for: a file may include itself, again and again.
    looks: usize,
}

impl Reader<'_> {
    fn read(&mut self, path: &str, depth: usize, mut is_conditional: bool) {
        /// As many as sshd follows.
        const DEEPEST: usize = 16;
        let path = path.trim_start_matches('/');
        if depth == DEEPEST || !self.may_look(path) {
            return;
        }
        let Some(text) = self.subject.text(path) else { return };
        for setting in text.lines().filter_map(|line| Setting::of(path, line)) {
            match setting.name.as_str() {
                "match" => is_conditional = true,
                "include" => {
                    for wanted in &setting.arguments {
                        if !self.may_look(path) {
                            return;
                        }
                        let from = if wanted.starts_with('/') { "" } else { "etc/ssh/" };
                        for path in matching(self.subject, &format!("{from}{wanted}")) {
                            self.read(&path, depth + 1, is_conditional);
                        }
                    }
                }
                _ => self.found.push(Setting { is_conditional, ..setting }),
            }
        }
    }

    /// Whether one more may be looked for; if not, that is told.
    fn may_look(&mut self, path: &str) -> bool {
        const MOST_LOOKS: usize = 1000;
        const MOST_SETTINGS: usize = 100_000;
        self.looks += 1;
        let may = self.looks <= MOST_LOOKS && self.found.len() <= MOST_SETTINGS;
        if !may {
            let why = "sshd's configuration has more files or settings than are looked at";
            self.subject.not_read(format!("/{path}"), why.to_owned());
        }
        may
    }
}

/// The files that fit a pattern as of glob(7), whose folder may be behind links.
fn matching(subject: &Subject, wanted: &str) -> Vec<String> {
    let wanted = wanted.trim_start_matches('/');
    let plain = &wanted[..wanted.find(['*', '?', '[']).unwrap_or(wanted.len())];
    if plain.len() == wanted.len() {
        return vec![wanted.to_owned()];
    }
    let folder = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below = subject.below(folder).map(|(path, _)| path);
    below.filter(|path| pattern::matches(wanted, path)).map(str::to_owned).collect()
}

/// The configuration of the server that a unit starts with a file of its own, else of the distribution's.
pub(crate) fn configuration(subject: &Subject) -> String {
    let (files, _) = started(subject);
    files.into_iter().next().unwrap_or_else(|| FILES[0].to_owned())
}

/// The settings of all servers.
fn all(subject: &Subject) -> Vec<Setting> {
    let (files, options) = started(subject);
    let mut paths: BTreeSet<String> = FILES.iter().map(|path| (*path).to_owned()).collect();
    paths.extend(files);
    for folder in FOLDERS {
        paths.extend(subject.below(folder).map(|(path, _)| path.to_owned()));
    }
    let mut reader = Reader { subject, found: options, looks: 0 };
    for path in paths {
        reader.read(&path, 0, false);
    }
    reader.found
}

/// Configurations and settings on the command lines of servers: sshd(8), `-f` and `-o`. Those of packages set
/// what is meant to be so.
fn started(subject: &Subject) -> (Vec<String>, Vec<Setting>) {
    let (mut files, mut settings) = (Vec::new(), Vec::new());
    for Command { path, words: arguments, is_packaged } in command_lines(subject) {
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            let mut value = |option: &str| {
                let own = word.strip_prefix(option)?;
                if own.is_empty() { rest.next().cloned() } else { Some(own.to_owned()) }
            };
            if let Some(file) = value("-f") {
                files.push(file.trim_start_matches('/').to_owned());
            } else if let Some(setting) = value("-o").filter(|_| !is_packaged) {
                settings.extend(Setting::of(&path, &setting));
            }
        }
    }
    (files, settings)
}

/// Words for sshd: of a unit, of a variable, or of a file with variables.
struct Command {
    path: String,
    words: Vec<String>,
    is_packaged: bool,
}

/// The words behind `sshd` in units, and those of the variables and files that they name.
fn command_lines(subject: &Subject) -> Vec<Command> {
    let units = Units::of(subject, &unit_files::places(subject));
    let mut lines = Vec::new();
    let mut files: BTreeSet<String> = OPTIONS.iter().map(|path| (*path).to_owned()).collect();
    for (_, settings) in units.each() {
        let is_server = |command: &[String]| command.first().is_some_and(|first| name_of(first) == "sshd");
        let runs = |name: &str, value: &str| name.starts_with("Exec") && is_server(&words(value));
        if !settings.iter().any(|setting| runs(&setting.name, &setting.value)) {
            continue;
        }
        for setting in settings {
            let of = |words| Command { path: setting.path.clone(), words, is_packaged: setting.is_packaged };
            match setting.name.as_str() {
                "Environment" => lines.extend(variables(&setting.value).map(of)),
                "EnvironmentFile" => {
                    files.insert(setting.value.trim_start_matches(['-', '/']).to_owned());
                }
                name if runs(name, &setting.value) => lines.push(of(words(&setting.value))),
                _ => {}
            }
        }
    }
    for path in files {
        let text = subject.text(&path).unwrap_or_default();
        let set = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(variables);
        lines.extend(set.map(|words| Command { path: path.clone(), words, is_packaged: false }));
    }
    lines
}

/// The words in the values of variables.
fn variables(text: &str) -> impl Iterator<Item = Vec<String>> {
    words(text)
        .into_iter()
        .filter_map(|word| word.split_once('=').map(|(_, value)| words(value)))
}

/// Settings that let somebody in without a key of his. Which of several lines counts depends on the order of
/// files and on `Match`, so each that opens is told.
pub(super) fn open(subject: &Subject, findings: &mut Findings<'_>) {
    for setting in all(subject) {
        let value = setting.first();
        let why = match setting.name.as_str() {
            name if OPEN.contains(&name) && value.eq_ignore_ascii_case("yes") => "it lets in more than keys",
            "trustedusercakeys" if has_content(subject, value) => {
                "it lets in everybody with a certificate of that key"
            }
            "authorizedkeyscommand" if !["", "none"].contains(&value) => {
                "a program says which keys are let in"
            }
            _ => continue,
        };
        findings.at(&setting.path, format!("{why}: {}", setting.shown()));
    }
}

fn has_content(subject: &Subject, path: &str) -> bool {
    subject.file(path).is_some_and(|(_, body)| !body.is_empty())
}

/// The files with keys that `AuthorizedKeysFile` names.
pub(super) fn key_files(subject: &Subject) -> BTreeSet<String> {
    /// Places, of which one with a pattern is looked for in the whole image.
    const MOST: usize = 1000;
    let accounts = subject.text("etc/passwd").unwrap_or_default();
    let homes: BTreeSet<&str> = accounts.lines().filter_map(|line| line.split(':').nth(5)).collect();
    let settings = all(subject);
    let named = settings.iter().filter(|setting| setting.name == "authorizedkeysfile");
    let wanted = named.flat_map(|setting| setting.arguments.iter().map(move |wanted| (setting, wanted)));
    let mut places = BTreeSet::new();
    for (setting, wanted) in wanted.filter(|(_, wanted)| *wanted != "none") {
        if places.len() > MOST {
            let why = "there are more places for keys than are looked at";
            subject.not_read(format!("/{}", setting.path), why.to_owned());
            break;
        }
        let wanted = wanted.replace("%u", "*").replace("%U", "*").replace("%%", "%");
        let is_whole = wanted.starts_with('/');
        if is_whole && !wanted.contains("%h") {
            places.insert(wanted);
        } else {
            places.extend(homes.iter().take(MOST).map(|home| match is_whole || wanted.starts_with("%h") {
                true => wanted.replace("%h", home),
                false => format!("{home}/{wanted}"),
            }));
        }
    }
    let mut paths: BTreeSet<String> =
        places.iter().take(MOST).flat_map(|place| matching(subject, place)).collect();
    paths.retain(|path| has_content(subject, path));
    paths
}
