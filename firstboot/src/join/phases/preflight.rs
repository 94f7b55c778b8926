//! Checks the machine, and starts to wait for the container runtime. Changes nothing.

use std::net::IpAddr;
use std::time::Duration;

use contract::runtime;

use super::{Need, Phase};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::cri::CgroupDriver;
use crate::join::Join;
use crate::net::resolve;
use crate::os;
use crate::preflight::{self, Cluster, Context, Docker, Facts, Report, Runtime, Stage, Units};

/// Time for a runtime that the config allows to be absent.
const IGNORED_RUNTIME_LIMIT: Duration = Duration::from_secs(1);

pub(crate) const PHASE: Phase = Phase { name: "preflight", kubeadm: "preflight", need: Need::Once, run };

fn run(join: &mut Join) -> Result<()> {
    let version = join.kubelet_version();
    let services = join.machine.services;
    join.results.units = Some(std::thread::spawn(move || Units::ask(services)));
    let socket = join.cri_socket();
    let is_docker = socket.as_ref().is_ok_and(|socket| runtime::is_in_kubelet(socket));
    join.results.runtime = socket.as_ref().ok().filter(|_| !is_docker).map(|socket| {
        let (root, socket) = (join.root.clone(), socket.clone());
        let limit =
            if is_cri_ignored(join) { IGNORED_RUNTIME_LIMIT } else { join.config.agent.runtime_timeout };
        let limit = join.deadline.within(limit).remaining();
        std::thread::spawn(move || Runtime::ask(&root, &socket, limit, services))
    });
    let docker = is_docker.then(Docker::ask);
    join.results.facts =
        Facts { kubelet: Some(version), docker, name: look_up(join), ..Facts::here(join.root) };
    report(join, None, Stage::Machine)?;
    socket.map(drop)
}

/// Waits for the service manager's answer.
fn collect_units(join: &mut Join) {
    if let Some(units) = join.results.units.take().and_then(|asking| asking.join().ok()) {
        join.results.facts.units = units;
    }
}

/// Whether systemd-resolved runs. If the checks were skipped, this asks now.
pub(super) fn resolved_is_active(join: &mut Join) -> bool {
    collect_units(join);
    if join.results.facts.units.kubelet.is_none() {
        join.results.facts.units = Units::ask(join.machine.services);
    }
    join.results.facts.units.resolved_is_active
}

/// Runs all checks that need no cluster.
pub fn alone(join: &mut Join) -> Result<()> {
    run(join)?;
    with_cluster(join, None)
}

/// Runs the checks that need the network, the runtime and the cluster.
pub(super) fn with_cluster(join: &mut Join, cluster: Option<Cluster>) -> Result<()> {
    collect_runtime(join);
    collect_units(join);
    join.results.facts.addresses = Facts::here(join.root).addresses;
    report(join, cluster, Stage::Cluster)
}

fn is_cri_ignored(join: &Join) -> bool {
    join.config
        .join
        .node
        .ignore_preflight_errors
        .iter()
        .any(|name| name == "all" || name == "cri")
}

/// The addresses of the node's name in `/etc/hosts`. DNS is not needed: the name is added to the file before
/// the kubelet starts (see [`crate::join::names`]).
fn look_up(join: &Join) -> Option<Result<Vec<IpAddr>>> {
    let found = resolve::in_hosts_file(&join.network, &join.config.node_name());
    (!matches!(&found, Ok(addresses) if addresses.is_empty())).then_some(found)
}

/// Runs the checks of `stage`. Errors stop the join; warnings go to the status.
fn report(join: &mut Join, cluster: Option<Cluster>, stage: Stage) -> Result<()> {
    let report = with_context(join, cluster, |context| preflight::run(context, stage));
    tell(join, &report);
    report.failure().map_or(Ok(()), Err)
}

/// Calls `look` with the input of the checks.
pub(super) fn with_context<T>(
    join: &mut Join,
    cluster: Option<Cluster>,
    look: impl FnOnce(&Context) -> T,
) -> T {
    let path = std::env::var("PATH").unwrap_or_default();
    let cri_socket = join.cri_socket().unwrap_or_default();
    let context = Context {
        root: join.root,
        path: &path,
        services: join.machine.services,
        is_privileged: os::is_privileged(),
        join: &join.config.join,
        cri_socket: &cri_socket,
        kubelet_config: join.results.plan.as_ref().map(|plan| &plan.kubelet_config),
        is_resumed: join.is_resumed(),
        variable: &|name| std::env::var(name).ok(),
        facts: &join.results.facts,
        cluster,
    };
    look(&context)
}

fn tell(join: &mut Join, report: &Report) {
    for finding in &report.warnings {
        join.warn(format!("preflight {}: {}", finding.name, finding.message));
    }
}

/// Waits for the runtime's answer until its time is over.
fn collect_runtime(join: &mut Join) {
    let Some(waiting) = join.results.runtime.take() else { return };
    let panicked = |_| Err(Failure::new(ErrorKind::Internal, "waiting for the container runtime panicked"));
    join.results.facts.runtime = Some(waiting.join().unwrap_or_else(panicked));
}

/// The cgroup driver to set, if no config names one and this kubelet does not ask the runtime.
pub(super) fn cgroup_driver_to_follow(join: &mut Join) -> Option<CgroupDriver> {
    collect_runtime(join);
    let minor = join.kubelet_version().ok()?.minor;
    let facts = &join.results.facts;
    facts.cgroup_driver().filter(|_| !facts.is_followed_by_kubelet(minor))
}
