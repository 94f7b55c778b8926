//! The container runtimes: the one table that both programs read. A definition chooses one by its name; the
//! agent finds it by its sockets.
//!
//! Sockets are spelled as kubeadm spells them (`cmd/kubeadm/app/constants/constants_unix.go`), and looked for
//! as it does (`cmd/kubeadm/app/util/runtime/runtime.go`).

/// A container runtime.
#[derive(Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Its name in definitions, of the daemon's unit, and of the capability of layers that bring it.
    pub name: &'static str,
    /// How kubelets from 1.24 on reach it.
    pub cri: Endpoint,
    /// How kubelets until 1.23 reach it.
    pub cri_until_1_23: Endpoint,
    /// The folder of its images and containers, unless its configuration names another.
    pub data: &'static str,
    /// Its configuration, if that is TOML.
    pub config: Option<Config>,
    /// Folders of network plugins, unless its configuration names others.
    pub plugins: &'static [&'static str],
    /// How it is told of mirrors and CAs of registries.
    pub registries: Registries,
}

/// Where a runtime is told of mirrors and CAs of registries.
#[derive(Debug, PartialEq, Eq)]
pub enum Registries {
    /// A folder that has one for each registry, with `hosts.toml` (containerd, `docs/hosts.md`).
    Hosts(&'static str),
    /// A folder of drop-ins (containers-registries.conf(5)), and one of CAs (containers-certs.d(5)).
    Containers {
        /// Files in it are read in the order of their names.
        drop_ins: &'static str,
        /// Has a folder for each host.
        certificates: &'static str,
    },
    /// Docker's `daemon.json`, which knows mirrors of one registry, and a folder of CAs
    /// (<https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file>).
    Daemon {
        /// The file.
        file: &'static str,
        /// The registry that may have mirrors.
        mirrored: &'static str,
        /// Has a folder for each host.
        certificates: &'static str,
    },
}

/// Where a runtime serves CRI.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path of the socket.
    pub socket: &'static str,
    /// The unit to wait for, without its ending.
    pub service: &'static str,
    /// Exists where the runtime runs.
    pub sign: &'static str,
    /// Exists where the runtime is a part of another one.
    pub unless: Option<&'static str>,
}

/// The configuration of a runtime.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// The file.
    pub file: &'static str,
    /// The folder of files that count after it.
    pub drop_ins: &'static str,
    /// The table with the key `root`, which names the folder of data; the top has no name.
    pub data: &'static str,
    /// Keys that name folders of network plugins.
    pub plugins: &'static [&'static str],
}

/// The folder of network plugins that their upstream and network add-ons use.
pub const CNI_PROGRAMS: &str = "/opt/cni/bin";

/// Kept by the Docker driver inside kubelets until 1.23.
pub const IN_KUBELET_STATE: &str = "/var/lib/dockershim";
/// Asks a runtime inside the kubelet for its cgroup driver and its version.
pub const IN_KUBELET_INFO: [&str; 4] = ["docker", "info", "--format", "{{.CgroupDriver}} {{.ServerVersion}}"];
/// Lists the containers of a runtime inside the kubelet that belong to pods, those that ended too.
pub const IN_KUBELET_LIST: [&str; 6] = ["docker", "ps", "--all", "--quiet", "--filter", "name=k8s_"];
/// Ends and removes containers of such a runtime, which are named behind it.
pub const IN_KUBELET_REMOVE: [&str; 4] = ["docker", "rm", "--force", "--volumes"];
/// Its socket.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Pipes of runtimes on Windows, and the services behind them
/// (`cmd/kubeadm/app/constants/constants_windows.go`). The first is the default.
pub const PIPES: [(&str, &str); 2] =
    [("//./pipe/containerd-containerd", "containerd"), ("//./pipe/cri-dockerd", "cri-docker")];

const CONTAINERD: Runtime = Runtime {
    name: "containerd",
    cri: Endpoint {
        socket: "/var/run/containerd/containerd.sock",
        service: "containerd",
        sign: "/var/run/containerd/containerd.sock",
        unless: None,
    },
    cri_until_1_23: Endpoint {
        socket: "/run/containerd/containerd.sock",
        service: "containerd",
        sign: "/run/containerd/containerd.sock",
        unless: Some(DOCKER_SOCKET),
    },
    data: "/var/lib/containerd",
    config: Some(Config {
        file: "/etc/containerd/config.toml",
        drop_ins: "/etc/containerd/conf.d",
        data: "",
        plugins: &["bin_dirs", "bin_dir"],
    }),
    plugins: &[CNI_PROGRAMS],
    registries: Registries::Hosts("/etc/containerd/certs.d"),
};

const CRIO_ENDPOINT: Endpoint = Endpoint {
    socket: "/var/run/crio/crio.sock",
    service: "crio",
    sign: "/var/run/crio/crio.sock",
    unless: None,
};

const CRIO: Runtime = Runtime {
    name: "crio",
    cri: CRIO_ENDPOINT,
    cri_until_1_23: CRIO_ENDPOINT,
    data: "/var/lib/containers",
    config: Some(Config {
        file: "/etc/crio/crio.conf",
        drop_ins: "/etc/crio/crio.conf.d",
        data: "crio",
        plugins: &["plugin_dirs"],
    }),
    plugins: &[CNI_PROGRAMS, "/usr/libexec/cni"],
    registries: Registries::Containers {
        drop_ins: "/etc/containers/registries.conf.d",
        certificates: "/etc/containers/certs.d",
    },
};

const DOCKER: Runtime = Runtime {
    name: "docker",
    cri: Endpoint {
        socket: "/var/run/cri-dockerd.sock",
        service: "cri-docker",
        sign: "/var/run/cri-dockerd.sock",
        unless: None,
    },
    // The driver inside the kubelet: it serves CRI only while the kubelet runs.
    cri_until_1_23: Endpoint {
        socket: "/var/run/dockershim.sock",
        service: "docker",
        sign: DOCKER_SOCKET,
        unless: None,
    },
    data: "/var/lib/docker",
    config: None,
    plugins: &[CNI_PROGRAMS],
    registries: Registries::Daemon {
        file: "/etc/docker/daemon.json",
        mirrored: "docker.io",
        certificates: "/etc/docker/certs.d",
    },
};

/// All of them.
pub static RUNTIMES: [Runtime; 3] = [CONTAINERD, CRIO, DOCKER];

impl Runtime {
    /// How a kubelet of this minor version reaches it.
    pub fn endpoint(&self, minor: u16) -> &Endpoint {
        if minor < 24 { &self.cri_until_1_23 } else { &self.cri }
    }
}

/// The runtime of this name.
pub fn named(name: &str) -> Option<&'static Runtime> {
    RUNTIMES.iter().find(|runtime| runtime.name == name)
}

/// The runtime that kubeadm for a kubelet of this minor version takes where it finds none.
pub fn default(minor: u16) -> &'static Runtime {
    let [containerd, _, docker] = &RUNTIMES;
    if minor < 24 { docker } else { containerd }
}

impl Endpoint {
    /// Whether a socket of this name is its own, wherever it lies.
    fn has(&self, socket: &str) -> bool {
        [self.socket, self.sign].iter().any(|known| file_name(known) == file_name(socket))
    }
}

/// The runtime behind a CRI socket, by the socket's name; none if that is unknown.
pub fn of_socket(socket: &str) -> Option<&'static Runtime> {
    RUNTIMES
        .iter()
        .find(|runtime| runtime.cri.has(socket) || runtime.cri_until_1_23.has(socket))
}

/// The endpoint with a socket of this name.
pub fn endpoint_at(socket: &str) -> Option<&'static Endpoint> {
    RUNTIMES
        .iter()
        .flat_map(|runtime| [&runtime.cri, &runtime.cri_until_1_23])
        .find(|endpoint| endpoint.has(socket))
}

/// Whether the runtime behind a CRI socket is inside the kubelet, and serves CRI only while that runs.
pub fn is_in_kubelet(socket: &str) -> bool {
    DOCKER.cri_until_1_23.has(socket)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_known_by_its_socket_wherever_that_lies() {
        for (socket, expected) in [
            ("unix:///run/containerd/containerd.sock", Some("containerd")),
            ("/run/k3s/containerd/containerd.sock", Some("containerd")),
            ("/var/run/crio/crio.sock", Some("crio")),
            ("unix:///var/run/cri-dockerd.sock", Some("docker")),
            ("/var/run/dockershim.sock", Some("docker")),
            ("/run/docker.sock", Some("docker")),
            ("/run/other.sock", None),
            ("", None),
        ] {
            assert_eq!(of_socket(socket).map(|runtime| runtime.name), expected, "{socket}");
        }
    }

    #[test]
    fn one_runtime_is_inside_old_kubelets() {
        for (socket, inside) in [
            ("unix:///var/run/dockershim.sock", true),
            ("/run/dockershim.sock", true),
            ("/var/run/docker.sock", true),
            ("/var/run/cri-dockerd.sock", false),
            ("/run/containerd/containerd.sock", false),
        ] {
            assert_eq!(is_in_kubelet(socket), inside, "{socket}");
        }
    }

    #[test]
    fn sockets_and_units_follow_the_kubelet() {
        let at = |name: &str, minor| {
            let endpoint = named(name).unwrap().endpoint(minor);
            (endpoint.socket, endpoint.service)
        };
        assert_eq!(at("docker", 23), ("/var/run/dockershim.sock", "docker"));
        assert_eq!(at("docker", 24), ("/var/run/cri-dockerd.sock", "cri-docker"));
        assert_eq!(at("crio", 20), at("crio", 36));
        assert_eq!((default(23).name, default(24).name), ("docker", "containerd"));
        assert_eq!(named("podman"), None);
    }
}
