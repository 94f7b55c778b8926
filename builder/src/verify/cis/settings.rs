//! The settings of an image that many rules ask for, read once: of the kernel, of the kubelet, of sshd, of
//! auditd, and the names of its packages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::archive::pattern;
use crate::base::installed;
use crate::tree::merge::real_path;
use crate::verify::{Subject, kubernetes, sshd};

/// A value, and the file that sets it.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) value: String,
    pub(super) path: String,
}

/// The settings.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) subject: &'a Subject,
    /// By name; a name may be a pattern.
    sysctl: Vec<(String, Set)>,
    /// Fields of the KubeletConfiguration that the image sets over all others, by their dotted names.
    kubelet: BTreeMap<String, Set>,
    /// Flags of the kubelet.
    flags: BTreeMap<String, Set>,
    /// Of sshd's, in lower case; the first value counts. `None` if there is no server.
    ssh: Option<BTreeMap<String, Set>>,
    /// Lines of auditd's rules; `None` if it is not installed.
    pub(super) audit: Option<Vec<String>>,
    /// `None` if no database tells.
    pub(super) packages: Option<BTreeSet<String>>,
}

impl<'a> Settings<'a> {
    pub(super) fn of(subject: &'a Subject) -> Self {
        let packages = installed::packages(&subject.tree);
        let packages: Option<BTreeSet<String>> =
            packages.map(|all| all.into_iter().map(|package| package.name).collect());
        let has_auditd = subject.file("usr/sbin/auditd").is_some();
        Self {
            subject,
            sysctl: sysctl(subject),
            kubelet: kubelet(subject),
            flags: kubernetes::flags(subject)
                .into_iter()
                .map(|flag| (flag.name, Set { value: flag.value, path: flag.path }))
                .collect(),
            ssh: ssh(subject),
            audit: has_auditd.then(|| audit(subject)),
            packages,
        }
    }

    /// The value that systemd-sysctl sets: the last that has the name, else the last whose pattern it has.
    pub(super) fn sysctl(&self, name: &str) -> Option<&Set> {
        let exact = self.sysctl.iter().rev().find(|(own, _)| own == name);
        let by_pattern = || {
            let fits = |own: &str| {
                own.contains('*') && pattern::matches(&own.replace('.', "/"), &name.replace('.', "/"))
            };
            self.sysctl.iter().rev().find(|(own, _)| fits(own))
        };
        exact.or_else(by_pattern).map(|(_, set)| set)
    }

    /// What the image sets over the cluster's configuration: a flag, else a field.
    pub(super) fn kubelet(&self, field: &str, flag: &str) -> Option<&Set> {
        self.flags.get(flag).or_else(|| self.kubelet.get(field))
    }

    /// A flag of the kubelet.
    pub(super) fn flag(&self, flag: &str) -> Option<&Set> {
        self.flags.get(flag)
    }

    /// A setting of sshd, and whether there is one at all.
    pub(super) fn ssh(&self, name: &str) -> Option<Option<&Set>> {
        self.ssh.as_ref().map(|settings| settings.get(name))
    }
}

/// sysctl.d(5): files by their names, of which one in `/etc` hides one in `/usr`.
fn sysctl(subject: &Subject) -> Vec<(String, Set)> {
    let mut files: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for folder in ["usr/lib/sysctl.d", "usr/local/lib/sysctl.d", "etc/sysctl.d"] {
        for (path, text) in subject.texts_of(folder, |path| path.ends_with(".conf")) {
            files.insert(path.rsplit('/').next().unwrap_or(path), (path, text));
        }
    }
    let mut settings = Vec::new();
    for (path, text) in files.values() {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            let Some((name, value)) = line.split_once('=') else { continue };
            let name = name.trim().trim_start_matches('-').replace('/', ".");
            settings.push((name, Set { value: value.trim().to_owned(), path: format!("/{path}") }));
        }
    }
    settings
}

/// Fields in the files of the kubelet's folder of configurations, if it is started with one (KEP-3983).
/// Others, such as the agent's defaults, count only where the cluster says nothing, so they set nothing here.
fn kubelet(subject: &Subject) -> BTreeMap<String, Set> {
    let mut fields = BTreeMap::new();
    let Some(folder) = kubernetes::config_folder(subject) else { return fields };
    for (path, text) in subject.texts_of(&folder, |path| path.ends_with(".conf")) {
        for document in kubernetes::documents(&text) {
            flatten("", &document, &mut |name, value| {
                fields.insert(name, Set { value, path: format!("/{path}") });
            });
        }
    }
    fields
}

/// Calls `found` for each value, with its dotted name. The elements of a list are separated by commas.
fn flatten(prefix: &str, value: &Value, found: &mut dyn FnMut(String, String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, found);
            }
        }
        Value::Array(elements) => {
            let words: Vec<String> = elements.iter().map(plain).collect();
            found(prefix.to_owned(), words.join(","));
        }
        other => found(prefix.to_owned(), plain(other)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first value counts; what stands below `Match` counts for some alone.
///
/// Of the server that a unit starts with a file of its own (`sshd -f FILE`), else of the distribution's.
fn ssh(subject: &Subject) -> Option<BTreeMap<String, Set>> {
    subject.file("usr/sbin/sshd")?;
    let mut settings = BTreeMap::new();
    let main = sshd::configuration(subject);
    for set in sshd::settings(subject, &main).into_iter().filter(|set| !set.is_conditional) {
        let value = Set { value: set.arguments.join(" "), path: format!("/{}", set.path) };
        settings.entry(set.name).or_insert(value);
    }
    Some(settings)
}

/// augenrules(8): the rules of all files, by name.
fn audit(subject: &Subject) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, text) in subject.texts_of("etc/audit/rules.d", |path| path.ends_with(".rules")) {
        lines.extend(text.lines().map(str::trim).filter(|line| line.starts_with('-')).map(str::to_owned));
    }
    lines
}

/// Whether a path, behind links, is there.
pub(super) fn exists(subject: &Subject, path: &str) -> bool {
    real_path(&subject.tree, path).is_some_and(|real| subject.tree.get(&real).is_some())
}
