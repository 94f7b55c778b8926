//! Rights.

use super::text::name_of;
use super::{Findings, Subject, origin};
use crate::tree::Node;

const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_RUNS: u32 = 0o010;
const STICKY: u32 = 0o1000;

/// Programs that need root's rights by design, by the name of their file.
const MAY_BE_SETUID: &[&str] = &[
    "chage",
    "chfn",
    "chsh",
    "dbus-daemon-launch-helper",
    "expiry",
    "fusermount",
    "fusermount3",
    "gpasswd",
    "mount",
    "mount.nfs",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "passwd",
    "pkexec",
    "polkit-agent-helper-1",
    "ssh-keysign",
    "su",
    "sudo",
    "umount",
    "unix_chkpwd",
];

/// Programs that need a group's rights by design.
const MAY_BE_SETGID: &[&str] = &[
    "bsd-write",
    "chage",
    "crontab",
    "dotlockfile",
    "expiry",
    "pam_extrausers_chkpwd",
    "ssh-agent",
    "unix_chkpwd",
    "utempter",
    "wall",
    "write",
];

/// Programs that need a capability by design.
const MAY_HAVE_CAPABILITIES: &[&str] =
    &["arping", "clockdiff", "fping", "mtr-packet", "newgidmap", "newuidmap", "ping", "snap-confine"];

/// The attribute with the capabilities of a file: capabilities(7).
const CAPABILITY: &str = "security.capability";

/// Files that only root reads.
const SECRET: &[&str] = &["etc/shadow", "etc/gshadow", "etc/shadow-", "etc/gshadow-", "etc/sudoers"];

pub(super) fn world_writable(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, entry) in &subject.tree.entries {
        let is_open = match entry.node {
            Node::Symlink(_) => false,
            Node::Directory => entry.mode & OTHERS_WRITE != 0 && entry.mode & STICKY == 0,
            Node::File(_) => entry.mode & OTHERS_WRITE != 0,
        };
        if is_open {
            findings.at(path, format!("everybody may write it (mode {:04o})", entry.mode));
        }
    }
}

/// Folders of the programs above.
const PROGRAMS: &[&str] = &["usr/bin", "usr/sbin", "bin", "sbin"];
/// Below `/usr/lib*` their helpers are in folders with these names, or right there.
const HELPERS: &[&str] = &[
    "dbus-1",
    "dbus-1.0",
    "lib",
    "lib64",
    "libexec",
    "misc",
    "openssh",
    "policykit-1",
    "polkit-1",
    "snapd",
    "ssh",
    "utempter",
];

pub(super) fn setuid(subject: &Subject, findings: &mut Findings<'_>) {
    let packaged = origin::packaged(subject);
    for (path, entry) in &subject.tree.entries {
        let is_system = is_place_of_programs(path) && (packaged.is_empty() || packaged.contains(path));
        let may = |list: &[&str]| is_system && list.contains(&name_of(path));
        if !matches!(entry.node, Node::File(_)) {
            continue;
        }
        if entry.mode & SETUID != 0 && !may(MAY_BE_SETUID) {
            findings.at(path, "whoever runs it gets its owner's rights");
        } else if entry.mode & SETGID != 0 && entry.mode & GROUP_RUNS != 0 && !may(MAY_BE_SETGID) {
            findings.at(path, "whoever runs it gets its group's rights");
        } else if entry.xattrs.contains_key(CAPABILITY) && !may(MAY_HAVE_CAPABILITIES) {
            findings.at(path, "whoever runs it gets capabilities");
        }
    }
}

fn is_place_of_programs(path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    PROGRAMS.contains(&folder) || (folder.starts_with("usr/lib") && HELPERS.contains(&name_of(folder)))
}

pub(super) fn of_secrets(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, entry) in &subject.tree.entries {
        let is_key = ["etc/", "root/", "var/"].iter().any(|folder| path.starts_with(folder))
            && path.ends_with(".key")
            && matches!(entry.node, Node::File(_));
        let is_secret = SECRET.contains(&path.as_str()) && !matches!(entry.node, Node::Symlink(_));
        if (is_key || is_secret) && entry.mode & (OTHERS_READ | OTHERS_WRITE) != 0 {
            findings.at(path, format!("everybody may read it (mode {:04o})", entry.mode));
        }
    }
}
