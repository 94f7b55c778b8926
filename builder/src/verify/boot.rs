//! Kernel command lines of the boot partition.

use std::path::Path;

use super::{Findings, Subject};
use crate::error::Result;
use crate::process::{Run, tool};

/// Arguments that open a machine or weaken it, and why. One that ends in `=` may have any value.
const OPEN: &[(&str, &str)] = &[
    ("systemd.debug_shell", "a shell of root without a password"),
    ("systemd.debug_shell=", "a shell of root without a password"),
    ("systemd.debug-shell", "a shell of root without a password"),
    ("systemd.debug-shell=", "a shell of root without a password"),
    ("rd.systemd.debug_shell", "a shell of root without a password"),
    ("rd.systemd.debug_shell=", "a shell of root without a password"),
    ("systemd.wants=debug-shell.service", "a shell of root without a password"),
    ("systemd.unit=debug-shell.service", "a shell of root without a password"),
    ("SYSTEMD_SULOGIN_FORCE=1", "a shell of root without a password"),
    ("rd.break", "a shell of root without a password"),
    ("init=", "another program is the first"),
    ("rdinit=", "another program is the first"),
    ("1", "a shell of root at the console"),
    ("rescue", "a shell of root at the console"),
    ("single", "a shell of root at the console"),
    ("emergency", "a shell of root at the console"),
    ("systemd.unit=rescue.target", "a shell of root at the console"),
    ("systemd.unit=emergency.target", "a shell of root at the console"),
    ("apparmor=0", "pods are not confined"),
    ("selinux=0", "pods are not confined"),
    ("enforcing=0", "pods are not confined"),
    ("security=none", "pods are not confined"),
    ("mitigations=off", "pods can read each other's memory on many processors"),
    ("nokaslr", "attacks on the kernel are easier"),
    ("module.sig_enforce=0", "the kernel takes unsigned modules"),
    ("audit=0", "nothing is written of what happened"),
];

/// The `options` of each entry of the Boot Loader Specification, on the FAT file system at `offset` of the
/// file `disk`.
///
/// # Errors
/// [`crate::error::ErrorKind::Tool`].
pub(super) fn command_lines(disk: &Path, offset: u64) -> Result<Vec<String>> {
    const ENTRIES: &str = "::/loader/entries/*.conf";
    let image = format!("{}@@{offset}", disk.display());
    // Fails where there is no such folder, as on a vendor's disk.
    let Ok(output) = tool("mtype").args(["-i", &image, ENTRIES]).run("mtools") else {
        return tool("mdir").args(["-i", &image, "::/"]).run("mtools").map(|_| Vec::new());
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let options = |line: &str| {
        let (key, value) = line.trim_start().split_once(char::is_whitespace)?;
        (key == "options").then(|| value.to_owned())
    };
    Ok(text.lines().filter_map(options).collect())
}

pub(super) fn arguments(subject: &Subject, findings: &mut Findings<'_>) {
    for word in subject.command_lines.iter().flat_map(|line| line.split_whitespace()) {
        let fits = |wanted: &str| word == wanted || (wanted.ends_with('=') && word.starts_with(wanted));
        if let Some((_, why)) = OPEN.iter().find(|(wanted, _)| fits(wanted)) {
            findings.add(word, *why);
        }
    }
}
