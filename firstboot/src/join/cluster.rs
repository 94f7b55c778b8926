//! Reads from the cluster: kubeadm's configuration, the kubelet's, and whether the node's name is free.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::config::documents;
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::Answer;
use crate::kubernetes::client::Client;
use crate::kubernetes::features;
use crate::kubernetes::version::Version;
use crate::net::retry::{self, Backoff};
use crate::net::{Deadline, Error};
use crate::paths;

/// A ConfigMap; absent parts may be null.
#[derive(Debug, Deserialize)]
pub struct ConfigMap {
    data: Option<BTreeMap<String, String>>,
}

impl ConfigMap {
    /// The value of a key that is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.data.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The fields of kubeadm's ClusterConfiguration that a worker needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfiguration {
    /// The version of the control plane.
    pub kubernetes_version: Version,
    /// `kubernetes`
    pub cluster_name: String,
    /// The control plane's folder of certificates. The kubelet's configuration expects its client CA there.
    pub certificates_dir: String,
    /// `registry.k8s.io`
    pub image_repository: String,
    /// `host:port` of the control plane.
    pub control_plane_endpoint: Option<String>,
    /// `cluster.local`
    pub dns_domain: String,
    /// `10.96.0.0/12`, or two of them.
    pub service_subnet: String,
    /// `10.244.0.0/16`, if set.
    pub pod_subnet: Option<String>,
    /// kubeadm's feature gates.
    pub feature_gates: BTreeMap<String, bool>,
}

impl ClusterConfiguration {
    /// Reads v1beta2, v1beta3 and v1beta4 alike, YAML or JSON; absent fields have kubeadm's defaults.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let value = documents::value(text).map_err(|_| "it is not YAML".to_owned())?;
        if value["kind"].as_str().is_some_and(|kind| kind != "ClusterConfiguration") {
            return Err("its kind is not ClusterConfiguration".to_owned());
        }
        let at = |path: &str| {
            value
                .pointer(path)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let or = |path: &str, default: &str| at(path).unwrap_or_else(|| default.to_owned());
        let kubernetes_version: Version =
            at("/kubernetesVersion").ok_or("it has no kubernetesVersion")?.parse()?;
        let gates = value["featureGates"].as_object().into_iter().flatten();
        Ok(Self {
            kubernetes_version,
            cluster_name: or("/clusterName", "kubernetes"),
            certificates_dir: or("/certificatesDir", paths::CERTIFICATES),
            image_repository: or("/imageRepository", features::image_repository(kubernetes_version)),
            control_plane_endpoint: at("/controlPlaneEndpoint"),
            dns_domain: or("/networking/dnsDomain", "cluster.local"),
            service_subnet: or("/networking/serviceSubnet", "10.96.0.0/12"),
            pod_subnet: at("/networking/podSubnet"),
            feature_gates: gates.filter_map(|(name, on)| Some((name.clone(), on.as_bool()?))).collect(),
        })
    }

    /// Possible names of the kubelet's ConfigMap, the likelier one first. The feature gate is from 1.23.
    fn kubelet_config_names(&self) -> [String; 2] {
        let [first, second] = features::kubelet_config_maps(self.kubernetes_version);
        let unversioned = self.feature_gates.get("UnversionedKubeletConfigMap") == Some(&true);
        if unversioned && !self.kubernetes_version.at_least(24) { [second, first] } else { [first, second] }
    }
}

/// `kube-system/kubeadm-config`.
pub fn configuration(
    client: &mut Client,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<ClusterConfiguration> {
    let answer = get(client, &config_map("kubeadm-config"), deadline, backoff)
        .map_err(|error| not_readable(error, "kubeadm-config"))?;
    let text = value_of(&answer, "kubeadm-config", "ClusterConfiguration")?;
    ClusterConfiguration::parse(&text).map_err(|why| {
        Failure::new(
            ErrorKind::Refused,
            format!("the cluster's kubeadm-config: ClusterConfiguration cannot be used: {why}"),
        )
    })
}

/// The kubelet's configuration for the whole cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeletConfiguration {
    /// The ConfigMap that it came from.
    pub name: String,
    /// The original text.
    pub text: String,
    /// The parsed text.
    pub value: Value,
}

/// `kube-system/kubelet-config`, or `kubelet-config-1.<minor>` of older clusters. RBAC rules name the
/// ConfigMap, so the server answers 403 for a missing one.
pub fn kubelet_configuration(
    client: &mut Client,
    cluster: &ClusterConfiguration,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<KubeletConfiguration> {
    let mut first = None;
    for name in cluster.kubelet_config_names() {
        match get(client, &config_map(&name), deadline, backoff) {
            Ok(answer) => {
                let text = value_of(&answer, &name, "kubelet")?;
                let value = parse_kubelet_configuration(&text).map_err(|why| {
                    Failure::new(ErrorKind::Refused, format!("the cluster's {name} cannot be used: {why}"))
                })?;
                return Ok(KubeletConfiguration { name, text, value });
            }
            Err(error) if error.is_missing() || error.is_forbidden() => {
                first.get_or_insert(not_readable(error, &name));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(first.unwrap_or_else(|| Failure::new(ErrorKind::Internal, "a kubelet configuration has no name")))
}

/// Reads a KubeletConfiguration, YAML or JSON.
pub fn parse_kubelet_configuration(text: &str) -> std::result::Result<Value, &'static str> {
    let value = documents::value(text).map_err(|_| "it is not YAML")?;
    match value["kind"].as_str() {
        Some("KubeletConfiguration") => Ok(value),
        _ => Err("its kind is not KubeletConfiguration"),
    }
}

/// A Node object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Whether its kubelet is alive and well.
    pub ready: bool,
    /// The UUID of its hardware (SMBIOS). It shows whether the Node object is from an earlier join of this
    /// machine.
    pub system_uuid: String,
    /// Its `/etc/machine-id`.
    pub machine_id: String,
    pub(crate) kubelet_version: String,
    /// The subnets of its pods; none before the cluster has given it any.
    pub pod_subnets: Vec<String>,
}

/// The Node object with this name; none if the name is free.
pub fn node(
    client: &mut Client,
    name: &str,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<Option<Node>> {
    match get(client, &format!("/api/v1/nodes/{name}"), deadline, backoff) {
        Ok(answer) => Ok(Some(read_node(&answer.json()?))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_node(value: &Value) -> Node {
    let info = |field: &str| value["status"]["nodeInfo"][field].as_str().unwrap_or_default().to_owned();
    let conditions = value["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .filter(|condition| condition["type"] == "Ready")
        .any(|condition| condition["status"] == "True");
    Node {
        ready,
        system_uuid: info("systemUUID"),
        machine_id: info("machineID"),
        kubelet_version: info("kubeletVersion"),
        pod_subnets: pod_subnets(&value["spec"]),
    }
}

fn pod_subnets(spec: &Value) -> Vec<String> {
    let several = spec["podCIDRs"].as_array().into_iter().flatten();
    let subnets = several.chain(spec.get("podCIDR")).filter_map(Value::as_str);
    subnets.map(str::to_owned).collect()
}

/// kube-proxy's configuration for the whole cluster; none if the cluster has none, or does not show it.
#[cfg(windows)]
pub fn proxy_configuration(
    client: &mut Client,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<Option<Value>> {
    let name = "kube-proxy";
    let answer = match get(client, &config_map(name), deadline, backoff) {
        Ok(answer) => answer,
        Err(error) if error.is_missing() || error.is_forbidden() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = value_of(&answer, name, "config.conf")?;
    let value = documents::value(&text).map_err(|_| {
        Failure::new(ErrorKind::Refused, format!("the cluster's {name}: config.conf cannot be used: no YAML"))
    })?;
    Ok(Some(value))
}

fn config_map(name: &str) -> String {
    format!("/api/v1/namespaces/kube-system/configmaps/{name}")
}

/// GET with retries for transient failures. Keeps the status of the last answer.
fn get(
    client: &mut Client,
    path: &str,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> std::result::Result<Answer, Error> {
    loop {
        match client.get(path, deadline) {
            Ok(answer) => return Ok(answer),
            Err(error) if !error.failure.transient => return Err(error),
            Err(error) => retry::pause(deadline, backoff, error)?,
        }
    }
}

fn value_of(answer: &Answer, name: &str, key: &str) -> Result<String> {
    let value = answer.json::<ConfigMap>()?.get(key).map(str::to_owned);
    value.ok_or_else(|| Failure::new(ErrorKind::Refused, format!("the cluster's {name} has no key {key}")))
}

fn not_readable(error: Error, name: &str) -> Failure {
    let (missing, forbidden) = (error.is_missing(), error.is_forbidden());
    let failure = Failure::from(error);
    if missing {
        return failure
            .help(format!("the cluster has no {name}: was it made by kubeadm? An image with its own kubelet configuration needs none"));
    }
    if forbidden {
        return failure.help(format!(
            "the token's group may not read {name}: give the token the group system:bootstrappers:kubeadm:default-node-token"
        ));
    }
    failure
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
