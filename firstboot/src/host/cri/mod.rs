//! The Container Runtime Interface: gRPC over the runtime's socket, one connection, every call with a
//! deadline, no async runtime.
//!
//! ```text
//! Client (runtime.v1, else runtime.v1alpha2) ─► grpc::Channel (h2) ─► runtime_socket ─► /run/containerd/containerd.sock
//! ```

pub mod grpc;
pub mod messages;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use contract::runtime;
use prost::Message;

use self::grpc::{Channel, Error};
use self::messages as message;
use super::root::Root;
use super::runtime_socket;
use crate::error::{ErrorKind, Failure, Result};
use crate::paths;

/// The pause between two attempts doubles from the first to the last value.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Time limit of one attempt. If the runtime accepts the connection but does not answer, the agent tries a
/// new connection.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A version of the interface. The kubelet supports only v1alpha2 until 1.22 and only v1 from 1.26 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `runtime.v1`: containerd 1.6 and newer, CRI-O 1.20 and newer.
    V1,
    /// `runtime.v1alpha2`: until containerd 1.7 and CRI-O 1.25.
    V1alpha2,
}

impl Api {
    fn package(self) -> &'static str {
        match self {
            Self::V1 => "runtime.v1",
            Self::V1alpha2 => "runtime.v1alpha2",
        }
    }
}

/// The name and version of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// `containerd`, `cri-o`, `docker`
    pub name: String,
    /// The version, as the runtime writes it.
    pub version: String,
    /// The newest version of the interface that it serves.
    pub api: Api,
}

/// The status of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// Why containers cannot run; none if they can.
    pub not_ready: Option<String>,
    /// Why pods get no network; none if they do. Before the network add-on is installed, a reason here is
    /// normal.
    pub network_not_ready: Option<String>,
}

/// The cgroup driver of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// systemd makes the control groups.
    Systemd,
    /// The runtime makes the control groups itself.
    Cgroupfs,
}

impl CgroupDriver {
    /// Its name in a KubeletConfiguration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }

    /// The driver with this name.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Systemd, Self::Cgroupfs].into_iter().find(|driver| driver.word() == word)
    }
}

/// A pod of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's identifier.
    pub id: String,
    /// `namespace/name`
    pub pod: String,
}

/// The path of a socket in the node config: `unix:///run/containerd/containerd.sock`, or without the scheme.
pub fn socket_path(endpoint: &str) -> Result<PathBuf> {
    let scheme = endpoint.strip_prefix(paths::CRI_SCHEME);
    let path = scheme.and_then(|rest| rest.strip_prefix("://")).unwrap_or(endpoint);
    if path.starts_with('/') {
        return Ok(PathBuf::from(path));
    }
    Err(Failure::new(
        ErrorKind::Config,
        format!("the CRI socket \"{}\" is no Unix socket", endpoint.escape_debug()),
    )
    .help("name it as unix:///run/containerd/containerd.sock"))
}

/// A runtime.
pub struct Client {
    channel: Channel,
    socket: PathBuf,
    api: Api,
}

impl Client {
    /// Connects to the runtime at `socket`, and finds its version and that of its interface.
    pub fn connect(socket: &Path, deadline: Instant) -> Result<(Self, RuntimeVersion)> {
        let stream = runtime_socket::open(socket).map_err(|error| unreachable(socket, &error))?;
        let channel = Channel::open(stream, deadline).map_err(|error| failed(socket, "greeting", &error))?;
        let mut client = Self { channel, socket: socket.to_owned(), api: Api::V1 };
        let version = client.version(deadline)?;
        Ok((client, version))
    }

    /// Connects as soon as the runtime is ready to run containers. Stops at `deadline`, or earlier if
    /// `give_up` returns a reason. `give_up` is called after each try with the elapsed time.
    pub fn wait_until_ready(
        socket: &Path,
        deadline: Instant,
        mut give_up: impl FnMut(Duration) -> Option<String>,
    ) -> Result<(Self, RuntimeVersion)> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match Self::connect_ready(socket, deadline.min(Instant::now() + ATTEMPT)) {
                Ok(ready) => return Ok(ready),
                Err(failure) if !failure.transient => return Err(failure),
                Err(failure) => failure,
            };
            if let Some(why) = give_up(begin.elapsed()) {
                return Err(Failure { message: format!("{}; {why}", failure.message), ..failure });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            std::thread::sleep(pause.min(left));
            if left <= pause {
                // Another attempt would have no time, and its error would say only that.
                return Err(failure);
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn connect_ready(socket: &Path, deadline: Instant) -> Result<(Self, RuntimeVersion)> {
        let (mut client, version) = Self::connect(socket, deadline)?;
        match client.status(deadline)?.not_ready {
            None => Ok((client, version)),
            Some(why) => Err(Failure::new(
                ErrorKind::Runtime,
                format!("the container runtime {} is not ready: {why}", version.name),
            )
            .transient()),
        }
    }

    /// Calls Version, in the newest interface that both sides support.
    pub fn version(&mut self, deadline: Instant) -> Result<RuntimeVersion> {
        for api in [Api::V1, Api::V1alpha2] {
            match self.version_in(api, deadline) {
                Ok(said) => {
                    self.api = api;
                    return Ok(RuntimeVersion {
                        name: said.runtime_name,
                        version: said.runtime_version,
                        api,
                    });
                }
                Err(Error::Unimplemented) => {}
                Err(error) => return Err(failed(&self.socket, "Version", &error)),
            }
        }
        Err(Failure::new(
            ErrorKind::Runtime,
            format!("the server at {} does not speak the Container Runtime Interface", self.socket.display()),
        )
        .help(
            "containerd: remove \"cri\" from disabled_plugins in /etc/containerd/config.toml and restart it",
        ))
    }

    /// Whether the runtime serves `api`.
    pub fn serves(&mut self, api: Api, deadline: Instant) -> Result<bool> {
        match self.version_in(api, deadline) {
            Ok(_) => Ok(true),
            Err(Error::Unimplemented) => Ok(false),
            Err(error) => Err(failed(&self.socket, "Version", &error)),
        }
    }

    fn version_in(
        &mut self,
        api: Api,
        deadline: Instant,
    ) -> std::result::Result<message::VersionResponse, Error> {
        self.channel.call(&path(api, "Version"), &message::VersionRequest::default(), deadline)
    }

    /// Calls Status.
    pub fn status(&mut self, deadline: Instant) -> Result<RuntimeStatus> {
        let said: message::StatusResponse =
            self.call("Status", &message::StatusRequest::default(), deadline)?;
        let conditions = said.status.unwrap_or_default().conditions;
        let why_not = |kind: &str| match conditions.iter().find(|condition| condition.kind == kind) {
            Some(condition) if condition.status => None,
            Some(condition) => Some(format!("{}: {}", condition.reason, condition.message)),
            None => Some(format!("it does not say whether {kind}")),
        };
        Ok(RuntimeStatus { not_ready: why_not("RuntimeReady"), network_not_ready: why_not("NetworkReady") })
    }

    /// Calls RuntimeConfig for the cgroup driver; none if the runtime is too old to have it (containerd
    /// before 2.0, CRI-O before 1.28).
    pub fn cgroup_driver(&mut self, deadline: Instant) -> Result<Option<CgroupDriver>> {
        let request = message::RuntimeConfigRequest {};
        match self.channel.call::<message::RuntimeConfigResponse>(
            &path(self.api, "RuntimeConfig"),
            &request,
            deadline,
        ) {
            Ok(said) => Ok(said.linux.and_then(|linux| match linux.cgroup_driver {
                0 => Some(CgroupDriver::Systemd),
                1 => Some(CgroupDriver::Cgroupfs),
                _ => None,
            })),
            Err(Error::Unimplemented) => Ok(None),
            Err(error) => Err(failed(&self.socket, "RuntimeConfig", &error)),
        }
    }

    /// The cgroup driver of containerd's default runtime, from the configuration in a verbose Status; none
    /// for another runtime. This is for containerd 1.x, which has no RuntimeConfig and where the drivers
    /// differ most often.
    pub fn configured_cgroup_driver(&mut self, deadline: Instant) -> Result<Option<CgroupDriver>> {
        let said: message::StatusResponse =
            self.call("Status", &message::StatusRequest { verbose: true }, deadline)?;
        Ok(said.info.get("config").and_then(|text| parse_containerd_config(text)))
    }

    /// Calls ListPodSandbox for all pods.
    pub fn sandboxes(&mut self, deadline: Instant) -> Result<Vec<Sandbox>> {
        let said: message::ListPodSandboxResponse =
            self.call("ListPodSandbox", &message::ListPodSandboxRequest {}, deadline)?;
        let sandbox = |item: message::PodSandbox| {
            let about = item.metadata.unwrap_or_default();
            Sandbox { id: item.id, pod: format!("{}/{}", about.namespace, about.name) }
        };
        Ok(said.items.into_iter().map(sandbox).collect())
    }

    /// Calls StopPodSandbox, which ends its containers and releases its network. It is no error if the pod
    /// has ended or does not exist.
    pub fn stop_sandbox(&mut self, id: &str, deadline: Instant) -> Result<()> {
        self.end("StopPodSandbox", id, deadline)
    }

    /// Calls RemovePodSandbox, which removes its containers too. It is no error if the pod does not exist.
    pub fn remove_sandbox(&mut self, id: &str, deadline: Instant) -> Result<()> {
        self.end("RemovePodSandbox", id, deadline)
    }

    fn end(&mut self, method: &str, id: &str, deadline: Instant) -> Result<()> {
        let request = message::PodSandboxRequest { pod_sandbox_id: id.to_owned() };
        match self.channel.call::<message::Empty>(&path(self.api, method), &request, deadline) {
            Ok(_) | Err(Error::Status(grpc::NOT_FOUND, _)) => Ok(()),
            Err(error) => Err(failed(&self.socket, method, &error)),
        }
    }

    fn call<A: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<A> {
        self.channel
            .call(&path(self.api, method), request, deadline)
            .map_err(|error| failed(&self.socket, method, &error))
    }
}

/// Reads containerd's configuration: `containerd.runtimes.<default>.options.SystemdCgroup`.
fn parse_containerd_config(text: &str) -> Option<CgroupDriver> {
    let config: serde_json::Value = serde_json::from_str(text).ok()?;
    let containerd = config.get("containerd")?;
    let name = containerd.get("defaultRuntimeName")?.as_str()?;
    let runtime = containerd.get("runtimes")?.get(name)?;
    if !runtime.get("runtimeType")?.as_str()?.contains(".runc.") {
        return None;
    }
    let systemd = runtime
        .get("options")
        .and_then(|options| options.get("SystemdCgroup"))
        .and_then(serde_json::Value::as_bool);
    Some(if systemd == Some(true) { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs })
}

/// The runtime's pipe if the node config names none: that of containerd, which the layers for Windows bring.
#[cfg(windows)]
pub fn detect_socket(_: &Root, _: u16) -> Result<String> {
    Ok(format!("{}://{}", paths::CRI_SCHEME, runtime::PIPES[0].0))
}

/// The runtime's socket if the node config names none. It is found as kubeadm of the kubelet's `minor`
/// version finds it.
#[cfg(not(windows))]
pub fn detect_socket(root: &Root, minor: u16) -> Result<String> {
    let is_there = |path: &str| root.path(path).exists() || root.path(short(path)).exists();
    let endpoints = runtime::RUNTIMES.iter().map(|runtime| runtime.endpoint(minor));
    let found = endpoints
        .filter(|endpoint| is_there(endpoint.sign) && !endpoint.unless.is_some_and(is_there))
        .map(|endpoint| called(root, endpoint.socket))
        .collect();
    let scheme = if minor < 24 { "" } else { "unix://" };
    let default = called(root, runtime::default(minor).endpoint(minor).socket);
    one_socket(found, default).map(|path| format!("{scheme}{path}"))
}

/// `/var/run/x`, as in kubeadm, or `/run/x` if the machine has only that. The path for the kubelet must
/// exist.
#[cfg(not(windows))]
fn called<'a>(root: &Root, path: &'a str) -> &'a str {
    let (var_run, file) = (root.entry(paths::VAR_RUN), root.path(path));
    let is_good =
        var_run.is_symlink() || file.exists() || (var_run.is_dir() && !root.path(short(path)).exists());
    if is_good { path } else { short(path) }
}

#[cfg(not(windows))]
fn short(path: &str) -> &str {
    path.strip_prefix(paths::VAR).unwrap_or(path)
}

#[cfg(not(windows))]
fn one_socket(found: Vec<&str>, default: &str) -> Result<String> {
    match found[..] {
        [] => Ok(default.to_owned()),
        [one] => Ok(one.to_owned()),
        _ => Err(Failure::new(
            ErrorKind::Config,
            format!("several container runtimes are installed: {}", found.join(", ")),
        )
        .help("name the one to use in nodeRegistration.criSocket")),
    }
}

fn path(api: Api, method: &str) -> String {
    format!("/{}.RuntimeService/{method}", api.package())
}

fn failed(socket: &Path, method: &str, error: &Error) -> Failure {
    Failure::new(
        ErrorKind::Runtime,
        format!("asking the container runtime at {} ({method}): {error}", socket.display()),
    )
    .help("see what the runtime's log says, such as journalctl -u containerd")
    .transient()
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        io::ErrorKind::WouldBlock => "it accepts no connections".to_owned(),
        kind => kind.to_string(),
    };
    let failure = Failure::new(
        ErrorKind::Runtime,
        format!("connecting to the container runtime at {}: {why}", socket.display()),
    )
    .help("start the container runtime, or name its socket in nodeRegistration.criSocket");
    if error.kind() == io::ErrorKind::PermissionDenied { failure } else { failure.transient() }
}

#[cfg(test)]
#[path = "cri_tests.rs"]
mod tests;
