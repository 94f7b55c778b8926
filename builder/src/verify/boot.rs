//! Kernel command lines of the boot partition, and of `/boot`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::{Findings, LARGEST_TEXT, Subject};
use crate::archive::pattern;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::pe;
use crate::process::{self, Run, tool};

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

/// Where boot loaders have their configurations on a boot partition: the Boot Loader Specification, GRUB,
/// SYSLINUX.
const CONFIGURATIONS: &[&str] = &[
    "/loader/entries/*.conf",
    "/grub.cfg",
    "/grub/grub.cfg",
    "/grub2/grub.cfg",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/EFI/*/grub.cfg",
    "/syslinux/*.cfg",
    "/extlinux/extlinux.conf",
];
/// Where the Boot Loader Specification looks for unified kernel images.
const UNIFIED: &str = "/EFI/Linux/*.efi";
/// The part of such an image that is its command line, and the most bytes of it.
const COMMAND_LINE: &str = ".cmdline";
const LONGEST: u64 = 64 << 10;
/// The most bytes of a unified kernel image. A broken file system may give bytes without an end.
const LARGEST_IMAGE: u64 = 1 << 30;
/// The most unified kernel images.
const MOST_IMAGES: usize = 16;

/// The command lines in the configurations and unified kernel images on the FAT file system at `offset` of
/// the file `disk`.
///
/// # Errors
/// [`ErrorKind::Tool`] if it is no FAT file system; [`ErrorKind::Archive`] if its files have no end.
pub(super) fn command_lines(disk: &Path, offset: u64, spool: &Path) -> Result<Vec<String>> {
    let image = format!("{}@@{offset}", disk.display());
    let mtools = |program: &str, more: &[&str], path: &str| {
        let mut command = tool(program);
        command.args(more).args(["-i", &image, &format!("::{path}")]);
        command
    };
    // Later errors are that a file is not there.
    copy(mtools("mdir", &["-b"], "/"), LARGEST_TEXT, &mut io::sink())?.check()?;
    let mut lines = Vec::new();
    for path in CONFIGURATIONS {
        let mut text = Vec::new();
        copy(mtools("mtype", &[], path), LARGEST_TEXT, &mut text)?;
        lines.extend(of_configuration(&String::from_utf8_lossy(&text)));
    }
    let mut images = Vec::new();
    copy(mtools("mdir", &["-b"], UNIFIED), LARGEST_TEXT, &mut images)?;
    let images = String::from_utf8_lossy(&images).into_owned();
    for path in images.lines().filter_map(|line| line.strip_prefix("::")).take(MOST_IMAGES) {
        let own = spool.join("unified.efi");
        let mut file = File::create(&own).at("creating", &own)?;
        copy(mtools("mtype", &[], path), LARGEST_IMAGE, &mut file)?.check()?;
        let read = File::open(&own).and_then(|mut file| pe::section(&mut file, COMMAND_LINE, LONGEST));
        lines.extend(read.at("reading", &own)?.map(|bytes| text_of(&bytes)));
    }
    Ok(lines)
}

/// A program that has ended.
struct Ended {
    command: Command,
    status: ExitStatus,
    said: Vec<u8>,
}

impl Ended {
    fn check(&self) -> Result<()> {
        process::check(&self.command, self.status, &self.said)
    }
}

/// Copies at most `most` bytes of what a program prints. One that prints more is ended.
fn copy(mut command: Command, most: u64, to: &mut dyn Write) -> Result<Ended> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.start("mtools")?;
    let failed =
        |error: io::Error| Error::new(ErrorKind::Tool, format!("reading what mtools prints: {error}"));
    let copied = child.stdout.take().map_or(Ok(0), |from| io::copy(&mut from.take(most + 1), to));
    let is_endless = copied.as_ref().map_or(true, |count| *count > most);
    if is_endless {
        child.kill().map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    copied.map_err(failed)?;
    if is_endless {
        let message = format!("the boot partition has a file of more than {most} bytes");
        return Err(Error::new(ErrorKind::Archive, message).help("fsck.fat -n shows what is wrong with it"));
    }
    Ok(Ended { command, status: output.status, said: output.stderr })
}

/// Those in configurations of the root file system.
pub(super) fn of_tree(subject: &Subject) -> Vec<String> {
    let is_one = |path: &str| {
        let path = format!("/{}", path.strip_prefix("boot/").unwrap_or(path));
        CONFIGURATIONS.iter().any(|wanted| pattern::matches(wanted, &path))
    };
    subject.texts_of("boot", is_one).flat_map(|(_, text)| of_configuration(&text)).collect()
}

/// What follows `options`, `append`, or the kernel behind `linux`.
fn of_configuration(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let (key, rest) = line.trim_start().split_once(char::is_whitespace)?;
        match key.to_ascii_lowercase().as_str() {
            "options" | "append" => Some(rest.trim().to_owned()),
            "linux" | "linux16" | "linuxefi" | "kernel" => rest
                .trim_start()
                .split_once(char::is_whitespace)
                .map(|(_, words)| words.trim().to_owned()),
            _ => None,
        }
    };
    text.lines().filter_map(line).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches(['\0', '\n', ' ']).to_owned()
}

pub(super) fn arguments(subject: &Subject, findings: &mut Findings<'_>) {
    for word in subject.command_lines.iter().flat_map(|line| line.split_whitespace()) {
        let fits = |wanted: &str| word == wanted || (wanted.ends_with('=') && word.starts_with(wanted));
        if let Some((_, why)) = OPEN.iter().find(|(wanted, _)| fits(wanted)) {
            findings.add(word, *why);
        }
    }
}
