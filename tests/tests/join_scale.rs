//! A thousand machines join one real API server at about the same time, as after a power cut or a scale-up.
//! All succeed, without a storm of requests. For comparison, some real kubeadm joins run beside them, as many
//! as a small machine can bear. `KILN_TEST_SCALE` is the number of agents (1000), `KILN_TEST_SCALE_SPREAD`
//! the seconds over which their starts are spread (30), `KILN_TEST_SCALE_KUBEADM` the number of kubeadm joins
//! (6).

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::agent::{Config, Node, Runtime, verdict};
use kiln_tests::audit::{self, Call};
use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::lab::lab;
use kiln_tests::lab_node::LabNode;
use kiln_tests::netns;
use kiln_tests::workspace;
use testkit::not_run;

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The results of one program's joins.
struct Joins {
    /// Seconds of each join, the delay of its start not counted.
    seconds: Vec<f64>,
    calls: Vec<Call>,
}

impl Joins {
    /// The share `part` of the joins took at most this long.
    fn within(&self, part: f64) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1]
    }

    fn row(&self, who: &str) -> String {
        let joins = self.seconds.len();
        let refused = self.calls.iter().filter(|call| call.code == 429 || call.code >= 500).count();
        format!(
            "{who:10} {joins:5} joins  p50 {:6.2} s  p99 {:6.2} s  longest {:6.2} s  {:5.2} requests each  {:4} requests in the busiest second  {refused} answered 429 or 5xx",
            self.within(0.5),
            self.within(0.99),
            self.within(1.0),
            self.calls.len() as f64 / joins as f64,
            audit::peak(&self.calls),
        )
    }
}

/// An agent on its machine; its output goes to a file.
struct Member {
    node: Node,
    child: Child,
    output: std::path::PathBuf,
}

fn agents(control_plane: &ControlPlane, runtime: &Runtime, count: usize, spread: usize) -> Joins {
    let folder = workspace::scratch();
    let socket = runtime.socket();
    let nodes: Vec<Node> = (0..count)
        .map(|number| {
            let name = format!("agent-{number:04}");
            let mut config = Config::new(control_plane, &name);
            config.timeouts = (300, 300, 300);
            config.agent = vec![format!("spread: {spread}s")];
            let node = Node::new(&name, control_plane.fact("version"), &socket);
            node.provide(&config.text());
            node
        })
        .collect();
    let started = Instant::now();
    let members: Vec<Member> =
        nodes.into_iter().map(|node| start(control_plane, node, folder.path())).collect();
    workspace::say(&format!("{count} agents were started within {:.1} s", started.elapsed().as_secs_f64()));
    let mut seconds = Vec::new();
    for mut member in members {
        let status = member.child.wait().expect("a child can be waited for");
        let said = std::fs::read_to_string(&member.output).unwrap_or_default();
        let verdict = verdict(&said);
        assert!(
            status.success() && verdict["outcome"] == "joined",
            "{}: {status} {said}",
            member.node.name()
        );
        assert!(
            verdict["requests"].as_u64().is_some_and(|requests| requests <= 12),
            "{}: {verdict}",
            member.node.name()
        );
        seconds.push(seconds_of_phases(&member.node));
    }
    workspace::say(&format!("the last of them had joined after {:.1} s", started.elapsed().as_secs_f64()));
    Joins { seconds, calls: audit::calls_of(control_plane, "firstboot") }
}

fn start(control_plane: &ControlPlane, node: Node, folder: &std::path::Path) -> Member {
    let output = folder.join(node.name());
    let file = std::fs::File::create(&output).expect("the folder is the test's");
    let mut command = node.run(netns::command_in(control_plane.fact("pid"), "env"));
    command
        .stdout(file.try_clone().expect("a file can be had twice"))
        .stderr(file)
        .stdin(Stdio::null());
    Member { child: command.spawn().expect("the agent starts"), output, node }
}

/// From the begin of the first phase to the end of the last.
fn seconds_of_phases(node: &Node) -> f64 {
    let status = node.status();
    let phases = status["phases"].as_array().cloned().unwrap_or_default();
    let begins = |phase: &serde_json::Value| phase["began"].as_f64().unwrap_or_default();
    let first = phases.first().map_or(0.0, begins);
    phases
        .last()
        .map_or(0.0, |phase| begins(phase) + phase["seconds"].as_f64().unwrap_or_default())
        - first
}

/// Runs real kubeadms at the same time, each on a separate machine with a kubelet, because the kubelet
/// requests the certificate.
fn kubeadms(control_plane: &ControlPlane, count: usize) -> Joins {
    let nodes: Vec<LabNode> = (0..count)
        .map(|number| {
            let name = format!("kubeadm-{number}");
            let node = LabNode::start(control_plane, &name, &[]);
            let mut config = Config::new(control_plane, &name);
            config.registration.push("ignorePreflightErrors: [SystemVerification, Swap]".to_owned());
            std::fs::write(node.path("/join.yaml"), kubeadm_form(&config.text()))
                .expect("the machine is the test's");
            node
        })
        .collect();
    let ended = std::thread::scope(|scope| {
        let runs: Vec<_> = nodes
            .iter()
            .map(|node| {
                scope.spawn(|| {
                    node.run(["kubeadm", "join", "--config", "/join.yaml"], Duration::from_secs(300))
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("the thread only waits")).collect::<Vec<_>>()
    });
    for run in &ended {
        assert_eq!(run.code, 0, "kubeadm: {}{}", run.stdout, run.stderr);
    }
    let mut calls = audit::calls_of(control_plane, "kubeadm");
    // kubectl-like calls of the lab's own kubeadm init are not of a join.
    calls.retain(|call| {
        call.user.starts_with("system:bootstrap:")
            || call.user == "system:anonymous"
            || call.user.starts_with("system:node:")
    });
    Joins { seconds: ended.iter().map(|run| run.seconds).collect(), calls }
}

/// Versions of kubeadm before 1.31 know no v1beta4 and no timeouts.
fn kubeadm_form(text: &str) -> String {
    if lab().kubernetes_minor() >= 31 {
        return text.to_owned();
    }
    text.lines()
        .filter(|line| !line.starts_with("timeouts:"))
        .map(|line| line.replace("v1beta4", "v1beta2") + "\n")
        .collect()
}

#[test]
fn a_thousand_machines_join_without_a_storm() {
    let version = &lab().versions["kubernetes"];
    if let Some(why) = control_plane::hindrance(version) {
        return not_run("joins at scale", &why);
    }
    let (count, spread) = (number("KILN_TEST_SCALE", 1000), number("KILN_TEST_SCALE_SPREAD", 30));
    let control_plane = ControlPlane::start(version);
    let kubeadm = kubeadms(&control_plane, number("KILN_TEST_SCALE_KUBEADM", 6));
    let runtime = Runtime::start(&control_plane);
    let firstboot = agents(&control_plane, &runtime, count, spread);
    workspace::say(&format!("{}\n{}", firstboot.row("firstboot"), kubeadm.row("kubeadm")));
    let requests = firstboot.calls.iter().filter(|call| call.is_certificate_request()).count();
    assert_eq!(requests, count, "each machine asks for one certificate");
    let each = firstboot.calls.len() as f64 / count as f64;
    assert!(each <= 7.0, "{each:.2} requests each: somebody storms");
}
