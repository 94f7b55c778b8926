//! The absolute paths of a machine that the agent reads or writes, by their owner.
//!
//! Paths that the builder writes into an image, and those of container runtimes, are in the `contract` crate.
//! Names below these paths, and paths that an operator configures, stay with their users. Tests spell paths
//! out, and so prove these constants.
//!
//! Windows has the same paths, on the drive of the system, where Kubernetes has them too
//! (`C:\etc\kubernetes`, `C:\var\lib\kubelet`). Only what belongs to the agent or the system lies
//! elsewhere there. Paths of the kernel below `/proc`, `/sys` and `/dev` lead to nothing there, and so say
//! nothing.

#![allow(missing_docs, reason = "most paths say what they are")]

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;

/// Whether a path of the node is absolute: it begins with `/`, or with a drive of Windows (`C:/`, `C:\`).
pub fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || (cfg!(windows) && has_drive(path))
}

/// A path on the drive of the system (`C:/k/x`, `C:\k\x`) as paths of a node are written: `/k/x`. Nothing for
/// another one, and where no drives are.
pub fn below_system_drive(path: &str) -> Option<String> {
    let drive = crate::os::system_drive().filter(|_| has_drive(path))?;
    let (start, below) = path.split_at_checked(drive.len())?;
    start.eq_ignore_ascii_case(&drive).then(|| below.replace('\\', "/"))
}

/// Whether a path begins with a drive of Windows: `C:\`.
pub fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

#[cfg(target_os = "linux")]
mod linux {
    /// The node config of an image.
    pub const CONFIG: &str = "/etc/firstboot/config.yaml";
    /// Fields of the kubelet's configuration that the image proposes.
    pub const KUBELET_DEFAULTS: &str = "/etc/firstboot/kubelet.yaml";
    /// The node config of a system that is being installed.
    pub const INSTALL_CONFIG: &str = "/run/firstboot/install-config";
    /// The node config that something wrote during this boot.
    pub const RUNTIME_CONFIG: &str = "/run/firstboot/config.yaml";
    /// What must survive a boot.
    pub const STATE_FOLDER: &str = "/var/lib/firstboot";
    /// The finished phases.
    pub const CHECKPOINT: &str = "/var/lib/firstboot/journal.json";
    /// The source and the cluster that the machine joined with.
    pub const BINDING: &str = "/var/lib/firstboot/binding.json";
    /// Exists where the metadata guard is off.
    pub const GUARD_OFF: &str = "/var/lib/firstboot/guard-off";
    /// What belongs to this boot.
    pub const RUN_FOLDER: &str = "/run/firstboot";
    /// The published facts.
    pub const FACTS: &str = "/run/firstboot/metadata.json";
    /// The progress and the verdict of the run.
    pub const STATUS: &str = "/run/firstboot/status.json";
    /// Exists once the agent knows that the disk belongs to this machine. The kubelet's unit needs it.
    pub const KUBELET_PERMIT: &str = "/run/firstboot/kubelet-permit";
    pub const COMMAND_LINE: &str = "/proc/cmdline";
    /// The scheme of the container runtime's socket.
    pub const CRI_SCHEME: &str = "unix";
    pub const HOSTS: &str = "/etc/hosts";
    /// Of Windows alone: what was asked of it for the features of the image.
    #[cfg(test)]
    pub const FEATURES: &str = "/var/lib/firstboot/features.json";
}

/// The same names on Windows.
#[cfg(windows)]
mod windows {
    /// What belongs to the agent.
    pub const AGENT_FOLDER: &str = "/ProgramData/firstboot";
    /// The node config of an image.
    pub const CONFIG: &str = "/ProgramData/firstboot/config.yaml";
    /// Fields of the kubelet's configuration that the image proposes.
    pub const KUBELET_DEFAULTS: &str = "/ProgramData/firstboot/kubelet.yaml";
    /// The node config that something wrote during this boot.
    pub const RUNTIME_CONFIG: &str = "/ProgramData/firstboot/boot/config.yaml";
    /// What must survive a boot.
    pub const STATE_FOLDER: &str = "/ProgramData/firstboot/state";
    /// The finished phases.
    pub const CHECKPOINT: &str = "/ProgramData/firstboot/state/journal.json";
    /// The source and the cluster that the machine joined with.
    pub const BINDING: &str = "/ProgramData/firstboot/state/binding.json";
    /// Exists where the metadata guard is off.
    pub const GUARD_OFF: &str = "/ProgramData/firstboot/state/guard-off";
    /// What belongs to this boot.
    pub const RUN_FOLDER: &str = "/ProgramData/firstboot/boot";
    /// What was asked of Windows for the features of the image.
    pub const FEATURES: &str = "/ProgramData/firstboot/state/features.json";
    /// Windows' servicing.
    pub const DISM: &str = "/Windows/System32/Dism.exe";
    /// VMware Tools' program for commands to the host, where their installer puts it.
    pub const RPCTOOL: &str = "/Program Files/VMware/VMware Tools/rpctool.exe";
    /// The published facts.
    pub const FACTS: &str = "/ProgramData/firstboot/boot/metadata.json";
    /// The progress and the verdict of the run.
    pub const STATUS: &str = "/ProgramData/firstboot/boot/status.json";
    /// Exists once the agent knows that the disk belongs to this machine. The kubelet's unit needs it.
    pub const KUBELET_PERMIT: &str = "/ProgramData/firstboot/boot/kubelet-permit";
    /// The scheme of the container runtime's pipe.
    pub const CRI_SCHEME: &str = "npipe";
    /// The kubelet, where the layer of that name puts it.
    pub const KUBELET_PROGRAM: &str = r"C:\k\kubelet.exe";
    /// The kubelet's log.
    pub const KUBELET_LOG: &str = r"C:\var\log\kubelet\kubelet.log";
    /// kube-proxy, where the layer of that name puts it.
    pub const KUBE_PROXY_PROGRAM: &str = r"C:\k\kube-proxy.exe";
    /// kube-proxy's log.
    pub const KUBE_PROXY_LOG: &str = r"C:\var\log\kube-proxy\kube-proxy.log";
    /// The CNI plugin that gives addresses to pods.
    pub const HOST_LOCAL: &str = r"C:\opt\cni\bin\host-local.exe";
    /// What the agent's service says.
    pub const SERVICE_LOG: &str = "/var/log/firstboot/firstboot.log";
    /// Words that the kernel command line would have.
    pub const COMMAND_LINE: &str = "/ProgramData/firstboot/arguments";
    pub const HOSTS: &str = "/Windows/System32/drivers/etc/hosts";
}

// Of the agent on Linux.

/// Exists in images that an installer logs in to.
pub const LOGIN_FOLDER: &str = "/etc/installer-target";
/// The SSH keys that may log in there.
pub const LOGIN_KEYS: &str = "/etc/installer-target/authorized_keys";
/// Kernel parameters that the join sets.
pub const PARAMETERS: &str = "/etc/sysctl.d/90-firstboot.conf";
/// Kernel modules that the join loads.
pub const MODULES: &str = "/etc/modules-load.d/firstboot.conf";
/// systemd's credentials for the agent's unit.
pub const CREDENTIALS: &str = "/run/credentials/firstboot.service";

// Of kubeadm.

/// The real kubeadm, where the layer of that name puts it. The agent's link of that name is elsewhere.
pub const KUBEADM: &str = "/usr/local/bin/kubeadm";
/// Its file, while it runs.
pub const KUBEADM_CONFIG: &str = "/run/firstboot/kubeadm.yaml";
/// What etcd keeps.
pub const ETCD: &str = "/var/lib/etcd";
/// Exists where etcd is the control plane's own.
pub const ETCD_MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
/// Exists on every control plane.
pub const API_SERVER_MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
/// kubeadm's folder.
pub const KUBERNETES: &str = "/etc/kubernetes";
/// Static pods.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// Certificates, unless the cluster's configuration names another folder.
pub const CERTIFICATES: &str = "/etc/kubernetes/pki";
/// The cluster's certificate authority.
pub const CA_CERT: &str = "/etc/kubernetes/pki/ca.crt";
/// kubeadm's backups.
pub const SCRATCH: &str = "/etc/kubernetes/tmp";
/// The kubelet's kubeconfig.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// The kubelet's kubeconfig before it has a certificate.
pub const BOOTSTRAP_CONF: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
pub const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
pub const SUPER_ADMIN_CONF: &str = "/etc/kubernetes/super-admin.conf";
pub const CONTROLLER_MANAGER_CONF: &str = "/etc/kubernetes/controller-manager.conf";
pub const SCHEDULER_CONF: &str = "/etc/kubernetes/scheduler.conf";
pub const KUBERNETES_RUN: &str = "/run/kubernetes";

// Of the kubelet.

/// The kubelet's folder.
pub const KUBELET: &str = "/var/lib/kubelet";
/// Its configuration. The kubelet's unit starts only when this exists.
pub const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
/// The part of the configuration that belongs to this machine.
pub const KUBELET_INSTANCE_CONFIG: &str = "/var/lib/kubelet/instance-config.yaml";
/// Its flags.
pub const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// Its certificates.
pub const KUBELET_PKI: &str = "/var/lib/kubelet/pki";
/// A link to its newest client certificate with the key.
pub const KUBELET_CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// Volume plugins that a reset keeps.
pub const KUBELET_VOLUME_PLUGINS: &str = "/var/lib/kubelet/volume-plugins";
/// Volume plugins, unless flags name another folder.
pub const VOLUME_PLUGINS: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";

// Of kube-proxy on Windows, where kubeadm's DaemonSet has them.

/// Its configuration.
pub const KUBE_PROXY_CONFIG: &str = "/var/lib/kube-proxy/config.conf";
/// Its kubeconfig, unless the configuration names another.
pub const KUBE_PROXY_CREDENTIAL: &str = "/var/lib/kube-proxy/kubeconfig.conf";
/// The answer with its source VIP, and what was asked.
pub const SOURCE_VIP: &str = "/k/SourceVip.json";
pub const SOURCE_VIP_REQUEST: &str = "/k/SourceVipRequest.json";

/// The key of a certificate request that has no answer yet.
pub const CLIENT_KEY: &str = "/var/lib/kubelet/pki/.firstboot-client.key";

// Of network add-ons. Those of container runtimes are in the `contract` crate.

/// flannel's configuration in an image with Windows.
pub const FLANNEL_CONFIG: &str = "/etc/kube-flannel/net-conf.json";
pub const CNI_CONFIGS: &str = "/etc/cni/net.d";
pub const CNI_STATE: &str = "/var/lib/cni";

// Of other bootstrap software.

/// The files by which Cluster API knows that a bootstrap ended.
pub const CLUSTER_API: &str = "/run/cluster-api/";
/// What Cluster API writes for kubeadm's join.
pub const CLUSTER_API_PLACEHOLDER: &str = "/run/cluster-api/placeholder";
/// Cluster API's script that tries the phases of a join several times.
pub const CLUSTER_API_RETRY: &str = "/usr/local/bin/kubeadm-bootstrap-script";
/// cloud-init's settings, one file for each origin.
pub const CLOUD_CONFIGS: &str = "/etc/cloud/cloud.cfg.d";
pub const NOCLOUD_SEED: &str = "/var/lib/cloud/seed/nocloud";
pub const NOCLOUD_NET_SEED: &str = "/var/lib/cloud/seed/nocloud-net";

// Of the kernel.

pub const PROC: &str = "/proc";
pub const SYS: &str = "/sys";
pub const DEV: &str = "/dev";
pub const CGROUPS: &str = "/proc/cgroups";
pub const LOADED_MODULES: &str = "/proc/modules";
/// Exists where the kernel has IPv6.
pub const IF_INET6: &str = "/proc/net/if_inet6";
pub const ROUTES_6: &str = "/proc/net/ipv6_route";
pub const ROUTES: &str = "/proc/net/route";
pub const MOUNTS: &str = "/proc/self/mountinfo";
pub const MEMORY: &str = "/proc/meminfo";
pub const SWAPS: &str = "/proc/swaps";
/// Kernel parameters.
pub const SYSCTL: &str = "/proc/sys";
pub const KERNEL_HOSTNAME: &str = "/proc/sys/kernel/hostname";
pub const KERNEL_RELEASE: &str = "/proc/sys/kernel/osrelease";
pub const UPTIME: &str = "/proc/uptime";
/// Whole disks.
pub const BLOCK: &str = "/sys/block";
/// udev's links to disks and partitions.
pub const DISK_LINKS: &str = "/dev/disk";
/// Disks and partitions.
pub const BLOCK_CLASS: &str = "/sys/class/block";
pub const BUSES: &str = "/sys/bus";
pub const ACPI_DEVICES: &str = "/sys/bus/acpi/devices";
pub const NETWORK_CLASS: &str = "/sys/class/net";
pub const VIRTUAL_NETWORK: &str = "/sys/devices/virtual/net";
pub const DEVICE_TREE: &str = "/sys/firmware/devicetree/base";
pub const SMBIOS_ENTRIES: &str = "/sys/firmware/dmi/entries";
/// Exists where the firmware is UEFI.
pub const EFI: &str = "/sys/firmware/efi";
pub const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// QEMU's channel from the host.
pub const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg";
/// Exists with cgroup v2.
pub const CGROUP_CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";
/// Exists with both versions of cgroups.
pub const UNIFIED_CONTROLLERS: &str = "/sys/fs/cgroup/unified/cgroup.controllers";
pub const SELINUX_ENFORCE: &str = "/sys/fs/selinux/enforce";
/// Xen's UUID.
pub const HYPERVISOR_UUID: &str = "/sys/hypervisor/uuid";
/// The kernel's log.
pub const KMSG: &str = "/dev/kmsg";
pub const LOOP_CONTROL: &str = "/dev/loop-control";
/// Hyper-V's channel of keys and values.
pub const HYPERV_KVP: &str = "/dev/vmbus/hv_kvp";

// Of the system.

pub const ETC: &str = "/etc";
pub const RUN: &str = "/run";
pub const VAR: &str = "/var";
/// A link to `/run` on most systems.
pub const VAR_RUN: &str = "/var/run";
/// The init of the real root, unless the kernel's command line names another.
pub const INIT: &str = "/sbin/init";
pub const GROUPS: &str = "/etc/group";
pub const HOSTNAME: &str = "/etc/hostname";
pub const OS_RELEASE: &str = "/etc/os-release";
pub const MACHINE_ID: &str = "/etc/machine-id";
pub const USERS: &str = "/etc/passwd";
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The name servers that systemd-resolved knows.
pub const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
/// systemd's credentials for the whole machine.
pub const SYSTEM_CREDENTIALS: &str = "/run/credentials/@system";
/// What udev knows of each device.
pub const UDEV_DATA: &str = "/run/udev/data";
/// systemd-networkd's DHCP leases.
pub const LEASES: &str = "/run/systemd/netif/leases";
/// Exists where systemd runs.
pub const SYSTEMD: &str = "/run/systemd/system";
pub const VAR_MOUNT_DROP_INS: &str = "/run/systemd/system/var.mount.d";
pub const ETC_UNITS: &str = "/etc/systemd/system";
pub const USR_UNITS: &str = "/usr/lib/systemd/system";
pub const LIB_UNITS: &str = "/lib/systemd/system";

// Paths with a name in them.

pub fn network_attribute(interface: &str, name: &str) -> String {
    format!("/sys/class/net/{interface}/{name}")
}

pub fn cgroup(name: &str) -> String {
    format!("/sys/fs/cgroup/{name}")
}

pub fn module(name: &str) -> String {
    format!("/sys/module/{name}")
}

pub fn builtin_modules(release: &str) -> String {
    format!("/lib/modules/{release}/modules.builtin")
}

/// Where the kernel's configuration may be.
pub fn kernel_configs(release: &str) -> [String; 3] {
    [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
        format!("/usr/src/linux-headers-{release}/.config"),
    ]
}

/// A text of SMBIOS.
pub fn smbios(name: &str) -> String {
    format!("/sys/class/dmi/id/{name}")
}

/// A list of OEM strings in SMBIOS.
pub fn oem_strings(number: usize) -> String {
    format!("/sys/firmware/dmi/entries/11-{number}/raw")
}

/// Exists where SELinux lets containers run.
pub fn selinux_container(policy: &str) -> String {
    format!("/var/lib/selinux/{policy}/active/modules/200/container")
}

/// A file of Hyper-V's daemon for keys and values.
pub fn kvp_pool(pool: u8) -> String {
    format!("/var/lib/hyperv/.kvp_pool_{pool}")
}
