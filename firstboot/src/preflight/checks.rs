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

/// A check of what Windows does not have.
const fn on_linux(check: Check) -> Check {
    if cfg!(windows) { Check { levels: &[(0, Off)], ..check } } else { check }
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

/// All checks.
pub const CHECKS: &[Check] = &[
    // kubeadm's checks.
    check(PRIVILEGED, Machine, ERROR, system::privileged),
    on_linux(check(
        "DirAvailable--etc-kubernetes-manifests",
        Machine,
        &[(0, Error), (23, Off)],
        files::manifests,
    )),
    check("FileAvailable--etc-kubernetes-kubelet.conf", Machine, ERROR, files::kubelet_conf),
    check("FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", Machine, ERROR, files::bootstrap_conf),
    check("CRI", Cluster, ERROR, runtime::answers),
    check("ContainerRuntimeVersion", Cluster, &[(35, Warning), (37, Error)], runtime::implements_config),
    on_linux(check("Service-Docker", Machine, &[(0, Warning), (24, Off)], runtime::docker_service)),
    on_linux(check("IsDockerSystemdCheck", Machine, &[(0, Warning), (22, Off)], runtime::docker_driver)),
    on_linux(check("FileExisting-crictl", Machine, &[(0, Error), (31, Warning), (32, Off)], |context| {
        files::program(context, "crictl")
    })),
    on_linux(check(
        "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",
        Machine,
        &[(0, Error), (30, Off)],
        network::bridge_iptables,
    )),
    on_linux(check(
        "FileContent--proc-sys-net-bridge-bridge-nf-call-ip6tables",
        Machine,
        &[(0, Error), (30, Off)],
        network::bridge_ip6tables,
    )),
    on_linux(check("FileContent--proc-sys-net-ipv4-ip_forward", Machine, ERROR, network::forwarding)),
    on_linux(check(
        "FileContent--proc-sys-net-ipv6-conf-default-forwarding",
        Machine,
        ERROR,
        network::forwarding6,
    )),
    on_linux(check("Swap", Machine, &[(0, Error), (23, Warning)], system::swap)),
    on_linux(check("FileExisting-conntrack", Machine, &[(0, Error), (32, Off)], |context| {
        files::program(context, "conntrack")
    })),
    on_linux(check("FileExisting-ip", Machine, ERROR_UNTIL_1_33, |context| files::program(context, "ip"))),
    on_linux(check("FileExisting-iptables", Machine, ERROR_UNTIL_1_33, |context| {
        files::program(context, "iptables")
    })),
    on_linux(check("FileExisting-mount", Machine, ERROR, |context| files::program(context, "mount"))),
    on_linux(check("FileExisting-nsenter", Machine, ERROR_UNTIL_1_33, |context| {
        files::program(context, "nsenter")
    })),
    on_linux(check("FileExisting-ebtables", Machine, WARNING_UNTIL_1_32, |context| {
        files::program(context, "ebtables")
    })),
    on_linux(check("FileExisting-ethtool", Machine, WARNING_UNTIL_1_33, |context| {
        files::program(context, "ethtool")
    })),
    on_linux(check("FileExisting-socat", Machine, WARNING_UNTIL_1_32, |context| {
        files::program(context, "socat")
    })),
    on_linux(check("FileExisting-tc", Machine, WARNING_UNTIL_1_33, |context| files::program(context, "tc"))),
    on_linux(check("FileExisting-touch", Machine, WARNING_UNTIL_1_33, |context| {
        files::program(context, "touch")
    })),
    on_linux(check("FileExisting-losetup", Machine, &[(33, Warning)], |context| {
        files::program(context, "losetup")
    })),
    on_linux(check("FileExisting-cp", Machine, &[(33, Error)], |context| files::program(context, "cp"))),
    on_linux(check("SystemVerification", Machine, ERROR, system::verification)),
    on_linux(check("Hostname", Machine, WARNING, network::node_name_resolves)),
    check("KubeletVersion", Machine, ERROR, system::kubelet_version),
    check("Service-Kubelet", Cluster, WARNING, system::kubelet_service),
    check("Port-10250", Machine, ERROR, network::kubelet_port),
    named(files::ca_certificate_name, Machine, ERROR, files::ca_certificate),
    check("HTTPProxy", Machine, WARNING, proxy::endpoint_through_proxy),
    // The agent's own checks of the machine.
    check("NodeName", Machine, ERROR, node::name),
    check("ProductUUID", Machine, WARNING, node::product_uuid),
    check("WritableFolders", Machine, ERROR, files::writable),
    on_linux(check("DiskSpace", Machine, ERROR, node::disk_space)),
    on_linux(check("CNIPlugins", Machine, WARNING, node::cni_plugins)),
    check("NodeAddress", Cluster, WARNING, network::node_address),
    check("DefaultRoute", Cluster, WARNING, network::default_route),
    on_linux(check("MountPropagation", Machine, WARNING, node::mount_propagation)),
    on_linux(check("SELinux", Machine, WARNING, node::selinux)),
    on_linux(check("DockerVersion", Machine, &[(0, Warning), (24, Off)], runtime::docker_version)),
    on_linux(check("VolumePluginFolder", Machine, WARNING, files::volume_plugins)),
    // The agent's own checks once the cluster is known.
    check("ClockSkew", Cluster, ERROR, cluster::clock),
    part_of("KubeletVersion", check("VersionSkew", Cluster, ERROR, cluster::version)),
    on_linux(check("CgroupDriver", Cluster, ERROR, cluster::cgroup_driver)),
    on_linux(part_of(
        "SystemVerification",
        check("CgroupV1", Cluster, &[(31, Warning), (35, Error)], cluster::cgroup_v1),
    )),
    on_linux(part_of("Swap", check("KubeletSwap", Cluster, ERROR, cluster::kubelet_swap))),
    on_linux(check("ResolvConf", Cluster, WARNING, cluster::resolv_conf)),
    check("NodeReadable", Cluster, WARNING, cluster::node_readable),
];
