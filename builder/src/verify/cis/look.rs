//! The ways in which rules look at an image. A rule is mostly one of these with its own names.

use super::Outcome;
use super::settings::{Set, Settings, exists};
use crate::tree::{Entry, Node};
use crate::verify::{self, Subject};

/// How a rule looks at an image.
pub(super) enum Look {
    /// The files of the benchmark's rule are not in an image.
    Never(&'static str),
    /// A node needs it otherwise, whatever the image says.
    Exempt(&'static str),
    /// A field of the kubelet, or its flag, that the image sets over the cluster's.
    Kubelet(&'static str, &'static str, Wanted),
    /// Settings of the kernel.
    Sysctl(&'static [(&'static str, &'static str)]),
    /// A module of the kernel that cannot be loaded.
    NoModule(&'static str),
    /// None of these packages is installed.
    NoPackages(&'static [&'static str]),
    /// Mode, at most, and owner root of the files of a pattern.
    Mode(&'static str, u32),
    /// An option with which a file system is mounted: where, and which.
    Mount(&'static str, &'static str),
    /// A setting of sshd: its name, what OpenSSH has without it, and what is wanted.
    Ssh(&'static str, &'static str, Wanted),
    /// System calls, and paths, that auditd records.
    Audit(&'static [&'static str], &'static [&'static str]),
    /// No file of a home has this name.
    NoFile(&'static str),
    /// A check of `kiln verify` finds nothing.
    Check(&'static str),
    /// Something else.
    By(fn(&Settings<'_>) -> Outcome),
}

/// A value that a rule wants.
pub(super) enum Wanted {
    Is(&'static str),
    Not(&'static [&'static str]),
    /// A number of at least so many.
    AtLeast(i64),
    /// A number from 1 to so many, seconds also as "1m".
    AtMost(i64),
    /// A list with nothing but these.
    Among(&'static [&'static str]),
}

impl Wanted {
    fn is_met_by(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value.eq_ignore_ascii_case(wanted),
            Self::Not(unwanted) => !unwanted.iter().any(|one| value.eq_ignore_ascii_case(one)),
            Self::AtLeast(least) => value.parse::<i64>().is_ok_and(|number| number >= *least),
            Self::AtMost(most) => number(value).is_some_and(|number| (1..=*most).contains(&number)),
            Self::Among(known) => {
                !value.is_empty() && value.split(',').all(|one| known.contains(&one.trim()))
            }
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Is(wanted) => (*wanted).to_owned(),
            Self::Not(unwanted) => format!("not {}", unwanted.join(" or ")),
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("from 1 to {most}"),
            Self::Among(known) => format!("only {}", known.join(", ")),
        }
    }
}

/// "60", "1m"
fn number(value: &str) -> Option<i64> {
    match value.strip_suffix('m') {
        Some(minutes) => minutes.parse::<i64>().ok()?.checked_mul(60),
        None => value.strip_suffix('s').unwrap_or(value).parse().ok(),
    }
}

pub(super) fn finding(
    found: impl Into<String>,
    expected: impl Into<String>,
    place: impl Into<String>,
) -> Outcome {
    Outcome::Finding { found: found.into(), expected: expected.into(), place: place.into() }
}

pub(super) fn not_checked(reason: impl Into<String>) -> Outcome {
    Outcome::NotChecked { reason: reason.into() }
}

/// Passed if nothing is wrong.
pub(super) fn passed_unless(wrong: Option<Outcome>) -> Outcome {
    wrong.unwrap_or(Outcome::Passed)
}

impl Look {
    pub(super) fn at(&self, image: &Settings<'_>) -> Outcome {
        match self {
            Self::Never(reason) => not_checked(*reason),
            Self::Exempt(reason) => Outcome::Exempt { reason: (*reason).to_owned() },
            Self::Kubelet(field, flag, wanted) => kubelet(image, field, flag, wanted),
            Self::Sysctl(wanted) => {
                passed_unless(wanted.iter().find_map(|(name, value)| sysctl(image, name, value)))
            }
            Self::NoModule(name) => no_module(image.subject, name),
            Self::NoPackages(names) => no_packages(image, names),
            Self::Mode(pattern, most) => mode(image.subject, pattern, *most),
            Self::Mount(place, option) => mount(image.subject, place, option),
            Self::Ssh(name, default, wanted) => ssh(image, name, default, wanted),
            Self::Audit(calls, paths) => audit(image, calls, paths),
            Self::NoFile(name) => no_file(image.subject, name),
            Self::Check(name) => check(image.subject, name),
            Self::By(look) => look(image),
        }
    }
}

fn kubelet(image: &Settings<'_>, field: &str, flag: &str, wanted: &Wanted) -> Outcome {
    if !image.subject.is_node() {
        return not_checked("the image has no kubelet");
    }
    match image.kubelet(field, flag) {
        Some(Set { value, .. }) if wanted.is_met_by(value) => Outcome::Passed,
        Some(Set { value, path }) => finding(value, wanted.said(), path),
        None => finding(
            format!("{field} is not set: the cluster's configuration decides"),
            wanted.said(),
            "/etc/kubernetes/kubelet.conf.d",
        ),
    }
}

fn sysctl(image: &Settings<'_>, name: &str, wanted: &str) -> Option<Outcome> {
    match image.sysctl(name) {
        Some(Set { value, .. }) if value == wanted => None,
        Some(Set { value, path }) => Some(finding(format!("{name} = {value}"), wanted, path)),
        None => Some(finding(format!("{name} is not set: the kernel decides"), wanted, "/etc/sysctl.d")),
    }
}

/// modprobe.d(5)
fn no_module(subject: &Subject, name: &str) -> Outcome {
    let folders = ["etc/modprobe.d", "usr/lib/modprobe.d"];
    let is_forbidden = folders.iter().flat_map(|folder| subject.texts(folder)).any(|(_, text)| {
        text.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words.as_slice(), ["install", module, program, ..]
                if *module == name && (program.ends_with("/false") || program.ends_with("/true")))
        })
    });
    let file = name.replace('-', "_");
    let is_module = |path: &str| {
        let own = path.rsplit('/').next().unwrap_or_default().split(".ko").next().unwrap_or_default();
        path.contains(".ko") && own.replace('-', "_") == file
    };
    let module = subject.tree.below("usr/lib/modules").find(|(path, _)| is_module(path));
    match module {
        _ if is_forbidden => Outcome::Passed,
        // A kernel that cannot have it needs no rule.
        None if subject.tree.below("usr/lib/modules").next().is_some() => Outcome::Passed,
        None => not_checked("the image has no modules of a kernel"),
        Some((path, _)) => {
            finding("it can be loaded", format!("install {name} /bin/false"), format!("/{path}"))
        }
    }
}

fn no_packages(image: &Settings<'_>, names: &[&str]) -> Outcome {
    let Some(packages) = &image.packages else {
        return not_checked("the image has no database of packages");
    };
    let found = names.iter().find(|name| packages.contains(**name));
    passed_unless(found.map(|name| finding(format!("the package {name}"), "not installed", "packages")))
}

/// What is wrong with a file, folder or link's target that only root may write.
pub(super) fn wrong_mode(entry: &Entry, most: u32) -> Option<(String, String)> {
    if entry.mode & 0o777 & !most != 0 {
        return Some((format!("mode {:04o}", entry.mode), format!("at most {most:04o}")));
    }
    (entry.uid != 0).then(|| (format!("owner {}", entry.uid), "owner 0".to_owned()))
}

fn mode(subject: &Subject, wanted: &str, most: u32) -> Outcome {
    let mut any = false;
    for (path, entry) in subject.matching(wanted) {
        if matches!(entry.node, Node::Symlink(_)) {
            continue;
        }
        any = true;
        if let Some((found, expected)) = wrong_mode(entry, most) {
            return finding(found, expected, format!("/{path}"));
        }
    }
    if any { Outcome::Passed } else { not_checked(format!("the image has no /{wanted}")) }
}

/// By a unit (systemd.mount(5)) or fstab(5); of what systemd mounts itself, its own options.
fn mount(subject: &Subject, place: &str, option: &str) -> Outcome {
    const BY_SYSTEMD: [(&str, &str); 2] = [("/dev/shm", "nodev"), ("/dev/shm", "nosuid")];
    let unit = format!("{}.mount", place.trim_start_matches('/').replace('/', "-"));
    let (mut options, mut from) = (None, String::new());
    for folder in ["usr/lib/systemd/system", "etc/systemd/system"] {
        let path = format!("{folder}/{unit}");
        let Some(text) = subject.text(&path) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Options="));
        (options, from) = (Some(line.unwrap_or_default().to_owned()), path);
    }
    if let Some(text) = subject.text("etc/fstab") {
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, target, _, own, ..] = fields.as_slice()
                && *target == place
            {
                (options, from) = (Some((*own).to_owned()), "etc/fstab".to_owned());
            }
        }
    }
    let has = |options: &String| options.split(',').any(|own| own == option);
    match options {
        Some(options) if has(&options) => Outcome::Passed,
        Some(options) => finding(format!("options {options}"), option, format!("/{from}")),
        None if BY_SYSTEMD.contains(&(place, option)) && exists(subject, "usr/lib/systemd/systemd") => {
            Outcome::Passed
        }
        None => finding(
            format!("nothing mounts {place} with options"),
            option,
            format!("/etc/systemd/system/{unit}"),
        ),
    }
}

fn ssh(image: &Settings<'_>, name: &str, default: &str, wanted: &Wanted) -> Outcome {
    let Some(set) = image.ssh(name) else { return not_checked("the image has no SSH server") };
    match set {
        Some(Set { value, .. }) if wanted.is_met_by(value) => Outcome::Passed,
        Some(Set { value, path }) => finding(format!("{name} {value}"), wanted.said(), path),
        None if wanted.is_met_by(default) => Outcome::Passed,
        None => finding(format!("{name} is not set: {default}"), wanted.said(), "sshd_config"),
    }
}

fn audit(image: &Settings<'_>, calls: &[&str], paths: &[&str]) -> Outcome {
    let Some(rules) = &image.audit else {
        return finding("no auditd", "its rules", "/etc/audit/rules.d");
    };
    let has_call = |call: &str| rules.iter().any(|rule| syscalls(rule).any(|own| own == call));
    let has_path = |path: &str| {
        rules.iter().flat_map(|rule| watched(rule)).any(|(own, is_folder)| {
            own == path || (is_folder && path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')))
        })
    };
    let missing = calls.iter().find(|call| !has_call(call)).map(|call| format!("the system call {call}"));
    let missing =
        missing.or_else(|| paths.iter().find(|path| !has_path(path)).map(|path| (*path).to_owned()));
    passed_unless(
        missing.map(|missing| finding("no rule", format!("a rule for {missing}"), "/etc/audit/rules.d")),
    )
}

/// What follows `-S`, separated by commas.
fn syscalls(rule: &str) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let lists: Vec<&str> = words.windows(2).filter(|pair| pair[0] == "-S").map(|pair| pair[1]).collect();
    lists.into_iter().flat_map(|list| list.split(','))
}

/// Paths of a rule, and whether all below them is meant.
fn watched(rule: &str) -> Vec<(&str, bool)> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let pair = |pair: &[&'_ str]| -> Option<(usize, bool)> {
        match (pair[0], pair[1]) {
            ("-w", _) => Some((0, true)),
            ("-F", field) if field.starts_with("dir=") => Some((4, true)),
            ("-F", field) if field.starts_with("path=") => Some((5, false)),
            _ => None,
        }
    };
    let watched = words
        .windows(2)
        .filter_map(|two| pair(two).map(|(skip, folder)| (&two[1][skip..], folder)));
    watched.map(|(path, folder)| (path.trim_end_matches('/'), folder)).collect()
}

fn no_file(subject: &Subject, name: &str) -> Outcome {
    let found = ["root", "home"].iter().flat_map(|home| subject.below(home)).find(|(path, entry)| {
        path.rsplit('/').next() == Some(name) && !matches!(entry.node, Node::Directory)
    });
    passed_unless(found.map(|(path, _)| finding(name, "no such file", format!("/{path}"))))
}

fn check(subject: &Subject, name: &str) -> Outcome {
    let found = verify::findings_of(subject, name);
    passed_unless(found.first().map(|one| {
        let more = match found.len() {
            1 => String::new(),
            count => format!(", and {} more", count - 1),
        };
        finding(format!("{}{more}", one.why), format!("nothing that the check {name} finds"), &one.what)
    }))
}
