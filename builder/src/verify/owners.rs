//! Owners: what root's programs trust, and another than root may change.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Subject};
use crate::archive::pattern;
use crate::base::installed::DATABASE;
use crate::tree::{Entry, Node};

/// Folders of what root's programs run or read.
const TRUSTED: &[&str] =
    &["etc/", "usr/", "opt/", "boot/", "bin/", "sbin/", "lib/", "lib32/", "lib64/", "root/", DATABASE];

/// What decides in `/etc` who becomes root. Services own folders of their own there.
const DECISIVE: &[&str] = &[
    "apt",
    "bash.bashrc",
    "cni",
    "containerd",
    "cron.d",
    "cron.daily",
    "cron.hourly",
    "cron.monthly",
    "cron.weekly",
    "crontab",
    "crio",
    "default",
    "docker",
    "environment",
    "firstboot",
    "fstab",
    "group",
    "gshadow",
    "hosts",
    "init.d",
    "kernel",
    "kubernetes",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ld.so.preload",
    "modprobe.d",
    "modules-load.d",
    "nsswitch.conf",
    "pam.conf",
    "pam.d",
    "passwd",
    "profile",
    "profile.d",
    "security",
    "shadow",
    "ssh",
    "ssl",
    "sudo.conf",
    "sudoers",
    "sudoers.d",
    "sysctl.d",
    "systemd",
    "sysusers.d",
    "tmpfiles.d",
    "udev",
];

/// Accounts of distributions that own what only they read or run, and what.
const KNOWN: &[(&str, &str)] = &[
    ("polkitd", "**/polkit-1/rules.d"),
    ("polkituser", "**/polkit-1/rules.d"),
    ("daemon", "usr/bin/at"),
    ("man", "usr/bin/man"),
    ("man", "usr/bin/mandb"),
    ("abrt", "usr/libexec/abrt*"),
];

/// The first number of accounts for people.
const FIRST_PERSON: u32 = 1000;
const GROUP_WRITES: u32 = 0o020;

/// Programs, units and settings that another than root may change, and owners that no account has.
pub(super) fn owners(subject: &Subject, findings: &mut Findings<'_>) {
    let (users, groups) = (names(subject, "etc/passwd"), names(subject, "etc/group"));
    let used = used_groups(subject);
    for (path, entry) in &subject.tree.entries {
        let is_trusted = TRUSTED
            .iter()
            .any(|folder| path.starts_with(folder) || *path == *folder.trim_end_matches('/'));
        let owner = users.get(&entry.uid).map(String::as_str);
        if is_trusted && entry.uid != 0 && !may_own(path, entry, owner) {
            findings.at(path, format!("it belongs to the user {}", entry.uid));
        } else if !users.is_empty() && owner.is_none() {
            findings.at(path, format!("no account has its owner {}", entry.uid));
        } else if !groups.is_empty() && !groups.contains_key(&entry.gid) {
            findings.at(path, format!("no group has its number {}", entry.gid));
        } else if is_trusted
            && entry.mode & GROUP_WRITES != 0
            && !matches!(entry.node, Node::Symlink(_))
            && used.contains(&entry.gid)
            && (entry.gid >= FIRST_PERSON || !is_of_service(path))
        {
            findings.at(path, format!("the group {} may change it (mode {:04o})", entry.gid, entry.mode));
        }
    }
}

/// Whether an account of the system may own it.
fn may_own(path: &str, entry: &Entry, owner: Option<&str>) -> bool {
    let Some(owner) = owner.filter(|_| entry.uid < FIRST_PERSON) else { return false };
    if KNOWN.iter().any(|(name, place)| *name == owner && pattern::matches(place, path)) {
        return true;
    }
    is_of_service(path)
}

/// Whether it is in a folder of `/etc` that a service may have for itself.
fn is_of_service(path: &str) -> bool {
    let first = path.strip_prefix("etc/").map(|rest| rest.split('/').next().unwrap_or(rest));
    first.is_some_and(|first| !DECISIVE.contains(&first.trim_end_matches('-')))
}

/// The names in a table such as `/etc/passwd`, by their numbers.
fn names(subject: &Subject, table: &str) -> BTreeMap<u32, String> {
    let text = subject.text(table).unwrap_or_default();
    let row = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.trim().parse().ok()?))
    };
    text.lines().filter_map(row).map(|(name, number)| (number, name)).collect()
}

/// Groups that another than root has: what they may write, somebody may.
fn used_groups(subject: &Subject) -> BTreeSet<u32> {
    let accounts = subject.text("etc/passwd").unwrap_or_default();
    let groups = subject.text("etc/group").unwrap_or_default();
    let own = accounts.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_other = fields.get(2).is_some_and(|number| number.trim() != "0");
        fields.get(3).filter(|_| is_other)?.trim().parse().ok()
    });
    let named = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let has_members = fields.get(3)?.split(',').any(|name| !["", "root"].contains(&name.trim()));
        fields.get(2).filter(|_| has_members)?.trim().parse().ok()
    });
    let mut used: BTreeSet<u32> = own.chain(named).collect();
    used.remove(&0);
    used
}
