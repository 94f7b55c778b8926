//! The agent for Windows joins the real control plane, run by wine, up to the start of a stand-in for the
//! kubelet that records its command line. There is no container runtime: the check for it is ignored.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kiln_tests::agent::{self, Config, Dice};
use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::control_plane;
use kiln_tests::wine::Windows;
use kiln_tests::workspace;
use testkit::not_run;

const CONFIG: &str = "/ProgramData/firstboot/config.yaml";
const LABEL: &str = "kubeletExtraArgs: [{name: node-labels, value: 'pool=windows'}]";
const KUBELET: &str = r"SYSTEM\CurrentControlSet\Services\kubelet";
/// Random moments at which the agent is killed.
const MOMENTS: usize = 30;

/// The arguments that sig-windows-tools' script and image-builder's service give the kubelet, then the
/// agent's own; those of kubeadm-flags.env follow.
const ARGUMENTS: &str = r"--windows-service --cert-dir=C:\var\lib\kubelet\pki --config=C:\var\lib\kubelet\config.yaml --bootstrap-kubeconfig=C:\etc\kubernetes\bootstrap-kubelet.conf --kubeconfig=C:\etc\kubernetes\kubelet.conf --enable-debugging-handlers --cgroups-per-qos=false --enforce-node-allocatable= --resolv-conf= --windows-priorityclass=ABOVE_NORMAL_PRIORITY_CLASS";

fn machine(control_plane: &ControlPlane, name: &str) -> Windows {
    let machine = Windows::in_network(Some(control_plane.fact("pid")));
    let image = format!(r#"{{"variables": {{"kubernetes": "{}"}}}}"#, control_plane.fact("version"));
    machine.write("/usr/lib/kiln/image.json", image);
    machine.install_kubelet();
    let registration = vec!["ignorePreflightErrors: [CRI, Port-10250]".to_owned(), LABEL.to_owned()];
    let config = Config { registration, ..Config::new(control_plane, name) };
    machine.write(CONFIG, config.text());
    // Nothing here registers the node, which the stand-in only would.
    control_plane.create_node(name, false);
    machine
}

fn started(machine: &Windows) -> Vec<String> {
    let text = machine.text("/var/log/kubelet/started").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for_starts(machine: &Windows, count: usize) -> Vec<String> {
    let deadline = Instant::now() + workspace::patience(Duration::from_secs(60));
    loop {
        let lines = started(machine);
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "{lines:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_machine_joins_and_its_kubelet_gets_the_arguments_of_the_node_config() {
    let Some(control_plane) = control_plane("a join of Windows") else { return };
    let machine = machine(control_plane, "win-join");
    let run = machine.run(&["run"]);
    let verdict = agent::verdict(&run.text);
    assert_eq!((run.code, verdict["outcome"].as_str()), (Some(0), Some("joined")), "{}", run.text);

    let lines = wait_for_starts(&machine, 1);
    assert!(lines[0].starts_with(&format!(r"C:\k\kubelet.exe {ARGUMENTS} ")), "{}", lines[0]);
    for argument in [
        "--container-runtime-endpoint=npipe:////./pipe/containerd-containerd",
        "--hostname-override=win-join",
        "--node-labels=pool=windows",
    ] {
        assert!(lines[0].split(' ').any(|word| word == argument), "{argument}: {}", lines[0]);
    }
    assert_eq!(machine.value(KUBELET, "ImagePath").as_ref(), Some(&lines[0]));
    for (name, expected) in [("Start", "0x3"), ("Type", "0x10"), ("ObjectName", "LocalSystem")] {
        assert_eq!(machine.value(KUBELET, name).as_deref(), Some(expected), "{name}");
    }

    let config = machine.text("/var/lib/kubelet/config.yaml").unwrap();
    for line in ["C:/etc/kubernetes/pki/ca.crt", "C:/etc/kubernetes/manifests", "resolvConf: \"\""] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let flags = machine.text("/var/lib/kubelet/kubeadm-flags.env").unwrap();
    assert!(flags.starts_with("KUBELET_KUBEADM_ARGS=\"") && flags.contains("npipe:////./pipe/"), "{flags}");
    let kubeconfig = machine.text("/etc/kubernetes/kubelet.conf").unwrap();
    for line in ["client-certificate", "client-key"] {
        let line = format!("{line}: C:/var/lib/kubelet/pki/kubelet-client-current.pem");
        assert!(kubeconfig.contains(&line), "{line}: {kubeconfig}");
    }
    assert!(
        machine
            .text("/var/lib/kubelet/pki/kubelet-client-current.pem")
            .unwrap()
            .contains("CERTIFICATE")
    );
    assert_eq!(machine.text("/etc/kubernetes/pki/ca.crt").unwrap().trim(), control_plane.ca().trim());
    assert_eq!((machine.text(CONFIG), machine.text("/etc/kubernetes/bootstrap-kubelet.conf")), (None, None));
    assert!(!run.text.contains(control_plane.token().split('.').nth(1).unwrap()), "{}", run.text);

    // The next boot: nothing is done but to start the kubelet, which does not start by itself.
    machine.succeed("net.exe", &["stop", "kubelet"]);
    // Wine does not wait for its end.
    std::thread::sleep(workspace::patience(Duration::from_secs(2)));
    let again = machine.run(&["run"]);
    assert_eq!(agent::verdict(&again.text)["outcome"], "already-joined", "{}", again.text);
    assert_eq!(wait_for_starts(&machine, 2)[1], lines[0]);
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_that_is_killed_again_and_again_joins_with_one_certificate_request() {
    let Some(control_plane) = control_plane("a join of Windows that is killed") else { return };
    let name = "win-killed";
    let (machine, mut dice) = (machine(control_plane, name), Dice::new("the agent for Windows"));
    let mut was_running = 0;
    for _ in 0..MOMENTS {
        let mut command = machine.agent(&["run"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("wine starts");
        std::thread::sleep(Duration::from_secs_f64(dice.fraction() * 1.5));
        was_running += usize::from(matches!(child.try_wait(), Ok(None)));
        let _ = child.kill();
        child.wait().expect("a child can be waited for");
    }
    if was_running == 0 {
        not_run("a join of Windows that is killed", "every run ended before it was killed");
    }
    let run = machine.run(&["run"]);
    let outcome = agent::verdict(&run.text)["outcome"].clone();
    assert!(["joined", "already-joined"].iter().any(|word| outcome == *word), "{}", run.text);
    assert_eq!(agent::certificate_requests(control_plane, name).len(), 1);
    let lines = wait_for_starts(&machine, 1);
    assert!(lines.iter().all(|line| line == &lines[0]), "{lines:?}");
}
