//! Kills the agent (SIGKILL) after each step in its checkpoint, after each new file, and at random moments,
//! and runs it again. The machine ends like an undisturbed one: the same files with the same modes and
//! contents except for keys, certificates and times, and one certificate request.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::agent::{self, Config, Dice, Node, Runtime};
use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::lab::lab;
use kiln_tests::netns;
use kiln_tests::workspace;
use serde_json::Value;
use testkit::not_run;

/// The steps in the order of the journal. On a machine that is a folder no kubelet is started.
const STEPS: &[&str] = &["preflight", "discovery", "cluster", "identity", "files", "cleanup"];

/// Files in the order in which they come, and links.
const FILES: &[&str] = &[
    "/var/lib/firstboot/journal.json",
    "/var/lib/kubelet/pki/.firstboot-client.key",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/var/lib/kubelet/config.yaml",
];

/// Random moments.
const MOMENTS: usize = 50;

struct Lab {
    control_plane: ControlPlane,
    runtime: Runtime,
}

/// When the agent is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// When this step stands in the journal.
    After(&'static str),
    /// When this file is there.
    With(&'static str),
    /// This long after its start.
    At(Duration),
}

fn start() -> Option<Lab> {
    let version = &lab().versions["kubernetes"];
    if let Some(why) = control_plane::hindrance(version) {
        not_run("joins that are killed", &why);
        return None;
    }
    let control_plane = ControlPlane::start(version);
    Some(Lab { runtime: Runtime::start(&control_plane), control_plane })
}

impl Lab {
    fn node(&self, name: &str) -> Node {
        let node = Node::new(name, self.control_plane.fact("version"), &self.runtime.socket());
        node.configure(&Config::new(&self.control_plane, name).text());
        node
    }

    fn prefix(&self) -> std::process::Command {
        netns::command_in(self.control_plane.fact("pid"), "env")
    }

    /// Runs the agent to its end: it must say `outcomes`.
    fn finish(&self, node: &Node, outcomes: &[&str]) -> f64 {
        let run = agent::run(node.join(self.prefix()), Duration::from_secs(60));
        let outcome = run.verdict["outcome"].as_str().unwrap_or_default();
        assert!(
            run.code == Some(0) && outcomes.contains(&outcome),
            "{}: {:?} {} {:#}",
            node.name(),
            run.code,
            run.output,
            node.journal()
        );
        run.seconds
    }

    /// Starts the agent and kills it; says whether it was still running.
    fn disturb(&self, node: &Node, kill: Kill) -> bool {
        let mut command = node.join(self.prefix());
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the agent starts");
        match kill {
            Kill::At(moment) => std::thread::sleep(moment),
            Kill::After(step) => wait_until(&mut child, step, || has_come(node, step)),
            Kill::With(path) => {
                wait_until(&mut child, path, || fs::symlink_metadata(node.path(path)).is_ok())
            }
        }
        let running = matches!(child.try_wait(), Ok(None));
        // It may have ended just now.
        let _ = child.kill();
        child.wait().expect("a child can be waited for");
        running
    }
}

fn has_come(node: &Node, step: &str) -> bool {
    let text = fs::read_to_string(node.path("/var/lib/firstboot/journal.json")).unwrap_or_default();
    text.replace(": ", ":").contains(&format!("\"phase\":\"{step}\""))
}

/// Looks as often as it can until `is_so`, or the agent has ended.
fn wait_until(child: &mut Child, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + workspace::patience(Duration::from_secs(60));
    while !is_so() && matches!(child.try_wait(), Ok(None)) {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::yield_now();
    }
}

/// The final state of a machine: one line for each file, without values that differ from run to run.
fn end_state(node: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, mode, bytes) in node.tree() {
        // Its machine, not the join's doing.
        if ["/etc/machine-id", "/etc/hostname"].contains(&path.as_str()) {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes).replace(node.name(), "<name>");
        let text = if path.ends_with("journal.json") { journal(&text) } else { without_pem(&text) };
        lines.push(format!("{} {mode:o} {}", without_time(&path), without_time(&text)));
    }
    lines.sort();
    lines
}

fn journal(text: &str) -> String {
    let value: Value = serde_json::from_str(text).expect("the journal is JSON");
    let phases: Vec<&str> = value["phases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|phase| phase["phase"].as_str())
        .collect();
    format!("{phases:?} joined={} node={}", value["joined"], value["node"])
}

fn without_pem(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        let marker = line.starts_with("-----");
        inside = line.starts_with("-----BEGIN ") || (inside && !marker);
        marker || !inside
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Digits of `kubelet-client-2026-11-24-11-34-00.pem` are the time.
fn without_time(text: &str) -> String {
    let mut pieces = text.split("kubelet-client-2");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |whole, piece| {
        whole
            + "kubelet-client-<time>"
            + piece.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-')
    })
}

/// The differences between a machine and an undisturbed one, as text; none if there are none.
fn differences(lab: &Lab, node: &Node, expected: &[String]) -> Vec<String> {
    let found = end_state(node);
    let mut problems = Vec::new();
    problems.extend(
        expected
            .iter()
            .filter(|line| !found.contains(line))
            .map(|line| format!("it lacks {line}")),
    );
    problems
        .extend(found.iter().filter(|line| !expected.contains(line)).map(|line| format!("it has {line}")));
    if problems.is_empty() && found.len() != expected.len() {
        problems.push(format!("something is there twice: {found:#?}"));
    }
    let requests = agent::certificate_requests(&lab.control_plane, node.name()).len();
    if requests != 1 {
        problems.push(format!("{requests} certificate requests"));
    }
    problems
}

#[test]
fn a_killed_join_ends_like_an_undisturbed_one() {
    let Some(lab) = start() else { return };
    let mut dice = Dice::new("moments of killing");
    let reference = lab.node("undisturbed");
    let whole = lab.finish(&reference, &["joined"]);
    let expected = end_state(&reference);
    assert!(
        expected.iter().any(|line| line.starts_with("/etc/kubernetes/kubelet.conf 600 ")),
        "{expected:#?}"
    );
    assert_eq!(lab.journal_steps(&reference), STEPS, "the journal's steps are others than this test's");

    let steps = STEPS.iter().map(|step| vec![Kill::After(step)]);
    let mut kills: Vec<Vec<Kill>> = steps.chain(FILES.iter().map(|path| vec![Kill::With(path)])).collect();
    for _ in 0..MOMENTS {
        let mut moment = || Kill::At(Duration::from_secs_f64(dice.fraction() * whole * 1.1));
        // Every third is killed a second time.
        let again = kills.len().is_multiple_of(3);
        kills.push(if again { vec![moment(), moment()] } else { vec![moment()] });
    }
    let (mut hits, mut problems) = (0, Vec::new());
    for (number, moments) in kills.iter().enumerate() {
        let node = lab.node(&format!("killed-{number:02}"));
        // Each is carried out, whether the one before hit or not.
        let struck: Vec<bool> = moments.iter().map(|moment| lab.disturb(&node, *moment)).collect();
        hits += usize::from(struck.contains(&true));
        let joined = node.journal()["joined"] == true;
        lab.finish(&node, if joined { &["already-joined", "joined"] } else { &["joined"] });
        let how = format!("killed {moments:?} of {whole:.3} s");
        problems
            .extend(differences(&lab, &node, &expected).iter().map(|problem| format!("{how}: {problem}")));
    }
    workspace::say(&format!(
        "an undisturbed join took {whole:.3} s; {hits} of {} were killed while they ran",
        kills.len()
    ));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(hits >= MOMENTS / 2, "too few were killed while they ran");
}

impl Lab {
    fn journal_steps(&self, node: &Node) -> Vec<String> {
        let journal = node.journal();
        journal["phases"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|phase| phase["phase"].as_str().map(str::to_owned))
            .collect()
    }
}
