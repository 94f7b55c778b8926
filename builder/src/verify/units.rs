//! Units that open a way in, and enabled units that cannot start.

use std::collections::BTreeMap;

use super::text::{name_of, words};
use super::unit_files::{self, FOLDERS, Place, Setting, Units};
use super::{Findings, Subject, consoles, origin};
use crate::archive::pattern;
use crate::tree::merge::real_path;

/// Units that give a shell, and why that is one.
const SHELLS: &[(&str, &str)] = &[
    ("debug-shell.service", ROOT_SHELL),
    ("telnet.socket", "a login without encryption"),
    ("rsh.socket", "a login without encryption"),
];
const ROOT_SHELL: &str = "a shell of root without a password";

/// Settings that start other units: systemd.unit(5), and those of timers, paths and sockets.
const STARTING: &[&str] = &[
    "Wants",
    "Requires",
    "Requisite",
    "BindsTo",
    "Upholds",
    "OnFailure",
    "OnSuccess",
    "Unit",
    "Service",
    "Sockets",
];

/// Credentials of systemd that let somebody in: systemd.system-credentials(7).
const CREDENTIALS: &[&str] = &["agetty.autologin", "login.noauth", "passwd.", "ssh.authorized_keys"];

/// Folders of programs that make units or variables before all others start: systemd.generator(7).
const GENERATORS: &[&str] = &["system-generators", "system-environment-generators"];

pub(super) fn shells(subject: &Subject, findings: &mut Findings<'_>) {
    let places = unit_files::places(subject);
    let units = Units::of(subject, &places);
    linked(subject, &places, findings);
    for setting in units.settings().filter(|setting| !setting.is_packaged) {
        wanted(setting, findings);
        given(setting, findings);
    }
    for (unit, settings) in units.each() {
        started(unit, &settings, findings);
    }
    manager(subject, findings);
    presets(subject, findings);
    generators(subject, findings);
}

/// Why a unit of this name gives a shell.
fn shell_of(unit: &str) -> Option<&'static str> {
    SHELLS.iter().find(|(name, _)| *name == unit).map(|(_, why)| *why)
}

/// Links that start a shell. A link may have any name: what it leads to is started.
fn linked(subject: &Subject, places: &[Place], findings: &mut Findings<'_>) {
    for place in places {
        let Some(unit) = place.enabled().or_else(|| place.other_name()) else { continue };
        let real = real_path(&subject.tree, &place.path).unwrap_or_default();
        let leads_to = name_of(&real);
        if let Some(why) = shell_of(unit).or_else(|| shell_of(leads_to)) {
            findings.at(&place.path, why);
        } else if unit == "default.target" && ["rescue.target", "emergency.target"].contains(&leads_to) {
            findings.at(&place.path, "a shell of root at the console");
        }
    }
}

/// Settings that start a shell by its name.
fn wanted(setting: &Setting, findings: &mut Findings<'_>) {
    if STARTING.contains(&setting.name.as_str())
        && let Some(why) = words(&setting.value).iter().find_map(|unit| shell_of(unit))
    {
        findings.at(&setting.path, why);
    }
}

/// Credentials and variables that let somebody in.
fn given(setting: &Setting, findings: &mut Findings<'_>) {
    let is_credential = ["SetCredential", "LoadCredential"].contains(&setting.name.as_str());
    let is_variable = ["Environment", "DefaultEnvironment", "ManagerEnvironment"];
    if is_credential && CREDENTIALS.iter().any(|name| setting.value.starts_with(name)) {
        findings.at(&setting.path, format!("its credential lets somebody in: {}", name(&setting.value)));
    } else if is_variable.contains(&setting.name.as_str())
        && words(&setting.value).iter().any(|word| consoles::is_forced(word))
    {
        findings.at(&setting.path, ROOT_SHELL);
    }
}

/// A credential's name, without its content.
fn name(credential: &str) -> &str {
    credential.split(':').next().unwrap_or_default()
}

/// Shells on a console or a socket, and consoles that log in by themselves.
fn started(unit: &str, settings: &[&Setting], findings: &mut Findings<'_>) {
    let input = settings.iter().find(|setting| {
        setting.name == "StandardInput" && (setting.value.starts_with("tty") || setting.value == "socket")
    });
    for setting in settings.iter().filter(|setting| setting.name.starts_with("Exec")) {
        let command = words(&setting.value);
        if consoles::logs_in(&command) {
            findings.at(&setting.path, "a console logs in by itself");
            continue;
        }
        let Some(input) = input.filter(|_| consoles::is_shell(&command)) else { continue };
        // Of a distribution's own unit it is decisive whether something starts it.
        let is_known = shell_of(unit).is_some() && setting.path.starts_with("usr/lib/systemd/");
        let added = [setting, input].into_iter().find(|setting| !setting.is_packaged);
        if let Some(added) = added.filter(|_| !is_known) {
            findings.at(&added.path, ROOT_SHELL);
        }
    }
}

/// systemd-system.conf(5)
fn manager(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"] {
        let main = format!("{folder}/system.conf");
        let more = format!("{folder}/system.conf.d");
        let files = subject.texts(&more).map(|(path, text)| (path.to_owned(), text));
        for (path, text) in files.chain(subject.text(&main).map(|text| (main.clone(), text))) {
            for setting in unit_files::settings(&path, &text) {
                given(&setting, findings);
            }
        }
    }
}

/// systemd.preset(5): at a first boot, what it enables is enabled. Of files with one name the first counts,
/// of lines for one unit too.
fn presets(subject: &Subject, findings: &mut Findings<'_>) {
    let mut files: BTreeMap<String, (String, String)> = BTreeMap::new();
    for folder in ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"] {
        let folder = format!("{folder}/system-preset");
        for (path, text) in subject.texts_of(&folder, |path| path.ends_with(".preset")) {
            files.entry(name_of(path).to_owned()).or_insert_with(|| (path.to_owned(), text));
        }
    }
    for (unit, why) in SHELLS {
        let lines = files.values().flat_map(|(path, text)| text.lines().map(move |line| (path, line)));
        let mut rules = lines.map(|(path, line)| (path, words(line)));
        let fits = |rule: &[String]| matches!(rule, [_, wanted, ..] if pattern::matches(wanted, unit));
        let is_rule = |rule: &[String]| {
            matches!(rule.first().map(String::as_str), Some("enable" | "disable" | "ignore"))
        };
        let first = rules.find(|(_, rule)| is_rule(rule) && fits(rule));
        if let Some((path, rule)) = first
            && rule[0] == "enable"
        {
            findings.at(path, *why);
        }
    }
}

fn generators(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/systemd", "run/systemd", "usr/local/lib/systemd"] {
        for kind in GENERATORS {
            for (path, _) in subject.below(&format!("{folder}/{kind}")) {
                let real = real_path(&subject.tree, path).unwrap_or_default();
                let is_packaged = origin::packaged(subject).contains(&real);
                if !is_packaged && subject.file(path).is_some_and(|(_, body)| !body.is_empty()) {
                    findings.at(path, "root runs it before all units, and it is of no package");
                }
            }
        }
    }
}

/// Links that enable a unit which is not there.
pub(super) fn broken(subject: &Subject, findings: &mut Findings<'_>) {
    let tree = &subject.tree;
    for place in unit_files::places(subject) {
        let Some(unit) = place.enabled() else { continue };
        let target = real_path(tree, &place.path).and_then(|real| tree.get(&real));
        let by_name = || {
            let reals = FOLDERS.iter().filter_map(|folder| real_path(tree, &format!("{folder}/{unit}")));
            reals.into_iter().any(|real| tree.get(&real).is_some())
        };
        let is_instance = unit.contains('@');
        if target.is_none() && !is_instance && !by_name() {
            findings.at(&place.path, format!("{unit} is enabled and not in the image"));
        }
    }
}
