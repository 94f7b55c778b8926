//! A machine with a fault in its environment: the API server, the network, the state of the cluster, the
//! runtime, the disk.

use std::ops::Range;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use kiln_tests::agent::{self, Config, Node, Run, Runtime};
use kiln_tests::control_plane::{ControlPlane, TokenSpec};
use kiln_tests::fault_proxy::{Action, FaultProxy};
use kiln_tests::lab::lab;
use kiln_tests::netns::{self, NetworkNamespace};
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::{Ca, Door};

/// A certificate that is valid now, in days from today.
pub const NOW: Range<i64> = -30..365;

pub const API: &str = "10.99.0.1:6443";
pub const INFO: &str = "GET /api/v1/namespaces/kube-public/configmaps/cluster-info";
pub const CONFIG: &str = "GET /api/v1/namespaces/kube-system/configmaps/kubeadm-config";
pub const WATCH: &str = "GET /apis/certificates.k8s.io/v1/certificatesigningrequests";
pub const REQUESTS: &str = "POST /apis/certificates.k8s.io/v1/certificatesigningrequests";

pub struct Lab {
    pub control_plane: ControlPlane,
    pub runtime: Runtime,
}

/// The results of a case.
pub struct Seen {
    pub run: Run,
    pub node: Node,
    /// Whether only the environment was at fault. Then the same join must succeed without the fault.
    pub heals: bool,
    pub token: String,
    pub problems: Vec<String>,
}
impl Seen {
    pub fn demand(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.problems.push(otherwise.to_owned());
        }
    }
}

/// A machine and its config, before the fault.
pub fn attempt(lab: &Lab, name: &str) -> (Node, Config) {
    let version = lab.control_plane.fact("version");
    let mut config = Config::new(&lab.control_plane, name);
    config.timeouts = (5, 5, 8);
    config.agent = vec!["deadline: 60s".to_owned()];
    (Node::new(name, version, &lab.runtime.socket()), config)
}

pub fn finish(node: Node, config: &Config, prefix: Command, heals: bool) -> Seen {
    node.configure(&config.text());
    let run = agent::run(node.join(prefix), Duration::from_secs(70));
    Seen { run, node, heals, token: config.token.clone(), problems: Vec::new() }
}

/// In the control plane's own network.
pub fn plain(lab: &Lab, name: &str, change: impl Fn(&mut Config)) -> Seen {
    let (node, mut config) = attempt(lab, name);
    change(&mut config);
    finish(node, &config, netns::command_in(lab.control_plane.fact("pid"), "env"), false)
}

pub fn on(lab: &Lab, name: &str, netns: NetworkNamespace) -> Seen {
    let (node, config) = attempt(lab, name);
    finish(node, &config, netns.command("env"), true)
}

pub fn door(lab: &Lab, name: &str, door: Door) -> Seen {
    let netns = NetworkNamespace::of_api_server();
    let identity = lab.control_plane.authority().sign(&[netns::API_ADDRESS], NOW);
    let _proxy =
        FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, door, |_, _| Action::Pass);
    on(lab, name, netns)
}

pub fn through_proxy(lab: &Lab, name: &str, judge: fn(&str, usize) -> Action) -> Seen {
    let netns = NetworkNamespace::of_api_server();
    let identity = lab.control_plane.authority().sign(&[netns::API_ADDRESS], NOW);
    let _proxy = FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    on(lab, name, netns)
}

/// The watch for the certificate is taken and never answered: another one must follow.
pub fn watch_silent(lab: &Lab, name: &'static str) -> Seen {
    let netns = NetworkNamespace::of_api_server();
    let identity = lab.control_plane.authority().sign(&[netns::API_ADDRESS], NOW);
    let judge = |request: &str, before: usize| {
        if request == WATCH && before == 0 { Action::Silence } else { Action::Pass }
    };
    let _proxy = FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    let (node, mut config) = attempt(lab, name);
    config.timeouts.2 = 40;
    finish(node, &config, netns.command("env"), true)
}

pub fn answer_lost(lab: &Lab, name: &'static str) -> Seen {
    let mut seen = through_proxy(lab, name, |request, before| {
        if request == REQUESTS && before == 0 { Action::Forget } else { Action::Pass }
    });
    let requests = agent::certificate_requests(&lab.control_plane, name);
    seen.demand(requests.len() == 1, &format!("{} certificate requests instead of one", requests.len()));
    seen
}

pub fn wrong_ca(lab: &Lab, name: &'static str) -> Seen {
    let netns = NetworkNamespace::of_api_server();
    let identity = Ca::new().sign(&[netns::API_ADDRESS], NOW);
    let proxy =
        FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, Door::Open, |_, _| Action::Pass);
    let mut seen = on(lab, name, netns);
    seen.demand(
        proxy.requests().iter().all(|request| request.starts_with(INFO)),
        "it went on with a server that it does not trust",
    );
    seen
}

pub fn with_token(lab: &Lab, name: &str, spec: TokenSpec) -> Seen {
    let token = lab.control_plane.create_token(&spec);
    plain(lab, name, |config| config.token.clone_from(&token))
}

/// A token that authenticates, in a group without permissions.
pub fn powerless(lab: &Lab, name: &'static str) -> Seen {
    with_token(
        lab,
        name,
        TokenSpec { groups: "system:bootstrappers:powerless".to_owned(), ..TokenSpec::default() },
    )
}

/// A token whose certificate requests are not approved automatically. `verdict` is applied to the first one
/// after `delay`.
pub fn judged(lab: &Lab, name: &'static str, verdict: Option<&str>, delay: Duration, limit: u32) -> Seen {
    let spec = TokenSpec { groups: "system:bootstrappers:manual".to_owned(), ..TokenSpec::default() };
    let token = lab.control_plane.create_token(&spec);
    std::thread::scope(|scope| {
        if let Some(verdict) = verdict {
            let user = format!("system:bootstrap:{}", &token[..6]);
            scope.spawn(move || judge(lab, &user, verdict, delay));
        }
        plain(lab, name, |config| {
            config.token.clone_from(&token);
            config.timeouts.2 = limit;
        })
    })
}

pub fn judge(lab: &Lab, user: &str, verdict: &str, delay: Duration) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(mut request) =
            certificate_requests(lab, |request| request["spec"]["username"] == user).pop()
        {
            std::thread::sleep(delay);
            request["status"] = json!({"conditions": [{"type": verdict, "status": "True", "reason": "Test", "message": "said the test"}]});
            let path = format!(
                "/apis/certificates.k8s.io/v1/certificatesigningrequests/{}/approval",
                request["metadata"]["name"].as_str().unwrap_or_default()
            );
            let (code, answer) = lab.control_plane.api("PUT", &path, Some(&request));
            assert_eq!(code, 200, "{answer}");
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Allows the group `manual` everything that a joining node does. Its requests are not approved
/// automatically.
pub fn allow_manual_group(control_plane: &ControlPlane) {
    let group = json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:bootstrappers:manual"}]);
    let binding = |kind: &str, name: &str, role_kind: &str, role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "subjects": group,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}})
    };
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (name, role) in
        [("manual-bootstrap", "system:node-bootstrapper"), ("manual-nodes", "kubeadm:get-nodes")]
    {
        control_plane.create(
            &format!("{rbac}/clusterrolebindings"),
            &binding("ClusterRoleBinding", name, "ClusterRole", role),
        );
    }
    let kubelet = match lab().kubernetes_minor() {
        24.. => "kubeadm:kubelet-config".to_owned(),
        minor => format!("kubeadm:kubelet-config-1.{minor}"),
    };
    for (name, role) in
        [("manual-config", "kubeadm:nodes-kubeadm-config"), ("manual-kubelet", kubelet.as_str())]
    {
        control_plane.create(
            &format!("{rbac}/namespaces/kube-system/rolebindings"),
            &binding("RoleBinding", name, "Role", role),
        );
    }
}

pub fn certificate_requests(lab: &Lab, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let list = lab
        .control_plane
        .get("/apis/certificates.k8s.io/v1/certificatesigningrequests")
        .expect("the API serves them");
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|request| wanted(request))
        .cloned()
        .collect()
}

pub fn name_taken(lab: &Lab, name: &'static str, ready: bool) -> Seen {
    lab.control_plane.create_node(name, ready);
    plain(lab, name, |_| {})
}

/// A server whose certificate and whose clock this machine's clock contradicts.
pub fn clock(lab: &Lab, name: &str, days: Range<i64>, offset: i32) -> Seen {
    let netns = NetworkNamespace::of_api_server();
    let identity = lab.control_plane.authority().sign(&[netns::API_ADDRESS], days);
    let date =
        workspace::output("date", ["--utc", &format!("--date={offset} days"), "+%a, %d %b %Y %H:%M:%S GMT"])
            .trim()
            .to_owned();
    let judge = move |_: &str, _: usize| Action::Date(date.clone());
    let _proxy = FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    on(lab, name, netns)
}

/// Name servers that never answer.
pub fn dns(lab: &Lab, name: &str, endpoint: &str) -> Seen {
    let netns = NetworkNamespace::of_api_server();
    netns.vanish("10.98.0.1/16");
    let identity = lab.control_plane.authority().sign(&[netns::API_ADDRESS], NOW);
    let _proxy =
        FaultProxy::start(&netns.pid(), API, &lab.control_plane, identity, Door::Open, |_, _| Action::Pass);
    let (node, mut config) = attempt(lab, name);
    config.endpoint = endpoint.to_owned();
    node.write("/etc/resolv.conf", "nameserver 10.98.7.7\nnameserver 10.98.7.8\n");
    node.write("/etc/hosts", "127.0.0.1 localhost\n");
    finish(node, &config, netns.command("env"), false)
}

pub fn containerd_late(lab: &Lab, name: &'static str) -> Seen {
    let (node, config) = attempt(lab, name);
    let socket = node.path("/run/containerd/containerd.sock");
    std::fs::remove_file(&socket).expect("the folder is the test's");
    let target = lab.runtime.socket();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_secs(4));
            std::fs::hard_link(target, socket).expect("both are where temporary files are");
        });
        let mut seen = finish(node, &config, netns::command_in(lab.control_plane.fact("pid"), "env"), false);
        seen.demand(seen.run.seconds >= 4.0, "it did not wait for the runtime");
        seen
    })
}

pub fn containerd(lab: &Lab, name: &str, silent: bool) -> Seen {
    let (node, mut config) = attempt(lab, name);
    config.agent = vec!["deadline: 8s".to_owned()];
    let socket = node.path("/run/containerd/containerd.sock");
    std::fs::remove_file(&socket).expect("the folder is the test's");
    // No program accepts the connections in its queue.
    let _listener = silent.then(|| UnixListener::bind(&socket).expect("the path is short enough"));
    finish(node, &config, netns::command_in(lab.control_plane.fact("pid"), "env"), false)
}

/// Runs in a separate mount namespace, after `mounts`.
pub fn mounted(lab: &Lab, name: &str, mounts: &str, ignored: &str) -> Seen {
    let (node, mut config) = attempt(lab, name);
    config.registration.push(format!("ignorePreflightErrors: {ignored}"));
    let mut prefix = netns::command_in(lab.control_plane.fact("pid"), "unshare");
    let script = format!("ROOT='{}'; {mounts} && exec \"$@\"", node.root().display());
    prefix.args(["--mount", "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", &script, "sh"]);
    // Its mounts end with it.
    finish(node, &config, prefix, true)
}

pub fn disk_full(lab: &Lab, name: &'static str) -> Seen {
    let mounts = "mount -t tmpfs -o size=64k tmpfs $ROOT/var && mkdir -p $ROOT/var/lib/kubelet $ROOT/var/lib/firstboot && { cat /dev/zero > $ROOT/var/fill || :; } 2>/dev/null";
    let mut seen = mounted(lab, name, mounts, "[DiskSpace,WritableFolders]");
    let message = seen.run.verdict["message"].as_str().unwrap_or_default().to_owned();
    seen.demand(message.contains("No space left on device"), "it does not say that the disk is full");
    seen
}
