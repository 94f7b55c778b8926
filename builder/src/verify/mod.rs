//! Checks a finished image offline, as image-builder's goss does in a running machine: what must not be in it
//! (credentials, identity, leftovers, ways in), and what a node needs.
//!
//! A check is a function on the image's tree and one row in [`CHECKS`]. It looks at contents, not at names
//! alone.

mod accounts;
mod arguments;
mod boot;
pub mod cis;
mod consoles;
mod identity;
mod key_marks;
mod kubernetes;
mod links;
mod modes;
mod network;
mod origin;
mod owners;
mod pam;
mod secrets;
mod sshd;
mod subject;
mod sudoers;
mod text;
mod tmpfiles;
mod unit_files;
mod units;
mod upper;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use serde::Serialize;

use crate::base::rootfs::{self, Installed, Source};
use crate::definition::plan::Arch;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::tree::Tree;
use links::BehindLinks;
use subject::LARGEST_TEXT;
pub use windows::Windows;

/// An image to be checked.
#[derive(Debug)]
pub struct Subject {
    /// Its root file system; `/var` as a machine has it at first boot. It stays as it is from the first check
    /// on.
    pub tree: Tree,
    /// For which architecture.
    pub arch: Arch,
    /// Kernel command lines of its boot entries; none if the image has no boot partition.
    pub command_lines: Vec<String>,
    /// Digests of single files that the manifest vouches for, with the names of their artifacts.
    pub vouched: Vec<(String, Digest)>,
    /// The image, if it is one of Windows. Then the tree is empty.
    pub windows: Option<Windows>,
    /// The files of packages.
    packaged: OnceLock<BTreeSet<String>>,
    behind_links: OnceLock<BehindLinks>,
    /// What a check wanted to read and could not, and why.
    unread: Mutex<BTreeMap<String, String>>,
}

impl Subject {
    /// An image of Linux, without command lines.
    pub fn new(tree: Tree, arch: Arch) -> Self {
        let (command_lines, vouched, windows) = (Vec::new(), Vec::new(), None);
        let (packaged, behind_links, unread) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        Self { tree, arch, command_lines, vouched, windows, packaged, behind_links, unread }
    }

    fn of_windows(windows: Windows, arch: Arch) -> Self {
        Self { windows: Some(windows), ..Self::new(Tree::default(), arch) }
    }

    /// Whether it has a kubelet.
    pub fn is_node(&self) -> bool {
        match &self.windows {
            Some(windows) => windows.is_node(),
            None => kubernetes::kubelet_of(self).is_some(),
        }
    }

    /// How many files and folders it has.
    pub fn count(&self) -> usize {
        self.windows.as_ref().map_or(self.tree.entries.len(), Windows::count)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    /// The file, folder or setting.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

/// A check.
struct Check {
    name: &'static str,
    /// What to do about its findings.
    help: &'static str,
    run: fn(&Subject, &mut Findings<'_>),
}

/// All checks of Linux. Another one is a function and a row here; [`windows::CHECKS`] has those of Windows.
const CHECKS: &[Check] = &[
    Check {
        name: "password",
        help: "lock the account: its second field in /etc/shadow is \"*\" or \"!\"",
        run: accounts::passwords,
    },
    Check {
        name: "account",
        help: "remove the account, or give it a number of its own",
        run: accounts::superusers,
    },
    Check { name: "sudo", help: "remove the rule: nobody logs in to a node", run: accounts::sudo },
    Check { name: "identity", help: "remove it: each machine makes its own", run: identity::own },
    Check { name: "leftover", help: "remove it before the image is made", run: identity::leftovers },
    Check {
        name: "key",
        help: "remove it: credentials come at first boot, from metadata",
        run: secrets::credentials,
    },
    Check {
        name: "token",
        help: "remove it: credentials come at first boot, from metadata",
        run: secrets::in_that_pass,
    },
    Check { name: "login", help: "remove it, or use the layer break-glass", run: secrets::authorized_keys },
    Check { name: "world-writable", help: "take the right to write from others", run: modes::world_writable },
    Check { name: "setuid", help: "remove the bit or the program", run: modes::setuid },
    Check { name: "owner", help: "give it to root", run: owners::owners },
    Check { name: "secret-mode", help: "give it the mode 0600", run: modes::of_secrets },
    Check { name: "debug-shell", help: "disable the unit", run: units::shells },
    Check { name: "unit", help: "repair or disable the unit", run: units::broken },
    Check { name: "ssh", help: "forbid it in sshd's configuration", run: sshd::open },
    Check {
        name: "package-source",
        help: "remove the option: packages must be signed",
        run: network::sources,
    },
    Check { name: "preload", help: "remove it: every program loads that library", run: network::preload },
    Check {
        name: "runtime",
        help: "take the setting out of the runtime's configuration",
        run: kubernetes::runtime,
    },
    Check {
        name: "kubelet",
        help: "take the setting out of the kubelet's configuration",
        run: kubernetes::kubelet,
    },
    Check { name: "node", help: "add the layer that brings it", run: kubernetes::node },
    Check { name: "kernel-argument", help: "take it out of kernel-arguments", run: arguments::open },
    Check {
        name: "package-file",
        help: "find out who changed it; build the image anew",
        run: origin::packages,
    },
    Check { name: "artifact", help: "find out who changed it; build the image anew", run: origin::artifacts },
    // The last one: it tells what the others could not read.
    Check { name: "unread", help: "look at it yourself, or take it out of the image", run: subject::unread },
];

/// Where a check puts what it finds.
struct Findings<'a> {
    check: &'static str,
    found: &'a mut BTreeSet<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.found.insert(Finding { check: self.check, what: what.into(), why: why.into() });
    }

    /// The same place for another check.
    fn of(&mut self, check: &'static str) -> Findings<'_> {
        Findings { check, found: self.found }
    }

    /// A path of the tree.
    fn at(&mut self, path: &str, why: impl Into<String>) {
        self.add(format!("/{path}"), why);
    }
}

/// Everything that is wrong with the image, without what `allowed` names: `CHECK`, or `CHECK:/PATH`.
pub fn verify(subject: &Subject, allowed: &[String]) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    for check in if subject.windows.is_some() { windows::CHECKS } else { CHECKS } {
        (check.run)(subject, &mut Findings { check: check.name, found: &mut found });
    }
    let is_allowed = |finding: &Finding| {
        allowed
            .iter()
            .any(|one| *one == finding.check || *one == format!("{}:{}", finding.check, finding.what))
    };
    found.into_iter().filter(|finding| !is_allowed(finding)).collect()
}

/// The findings of one check.
fn findings_of(subject: &Subject, name: &str) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    for check in CHECKS.iter().filter(|check| check.name == name) {
        (check.run)(subject, &mut Findings { check: check.name, found: &mut found });
    }
    found.into_iter().filter(|one| one.check == name).collect()
}

/// What to do about the findings of a check.
pub fn help(check: &str) -> &'static str {
    all().find(|row| row.name == check).map_or("", |row| row.help)
}

/// The names of all checks.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|check| check.name)
}

fn all() -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().chain(windows::CHECKS)
}

/// What is wanted of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// For which architecture.
    pub arch: Arch,
    /// Which image of several in a WIM.
    pub edition: Option<&'a str>,
}

/// Reads the image at `path` (raw, qcow2, fixed VHD, squashfs, tar, folder of an OCI layout; of Windows also
/// WIM, VHDX and dynamic VHD) into a subject. Its files lie in `spool`; `title` names it.
///
/// # Errors
/// When it is no such image, or broken, and when a tool or the disk fails.
pub fn read(path: &Path, title: &str, wanted: Wanted<'_>, store: &Store, spool: &Path) -> Result<Subject> {
    let Wanted { arch, edition } = wanted;
    let source = Source { path, title, arch, spool, store };
    let Installed { mut tree, disk } = match rootfs::read_installed(&source) {
        Ok(found) => found,
        Err(error) => {
            let windows = windows::read(path, title, edition, spool)?;
            return windows.map(|it| Subject::of_windows(it, arch)).ok_or(error);
        }
    };
    if tree.os_release("ID").is_none() {
        let message = format!("{title} holds no operating system: it has no os-release with an ID");
        return Err(Error::new(ErrorKind::Archive, message)
            .help("name a whole image: a disk, a root file system, an OCI layout"));
    }
    upper::lay(&mut tree);
    let mut subject = Subject::new(tree, arch);
    if let Some(disk) = &disk {
        let found = boot::of_partitions(&disk.path, &disk.boot, spool)?;
        subject.command_lines = found.command_lines;
        found.unread.into_iter().for_each(|(what, why)| subject.not_read(what, why));
    }
    let in_tree = boot::of_tree(&subject);
    subject.command_lines.extend(in_tree);
    if disk.is_some() && subject.command_lines.is_empty() {
        let why = "the disk has none in the places of boot loaders, so its arguments were not checked";
        subject.not_read("kernel command line".to_owned(), why.to_owned());
    }
    Ok(subject)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_accounts;
#[cfg(test)]
mod tests_image;
