//! Asks the cluster for its configuration and for a node with this name, plans the files, and runs the checks
//! that need both.

use std::thread;
use std::time::{Duration, SystemTime};

#[cfg(windows)]
use super::kube_proxy;
use super::{Need, Phase, preflight};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::{identity, machine, resources};
use crate::join::cluster::{self, ClusterConfiguration, Node};
use crate::join::plan::{self, ClusterFacts, HostFacts};
use crate::join::{Join, image, node_defaults, patches};
use crate::net::Deadline;
use crate::os;
use crate::preflight::{Clock, Cluster};

/// How long a Node stays Ready when its machine has gone, and a little more.
const STALE_NODE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(5);

pub(crate) const PHASE: Phase = Phase { name: "cluster", kubeadm: "", need: Need::UntilFilesAreWritten, run };

fn run(join: &mut Join) -> Result<()> {
    let deadline = join.deadline.within(join.config.join.timeouts.kubernetes_api_call);
    let carried = image::kubelet_configuration(join.root)?;
    let facts = facts(join, carried, deadline)?;
    let mut known = Cluster { version: facts.kubernetes_version, ..Cluster::default() };
    known.is_node_read_forbidden = name_is_free(join, &join.config.node_name())?;
    let host = host_facts(join, &facts)?;
    let plan = plan::plan(join.config, &facts, &host)?;
    #[cfg(windows)]
    let plan = kube_proxy::add_to(plan, join)?;
    plan.warnings.iter().cloned().for_each(|warning| join.warn(warning));
    join.results.plan = Some(plan);
    known.clock = clock(join);
    if join.is_skipped(&preflight::PHASE) { Ok(()) } else { preflight::with_cluster(join, Some(known)) }
}

/// Gets the cluster's data for the plan: two requests, or none if the image has the kubelet's configuration.
fn facts(join: &mut Join, carried: Option<serde_json::Value>, deadline: Deadline) -> Result<ClusterFacts> {
    let mut backoff = join.backoff();
    let found = join
        .results
        .cluster
        .as_mut()
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "no cluster was discovered"))?;
    let (server, ca_pem) =
        (found.server.to_string(), String::from_utf8_lossy(found.authorities.pem()).into_owned());
    if let Some(kubelet_config) = carried {
        return Ok(ClusterFacts::unknown(server, ca_pem, kubelet_config));
    }
    let configuration = cluster::configuration(&mut found.client, deadline, &mut backoff)?;
    let kubelet = cluster::kubelet_configuration(&mut found.client, &configuration, deadline, &mut backoff)?;
    (join.print)(&format!("the cluster is Kubernetes {}", configuration.kubernetes_version));
    join.results.configuration = Some(configuration.clone());
    let ClusterConfiguration {
        kubernetes_version,
        cluster_name,
        certificates_dir,
        image_repository,
        dns_domain,
        service_subnet,
        feature_gates,
        ..
    } = configuration;
    Ok(ClusterFacts {
        kubernetes_version: Some(kubernetes_version),
        cluster_name,
        image_repository,
        feature_gates,
        service_subnet: Some(service_subnet),
        dns_domain: Some(dns_domain),
        certificates_dir: Some(certificates_dir),
        kubelet_config: kubelet.value,
        server,
        ca_pem,
    })
}

fn host_facts(join: &mut Join, cluster: &ClusterFacts) -> Result<HostFacts> {
    let kubelet_version = join.kubelet_version()?;
    let lacks_driver = plan::lacks_cgroup_driver(join.config, &cluster.kubelet_config);
    let folder = join.config.join.patches.as_ref();
    Ok(HostFacts {
        hostname: machine::static_hostname(join.root).unwrap_or_default(),
        kubelet_version,
        services: join.machine.services,
        drive: os::system_drive(),
        resolved_is_active: preflight::resolved_is_active(join),
        cri_socket: join.cri_socket()?,
        // Waits for the runtime only if its answer is needed here.
        runtime_cgroup_driver: if lacks_driver { preflight::cgroup_driver_to_follow(join) } else { None },
        patches: folder.map(|folder| patches::read(join.root, folder)).transpose()?.unwrap_or_default(),
        proposed: node_defaults::read(join.root)?,
        resources: resources::resources(join.root),
    })
}

/// What the cluster says of a node name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Free,
    /// Another machine's Node is Ready.
    Taken,
    /// The cluster forbids the question.
    Secret,
}

fn ask_for_name(join: &mut Join, name: &str) -> Result<Name> {
    let deadline = join.deadline.within(join.config.join.timeouts.kubernetes_api_call);
    let mut backoff = join.backoff();
    let Some(found) = &mut join.results.cluster else { return Ok(Name::Free) };
    match cluster::node(&mut found.client, name, deadline, &mut backoff) {
        Ok(Some(node)) if node.ready && !is_this_machine(join, &node) => Ok(Name::Taken),
        Ok(_) => Ok(Name::Free),
        Err(failure) if failure.kind == ErrorKind::Credential => Ok(Name::Secret),
        Err(failure) => Err(failure),
    }
}

/// Refuses the name of a live node, unless that node is this machine. A machine that no hardware identifies
/// may have been that node before it restarted: then the Node does not stay Ready. Returns whether the
/// cluster forbids the request.
fn name_is_free(join: &mut Join, name: &str) -> Result<bool> {
    let patience = join.deadline.within(if is_identified(join) { Duration::ZERO } else { STALE_NODE });
    let answer = while_taken(patience, ASK_AGAIN, || {
        let answer = ask_for_name(join, name)?;
        if answer == Name::Taken && !patience.has_passed() {
            join.print(&format!("waiting: a Node \"{name}\" is Ready, maybe this machine before a restart"));
        }
        Ok(answer)
    })?;
    match answer {
        Name::Free => Ok(false),
        Name::Secret => Ok(true),
        Name::Taken => Err(Failure::new(
            ErrorKind::Refused,
            format!("a Node with name \"{name}\" and status \"Ready\" already exists in the cluster"),
        )
        .help(format!("delete the Node (kubectl delete node {name}) or give this machine another name"))),
    }
}

/// The last answer: the first that is not [`Name::Taken`], or the one after `patience`.
fn while_taken(patience: Deadline, pause: Duration, mut ask: impl FnMut() -> Result<Name>) -> Result<Name> {
    loop {
        let is_last = patience.has_passed();
        let answer = ask()?;
        if answer != Name::Taken || is_last {
            return Ok(answer);
        }
        thread::sleep(pause.min(patience.remaining()));
    }
}

/// Whether hardware tells this machine apart over a restart that keeps nothing.
fn is_identified(join: &Join) -> bool {
    identity::product_uuid(join.root).is_some_and(|uuid| identity::doubt(&uuid).is_none())
}

fn is_this_machine(join: &Join, node: &Node) -> bool {
    let same =
        |own: Option<String>, theirs: &str| own.is_some_and(|own| own.eq_ignore_ascii_case(theirs.trim()));
    let uuid = identity::product_uuid(join.root).filter(|uuid| identity::doubt(uuid).is_none());
    same(uuid, &node.system_uuid) || same(identity::machine_id(join.root), &node.machine_id)
}

fn clock(join: &Join) -> Option<Clock> {
    let found = join.results.cluster.as_ref()?;
    let (server, local) = found
        .client
        .dates()
        .map_or((None, SystemTime::now()), |(server, local)| (Some(server), local));
    Some(Clock { local, server, valid: found.authorities.validity() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(patience: Duration, answers: &[Name]) -> (Name, usize) {
        let mut asked = 0;
        let last = while_taken(Deadline::after(patience), Duration::from_millis(1), || {
            asked += 1;
            Ok(answers[(asked - 1).min(answers.len() - 1)])
        });
        (last.unwrap(), asked)
    }

    #[test]
    fn a_node_of_before_a_restart_is_waited_for_and_another_machines_is_not() {
        let long = Duration::from_secs(60);
        assert_eq!(answers(long, &[Name::Taken, Name::Taken, Name::Free]), (Name::Free, 3));
        assert_eq!(answers(Duration::ZERO, &[Name::Taken, Name::Free]), (Name::Taken, 1));
        assert_eq!(answers(long, &[Name::Secret]), (Name::Secret, 1));
        let (last, asked) = answers(Duration::from_millis(20), &[Name::Taken]);
        assert!(last == Name::Taken && asked > 1);
    }
}
