//! Checks of the system: root, swap, kernel, kubelet.

use super::{Context, Problem};
use crate::host::kernel::{self, Cgroups};
use crate::host::services::Enablement;
use crate::paths;

/// The oldest kubelet that the agent can configure.
const OLDEST_MINOR: u16 = 20;

/// The kernel options that kubeadm's system-validators require.
const KERNEL_SYMBOLS: &[&str] = &[
    "NAMESPACES",
    "NET_NS",
    "PID_NS",
    "IPC_NS",
    "UTS_NS",
    "CGROUPS",
    "CPUSETS",
    "MEMCG",
    "INET",
    "EXT4_FS",
    "PROC_FS",
    "NETFILTER_XT_TARGET_REDIRECT",
    "NETFILTER_XT_MATCH_COMMENT",
    "FAIR_GROUP_SCHED",
    "CGROUP_PIDS",
    "CGROUP_SCHED",
];
const KERNEL_SYMBOLS_V1: &[&str] = &["CGROUP_CPUACCT", "CGROUP_DEVICE", "CGROUP_FREEZER"];
const KERNEL_SYMBOLS_V2: &[&str] = &["CGROUP_BPF"];

const CONTROLLERS_V1: &[&str] = &["cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"];
/// devices and freezer are not controllers in version 2; the kernel always has them.
const CONTROLLERS_V2: &[&str] = &["cpu", "cpuset", "memory", "pids"];

/// IsPrivilegedUser.
pub fn privileged(context: &Context) -> Vec<Problem> {
    let problem = || Problem::new("not run as root").help("run it as root, or through sudo");
    (!context.is_privileged).then(problem).into_iter().collect()
}

/// Swap.
pub fn swap(context: &Context) -> Vec<Problem> {
    let swaps = kernel::swaps(context.root);
    if swaps.is_empty() {
        return Vec::new();
    }
    Problem::new(format!("swap is on: {}", swaps.join(", ")))
        .help("turn it off (swapoff -a, and its lines in /etc/fstab out), or set failSwapOn: false in the KubeletConfiguration")
        .alone()
}

/// SystemVerification: kernel version, kernel configuration where it can be read, control groups.
pub fn verification(context: &Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    let release = kernel::release(context.root);
    problems.extend(release.as_deref().and_then(|release| kernel_version(context, release)));
    let cgroups = kernel::cgroups(context.root);
    problems.extend(
        release
            .and_then(|release| kernel_config(context, &release))
            .and_then(|config| missing_symbols(&config, cgroups)),
    );
    problems.extend(missing_controllers(context, cgroups));
    problems
}

/// Since 1.34 kubeadm lists long-term kernels, and only warns of others.
fn kernel_version(context: &Context, release: &str) -> Option<Problem> {
    let numbers = kernel::release_numbers(release)?;
    if numbers < (3, 10) {
        let problem =
            Problem::new(format!("the kernel {release} is too old: Kubernetes needs 3.10 or newer"))
                .help("boot a newer kernel");
        return Some(problem.error());
    }
    let is_listed = matches!(numbers, (5, 4 | 10 | 15)) || numbers.0 >= 6;
    (context.minor() >= 34 && !is_listed).then(|| {
        let message = format!("the kernel {release} is none of those that Kubernetes is tested with: 5.4, 5.10, 5.15, 6 and newer");
        Problem::new(message).help("boot a kernel of a long-term series").warning()
    })
}

/// The kernel's configuration as text, from the usual paths of distributions. /proc/config.gz is not read,
/// because it is compressed.
fn kernel_config(context: &Context, release: &str) -> Option<String> {
    paths::kernel_configs(release).iter().find_map(|path| kernel::text(context.root, path))
}

fn missing_symbols(config: &str, cgroups: Cgroups) -> Option<Problem> {
    let has = |symbol: &str| {
        let is_set = |line: &str| {
            line.strip_prefix("CONFIG_")
                .and_then(|line| line.strip_prefix(symbol))
                .is_some_and(|rest| matches!(rest, "=y" | "=m"))
        };
        config.lines().any(is_set)
    };
    let more = if cgroups == Cgroups::V2 { KERNEL_SYMBOLS_V2 } else { KERNEL_SYMBOLS_V1 };
    let missing: Vec<&str> =
        KERNEL_SYMBOLS.iter().chain(more).copied().filter(|symbol| !has(symbol)).collect();
    (!missing.is_empty()).then(|| {
        Problem::new(format!("the kernel is built without {}", missing.join(", ")))
            .help("boot a kernel that has these options (y or m)")
    })
}

fn missing_controllers(context: &Context, cgroups: Cgroups) -> Option<Problem> {
    let needed = match cgroups {
        Cgroups::V2 => CONTROLLERS_V2,
        Cgroups::V1 | Cgroups::Hybrid => CONTROLLERS_V1,
        Cgroups::Absent => {
            return Some(
                Problem::new("no control groups are mounted at /sys/fs/cgroup")
                    .help("mount cgroup2 there, as systemd does"),
            );
        }
    };
    let there = kernel::cgroup_controllers(context.root);
    let missing: Vec<&str> =
        needed.iter().copied().filter(|name| !there.iter().any(|other| other == name)).collect();
    (!missing.is_empty()).then(|| {
        Problem::new(format!("the cgroup controllers {} are missing", missing.join(", ")))
            .help("enable them: on the kernel command line cgroup_enable=memory, in the kernel, or in the container that this machine is")
    })
}

/// KubeletVersion: the kubelet runs, and the agent knows its version. VersionSkew compares it with the
/// cluster.
pub fn kubelet_version(context: &Context) -> Vec<Problem> {
    match &context.facts.kubelet {
        None => Vec::new(),
        Some(Err(failure)) => Problem::new(format!("the kubelet's version is not known: {failure}"))
            .help("install the kubelet")
            .alone(),
        Some(Ok(version)) if !version.at_least(OLDEST_MINOR) => {
            Problem::new(format!("the kubelet is {version}, older than 1.{OLDEST_MINOR}"))
                .help("install a newer kubelet")
                .alone()
        }
        Some(Ok(_)) => Vec::new(),
    }
}

/// Service-Kubelet.
pub fn kubelet_service(context: &Context) -> Vec<Problem> {
    let problem = match &context.facts.units.kubelet {
        None | Some(Ok(Enablement::Enabled | Enablement::Unknown)) => return Vec::new(),
        Some(Ok(Enablement::Disabled)) => {
            Problem::new("the kubelet's service is not enabled: after a reboot it will not start")
                .help("run systemctl enable kubelet.service (OpenRC: rc-update add kubelet)")
        }
        Some(Ok(Enablement::Absent)) => Problem::new("there is no service for the kubelet")
            .help("install the kubelet's package, which has kubelet.service"),
        Some(Err(failure)) => Problem::new(format!("the service manager does not answer: {failure}")),
    };
    problem.alone()
}

/// All kernel options that a machine with control groups version 2 needs.
#[cfg(test)]
pub fn symbols_v2() -> impl Iterator<Item = &'static str> {
    KERNEL_SYMBOLS.iter().chain(KERNEL_SYMBOLS_V2).copied()
}
