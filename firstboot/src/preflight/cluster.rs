//! The agent's own checks that need the cluster's data: its clock, its version, the kubelet's configuration.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::{Context, Problem};
use crate::host::cri::CgroupDriver;
use crate::host::kernel::{self, Cgroups};
use crate::host::network::parse_address;
use crate::paths::{self, RESOLVED_CONF};

/// Certificates are valid from five minutes before they are issued. To a clock that is further behind, a new
/// certificate is not valid yet.
const BEHIND: Duration = Duration::from_secs(5 * 60);

/// Service account tokens are valid for an hour. To a clock that is further ahead, a new token has expired.
const AHEAD: Duration = Duration::from_secs(60 * 60);

/// From this difference on, the check warns. A machine with time synchronization stays below it.
const NOTABLE: Duration = Duration::from_secs(60);

/// ClockSkew.
pub fn clock(context: &Context) -> Vec<Problem> {
    let Some(clock) = context.cluster.as_ref().and_then(|cluster| cluster.clock) else { return Vec::new() };
    let help =
        "set the clock: let systemd-timesyncd or chrony reach a time server, or set the hardware's clock";
    let problem = |message: String| Problem::new(message).help(help);
    if let Some((from, until)) = clock.valid {
        if clock.local < from {
            let seconds = from.duration_since(clock.local).unwrap_or_default().as_secs();
            return problem(format!(
                "this machine's clock is at least {} before the cluster's CA was made",
                spoken(seconds)
            ))
            .alone();
        }
        if clock.local > until && clock.server.is_none_or(|server| server <= until) {
            return problem("by this machine's clock the cluster's CA has expired".to_owned()).alone();
        }
    }
    let Some(server) = clock.server else { return Vec::new() };
    let (offset, limit, word) = match clock.local.duration_since(server) {
        Ok(ahead) => (ahead, AHEAD, "ahead of"),
        Err(behind) => (behind.duration(), BEHIND, "behind"),
    };
    if offset < NOTABLE {
        return Vec::new();
    }
    let found =
        problem(format!("this machine's clock is {} {word} the API server's", spoken(offset.as_secs())));
    if offset < limit { found.warning().alone() } else { found.alone() }
}

fn spoken(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// VersionSkew, by the version skew policy (<https://kubernetes.io/releases/version-skew-policy/>): a kubelet
/// is never newer than the API server, and at most three minor versions older (two with a server before
/// 1.28).
pub fn version(context: &Context) -> Vec<Problem> {
    let (Some(Ok(kubelet)), Some(server)) =
        (&context.facts.kubelet, context.cluster.as_ref().and_then(|cluster| cluster.version))
    else {
        return Vec::new();
    };
    let allowed = if server.at_least(28) { 3 } else { 2 };
    if (kubelet.major, kubelet.minor) > (server.major, server.minor) {
        return Problem::new(format!("the kubelet {kubelet} is newer than the control plane {server}"))
            .help(format!(
                "use an image with Kubernetes {}.{} or older, or upgrade the control plane first",
                server.major, server.minor
            ))
            .alone();
    }
    if kubelet.major == server.major && server.minor - kubelet.minor > allowed {
        return Problem::new(format!("the kubelet {kubelet} is more than {allowed} minor versions older than the control plane {server}"))
            .help(format!("use an image with Kubernetes {}.{} or newer", server.major, server.minor - allowed))
            .alone();
    }
    Vec::new()
}

/// CgroupDriver: the kubelet and the runtime must agree. From 1.31 on the kubelet uses the driver from the
/// runtime's RuntimeConfig.
pub fn cgroup_driver(context: &Context) -> Vec<Problem> {
    let configured = context
        .kubelet_field("cgroupDriver")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty());
    let ours = context.argument("cgroup-driver").or(configured).unwrap_or("cgroupfs");
    let is_followed = context.facts.is_followed_by_kubelet(context.minor());
    match context.facts.cgroup_driver().map(CgroupDriver::word) {
        Some(theirs) if !is_followed && context.kubelet_config.is_some() && theirs != ours => {
            Problem::new(format!("the kubelet's cgroup driver is {ours}, the container runtime's is {theirs}"))
                .help("containerd: set SystemdCgroup in the options of runc; or set cgroupDriver in the KubeletConfiguration")
                .alone()
        }
        _ => Vec::new(),
    }
}

/// CgroupV1: from 1.35 on the kubelet refuses it, unless its configuration allows it.
pub fn cgroup_v1(context: &Context) -> Vec<Problem> {
    if !matches!(kernel::cgroups(context.root), Cgroups::V1 | Cgroups::Hybrid) {
        return Vec::new();
    }
    let help = "boot with systemd.unified_cgroup_hierarchy=1; as a last resort set failCgroupV1: false in the KubeletConfiguration";
    let is_tolerated = context.kubelet_field("failCgroupV1").and_then(Value::as_bool) == Some(false);
    if context.minor() < 35 || is_tolerated {
        return Problem::new("this machine's control groups are of version 1, which Kubernetes phases out")
            .help(help)
            .warning()
            .alone();
    }
    Problem::new("this machine's control groups are of version 1, which this kubelet refuses")
        .help(help)
        .alone()
}

/// KubeletSwap: with swap on, the kubelet does not start unless its configuration allows it.
pub fn kubelet_swap(context: &Context) -> Vec<Problem> {
    let swaps = kernel::swaps(context.root);
    let configured = context.kubelet_field("failSwapOn").and_then(Value::as_bool).unwrap_or(true);
    let fails = context.argument("fail-swap-on").map_or(configured, |value| value != "false");
    if swaps.is_empty() || !fails || context.kubelet_config.is_none() {
        return Vec::new();
    }
    Problem::new(format!(
        "swap is on ({}) and the kubelet's configuration does not allow it: it will not start",
        swaps.join(", ")
    ))
    .help("turn it off (swapoff -a), or set failSwapOn: false in the KubeletConfiguration")
    .alone()
}

/// ResolvConf: the file with the name servers for pods. With a loopback server in it, CoreDNS asks itself and
/// fails.
pub fn resolv_conf(context: &Context) -> Vec<Problem> {
    let configured = context.kubelet_field("resolvConf").and_then(Value::as_str);
    let default = || if context.facts.units.resolved_is_active { RESOLVED_CONF } else { paths::RESOLV_CONF };
    let path = context.argument("resolv-conf").or(configured).unwrap_or_else(default);
    if path.is_empty() {
        return Vec::new();
    }
    let Some(text) = kernel::text(context.root, path) else {
        return Problem::new(format!("the kubelet's resolvConf {path} does not exist: no pod will start"))
            .help("set resolvConf in the KubeletConfiguration to a file of this machine, or start systemd-resolved")
            .alone();
    };
    let servers: Vec<IpAddr> = nameservers(&text);
    let Some(own) = servers.iter().find(|server| server.is_loopback()) else { return Vec::new() };
    Problem::new(format!(
        "{path} names the server {own}, which is this machine itself: CoreDNS finds a loop and stops"
    ))
    .help(format!(
        "set resolvConf in the KubeletConfiguration to a file with the real servers, such as {RESOLVED_CONF}"
    ))
    .alone()
}

fn nameservers(text: &str) -> Vec<IpAddr> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words.first() == Some(&"nameserver"))
        .filter_map(|words| parse_address(words.get(1)?.split('%').next()?))
        .collect()
}

/// NodeReadable: clusters made by kubeadm before 1.18 do not let a joining node check whether its name is
/// taken.
pub fn node_readable(context: &Context) -> Vec<Problem> {
    if !context.cluster.as_ref().is_some_and(|cluster| cluster.is_node_read_forbidden) {
        return Vec::new();
    }
    Problem::new("the bootstrap token may not read nodes: whether this node's name is taken cannot be checked")
        .help("run kubeadm init phase bootstrap-token on a control-plane node: it binds the ClusterRole kubeadm:get-nodes to the token's group")
        .alone()
}
