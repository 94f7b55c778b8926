//! Checks the machine, and begins to wait for the container runtime. Changes nothing.

use std::net::IpAddr;
use std::time::Duration;

use super::{Need, Phase};
use crate::api::resolve;
use crate::error::{Class, Failure, Result};
use crate::join::Join;
use crate::machine;
use crate::preflight::{self, Cluster, Context, Docker, Facts, Report, Runtime, Stage, context};

/// A runtime may import images before it serves.
const RUNTIME_LIMIT: Duration = Duration::from_secs(90);
/// A runtime whose absence the config allows is given a moment.
const IGNORED_RUNTIME_LIMIT: Duration = Duration::from_secs(1);

/// See the module.
pub const PHASE: Phase = Phase { name: "preflight", kubeadm: "preflight", need: Need::Once, run };

fn run(join: &mut Join) -> Result<()> {
    let version = machine::kubelet_version(join.root);
    join.found.kubelet_version = version.as_ref().ok().copied();
    let socket = join.cri_socket();
    let is_docker = socket.as_ref().is_ok_and(|socket| context::is_dockershim(socket));
    join.found.runtime = socket.as_ref().ok().filter(|_| !is_docker).map(|socket| {
        let (root, socket) = (join.root.clone(), socket.clone());
        let limit = join.deadline.within(if is_cri_ignored(join) { IGNORED_RUNTIME_LIMIT } else { RUNTIME_LIMIT }).remaining();
        std::thread::spawn(move || Runtime::ask(&root, &socket, limit))
    });
    let docker = is_docker.then(Docker::ask);
    join.found.facts = Facts { kubelet: Some(version), docker, name: look_up(join), ..Facts::here(join.root) };
    report(join, None, Stage::Machine)?;
    socket.map(drop)
}

/// All checks that can be made without a cluster.
pub fn alone(join: &mut Join) -> Result<()> {
    run(join)?;
    with_cluster(join, None)
}

/// The checks that waited for the network, the runtime and the cluster.
pub(super) fn with_cluster(join: &mut Join, cluster: Option<Cluster>) -> Result<()> {
    join.found.facts.runtime = runtime(join);
    join.found.facts.addresses = Facts::here(join.root).addresses;
    report(join, cluster, Stage::Cluster)
}

fn is_cri_ignored(join: &Join) -> bool {
    join.config.join.node.ignore_preflight_errors.iter().any(|name| name == "all" || name == "cri")
}

/// What the node's name means here. DNS is not asked: before the kubelet starts, the name stands in `/etc/hosts` (see [`crate::join::names`]).
fn look_up(join: &Join) -> Option<Result<Vec<IpAddr>>> {
    let found = resolve::in_hosts_file(&join.network, &join.config.node_name());
    (!matches!(&found, Ok(addresses) if addresses.is_empty())).then_some(found)
}

/// Makes the checks of `stage`: errors stop the join, warnings go to the status.
fn report(join: &mut Join, cluster: Option<Cluster>, stage: Stage) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let cri_socket = join.cri_socket().unwrap_or_default();
    let context = Context {
        root: join.root,
        path: &path,
        services: join.machine.services,
        is_privileged: nix::unistd::geteuid().is_root(),
        join: &join.config.join,
        cri_socket: &cri_socket,
        kubelet_config: join.found.plan.as_ref().map(|plan| &plan.kubelet_config),
        is_resumed: join.is_resumed(),
        variable: &|name| std::env::var(name).ok(),
        facts: &join.found.facts,
        cluster,
    };
    let report = preflight::run(&context, stage);
    tell(join, &report);
    report.failure().map_or(Ok(()), Err)
}

fn tell(join: &mut Join, report: &Report) {
    for finding in &report.warnings {
        join.warn(format!("preflight {}: {}", finding.name, finding.message));
    }
}

/// The runtime, once it answers; waits for what is left of its time.
fn runtime(join: &mut Join) -> Option<Result<Runtime>> {
    let waiting = join.found.runtime.take()?;
    Some(waiting.join().unwrap_or_else(|_| Err(Failure::new(Class::Internal, "waiting for the container runtime panicked"))))
}
