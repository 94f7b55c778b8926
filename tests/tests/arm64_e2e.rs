//! Images for arm64, built on this machine: the same each time, and nodes of a cluster.
//!
//! Slow: `make test-long` runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{assert_joined, control_plane, join_configuration, ready_node, verdict};
use kiln_tests::kiln::{self, Build, Image, JOIN};
use kiln_tests::lab::{self, Lab};
use kiln_tests::lookalike_ubuntu::{self, LookalikeUbuntu};
use kiln_tests::pods::{self, Network};
use kiln_tests::qemu::{Machine, PROGRAM_OF_ARM64, overlay};
use kiln_tests::workspace;
use testkit::not_run;

const NODE: &str = "arm64-node";

/// Why images for arm64 cannot be built here; none if they can.
fn hindrance() -> Option<String> {
    if let Some(program) = workspace::missing(&["arch-test", "aarch64-linux-gnu-gcc", PROGRAM_OF_ARM64]) {
        return Some(format!("no program {program} here: tools/install arm64"));
    }
    let runs = Command::new("arch-test")
        .arg("arm64")
        .output()
        .expect("the program starts")
        .status
        .success();
    (!runs).then(|| "this machine emulates no programs for arm64".to_owned())
}

/// Builds the image of [`JOIN`] for arm64 in `folder` with a store of its own.
fn build(lab: &Lab, folder: &Path, name: &str) -> Image {
    let output = folder.join(name);
    let preload = lab.preload(&workspace::root().join(JOIN));
    Build::with(lab, JOIN, &output)
        .arg("--layers-dir")
        .arg(workspace::root().join("layers"))
        .arg(format!("--set={preload}"))
        .arg("--set=outputs=[\"raw\"]")
        .lock(&folder.join("image.lock"))
        .cache(&folder.join(format!("{name}-store")))
        .run();
    Image::at(&output, JOIN)
}

/// The machine of an amd64 image would not even load these programs.
fn assert_boots_and_joins(image: &Image, folder: &Path, machine: Machine, control_plane: &ControlPlane) {
    let disk = overlay(&image.file(".raw"), folder, "disk", Some(8 << 30));
    let config = folder.join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {NODE}\n"))).unwrap();
    let machine = machine
        .in_network_of(control_plane.fact("pid"))
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .disk(&disk);
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", NODE);
        let node = ready_node(control_plane, NODE, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        assert_eq!(node["status"]["nodeInfo"]["architecture"], "arm64");
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/arch"], "arm64");
        let said = pods::said_by(control_plane, NODE, "machine", "/bin/busybox uname -m", Network::OfPods);
        assert_eq!(said, "aarch64\n0");
        Ok(())
    });
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn an_image_for_arm64_is_the_same_each_time_and_joins() {
    let what = "an image for arm64 joins";
    if let Some(why) = hindrance() {
        return not_run(what, &why);
    }
    let Some(machine) = Machine::arm64(NODE).uefi() else {
        return not_run(what, "no UEFI firmware for arm64 (package qemu-efi-aarch64)");
    };
    let lab = match lab::lab_of_arm64() {
        Ok(lab) => lab,
        Err(why) => return not_run(what, why),
    };
    let _alone = workspace::exclusive("join-e2e");
    let Some(control_plane) = control_plane(what) else { return };
    kiln::build_agent_for_arm64();
    let folder = workspace::scratch();
    let first = build(lab, folder.path(), "first");
    let second = build(lab, folder.path(), "second");
    let sums = |image: &Image| fs::read_to_string(image.folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&first), sums(&second));
    assert_boots_and_joins(&first, folder.path(), machine, control_plane);
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_base_of_ubuntu_for_arm64_is_the_same_each_time() {
    let what = "a look-alike of Ubuntu for arm64";
    if let Some(why) = hindrance().or_else(lookalike_ubuntu::hindrance) {
        return not_run(what, &why);
    }
    kiln::build_agent_for_arm64();
    let (archive, folder) = (LookalikeUbuntu::of_arm64(), workspace::scratch());
    let definition = lookalike_ubuntu::base_alone("images/ubuntu-24.04.toml", folder.path());
    let build = |name: &str| {
        let output = folder.path().join(name);
        let mut command = lookalike_ubuntu::kiln_on_base("build", &definition, "arm64");
        command.args(archive.arguments()).arg("--set=outputs=[\"raw\"]");
        command.arg("--set=layers=[\"boot\", \"node\", \"./runtime\", \"firstboot\"]");
        command.arg("--output-dir").arg(&output);
        kiln::succeed(command.arg("--cache-dir").arg(folder.path().join(format!("{name}-store"))));
        fs::read_to_string(output.join("SHA256SUMS")).unwrap()
    };
    let first = build("first");
    assert!(first.contains(".raw"), "{first}");
    assert_eq!(first, build("second"));
}
