//! Kernel arguments that open a machine or weaken it: of the kernel, of systemd, and of initrds.

use std::collections::BTreeSet;

use super::{Findings, Subject};

/// Which values of an argument open a machine.
enum Value {
    /// Any, and none.
    Any,
    /// None.
    Absent,
    /// Each of these.
    One(&'static [&'static str]),
    /// What the kernel or systemd takes for "no".
    No,
    /// Each that begins so.
    Begins(&'static [&'static str]),
    /// Units with these names, with and without an ending.
    Unit(&'static [&'static str]),
    /// A list without any of these.
    Without(&'static [&'static str]),
}

use Value::{Absent, Any, Begins, No, One, Unit, Without};

const SHELL: &str = "a shell of root without a password";
const CONSOLE: &str = "a shell of root at the console";
const UNCONFINED: &str = "pods are not confined";
const PROGRAM: &str = "another program is the first";
const MEMORY: &str = "pods can read each other's memory on many processors";

/// The name of an argument, which of its values open a machine, and why. In names `_` and `-` are alike, and
/// `rd.` before one means the same in an initrd.
const OPEN: &[(&str, Value, &str)] = &[
    ("systemd.debug_shell", Any, SHELL),
    ("systemd.crash_shell", Any, SHELL),
    ("systemd.wants", Unit(&["debug-shell"]), SHELL),
    ("systemd.unit", Unit(&["debug-shell"]), SHELL),
    ("systemd.unit", Unit(&["rescue", "emergency", "runlevel1"]), CONSOLE),
    ("systemd.run", Any, "a command of the boot entry is run by root"),
    ("systemd.setenv", Begins(&["SYSTEMD_SULOGIN_FORCE="]), SHELL),
    ("systemd.setenv", Begins(&["LD_"]), "a library is loaded by every program"),
    ("systemd.set_credential", Any, "it gives the machine a credential"),
    ("systemd.set_credential_binary", Any, "it gives the machine a credential"),
    ("SYSTEMD_SULOGIN_FORCE", Any, SHELL),
    ("rd.break", Any, SHELL),
    ("break", Any, SHELL),
    ("init", Any, PROGRAM),
    ("rdinit", Any, PROGRAM),
    ("1", Absent, CONSOLE),
    ("s", Absent, CONSOLE),
    ("S", Absent, CONSOLE),
    ("-s", Absent, CONSOLE),
    ("-b", Absent, CONSOLE),
    ("rescue", Absent, CONSOLE),
    ("single", Absent, CONSOLE),
    ("emergency", Absent, CONSOLE),
    ("apparmor", No, UNCONFINED),
    ("apparmor.enabled", No, UNCONFINED),
    ("selinux", No, UNCONFINED),
    ("enforcing", No, UNCONFINED),
    ("security", One(&["none", ""]), UNCONFINED),
    ("lsm", Without(&["apparmor", "selinux"]), UNCONFINED),
    ("mitigations", One(&["off"]), MEMORY),
    ("nopti", Any, MEMORY),
    ("pti", No, MEMORY),
    ("nospectre_v1", Any, MEMORY),
    ("nospectre_v2", Any, MEMORY),
    ("spectre_v2", No, MEMORY),
    ("nokaslr", Any, "attacks on the kernel are easier"),
    ("module.sig_enforce", No, "the kernel takes unsigned modules"),
    ("audit", No, "nothing is written of what happened"),
];

impl Value {
    fn takes(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return matches!(self, Any | Absent) };
        match self {
            Any => true,
            Absent => false,
            One(values) => values.contains(&value),
            No => is_no(value),
            Begins(starts) => starts.iter().any(|start| value.starts_with(start)),
            Unit(names) => names.contains(&value.rsplit_once('.').map_or(value, |(name, _)| name)),
            Without(needed) => !value.split(',').any(|one| needed.contains(&one)),
        }
    }
}

/// The kernel and systemd take words, and numbers as C does.
fn is_no(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let is_zero = || {
        let digits = value.strip_prefix("0x").unwrap_or(&value);
        !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
    };
    ["n", "no", "f", "false", "off"].contains(&value.as_str()) || is_zero()
}

pub(super) fn open(subject: &Subject, findings: &mut Findings<'_>) {
    let words: BTreeSet<String> = subject.command_lines.iter().flat_map(|line| words(line)).collect();
    for word in &words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        let row = OPEN.iter().find(|(wanted, values, _)| is_named(name, wanted) && values.takes(value));
        if let Some((.., why)) = row {
            findings.add(shown(word), *why);
        }
    }
}

/// Whether an argument is the one of this name.
fn is_named(name: &str, wanted: &str) -> bool {
    let plain = |name: &str| match name.strip_prefix('-') {
        // Not `_s`.
        Some(_) => name.to_owned(),
        None => name.replace('-', "_"),
    };
    name == wanted
        || plain(name) == wanted
        || name.strip_prefix("rd.").is_some_and(|name| plain(name) == wanted)
}

/// Words as the kernel separates them, for which `"` alone is a quote, and as systemd and GRUB do.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for quotes in [&['"'][..], &['"', '\'']] {
        let (mut word, mut within) = (String::new(), None);
        for letter in line.chars().chain([' ']) {
            match within {
                Some(quote) if letter == quote => within = None,
                None if quotes.contains(&letter) => within = Some(letter),
                None if letter.is_whitespace() => found.push(std::mem::take(&mut word)),
                _ if letter == '\\' => {}
                _ => word.push(letter),
            }
        }
        // A quote without an end.
        found.push(word);
    }
    found.retain(|word| !word.is_empty());
    found
}

/// An argument without the credential in it.
fn shown(word: &str) -> &str {
    let is_credential =
        word.trim_start_matches("rd.").replace('-', "_").starts_with("systemd.set_credential");
    if is_credential { word.split(':').next().unwrap_or(word) } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::plan::Arch;
    use crate::tree::Tree;

    fn found(line: &str) -> Vec<String> {
        let mut subject = Subject::new(Tree::default(), Arch::Amd64);
        subject.command_lines.push(line.to_owned());
        let found = crate::verify::findings_of(&subject, "kernel-argument");
        found.into_iter().map(|one| one.what).collect()
    }

    #[test]
    fn each_way_to_write_an_argument_is_known() {
        for word in [
            "-b",
            "-s",
            "S",
            "SYSTEMD_SULOGIN_FORCE=1",
            "apparmor.enabled=no",
            "apparmor=00",
            "apparmor=N",
            "audit=off",
            "break=mount",
            "lsm=landlock,yama",
            "module.sig-enforce=0",
            "module.sig_enforce=N",
            "rd.emergency",
            "rd.rescue",
            "rd.systemd.unit=emergency.target",
            "s",
            "systemd.debug-shell",
            "systemd.run=/bin/sh",
            "systemd.setenv=SYSTEMD_SULOGIN_FORCE=1",
            "systemd.unit=rescue",
            "systemd.unit=rescue.target",
            "systemd.wants=debug-shell.service",
        ] {
            assert_eq!(found(&format!("root=PARTUUID=1 {word} quiet")), [word]);
            assert_eq!(found(&format!("quiet \"{word}\"")), [word]);
        }
        assert_eq!(found("x=\"a b\" \"systemd.debug_shell\""), ["systemd.debug_shell"]);
        assert_eq!(found("x='a init=/bin/sh"), ["init=/bin/sh"]);
        assert_eq!(found("'init=/bin/my sh'"), ["init=/bin/my sh"]);
    }

    #[test]
    fn what_is_common_is_no_fault() {
        let line = "root=PARTUUID=1 ro quiet console=ttyS0 apparmor=1 audit=1 lsm=landlock,apparmor \
                    systemd.unit=multi-user.target security=apparmor dyndbg=\"file x.c line 1 +p\" b";
        assert_eq!(found(line), [""; 0]);
    }

    #[test]
    fn a_credential_is_not_said() {
        let line = "systemd.set_credential=passwd.plaintext-password.root:secret";
        assert_eq!(found(line), ["systemd.set_credential=passwd.plaintext-password.root"]);
    }
}
