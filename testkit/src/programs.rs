//! The programs of a healthy machine.

/// All programs that the preflight checks of any version of kubeadm look for in PATH.
pub const PROGRAMS: &[&str] = &[
    "crictl",
    "conntrack",
    "ip",
    "iptables",
    "mount",
    "nsenter",
    "ebtables",
    "ethtool",
    "socat",
    "tc",
    "touch",
    "losetup",
    "cp",
];
