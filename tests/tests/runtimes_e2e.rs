//! CRI-O and Docker instead of containerd, and crun instead of runc: a machine of each boots, joins a real
//! cluster and is Ready, runs and stops a sandbox by crictl, and pods run on it, from images that were
//! preloaded.
//!
//! Slow: `make test-long` runs it.

use std::fs;
use std::time::Duration;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{
    assert_joined, control_plane, eventually, join_configuration, ready_node, verdict,
};
use kiln_tests::kiln::{self, Image};
use kiln_tests::lab::{lab, runtimes};
use kiln_tests::pods::{self, Network};
use kiln_tests::qemu::{Machine, overlay};
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::not_run;

const SANDBOX: &[u8] = include_bytes!("../src/sandbox.sh");
const SANDBOX_UNIT: &str = "[Unit]\nAfter=firstboot.service\n[Service]\nType=oneshot\nStandardOutput=journal+console\n\
    ImportCredential=sandbox.sh\nExecStart=/bin/sh ${CREDENTIALS_DIRECTORY}/sandbox.sh\n";
const SANDBOX_PATIENCE: Duration = Duration::from_secs(240);

/// Adds a unit that runs and stops a sandbox with the image's crictl.
fn with_sandbox(machine: Machine) -> Machine {
    machine
        .credential("sandbox.sh", SANDBOX)
        .credential("systemd.extra-unit.sandbox.service", SANDBOX_UNIT.as_bytes())
        .credential("systemd.unit-dropin.multi-user.target", b"[Unit]\nWants=sandbox.service\n")
}

/// Boots `image` as the node `name`, with these lines in its node config, and looks at it when it is Ready by
/// the word of this runtime.
fn joins(
    control_plane: &ControlPlane,
    image: &Image,
    (name, lines): (&str, &str),
    runtime: &str,
    look: impl Fn(),
) {
    let folder = workspace::scratch();
    let disk = overlay(&image.file(".raw"), folder.path(), "disk", Some(8 << 30));
    let config = folder.path().join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {name}\n{lines}")))
        .expect("the folder is the test's");
    let machine = Machine::new(name)
        .memory(3072)
        .in_network_of(control_plane.fact("pid"))
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .disk(&disk);
    // The images have a crictl where the lab has one.
    let machine = if lab().versions.contains_key("crictl") { with_sandbox(machine) } else { machine };
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", name);
        let node = ready_node(control_plane, name, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        let version = node["status"]["nodeInfo"]["containerRuntimeVersion"].as_str().unwrap_or_default();
        assert!(version.starts_with(runtime), "{version}");
        assert!(!vm.lines().iter().any(|line| line.contains("Failed to start")), "a unit failed");
        if lab().versions.contains_key("crictl") {
            let said = vm.wait_for("sandbox-by-hand: ", workspace::patience(SANDBOX_PATIENCE))?;
            assert!(said.contains("ran, listed, stopped, removed;"), "{said}");
            workspace::say(&format!("{:.0} s after power-on: {said}", vm.age().as_secs_f64()));
        }
        look();
        workspace::say(&format!("{:.0} s after power-on: seen", vm.age().as_secs_f64()));
        Ok(())
    });
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_with_cri_o_and_crun_is_a_ready_node_and_runs_pods() {
    const WHAT: &str = "the node with CRI-O";
    let Some(control_plane) = control_plane(WHAT) else { return };
    let parts = runtimes();
    if !parts.versions.contains_key("cri-o") {
        return not_run(WHAT, "the lab has no CRI-O: see docs/lab.md");
    }
    if parts.minor("cri-o") != lab().kubernetes_minor() {
        return not_run(WHAT, "CRI-O and Kubernetes of the lab are of different minor versions");
    }
    let _alone = workspace::exclusive("join-e2e");
    let image = kiln::joining_image_with("tests/images/crio.toml", &parts.words(&["cri-o", "crun"]));
    joins(control_plane, &image, ("crio-node", ""), "cri-o://", || says(control_plane, "crio-node"));
}

/// A pod on `node` runs and is heard.
fn says(control_plane: &ControlPlane, node: &str) {
    let said = pods::said_by(control_plane, node, &format!("{node}-says"), "echo in a pod", Network::OfPods);
    assert_eq!(said, "in a pod\n0");
}

/// The pause image that the lab puts into images.
fn preloaded_pause() -> String {
    let preload = lab().preload(&workspace::root().join(kiln::JOIN));
    let pause = preload.split('"').find(|word| word.contains("/pause:"));
    pause.expect("the lab preloads the pause image").to_owned()
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_with_containerd_and_crun_is_a_ready_node_and_runs_pods() {
    const WHAT: &str = "the node with containerd and crun";
    let Some(control_plane) = control_plane(WHAT) else { return };
    let _alone = workspace::exclusive("join-e2e");
    let image = kiln::joining_image_with("tests/images/crun.toml", &runtimes().words(&["crun"]));
    joins(control_plane, &image, ("crun-node", ""), "containerd://", || says(control_plane, "crun-node"));
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_with_docker_is_a_ready_node_and_runs_pods() {
    const WHAT: &str = "the node with Docker";
    let Some(control_plane) = control_plane(WHAT) else { return };
    let parts = runtimes();
    // Kubelets until 1.23 have a driver of their own for it.
    let in_kubelet = lab().kubernetes_minor() < 24;
    let wanted: &[&str] = if in_kubelet { &["docker"] } else { &["docker", "cri-dockerd"] };
    if let Some(part) = wanted.iter().find(|part| !parts.versions.contains_key(**part)) {
        return not_run(WHAT, &format!("the lab has no {part}: see docs/lab.md"));
    }
    let _alone = workspace::exclusive("join-e2e");
    let image = kiln::joining_image_with("tests/images/docker.toml", &parts.words(wanted));
    // That driver takes the pause image from the kubelet's flag, which names that of the cluster's registry.
    let lines = if in_kubelet {
        format!("  kubeletExtraArgs: {{pod-infra-container-image: \"{}\"}}\n", preloaded_pause())
    } else {
        String::new()
    };
    joins(control_plane, &image, ("docker-node", &lines), "docker://", || says(control_plane, "docker-node"));
}

/// The distribution has gVisor's runsc alone, so containerd's own shim calls it. It sees the sandbox end, but
/// not a container in it: the pod runs on, and another one asks it.
#[test]
#[ignore = "slow: make test-long runs it"]
fn the_distributions_runsc_runs_a_pod_in_gvisor_by_containerds_own_shim() {
    const WHAT: &str = "a pod in gVisor";
    const NODE: &str = "runsc-node";
    let Some(control_plane) = control_plane(WHAT) else { return };
    if lab().versions["containerd"].starts_with("1.") {
        return not_run(WHAT, "the lab's containerd takes no section of its configuration from two files");
    }
    let _alone = workspace::exclusive("join-e2e");
    control_plane.create(
        "/apis/node.k8s.io/v1/runtimeclasses",
        &json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "gvisor"},
            "handler": "runsc"}),
    );
    let image = kiln::joining_image_with("tests/images/runsc.toml", &[]);
    joins(control_plane, &image, (NODE, ""), "containerd://", || {
        let version = "/bin/busybox cat /proc/version";
        let outside = pods::said_by(control_plane, NODE, "outside", version, Network::OfPods);
        let line = "/bin/busybox mkdir /said && /bin/busybox cat /proc/version > /said/kernel && \
            /bin/busybox dmesg >> /said/kernel && exec /bin/busybox httpd -f -p 8080 -h /said";
        let class = json!({"runtimeClassName": "gvisor"});
        pods::create(control_plane, NODE, "sandboxed", line, &class, &json!([]));
        let status = || pods::read(control_plane, "sandboxed")["status"].clone();
        // Each of them starts a program of sixty megabytes, which takes its time under emulation.
        let address = eventually("the sandbox", || {
            let status = status();
            status["podIP"].as_str().map(str::to_owned).ok_or(status)
        });
        eventually("the pod in the sandbox", || {
            let status = status();
            let ready = status["containerStatuses"][0]["ready"] == Value::Bool(true);
            if ready { Ok(()) } else { Err(status) }
        });
        let url = format!("http://{address}:8080/kernel");
        let said = pods::answer_to(control_plane, NODE, "asks-the-sandbox", Network::OfPods, &url);
        assert!(said.contains("Starting gVisor"), "{said}");
        workspace::say(&said);
        let version = outside.lines().next().unwrap_or_default();
        assert!(
            version.starts_with("Linux version ") && !said.contains(version),
            "{version} is the node's own"
        );
    });
}
