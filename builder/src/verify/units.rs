//! Units that open a way in, and enabled units that cannot start.

use super::{Findings, Subject};
use crate::tree::merge::real_path;
use crate::tree::{Node, Tree};

/// Units that give a shell, and why that is one.
const SHELLS: &[(&str, &str)] = &[
    ("debug-shell.service", "a shell of root without a password"),
    ("telnet.socket", "a login without encryption"),
    ("rsh.socket", "a login without encryption"),
];

pub(super) fn shells(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, unit) in enabled(&subject.tree) {
        if let Some((_, why)) = SHELLS.iter().find(|(name, _)| *name == unit) {
            findings.at(path, *why);
        }
    }
    for folder in ["etc/systemd/system", "usr/lib/systemd/system", "run/systemd/system"] {
        for (path, text) in subject.texts(folder) {
            let is_setting = |line: &str| line.starts_with("ExecStart=") && line.contains("--autologin");
            if text.lines().any(is_setting) {
                findings.at(path, "a console logs in by itself");
            }
        }
    }
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
