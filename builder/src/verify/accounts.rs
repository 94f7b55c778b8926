//! Accounts, passwords, and who becomes root.

use super::{Findings, Subject, origin};
use crate::tree::Node;

/// The fields of each line of a table such as `/etc/passwd`.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect()).filter(|row: &Vec<_>| row.len() > 2)
}

/// passwd(5) and shadow(5): a field that begins with `*` or `!` matches no password; an empty one needs none.
pub(super) fn passwords(subject: &Subject, findings: &mut Findings<'_>) {
    for path in ["etc/shadow", "etc/passwd", "etc/gshadow", "usr/share/baselayout/shadow"] {
        let text = subject.text(path).unwrap_or_default();
        for row in rows(&text) {
            let (name, field) = (row[0], row[1]);
            let is_shadowed = path.ends_with("passwd") && field == "x";
            // In gshadow an empty field means that the group has no password.
            let is_group = path.ends_with("gshadow") && field.is_empty();
            if field.starts_with(['*', '!']) || is_shadowed || is_group {
                continue;
            }
            let what = if field.is_empty() { "needs no password" } else { "has a password" };
            findings.at(path, format!("{name} {what}"));
        }
    }
}

/// Groups whose members become root, or as good as root.
const POWERFUL: &[&str] =
    &["root", "sudo", "wheel", "adm", "disk", "docker", "lxd", "shadow", "systemd-journal"];

/// Other names of root, and accounts that are made or known beside `/etc/passwd`.
pub(super) fn superusers(subject: &Subject, findings: &mut Findings<'_>) {
    let text = subject.text("etc/passwd").unwrap_or_default();
    for row in rows(&text).filter(|row| row[2].parse() == Ok(0_u32) && row[0] != "root") {
        findings.at("etc/passwd", format!("{} is another name of root", row[0]));
    }
    records(subject, findings);
    to_be_made(subject, findings);
}

/// Records of nss-systemd(8), which are accounts, groups and memberships.
fn records(subject: &Subject, findings: &mut Findings<'_>) {
    const ENDINGS: [&str; 4] = [".user", ".user-privileged", ".group", ".membership"];
    for folder in ["etc/userdb", "run/userdb", "run/host/userdb", "usr/local/lib/userdb", "usr/lib/userdb"] {
        for (path, entry) in subject.tree.below(folder) {
            if !matches!(entry.node, Node::Directory) && ENDINGS.iter().any(|end| path.ends_with(end)) {
                findings.at(path, "it is an account or a membership beside /etc/passwd");
            }
        }
    }
}

/// sysusers.d(5): accounts with root's number, and members of groups that become root.
fn to_be_made(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/sysusers.d", "usr/local/lib/sysusers.d", "usr/lib/sysusers.d"] {
        for (path, text) in subject.texts(folder).filter(|(path, _)| path.ends_with(".conf")) {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [kind, name, id, ..] = words.as_slice() else { continue };
                let is_root =
                    ["u", "u!"].contains(kind) && *name != "root" && id.split(':').next() == Some("0");
                let is_member = *kind == "m" && POWERFUL.contains(id);
                if is_root || is_member {
                    findings.at(path, format!("it makes an account with the rights of root at boot: {line}"));
                }
            }
        }
    }
}

/// sudoers(5), doas.conf(5), polkit(8): rules that make somebody root without a password. And PAM's, that let
/// everybody in.
pub(super) fn sudo(subject: &Subject, findings: &mut Findings<'_>) {
    let files = subject.texts("etc/sudoers.d").map(|(path, text)| (path.to_owned(), text));
    let main = subject.text("etc/sudoers").map(|text| ("etc/sudoers".to_owned(), text));
    for (path, text) in files.chain(main) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.contains("NOPASSWD") || (line.contains("!authenticate") && line.starts_with("Defaults")) {
                findings.at(&path, format!("a password is not asked for: {line}"));
            }
        }
    }
    for path in ["etc/doas.conf", "usr/local/etc/doas.conf"] {
        let text = subject.text(path).unwrap_or_default();
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first() == Some(&"permit") && words.contains(&"nopass") {
                findings.at(path, format!("a password is not asked for: {line}"));
            }
        }
    }
    polkit(subject, findings);
    pam(subject, findings);
}

/// Rules that are of no package. `.pkla` are those of versions before 0.106.
fn polkit(subject: &Subject, findings: &mut Findings<'_>) {
    let packaged = origin::packaged(subject);
    let folders = ["etc/polkit-1", "usr/local/share/polkit-1", "usr/share/polkit-1", "var/lib/polkit-1"];
    for (path, text) in folders.iter().flat_map(|folder| subject.texts(folder)) {
        let gives = match path.rsplit('.').next() {
            Some("rules") => text.contains("Result.YES") || text.contains("addAdminRule"),
            Some("pkla") => text.lines().any(|line| {
                let plain: String = line.split_whitespace().collect();
                plain.starts_with("Result") && plain.ends_with("=yes")
            }),
            _ => false,
        };
        if gives && !packaged.contains(path) {
            findings.at(path, "polkit lets somebody do what only root may, without a password");
        }
    }
}

/// pam.conf(5): a stack in which pam_permit comes first, or is enough, asks for nothing. The distribution's
/// own end with it, behind a module that refuses. An empty password is a fault of its account.
fn pam(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/pam.d", "usr/lib/pam.d", "usr/local/etc/pam.d"] {
        for (path, text) in subject.texts(folder) {
            let mut is_first = true;
            for line in text.lines().map(str::trim) {
                let plain = line.trim_start_matches('-');
                is_first &= !plain.starts_with("@include");
                let Some(rest) =
                    plain.strip_prefix("auth").filter(|rest| rest.starts_with(char::is_whitespace))
                else {
                    continue;
                };
                let permits = rest.contains("pam_permit.so");
                let is_enough = rest.trim_start().starts_with("sufficient") || rest.contains("success=done");
                if permits && (is_first || is_enough) {
                    findings.at(path, format!("nobody has to prove who he is: {line}"));
                }
                is_first = false;
            }
        }
    }
}
