//! The list of checks, in the order in which they run: kubeadm's in kubeadm's order, then those that kubeadm
//! lacks.

use super::Level::{Error, Off, Warning};
use super::Stage::{Cluster, Machine};
use super::{Check, Context, Level, Name, Problem, Stage};
use super::{cluster, files, network, node, proxy, runtime, system};

/// The check that runs first.
pub const PRIVILEGED: &str = "IsPrivilegedUser";

type Levels = &'static [(u16, Level)];

const ERROR: Levels = &[(0, Error)];
const WARNING: Levels = &[(0, Warning)];
/// kubeadm dropped these checks with 1.33, because only the runtime needs the programs.
const ERROR_UNTIL_1_33: Levels = &[(0, Error), (33, Off)];
const WARNING_UNTIL_1_33: Levels = &[(0, Warning), (33, Off)];
const WARNING_UNTIL_1_32: Levels = &[(0, Warning), (32, Off)];

const fn check(
    name: &'static str,
    stage: Stage,
    levels: Levels,
    look: fn(&Context) -> Vec<Problem>,
) -> Check {
    Check { name: Name::Is(name), part_of: None, stage, levels, look }
}

const fn part_of(whole: &'static str, check: Check) -> Check {
    Check { part_of: Some(whole), ..check }
}

const fn named(
    name: fn(&Context) -> String,
    stage: Stage,
    levels: Levels,
    look: fn(&Context) -> Vec<Problem>,
) -> Check {
    Check { name: Name::Of(name), part_of: None, stage, levels, look }
}

/// All checks. On Windows those that mean something there.
pub const CHECKS: &[Check] = &[
    // kubeadm's checks.
    check(PRIVILEGED, Machine, ERROR, system::privileged),
    #[cfg(not(windows))]
    check("DirAvailable--etc-kubernetes-manifests", Machine, &[(0, Error), (23, Off)], files::manifests),
    check("FileAvailable--etc-kubernetes-kubelet.conf", Machine, ERROR, files::kubelet_conf),
    check("FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", Machine, ERROR, files::bootstrap_conf),
    check("CRI", Cluster, ERROR, runtime::answers),
    check("ContainerRuntimeVersion", Cluster, &[(35, Warning), (37, Error)], runtime::implements_config),
    #[cfg(not(windows))]
    check("Service-Docker", Machine, &[(0, Warning), (24, Off)], runtime::docker_service),
    #[cfg(not(windows))]
    check("IsDockerSystemdCheck", Machine, &[(0, Warning), (22, Off)], runtime::docker_driver),
    #[cfg(not(windows))]
    check("FileExisting-crictl", Machine, &[(0, Error), (31, Warning), (32, Off)], |context| {
        files::program(context, "crictl")
    }),
    #[cfg(not(windows))]
    check(
        "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",
        Machine,
        &[(0, Error), (30, Off)],
        network::bridge_iptables,
    ),
    #[cfg(not(windows))]
    check(
        "FileContent--proc-sys-net-bridge-bridge-nf-call-ip6tables",
        Machine,
        &[(0, Error), (30, Off)],
        network::bridge_ip6tables,
    ),
    #[cfg(not(windows))]
    check("FileContent--proc-sys-net-ipv4-ip_forward", Machine, ERROR, network::forwarding),
    #[cfg(not(windows))]
    check("FileContent--proc-sys-net-ipv6-conf-default-forwarding", Machine, ERROR, network::forwarding6),
    #[cfg(not(windows))]
    check("Swap", Machine, &[(0, Error), (23, Warning)], system::swap),
    #[cfg(not(windows))]
    check("FileExisting-conntrack", Machine, &[(0, Error), (32, Off)], |context| {
        files::program(context, "conntrack")
    }),
    #[cfg(not(windows))]
    check("FileExisting-ip", Machine, ERROR_UNTIL_1_33, |context| files::program(context, "ip")),
    #[cfg(not(windows))]
    check("FileExisting-iptables", Machine, ERROR_UNTIL_1_33, |context| files::program(context, "iptables")),
    #[cfg(not(windows))]
    check("FileExisting-mount", Machine, ERROR, |context| files::program(context, "mount")),
    #[cfg(not(windows))]
    check("FileExisting-nsenter", Machine, ERROR_UNTIL_1_33, |context| files::program(context, "nsenter")),
    #[cfg(not(windows))]
    check("FileExisting-ebtables", Machine, WARNING_UNTIL_1_32, |context| {
        files::program(context, "ebtables")
    }),
    #[cfg(not(windows))]
    check("FileExisting-ethtool", Machine, WARNING_UNTIL_1_33, |context| files::program(context, "ethtool")),
    #[cfg(not(windows))]
    check("FileExisting-socat", Machine, WARNING_UNTIL_1_32, |context| files::program(context, "socat")),
    #[cfg(not(windows))]
    check("FileExisting-tc", Machine, WARNING_UNTIL_1_33, |context| files::program(context, "tc")),
    #[cfg(not(windows))]
    check("FileExisting-touch", Machine, WARNING_UNTIL_1_33, |context| files::program(context, "touch")),
    #[cfg(not(windows))]
    check("FileExisting-losetup", Machine, &[(33, Warning)], |context| files::program(context, "losetup")),
    #[cfg(not(windows))]
    check("FileExisting-cp", Machine, &[(33, Error)], |context| files::program(context, "cp")),
    #[cfg(not(windows))]
    check("SystemVerification", Machine, ERROR, system::verification),
    #[cfg(not(windows))]
    check("Hostname", Machine, WARNING, network::node_name_resolves),
    check("KubeletVersion", Machine, ERROR, system::kubelet_version),
    check("Service-Kubelet", Cluster, WARNING, system::kubelet_service),
    check("Port-10250", Machine, ERROR, network::kubelet_port),
    named(files::ca_certificate_name, Machine, ERROR, files::ca_certificate),
    check("HTTPProxy", Machine, WARNING, proxy::endpoint_through_proxy),
    // The agent's own checks of the machine.
    check("NodeName", Machine, ERROR, node::name),
    check("ProductUUID", Machine, WARNING, node::product_uuid),
    check("WritableFolders", Machine, ERROR, files::writable),
    #[cfg(not(windows))]
    check("DiskSpace", Machine, ERROR, node::disk_space),
    #[cfg(not(windows))]
    check("CNIPlugins", Machine, WARNING, node::cni_plugins),
    check("NodeAddress", Cluster, WARNING, network::node_address),
    check("DefaultRoute", Cluster, WARNING, network::default_route),
    #[cfg(not(windows))]
    check("MountPropagation", Machine, WARNING, node::mount_propagation),
    #[cfg(not(windows))]
    check("SELinux", Machine, WARNING, node::selinux),
    #[cfg(not(windows))]
    check("DockerVersion", Machine, &[(0, Warning), (24, Off)], runtime::docker_version),
    #[cfg(not(windows))]
    check("VolumePluginFolder", Machine, WARNING, files::volume_plugins),
    // The agent's own checks once the cluster is known.
    check("ClockSkew", Cluster, ERROR, cluster::clock),
    part_of("KubeletVersion", check("VersionSkew", Cluster, ERROR, cluster::version)),
    #[cfg(not(windows))]
    check("CgroupDriver", Cluster, ERROR, cluster::cgroup_driver),
    #[cfg(not(windows))]
    part_of(
        "SystemVerification",
        check("CgroupV1", Cluster, &[(31, Warning), (35, Error)], cluster::cgroup_v1),
    ),
    #[cfg(not(windows))]
    part_of("Swap", check("KubeletSwap", Cluster, ERROR, cluster::kubelet_swap)),
    #[cfg(not(windows))]
    check("ResolvConf", Cluster, WARNING, cluster::resolv_conf),
    check("NodeReadable", Cluster, WARNING, cluster::node_readable),
];
