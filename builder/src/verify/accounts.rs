//! Accounts, passwords, and who becomes root.

use std::collections::BTreeMap;

use super::text::{logical_lines, name_of, words};
use super::{Findings, Subject, origin, pam, sudoers};
use crate::tree::Node;

/// The fields of each line of a table such as `/etc/passwd`.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect()).filter(|row: &Vec<_>| row.len() > 2)
}

/// Tables of accounts, of groups, and what their passwords are: also those of libnss-extrausers, and copies
/// that programs make before they change one.
const PASSWORDS: &[&str] = &[
    "etc/shadow",
    "etc/shadow-",
    "etc/passwd",
    "etc/passwd-",
    "etc/gshadow",
    "etc/gshadow-",
    "usr/share/baselayout/shadow",
    "var/lib/extrausers/shadow",
    "var/lib/extrausers/passwd",
    "var/lib/extrausers/gshadow",
];
const ACCOUNTS: &[&str] = &["etc/passwd", "var/lib/extrausers/passwd"];
const GROUPS: &[&str] = &["etc/group", "var/lib/extrausers/group"];

/// passwd(5) and shadow(5): a field that begins with `*` or `!` matches no password; an empty one needs none.
pub(super) fn passwords(subject: &Subject, findings: &mut Findings<'_>) {
    for path in PASSWORDS {
        let text = subject.text(path).unwrap_or_default();
        let table = path.trim_end_matches('-');
        for row in rows(&text) {
            let (name, field) = (row[0], row[1]);
            let is_shadowed = table.ends_with("passwd") && field == "x";
            // In gshadow an empty field means that the group has no password. Nobody logs in by a copy.
            let may_be_empty = table.ends_with("gshadow") || table != *path;
            if field.starts_with(['*', '!']) || is_shadowed || (may_be_empty && field.is_empty()) {
                continue;
            }
            let what = if field.is_empty() { "needs no password" } else { "has a password" };
            findings.at(path, format!("{name} {what}"));
        }
    }
    // pam_unix(8): account, number, how many, and the passwords that it had.
    let old = subject.text("etc/security/opasswd").unwrap_or_default();
    for row in rows(&old).filter(|row| row.get(3).is_some_and(|field| !field.trim().is_empty())) {
        findings.at("etc/security/opasswd", format!("{} had a password that is known", row[0]));
    }
}

/// Groups whose members become root, or as good as root.
const POWERFUL: &[&str] = &[
    "root",
    "sudo",
    "wheel",
    "admin",
    "adm",
    "disk",
    "docker",
    "incus-admin",
    "kmem",
    "lxd",
    "shadow",
    "systemd-journal",
];
/// Their members in distributions as they come: a group and an account of the system.
const KNOWN_MEMBERS: &[(&str, &str)] = &[
    ("adm", "adm"),
    ("adm", "daemon"),
    ("adm", "syslog"),
    ("disk", "adm"),
    ("docker", "core"),
    ("sudo", "core"),
    ("systemd-journal", "core"),
    ("wheel", "core"),
];
/// Programs of accounts that nobody uses.
const NO_SHELLS: &[&str] = &["nologin", "false", "sync", "shutdown", "halt"];

fn may_be_member(group: &str, account: &str) -> bool {
    account == "root" || KNOWN_MEMBERS.contains(&(group, account))
}

/// Whether a field is root's number, as strtoul(3) reads it.
fn is_root(field: &str) -> bool {
    field.trim().trim_start_matches('-').parse() == Ok(0_u32)
}

/// Other names of root, members of groups that become root, and accounts that are made or known beside
/// `/etc/passwd`.
pub(super) fn superusers(subject: &Subject, findings: &mut Findings<'_>) {
    for path in ACCOUNTS {
        let text = subject.text(path).unwrap_or_default();
        for row in rows(&text).filter(|row| is_root(row[2]) && row[0] != "root") {
            findings.at(path, format!("{} is another name of root", row[0]));
        }
    }
    members(subject, findings);
    records(subject, findings);
    to_be_made(subject, findings);
}

/// group(5): members by name, and accounts whose own group it is.
fn members(subject: &Subject, findings: &mut Findings<'_>) {
    let mut powerful: BTreeMap<String, String> = BTreeMap::new();
    for path in GROUPS {
        let text = subject.text(path).unwrap_or_default();
        for row in rows(&text).filter(|row| POWERFUL.contains(&row[0])) {
            powerful.insert(row[2].trim().to_owned(), row[0].to_owned());
            for account in row.get(3).unwrap_or(&"").split(',').map(str::trim) {
                if !account.is_empty() && !may_be_member(row[0], account) {
                    findings.at(path, format!("{account} has the rights of the group {}", row[0]));
                }
            }
        }
    }
    for path in ACCOUNTS {
        let text = subject.text(path).unwrap_or_default();
        for row in rows(&text).filter(|row| !is_root(row[2])) {
            let [name, _, _, group, .., shell] = row.as_slice() else { continue };
            let Some(group) = powerful.get(group.trim()) else { continue };
            if !NO_SHELLS.contains(&name_of(shell.trim())) && !may_be_member(group, name) {
                findings.at(path, format!("{name} has the rights of the group {group}"));
            }
        }
    }
}

/// Records of nss-systemd(8), which are accounts, groups and memberships.
fn records(subject: &Subject, findings: &mut Findings<'_>) {
    const ENDINGS: [&str; 4] = [".user", ".user-privileged", ".group", ".membership"];
    for folder in ["etc/userdb", "run/userdb", "run/host/userdb", "usr/local/lib/userdb", "usr/lib/userdb"] {
        for (path, entry) in subject.tree.below(folder) {
            if !matches!(entry.node, Node::Directory) && ENDINGS.iter().any(|end| path.ends_with(end)) {
                findings.at(path, "it is an account or a membership beside /etc/passwd");
            }
        }
    }
}

/// sysusers.d(5): accounts with root's number, and members of groups that become root.
fn to_be_made(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/sysusers.d", "run/sysusers.d", "usr/local/lib/sysusers.d", "usr/lib/sysusers.d"] {
        for (path, text) in subject.texts_of(folder, |path| path.ends_with(".conf")) {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
                let words = words(line);
                let [kind, name, id, ..] = words.as_slice() else { continue };
                let number = id.split(':').next().unwrap_or_default();
                // A path stands for the owner of that file.
                let owner = subject.tree.get(number.trim_start_matches('/')).map(|entry| entry.uid);
                let has_roots = is_root(number) || (number.starts_with('/') && owner == Some(0));
                let is_root = ["u", "u!"].contains(&kind.as_str()) && name != "root" && has_roots;
                let is_member = kind == "m" && POWERFUL.contains(&id.as_str()) && !may_be_member(id, name);
                if is_root || is_member {
                    findings.at(path, format!("it makes an account with the rights of root at boot: {line}"));
                }
            }
        }
    }
}

/// sudoers(5), doas.conf(5), polkit(8): rules that make somebody root without a password. And PAM's, that let
/// everybody in.
pub(super) fn sudo(subject: &Subject, findings: &mut Findings<'_>) {
    sudoers::open(subject, findings);
    for path in ["etc/doas.conf", "usr/local/etc/doas.conf"] {
        let text = subject.text(path).unwrap_or_default();
        for line in logical_lines(&text, |line| line.starts_with('#')) {
            let words = words(&line);
            if words.first().is_some_and(|word| word == "permit") && words.iter().any(|word| word == "nopass")
            {
                findings.at(path, format!("a password is not asked for: {line}"));
            }
        }
    }
    polkit(subject, findings);
    pam::open(subject, findings);
}

/// Rules that are of no package. `.pkla` are those of versions before 0.106.
fn polkit(subject: &Subject, findings: &mut Findings<'_>) {
    let packaged = origin::packaged(subject);
    let folders = ["etc/polkit-1", "usr/local/share/polkit-1", "usr/share/polkit-1", "var/lib/polkit-1"];
    for (path, text) in folders.iter().flat_map(|folder| subject.texts(folder)) {
        let gives = match path.rsplit('.').next() {
            Some("rules") => text.contains("Result.YES") || text.contains("addAdminRule"),
            Some("pkla") => text.lines().any(|line| {
                let plain: String = line.split_whitespace().collect();
                plain.starts_with("Result") && plain.ends_with("=yes")
            }),
            _ => false,
        };
        if gives && !packaged.contains(path) {
            findings.at(path, "polkit lets somebody do what only root may, without a password");
        }
    }
}
