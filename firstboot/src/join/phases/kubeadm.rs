//! A control plane: runs the real kubeadm with the node config, once the runtime answers.
//!
//! kubeadm's file is in memory alone (`/run`), readable by root, and removed when kubeadm has ended. Of its
//! output the lines that tell the phases are passed on; the commands for other machines that it prints at the
//! end hold tokens, and are not.

use std::path::Path;

use serde_json::{Value, json};

use super::{Need, Phase, preflight};
use crate::binding::Binding;
use crate::config::kubeadm::Registration;
use crate::config::model::NodeConfig;
use crate::config::role::Role;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::command::{self, Output};
use crate::host::cri::CgroupDriver;
use crate::host::files;
use crate::host::notify;
use crate::host::root::Root;
use crate::join::{Join, kubelet_config, plan};
use crate::kubernetes::kubeconfig::{self, LONGEST, Material};
use crate::net::trust::Authorities;
use crate::paths;

/// The name in the checkpoint.
pub(crate) const NAME: &str = "kubeadm";

pub(crate) const PHASE: Phase = Phase { name: NAME, kubeadm: NAME, need: Need::RunningOnce, run };

/// Flags of `kubeadm init` that keep its secrets out of its output. It does not mind them twice.
const QUIET: &[&str] = &["--skip-token-print", "--skip-certificate-key-print"];

fn run(join: &mut Join) -> Result<()> {
    preflight::with_cluster(join, None)?;
    notify::send("READY=1");
    let (socket, version) = (join.cri_socket()?, join.kubelet_version()?);
    let driver = preflight::cgroup_driver_to_follow(join);
    let Some(kubeadm) = &join.config.kubeadm else {
        return Err(Failure::new(ErrorKind::Internal, "a control plane without documents for kubeadm"));
    };
    let file = join.root.entry(paths::KUBEADM_CONFIG);
    let text = kubeadm.file(&registration(join.config, &socket, driver), version);
    files::write(&file, text.as_bytes(), files::PRIVATE)?;
    let ended = call(join, kubeadm.flags());
    let removed = files::remove(&file);
    ended.and(removed)?;
    bind(join.root)
}

/// `driver` is the runtime's cgroup driver, for a kubelet that does not ask for it.
pub(crate) fn registration<'a>(
    config: &'a NodeConfig,
    socket: &'a str,
    driver: Option<CgroupDriver>,
) -> Registration<'a> {
    let node = &config.join.node;
    let arguments = config.from_facts.iter().chain(&node.kubelet_extra_args);
    Registration {
        name: &node.name,
        socket,
        arguments: arguments.map(|argument| (argument.name.as_str(), argument.value.as_str())).collect(),
        ignored_checks: &node.ignore_preflight_errors,
        kubelet: if config.join.role == Role::FirstControlPlane { kubelet(config, driver) } else { None },
    }
}

/// The KubeletConfiguration of a new cluster. kubeadm before 1.22 names no cgroup driver, and its kubelet
/// takes cgroupfs then, whatever the runtime has: no pod would start.
fn kubelet(config: &NodeConfig, driver: Option<CgroupDriver>) -> Option<Value> {
    let mut document = config.kubelet.clone();
    if let Some(driver) = driver.filter(|_| plan::lacks_cgroup_driver(config, &Value::Null)) {
        let empty = || json!({"apiVersion": kubelet_config::API_VERSION, "kind": "KubeletConfiguration"});
        document.get_or_insert_with(empty)["cgroupDriver"] = json!(driver.word());
    }
    document
}

fn call(join: &Join, flags: &[String]) -> Result<()> {
    let is_init = join.config.join.role == Role::FirstControlPlane;
    let command = if is_init { "init" } else { "join" };
    let skipped = join.config.join.skip_phases.join(",");
    let skipped = (!skipped.is_empty()).then(|| format!("--skip-phases={skipped}"));
    let mut words = vec![command, "--config", paths::KUBEADM_CONFIG];
    words.extend(flags.iter().map(String::as_str).chain(skipped.as_deref()));
    words.extend(QUIET.iter().filter(|_| is_init));
    let tell = |line: &str| {
        if line.starts_with('[') {
            join.print(line);
        }
    };
    let output = command::run_telling(paths::KUBEADM, &words, join.deadline.remaining(), &tell)?;
    if output.success() {
        return Ok(());
    }
    let message = format!("kubeadm {command} failed: {}", reason(&output));
    Err(Failure::new(ErrorKind::Refused, message).help(
        "mend what it names; if it had begun, run firstboot reset, then systemctl restart firstboot: kubeadm does not go on where it stopped",
    ))
}

/// The lines in which kubeadm says why it failed. The last one only advises to say more.
fn reason(output: &Output) -> String {
    let lines = output.stderr.lines().map(str::trim);
    let wanted = |line: &&str| line.starts_with("[ERROR ") || line.starts_with("error");
    let lines: Vec<&str> = lines.filter(wanted).collect();
    if lines.is_empty() { output.reason() } else { lines.join("; ") }
}

/// The machine stays with the cluster that kubeadm made or joined.
fn bind(root: &Root) -> Result<()> {
    let folder = Path::new(paths::KUBERNETES);
    let Some(bytes) = files::read(&root.path(paths::ADMIN_CONF), LONGEST as u64)? else { return Ok(()) };
    let wrong = |why| Failure::new(ErrorKind::Refused, format!("{}: {why}", paths::ADMIN_CONF));
    let kubeconfig = kubeconfig::parse(&bytes, folder).map_err(wrong)?;
    let pins = match &kubeconfig.authorities {
        Some(Material::Inline(pem)) => Authorities::from_pem(pem.reveal().as_bytes()).map_err(wrong)?.pins(),
        _ => Vec::new(),
    };
    Binding::add_cluster(root, pins, &kubeconfig.server.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_kubeadm_calls_an_error() {
        let output =
            |stderr: &str| Output { code: Some(1), stdout: String::new(), stderr: stderr.to_owned() };
        let preflight = "error execution phase preflight: [preflight] Some fatal errors occurred:\n\t[ERROR Port-6443]: Port 6443 is in use\n\
            \t[ERROR NumCPU]: too few\n[preflight] If you know what you are doing, …\nTo see the stack trace of this error execute with --v=5 or higher\n";
        assert_eq!(
            reason(&output(preflight)),
            "error execution phase preflight: [preflight] Some fatal errors occurred:; [ERROR Port-6443]: Port 6443 is in use; [ERROR NumCPU]: too few"
        );
        assert_eq!(reason(&output("panic: x\n")), "panic: x");
    }
}
