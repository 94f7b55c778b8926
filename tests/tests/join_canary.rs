//! A marked token and the key of a join do not leak. They are not in the agent's output, logs, status or
//! checkpoint, in files that others can read, in its arguments or environment, or in a core. After the join,
//! the only trace on the disk is the key in the file that the kubelet reads.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_tests::agent::{self, Config, Node, Runtime};
use kiln_tests::canary::{self, ID, Marks, SECRET, Watched};
use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::kiln;
use kiln_tests::lab::lab;
use kiln_tests::netns;
use kiln_tests::workspace;
use testkit::not_run;

struct Lab {
    control_plane: ControlPlane,
    runtime: Runtime,
}

fn start() -> Option<Lab> {
    let version = &lab().versions["kubernetes"];
    if let Some(why) = control_plane::hindrance(version) {
        not_run("canaries of the join", &why);
        return None;
    }
    let control_plane = ControlPlane::start(version);
    canary::admit(&control_plane);
    Some(Lab { runtime: Runtime::start(&control_plane), control_plane })
}

impl Lab {
    fn node(&self, name: &str, change: impl Fn(&mut Config)) -> Node {
        let mut config = Config::new(&self.control_plane, name);
        config.token = format!("{ID}.{SECRET}");
        config.timeouts = (4, 4, 10);
        change(&mut config);
        let node = Node::new(name, self.control_plane.fact("version"), &self.runtime.socket());
        node.configure(&config.text());
        node
    }

    fn prefix(&self) -> Command {
        netns::command_in(self.control_plane.fact("pid"), "env")
    }
}

/// Files below `folder` that hold `secret`, with their modes.
fn places(folder: &Path, secret: &str) -> Vec<(String, u32)> {
    Marks::of(&[secret]).places(folder)
}

/// Watches a run from outside until it ends.
fn watched(node: &Node, command: Command) -> (agent::Run, Vec<String>) {
    let Watched { run, seen, looks } = Marks::of(&[SECRET]).watch(&node.root(), command);
    assert!(looks > 1, "the run was over before it was looked at");
    (run, seen)
}

/// Checks the agent's output, and the files that others can read.
fn assert_silent(node: &Node, run: &agent::Run, what: &str) {
    assert!(!Marks::of(&[SECRET]).are_in(run.output.as_bytes()), "{what}: the token is in the output");
    assert!(!run.output.contains("PRIVATE KEY"), "{what}: a key is in the output");
    for secret in [SECRET, "PRIVATE KEY"] {
        let open = Marks::of(&[secret]).open_places(&node.root());
        assert_eq!(open, [""; 0], "{what}: others can read a secret");
    }
}

/// The private key is in one file, and that one is closed; the token in none.
fn assert_clean(node: &Node, what: &str) {
    assert_eq!(places(&node.root(), SECRET), [], "{what}: the token is on the disk");
    // Absolute, as a node needs it.
    let current = fs::read_link(node.path("/var/lib/kubelet/pki/kubelet-client-current.pem"))
        .expect("a joined node has a certificate");
    let pem = fs::read_to_string(node.path(&current.display().to_string()))
        .expect("a joined node has a certificate");
    let (_, key) = pem.split_once("PRIVATE KEY-----\n").expect("the key lies beside its certificate");
    let line = key.lines().next().expect("a key has lines");
    let found = places(&node.root(), line);
    assert!(
        found.len() == 1
            && found[0].0.contains("/var/lib/kubelet/pki/kubelet-client-2")
            && found[0].1 == 0o600,
        "{what}: {found:?}"
    );
    assert_eq!(places(&node.root(), "PRIVATE KEY"), found, "{what}: another private key");
}

#[test]
fn secrets_are_nowhere_but_in_their_place() {
    let Some(lab) = start() else { return };
    a_dry_run_is_no_join(&lab);
    joins_leave_nothing(&lab);
    failures_tell_nothing(&lab);
    broken_configs_tell_nothing(&lab);
    a_core_holds_nothing(&lab);
}

fn a_dry_run_is_no_join(lab: &Lab) {
    let node = lab.node("dry", |_| {});
    let mut command = node.join(lab.prefix());
    command.arg("--dry-run");
    let (run, seen) = watched(&node, command);
    assert_eq!((run.code, run.verdict["outcome"].as_str()), (Some(0), Some("dry-run")), "{}", run.output);
    assert_eq!(seen, [""; 0]);
    assert_silent(&node, &run, "dry");
}

fn joins_leave_nothing(lab: &Lab) {
    for (name, own) in [("by-agent", "tlsBootstrap: agent"), ("at-length", "tlsBootstrap: agent")] {
        let node = lab.node(name, |config| config.agent = vec![own.to_owned()]);
        let mut command = node.join(lab.prefix());
        if name == "at-length" {
            command.args(["-v", "9"]);
        }
        let (run, seen) = watched(&node, command);
        assert_eq!(
            (run.code, run.verdict["outcome"].as_str()),
            (Some(0), Some("joined")),
            "{name}: {}",
            run.output
        );
        assert_eq!(seen, [""; 0], "{name}");
        assert_silent(&node, &run, name);
        assert_clean(&node, name);
    }
    let node = lab.node("by-kubelet", |config| config.agent = vec!["tlsBootstrap: kubelet".to_owned()]);
    let (run, seen) = watched(&node, node.join(lab.prefix()));
    assert_eq!((run.code, seen.len()), (Some(0), 0), "by-kubelet: {} {seen:?}", run.output);
    assert_silent(&node, &run, "by-kubelet");
    assert_eq!(places(&node.root(), SECRET), [], "by-kubelet: the token is on the disk");
    by_token_file(lab);
    by_unit(lab);
}

/// As the image's unit runs it, the config a file of the machine: it goes with its token.
fn by_unit(lab: &Lab) {
    let node = Node::new("by-unit", lab.control_plane.fact("version"), &lab.runtime.socket());
    let mut config = Config::new(&lab.control_plane, "by-unit");
    config.token = format!("{ID}.{SECRET}");
    node.provide(&config.text());
    let (run, seen) = watched(&node, node.run(lab.prefix()));
    assert_eq!((run.code, seen.len()), (Some(0), 0), "by-unit: {} {seen:?}", run.output);
    assert_silent(&node, &run, "by-unit");
    assert!(
        !node.path("/etc/firstboot/config.yaml").exists(),
        "by-unit: the config with its token is still there"
    );
    assert_clean(&node, "by-unit");
}

/// kubeadm's flags, the token from a file.
fn by_token_file(lab: &Lab) {
    let node = lab.node("by-token-file", |_| {});
    let folder = workspace::scratch();
    let file = folder.path().join("token");
    fs::write(&file, format!("{ID}.{SECRET}\n")).expect("the folder is the test's");
    let mut command = lab.prefix();
    command.arg(kiln::programs().join("firstboot")).args([
        "join",
        lab.control_plane.endpoint(),
        "--node-name",
        "by-token-file",
    ]);
    command.args(["--discovery-token-ca-cert-hash", lab.control_plane.pin()]);
    command
        .arg("--token-file")
        .arg(&file)
        .arg("--rootfs")
        .arg(node.root())
        .stdin(Stdio::null());
    let (run, seen) = watched(&node, command);
    assert_eq!((run.code, seen.len()), (Some(0), 0), "by-token-file: {} {seen:?}", run.output);
    assert_silent(&node, &run, "by-token-file");
    assert_clean(&node, "by-token-file");
}

fn failures_tell_nothing(lab: &Lab) {
    type Change = fn(&mut Config);
    let changes: &[(&str, Change)] = &[
        ("wrong-pin", |config| config.pin = format!("sha256:{}", "ab".repeat(32))),
        ("unknown-id", |config| config.token = format!("zzzzzz.{SECRET}")),
        ("nobody-there", |config| config.endpoint = "10.99.0.1:6444".to_owned()),
        ("no-name", |config| config.endpoint = "api.lab.test:6443".to_owned()),
        ("wrong-secret", |config| config.token = format!("{}.{SECRET}", config_id(config))),
    ];
    for (name, change) in changes {
        let token = lab.control_plane.token().to_owned();
        let node = lab.node(name, |config| {
            if *name == "wrong-secret" {
                config.token.clone_from(&token);
            }
            change(config);
        });
        let mut command = node.join(lab.prefix());
        command.args(["-v", "9"]);
        let (run, seen) = watched(&node, command);
        assert!(
            run.code.is_some_and(|code| code > 9) && run.verdict["outcome"] == "failed",
            "{name}: {}",
            run.output
        );
        assert_eq!(seen, [""; 0], "{name}");
        assert_silent(&node, &run, name);
        assert_eq!(places(&node.root(), SECRET), [], "{name}: the token is on the disk");
    }
}

fn config_id(config: &Config) -> String {
    config.token.split('.').next().unwrap_or_default().to_owned()
}

/// Mistakes in a config, right where the token stands.
fn broken_configs_tell_nothing(lab: &Lab) {
    let node = lab.node("broken", |_| {});
    let good = {
        let mut config = Config::new(&lab.control_plane, "broken");
        config.token = format!("{ID}.{SECRET}");
        config.text()
    };
    let token = format!("\"{ID}.{SECRET}\"");
    let replacements = [
        ("another form", format!("\"{ID}.{}\"", SECRET.to_uppercase())),
        ("too long", format!("\"{ID}.{SECRET}x\"")),
        ("no dot", format!("\"{ID}{SECRET}\"")),
        ("a list", format!("[\"{ID}.{SECRET}\"]")),
        ("a map", format!("{{value: \"{ID}.{SECRET}\"}}")),
        ("an open quote", format!("\"{ID}.{SECRET}")),
        ("a stray bracket", format!("{ID}.{SECRET}]: [")),
        ("twice", format!("{token}\n    token: {token}x")),
        ("an unknown field", format!("{token}\n    tokem: {token}\n    unsafe: [")),
        ("a tab", format!("{token}\n\t{token}: x")),
    ];
    let folder = workspace::scratch();
    for (what, replacement) in &replacements {
        let file = folder.path().join("config.yaml");
        fs::write(&file, good.replace(&token, replacement)).expect("the folder is the test's");
        let verbs: &[&[&str]] = &[
            &["config", "validate"],
            &["join", "--dry-run", "--config"],
            &["explain", "--config"],
            &["preflight", "--config"],
        ];
        for words in verbs {
            let mut command = lab.prefix();
            command
                .arg(kiln::programs().join("firstboot"))
                .args(*words)
                .arg(&file)
                .arg("--rootfs")
                .arg(node.root());
            let run = agent::run(command, Duration::from_secs(20));
            assert!(!Marks::of(&[SECRET]).are_in(run.output.as_bytes()), "{what}: {words:?} tells the token");
            // A config that is wrong is called wrong by the verb that is for that.
            assert!(
                run.code != Some(0) || words[0] != "config" || *what == "an unknown field",
                "{what}: {words:?} finds nothing wrong"
            );
        }
    }
}

/// Killed by a fault while it waits with token and key in memory.
fn a_core_holds_nothing(lab: &Lab) {
    if !canary::cores_are_left() {
        return not_run(
            "cores of the agent",
            "programs leave none in their folder here (/proc/sys/kernel/core_pattern)",
        );
    }
    let node = lab.node("core", |config| config.endpoint = "10.99.255.254:6443".to_owned());
    let folder = workspace::scratch();
    let mut command = node.join({
        let mut prefix = netns::command_in(lab.control_plane.fact("pid"), "prlimit");
        prefix.arg("--core=unlimited");
        prefix
    });
    let mut child = command
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the agent starts");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(matches!(child.try_wait(), Ok(None)), "the agent ended before it could be hit");
    assert!(canary::crash(child), "the agent was not hit");
    let found = places(folder.path(), SECRET);
    assert!(found.is_empty(), "a core holds the token: {found:?}");
}
