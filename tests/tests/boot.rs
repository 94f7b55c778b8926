//! The images boot and run healthily: from a disk through UEFI and through a BIOS, over the network through
//! iPXE, and with the kernel loaded directly. Every boot is real: the shipped image, QEMU, the serial
//! console.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use kiln_tests::console::Failure;
use kiln_tests::kiln::{self, BUSYBOX, DEFAULT, Image};
use kiln_tests::lab::lab;
use kiln_tests::probe::{self, Facts, Then};
use kiln_tests::qemu::{Machine, Vm, overlay};
use kiln_tests::workspace;
use testkit::{TestServer, folder, not_run};

/// From the end of the report to power-off.
const POWER_OFF: Duration = Duration::from_secs(90);

/// From power-on to the initrd's last messages, without hardware virtualisation.
const BOOT: Duration = Duration::from_secs(240);

/// The report of a single boot.
fn one_report(vm: &mut Vm) -> Result<Facts, Failure> {
    let facts = probe::report(vm)?;
    vm.wait_exit(POWER_OFF)?;
    tell(vm, &facts);
    Ok(facts)
}

fn tell(vm: &Vm, facts: &Facts) {
    let used = facts["memory-used-kib"].parse::<u64>().unwrap_or_default() / 1024;
    let age = vm.age().as_secs();
    workspace::say(&format!(
        "booted: up after {} s of guest time, {used} MiB used, off after {age} s",
        facts["uptime"]
    ));
}

/// Checks that apply to every boot of every image.
fn assert_healthy(facts: &Facts) {
    let fact = |key: &str| {
        facts
            .get(key)
            .unwrap_or_else(|| panic!("the probe reported no {key}: {facts:#?}"))
            .as_str()
    };
    let failed: Vec<&str> = fact("failed")
        .split(';')
        .filter(|unit| !unit.is_empty() && *unit != "kubelet.service")
        .collect();
    assert!(failed.is_empty(), "failed units {failed:?}: {facts:#?}");
    assert!(matches!(fact("state"), "running" | "degraded" | "starting"), "systemd is not up: {facts:#?}");
    assert_eq!(fact("containerd"), "active", "{facts:#?}");
    assert_cri(facts);
    assert_eq!(
        (fact("write-root"), fact("write-usr")),
        ("refused", "refused"),
        "the root can be written: {facts:#?}"
    );
    assert_eq!((fact("write-etc"), fact("write-var")), ("writable", "writable"), "{facts:#?}");
    for folder in ["/home", "/mnt", "/opt", "/root", "/srv"] {
        assert_eq!(fact(&format!("write{folder}")), "writable", "{folder}: {facts:#?}");
    }
    assert!(fact("apparmor").starts_with("Y /"), "pods are not confined: {facts:#?}");
    assert_eq!(fact("core-pattern"), "|/bin/false", "{facts:#?}");
    assert_eq!(fact("ports"), "", "ports are open before the join: {facts:#?}");
    let root_options: Vec<&str> = fact("mount/").rsplit(' ').next().unwrap_or_default().split(',').collect();
    assert!(root_options.contains(&"ro"), "the root is not mounted read-only: {facts:#?}");
    assert!(fact("mount/etc").starts_with("overlay "), "/etc is not an overlay: {facts:#?}");
    let id = fact("machine-id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "no machine-id: {facts:#?}");
    assert!(
        fact("kubelet").contains("LoadState=loaded") && fact("kubelet").contains("UnitFileState=enabled"),
        "no kubelet: {facts:#?}"
    );
    assert!(
        fact("firstboot-result").contains("LoadState=loaded")
            && fact("firstboot-result").contains("Result=success"),
        "firstboot failed: {facts:#?}"
    );
    assert_eq!(fact("sysctls"), "net/ipv4/ip_forward=1;net/bridge/bridge-nf-call-iptables=1", "{facts:#?}");
    assert!(!fact("address").is_empty(), "no address from DHCP: {facts:#?}");
    for empty in ["swap", "host-keys", "passwords"] {
        assert_eq!(fact(empty), "", "{empty}: {facts:#?}");
    }
}

/// The runtime answers in the CRI version that the image's kubelet speaks, and to crictl where the image has
/// one.
fn assert_cri(facts: &Facts) {
    let service = if lab().kubernetes_minor() >= 26 { "cri-v1" } else { "cri-v1alpha2" };
    let serves = match facts[service].as_str() {
        "absent" => facts["ctr"].contains("cri") && facts["ctr"].contains("ok"),
        answer => answer.starts_with("containerd "),
    };
    assert!(serves, "containerd does not serve {service}: {facts:#?}");
    if lab().versions.contains_key("crictl") {
        assert!(
            facts["crictl"].contains("RuntimeName:  containerd"),
            "crictl cannot talk to containerd: {facts:#?}"
        );
    } else {
        assert_eq!(facts["crictl"], "absent", "the image has a crictl that nobody asked for");
    }
}

fn uefi(name: &str) -> Option<Machine> {
    let machine = Machine::new(name).uefi();
    if machine.is_none() {
        not_run(name, "no OVMF firmware here (package ovmf)");
    }
    machine
}

/// Both boots of a copy of the raw image that reboots once; shared by the tests below.
fn rebooted() -> Option<&'static [Facts; 2]> {
    static REPORTS: OnceLock<Option<[Facts; 2]>> = OnceLock::new();
    let boot = || {
        let machine = uefi("raw-uefi")?;
        let raw = kiln::image(DEFAULT).file(".raw");
        let folder = workspace::scratch();
        let machine = probe::install(machine, Then::RebootOnce)
            .disk(&overlay(&raw, folder.path(), "copy", None))
            .may_reboot();
        Some(machine.boot(|vm| {
            let first = probe::report(vm)?;
            let second = one_report(vm)?;
            Ok([first, second])
        }))
    };
    REPORTS.get_or_init(boot).as_ref()
}

/// A copy of the qcow2 image on a disk of twice its size, started by a BIOS.
fn enlarged() -> &'static Facts {
    static REPORT: OnceLock<Facts> = OnceLock::new();
    let boot = || {
        let image = kiln::image(DEFAULT);
        let folder = workspace::scratch();
        let disk = overlay(&image.file(".qcow2"), folder.path(), "large", Some(2 * disk_size(&image)));
        let machine = Machine::new("qcow2-bios-enlarged");
        probe::install(machine, Then::PowerOff).disk(&disk).boot(one_report)
    };
    REPORT.get_or_init(boot)
}

fn disk_size(image: &Image) -> u64 {
    image.file(".raw").metadata().expect("the raw image is a file").len()
}

#[test]
fn raw_disk_comes_up_through_uefi() {
    if let Some([first, _]) = rebooted() {
        assert_healthy(first);
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn etc_and_var_are_kept_over_a_reboot() {
    let Some([first, second]) = rebooted() else { return };
    assert_healthy(second);
    assert_ne!(first["boot-id"], second["boot-id"], "the machine did not reboot");
    assert_eq!(first["machine-id"], second["machine-id"], "the machine-id changed");
    assert_eq!(
        (first["kept-etc"].as_str(), first["kept-var"].as_str()),
        ("", ""),
        "the image carries state of a test"
    );
    assert_eq!(second["kept-etc"], first["machine-id"], "/etc was not kept");
    assert_eq!(second["kept-var"], first["boot-id"], "/var was not kept");
}

#[test]
fn qcow2_on_a_larger_disk_comes_up_through_a_bios_and_grows_var() {
    let large = enlarged();
    assert_healthy(large);
    let Some(small) = rebooted() else { return };
    let bytes = |facts: &Facts| facts["var-bytes"].parse::<u64>().expect("df prints a number");
    let (built, grown) = (bytes(&small[0]), bytes(large));
    // Nine tenths: ext4 keeps some of the added room for its own tables.
    let added = disk_size(&kiln::image(DEFAULT)) * 9 / 10;
    assert!(grown >= built + added, "/var has {grown} bytes on the larger disk, {built} on the smaller");
}

#[test]
fn two_copies_have_machine_ids_of_their_own() {
    if let Some([one, _]) = rebooted() {
        assert_ne!(one["machine-id"], enlarged()["machine-id"]);
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn disk_comes_up_with_the_kernel_loaded_directly() {
    let image = kiln::image(DEFAULT);
    let machine = Machine::new("direct-kernel").kernel(
        &image.file(".vmlinuz"),
        &image.file(".initrd"),
        &image.command_line(),
    );
    let machine = probe::install(machine, Then::PowerOff).snapshot(&image.file(".raw"));
    assert_healthy(&machine.boot(one_report));
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn of_two_disks_with_one_image_the_one_that_the_firmware_booted_is_the_root() {
    let Some(machine) = uefi("two-disks-of-one-image") else { return };
    let raw = kiln::image(DEFAULT).file(".raw");
    let machine = probe::install(machine, Then::PowerOff).snapshot(&raw).boot_disk(&raw);
    let facts = machine.boot(|vm| {
        vm.wait_for("vdb is taken: the firmware booted from it", BOOT)?;
        one_report(vm)
    });
    assert!(facts["mount/"].contains("/dev/vdb3") && facts["mount/var"].contains("/dev/vdb"), "{facts:#?}");
}

/// The machine runs from memory, without a disk.
fn network_boot(machine: Machine, server: &TestServer, script: &str) -> Facts {
    let machine = probe::install(machine.memory(3072), Then::PowerOff).netboot(script, None);
    let facts = machine.boot(one_report);
    let requests = server.lines();
    assert!(
        requests.iter().any(|request| request.ends_with("/vmlinuz")),
        "iPXE did not ask for the kernel: {requests:?}"
    );
    facts
}

/// Checks an image as its users do; the findings.
fn verified(image: &Path) -> String {
    let kiln = kiln::programs().join("kiln");
    let output = Command::new(kiln).arg("verify").arg(image).output().expect("kiln starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `kiln test` as its users call it.
#[test]
#[ignore = "slow: make test-long runs it"]
fn the_default_image_passes_the_tests_of_its_definition() {
    if let Some(program) = workspace::missing(&["debugfs"]) {
        return not_run("kiln test", &format!("no program {program} here"));
    }
    let _alone = workspace::exclusive("vm");
    let image = kiln::image(DEFAULT);
    let kiln = kiln::programs().join("kiln");
    let patience = workspace::patience(BOOT).as_secs().to_string();
    let output = Command::new(kiln)
        .args(["test", "--json", "--quiet", "--emulate", "--timeout", &patience])
        .arg(&image.folder)
        .output()
        .expect("kiln starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = said.lines().filter(|line| line.contains("\"passed\":true")).count();
    assert_eq!(passed, 4, "{said}");
}

#[test]
fn nothing_is_found_in_the_default_image() {
    if let Some(program) = workspace::missing(&["sqfs2tar", "mtype"]) {
        return not_run("verify", &format!("no program {program} here"));
    }
    for ending in [".raw", "-oci"] {
        let said = verified(&kiln::image(DEFAULT).file(ending));
        assert!(said.contains("nothing was found in "), "{ending}: {said}");
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn discs_and_unified_kernels_come_up_by_kiln_run() {
    let medium = "a disc and a unified kernel";
    if let Some(program) = workspace::missing(&["xorriso", "grub-mkimage"]) {
        return not_run(medium, &format!("no program {program} here"));
    }
    let folder = workspace::scratch();
    let output = folder.path().join("out");
    kiln::Build::new(DEFAULT, &output).arg("--set").arg("outputs=[\"iso\", \"uki\"]").run();
    let image = Image::at(&output, DEFAULT);
    let patience = workspace::patience(BOOT).as_secs().to_string();
    for (ending, firmware) in [(".iso", "bios"), (".iso", "uefi"), (".efi", "uefi")] {
        let mut run = Command::new(kiln::programs().join("kiln"));
        run.arg("run").arg(image.file(ending)).args(["--emulate", "--firmware", firmware]);
        run.args(["--until", "Reached target multi-user.target", "--timeout", &patience]);
        let started = std::time::Instant::now();
        kiln::succeed(&mut run);
        workspace::say(&format!("{ending} by {firmware}: up after {} s", started.elapsed().as_secs()));
    }
}

#[test]
fn network_boot_by_bios_ipxe_and_http_runs_from_memory() {
    let server = folder::serve(&kiln::image(DEFAULT).file("-pxe"));
    let script = format!("{}/boot.ipxe", folder::guest_url(&server));
    assert_healthy(&network_boot(Machine::new("pxe-bios-http"), &server, &script));
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn network_boot_by_uefi_ipxe_and_http_runs_from_memory() {
    let Some(machine) = uefi("pxe-uefi-http") else { return };
    let server = folder::serve(&kiln::image(DEFAULT).file("-pxe"));
    let script = format!("{}/boot.ipxe", folder::guest_url(&server));
    assert_healthy(&network_boot(machine, &server, &script));
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn preloaded_container_images_are_there_before_the_kubelet_and_run() {
    let image = kiln::image_with_containers(DEFAULT);
    let machine = Machine::new("preloaded").kernel(
        &image.file(".vmlinuz"),
        &image.file(".initrd"),
        &image.command_line(),
    );
    let facts = probe::install(machine, Then::PowerOff).snapshot(&image.file(".raw")).boot(one_report);
    assert_healthy(&facts);
    let unit = facts["preload"].as_str();
    assert!(
        unit.contains("ActiveState=active")
            && unit.contains("Result=success")
            && unit.contains("kubelet.service"),
        "{facts:#?}"
    );
    let images: Vec<&str> = facts["images"].split(';').collect();
    assert!(images.contains(&BUSYBOX), "{facts:#?}");
    assert!(images.iter().any(|image| image.starts_with("registry.k8s.io/pause:")), "{facts:#?}");
    assert_eq!(facts["pinned"], facts["images"], "the kubelet may delete preloaded images: {facts:#?}");
    // containerd 1.7 warns of what it deprecates first.
    assert!(facts["busybox"].ends_with("from the container"), "{facts:#?}");
    if facts["crictl"] != "absent" {
        assert_eq!(facts["sandbox"], "SANDBOX_READY", "{facts:#?}");
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn debian_12_comes_up_with_the_kernel_loaded_directly() {
    let image = kiln::image("images/debian-12.toml");
    let folder = workspace::scratch();
    let (machine, start) =
        probe::install_for_older(Machine::new("debian-12-direct-kernel"), Then::PowerOff, folder.path());
    let line = format!("{} {start}", image.command_line());
    let machine = machine
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &line)
        .snapshot(&image.file(".raw"));
    let facts = machine.boot(one_report);
    assert_healthy(&facts);
    assert!(facts["systemd"].starts_with("systemd 252"), "not Debian 12: {facts:#?}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn debian_12_reaches_its_target_through_uefi() {
    let Some(machine) = uefi("debian-12-raw-uefi") else { return };
    let raw = kiln::image("images/debian-12.toml").file(".raw");
    up_to_target(machine, &raw);
}

/// Debian 12's systemd takes no units from the firmware: the console's own messages must do.
fn up_to_target(machine: Machine, disk: &Path) {
    machine
        .snapshot(disk)
        .boot(|vm| vm.wait_for("Reached target multi-user.target", Duration::from_secs(420)));
}
