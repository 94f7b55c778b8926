//! A control plane: runs the real kubeadm with the node config, once the runtime answers.
//!
//! kubeadm's file is in memory alone (`/run`), readable by root, and removed when kubeadm has ended. Of its
//! output the lines that tell the phases are passed on; the commands for other machines that it prints at the
//! end hold tokens, and are not.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Need, Phase, kubelet, preflight};
use crate::binding::Binding;
use crate::config::kubeadm::Registration;
use crate::config::model::NodeConfig;
use crate::config::role::Role;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::command::{self, Output};
use crate::host::cri::CgroupDriver;
use crate::host::files;
use crate::host::notify;
use crate::host::resources;
use crate::host::root::Root;
use crate::join::{Join, kubelet_config, node_defaults, plan};
use crate::kubernetes::kubeconfig::{self, LONGEST, Material};
use crate::kubernetes::version::Version;
use crate::kubernetes::yaml;
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
    let proposed = node_defaults::read(join.root)?;
    let text = kubeadm.file(&registration(join.config, &socket, driver), version);
    files::write(&file, text.as_bytes(), files::PRIVATE)?;
    let ended = call(join, kubeadm.flags());
    let removed = files::remove(&file);
    ended.and(removed)?;
    if complete_kubelet(join.config, join.root, &proposed, version)? {
        kubelet::restart(join)?;
    }
    bind(join.root)
}

/// Adds to the kubelet's configuration that kubeadm wrote what counts for this node alone: the image's
/// proposals, and the node config's KubeletConfiguration if the cluster has its own already. In kubeadm's
/// file they would become the whole cluster's. Returns whether anything changed.
fn complete_kubelet(
    config: &NodeConfig,
    root: &Root,
    proposed: &Map<String, Value>,
    version: Version,
) -> Result<bool> {
    let path = root.path(plan::CONFIG);
    let Some(bytes) = files::read(&path, kubelet::LONGEST)? else { return Ok(false) };
    let written = kubelet::parse(&bytes)?;
    let said = config.kubelet.as_ref();
    let over = said.filter(|_| config.join.role == Role::ControlPlane);
    let arguments = &config.join.node.kubelet_extra_args;
    let resources = resources::resources(root);
    let proposed = node_defaults::applicable(proposed, &written, said, arguments, version, &resources);
    let completed = kubelet_config::with(&written, over, &proposed);
    let changes = completed != written;
    if changes {
        files::write(&path, yaml::emit(&completed).as_bytes(), files::PUBLIC)?;
    }
    Ok(changes)
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
        kubelet: (config.join.role == Role::FirstControlPlane)
            .then(|| clusters_kubelet(config, driver))
            .flatten(),
    }
}

/// The KubeletConfiguration of a new cluster. kubeadm before 1.22 names no cgroup driver, and its kubelet
/// takes cgroupfs then, whatever the runtime has: no pod would start.
fn clusters_kubelet(config: &NodeConfig, driver: Option<CgroupDriver>) -> Option<Value> {
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
    use crate::config::{HostDefaults, parse};

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

    #[test]
    fn the_kubelet_of_a_control_plane_gets_what_the_image_proposes_and_nobody_has_decided() {
        const WRITTEN: &str = "kind: KubeletConfiguration\nmaxPods: 110\nshutdownGracePeriod: 0s\n";
        let token = "token: abcdef.0123456789abcdef";
        let init = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n";
        let join = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ncontrolPlane: {{}}\ndiscovery: \
             {{bootstrapToken: {{{token}, apiServerEndpoint: \"a:1\", unsafeSkipCAVerification: true}}}}\n"
        );
        let own = |fields: &str| {
            format!(
                "---\napiVersion: {}\nkind: KubeletConfiguration\n{fields}\n",
                kubelet_config::API_VERSION
            )
        };
        let proposed = Map::from_iter([("shutdownGracePeriod".to_owned(), json!("30s"))]);
        for (text, pods, grace, changes) in [
            (init.to_owned(), 110, "30s", true),
            (format!("{init}{}", own("shutdownGracePeriod: 0s")), 110, "0s", false),
            (format!("{init}{}", own("maxPods: 7")), 110, "30s", true),
            (format!("{join}{}", own("maxPods: 7")), 7, "30s", true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::at(folder.path());
            let host = HostDefaults { hostname: "n1".to_owned() };
            let config = parse(text.as_bytes(), &host).unwrap();
            let version = "v1.36.2".parse().unwrap();
            let complete = || complete_kubelet(&config, &root, &proposed, version).unwrap();
            assert!(!complete(), "kubeadm was told to leave the kubelet alone");
            files::write(&root.path(plan::CONFIG), WRITTEN.as_bytes(), files::PUBLIC).unwrap();
            assert_eq!((complete(), complete()), (changes, false), "{text}");
            let bytes = std::fs::read(root.path(plan::CONFIG)).unwrap();
            let made = kubelet::parse(&bytes).unwrap();
            assert_eq!(
                (&made["maxPods"], &made["shutdownGracePeriod"]),
                (&json!(pods), &json!(grace)),
                "{text}"
            );
        }
    }
}
