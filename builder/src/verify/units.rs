//! Units that open a way in, and enabled units that cannot start.

use super::{Findings, Subject, origin};
use crate::tree::merge::real_path;
use crate::tree::{Node, Tree};

/// Units that give a shell, and why that is one.
const SHELLS: &[(&str, &str)] = &[
    ("debug-shell.service", "a shell of root without a password"),
    ("telnet.socket", "a login without encryption"),
    ("rsh.socket", "a login without encryption"),
];

pub(super) fn shells(subject: &Subject, findings: &mut Findings<'_>) {
    let tree = &subject.tree;
    for (path, unit) in enabled(tree).chain(other_names(tree)) {
        // A link may have any name: what it leads to is started.
        let real = real_path(tree, path).unwrap_or_default();
        let names = [unit, real.rsplit('/').next().unwrap_or_default()];
        if let Some((_, why)) = SHELLS.iter().find(|(name, _)| names.contains(name)) {
            findings.at(path, *why);
        }
    }
    let packaged = origin::packaged(subject);
    for folder in
        ["etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system", "run/systemd/system"]
    {
        for (path, text) in subject.texts(folder) {
            let starts = |line: &&str| line.starts_with("ExecStart=");
            if text.lines().filter(starts).any(|line| line.contains("--autologin")) {
                findings.at(path, "a console logs in by itself");
            } else if !packaged.contains(path)
                && text.lines().any(|line| line.starts_with("StandardInput=tty"))
                && text.lines().filter(starts).any(is_shell)
            {
                findings.at(path, "a shell of root without a password");
            }
        }
    }
}

/// Whether an `ExecStart=` starts a shell, or a login that asks for nothing.
fn is_shell(line: &str) -> bool {
    const SHELL_NAMES: [&str; 6] = ["sh", "bash", "dash", "zsh", "busybox", "sulogin"];
    let program = line.trim_start_matches("ExecStart=").trim_start_matches(['-', '@', '+', '!', ':']);
    let program = program.split_whitespace().next().unwrap_or_default();
    SHELL_NAMES.contains(&program.rsplit('/').next().unwrap_or_default())
}

/// Links beside the units, which give them other names, such as `default.target`.
fn other_names(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    const FOLDER: &str = "etc/systemd/system";
    tree.below(FOLDER).filter_map(|(path, entry)| {
        let unit = &path[FOLDER.len() + 1..];
        let is_name = !unit.contains('/') && matches!(entry.node, Node::Symlink(_));
        is_name.then_some((path.as_str(), unit))
    })
}

/// Links that enable a unit which is not there.
pub(super) fn broken(subject: &Subject, findings: &mut Findings<'_>) {
    let tree = &subject.tree;
    for (path, unit) in enabled(tree) {
        let target = real_path(tree, path).and_then(|real| tree.get(&real));
        let by_name = ["etc/systemd/system", "usr/lib/systemd/system"];
        let is_there =
            target.is_some() || by_name.iter().any(|folder| tree.get(&format!("{folder}/{unit}")).is_some());
        let is_instance = unit.contains('@');
        if !is_there && !is_instance {
            findings.at(path, format!("{unit} is enabled and not in the image"));
        }
    }
}

/// Links below `*.wants` and `*.requires`: path and unit.
fn enabled(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let folders = ["etc/systemd/system", "usr/lib/systemd/system"];
    folders.into_iter().flat_map(|folder| tree.below(folder)).filter_map(|(path, entry)| {
        let (folder, unit) = path.rsplit_once('/')?;
        let is_list =
            folder.ends_with(".wants") || folder.ends_with(".requires") || folder.ends_with(".upholds");
        (is_list && matches!(entry.node, Node::Symlink(_))).then_some((path.as_str(), unit))
    })
}
