//! Asks the cluster for its configuration and for a node with this name, plans the files, and runs the checks
//! that need both.

use std::time::SystemTime;

use super::{Need, Phase, preflight};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::{identity, machine, resources};
use crate::join::cluster::{self, ClusterConfiguration, Node};
use crate::join::plan::{self, ClusterFacts, HostFacts};
use crate::join::{Join, image, node_defaults, patches};
use crate::net::Deadline;
use crate::net::retry::Backoff;
use crate::preflight::{Clock, Cluster};

pub(crate) const PHASE: Phase = Phase { name: "cluster", kubeadm: "", need: Need::UntilFilesAreWritten, run };

fn run(join: &mut Join) -> Result<()> {
    let deadline = join.deadline.within(join.config.join.timeouts.kubernetes_api_call);
    let carried = image::kubelet_configuration(join.root)?;
    let facts = facts(join, carried, deadline)?;
    let mut known = Cluster { version: facts.kubernetes_version, ..Cluster::default() };
    known.is_node_read_forbidden = name_is_free(join, &join.config.node_name(), deadline)?;
    let host = host_facts(join, &facts)?;
    let plan = plan::plan(join.config, &facts, &host)?;
    plan.warnings.iter().cloned().for_each(|warning| join.warn(warning));
    join.results.plan = Some(plan);
    known.clock = clock(join);
    if join.is_skipped(&preflight::PHASE) { Ok(()) } else { preflight::with_cluster(join, Some(known)) }
}

/// Gets the cluster's data for the plan: two requests, or none if the image has the kubelet's configuration.
fn facts(join: &mut Join, carried: Option<serde_json::Value>, deadline: Deadline) -> Result<ClusterFacts> {
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
    let mut backoff = Backoff::new();
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
        hostname: machine::hostname(join.root).unwrap_or_default(),
        kubelet_version,
        resolved_is_active: preflight::resolved_is_active(join),
        cri_socket: join.cri_socket()?,
        // Waits for the runtime only if its answer is needed here.
        runtime_cgroup_driver: if lacks_driver { preflight::cgroup_driver_to_follow(join) } else { None },
        patches: folder
            .map(|folder| patches::read(&join.root.path(folder)))
            .transpose()?
            .unwrap_or_default(),
        proposed: node_defaults::read(join.root)?,
        resources: resources::resources(join.root),
    })
}

/// Refuses the name of a live node, unless that node is this machine. Returns whether the cluster forbids the
/// request.
fn name_is_free(join: &mut Join, name: &str, deadline: Deadline) -> Result<bool> {
    let Some(found) = &mut join.results.cluster else { return Ok(false) };
    let node = match cluster::node(&mut found.client, name, deadline, &mut Backoff::new()) {
        Ok(node) => node,
        Err(failure) if failure.kind == ErrorKind::Credential => return Ok(true),
        Err(failure) => return Err(failure),
    };
    match node {
        Some(node) if node.ready && !is_this_machine(join, &node) => Err(Failure::new(
            ErrorKind::Refused,
            format!("a Node with name \"{name}\" and status \"Ready\" already exists in the cluster"),
        )
        .help(format!("delete the Node (kubectl delete node {name}) or give this machine another name"))),
        _ => Ok(false),
    }
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
