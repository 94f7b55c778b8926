//! What the checks look at. Everything that takes time is gathered beforehand, at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::NEWEST_MINOR;
use crate::config::model::{Discovery, JoinConfiguration};
use crate::error::{Class, Failure, Result};
use crate::host::command;
use crate::host::cri::{self, Api, CgroupDriver, Client, RuntimeVersion};
use crate::host::machine;
use crate::host::network::{self, Address};
use crate::host::root::Root;
use crate::host::services::Services;
use crate::kubernetes::endpoint::Endpoint;
use crate::kubernetes::version::Version;

/// The port that kubeadm checks.
pub const KUBELET_PORT: u16 = 10250;

/// How long docker may take to describe itself.
const DOCKER_LIMIT: Duration = Duration::from_secs(10);

/// How long one question to a runtime that is ready may take.
const RUNTIME_QUESTION: Duration = Duration::from_secs(5);

/// Everything that a check may look at.
pub struct Context<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// Where programs are looked for, as in the variable PATH.
    pub path: &'a str,
    /// The service manager.
    pub services: Services,
    /// Whether this is root.
    pub is_privileged: bool,
    /// The node config.
    pub join: &'a JoinConfiguration,
    /// The runtime's socket, given or detected.
    pub cri_socket: &'a str,
    /// The kubelet's configuration, as far as it is known.
    pub kubelet_config: Option<&'a Value>,
    /// Whether an earlier run of the agent on this machine has begun this join: then the files it wrote may be there.
    pub is_resumed: bool,
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What took time to find out.
    pub facts: Facts,
    /// What is known of the cluster; none before discovery.
    pub cluster: Option<Cluster>,
}

impl Context<'_> {
    /// The kubelet's minor version, which decides what counts.
    pub fn minor(&self) -> u16 {
        match &self.facts.kubelet {
            Some(Ok(version)) => version.minor,
            _ => NEWEST_MINOR,
        }
    }

    /// The endpoints of the node config; a discovery file has its own, which is not read here.
    pub fn endpoints(&self) -> &[Endpoint] {
        match &self.join.discovery {
            Discovery::Token { endpoints, .. } => endpoints,
            Discovery::File(_) | Discovery::Url(_) => &[],
        }
    }

    /// The last value of an argument of the kubelet, as the node config gives it.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.join.node.kubelet_extra_args.iter().rfind(|argument| argument.name == name).map(|argument| argument.value.as_str())
    }

    /// A field of the kubelet's configuration.
    pub fn kubelet_field(&self, name: &str) -> Option<&Value> {
        self.kubelet_config?.get(name)
    }

    /// Whether the runtime is docker behind the kubelet's own shim, which speaks CRI only when the kubelet runs.
    pub fn is_dockershim(&self) -> bool {
        self.cri_socket.ends_with("/dockershim.sock") || self.cri_socket.ends_with("/docker.sock")
    }
}

/// What is known of the cluster once discovery is through.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The control plane's version.
    pub version: Option<Version>,
    /// The server's clock and this machine's.
    pub clock: Option<Clock>,
    /// Whether the server refused (403) to show a node to the bootstrap token.
    pub is_node_read_forbidden: bool,
}

/// Two clocks at the same moment, and when the server's certificates hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This machine's.
    pub local: SystemTime,
    /// The server's, from the Date of its answer.
    pub server: Option<SystemTime>,
    /// From when to when the cluster's CA is valid.
    pub valid: Option<(SystemTime, SystemTime)>,
}

/// What took time to find out. None: it was not asked.
#[derive(Debug, Default)]
pub struct Facts {
    /// What `kubelet --version` said.
    pub kubelet: Option<Result<Version>>,
    /// The runtime.
    pub runtime: Option<Result<Runtime>>,
    /// docker, when it is the runtime of an old kubelet.
    pub docker: Option<Result<Docker>>,
    /// What the node's name resolves to.
    pub name: Option<Result<Vec<IpAddr>>>,
    /// This machine's addresses.
    pub addresses: Vec<Address>,
    /// Why the kubelet's port cannot be listened on.
    pub port_taken: Option<String>,
}

/// A runtime that speaks CRI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Name and version.
    pub version: RuntimeVersion,
    /// Whether it serves v1alpha2 (v1 is in `version`).
    pub serves_v1alpha2: bool,
    /// What RuntimeConfig said; none when the runtime does not implement it.
    pub runtime_config: Option<CgroupDriver>,
    /// The cgroup driver, from RuntimeConfig or containerd's configuration.
    pub cgroup_driver: Option<CgroupDriver>,
}

/// docker's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// `systemd` or `cgroupfs`
    pub cgroup_driver: String,
    /// `19.03.8`
    pub version: String,
}

/// What to find out, and how long each may take.
pub struct Inquiry<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The kubelet; none not to ask it.
    pub kubelet: Option<&'a str>,
    /// The runtime's socket with or without its scheme.
    pub cri_socket: &'a str,
    /// How long to wait for the runtime.
    pub runtime_limit: Duration,
    /// The node's name.
    pub node_name: &'a str,
    /// Resolves a name within a time.
    #[allow(clippy::type_complexity, reason = "one parameter, named by its field")]
    pub look_up: &'a (dyn Fn(&str, Duration) -> Result<Vec<IpAddr>> + Sync),
    /// How long resolving may take: kubeadm waits for ten seconds when no server answers.
    pub look_up_limit: Duration,
}

impl Facts {
    /// Asks for everything at once: it takes as long as the slowest answer.
    pub fn gather(inquiry: &Inquiry) -> Self {
        let is_docker = inquiry.cri_socket.ends_with("/dockershim.sock") || inquiry.cri_socket.ends_with("/docker.sock");
        std::thread::scope(|scope| {
            let kubelet = inquiry.kubelet.map(|program| scope.spawn(move || machine::kubelet_version(program)));
            let runtime = (!is_docker).then(|| scope.spawn(|| Runtime::ask(inquiry.root, inquiry.cri_socket, inquiry.runtime_limit)));
            let docker = is_docker.then(|| scope.spawn(ask_docker));
            let name = scope.spawn(|| (inquiry.look_up)(inquiry.node_name, inquiry.look_up_limit));
            let here = Self::here(inquiry.root);
            Self {
                kubelet: kubelet.map(joined),
                runtime: runtime.map(joined),
                docker: docker.map(joined),
                name: Some(joined(name)),
                ..here
            }
        })
    }

    /// What can be seen at once.
    pub fn here(root: &Root) -> Self {
        let port_taken = root.is_machine().then(|| try_port(KUBELET_PORT).err()).flatten().map(|error| error.to_string());
        Self { addresses: network::addresses(), port_taken, ..Self::default() }
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(Failure::new(Class::Internal, "a thread of the preflight checks panicked")))
}

impl Runtime {
    /// Asks the runtime at `socket` below `root` as soon as it is there, for `limit` at most.
    pub fn ask(root: &Root, socket: &str, limit: Duration) -> Result<Self> {
        let socket = root.path(cri::socket_path(socket)?);
        let (mut client, version) = Client::wait_until_ready(&socket, Instant::now() + limit)?;
        let deadline = Instant::now() + RUNTIME_QUESTION;
        let serves_v1alpha2 = version.api == Api::V1alpha2 || client.serves(Api::V1alpha2, deadline)?;
        let runtime_config = client.cgroup_driver(deadline)?;
        let configured = || client.configured_cgroup_driver(deadline).ok().flatten();
        Ok(Self { version, serves_v1alpha2, runtime_config, cgroup_driver: runtime_config.or_else(configured) })
    }
}

fn ask_docker() -> Result<Docker> {
    let format = "{{.CgroupDriver}} {{.ServerVersion}}";
    let output = command::run_checked("docker", &["info", "--format", format], DOCKER_LIMIT)?;
    parse_docker(&output.stdout).ok_or_else(|| Failure::new(Class::Runtime, "docker info did not say its cgroup driver and version"))
}

fn parse_docker(text: &str) -> Option<Docker> {
    let (driver, version) = text.lines().next()?.trim().split_once(' ')?;
    Some(Docker { cgroup_driver: driver.to_owned(), version: version.to_owned() })
}

/// Listens for a moment, as the kubelet will: on IPv6 and IPv4, or where there is no IPv6 on IPv4.
fn try_port(port: u16) -> io::Result<()> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if error.raw_os_error() == Some(nix::Error::EAFNOSUPPORT as i32) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop)
        }
        bound => bound.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_understood() {
        assert_eq!(parse_docker("systemd 20.10.5\n"), Some(Docker { cgroup_driver: "systemd".to_owned(), version: "20.10.5".to_owned() }));
        assert_eq!((parse_docker(""), parse_docker("systemd")), (None, None));
    }

    #[test]
    fn a_port_that_is_taken_is_noticed() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(try_port(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        try_port(port).unwrap();
    }

    #[test]
    fn facts_are_gathered_at_once_and_within_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let pause = Duration::from_millis(300);
        let look_up = |name: &str, limit: Duration| {
            std::thread::sleep(limit);
            Err(Failure::new(Class::Unreachable, format!("{name} does not resolve")))
        };
        let inquiry = Inquiry {
            root: &root,
            kubelet: Some("no-such-kubelet"),
            cri_socket: "unix:///run/none.sock",
            runtime_limit: pause,
            node_name: "node",
            look_up: &look_up,
            look_up_limit: pause,
        };
        let begin = Instant::now();
        let facts = Facts::gather(&inquiry);
        assert!(begin.elapsed() < pause * 2, "one after the other: {:?}", begin.elapsed());
        assert!(facts.kubelet.unwrap().is_err());
        assert!(facts.runtime.unwrap().unwrap_err().message.contains("no such socket"));
        assert_eq!(facts.name.unwrap().unwrap_err().message, "node does not resolve");
        assert_eq!((facts.docker, facts.port_taken), (None, None));
        assert!(!facts.addresses.is_empty());
    }
}
