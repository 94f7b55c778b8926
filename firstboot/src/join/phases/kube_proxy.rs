//! kube-proxy on Windows, in images that have it as a service: completes its configuration when the node has
//! its pods' subnet, writes its command line and starts it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Need, Phase, network, wait};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::command;
use crate::host::files::{self, PUBLIC};
use crate::host::services::{Definition, Enablement, Services, Start, Wait, command_line};
use crate::join::flannel::Network;
use crate::join::kube_proxy::{self, Inputs};
use crate::join::plan::{Plan, PlannedFile};
use crate::join::service_line::Programs;
use crate::join::{Join, cluster, source_vip};
use crate::kubernetes::client::Client;
use crate::kubernetes::version::Version;
use crate::kubernetes::yaml;
use crate::net::retry;
use crate::text::yaml::parse;
use crate::{os, paths};

/// The service.
pub const UNIT: &str = "kube-proxy";
/// Names the network for kube-proxy, where its configuration does not.
const NETWORK_VARIABLE: &str = "KUBE_NETWORK";
/// Limit on its configuration and on an answer of host-local, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long the cluster may take to give the node a subnet, and the pause between two questions.
const SUBNET_LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
/// Limit of one run of host-local.
const PLUGIN_LIMIT: Duration = Duration::from_secs(30);

pub(crate) const PHASE: Phase = Phase { name: "kube-proxy", kubeadm: "", need: Need::Running, run };

/// Whether the image has the service, and nobody switched it off.
pub fn is_wanted(services: Services) -> Result<bool> {
    services.enablement(UNIT).map(|enablement| enablement == Enablement::Enabled)
}

/// Adds its configuration to the files of the join, while the cluster still answers to the token: a node may
/// not read it.
pub(super) fn add_to(mut plan: Plan, join: &mut Join) -> Result<Plan> {
    if !is_wanted(join.machine.services)? {
        return Ok(plan);
    }
    let deadline = join.deadline.within(join.config.join.timeouts.kubernetes_api_call);
    let mut backoff = join.backoff();
    let found = join.results.cluster.as_mut();
    let cluster = found.map(|found| cluster::proxy_configuration(&mut found.client, deadline, &mut backoff));
    let (cluster, flannel) = (cluster.transpose()?.flatten(), network::flannel(join.root)?);
    let document = kube_proxy::configuration(&Inputs {
        cluster: cluster.as_ref(),
        node_config: join.config.kube_proxy.as_ref(),
        version: join.kubelet_version()?,
        node: &plan.node_name,
        drive: &os::system_drive().unwrap_or_default(),
        flannel: flannel.as_ref(),
        is_network_in_environment: std::env::var_os(NETWORK_VARIABLE).is_some(),
    })?;
    if kube_proxy::lacks_source_vip(&document, flannel.as_ref()) && !Path::new(paths::HOST_LOCAL).is_file() {
        let message = format!("kube-proxy needs a source VIP, and {} is not there", paths::HOST_LOCAL);
        return Err(Failure::new(ErrorKind::Host, message).help(
            "add the layer windows-cni-plugins to the image, or give winkernel.sourceVip in a KubeProxyConfiguration",
        ));
    }
    plan.files.insert(
        0,
        PlannedFile {
            path: paths::KUBE_PROXY_CONFIG.into(),
            mode: PUBLIC,
            bytes: yaml::emit(&document).into_bytes(),
        },
    );
    Ok(plan)
}

fn run(join: &mut Join) -> Result<()> {
    let services = join.machine.services;
    if !is_wanted(services)? {
        return Ok(());
    }
    let before = configuration(join)?;
    let flannel = network::flannel(join.root)?;
    let mut document = before.clone();
    choose_credential(join, &mut document)?;
    if let Some(network) = flannel.filter(|network| kube_proxy::lacks_source_vip(&before, Some(network))) {
        let address = source_vip(join, &network)?;
        join.print(&format!("kube-proxy's source VIP is {address}"));
        document["winkernel"]["sourceVip"] = json!(address);
    }
    // kube-proxy ends when this file changes.
    if document != before {
        let path = join.root.entry(paths::KUBE_PROXY_CONFIG);
        files::write(&path, yaml::emit(&document).as_bytes(), PUBLIC)?;
    }
    define(join)?;
    services.restart(UNIT, Wait::Started)
}

/// Its configuration on the disk, which an earlier phase wrote.
fn configuration(join: &Join) -> Result<Value> {
    let bytes = files::read(&join.root.path(paths::KUBE_PROXY_CONFIG), LONGEST)?.unwrap_or_default();
    let document: Value = parse(&bytes).unwrap_or_default();
    if !document["winkernel"].is_object() {
        let message = format!("{} is missing or damaged", paths::KUBE_PROXY_CONFIG);
        return Err(Failure::new(ErrorKind::Host, message).help("run firstboot reset, then join again"));
    }
    Ok(document)
}

/// The kubeconfig that the configuration names, if it is there; else the kubelet's, if the cluster lets nodes
/// see what a proxy must. The cluster's own kubeconfig for kube-proxy has a token of a pod, which a service
/// does not have.
fn choose_credential(join: &mut Join, document: &mut Value) -> Result<()> {
    let named = document.pointer("/clientConnection/kubeconfig").and_then(Value::as_str);
    let named = named.unwrap_or_default().to_owned();
    if Path::new(&named).is_file() {
        return files::make_private(Path::new(&named));
    }
    let drive = os::system_drive().unwrap_or_default();
    let is_default = named == format!("{drive}{}", paths::KUBE_PROXY_CREDENTIAL);
    if !is_default || !may_proxy(join)? {
        let right = if is_default { ", and nodes do not have the role system:node-proxier" } else { "" };
        let message = format!("kube-proxy has no credential: {named} is not there{right}");
        return Err(Failure::new(ErrorKind::Credential, message).help(
            "write a kubeconfig to that path in the user data, or let nodes proxy: kubectl create clusterrolebinding nodes-proxy --clusterrole=system:node-proxier --group=system:nodes; then start the service firstboot again",
        ));
    }
    document["clientConnection"]["kubeconfig"] = json!(format!("{drive}{}", paths::KUBELET_CONF));
    Ok(())
}

/// Asks the cluster whether this node may list endpoints. The role of nodes does not have that right.
fn may_proxy(join: &mut Join) -> Result<bool> {
    let (group, resource) = endpoints(join.kubelet_version()?);
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": "list"}},
    });
    let mut client = wait::client_of_the_kubelet(join)?;
    let deadline = join.deadline.within(join.config.join.timeouts.kubernetes_api_call);
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = retry::until(deadline, &mut join.backoff(), || client.post(path, &review, deadline))?;
    Ok(answer.json::<Value>()?.pointer("/status/allowed") == Some(&Value::Bool(true)))
}

/// kube-proxy on Windows reads slices of endpoints from 1.21 on (gate WindowsEndpointSliceProxying).
fn endpoints(version: Version) -> (&'static str, &'static str) {
    if version.at_least(21) { ("discovery.k8s.io", "endpointslices") } else { ("", "endpoints") }
}

/// The address of this node's pods that kube-proxy gets. One of another subnet is from before the node joined
/// again, and is forgotten.
fn source_vip(join: &mut Join, network: &Network) -> Result<Ipv4Addr> {
    let mut client = wait::client_of_the_kubelet(join)?;
    let subnet = wait_for_subnet(join, &mut client)?;
    let answer = join.root.entry(paths::SOURCE_VIP);
    let known = files::read(&answer, LONGEST)?.and_then(|bytes| source_vip::address(&bytes, &subnet));
    if let Some(address) = known {
        return Ok(address);
    }
    let request = source_vip::request(&network.name, &subnet).to_string();
    files::remove(&answer)?;
    files::write(&join.root.entry(paths::SOURCE_VIP_REQUEST), request.as_bytes(), PUBLIC)?;
    // An address that was given before, and whose answer is lost, is given back.
    host_local("DEL", &request)?;
    let said = host_local("ADD", &request)?;
    let address = source_vip::address(said.as_bytes(), &subnet).ok_or_else(|| {
        Failure::new(ErrorKind::Host, format!("{} gave no address of {subnet}", paths::HOST_LOCAL))
    })?;
    files::write(&answer, said.as_bytes(), PUBLIC)?;
    Ok(address)
}

fn host_local(command: &str, request: &str) -> Result<String> {
    let folder = Path::new(paths::HOST_LOCAL).parent().and_then(Path::to_str).unwrap_or_default();
    let mut environment = vec![("CNI_COMMAND", command), ("CNI_PATH", folder)];
    environment.extend(source_vip::WHO);
    command::run_plugin(paths::HOST_LOCAL, &environment, request.as_bytes(), PLUGIN_LIMIT)?
        .checked(paths::HOST_LOCAL, &[command])
        .map(|output| output.stdout)
}

fn wait_for_subnet(join: &Join, client: &mut Client) -> Result<String> {
    let (name, deadline) = (join.config.node_name(), join.deadline.within(SUBNET_LIMIT));
    loop {
        let node = cluster::node(client, &name, deadline, &mut join.backoff())?;
        let subnets = node.map(|node| node.pod_subnets).unwrap_or_default();
        if let Some(subnet) = source_vip::subnet(&subnets) {
            return Ok(subnet.to_owned());
        }
        if deadline.remaining() < PAUSE {
            let seconds = deadline.elapsed().as_secs();
            let message =
                format!("the Node {name} has no IPv4 subnet for its pods (podCIDR) after {seconds} s");
            return Err(Failure::new(ErrorKind::Pending, message)
                .help("set networking.podSubnet of the cluster, or kube-controller-manager's --allocate-node-cidrs and --cluster-cidr")
                .transient());
        }
        std::thread::sleep(PAUSE);
    }
}

fn define(join: &Join) -> Result<()> {
    let (before, drive) = (command_line(UNIT), os::system_drive().unwrap_or_default());
    let programs = Programs::here(before.as_deref(), paths::KUBE_PROXY_PROGRAM, paths::KUBE_PROXY_LOG);
    join.machine.services.define(&Definition {
        name: UNIT,
        title: "Kubernetes kube-proxy",
        description: "Brings the addresses of services to this node",
        command_line: &kube_proxy::command_line(&programs, &drive, &join.config.node_name()),
        start: Start::Demand,
        needs: None,
    })
}
