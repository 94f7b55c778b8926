//! What each machine must make for itself, and what the making of an image leaves behind.

use super::{Findings, Subject, upper};
use crate::tree::Node;

/// Patterns of files that are one machine's own, if they are not empty.
const OWN: &[(&str, &str)] = &[
    ("etc/machine-id", "all machines would have this machine-id"),
    ("var/lib/dbus/machine-id", "all machines would have this machine-id"),
    ("etc/ssh/ssh_host_*_key*", "all machines would have this host key"),
    ("etc/hostname", "all machines would have this name"),
    ("var/lib/systemd/random-seed", "all machines would begin with this randomness"),
    ("var/lib/systemd/credential.secret", "all machines would have this secret"),
    ("var/lib/NetworkManager/secret_key", "all machines would have this secret"),
    ("etc/iscsi/initiatorname.iscsi", "all machines would be this initiator"),
    ("etc/nvme/hostnqn", "all machines would be this host of NVMe"),
    ("etc/nvme/hostid", "all machines would be this host of NVMe"),
];

/// The only contents of a machine-id that each machine replaces: machine-id(5).
const NO_MACHINE_ID: &str = "uninitialized";

/// Patterns of traces.
const LEFTOVERS: &[(&str, &str)] = &[
    ("root/.*_history", "commands of whoever made the image"),
    ("home/*/.*_history", "commands of whoever made the image"),
    ("root/.gitconfig", "settings of whoever made the image"),
    ("root/.lesshst", "a trace of whoever made the image"),
    ("root/.viminfo", "a trace of whoever made the image"),
    ("var/lib/cloud/instance*/**", "what cloud-init did on another machine"),
    ("var/lib/dhcp/*.lease*", "an address of another machine"),
    ("var/lib/systemd/network/**", "an address of another machine"),
    ("var/log/**", "a log of another machine"),
    ("run/log/**", "a log of another machine"),
    ("var/lib/systemd/pstore/**", "a crash of another machine"),
    ("var/lib/NetworkManager/*.lease", "an address of another machine"),
    ("var/lib/apt/lists/*Packages*", "package lists: space for nothing"),
    ("var/cache/apt/archives/*.deb", "packages: space for nothing"),
    ("var/crash/**", "memory of a process of another machine"),
    ("var/lib/systemd/coredump/**", "memory of a process of another machine"),
    ("var/lib/kubelet/pki/**", "the identity of another node"),
    ("var/lib/kubelet/pods/**", "pods of another node"),
    ("var/lib/etcd/**", "the state of another cluster"),
    ("etc/udev/rules.d/70-persistent-net.rules", "network cards of another machine"),
    ("etc/kubernetes/bootstrap-kubelet.conf", "a join of another machine"),
    ("tmp/**", "a temporary file"),
    ("var/tmp/**", "a temporary file"),
];

pub(super) fn own(subject: &Subject, findings: &mut Findings<'_>) {
    matching(subject, OWN, |path, _, why| {
        let text = subject.text(path).unwrap_or_default();
        if !text.trim().is_empty() && text.trim() != NO_MACHINE_ID {
            findings.at(path, why);
        }
    });
}

pub(super) fn leftovers(subject: &Subject, findings: &mut Findings<'_>) {
    upper::changes(subject, findings);
    matching(subject, LEFTOVERS, |path, is_link, why| {
        // A link leads to what is not left over.
        if !is_link && subject.file(path).is_some_and(|(_, body)| !body.is_empty()) {
            findings.at(path, why);
        }
    });
}

/// Calls `found` for each file that has one of the patterns, and tells whether it is a link.
fn matching(subject: &Subject, rows: &[(&str, &str)], mut found: impl FnMut(&str, bool, &str)) {
    for (wanted, why) in rows {
        for (path, entry) in subject.matching(wanted) {
            if !matches!(entry.node, Node::Directory) {
                found(path, matches!(entry.node, Node::Symlink(_)), why);
            }
        }
    }
}
