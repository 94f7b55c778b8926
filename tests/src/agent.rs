//! Runs the agent as a plain process on a machine that is a folder (`firstboot join --rootfs`): a join
//! without services.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::Value;
use testkit::PROGRAMS;

use crate::control_plane::ControlPlane;
use crate::kiln;
use crate::lab_node::LabNode;
use crate::socket_forward::SocketForward;
use crate::workspace;

/// The files of a healthy machine. Its name and identifiers are added.
const FILES: &[(&str, &str)] = &[
    ("/proc/sys/kernel/osrelease", "6.12.0-1-cloud-amd64\n"),
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
    ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1\n"),
    ("/proc/sys/net/ipv4/ip_forward", "1\n"),
    ("/proc/swaps", "Filename Type Size Used Priority\n"),
    (
        "/proc/net/route",
        "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n",
    ),
    ("/proc/self/mountinfo", "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"),
    ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"),
    ("/etc/resolv.conf", "nameserver 127.0.0.1\n"),
    ("/opt/cni/bin/loopback", ""),
    ("/etc/cni/net.d/10-bridge.conflist", "{\"plugins\":[]}"),
    ("/usr/libexec/kubernetes/kubelet-plugins/volume/exec/.keep", ""),
];

/// The name of the runtime's socket.
const SOCKET: &str = "containerd.sock";

/// A container runtime for all machines of a test: the real containerd of a [`LabNode`].
#[derive(Debug)]
pub struct Runtime {
    _node: LabNode,
    folder: tempfile::TempDir,
    _forward: SocketForward,
}

impl Runtime {
    /// Starts it with the cgroup driver of the cluster's kubelets: systemd from 1.22 on.
    pub fn start(control_plane: &ControlPlane) -> Self {
        let node = LabNode::start(control_plane, "runtime", &[]);
        let systemd = minor(control_plane) >= 22;
        let config = format!(
            "mkdir -p /etc/containerd && printf 'version = 2\\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\\n\
             runtime_type = \"io.containerd.runc.v2\"\\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\\n\
             SystemdCgroup = {systemd}\\n' > /etc/containerd/config.toml && systemctl restart containerd && \
             for i in $(seq 300); do [ -S /run/containerd/containerd.sock ] && exit; sleep 0.1; done; exit 1"
        );
        let ended = node.run(["sh", "-c", &config], Duration::from_secs(40));
        assert_eq!(
            ended.code,
            0,
            "containerd does not start: {}{}",
            ended.stderr,
            node.service_log("containerd")
        );
        let folder = temporary("runtime-");
        let forward =
            SocketForward::start(&folder.path().join(SOCKET), &node.path("/run/containerd/containerd.sock"));
        Self { _node: node, folder, _forward: forward }
    }

    /// The path of its socket on this machine.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }
}

/// A folder with a short path.
fn temporary(prefix: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir();
    folder.expect("there is a folder for temporary files")
}

/// The control plane's minor version: 36 of 1.36.2.
fn minor(control_plane: &ControlPlane) -> u32 {
    control_plane
        .fact("version")
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .expect("a Kubernetes version has a minor")
}

/// A machine that is a folder.
#[derive(Debug)]
pub struct Node {
    folder: tempfile::TempDir,
    name: String,
    /// Where its runtime's socket cannot be the same file as that of all machines.
    runtime: Option<SocketForward>,
}

/// How a run of the agent ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Wall time.
    pub seconds: f64,
    /// Standard output, then standard error.
    pub output: String,
    /// The object of the verdict line; null if there was none.
    pub verdict: Value,
}

impl Node {
    /// A healthy machine named `name` with a kubelet of `version`; `socket` is its runtime's.
    pub fn new(name: &str, version: &str, socket: &Path) -> Self {
        Self::in_folder(temporary("node-"), name, version, socket)
    }

    /// Like [`Node::new`], in `folder`, which may be on another file system.
    pub fn in_folder(folder: tempfile::TempDir, name: &str, version: &str, socket: &Path) -> Self {
        let mut node = Self { folder, name: name.to_owned(), runtime: None };
        FILES.iter().for_each(|(path, text)| node.write(path, text));
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel makes identifiers");
        node.write("/sys/class/dmi/id/product_uuid", &uuid);
        node.write("/etc/machine-id", &uuid.replace('-', ""));
        node.write("/proc/sys/kernel/hostname", &format!("{name}\n"));
        node.write("/etc/hostname", &format!("{name}\n"));
        node.write("/etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"));
        node.write(
            "/usr/lib/kiln/image.json",
            &format!("{{\"variables\":{{\"kubernetes\":\"{version}\"}}}}"),
        );
        for program in PROGRAMS {
            node.write(&format!("/usr/bin/{program}"), "");
            fs::set_permissions(node.path(&format!("/usr/bin/{program}")), fs::Permissions::from_mode(0o755))
                .expect("the folder is the test's");
        }
        fs::create_dir_all(node.path("/var/lib/kubelet")).expect("the folder is the test's");
        symlink("../run", node.path("/var/run")).expect("the folder is the test's");
        fs::create_dir_all(node.path("/run/containerd")).expect("the folder is the test's");
        let runtime = node.path("/run/containerd/containerd.sock");
        if fs::hard_link(socket, &runtime).is_err() {
            node.runtime = Some(SocketForward::start(&runtime, socket));
        }
        node
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The real path of a path on the machine.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root().join(inside.trim_start_matches('/'))
    }

    /// The root of its file system.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Writes a file of the machine.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("the folder is the test's");
        fs::write(path, text).expect("the folder is the test's");
    }

    /// Writes the node config outside the machine's file system.
    pub fn configure(&self, config: &str) {
        let path = self.folder.path().join("config.yaml");
        fs::write(&path, config).expect("the folder is the test's");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the folder is the test's");
    }

    /// Writes the node config to the machine's file that `firstboot run` reads.
    pub fn provide(&self, config: &str) {
        self.write("/etc/firstboot/config.yaml", config);
        fs::set_permissions(self.path("/etc/firstboot/config.yaml"), fs::Permissions::from_mode(0o600))
            .expect("the folder is the test's");
    }

    /// `firstboot run` on this machine, as its unit runs it.
    pub fn run(&self, prefix: Command) -> Command {
        self.agent(prefix, "run")
    }

    /// `firstboot join` on this machine, started by `prefix` (a command such as nsenter that replaces
    /// itself).
    pub fn join(&self, prefix: Command) -> Command {
        let mut command = self.agent(prefix, "join");
        command.arg("--config").arg(self.folder.path().join("config.yaml"));
        command
    }

    fn agent(&self, mut prefix: Command, verb: &str) -> Command {
        prefix.arg(kiln::programs().join("firstboot")).arg(verb).arg("--rootfs").arg(self.root());
        prefix
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        prefix
    }

    /// The status file of the last run.
    pub fn status(&self) -> Value {
        read_json(&self.path("/run/firstboot/status.json"))
    }

    /// The checkpoint.
    pub fn journal(&self) -> Value {
        read_json(&self.path("/var/lib/firstboot/journal.json"))
    }

    /// Every file and link below the machine's `/etc` and `/var`: path, mode and content.
    pub fn tree(&self) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        for folder in ["etc", "var"] {
            walk(&self.root(), &self.root().join(folder), &mut found);
        }
        found.sort();
        found
    }
}

fn read_json(path: &Path) -> Value {
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(Value::Null)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, u32, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        let name = format!("/{}", path.strip_prefix(root).expect("it lies below the root").display());
        if about.is_dir() {
            found.push((name + "/", about.mode() & 0o7777, Vec::new()));
            walk(root, &path, found);
        } else if about.is_symlink() {
            let target = fs::read_link(&path).unwrap_or_default();
            found.push((name, 0o777, target.as_os_str().as_encoded_bytes().to_vec()));
        } else {
            found.push((name, about.mode() & 0o7777, fs::read(&path).unwrap_or_default()));
        }
    }
}

/// Runs a command of [`Node::join`] to its end. After `patience` it is killed and has no exit code.
pub fn run(mut command: Command, patience: Duration) -> Run {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    let deadline = started + workspace::patience(patience);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output().expect("a child can be waited for");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Run { code: output.status.code(), seconds, verdict: verdict(&text), output: text }
}

/// The object of the last verdict line in `text`; null if there is none.
pub fn verdict(text: &str) -> Value {
    let line = text.lines().rev().find_map(|line| line.split_once("firstboot-verdict: "));
    line.and_then(|(_, object)| serde_json::from_str(object.trim()).ok())
        .unwrap_or(Value::Null)
}

/// A node config with token discovery; its parts can be changed before it is written.
#[derive(Debug, Clone)]
pub struct Config {
    /// Host and port.
    pub endpoint: String,
    /// `ID.SECRET`. Without one there is no discovery either: the agent's own document says where to request
    /// both.
    pub token: String,
    /// `sha256:…`.
    pub pin: String,
    /// The node's name.
    pub name: String,
    /// More lines of nodeRegistration, without indentation.
    pub registration: Vec<String>,
    /// Time limits in seconds: discovery, one API call, the certificate.
    pub timeouts: (u32, u32, u32),
    /// Lines of the agent's own document.
    pub agent: Vec<String>,
}

impl Config {
    /// A config with which a healthy machine joins `control_plane`.
    pub fn new(control_plane: &ControlPlane, name: &str) -> Self {
        Self {
            endpoint: control_plane.endpoint().to_owned(),
            token: control_plane.token().to_owned(),
            pin: control_plane.pin().to_owned(),
            name: name.to_owned(),
            // Before 1.24, a machine without the socket counts as one with docker.
            registration: vec!["criSocket: unix:///run/containerd/containerd.sock".to_owned()],
            timeouts: (60, 60, 60),
            agent: Vec::new(),
        }
    }

    /// The document.
    pub fn text(&self) -> String {
        let Self {
            endpoint,
            token,
            pin,
            name,
            registration,
            timeouts: (discovery, call, certificate),
            agent,
        } = self;
        let more: String = registration.iter().map(|line| format!("  {line}\n")).collect();
        let own: String = agent.iter().map(|line| format!("{line}\n")).collect();
        let own = if own.is_empty() {
            own
        } else {
            format!("---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n{own}")
        };
        let bootstrap = format!(
            "discovery:\n  bootstrapToken:\n    apiServerEndpoint: \"{endpoint}\"\n    token: \"{token}\"\n    caCertHashes: [\"{pin}\"]\n"
        );
        let bootstrap = if token.is_empty() { String::new() } else { bootstrap };
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n\
             {bootstrap}nodeRegistration:\n  name: {name}\n{more}\
             timeouts: {{discovery: {discovery}s, kubernetesAPICall: {call}s, tlsBootstrap: {certificate}s}}\n{own}"
        )
    }
}

/// The cluster's certificate requests of the node `name`.
pub fn certificate_requests(control_plane: &ControlPlane, name: &str) -> Vec<Value> {
    let list = control_plane
        .get("/apis/certificates.k8s.io/v1/certificatesigningrequests")
        .expect("the API serves them");
    let subject = format!("system:node:{name}");
    // A string in DER: its length stands before it.
    let wanted: Vec<u8> = std::iter::once(subject.len() as u8).chain(subject.bytes()).collect();
    let asks_for_it = |request: &Value| {
        let pem = decoded(request["spec"]["request"].as_str().unwrap_or_default());
        let lines = String::from_utf8_lossy(&pem)
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect::<String>();
        decoded(&lines).windows(wanted.len()).any(|window| window == wanted)
    };
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|request| asks_for_it(request))
        .cloned()
        .collect()
}

fn decoded(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// A number generator for tests: the same numbers for the same seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// With the seed in `KILN_TEST_SEED`, else one from the clock. It is printed, so that a failure can be
    /// repeated.
    pub fn new(what: &str) -> Self {
        let given = std::env::var("KILN_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let now = || {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |time| time.as_secs())
        };
        let seed = given.unwrap_or_else(now);
        workspace::say(&format!("{what}: KILN_TEST_SEED={seed}"));
        Self(seed)
    }

    /// Uniform in 0 … 1.
    pub fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
