//! Turns messages of apt, dpkg and mmdebstrap into errors that say what to do.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use super::{Distribution, SnapshotService};
use crate::base::ALLOW_EXPIRED_FLAG;
use crate::definition::plan::Arch;
use crate::definition::snapshot::Snapshot;
use crate::disk_space;
use crate::error::{Error, ErrorKind, Result};
use crate::namespaces;
use crate::process::Run;

/// How many user and group numbers a root needs: the last is `nogroup`'s 65534.
const SUBORDINATE_IDS: u64 = 65_536;

/// How many lines of a failed build are shown.
const TAIL_LINES: usize = 15;

/// What apt says of lists without a signature that counts.
const UNSIGNED: [&str; 6] = [
    "NO_PUBKEY",
    "is not signed",
    "BADSIG",
    "no longer signed",
    "Missing key",
    "Clearsigned file isn't valid",
];

/// A failure of `apt-get update`, from a snapshot of the archive or from a mirror.
pub(super) fn update(distribution: &Distribution, snapshot: Option<Snapshot>, error: Error) -> Error {
    if error.kind() != ErrorKind::Tool || error.hint().is_some() {
        return error;
    }
    let said = error.message();
    let (flag, variable) = (distribution.mirror.flag(), distribution.mirror.variable);
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let help = if has(&["is expired (invalid since", "Valid-Until"]) {
        format!(
            "the package lists are older than the archive allows; for a frozen mirror that is normal: accept it with {ALLOW_EXPIRED_FLAG}"
        )
    } else if has(&["is not valid yet"]) {
        "the package lists are from the future: set this machine's clock".into()
    } else if has(&UNSIGNED) {
        format!(
            "the lists are not signed by {}'s keys: update {} (newer suites need newer keys){}, or choose another mirror",
            distribution.title,
            distribution.keys.package,
            distribution
                .keys
                .option
                .map_or_else(String::new, |option| format!(", name other keys with --{option} FILE"))
        )
    } else if has(&["Hash Sum mismatch", "unexpected size", "Mirror sync in progress"]) {
        format!(
            "the mirror's lists do not fit together: it is being updated, or somebody has changed them; try again later, or choose another mirror with {flag} or {variable}"
        )
    } else if let Some(time) = snapshot {
        let SnapshotService { option, variable, .. } = distribution.snapshots;
        format!(
            "check that the archive had this suite at {time}, and that the snapshot service (--{option} or {variable}) can be reached"
        )
    } else if has(&["does not have a Release file", "404  Not Found"]) {
        format!("check the suite's name, and that the mirror ({flag} or {variable}) has it")
    } else {
        format!("check the network and the proxy, or choose another mirror with {flag} or {variable}")
    };
    Error::new(ErrorKind::Fetch, said.to_owned()).help(help)
}

/// The package that apt does not know.
pub(super) fn unknown_package(said: &str) -> Option<String> {
    said.lines().find_map(|line| {
        let line = line.strip_prefix("E: ")?;
        let located = line.strip_prefix("Unable to locate package ");
        let quoted = || {
            line.strip_prefix("Package '")?
                .split_once("' has no installation candidate")
                .map(|(name, _)| name)
        };
        located.or_else(quoted).map(|name| name.trim().to_owned())
    })
}

/// Any other failure to find a closure.
pub(super) fn unsatisfiable(distribution: &Distribution, error: Error, suite: &str) -> Error {
    let Some((_, said)) = error.message().split_once("unmet dependencies") else { return error };
    let said = format!(
        "these packages cannot be installed together from {} {suite}: unmet dependencies{said}",
        distribution.title
    );
    Error::new(ErrorKind::Definition, said)
        .help("remove one of them from base.packages, or from the layer that asks for it")
}

/// What lets the maintainer scripts of another architecture run.
const EMULATION: &str = "they run by emulation: apt-get install qemu-user-static arch-test (without systemd, as in a \
     container, also: mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; /usr/lib/systemd/systemd-binfmt)";

/// An error when the maintainer scripts of packages for `arch` cannot run here. `probe` is a command that
/// succeeds if programs for it run.
pub(super) fn check_emulation(arch: Arch, probe: &mut Command) -> Result<()> {
    if arch == Arch::OF_THIS_MACHINE || probe.run("arch-test").is_ok() {
        return Ok(());
    }
    let (other, this) = (arch.name(), Arch::OF_THIS_MACHINE.name());
    let message =
        format!("the packages' scripts are programs for {other}, which do not run on this {this} machine");
    Err(Error::new(ErrorKind::Tool, message).help(EMULATION))
}

/// The user and the machine of a build, for the checks of user namespaces.
#[derive(Debug)]
pub(super) struct Host<'a> {
    /// Effective user number.
    pub uid: u32,
    /// Name of that user.
    pub user: &'a str,
    /// Where /etc, /proc and the programs are; `/` outside tests.
    pub root: &'a Path,
}

/// An error when mmdebstrap cannot make a user namespace here. Root needs none.
pub(super) fn check_namespaces(host: &Host<'_>) -> Result<()> {
    if host.uid == 0 {
        return Ok(());
    }
    let read = |path: &str| fs::read_to_string(host.root.join(path)).unwrap_or_default();
    let off = |path: &str| read(path).trim() == "0";
    if off("proc/sys/user/max_user_namespaces") || off("proc/sys/kernel/unprivileged_userns_clone") {
        return Err(Error::new(ErrorKind::Tool, "user namespaces are disabled on this machine, and without them only root can build a base")
            .help("as root: sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1; or run kiln as root"));
    }
    if !["usr/bin", "bin", "usr/sbin"]
        .iter()
        .any(|folder| host.root.join(folder).join("newuidmap").exists())
    {
        return Err(Error::new(
            ErrorKind::Tool,
            "newuidmap is missing, and without it only root can build a base",
        )
        .help("install it: apt-get install uidmap"));
    }
    for (file, option) in [("etc/subuid", "--add-subuids"), ("etc/subgid", "--add-subgids")] {
        if !has_range(&read(file), host) {
            return Err(Error::new(
                ErrorKind::Tool,
                format!("user {} has no range of {SUBORDINATE_IDS} numbers in /{file}", host.user),
            )
            .help(format!(
                "as root: usermod {option} 100000-165535 {} (choose a range that no other user has)",
                host.user
            )));
        }
    }
    Ok(())
}

/// subuid(5): `user:first:count`, the user by name or number.
fn has_range(text: &str, host: &Host<'_>) -> bool {
    text.lines().any(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next().is_some_and(|owner| owner == host.user || owner == host.uid.to_string());
        owner
            && fields
                .nth(1)
                .and_then(|count| count.parse::<u64>().ok())
                .is_some_and(|count| count >= SUBORDINATE_IDS)
    })
}

/// The important lines of a log: errors, which are far above its end, and then the end.
fn causes(said: &str) -> String {
    // dpkg also warns of every pre-dependency that is unpacked a moment later.
    let cause = |line: &str| {
        line.contains("error") || line.contains(" depends on ") || line.starts_with("  Package ")
    };
    let lines: Vec<&str> =
        said.lines().filter(|line| !line.starts_with("I: ") && !line.trim().is_empty()).collect();
    let (above, end) = lines.split_at(lines.len().saturating_sub(TAIL_LINES));
    above
        .iter()
        .filter(|line| cause(line))
        .take(TAIL_LINES)
        .chain(end)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

/// A failure of mmdebstrap, with the end of its log.
pub(super) fn build(status: ExitStatus, said: &str, folder: &Path) -> Error {
    let tail = causes(said);
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if disk_space::is_missed_in(said) {
        return Error::new(
            ErrorKind::Io,
            format!("no space left in {} while the base was built there:\n{tail}", folder.display()),
        )
        .help("free some space there, or name another folder with TMPDIR");
    }
    let error = Error::new(ErrorKind::Tool, format!("mmdebstrap failed ({status}):\n{tail}"));
    if has(&["neither be executed natively nor via qemu", "Exec format error"]) {
        error.help(EMULATION)
    } else if has(&[
        "unshare syscall failed",
        "failed to unshare the user namespace",
        "newuidmap",
        "unable to pick chroot mode",
    ]) {
        error.help(namespaces::advice())
    } else {
        error
    }
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
