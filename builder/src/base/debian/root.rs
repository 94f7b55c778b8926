//! The root file system, from locked packages alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::packages::stanzas;
use super::{at_epoch, repository};
use crate::definition::plan::{Arch, BasePlan};
use crate::error::{Class, Error, IoContext, Result};
use crate::layer::read::{ReadPolicy, tree_from_stream};
use crate::lock::LockedPackage;
use crate::process::{Run, check, tool};
use crate::scratch::{self, Scratch};
use crate::tree::Tree;

/// Part of the base's key in the store: raise it when the same packages come to give other bytes.
pub const FORMAT: u32 = 1;

/// What dpkg does not unpack. Copyright files stay: licences ask for them.
const DPKG_OPTIONS: [&str; 8] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bash-completion/*",
    "path-exclude=/usr/share/zsh/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// Files that the installation leaves and an image must not have: logs, caches, identities, the private repository's traces.
const LEFTOVERS: [&str; 18] = [
    "etc/.pwd.lock",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/fstab",
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/available",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/systemd/random-seed",
];

/// Folders whose content the installation leaves; the folders themselves stay.
const EMPTIED: [&str; 8] = ["boot/grub", "run", "tmp", "var/cache/apt", "var/lib/apt", "var/log", "var/tmp", "var/cache/debconf"];

/// The base's tree from `packages`, which lie verified where `blob` says. No network, and no root: as an ordinary user in a user
/// namespace. Bodies are slices of a new file in `spool`.
pub fn build(
    base: &BasePlan,
    arch: Arch,
    packages: &[&LockedPackage],
    blob: &(dyn Fn(&LockedPackage) -> PathBuf + Sync),
    epoch: u64,
    spool: &Path,
) -> Result<Tree> {
    // In a user namespace mmdebstrap cannot look into a private home folder, so the repository lies in the folder for temporary files.
    let temporary = std::env::temp_dir();
    scratch::sweep(&temporary)?;
    let scratch = Scratch::new(&temporary)?;
    let folder = scratch.path().join("repository");
    fs::create_dir(&folder).at("creating", &folder)?;
    for path in [scratch.path(), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).at("changing the mode of", path)?;
    }
    repository::fill(&folder, packages, blob, epoch)?;
    let stderr = scratch.path().join("mmdebstrap.log");
    let mut tree = run(&mut mmdebstrap(base, arch, packages, &folder, epoch), &stderr, spool)?;
    check_packages(&tree, packages)?;
    clean(&mut tree);
    Ok(tree)
}

fn mmdebstrap(base: &BasePlan, arch: Arch, packages: &[&LockedPackage], folder: &Path, epoch: u64) -> Command {
    let root = nix::unistd::geteuid().is_root();
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).chain([repository::STAND_IN]).collect();
    let mut command = at_epoch(tool("mmdebstrap"), epoch);
    command
        .arg(if root { "--mode=root" } else { "--mode=unshare" })
        .args(["--variant=essential", "--format=tar", "--aptopt=APT::Install-Recommends \"false\""])
        .args(["--aptopt=Acquire::Languages \"none\"", "--skip=check/qemu,check/signed-by"])
        .args(DPKG_OPTIONS.iter().map(|option| format!("--dpkgopt={option}")))
        .arg(format!("--architectures={}", arch.debian()))
        .arg(format!("--include={}", names.join(",")))
        .args([&base.suite, "-"])
        .arg(format!("deb [trusted=yes] copy:{} ./", folder.display()));
    command
}

/// Runs mmdebstrap and reads the tar that it writes.
fn run(command: &mut Command, stderr: &Path, spool: &Path) -> Result<Tree> {
    let log = File::create_new(stderr).at("creating", stderr)?;
    let mut child = command.stdout(Stdio::piped()).stderr(log.try_clone().at("opening", stderr)?).start("mmdebstrap uidmap")?;
    let stdout = child.stdout.take().ok_or_else(|| Error::new(Class::Internal, "mmdebstrap has no standard output"))?;
    let tree = tree_from_stream(stdout, spool, ReadPolicy::Base);
    let status = child.wait().at("waiting for mmdebstrap, which logs to", stderr)?;
    let said = tail(stderr)?;
    // Its own failure explains a broken stream, but not the other way round: when reading failed, it was cut off.
    match tree {
        Err(error) if error.class() == Class::Io => Err(error),
        tree => {
            check(command, status, said.as_bytes()).map_err(|error| explain(error, &said))?;
            tree
        }
    }
}

/// The last lines of the log.
fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path).at("opening", path)?;
    let start = file.metadata().at("reading", path)?.len().saturating_sub(4000);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut bytes)).at("reading", path)?;
    // Its own long lines (one names every package) hide the reason.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter(|line| line.len() < 500).collect::<Vec<_>>().join("\n"))
}

/// The usual reasons why mmdebstrap cannot work, and what to do about them.
fn explain(error: Error, said: &str) -> Error {
    let reasons = [
        ("/etc/subuid", "give the user a range of ids: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"),
        ("newuidmap", "install uidmap: apt-get install uidmap"),
        ("unprivileged_userns_clone", "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"),
        (
            "unshare",
            "allow user namespaces for ordinary users (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or build as root",
        ),
        ("No space left", "free some space, or name another folder for temporary files with TMPDIR"),
    ];
    match reasons.iter().find(|(sign, _)| said.contains(sign)) {
        Some((_, help)) => error.help(*help),
        None => error.help("if packages do not fit each other: kiln lock --upgrade"),
    }
}

/// dpkg's database must name exactly the locked packages.
fn check_packages(tree: &Tree, packages: &[&LockedPackage]) -> Result<()> {
    let path = "var/lib/dpkg/status";
    let body = tree.file(path).ok_or_else(|| Error::new(Class::Tool, format!("the base has no {path}")))?;
    let status = String::from_utf8_lossy(&body.read().at("reading", path)?).into_owned();
    let installed: BTreeSet<(&str, &str)> =
        stanzas(&status).map(|stanza| (stanza.name, stanza.version)).filter(|(name, _)| *name != repository::STAND_IN).collect();
    let locked: BTreeSet<(&str, &str)> = packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
    if installed == locked {
        return Ok(());
    }
    let list = |names: Vec<&(&str, &str)>| names.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ");
    let missing = list(locked.difference(&installed).collect());
    let extra = list(installed.difference(&locked).collect());
    Err(Error::new(Class::Lock, format!("the base is not what the lock says; missing: {missing}; not locked: {extra}"))
        .help("run kiln lock --upgrade"))
}

fn clean(tree: &mut Tree) {
    for path in LEFTOVERS {
        tree.remove(path);
    }
    let below_emptied = |path: &str| EMPTIED.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
    // Folders of packages in var/log (with owners of their own) stay.
    tree.entries.retain(|path, entry| !below_emptied(path) || matches!(entry.node, crate::tree::Node::Directory));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Body, Entry};

    #[test]
    fn leftovers_go_and_folders_stay() {
        let mut tree = Tree::default();
        for path in ["etc/hostname", "etc/hosts.allow", "var/log/dpkg.log", "tmp/x"] {
            tree.insert(path, Entry::file(Body::inline(*b"x"), 0o644));
        }
        tree.insert("var/log/journal", Entry::directory(0o2755));
        clean(&mut tree);
        assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["etc/hosts.allow", "var/log/journal"]);
    }

    #[test]
    fn known_failures_are_explained() {
        let error = explain(Error::new(Class::Tool, "x"), "E: nobody needs an entry in /etc/subuid");
        assert!(error.hint().unwrap().contains("usermod"));
    }
}
