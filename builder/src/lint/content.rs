//! What is wrong with a file of a layer: its mode, its name where systemd expects another, and its lines.

use super::unit_file;
use super::{Finding, place::UNITS};
use crate::certificates;
use crate::definition::plan::FilePlan;
use crate::definition::windows::names;

/// Folders in which only files with this ending are read, and the program that reads them.
const ENDINGS: [(&[&str], &[&str], &str); 7] = [
    (&["etc/sysctl.d", "usr/lib/sysctl.d"], &[".conf"], "sysctl.d(5)"),
    (&["etc/modules-load.d", "usr/lib/modules-load.d"], &[".conf"], "modules-load.d(5)"),
    (&["etc/modprobe.d", "usr/lib/modprobe.d"], &[".conf"], "modprobe.d(5)"),
    (&["etc/tmpfiles.d", "usr/lib/tmpfiles.d"], &[".conf"], "tmpfiles.d(5)"),
    (&["etc/sysusers.d", "usr/lib/sysusers.d"], &[".conf"], "sysusers.d(5)"),
    (&["etc/udev/rules.d", "usr/lib/udev/rules.d"], &[".rules"], "udev(7)"),
    (&["usr/local/share/ca-certificates"], &[".crt"], "update-ca-certificates(8)"),
];

/// A line of a file, without comments and blank lines, and its number.
type Line<'a> = (usize, &'a str);

/// Everything that is wrong with `file`.
pub fn check(file: &FilePlan) -> Vec<Finding> {
    let mut findings = mode(file);
    findings.extend(ending(file));
    if file.path.starts_with("usr/local/share/ca-certificates/") {
        findings.extend(certificate(&file.content));
    }
    let Ok(text) = std::str::from_utf8(&file.content) else { return findings };
    findings.extend(secret(text));
    if text.contains("\r\n") && (text.starts_with("#!") || is_configuration(&file.path)) {
        let help = "write it with line feeds alone: sed -i 's/\\r$//' FILE";
        findings.push(("lines end as on Windows, and programs take the \\r for text".into(), help.into()));
        return findings;
    }
    match file.path.rsplit_once('/') {
        Some(("etc/sysctl.d" | "usr/lib/sysctl.d", _)) => findings.extend(sysctl(text)),
        Some(("etc/modules-load.d" | "usr/lib/modules-load.d", _)) => findings.extend(modules(text)),
        _ if unit_file::is_one(&file.path) => findings.extend(unit_file::check(&file.path, text)),
        _ => {}
    }
    findings
}

/// Everything that is wrong with `file` of a layer for Windows.
pub fn check_on_windows(file: &FilePlan) -> Vec<Finding> {
    let Ok(text) = std::str::from_utf8(&file.content) else { return Vec::new() };
    let mut findings = Vec::from_iter(secret(text));
    let name = names::folded(&file.path);
    let is_batch = name.ends_with(".CMD") || name.ends_with(".BAT");
    if is_batch && text.lines().count() != text.matches("\r\n").count() {
        let help = "end each line with CR and LF: sed -i 's/$/\\r/' FILE";
        findings.push(("lines end as on Linux, where cmd.exe misses labels".into(), help.into()));
    }
    findings
}

/// Whether a program of the system reads the file by lines.
fn is_configuration(path: &str) -> bool {
    let listed = ENDINGS.iter().flat_map(|(folders, _, _)| folders.iter());
    listed.chain(&UNITS).any(|folder| path.starts_with(folder))
}

fn mode(file: &FilePlan) -> Vec<Finding> {
    let is_program = file.content.starts_with(b"#!") || file.content.starts_with(b"\x7fELF");
    let rules = [
        (file.mode & 0o002 != 0, "every user may write it", "\"0644\""),
        (is_program && file.mode & 0o111 == 0, "it is a program, and nobody may run it", "\"0755\""),
        (
            !is_program && is_configuration(&file.path) && file.mode & 0o111 != 0,
            "it is no program, and systemd complains at every boot that it can be run",
            "\"0644\"",
        ),
        (file.mode & 0o400 == 0, "its owner cannot read it", "\"0644\", or \"0600\" for root alone"),
    ];
    rules
        .into_iter()
        .filter(|(is_wrong, _, _)| *is_wrong)
        .map(|(_, why, better)| (format!("mode {:04o}: {why}", file.mode), format!("write mode = {better}")))
        .collect()
}

fn ending(file: &FilePlan) -> Option<Finding> {
    let (folder, name) = file.path.rsplit_once('/')?;
    let is_drop_in = UNITS.iter().any(|units| {
        folder
            .strip_prefix(units)
            .is_some_and(|rest| rest.starts_with('/') && rest.ends_with(".d"))
    });
    let (endings, reader): (&[&str], _) = if is_drop_in {
        (&[".conf"], "systemd.unit(5)")
    } else if is_misplaced_unit(folder, name) {
        let help = "write it to /usr/lib/systemd/system";
        return Some(("systemd looks for no units in this folder".to_owned(), help.to_owned()));
    } else {
        let (_, endings, reader) = ENDINGS.iter().find(|(folders, _, _)| folders.contains(&folder))?;
        (endings, reader)
    };
    (!endings.iter().any(|ending| name.ends_with(ending))).then(|| {
        let message = format!("only files whose name ends in {} are read there", endings.join(" or "));
        (message, format!("rename it; see {reader}"))
    })
}

fn is_misplaced_unit(folder: &str, name: &str) -> bool {
    let systemd = ["etc/systemd", "usr/lib/systemd", "usr/local/lib/systemd/system"].contains(&folder);
    systemd && unit_file::kind(name).is_some()
}

/// Private keys of any kind (RFC 7468, OpenSSH, PGP).
fn secret(text: &str) -> Option<Finding> {
    let has = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY"));
    has.then(|| {
        let help =
            "remove it: every machine and everybody with the image has it; user data can bring it at boot";
        ("it holds a private key".to_owned(), help.to_owned())
    })
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', ';']))
}

fn sysctl(text: &str) -> Vec<Finding> {
    // A name with "-" in front and without a value leaves that one out (sysctl.d(5)).
    let is_setting = |line: &str| match line.split_once('=') {
        Some((name, _)) => {
            let name = name.trim().trim_start_matches('-');
            !name.is_empty() && !name.contains(char::is_whitespace)
        }
        None => line.starts_with('-'),
    };
    let wrong = lines(text).filter(|(_, line)| !is_setting(line));
    wrong
        .map(|(number, line)| {
            (format!("line {number}, \"{line}\", is no setting"), "write name = value".to_owned())
        })
        .collect()
}

fn modules(text: &str) -> Vec<Finding> {
    let wrong = lines(text).filter(|(_, line)| line.contains(char::is_whitespace) || line.ends_with(".ko"));
    wrong
        .map(|(number, line)| {
            let help = "write one module's name for each line; options go into /etc/modprobe.d";
            (format!("line {number}, \"{line}\", is not the name of a module"), help.to_owned())
        })
        .collect()
}

fn certificate(pem: &[u8]) -> Option<Finding> {
    let help = "one PEM file for each certificate: openssl x509 -in FILE -out NAME.crt";
    let message = match certificates::count(pem) {
        Ok(1) => return None,
        Ok(count) => format!("it has {count} certificates in PEM"),
        Err(why) => why,
    };
    Some((message, help.to_owned()))
}
