//! Everything that goes wrong has an outcome of its own, within its time: the class and the exit code of the verdict. Where only the surroundings were
//! at fault, the same machine with the same config joins once they are well again. No run says a secret.

use std::os::unix::net::UnixListener;
use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kiln_tests::agent::{self, Config, Node, Run, Runtime};
use kiln_tests::audit;
use kiln_tests::authority::{Authority, Validity};
use kiln_tests::control_plane::{self, ControlPlane, TokenSpec};
use kiln_tests::island::{self, Island};
use kiln_tests::lab::lab;
use kiln_tests::liar::{Deed, Door, Liar};
use kiln_tests::workspace;
use serde_json::{Value, json};

/// Cases at a time: most of them wait.
const AT_ONCE: usize = 4;

const API: &str = "10.99.0.1:6443";
const INFO: &str = "GET /api/v1/namespaces/kube-public/configmaps/cluster-info";
const CONFIG: &str = "GET /api/v1/namespaces/kube-system/configmaps/kubeadm-config";
const WATCH: &str = "GET /apis/certificates.k8s.io/v1/certificatesigningrequests";
const REQUESTS: &str = "POST /apis/certificates.k8s.io/v1/certificatesigningrequests";

struct Lab {
    control_plane: ControlPlane,
    runtime: Runtime,
}

/// How a case must end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    Joined,
    /// With this class and exit code.
    Failed(&'static str, i32),
}

/// What a case left to look at.
struct Seen {
    run: Run,
    node: Node,
    /// Nothing but the surroundings was at fault: the same must succeed without the fault.
    heals: bool,
    token: String,
    problems: Vec<String>,
}

struct Case {
    name: &'static str,
    ends: Ends,
    /// Seconds that it may take.
    seconds: f64,
    work: fn(&Lab, &'static str) -> Seen,
}

const JOINED: Ends = Ends::Joined;
const UNREACHABLE: Ends = Ends::Failed("unreachable", 11);
const UNTRUSTED: Ends = Ends::Failed("untrusted", 12);
const CREDENTIAL: Ends = Ends::Failed("credential", 13);
const REFUSED: Ends = Ends::Failed("refused", 14);
const PENDING: Ends = Ends::Failed("pending", 15);
const CLOCK: Ends = Ends::Failed("clock", 16);
const HOST: Ends = Ends::Failed("host", 17);
const RUNTIME: Ends = Ends::Failed("runtime", 18);
const PREFLIGHT: Ends = Ends::Failed("preflight", 2);

/// Discovery is given 5 seconds, a call 5, the certificate 8 (see `attempt`); what is on top is for a busy machine.
const CASES: &[Case] = &[
    Case { name: "nothing", ends: JOINED, seconds: 5.0, work: |lab, name| plain(lab, name, |_| {}) },
    Case { name: "api-down", ends: UNREACHABLE, seconds: 8.0, work: |lab, name| on(lab, name, Island::of_api_server()) },
    Case { name: "api-in-a-black-hole", ends: UNREACHABLE, seconds: 9.0, work: |lab, name| on(lab, name, Island::black_hole()) },
    Case { name: "no-route", ends: UNREACHABLE, seconds: 8.0, work: |lab, name| on(lab, name, Island::new()) },
    Case { name: "api-takes-and-is-silent", ends: UNREACHABLE, seconds: 9.0, work: |lab, name| door(lab, name, Door::Silent) },
    Case { name: "api-resets", ends: UNREACHABLE, seconds: 8.0, work: |lab, name| door(lab, name, Door::Reset) },
    Case {
        name: "api-slow",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| lied(lab, name, |request, _| if request.contains("signingrequests") { Deed::Pass } else { Deed::Trickle(500) }),
    },
    Case {
        name: "429-once-each",
        ends: JOINED,
        seconds: 20.0,
        work: |lab, name| {
            let mut seen = lied(lab, name, |_, before| {
                if before > 0 { Deed::Pass } else { Deed::Answer("429 Too Many Requests", "Retry-After: 1\r\n", "") }
            });
            // Five kinds of requests are each put off for a second.
            seen.demand(seen.run.seconds >= 4.0, "Retry-After was not obeyed");
            seen
        },
    },
    Case {
        name: "500-once-each",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| lied(lab, name, |_, before| if before > 0 { Deed::Pass } else { broken() }),
    },
    Case { name: "500-for-ever", ends: UNREACHABLE, seconds: 8.0, work: |lab, name| lied(lab, name, |_, _| broken()) },
    Case {
        name: "500-for-ever-from-kubeadm-config",
        ends: UNREACHABLE,
        seconds: 9.0,
        work: |lab, name| lied(lab, name, |request, _| if request == CONFIG { broken() } else { Deed::Pass }),
    },
    Case {
        name: "500-for-ever-to-certificate-requests",
        ends: UNREACHABLE,
        seconds: 12.0,
        work: |lab, name| lied(lab, name, |request, _| if request == REQUESTS { broken() } else { Deed::Pass }),
    },
    Case {
        name: "half-a-body-once-each",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| lied(lab, name, |request, before| if before > 0 || request == REQUESTS || request == WATCH { Deed::Pass } else { Deed::Half }),
    },
    Case { name: "watch-silent-once", ends: JOINED, seconds: 25.0, work: watch_silent },
    Case {
        name: "half-a-body-for-ever",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| lied(lab, name, |request, _| if request == INFO { Deed::Half } else { Deed::Pass }),
    },
    Case {
        name: "reset-once-each",
        ends: JOINED,
        seconds: 12.0,
        work: |lab, name| lied(lab, name, |_, before| if before > 0 { Deed::Pass } else { Deed::Reset }),
    },
    Case { name: "answer-to-certificate-request-lost", ends: JOINED, seconds: 12.0, work: answer_lost },
    Case {
        name: "no-json",
        ends: UNREACHABLE,
        seconds: 8.0,
        work: |lab, name| lied(lab, name, |_, _| Deed::Answer("502 Bad Gateway", "", "<html>a load balancer without servers</html>")),
    },
    Case { name: "wrong-ca", ends: UNTRUSTED, seconds: 5.0, work: wrong_ca },
    Case {
        name: "wrong-pin",
        ends: UNTRUSTED,
        seconds: 5.0,
        work: |lab, name| plain(lab, name, |config| config.pin = format!("sha256:{}", "0123456789abcdef".repeat(4))),
    },
    Case {
        name: "bad-jws",
        ends: UNTRUSTED,
        seconds: 5.0,
        work: |lab, name| {
            lied(lab, name, |request, _| match request {
                INFO => Deed::Replace("https://10.99.0.1:6443".to_owned(), "https://10.99.0.9:6443".to_owned()),
                _ => Deed::Pass,
            })
        },
    },
    Case { name: "token-expired", ends: CREDENTIAL, seconds: 20.0, work: |lab, name| with_token(lab, name, TokenSpec { expires: Some(-60), ..TokenSpec::default() }) },
    Case { name: "token-without-signing", ends: CREDENTIAL, seconds: 20.0, work: |lab, name| with_token(lab, name, TokenSpec { signing: false, ..TokenSpec::default() }) },
    Case {
        name: "token-without-authentication",
        ends: CREDENTIAL,
        seconds: 5.0,
        work: |lab, name| with_token(lab, name, TokenSpec { authentication: false, ..TokenSpec::default() }),
    },
    Case { name: "token-unknown", ends: CREDENTIAL, seconds: 20.0, work: |lab, name| plain(lab, name, |config| config.token = "zzzzzz.0123456789abcdef".to_owned()) },
    Case { name: "token-of-powerless-group", ends: CREDENTIAL, seconds: 5.0, work: powerless },
    Case { name: "certificate-denied", ends: REFUSED, seconds: 8.0, work: |lab, name| judged(lab, name, Some("Denied"), Duration::ZERO, 20) },
    Case { name: "certificate-approved-late", ends: JOINED, seconds: 16.0, work: |lab, name| judged(lab, name, Some("Approved"), Duration::from_secs(8), 60) },
    Case { name: "certificate-never-approved", ends: PENDING, seconds: 9.0, work: |lab, name| judged(lab, name, None, Duration::ZERO, 5) },
    Case { name: "name-of-a-ready-node", ends: REFUSED, seconds: 5.0, work: |lab, name| name_taken(lab, name, true) },
    Case { name: "name-of-a-node-that-is-not-ready", ends: JOINED, seconds: 5.0, work: |lab, name| name_taken(lab, name, false) },
    Case { name: "clock-a-day-fast", ends: CLOCK, seconds: 5.0, work: |lab, name| clock(lab, name, Validity::EndedYesterday, -3) },
    Case { name: "clock-a-day-slow", ends: CLOCK, seconds: 5.0, work: |lab, name| clock(lab, name, Validity::BeginsTomorrow, 3) },
    Case { name: "clock-a-day-fast-by-the-date-alone", ends: CLOCK, seconds: 5.0, work: |lab, name| clock(lab, name, Validity::Now, -1) },
    Case { name: "clock-a-day-slow-by-the-date-alone", ends: CLOCK, seconds: 5.0, work: |lab, name| clock(lab, name, Validity::Now, 1) },
    Case { name: "server-certificate-expired", ends: UNTRUSTED, seconds: 5.0, work: |lab, name| clock(lab, name, Validity::EndedYesterday, 0) },
    Case { name: "dns-dead-and-not-needed", ends: JOINED, seconds: 5.0, work: |lab, name| dns(lab, name, API) },
    Case { name: "dns-dead-and-needed", ends: UNREACHABLE, seconds: 12.0, work: |lab, name| dns(lab, name, "api.lab.test:6443") },
    Case { name: "containerd-late", ends: JOINED, seconds: 12.0, work: containerd_late },
    Case { name: "containerd-absent", ends: RUNTIME, seconds: 12.0, work: |lab, name| containerd(lab, name, false) },
    Case { name: "containerd-silent", ends: RUNTIME, seconds: 12.0, work: |lab, name| containerd(lab, name, true) },
    Case { name: "disk-nearly-full", ends: PREFLIGHT, seconds: 5.0, work: |lab, name| mounted(lab, name, "mount -t tmpfs -o size=1M tmpfs $ROOT/var", "[]") },
    Case { name: "disk-full", ends: HOST, seconds: 8.0, work: disk_full },
    Case {
        name: "etc-read-only",
        ends: PREFLIGHT,
        seconds: 5.0,
        work: |lab, name| mounted(lab, name, "mount --bind $ROOT/etc $ROOT/etc && mount -o remount,ro,bind $ROOT/etc", "[]"),
    },
    Case {
        name: "etc-read-only-and-unchecked",
        ends: HOST,
        seconds: 8.0,
        work: |lab, name| mounted(lab, name, "mount --bind $ROOT/etc $ROOT/etc && mount -o remount,ro,bind $ROOT/etc", "[WritableFolders]"),
    },
];

fn broken() -> Deed {
    Deed::Answer("500 Internal Server Error", "", "{\"kind\":\"Status\",\"message\":\"etcdserver: request timed out\"}")
}

impl Seen {
    fn demand(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.problems.push(otherwise.to_owned());
        }
    }
}

/// A machine and its config, before the fault.
fn attempt(lab: &Lab, name: &str) -> (Node, Config) {
    let version = lab.control_plane.fact("version");
    let mut config = Config::new(&lab.control_plane, name);
    config.timeouts = (5, 5, 8);
    config.agent = vec!["deadline: 60s".to_owned()];
    (Node::new(name, version, &lab.runtime.socket()), config)
}

fn finish(node: Node, config: &Config, prefix: Command, heals: bool) -> Seen {
    node.configure(&config.text());
    let run = agent::run(node.join(prefix), Duration::from_secs(70));
    Seen { run, node, heals, token: config.token.clone(), problems: Vec::new() }
}

/// In the control plane's own network.
fn plain(lab: &Lab, name: &str, change: impl Fn(&mut Config)) -> Seen {
    let (node, mut config) = attempt(lab, name);
    change(&mut config);
    finish(node, &config, island::command_in(lab.control_plane.fact("pid"), "env"), false)
}

fn on(lab: &Lab, name: &str, island: Island) -> Seen {
    let (node, config) = attempt(lab, name);
    finish(node, &config, island.command("env"), true)
}

fn door(lab: &Lab, name: &str, door: Door) -> Seen {
    let island = Island::of_api_server();
    let identity = Authority::of(&lab.control_plane).server(&[island::API_ADDRESS], Validity::Now);
    let _liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, door, |_, _| Deed::Pass);
    on(lab, name, island)
}

fn lied(lab: &Lab, name: &str, judge: fn(&str, usize) -> Deed) -> Seen {
    let island = Island::of_api_server();
    let identity = Authority::of(&lab.control_plane).server(&[island::API_ADDRESS], Validity::Now);
    let _liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    on(lab, name, island)
}

/// The watch for the certificate is taken and never answered: another one must follow.
fn watch_silent(lab: &Lab, name: &'static str) -> Seen {
    let island = Island::of_api_server();
    let identity = Authority::of(&lab.control_plane).server(&[island::API_ADDRESS], Validity::Now);
    let judge = |request: &str, before: usize| if request == WATCH && before == 0 { Deed::Silence } else { Deed::Pass };
    let _liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    let (node, mut config) = attempt(lab, name);
    config.timeouts.2 = 40;
    finish(node, &config, island.command("env"), true)
}

fn answer_lost(lab: &Lab, name: &'static str) -> Seen {
    let mut seen = lied(lab, name, |request, before| if request == REQUESTS && before == 0 { Deed::Forget } else { Deed::Pass });
    let requests = agent::certificate_requests(&lab.control_plane, name);
    seen.demand(requests.len() == 1, &format!("{} certificate requests instead of one", requests.len()));
    seen
}

fn wrong_ca(lab: &Lab, name: &'static str) -> Seen {
    let island = Island::of_api_server();
    let identity = Authority::stranger().server(&[island::API_ADDRESS], Validity::Now);
    let liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, Door::Open, |_, _| Deed::Pass);
    let mut seen = on(lab, name, island);
    seen.demand(liar.requests().iter().all(|request| request.starts_with(INFO)), "it went on with a server that it does not trust");
    seen
}

fn with_token(lab: &Lab, name: &str, spec: TokenSpec) -> Seen {
    let token = lab.control_plane.create_token(&spec);
    plain(lab, name, |config| config.token.clone_from(&token))
}

/// A token that authenticates, of a group that may do nothing.
fn powerless(lab: &Lab, name: &'static str) -> Seen {
    with_token(lab, name, TokenSpec { groups: "system:bootstrappers:powerless".to_owned(), ..TokenSpec::default() })
}

/// A token whose certificate requests nobody approves by himself; `verdict` is said over the first one after `delay`.
fn judged(lab: &Lab, name: &'static str, verdict: Option<&str>, delay: Duration, limit: u32) -> Seen {
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

fn judge(lab: &Lab, user: &str, verdict: &str, delay: Duration) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(mut request) = certificate_requests(lab, |request| request["spec"]["username"] == user).pop() {
            std::thread::sleep(delay);
            request["status"] = json!({"conditions": [{"type": verdict, "status": "True", "reason": "Test", "message": "said the test"}]});
            let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{}/approval", request["metadata"]["name"].as_str().unwrap_or_default());
            let (code, answer) = lab.control_plane.api("PUT", &path, Some(&request));
            assert_eq!(code, 200, "{answer}");
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Lets the group `manual` do all that a joining node does; nobody approves its requests.
fn allow_manual_group(control_plane: &ControlPlane) {
    let group = json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:bootstrappers:manual"}]);
    let binding = |kind: &str, name: &str, role_kind: &str, role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "subjects": group,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}})
    };
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (name, role) in [("manual-bootstrap", "system:node-bootstrapper"), ("manual-nodes", "kubeadm:get-nodes")] {
        control_plane.create(&format!("{rbac}/clusterrolebindings"), &binding("ClusterRoleBinding", name, "ClusterRole", role));
    }
    let kubelet = match lab().kubernetes_minor() {
        24.. => "kubeadm:kubelet-config".to_owned(),
        minor => format!("kubeadm:kubelet-config-1.{minor}"),
    };
    for (name, role) in [("manual-config", "kubeadm:nodes-kubeadm-config"), ("manual-kubelet", kubelet.as_str())] {
        control_plane.create(&format!("{rbac}/namespaces/kube-system/rolebindings"), &binding("RoleBinding", name, "Role", role));
    }
}

fn certificate_requests(lab: &Lab, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let list = lab.control_plane.get("/apis/certificates.k8s.io/v1/certificatesigningrequests").expect("the API serves them");
    list["items"].as_array().into_iter().flatten().filter(|request| wanted(request)).cloned().collect()
}

fn name_taken(lab: &Lab, name: &'static str, ready: bool) -> Seen {
    lab.control_plane.create_node(name, ready);
    plain(lab, name, |_| {})
}

/// A server whose certificate and whose clock this machine's clock contradicts.
fn clock(lab: &Lab, name: &str, validity: Validity, days: i32) -> Seen {
    let island = Island::of_api_server();
    let identity = Authority::of(&lab.control_plane).server(&[island::API_ADDRESS], validity);
    let date = workspace::output("date", ["--utc", &format!("--date={days} days"), "+%a, %d %b %Y %H:%M:%S GMT"]).trim().to_owned();
    let judge = move |_: &str, _: usize| Deed::Date(date.clone());
    let _liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, Door::Open, judge);
    on(lab, name, island)
}

/// Name servers that never answer.
fn dns(lab: &Lab, name: &str, endpoint: &str) -> Seen {
    let island = Island::of_api_server();
    island.vanish("10.98.0.1/16");
    let identity = Authority::of(&lab.control_plane).server(&[island::API_ADDRESS], Validity::Now);
    let _liar = Liar::start(&island.pid(), API, &lab.control_plane, identity, Door::Open, |_, _| Deed::Pass);
    let (node, mut config) = attempt(lab, name);
    config.endpoint = endpoint.to_owned();
    node.write("/etc/resolv.conf", "nameserver 10.98.7.7\nnameserver 10.98.7.8\n");
    node.write("/etc/hosts", "127.0.0.1 localhost\n");
    finish(node, &config, island.command("env"), false)
}

fn containerd_late(lab: &Lab, name: &'static str) -> Seen {
    let (node, config) = attempt(lab, name);
    let socket = node.path("/run/containerd/containerd.sock");
    std::fs::remove_file(&socket).expect("the folder is the test's");
    let target = lab.runtime.socket();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_secs(4));
            std::os::unix::fs::symlink(target, socket).expect("the folder is the test's");
        });
        let mut seen = finish(node, &config, island::command_in(lab.control_plane.fact("pid"), "env"), false);
        seen.demand(seen.run.seconds >= 4.0, "it did not wait for the runtime");
        seen
    })
}

fn containerd(lab: &Lab, name: &str, silent: bool) -> Seen {
    let (node, mut config) = attempt(lab, name);
    config.agent = vec!["deadline: 8s".to_owned()];
    let socket = node.path("/run/containerd/containerd.sock");
    std::fs::remove_file(&socket).expect("the folder is the test's");
    // Nobody takes the connections from its queue.
    let _listener = silent.then(|| UnixListener::bind(&socket).expect("the path is short enough"));
    finish(node, &config, island::command_in(lab.control_plane.fact("pid"), "env"), false)
}

/// In a mount namespace of its own, behind `mounts`.
fn mounted(lab: &Lab, name: &str, mounts: &str, ignored: &str) -> Seen {
    let (node, mut config) = attempt(lab, name);
    config.registration.push(format!("ignorePreflightErrors: {ignored}"));
    let mut prefix = island::command_in(lab.control_plane.fact("pid"), "unshare");
    let script = format!("ROOT='{}'; {mounts} && exec \"$@\"", node.root().display());
    prefix.args(["--mount", "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", &script, "sh"]);
    // What it mounts is gone with it.
    finish(node, &config, prefix, true)
}

fn disk_full(lab: &Lab, name: &'static str) -> Seen {
    let mounts = "mount -t tmpfs -o size=64k tmpfs $ROOT/var && mkdir -p $ROOT/var/lib/kubelet $ROOT/var/lib/firstboot && { cat /dev/zero > $ROOT/var/fill || :; } 2>/dev/null";
    let mut seen = mounted(lab, name, mounts, "[DiskSpace,WritableFolders]");
    let message = seen.run.verdict["message"].as_str().unwrap_or_default().to_owned();
    seen.demand(message.contains("No space left on device"), "it does not say that the disk is full");
    seen
}

/// What a case shows that it should not: problems in words.
fn judge_case(lab: &Lab, case: &Case, seen: &Seen) -> Vec<String> {
    let mut problems = seen.problems.clone();
    let verdict = &seen.run.verdict;
    let ended = match case.ends {
        Ends::Joined => (json!("joined"), Value::Null, 0),
        Ends::Failed(class, exit) => (json!("failed"), json!(class), exit),
    };
    if (verdict["outcome"].clone(), verdict["class"].clone(), seen.run.code.unwrap_or(-1)) != ended {
        problems.push(format!("ended with {:?} instead of {:?}: {}", seen.run.code, case.ends, seen.run.output.trim()));
    }
    if verdict["exit"].as_i64() != seen.run.code.map(i64::from) {
        problems.push("the verdict's exit is not the exit code".to_owned());
    }
    if seen.run.seconds > workspace::patience(Duration::from_secs_f64(case.seconds)).as_secs_f64() {
        problems.push(format!("took {:.1} s instead of at most {} s", seen.run.seconds, case.seconds));
    }
    if seen.node.status()["outcome"] != verdict["outcome"] && case.name != "disk-full" {
        problems.push(format!("status.json says {} otherwise", seen.node.status()["outcome"]));
    }
    problems.extend(secrets_told(seen));
    if seen.heals && case.ends != Ends::Joined {
        problems.extend(not_healed(lab, seen));
    }
    problems
}

/// The token must not be said anywhere, nor lie where others can read it.
fn secrets_told(seen: &Seen) -> Vec<String> {
    let secret = seen.token.split('.').nth(1).expect("a token has two parts");
    let mut places = Vec::new();
    if seen.run.output.contains(secret) {
        places.push("the token is in the output".to_owned());
    }
    for (path, mode, bytes) in seen.node.tree() {
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if has(secret) && mode & 0o077 != 0 || has("PRIVATE KEY") && mode & 0o077 != 0 {
            places.push(format!("a secret lies in {path} ({mode:o})"));
        }
    }
    if seen.node.status().to_string().contains(secret) {
        places.push("the token is in status.json".to_owned());
    }
    places
}

fn not_healed(lab: &Lab, seen: &Seen) -> Option<String> {
    let again = agent::run(seen.node.join(island::command_in(lab.control_plane.fact("pid"), "env")), Duration::from_secs(70));
    (again.code != Some(0) || again.verdict["outcome"] != "joined").then(|| format!("without the fault it still fails: {}", again.output.trim()))
}

fn start() -> Option<Lab> {
    let version = &lab().versions["kubernetes"];
    if let Some(why) = control_plane::hindrance(version) {
        workspace::not_run("faults of the join", &why);
        return None;
    }
    let control_plane = ControlPlane::start(version);
    allow_manual_group(&control_plane);
    Some(Lab { runtime: Runtime::start(&control_plane), control_plane })
}

#[test]
fn every_fault_has_its_outcome_within_its_time() {
    let Some(lab) = start() else { return };
    let only = std::env::var("KILN_TEST_CASES").unwrap_or_default();
    let cases: Vec<&Case> = CASES.iter().filter(|case| only.is_empty() || only.split(',').any(|name| name == case.name)).collect();
    let (next, rows) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().expect("no holder panics").next() else { return };
                    // One that panics must not hide the others.
                    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        let seen = (case.work)(&lab, case.name);
                        (row(case, &seen), judge_case(&lab, case, &seen))
                    }));
                    let (row, problems) = judged.unwrap_or_else(|_| (case.name.to_owned(), vec!["the test itself panicked".to_owned()]));
                    rows.lock().expect("no holder panics").push((case.name, row, problems));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no holder panics");
    rows.sort_by_key(|row| CASES.iter().position(|case| case.name == row.0));
    let table: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
    workspace::say(&format!("fault                                 ends         exit     s  requests  message\n{}", table.join("\n")));
    workspace::say(&format!("{} requests in all", audit::calls_of(&lab.control_plane, "firstboot").len()));
    let problems: Vec<String> = rows.iter().flat_map(|row| row.2.iter().map(move |problem| format!("{}: {problem}", row.0))).collect();
    assert!(rows.len() == cases.len() && problems.is_empty(), "{}", problems.join("\n"));
}

fn row(case: &Case, seen: &Seen) -> String {
    let verdict = &seen.run.verdict;
    let word = verdict["class"].as_str().or(verdict["outcome"].as_str()).unwrap_or("?");
    let message: String = verdict["message"].as_str().unwrap_or_default().chars().take(160).collect();
    format!(
        "{:36}  {word:11}  {:4}  {:4.1}  {:8}  {message}",
        case.name,
        seen.run.code.unwrap_or(-1),
        seen.run.seconds,
        verdict["requests"].as_u64().unwrap_or_default()
    )
}
