//! The node as an engineer judges it, on machines that joined a real cluster: the kernel for hardware on
//! emulated hardware, a second card without a cable, a wrong clock, many pods and the power button, network
//! boots and what pods may use of their memory.
//!
//! Slow: `make test-long` runs it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{
    assert_joined, eventually, join_configuration, lab_with_network, ready_node, verdict,
    verdict_once_the_clock_is_right,
};
use kiln_tests::kiln;
use kiln_tests::lab::lab;
use kiln_tests::lab_network::TAP;
use kiln_tests::pods::{self, Network};
use kiln_tests::qemu::{Machine, Vm, overlay};
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::not_run;

/// The default of `terminationGracePeriodSeconds`.
const GRACE: u64 = 30;
/// From the power button to power-off with pods that do not hear SIGTERM.
const POWER_OFF: Duration = Duration::from_secs(40);

/// A machine on the lab's own segment that gets its node config through fw_cfg.
fn machine(name: &str, control_plane: &ControlPlane, folder: &Path) -> Machine {
    let config = folder.join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {name}\n")))
        .expect("the folder is the test's");
    Machine::new(name)
        .in_network_of(control_plane.fact("pid"))
        .plugged_into(TAP)
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
}

/// Whether the kernel ended a process because the whole machine had no memory left.
fn ran_out_of_memory(vm: &Vm) -> bool {
    vm.lines().iter().any(|line| line.contains("Out of memory: Killed process"))
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_kernel_for_hardware_joins_with_a_wrong_clock_and_a_card_without_a_cable() {
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, _network)) = lab_with_network("the node on hardware") else { return };
    let (image, folder) = (kiln::joining_image_of("tests/images/metal.toml"), workspace::scratch());
    let disk = overlay(&image.file(".raw"), folder.path(), "disk", Some(8 << 30));
    let machine = machine("metal-node", control_plane, folder.path())
        .memory(4096)
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .disk_as(&disk, "nvme,serial=1")
        .card("e1000e")
        .second_card("spare")
        .clock_off_by(1);
    machine.boot(|vm| {
        vm.unplug("spare");
        let verdict = verdict_once_the_clock_is_right(vm)?;
        assert_joined(&verdict, "joined", "metal-node");
        let node = ready_node(control_plane, "metal-node", "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        let kernel = node["status"]["nodeInfo"]["kernelVersion"].as_str().unwrap_or_default();
        assert!(!kernel.contains("cloud") && kernel.ends_with("-amd64"), "{kernel}");
        assert!(!vm.lines().iter().any(|line| line.contains("Failed to start")), "a unit failed");
        let line = "cat /proc/self/attr/apparmor/current || cat /proc/self/attr/current";
        let profile = pods::said_by(control_plane, "metal-node", "confined", line, Network::OfPods);
        assert_eq!(profile, "cri-containerd.apparmor.d (enforce)\n0");
        Ok(())
    });
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn many_pods_that_do_not_hear_sigterm_do_not_hold_up_the_power_button() {
    if lab().kubernetes_minor() < 21 {
        return not_run("power-off with pods", "kubelets before 1.21 do not end pods at a shutdown");
    }
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, _network)) = lab_with_network("power-off with pods") else { return };
    let (image, folder) = (kiln::joining_image(), workspace::scratch());
    let disk = overlay(&image.file(".raw"), folder.path(), "disk", Some(8 << 30));
    let machine = machine("busy-node", control_plane, folder.path())
        .memory(6144)
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .disk(&disk);
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", "busy-node");
        ready_node(control_plane, "busy-node", "");
        let names: Vec<String> = (0..64).map(|number| format!("deaf-{number:02}")).collect();
        // A first process without a handler does not hear SIGTERM.
        let more = json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": GRACE});
        let started = Instant::now();
        // An emulated machine that starts all of them at once runs into the runtime's time limits.
        for wave in names.chunks(4) {
            for name in wave {
                pods::create(control_plane, "busy-node", name, "exec sleep 100000", &more, &json!([]));
            }
            for name in wave {
                eventually("a pod that runs", || {
                    let status = &pods::read(control_plane, name)["status"];
                    let runs = status["containerStatuses"][0]["state"]["running"].is_object();
                    if runs { Ok(()) } else { Err(status.clone()) }
                });
            }
            let seconds = started.elapsed().as_secs_f64();
            workspace::say(&format!("{} runs after {seconds:.0} s", wave.last().unwrap()));
        }
        workspace::say(&format!("64 pods run after {:.0} s", started.elapsed().as_secs_f64()));
        assert!(!ran_out_of_memory(vm));
        let pressed = Instant::now();
        vm.press_power_button();
        vm.wait_exit(POWER_OFF)?;
        workspace::say(&format!("off {:.1} s after the power button", pressed.elapsed().as_secs_f64()));
        Ok(())
    });
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn network_boots_keep_their_address_and_pods_within_their_requests_are_not_killed() {
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, network)) = lab_with_network("network boots of one machine") else { return };
    let (image, folder) = (kiln::joining_image(), workspace::scratch());
    let (set, line) = (image.file("-pxe"), image.network_command_line());
    let machine = machine("memory-node", control_plane, folder.path())
        .memory(3072)
        .uuid("4c4c4544-0042-3510-8052-b4c04f4e3209")
        .kernel(&set.join("vmlinuz"), &set.join("initrd"), &line);
    let mut boots: Vec<Value> = Vec::new();
    for _ in 0..2 {
        let boot = boots.last().and_then(|node| node["status"]["nodeInfo"]["bootID"].as_str());
        let boot = boot.unwrap_or_default().to_owned();
        boots.push(machine.boot(|vm| {
            assert_joined(&verdict(vm)?, "joined", "memory-node");
            let node = ready_node(control_plane, "memory-node", &boot);
            if !boot.is_empty() {
                uses_its_memory(control_plane, &node);
                assert!(!ran_out_of_memory(vm), "pods within their requests left the machine without memory");
            }
            Ok(node)
        }));
    }
    let machine_ids = boots.iter().map(|node| &node["status"]["nodeInfo"]["machineID"]);
    workspace::say(&format!("machine-ids {:?}", machine_ids.collect::<Vec<_>>()));
    assert_eq!(boots[0]["status"]["addresses"], boots[1]["status"]["addresses"]);
    assert_eq!(network.addresses().len(), 1, "a second boot took a second lease");
}

/// Two pods that request, and use, what the node offers, but for a small rest.
fn uses_its_memory(control_plane: &ControlPlane, node: &Value) {
    let offered = mebibytes(&node["status"]["allocatable"]["memory"]);
    let each = (offered - 64) / 2;
    workspace::say(&format!("{offered} MiB are offered to pods; two use {each} MiB each"));
    let rest = each - 8;
    let line = format!(
        "exec > /dev/termination-log; /bin/busybox dd if=/dev/zero bs={rest}M count=1 2>/dev/null | (sleep 20; /bin/busybox wc -c)"
    );
    let names = ["eats-a", "eats-b"];
    for name in names {
        pods::create_with_memory(control_plane, "memory-node", name, &line, each);
    }
    for name in names {
        assert_eq!(pods::end_of(control_plane, name), format!("{}\n0", rest << 20), "{name}");
    }
    let now = control_plane.get("/api/v1/nodes/memory-node").expect("the node is there");
    let conditions = now["status"]["conditions"].as_array().into_iter().flatten();
    for condition in conditions {
        let expected = if condition["type"] == "Ready" { "True" } else { "False" };
        assert_eq!(condition["status"], expected, "{condition}");
    }
}

/// A quantity of memory, as kubelets tell it.
fn mebibytes(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or_default();
    let kibibytes = text.strip_suffix("Ki").and_then(|number| number.parse::<u64>().ok());
    kibibytes.unwrap_or_else(|| panic!("a quantity in Ki, not {text:?}")) / 1024
}
