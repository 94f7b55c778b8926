//! The agent for Windows joins the real control plane, run by wine, up to the start of a stand-in for the
//! kubelet that records its command line. There is no container runtime: the check for it is ignored.
//!
//! Tests named `lookalike_` have look-alikes of what only Windows has: its service of networks, and plugins
//! of CNI that run there. They prove what the agent asks of these, not what Windows does then.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::agent::{self, Config, Dice};
use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::control_plane;
use kiln_tests::wine::{Said, Windows};
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::not_run;

const CONFIG: &str = "/ProgramData/firstboot/config.yaml";
const LABEL: &str = "kubeletExtraArgs: [{name: node-labels, value: 'pool=windows'}]";
const KUBELET: &str = r"SYSTEM\CurrentControlSet\Services\kubelet";
const KUBE_PROXY: &str = r"SYSTEM\CurrentControlSet\Services\kube-proxy";
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

fn started(machine: &Windows, service: &str) -> Vec<String> {
    let text = machine.text(&format!("/var/log/{service}/started")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for_starts(machine: &Windows, service: &str, count: usize) -> Vec<String> {
    let deadline = Instant::now() + workspace::patience(Duration::from_secs(60));
    loop {
        let lines = started(machine, service);
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "{lines:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Stops services, as a shutdown would.
fn stop(machine: &Windows, services: &[&str]) {
    services.iter().for_each(|service| _ = machine.succeed("net.exe", &["stop", service]));
    // Wine does not wait for their end.
    std::thread::sleep(workspace::patience(Duration::from_secs(2)));
}

/// A machine whose image has kube-proxy as a service and flannel's layer of this name.
fn proxying(control_plane: &ControlPlane, name: &str, flannel: &str) -> Windows {
    let machine = machine(control_plane, name);
    machine.install_kube_proxy();
    machine.define_kube_proxy();
    let library = ["-shared", "-lole32"].map(str::to_owned);
    machine.install("computenetwork.c", &library, "/windows/system32/computenetwork.dll");
    let layer = workspace::root().join("layers").join(flannel);
    let config = std::fs::read(layer.join("net-conf.json")).expect("the layer has it");
    machine.write("/etc/kube-flannel/net-conf.json", config);
    machine
}

const PROXY: &str = r"C:\k\kube-proxy.exe --windows-service --config=C:\var\lib\kube-proxy\config.conf";
const PROXY_CONFIG: &str = "/var/lib/kube-proxy/config.conf";
const PROXY_CREDENTIAL: &str = "/var/lib/kube-proxy/kubeconfig.conf";

fn minor(control_plane: &ControlPlane) -> u16 {
    let minor = control_plane.fact("version").split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.expect("it is 1.N.P")
}

fn proxy_config(machine: &Windows) -> Value {
    serde_yaml_ng::from_str(&machine.text(PROXY_CONFIG).expect("it is written")).expect("it is YAML")
}

fn assert_outcome(said: &Said, code: i32, outcome: &str) -> Value {
    let verdict = agent::verdict(&said.text);
    assert_eq!((said.code, verdict["outcome"].as_str()), (Some(code), Some(outcome)), "{}", said.text);
    verdict
}

#[test]
fn lookalike_networks_are_made_and_kube_proxy_gets_the_clusters_configuration() {
    let Some(control_plane) = control_plane("kube-proxy on Windows") else { return };
    let machine = proxying(control_plane, "win-proxy", "windows-flannel-host-gw");
    let secret = "token: sha256~c4n4ryOfTheKubeconfig";
    machine.write(PROXY_CREDENTIAL, secret);
    let run = machine.run(&["run"]);
    assert_outcome(&run, 0, "joined");

    let line = format!("{PROXY} --hostname-override=win-proxy");
    assert_eq!(wait_for_starts(&machine, "kube-proxy", 1), std::slice::from_ref(&line));
    assert_eq!(machine.value(KUBE_PROXY, "ImagePath"), Some(line));

    // Kubeadm's own document, with what Windows needs.
    let map = "/api/v1/namespaces/kube-system/configmaps/kube-proxy";
    let map = control_plane.get(map).expect("kubeadm made it");
    let mut expected: Value =
        serde_yaml_ng::from_str(map["data"]["config.conf"].as_str().expect("it has the key")).expect("YAML");
    assert_eq!(expected["clusterCIDR"], "10.244.0.0/16", "{expected}");
    for (path, value) in [
        ("/mode", json!("kernelspace")),
        ("/hostnameOverride", json!("win-proxy")),
        ("/clientConnection/kubeconfig", json!("C:/var/lib/kube-proxy/kubeconfig.conf")),
        ("/winkernel/networkName", json!("cbr0")),
    ] {
        *expected.pointer_mut(path).unwrap_or_else(|| panic!("kubeadm's has no {path}")) = value;
    }
    expected["winkernel"]["enableDSR"] = json!(minor(control_plane) >= 33);
    if expected["featureGates"].is_null() {
        expected["featureGates"] = json!({});
    }
    assert_eq!(proxy_config(&machine), expected);

    let made: Value =
        serde_json::from_str(&machine.text("/hcn/1.json").expect("a network is made")).expect("JSON");
    assert_eq!((&made["Name"], &made["Type"]), (&json!("External"), &json!("L2Bridge")));
    let adapter = made.pointer("/Policies/0/Settings/NetworkAdapterName").and_then(Value::as_str);
    let said = format!("made the network External on the adapter {}", adapter.expect("it names one"));
    assert!(run.text.contains(&said), "{said}: {}", run.text);
    let secret = secret.trim_start_matches("token: ");
    assert!(!run.text.contains(secret) && !machine.text(PROXY_CONFIG).unwrap().contains(secret));

    // Later boots find the network and start both services, or say what does not run.
    stop(&machine, &["kube-proxy", "kubelet"]);
    machine.write("/k/kube-proxy.exe", "no program");
    let verdict = assert_outcome(&machine.run(&["run"]), 17, "failed");
    assert!(verdict["message"].as_str().is_some_and(|why| why.contains("kube-proxy")), "{verdict}");
    machine.install_kube_proxy();
    assert_outcome(&machine.run(&["run"]), 0, "already-joined");
    assert_eq!(wait_for_starts(&machine, "kube-proxy", 2).len(), 2);
    assert_eq!(wait_for_starts(&machine, "kubelet", 2).len(), 2);
    assert_eq!(machine.text("/hcn/2.json"), None);

    let reset = machine.run(&["reset", "--force"]);
    assert_eq!((reset.code, machine.text(PROXY_CONFIG)), (Some(0), None), "{}", reset.text);
    assert!(machine.text(PROXY_CREDENTIAL).is_some(), "it is the operator's");
}

#[test]
fn lookalike_host_local_gives_the_source_vip_and_kube_proxy_may_be_the_node() {
    let Some(control_plane) = control_plane("a source VIP on Windows") else { return };
    let machine = proxying(control_plane, "win-vip", "windows-flannel-vxlan");
    machine.install("host-local.c", &[], "/opt/cni/bin/host-local.exe");
    let own = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nwinkernel: {enableDSR: true}\n";
    machine.write(CONFIG, format!("{}---\n{own}", machine.text(CONFIG).expect("it is written")));
    let stale = r#"{"cniVersion":"0.3.0","ips":[{"version":"4","address":"10.99.0.2/24"}]}"#;
    machine.write("/k/SourceVip.json", stale);
    machine.write("/var/lib/cni/given", "");

    // Nodes may not do what kube-proxy does, and there is no kubeconfig: that is no joined node.
    let run = machine.run(&["run"]);
    let verdict = assert_outcome(&run, 13, "failed");
    let message = verdict["message"].as_str().unwrap_or_default();
    for words in ["C:/var/lib/kube-proxy/kubeconfig.conf is not there", "the role system:node-proxier"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(started(&machine, "kube-proxy"), [""; 0]);

    control_plane.create(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "nodes-proxy"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]}),
    );
    let run = machine.run(&["run"]);
    assert_outcome(&run, 0, "joined");
    assert_eq!(wait_for_starts(&machine, "kube-proxy", 1).len(), 1);

    let node = control_plane.get("/api/v1/nodes/win-vip").expect("the node is there");
    let subnet = node["spec"]["podCIDR"].as_str().expect("the cluster gives it").to_owned();
    let address = subnet.replace(".0/24", ".2");
    let config = proxy_config(&machine);
    assert_eq!(config["winkernel"]["sourceVip"], address.as_str(), "{config}");
    assert_eq!(config["winkernel"]["networkName"], "vxlan0");
    assert_eq!(config["winkernel"]["enableDSR"], true, "the node config says so");
    let is_alpha = minor(control_plane) < 33;
    assert_eq!(config["featureGates"], if is_alpha { json!({"WinDSR": true}) } else { json!({}) });
    assert_eq!(config["clientConnection"]["kubeconfig"], "C:/etc/kubernetes/kubelet.conf");
    let kept = machine.text("/k/SourceVip.json").expect("it is kept");
    assert!(kept.contains(&format!("\"{address}/24\"")), "{kept}");

    // Given back first: what was given to a file that is lost would be refused.
    let request = machine.text("/k/SourceVipRequest.json").expect("it is kept");
    let calls = machine.text("/var/log/cni").expect("it was asked");
    let call = |command| format!(r"{command} dummy dummy dummy C:\opt\cni\bin {request}");
    assert_eq!(calls.lines().collect::<Vec<_>>(), [call("DEL"), call("ADD")]);
    assert_real_plugin_gives(&request, &address);

    let overlay: Value = serde_json::from_str(&machine.text("/hcn/1.json").expect("made")).expect("JSON");
    let vsid = overlay.pointer("/Ipams/0/Subnets/0/Policies/0/Settings/IsolationId");
    assert_eq!((&overlay["Type"], vsid), (&json!("Overlay"), Some(&json!(9999))));
}

/// The plugin of Linux answers the same request with the same address.
fn assert_real_plugin_gives(request: &str, address: &str) {
    let plugin = Path::new("/usr/lib/cni/host-local");
    if !plugin.is_file() {
        return not_run("host-local answers the request of a source VIP", "it is not installed");
    }
    let folder = workspace::scratch();
    let request = request.replace("/var/lib/cni/networks", &folder.path().display().to_string());
    let mut command = Command::new(plugin);
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"] {
        command.env(name, "dummy");
    }
    command.env("CNI_COMMAND", "ADD").env("CNI_PATH", "/usr/lib/cni");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("it is a pipe").write_all(request.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it answers in JSON");
    assert_eq!(answer["ips"][0]["address"], format!("{address}/24"), "{answer}");
}

#[test]
fn a_machine_joins_and_its_kubelet_gets_the_arguments_of_the_node_config() {
    let Some(control_plane) = control_plane("a join of Windows") else { return };
    let machine = machine(control_plane, "win-join");
    let run = machine.run(&["run"]);
    let verdict = agent::verdict(&run.text);
    assert_eq!((run.code, verdict["outcome"].as_str()), (Some(0), Some("joined")), "{}", run.text);

    let lines = wait_for_starts(&machine, "kubelet", 1);
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
    stop(&machine, &["kubelet"]);
    let again = machine.run(&["run"]);
    assert_eq!(agent::verdict(&again.text)["outcome"], "already-joined", "{}", again.text);
    assert_eq!(wait_for_starts(&machine, "kubelet", 2)[1], lines[0]);
}

#[test]
fn a_machine_restarts_for_its_features_before_it_asks_the_cluster_and_then_joins() {
    let Some(control_plane) = control_plane("a join of Windows with a restart") else { return };
    let name = "win-features";
    let machine = machine(control_plane, name);
    machine.ask_for_features(&["Containers"]);
    let run = machine.run(&["run"]);
    let verdict = agent::verdict(&run.text);
    assert_eq!((run.code, &verdict["outcome"]), (Some(0), &"restart".into()), "{}", run.text);
    assert_eq!(
        (agent::certificate_requests(control_plane, name).len(), started(&machine, "kubelet").len()),
        (0, 0)
    );
    assert!(machine.text(CONFIG).is_some(), "the config is needed after the restart");

    machine.restart();
    let run = machine.run(&["run"]);
    assert_eq!(agent::verdict(&run.text)["outcome"], "joined", "{}", run.text);
    assert!(run.text.contains("an earlier run was interrupted after the start: resuming"), "{}", run.text);
    assert_eq!(agent::certificate_requests(control_plane, name).len(), 1);
    wait_for_starts(&machine, "kubelet", 1);

    let calls = machine.text("/dism/called");
    machine.restart();
    let run = machine.run(&["run"]);
    assert_eq!(agent::verdict(&run.text)["outcome"], "already-joined", "{}", run.text);
    assert_eq!(machine.text("/dism/called"), calls, "a node is not asked for features again");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_that_is_killed_again_and_again_joins_with_one_certificate_request() {
    let Some(control_plane) = control_plane("a join of Windows that is killed") else { return };
    let name = "win-killed";
    let (machine, mut dice) = (machine(control_plane, name), Dice::new("the agent for Windows"));
    machine.ask_for_features(&["Containers", "Microsoft-Hyper-V"]);
    let mut was_running = 0;
    for moment in 0..MOMENTS {
        // Also between what a run asked of Windows and the restart.
        if moment % 5 == 4 {
            machine.restart();
        }
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
    machine.restart();
    let mut run = machine.run(&["run"]);
    if agent::verdict(&run.text)["outcome"] == "restart" {
        machine.restart();
        run = machine.run(&["run"]);
    }
    let outcome = agent::verdict(&run.text)["outcome"].clone();
    assert!(["joined", "already-joined"].iter().any(|word| outcome == *word), "{}", run.text);
    assert_eq!(agent::certificate_requests(control_plane, name).len(), 1);
    let lines = wait_for_starts(&machine, "kubelet", 1);
    assert!(lines.iter().all(|line| line == &lines[0]), "{lines:?}");
}
