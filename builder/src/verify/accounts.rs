//! Accounts, passwords, and who becomes root.

use super::{Findings, Subject};

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

/// Other names of root.
pub(super) fn superusers(subject: &Subject, findings: &mut Findings<'_>) {
    let text = subject.text("etc/passwd").unwrap_or_default();
    for row in rows(&text).filter(|row| row[2].parse() == Ok(0_u32) && row[0] != "root") {
        findings.at("etc/passwd", format!("{} is another name of root", row[0]));
    }
}

/// sudoers(5): rules for everything without a password.
pub(super) fn sudo(subject: &Subject, findings: &mut Findings<'_>) {
    let files = subject.texts("etc/sudoers.d").map(|(path, text)| (path.to_owned(), text));
    let main = subject.text("etc/sudoers").map(|text| ("etc/sudoers".to_owned(), text));
    for (path, text) in files.chain(main) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.contains("NOPASSWD") {
                findings.at(&path, format!("a password is not asked for: {line}"));
            }
        }
    }
}
