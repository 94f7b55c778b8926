//! The input of the checks. Slow data is gathered before they run, in parallel.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use contract::runtime;
use serde_json::Value;

use super::NEWEST_MINOR;
use crate::config::model::{Discovery, JoinConfiguration};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::cri::{self, Api, CgroupDriver, Client, RuntimeVersion};
use crate::host::network::{self, Address};
use crate::host::root::Root;
use crate::host::services::{Enablement, Prospect, Services};
use crate::host::{command, machine};
use crate::kubernetes::version::Version;
use crate::net::{self, Endpoint};

/// The port that kubeadm checks.
pub const KUBELET_PORT: u16 = 10250;

/// Time limit of `docker info`.
const DOCKER_LIMIT: Duration = Duration::from_secs(10);

/// Time limit of one request to a runtime that is ready.
const RUNTIME_QUESTION: Duration = Duration::from_secs(5);

/// Time to wait for a runtime that no service manager will start. Another program may start it.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// The pause between two questions to the service manager.
const HOPE_PAUSE: Duration = Duration::from_secs(1);

/// The input of a check.
pub struct Context<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// The folders of programs, in the format of the variable PATH.
    pub path: &'a str,
    /// The service manager.
    pub services: Services,
    /// Whether the agent runs as root.
    pub is_privileged: bool,
    /// The node config.
    pub join: &'a JoinConfiguration,
    /// The runtime's socket, given or detected.
    pub cri_socket: &'a str,
    /// The kubelet's configuration, as far as it is known.
    pub kubelet_config: Option<&'a Value>,
    /// Whether an earlier run on this machine began this join. Then the files that it wrote may exist.
    pub is_resumed: bool,
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The slow data.
    pub facts: &'a Facts,
    /// The data about the cluster; none before discovery.
    pub cluster: Option<Cluster>,
}

impl Context<'_> {
    /// The kubelet's minor version, which decides the severity of problems.
    pub fn minor(&self) -> u16 {
        match &self.facts.kubelet {
            Some(Ok(version)) => version.minor,
            _ => NEWEST_MINOR,
        }
    }

    /// The endpoints of the node config. The endpoint in a discovery file is not read here.
    pub fn endpoints(&self) -> &[Endpoint] {
        match &self.join.discovery {
            Discovery::Token { endpoints, .. } | Discovery::RequestedToken { endpoints, .. } => endpoints,
            Discovery::File(_) | Discovery::Url(_) => &[],
        }
    }

    /// The last value of a kubelet argument in the node config.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.join
            .node
            .kubelet_extra_args
            .iter()
            .rfind(|argument| argument.name == name)
            .map(|argument| argument.value.as_str())
    }

    /// A field of the kubelet's configuration.
    pub fn kubelet_field(&self, name: &str) -> Option<&Value> {
        self.kubelet_config?.get(name)
    }
}

/// The data about the cluster after discovery.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The control plane's version.
    pub version: Option<Version>,
    /// The server's clock and this machine's.
    pub clock: Option<Clock>,
    /// Whether the server refused (403) to show a Node to the bootstrap token.
    pub is_node_read_forbidden: bool,
}

/// Two clocks at the same moment, and the validity of the server's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// This machine's clock.
    pub local: SystemTime,
    /// The server's clock, from the Date of its answer.
    pub server: Option<SystemTime>,
    /// The validity of the cluster's CA.
    pub valid: Option<(SystemTime, SystemTime)>,
}

/// The slow data. None: it was not requested.
#[derive(Debug, Default)]
pub struct Facts {
    /// The result of `kubelet --version`.
    pub kubelet: Option<Result<Version>>,
    /// The runtime.
    pub runtime: Option<Result<Runtime>>,
    /// docker, if it is the runtime of an old kubelet.
    pub docker: Option<Result<Docker>>,
    /// The addresses of the node's name on this machine.
    pub name: Option<Result<Vec<IpAddr>>>,
    /// This machine's addresses.
    pub addresses: Vec<Address>,
    /// The service manager's answers about the units that matter.
    pub units: Units,
    /// Why the agent cannot listen on the kubelet's port.
    pub port_taken: Option<String>,
}

/// The service manager's answers. They are slow, because each question starts a process.
#[derive(Debug, Default)]
pub struct Units {
    /// Whether the kubelet starts at boot.
    pub kubelet: Option<Result<Enablement>>,
    /// Whether systemd-resolved runs. Then /etc/resolv.conf may name only it, and pods need the file with its
    /// upstream servers.
    pub resolved_is_active: bool,
}

impl Units {
    /// Asks the service manager.
    pub fn ask(services: Services) -> Self {
        Self {
            kubelet: Some(services.enablement("kubelet")),
            resolved_is_active: machine::resolved_is_active(services),
        }
    }
}

/// A runtime that serves CRI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Name and version.
    pub version: RuntimeVersion,
    /// Whether it serves v1alpha2 (v1 is in `version`).
    pub serves_v1alpha2: bool,
    /// The answer of RuntimeConfig; none if the runtime does not implement it.
    pub runtime_config: Option<CgroupDriver>,
    /// The cgroup driver, from RuntimeConfig or containerd's configuration.
    pub cgroup_driver: Option<CgroupDriver>,
}

/// The relevant output of `docker info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// `systemd` or `cgroupfs`
    pub cgroup_driver: String,
    /// `19.03.8`
    pub version: String,
}

impl Facts {
    /// Creates the input with all data that needs no wait.
    pub fn here(root: &Root) -> Self {
        let port_taken = root
            .is_machine()
            .then(|| net::try_port(KUBELET_PORT).err())
            .flatten()
            .map(|error| error.to_string());
        Self { addresses: network::addresses(), port_taken, ..Self::default() }
    }

    /// The runtime's cgroup driver, if it is known.
    pub fn cgroup_driver(&self) -> Option<CgroupDriver> {
        match (&self.runtime, &self.docker) {
            (Some(Ok(runtime)), _) => runtime.cgroup_driver,
            (_, Some(Ok(docker))) => CgroupDriver::of(&docker.cgroup_driver),
            _ => None,
        }
    }

    /// Whether a kubelet of `minor` uses the driver from the runtime's RuntimeConfig and ignores its own
    /// setting (from 1.31 on).
    pub fn is_followed_by_kubelet(&self, minor: u16) -> bool {
        minor >= 31 && matches!(&self.runtime, Some(Ok(runtime)) if runtime.runtime_config.is_some())
    }
}

impl Runtime {
    /// Asks the runtime at `socket` below `root` as soon as it is there, for `limit` at most. Gives up
    /// earlier if, by `services`, the runtime will not start.
    pub fn ask(root: &Root, socket: &str, limit: Duration, services: Services) -> Result<Self> {
        let path = cri::socket_path(socket)?;
        let service = service_of(&path);
        let mut hope = Hope { services, service: &service, asked: None };
        let (mut client, version) =
            Client::wait_until_ready(&root.path(&path), Instant::now() + limit, |waited| {
                hope.is_lost(waited, Instant::now())
            })?;
        let deadline = Instant::now() + RUNTIME_QUESTION;
        let serves_v1alpha2 = version.api == Api::V1alpha2 || client.serves(Api::V1alpha2, deadline)?;
        let runtime_config = client.cgroup_driver(deadline)?;
        let configured = || client.configured_cgroup_driver(deadline).ok().flatten();
        Ok(Self {
            version,
            serves_v1alpha2,
            runtime_config,
            cgroup_driver: runtime_config.or_else(configured),
        })
    }
}

/// The name of the service behind a socket; of a runtime that is not known, the socket's own name.
pub fn service_of(socket: &Path) -> String {
    let pipe = runtime::PIPES.iter().find(|(pipe, _)| socket == Path::new(pipe));
    if let Some((_, service)) = pipe {
        return (*service).to_owned();
    }
    let endpoint = socket.to_str().and_then(runtime::endpoint_at);
    endpoint.map_or_else(
        || socket.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        |endpoint| endpoint.service.to_owned(),
    )
}

/// Whether a runtime that does not answer may still start, by its service manager, which is not asked at
/// every try.
struct Hope<'a> {
    services: Services,
    service: &'a str,
    asked: Option<Instant>,
}

impl Hope<'_> {
    /// Why the runtime will not start; none while it may.
    fn is_lost(&mut self, waited: Duration, now: Instant) -> Option<String> {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < HOPE_PAUSE) {
            return None;
        }
        self.asked = Some(now);
        let service = self.service;
        match self.services.prospect(service) {
            Ok(Prospect::Failed) => Some(format!("the service {service} has failed")),
            Ok(Prospect::Idle) if waited >= IDLE_LIMIT => {
                Some(format!("no service {service} runs, and none is about to start"))
            }
            _ => None,
        }
    }
}

impl Docker {
    /// Asks docker.
    pub fn ask() -> Result<Self> {
        let [program, arguments @ ..] = runtime::IN_KUBELET_INFO;
        let output = command::run_checked(program, &arguments, DOCKER_LIMIT)?;
        parse_docker(&output.stdout).ok_or_else(|| {
            Failure::new(ErrorKind::Runtime, "docker info did not say its cgroup driver and version")
        })
    }
}

fn parse_docker(text: &str) -> Option<Docker> {
    let (driver, version) = text.lines().next()?.trim().split_once(' ')?;
    Some(Docker { cgroup_driver: driver.to_owned(), version: version.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_understood() {
        assert_eq!(
            parse_docker("systemd 20.10.5\n"),
            Some(Docker { cgroup_driver: "systemd".to_owned(), version: "20.10.5".to_owned() })
        );
        assert_eq!((parse_docker(""), parse_docker("systemd")), (None, None));
    }

    #[test]
    fn services_are_named_by_their_sockets() {
        for (socket, expected) in [
            ("/run/containerd/containerd.sock", "containerd"),
            ("/var/run/crio/crio.sock", "crio"),
            ("/run/cri-dockerd.sock", "cri-docker"),
            ("//./pipe/containerd-containerd", "containerd"),
            ("/", ""),
        ] {
            assert_eq!(service_of(Path::new(socket)), expected);
        }
    }

    #[test]
    fn without_a_service_manager_hope_is_never_lost() {
        let (now, mut hope) =
            (Instant::now(), Hope { services: Services::None, service: "containerd", asked: None });
        assert_eq!(hope.is_lost(IDLE_LIMIT * 2, now), None);
        assert_eq!((hope.asked, hope.is_lost(IDLE_LIMIT * 2, now)), (Some(now), None));
    }
}
