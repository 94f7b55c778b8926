//! Ubuntu's definition, built of an archive that the tests make in the shape of Ubuntu's: whole images, the
//! same to the last bit, that boot and join.
//!
//! Slow: `make test-long` runs it.

use std::fs;
use std::path::Path;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{
    assert_joined, control_plane, eventually, join_configuration, ready_node, verdict,
};
use kiln_tests::kiln::{self, Build};
use kiln_tests::lookalike_ubuntu::{self, LookalikeUbuntu};
use kiln_tests::pods::{self, Network};
use kiln_tests::qemu::{Machine, overlay};
use kiln_tests::workspace;
use serde_json::json;
use testkit::not_run;

const DEFINITION: &str = "images/ubuntu-24.04.toml";
const NODE: &str = "ubuntu-node";

/// Moves half of the locked packages from the mirror to a snapshot service, in the layout of Ubuntu's: below
/// one archive's name and the time.
fn let_half_leave_the_mirror(lock: &Path, mirror: &Path, service: &Path) {
    let lock: toml::Table = fs::read_to_string(lock).unwrap().parse().unwrap();
    let time = lock["base"]["snapshot"].as_str().expect("the lock names a snapshot");
    for package in lock["package"].as_array().unwrap().iter().step_by(2) {
        let path = package["path"].as_str().unwrap();
        let kept = service.join("ubuntu").join(time).join(path);
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::rename(mirror.join(path), kept).unwrap();
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn lookalike_ubuntu_gives_all_outputs_and_the_same_ones_when_half_of_its_packages_left_the_mirror() {
    if let Some(why) = lookalike_ubuntu::hindrance() {
        return not_run("whole images of a look-alike of Ubuntu's archive", &why);
    }
    let (archive, folder) = (LookalikeUbuntu::of_this_machine(), workspace::scratch());
    let path = |name: &str| folder.path().join(name);
    workspace::output("cp", ["-al".as_ref(), archive.mirror.as_os_str(), path("ubuntu").as_os_str()]);
    let lock = path("image.lock");
    let build = |name: &str| {
        Build::new(DEFINITION, &path(name))
            .lock(&lock)
            .cache(&path(&format!("{name}-store")))
            .arg(format!("--ubuntu-mirror={}", path("ubuntu").display()))
            .arg(format!("--ubuntu-keyring={}", archive.keyring.display()))
    };
    build("first").run();
    let_half_leave_the_mirror(&lock, &path("ubuntu"), &path("service"));
    build("second")
        .arg("--locked")
        .arg(format!("--ubuntu-snapshots={}", path("service").display()))
        .run();
    let sums = |name: &str| fs::read_to_string(path(name).join("SHA256SUMS")).unwrap();
    assert_eq!(sums("first"), sums("second"));
    for ending in [".raw", ".qcow2", "-oci/index.json", "-pxe/boot.ipxe"] {
        assert!(sums("first").contains(ending), "no {ending}: {}", sums("first"));
    }
    let locked = fs::read_to_string(&lock).unwrap();
    assert!(locked.contains("linux-modules-6") && !locked.contains("linux-modules-extra"), "{locked}");
    assert!(!locked.contains("6.12.0-1.1"), "a phase decided");
    assert_initrd(&path("first/ubuntu-24.04.initrd"));
}

/// The initrd has the modules of a virtual machine's disk, though Ubuntu has them in a package of their own
/// and compressed with zstd.
fn assert_initrd(initrd: &Path) {
    let listed = workspace::output(
        "sh",
        ["-euc".as_ref(), "zstd -dcq < \"$0\" | cpio -t --quiet".as_ref(), initrd.as_os_str()],
    );
    for file in ["init", "modules", "modules.alias", "lib/overlay.ko", "lib/virtio_blk.ko"] {
        assert!(listed.lines().any(|line| line == file), "no {file} in the initrd: {listed}");
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn lookalike_ubuntu_ports_are_locked_for_arm64() {
    if let Some(why) = lookalike_ubuntu::hindrance() {
        return not_run("a lock of a look-alike of Ubuntu's ports", &why);
    }
    let (archive, folder) = (LookalikeUbuntu::of_this_machine(), workspace::scratch());
    let definition = lookalike_ubuntu::base_alone(DEFINITION, folder.path());
    let locked = |arch: &str, words: &[String]| {
        let lock = definition.with_extension("lock");
        fs::remove_file(&lock).ok();
        kiln::succeed(lookalike_ubuntu::kiln_on_base("lock", &definition, arch).args(words));
        let lock: toml::Table = fs::read_to_string(&lock).unwrap().parse().unwrap();
        let name = |package: &toml::Value| package["name"].as_str().unwrap().to_owned();
        let packages = lock["package"].as_array().unwrap();
        let arches: std::collections::BTreeSet<_> = packages
            .iter()
            .map(|package| package["architecture"].as_str().unwrap().to_owned())
            .collect();
        (packages.iter().map(name).collect::<Vec<_>>(), arches)
    };
    let (names, arches) = locked("amd64", &archive.arguments());
    assert!(arches.contains("amd64"), "{arches:?}");
    let (of_ports, arches) = locked("arm64", &archive.arguments_of_ports());
    assert_eq!(of_ports, names);
    assert!(arches.iter().eq(["all", "arm64"]), "{arches:?}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn lookalike_ubuntu_for_hardware_has_microcode_in_front_of_its_initrd() {
    if let Some(why) = lookalike_ubuntu::hindrance() {
        return not_run("an image for hardware of a look-alike of Ubuntu's archive", &why);
    }
    let (archive, folder) = (LookalikeUbuntu::of_this_machine(), workspace::scratch());
    let lock = folder.path().join("metal.lock");
    let build = Build::new("images/ubuntu-24.04-metal.toml", &folder.path().join("out")).lock(&lock);
    let build = archive.arguments().iter().fold(build.arg("--set=outputs=[\"raw\"]"), Build::arg);
    build.run();
    assert!(fs::read_to_string(&lock).unwrap().contains("linux-modules-extra-6"));
    let initrd = fs::read(folder.path().join("out/ubuntu-24.04-metal.initrd")).unwrap();
    assert!(initrd.starts_with(b"070701"), "the initrd does not begin with an uncompressed archive");
    for (name, content) in [
        ("AuthenticAMD.bin", lookalike_ubuntu::AMD_MICROCODE),
        ("GenuineIntel.bin", lookalike_ubuntu::INTEL_MICROCODE),
    ] {
        let find = |text: &str| initrd.windows(text.len()).position(|part| part == text.as_bytes());
        let (path, at) = (find(&format!("kernel/x86/microcode/{name}\0")), find(content));
        assert!(path.is_some() && path < at && at.is_some_and(|at| at % 16 == 0), "{name}: {path:?}, {at:?}");
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn lookalike_ubuntu_boots_joins_and_confines_its_pods() {
    let _alone = workspace::exclusive("join-e2e");
    if let Some(why) = lookalike_ubuntu::hindrance() {
        return not_run("a look-alike of Ubuntu joins", &why);
    }
    let Some(control_plane) = control_plane("a look-alike of Ubuntu joins") else { return };
    let Some(machine) = Machine::new(NODE).uefi() else {
        return not_run("a look-alike of Ubuntu joins", "no UEFI firmware (package ovmf)");
    };
    let (archive, folder) = (LookalikeUbuntu::of_this_machine(), workspace::scratch());
    let image = kiln::joining_image_with("tests/images/ubuntu.toml", &archive.arguments());
    let disk = overlay(&image.file(".raw"), folder.path(), "disk", Some(8 << 30));
    let config = folder.path().join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {NODE}\n"))).unwrap();
    let machine = machine
        .memory(3072)
        .in_network_of(control_plane.fact("pid"))
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .disk(&disk);
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", NODE);
        ready_node(control_plane, NODE, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        assert!(!vm.lines().iter().any(|line| line.contains("Failed to start")), "a unit failed");
        assert_eq!(answer_of_a_pod(control_plane), "a pod of Ubuntu\n0");
        let line = "cat /proc/self/attr/apparmor/current || cat /proc/self/attr/current";
        let profile = pods::said_by(control_plane, NODE, "confined", line, Network::OfPods);
        assert_eq!(profile, "cri-containerd.apparmor.d (enforce)\n0");
        Ok(())
    });
}

/// What one pod gets from another.
fn answer_of_a_pod(control_plane: &ControlPlane) -> String {
    let line = "trap exit TERM; echo a pod of Ubuntu > /tmp/index.html; /bin/busybox httpd -f -p 8080 -h /tmp & wait";
    pods::create(control_plane, NODE, "web-of-ubuntu", line, &json!({}), &json!([{"containerPort": 8080}]));
    let address = eventually("a pod that runs", || {
        let status = &pods::read(control_plane, "web-of-ubuntu")["status"];
        let runs = status["containerStatuses"][0]["state"]["running"].is_object();
        match status["podIP"].as_str() {
            Some(address) if runs => Ok(address.to_owned()),
            _ => Err(status.clone()),
        }
    });
    pods::answer_to(control_plane, NODE, "asks-ubuntu", Network::OfPods, &format!("http://{address}:8080/"))
}
