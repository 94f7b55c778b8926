//! Plans the files of a joined worker from the node config, the cluster and the machine. Pure: the same input
//! gives the same bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::config::check_kubelet_document;
use crate::config::model::{Argument, NodeConfig};
use crate::error::Result;
use crate::host::cri::CgroupDriver;
use crate::host::files::PUBLIC;
use crate::host::resources::Resources;
use crate::host::services::Services;
use crate::join::patches::{self, PatchFile};
use crate::join::{kubelet_config, kubelet_flags, node_defaults};
use crate::kubernetes::features::{KubeletFeatures, image_repository};
use crate::kubernetes::version::Version;
use crate::kubernetes::yaml;
use crate::paths;

/// The kubelet's configuration.
pub const CONFIG: &str = paths::KUBELET_CONFIG;
/// The file with the settings of only this node's kubelet.
pub const INSTANCE_CONFIG: &str = paths::KUBELET_INSTANCE_CONFIG;
/// The kubelet's command line.
pub const FLAGS: &str = paths::KUBELET_FLAGS;

/// The cluster's data for the plan.
#[derive(Debug, Clone)]
pub struct ClusterFacts {
    /// `kubernetesVersion`; none if the image has the kubelet's configuration and so no ConfigMap was read.
    pub kubernetes_version: Option<Version>,
    /// `clusterName`; `kubernetes` by default.
    pub cluster_name: String,
    /// `imageRepository`; empty for the default of the version.
    pub image_repository: String,
    /// `featureGates` of the ClusterConfiguration.
    pub feature_gates: BTreeMap<String, bool>,
    /// `networking.serviceSubnet`, if known.
    pub service_subnet: Option<String>,
    /// `networking.dnsDomain`, if known.
    pub dns_domain: Option<String>,
    /// `certificatesDir`, if known.
    pub certificates_dir: Option<String>,
    /// The KubeletConfiguration of the ConfigMap or of the image.
    pub kubelet_config: Value,
    /// `https://host:port` of the trusted cluster-info.
    pub server: String,
    /// The CA certificates of the trusted cluster-info.
    pub ca_pem: String,
}

impl ClusterFacts {
    /// Without a ConfigMap.
    pub fn unknown(server: String, ca_pem: String, kubelet_config: Value) -> Self {
        Self {
            kubernetes_version: None,
            cluster_name: "kubernetes".to_owned(),
            image_repository: String::new(),
            feature_gates: BTreeMap::new(),
            service_subnet: None,
            dns_domain: None,
            certificates_dir: None,
            kubelet_config,
            server,
            ca_pem,
        }
    }
}

/// The machine's data for the plan.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The name that it has at later boots too, else empty.
    pub(crate) hostname: String,
    /// The output of `kubelet --version`.
    pub kubelet_version: Version,
    /// The service manager, which reads the kubelet's arguments.
    pub services: Services,
    /// The drive of the system (`C:`) of a machine with Windows.
    pub drive: Option<String>,
    /// Whether systemd-resolved runs.
    pub resolved_is_active: bool,
    /// The runtime's socket if the node config names none, see [`crate::host::cri::detect_socket`].
    pub cri_socket: String,
    /// The runtime's cgroup driver, if it is known and the kubelet does not ask the runtime itself.
    pub runtime_cgroup_driver: Option<CgroupDriver>,
    /// The files of the patches folder, see [`patches::read`].
    pub patches: Vec<PatchFile>,
    /// The image's proposals for the kubelet's configuration, see [`node_defaults::read`].
    pub proposed: Map<String, Value>,
    /// What the machine has to share out.
    pub resources: Resources,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Absolute.
    pub path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

/// The files that a join writes, apart from credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The name under which the kubelet registers.
    pub node_name: String,
    /// In the order of writing. The kubelet starts at boot as soon as config.yaml exists, so that file is
    /// last.
    pub files: Vec<PlannedFile>,
    /// The kubelet's configuration, as in config.yaml.
    pub kubelet_config: Value,
    pub(crate) cri_socket: String,
    /// Value of the Node's annotation `kubeadm.alpha.kubernetes.io/cri-socket`, if kubeadm of this version
    /// sets it.
    pub cri_socket_annotation: Option<String>,
    /// Address and port of the kubelet's `/healthz`; none if it is switched off.
    pub healthz: Option<(String, u16)>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
}

/// Plans the join of a worker.
pub fn plan(config: &NodeConfig, cluster: &ClusterFacts, host: &HostFacts) -> Result<Plan> {
    let features = KubeletFeatures::of(host.kubelet_version, &cluster.feature_gates);
    let cri_socket = config.join.node.cri_socket.clone().unwrap_or_else(|| host.cri_socket.clone());
    let (patches, mut warnings) = patches::parse(&host.patches, host.kubelet_version)?;
    let defaults = kubelet_config::Defaults {
        service_subnet: cluster.service_subnet.as_deref(),
        dns_domain: cluster.dns_domain.as_deref(),
        certificates_dir: cluster.certificates_dir.as_deref(),
        resolved_is_active: host.resolved_is_active,
        drive: host.drive.as_deref(),
        cgroup_driver: cgroup_driver(config, &features, host.runtime_cgroup_driver),
        proposed: node_defaults::applicable(
            &host.proposed,
            &cluster.kubelet_config,
            config.kubelet.as_ref(),
            &config.join.node.kubelet_extra_args,
            host.kubelet_version,
            &host.resources,
        ),
        instance_socket: features.instance_config.then_some(cri_socket.as_str()),
    };
    let configuration =
        kubelet_config::configuration(&cluster.kubelet_config, config.kubelet.as_ref(), &defaults, &patches)?;
    check_kubelet_document(&configuration)?;
    warnings.extend(foreign_resolver(&configuration, host));
    let arguments = arguments(config, cluster, host, &features, &cri_socket);
    let is_evaluated = host.services.evaluates();

    let mut files = vec![
        file(config.join.ca_cert_path.clone(), cluster.ca_pem.clone()),
        file(FLAGS, kubelet_flags::environment_file(&arguments, is_evaluated)?),
    ];
    if features.instance_config {
        files.push(file(INSTANCE_CONFIG, kubelet_config::instance_config(&cri_socket)));
    }
    files.push(file(CONFIG, yaml::emit(&configuration)));
    Ok(Plan {
        node_name: config.node_name(),
        files,
        cri_socket_annotation: features.cri_socket_annotation.then(|| cri_socket.clone()),
        cri_socket,
        healthz: kubelet_config::healthz(&configuration),
        kubelet_config: configuration,
        warnings,
    })
}

/// Whether no config names a cgroup driver. Then the runtime's driver is used.
pub fn lacks_cgroup_driver(config: &NodeConfig, kubelet_config: &Value) -> bool {
    let says = |document: &Value| document["cgroupDriver"].as_str().is_some_and(|driver| !driver.is_empty());
    !has_driver_argument(config) && !says(kubelet_config) && !config.kubelet.as_ref().is_some_and(says)
}

fn has_driver_argument(config: &NodeConfig) -> bool {
    config
        .join
        .node
        .kubelet_extra_args
        .iter()
        .any(|argument| argument.name == "cgroup-driver")
}

/// The driver if neither cluster nor node config names one: the runtime's if it is known, else kubeadm's
/// default.
fn cgroup_driver(
    config: &NodeConfig,
    features: &KubeletFeatures,
    runtime: Option<CgroupDriver>,
) -> Option<&'static str> {
    let default = features.default_cgroup_driver.then_some(CgroupDriver::Systemd);
    let effective = default.unwrap_or(CgroupDriver::Cgroupfs);
    let other = runtime.filter(|driver| *driver != effective && !has_driver_argument(config));
    other.or(default).map(CgroupDriver::word)
}

fn arguments(
    config: &NodeConfig,
    cluster: &ClusterFacts,
    host: &HostFacts,
    features: &KubeletFeatures,
    cri_socket: &str,
) -> Vec<Argument> {
    let image_repository = match cluster.image_repository.as_str() {
        "" => image_repository(cluster.kubernetes_version.unwrap_or(host.kubelet_version)),
        named => named,
    };
    let inputs = kubelet_flags::FlagInputs {
        features,
        cri_socket,
        image_repository,
        hostname: &host.hostname,
        from_facts: &config.from_facts,
    };
    kubelet_flags::arguments(&config.join.node, &inputs)
}

fn file(path: impl Into<PathBuf>, text: String) -> PlannedFile {
    PlannedFile { path: path.into(), mode: PUBLIC, bytes: text.into_bytes() }
}

/// kubeadm up to 1.30 stored the resolver of the control-plane host for the whole cluster.
fn foreign_resolver(configuration: &Value, host: &HostFacts) -> Option<String> {
    let foreign = configuration["resolvConf"] == kubelet_config::RESOLVED && !host.resolved_is_active;
    foreign.then(|| {
        format!(
            "the kubelet is told to read {}, but systemd-resolved does not run here: set resolvConf in a KubeletConfiguration of the node config",
            kubelet_config::RESOLVED
        )
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
