//! Kernel modules and parameters: sets those that a check of kubeadm would fail for, now and for later boots,
//! if the machine allows it.

use contract::runtime;

use super::{Need, Phase, preflight};
use crate::error::Result;
use crate::host::{files, kernel};
use crate::join::Join;
use crate::paths;
use crate::preflight::fails;

/// Kernel parameters for later boots, sysctl.d(5).
pub const PARAMETERS: &str = paths::PARAMETERS;
/// Modules for later boots, modules-load.d(5).
pub const MODULES: &str = paths::MODULES;
/// The file system for the roots of containers.
const OVERLAY: &str = "overlay";

/// A check, the parameter that must be 1 for it, and the module that has the parameter.
const SETTINGS: &[(&str, &str, Option<&str>)] = &[
    (
        "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-iptables",
        Some("br_netfilter"),
    ),
    (
        "FileContent--proc-sys-net-bridge-bridge-nf-call-ip6tables",
        "net.bridge.bridge-nf-call-ip6tables",
        Some("br_netfilter"),
    ),
    ("FileContent--proc-sys-net-ipv4-ip_forward", "net.ipv4.ip_forward", None),
    ("FileContent--proc-sys-net-ipv6-conf-default-forwarding", "net.ipv6.conf.default.forwarding", None),
];

pub(crate) const PHASE: Phase = Phase { name: "host", kubeadm: "preflight", need: Need::Running, run };

/// Nothing here fails the join: a setting that cannot be made is a warning, and the preflight checks come
/// later.
fn run(join: &mut Join) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    let _ = join.kubelet_version().map(|version| join.results.facts.kubelet = Some(Ok(version)));
    let (failing, is_docker) = preflight::with_context(join, None, |context| {
        let failing: Vec<_> = SETTINGS.iter().filter(|(check, ..)| fails(context, check)).collect();
        (failing, runtime::is_in_kubelet(context.cri_socket))
    });
    let mut modules: Vec<&str> = failing.iter().filter_map(|(_, _, module)| *module).collect();
    modules.extend((!is_docker).then_some(OVERLAY));
    modules.retain(|module| !kernel::has_module(join.root, module));
    modules.dedup();
    modules.retain(|module| is_done(join, kernel::load_module(join.root, module)));
    let parameters: Vec<&str> = failing.iter().map(|(_, parameter, _)| *parameter).collect();
    let set: Vec<&str> = parameters
        .into_iter()
        .filter(|name| is_done(join, kernel::set_sysctl(join.root, name, "1")))
        .collect();
    keep(join, MODULES, &modules, "");
    keep(join, PARAMETERS, &set, " = 1");
    Ok(())
}

fn is_done(join: &mut Join, done: Result<()>) -> bool {
    done.map_err(|failure| join.warn(failure.to_string())).is_ok()
}

/// Adds the settings to a file for later boots.
fn keep(join: &mut Join, path: &str, words: &[&str], end: &str) {
    if words.is_empty() {
        return;
    }
    join.print(&format!("set for this node, and in {path} for its next boots: {}", words.join(", ")));
    let before = kernel::text(join.root, path).unwrap_or_default();
    let text = with_lines(&before, words, end);
    is_done(join, files::write(&join.root.entry(path), text.as_bytes(), files::PUBLIC));
}

/// The text of a file, with a line added for each missing word.
fn with_lines(before: &str, words: &[&str], end: &str) -> String {
    let lines = words.iter().map(|word| format!("{word}{end}"));
    let missing = lines.filter(|line| !before.lines().any(|other| other == line)).map(|line| line + "\n");
    before.to_owned() + &missing.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_belongs_to_a_check() {
        for (check, ..) in SETTINGS {
            assert!(
                crate::preflight::CHECKS
                    .iter()
                    .any(|row| matches!(row.name, crate::preflight::Name::Is(name) if name == *check)),
                "{check}"
            );
        }
    }

    #[test]
    fn files_for_the_next_boots_hold_each_line_once() {
        let first = with_lines("", &["net.ipv4.ip_forward"], " = 1");
        assert_eq!(first, "net.ipv4.ip_forward = 1\n");
        let second =
            with_lines(&first, &["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"], " = 1");
        assert_eq!(second, "net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\n");
    }
}
