//! The differences between Kubernetes versions in a join, each in one place.
//!
//! Two versions matter separately: the **kubelet's** (decides what it accepts; every file follows kubeadm of
//! the same version) and the **cluster's** (decides the names under which its control plane stores things).
//!
//! | fact | decided by | here |
//! |---|---|---|
//! | flags in kubeadm-flags.env, their order | kubelet | [`KubeletFeatures`] |
//! | instance-config.yaml, CRI socket annotation | kubelet, and the cluster's feature gate `NodeLocalCRISocket` | [`KubeletFeatures`] |
//! | targets of patches | kubelet | [`patch_targets`] |
//! | two addresses in `--node-ip` | kubelet | [`takes_two_addresses`] |
//! | feature gates of kube-proxy on Windows | kube-proxy, which is of the kubelet's version | `proxy_gate` |
//! | default socket of the runtime | kubelet | [`crate::host::cri::detect_socket`] |
//! | name of the kubelet's ConfigMap | cluster | [`kubelet_config_maps`] |
//! | registry of the images when the cluster names none | cluster | [`image_repository`] |
//!
//! Sources: release notes of 1.20 to 1.37, kubernetes/kubernetes#135400 and its backports (order of
//! arguments), KEP-4656 (instance configuration), KEP-563 and KEP-3705 (addresses of both families), and the
//! files that kubeadm 1.20.2, 1.31.14, 1.34.9 and 1.36.2 wrote.

use std::collections::BTreeMap;

use crate::kubernetes::version::Version;

/// The feature gate of a ClusterConfiguration that moves the socket from the Node object to a file.
pub const NODE_LOCAL_CRI_SOCKET: &str = "NodeLocalCRISocket";

/// The tags of the pause image, each from this minor version on.
const PAUSE_TAGS: &[(u16, &str)] = &[
    (20, "3.2"),
    (21, "3.4.1"),
    (22, "3.5"),
    (23, "3.6"),
    (24, "3.7"),
    (25, "3.8"),
    (26, "3.9"),
    (31, "3.10"),
    (34, "3.10.1"),
];

/// The first patch release of each minor version that keeps the order of the user's arguments. All versions
/// from 1.36 on do.
const ARGUMENTS_IN_ORDER: &[(u16, u16)] = &[(32, 12), (33, 8), (34, 4), (35, 1)];

/// What kubeadm of the kubelet's version writes, independent of the node config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletFeatures {
    /// `--network-plugin=cni` for Docker's socket.
    pub network_plugin: bool,
    /// `--container-runtime=remote` for every other socket.
    pub container_runtime: bool,
    /// `--container-runtime-endpoint`, unless the socket is in instance-config.yaml.
    pub container_runtime_endpoint: bool,
    /// The tag in `--pod-infra-container-image`; `None` if the flag is not written. Kubelets from 1.35 on
    /// refuse the flag.
    pub pause_tag: Option<&'static str>,
    /// Whether that flag is only for Docker (1.20).
    pub pause_for_docker_only: bool,
    /// `/var/lib/kubelet/instance-config.yaml` is written and merged over config.yaml.
    pub instance_config: bool,
    /// The Node gets the annotation `kubeadm.alpha.kubernetes.io/cri-socket`.
    pub cri_socket_annotation: bool,
    /// The user's arguments follow the sorted defaults in their own order. In older versions all arguments
    /// are sorted together.
    pub arguments_in_order: bool,
    /// `cgroupDriver: systemd` if the configuration does not set it.
    pub default_cgroup_driver: bool,
}

impl KubeletFeatures {
    /// For a kubelet of this version in a cluster with these feature gates.
    pub fn of(kubelet: Version, gates: &BTreeMap<String, bool>) -> Self {
        let instance_config = instance_config(kubelet, gates);
        Self {
            network_plugin: !kubelet.at_least(24),
            container_runtime: !kubelet.at_least(26),
            container_runtime_endpoint: !instance_config,
            pause_tag: pause_tag(kubelet),
            pause_for_docker_only: !kubelet.at_least(21),
            instance_config,
            cri_socket_annotation: !instance_config,
            arguments_in_order: arguments_in_order(kubelet),
            default_cgroup_driver: kubelet.at_least(22),
        }
    }
}

/// Alpha in 1.32, on by default in 1.34, always on in 1.36.
fn instance_config(kubelet: Version, gates: &BTreeMap<String, bool>) -> bool {
    let gate = gates.get(NODE_LOCAL_CRI_SOCKET).copied();
    match kubelet {
        version if version.at_least(36) => true,
        version if version.at_least(34) => gate.unwrap_or(true),
        version if version.at_least(32) => gate.unwrap_or(false),
        _ => false,
    }
}

fn pause_tag(kubelet: Version) -> Option<&'static str> {
    if kubelet.at_least(35) {
        return None;
    }
    PAUSE_TAGS.iter().rev().find(|(minor, _)| kubelet.at_least(*minor)).map(|(_, tag)| *tag)
}

fn arguments_in_order(kubelet: Version) -> bool {
    let backported =
        |&(minor, patch): &(u16, u16)| kubelet.major == 1 && kubelet.minor == minor && kubelet.patch >= patch;
    kubelet.at_least(36) || ARGUMENTS_IN_ORDER.iter().any(backported)
}

/// The state of a feature gate in a release.
#[cfg(any(windows, test))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Off unless somebody switches it on.
    Off,
    /// On unless somebody switches it off.
    On,
    /// On; nobody can change that.
    Always,
}

/// The feature gates of kube-proxy on Windows, with their states from each minor version on
/// (`pkg/features/kube_features.go` of 1.25, 1.27, 1.29, 1.31 and 1.33 to 1.36).
#[cfg(any(windows, test))]
const PROXY_GATES: &[(&str, u16, Gate)] = &[
    ("WinDSR", 14, Gate::Off),
    ("WinDSR", 33, Gate::On),
    ("WinDSR", 34, Gate::Always),
    ("WinOverlay", 14, Gate::Off),
    ("WinOverlay", 20, Gate::On),
    ("WinOverlay", 34, Gate::Always),
];

/// The state of one of kube-proxy's gates on Windows.
#[cfg(any(windows, test))]
pub fn proxy_gate(name: &str, version: Version) -> Gate {
    let state = PROXY_GATES.iter().rfind(|(gate, minor, _)| *gate == name && version.at_least(*minor));
    state.map_or(Gate::Off, |(_, _, state)| *state)
}

/// The allowed targets of files in the patches folder.
pub fn patch_targets(kubelet: Version) -> Vec<&'static str> {
    let since = [("kubeletconfiguration", 25), ("corednsdeployment", 31), ("kubeproxydaemonset", 37)];
    let always = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    always
        .into_iter()
        .chain(since.into_iter().filter(|(_, minor)| kubelet.at_least(*minor)).map(|(target, _)| target))
        .collect()
}

/// Whether the kubelet takes an IPv4 and an IPv6 address as `--node-ip`, without a feature gate. Providers in
/// the kubelet itself never do.
pub fn takes_two_addresses(kubelet: Version, cloud_provider: &str) -> bool {
    match cloud_provider {
        "" => kubelet.at_least(21),
        "external" => kubelet.at_least(29),
        _ => false,
    }
}

/// The names of the kubelet's configuration in kube-system: the expected one, then the other. For a missing
/// one a token gets 403 instead of 404, because its rights name the ConfigMap.
pub fn kubelet_config_maps(cluster: Version) -> [String; 2] {
    let plain = "kubelet-config".to_owned();
    let versioned = format!("kubelet-config-{}.{}", cluster.major, cluster.minor);
    if cluster.at_least(24) { [plain, versioned] } else { [versioned, plain] }
}

/// The default image repository of a ClusterConfiguration.
pub fn image_repository(cluster: Version) -> &'static str {
    if cluster.at_least(25) { "registry.k8s.io" } else { "k8s.gcr.io" }
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
