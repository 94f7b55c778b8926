//! What a vendor's root brings that an immutable image must not keep. This table is the only place; the one
//! in docs/reference.md is written from it.

use crate::archive::pattern;
use crate::tree::{Body, Entry, Tree};

/// What happens to the paths of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Left out, with everything below.
    Removed,
    /// There as an empty file.
    Emptied,
    /// The contents are left out, the folder stays.
    Cleared,
    /// Units, masked where the root has them.
    Masked,
}

/// Some of what a vendor's root has.
struct Row {
    fate: Fate,
    /// Patterns of paths, as of [`pattern`]; names of units for [`Fate::Masked`].
    what: &'static [&'static str],
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page alone"))]
    why: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        fate: Fate::Emptied,
        what: &["etc/machine-id", "etc/hosts", "etc/resolv.conf"],
        why: "each machine has its own; a layer may replace the file",
    },
    Row {
        fate: Fate::Removed,
        what: &["var/lib/dbus/machine-id", "etc/hostname", "etc/machine-info", "etc/ssh/ssh_host_*_key*"],
        why: "each machine makes its own",
    },
    Row {
        fate: Fate::Removed,
        what: &[
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "root/.ssh",
            "root/.*_history",
        ],
        why: "secrets and randomness of the vendor's machine",
    },
    Row {
        fate: Fate::Removed,
        what: &["etc/fstab", "etc/crypttab"],
        why: "they name the vendor's partitions; the initrd finds the image's own",
    },
    Row {
        fate: Fate::Removed,
        what: &[
            "boot/initrd*",
            "boot/initramfs*",
            "boot/grub*",
            "boot/efi",
            "boot/loader",
            "boot/vmlinuz-0-rescue-*",
            "efi",
            "initrd.img*",
            "vmlinuz*",
        ],
        why: "the image has its own initrd and boot entry",
    },
    Row { fate: Fate::Cleared, what: &["var/lib/cloud"], why: "what cloud-init did for the vendor" },
    Row {
        fate: Fate::Removed,
        what: &[
            "etc/.updated",
            "var/.updated",
            "etc/.pwd.lock",
            "var/log/**/*.log",
            "var/log/**/*.gz",
            "var/log/installer",
            "var/lib/dpkg/*-old",
            "var/lib/dpkg/lock*",
            "lost+found",
            "boot/lost+found",
        ],
        why: "traces of the vendor's build",
    },
    Row {
        fate: Fate::Cleared,
        what: &[
            "var/log/journal",
            "var/log/apt",
            "var/cache/apt",
            "var/cache/dnf",
            "var/cache/ldconfig",
            "var/lib/apt/lists",
            "var/tmp",
        ],
        why: "logs and caches",
    },
    Row {
        fate: Fate::Masked,
        what: &[
            "cloud-init-local.service",
            "cloud-init-main.service",
            "cloud-init-network.service",
            "cloud-init.service",
            "cloud-config.service",
            "cloud-final.service",
        ],
        why: "the agent configures the machine, out of the same user data",
    },
    Row {
        fate: Fate::Masked,
        what: &[
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "unattended-upgrades.service",
            "dnf-makecache.timer",
        ],
        why: "nothing can be installed on a read-only root",
    },
    Row { fate: Fate::Masked, what: &["growroot.service"], why: "the initrd grows the disk" },
];

/// `tree` without the vendor's state.
pub(super) fn without(mut tree: Tree) -> Tree {
    for row in ROWS {
        for what in row.what {
            apply(&mut tree, row.fate, what);
        }
    }
    tree
}

fn apply(tree: &mut Tree, fate: Fate, what: &str) {
    match fate {
        Fate::Masked => mask(tree, what),
        Fate::Emptied => {
            tree.insert(what, Entry::file(Body::inline([]), 0o644));
        }
        Fate::Removed => {
            let found: Vec<String> = pattern::entries(tree, what).map(|(path, _)| path.clone()).collect();
            found.iter().for_each(|path| tree.remove(path));
        }
        Fate::Cleared => tree.remove_below(what),
    }
}

fn mask(tree: &mut Tree, unit: &str) {
    let folders = ["usr/lib/systemd/system", "etc/systemd/system"];
    if folders.iter().any(|folder| tree.get(&format!("{folder}/{unit}")).is_some()) {
        tree.insert(format!("etc/systemd/system/{unit}"), Entry::symlink("/dev/null"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            tree.insert(*path, Entry::file(Body::inline(*b"vendor"), 0o600));
        }
        tree.complete();
        tree
    }

    #[test]
    fn a_vendors_state_does_not_come_into_an_image() {
        let state = [
            "boot/grub/grub.cfg",
            "boot/initrd.img-6.12",
            "etc/fstab",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "root/.bash_history",
            "var/cache/apt/pkgcache.bin",
            "var/lib/cloud/instance/user-data.txt",
            "var/log/apt/term.log",
            "var/log/cloud-init.log",
        ];
        let own = [
            "boot/vmlinuz-6.12",
            "etc/ssh/sshd_config",
            "usr/lib/systemd/system/cloud-final.service",
            "var/lib/dpkg/status",
            "var/log/btmp",
        ];
        let clean = without(tree(&[state.as_slice(), own.as_slice()].concat()));
        let files: Vec<&str> = clean
            .entries
            .iter()
            .filter(|(_, entry)| entry.node != Node::Directory)
            .map(|(path, _)| path.as_str())
            .collect();
        let made =
            ["etc/hosts", "etc/machine-id", "etc/resolv.conf", "etc/systemd/system/cloud-final.service"];
        let mut expected = [own.as_slice(), made.as_slice()].concat();
        expected.sort_unstable();
        assert_eq!(files, expected);
        assert!(clean.file("etc/machine-id").unwrap().is_empty());
        assert_eq!(
            clean.get("etc/systemd/system/cloud-final.service").unwrap(),
            &Entry::symlink("/dev/null")
        );
        assert!(clean.get("var/lib/cloud").is_some(), "a cleared folder stays");
    }

    /// The table in docs/reference.md is this one; the test prints it when it is not.
    #[test]
    fn the_reference_has_this_table() {
        let mut table = String::from("| | of the vendor's root | why |\n|---|---|---|\n");
        for Row { fate, what, why } in ROWS {
            let slash = if *fate == Fate::Masked { "" } else { "/" };
            let what: Vec<String> = what.iter().map(|what| format!("`{slash}{what}`")).collect();
            table += &format!("| {} | {} | {why} |\n", format!("{fate:?}").to_lowercase(), what.join(", "));
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        assert!(std::fs::read_to_string(page).unwrap().contains(&table), "docs/reference.md lacks:\n{table}");
    }
}
