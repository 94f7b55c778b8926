//! Machines of a rack, without a cloud: `kiln serve` beside a real DHCP server boots them by iPXE, or
//! installs them, and a disc installs them; each then joins a real cluster and its node is Ready.
//!
//! Slow: `make test-long` runs it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::console::Failure;
use kiln_tests::control_plane::{ControlPlane, TokenSpec};
use kiln_tests::join_support::{
    assert_joined, control_plane, eventually, join_configuration, lab_with_network, ready_node, verdict,
    verdict_once_the_clock_is_right,
};
use kiln_tests::kiln::{self, Image};
use kiln_tests::lab_network::{SERVER, TAP};
use kiln_tests::qemu::{Machine, Vm, overlay};
use kiln_tests::workspace;
use serde_json::Value;
use testkit::{folder, not_run};

const IMAGE: &str = "tests/images/installer.toml";

/// An empty disk of a machine.
const DISK: u64 = 8 << 30;

/// From power-on to the end of an installation, without hardware virtualisation.
const INSTALLATION: Duration = Duration::from_secs(400);

/// The power-off behind it.
const POWER_OFF: Duration = Duration::from_secs(90);

/// A running `kiln serve`; it ends when dropped.
struct Rack<'a> {
    control_plane: &'a ControlPlane,
    server: Child,
    folder: PathBuf,
}

impl<'a> Rack<'a> {
    /// A server on the addresses that DHCP tells, with a node config for each machine, whose token is the
    /// next of `tokens`.
    fn start(
        control_plane: &'a ControlPlane,
        image: &Image,
        folder: &Path,
        (node, tokens): (&str, &[String]),
        more: &[&str],
    ) -> Self {
        let at = |name: &str| folder.join(name);
        let own = control_plane.token();
        let config = join_configuration(control_plane, &format!("  name: {node}\n"));
        let config = config.replace(own, "${token}");
        assert!(config.contains("${token}"), "{config}");
        let next = format!("#!/bin/sh\nhead -n 1 {0}; sed -i 1d {0}\n", at("tokens").display());
        fs::write(at("config.yaml"), config)
            .and_then(|()| fs::write(at("tokens"), tokens.join("\n") + "\n"))
            .and_then(|()| fs::write(at("next"), next))
            .and_then(|()| fs::set_permissions(at("next"), fs::Permissions::from_mode(0o755)))
            .expect("the folder is the test's");
        let server = control_plane
            .command(kiln::programs().join("kiln"))
            .arg("serve")
            .arg(&image.folder)
            .args(["--listen", &format!("{SERVER}:80"), "--https-listen", &format!("{SERVER}:443")])
            .arg("--config")
            .arg(at("config.yaml"))
            .arg("--state")
            .arg(at("state"))
            .args(more)
            .arg("--token-command")
            .arg(at("next"))
            .stdin(Stdio::null())
            .stdout(File::create(at("said")).expect("the folder is the test's"))
            .spawn()
            .expect("kiln starts");
        let rack = Self { control_plane, server, folder: folder.to_owned() };
        eventually("the server", || rack.status().map(drop).ok_or(Value::Null));
        rack
    }

    /// The machines that the server knows.
    fn status(&self) -> Option<Value> {
        let url = format!("http://{SERVER}/status.json");
        let output = self
            .control_plane
            .command("curl")
            .args(["--silent", "--fail", "--max-time", "5", "--noproxy", "*", &url])
            .output()
            .expect("curl starts");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The only machine, once it is in this phase.
    fn machine_in(&self, phase: &str) -> Value {
        eventually(&format!("the phase {phase}"), || {
            let status = self.status().unwrap_or_default();
            let machines = status["machines"].as_array().cloned().unwrap_or_default();
            match &machines[..] {
                [machine] if machine["phase"] == phase => Ok(machine.clone()),
                _ => Err(status),
            }
        })
    }
}

impl Drop for Rack<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        if std::thread::panicking() {
            let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
            workspace::say(&format!("kiln serve said:\n{said}"));
        }
    }
}

/// A machine without a disk in the network of the rack.
fn machine(name: &str, control_plane: &ControlPlane) -> Machine {
    Machine::new(name)
        .memory(3072)
        .uuid("4c4c4544-0042-3510-8052-b4c04f4e3a01")
        .in_network_of(control_plane.fact("pid"))
        .plugged_into(TAP)
}

fn tokens(control_plane: &ControlPlane, count: usize) -> Vec<String> {
    (0..count).map(|_| control_plane.create_token(&TokenSpec::default())).collect()
}

fn empty_disk(folder: &Path) -> PathBuf {
    let path = folder.join("disk.qcow2");
    workspace::output(
        "qemu-img",
        ["create", "-q", "-f", "qcow2", path.to_str().expect("a plain path"), &DISK.to_string()],
    );
    path
}

fn ready(vm: &Vm, control_plane: &ControlPlane, node: &str, boot_before: &str) -> String {
    let node_now = ready_node(control_plane, node, boot_before);
    workspace::say(&format!("{node}: Ready {:.0} s after power-on", vm.age().as_secs_f64()));
    node_now["status"]["nodeInfo"]["bootID"].as_str().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_booted_by_kiln_serve_is_ready_each_time_with_a_token_of_its_own() {
    const NODE: &str = "served";
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, _network)) = lab_with_network("kiln serve") else { return };
    let (image, folder) = (kiln::joining_image_of(IMAGE), workspace::scratch());
    // More than two: the emulator's known fault lets a machine ask again.
    let tokens = tokens(control_plane, 8);
    let rack = Rack::start(control_plane, &image, folder.path(), (NODE, &tokens), &[]);
    let machine = machine(NODE, control_plane).args(["-boot", "n"]);
    let mut boot_before = String::new();
    let mut users = Vec::new();
    for _ in 0..2 {
        let before = control_plane.requests(None).len();
        boot_before = machine.boot(|vm| {
            assert_joined(&verdict_once_the_clock_is_right(vm)?, "joined", NODE);
            Ok(ready(vm, control_plane, NODE, &boot_before))
        });
        let joined = rack.machine_in("joined");
        assert_eq!(joined["node"], NODE, "{joined}");
        let requests = control_plane.requests(None).split_off(before);
        let by = requests.into_iter().map(|request| request.user);
        users.push(by.filter(|user| user.starts_with("system:bootstrap:")).collect::<BTreeSet<_>>());
    }
    let given: BTreeSet<String> =
        tokens.iter().map(|token| format!("system:bootstrap:{}", &token[..6])).collect();
    assert!(users.iter().all(|of_boot| !of_boot.is_empty() && of_boot.is_subset(&given)), "{users:?}");
    assert!(users[0].is_disjoint(&users[1]), "{users:?}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_installed_by_kiln_serve_boots_from_its_disk_and_is_ready() {
    const NODE: &str = "installed";
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, _network)) = lab_with_network("installation by the network") else { return };
    let (image, folder) = (kiln::joining_image_of(IMAGE), workspace::scratch());
    let tokens = tokens(control_plane, 4);
    let rack =
        Rack::start(control_plane, &image, folder.path(), (NODE, &tokens), &["--install", "bus=virtio"]);
    // The network comes first at each start: the server sends the machine to its disk.
    let machine = machine(NODE, control_plane)
        .card("virtio-net-pci,bootindex=0")
        .disk_as(&empty_disk(folder.path()), "virtio-blk-pci,bootindex=1")
        .may_reboot();
    machine.boot(|vm| {
        vm.wait_for("reading back: ", INSTALLATION)?;
        rack.machine_in("installed");
        workspace::say(&format!("{NODE}: installed {:.0} s after power-on", vm.age().as_secs_f64()));
        assert_joined(&verdict_once_the_clock_is_right(vm)?, "joined", NODE);
        ready(vm, control_plane, NODE, "");
        Ok(())
    });
    rack.machine_in("joined");
}

/// What the installer says at its end.
fn installation(vm: &mut Vm) -> Result<(), Failure> {
    vm.wait_for("is on /dev/vda", INSTALLATION)?;
    workspace::say(&format!("installed {:.0} s after power-on", vm.age().as_secs_f64()));
    vm.wait_exit(POWER_OFF).map(drop)
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_disc_installs_an_empty_disk_which_then_boots_by_both_firmwares_and_refuses_one_with_data() {
    let Some(control_plane) = control_plane("the installer disc") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let (image, folder) = (kiln::joining_image_of(IMAGE), workspace::scratch());
    let iso = image.file(".iso");
    let disk = empty_disk(folder.path());
    let Some(machine) = Machine::new("disc-uefi").memory(3072).uefi() else {
        return not_run("the installer disc", "no UEFI firmware here (package ovmf)");
    };
    machine.disc(&iso).disk(&disk).boot(installation);

    // The disk has data now.
    let refused = Machine::new("disc-refused").memory(3072).disc(&iso).disk(&disk).args(["-boot", "d"]);
    refused.boot(|vm| vm.wait_for("holds data", INSTALLATION).map(drop));

    for (node, is_uefi) in [("from-disc-bios", false), ("from-disc-uefi", true)] {
        let config = folder.path().join(format!("{node}.yaml"));
        fs::write(&config, join_configuration(control_plane, &format!("  name: {node}\n")))
            .expect("the folder is the test's");
        let machine = Machine::new(node)
            .memory(3072)
            .in_network_of(control_plane.fact("pid"))
            .fw_cfg("opt/org.kiln.firstboot/config", &config)
            .disk(&overlay(&disk, folder.path(), node, None));
        let machine = if is_uefi { machine.uefi().expect("it was there before") } else { machine };
        machine.boot(|vm| {
            assert_joined(&verdict(vm)?, "joined", node);
            ready(vm, control_plane, node, "");
            Ok(())
        });
    }
}

/// How often the power is cut; 100 take an hour and a half.
fn cuts() -> usize {
    std::env::var("KILN_TEST_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// The first line of the console that has one of these texts.
fn first_of(vm: &Vm, texts: &[&str]) -> String {
    let deadline = Instant::now() + workspace::patience(INSTALLATION);
    loop {
        let found = vm.lines().into_iter().find(|line| texts.iter().any(|text| line.contains(text)));
        if let Some(line) = found {
            return line;
        }
        assert!(Instant::now() < deadline, "the console has none of {texts:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Machines whose power is cut side by side, each with a disk of its own: each needs about one processor.
const MACHINES: usize = 2;

/// The whole machine ends at a moment between the beginning of the installation and its end, again and again,
/// each time over the same disk, which nobody is told that it may overwrite.
#[test]
#[ignore = "slow: make test-long runs it"]
fn an_installation_survives_power_cuts() {
    let _alone = workspace::exclusive("join-e2e");
    let image = kiln::joining_image_of(IMAGE);
    let server = folder::serve(&image.folder);
    let name =
        |ending: &str| image.file(ending).file_name().expect("a file has a name").display().to_string();
    let digest = workspace::output("sha256sum", [image.file(".raw.bmap")]);
    let digest = digest.split(' ').next().expect("sha256sum prints a digest");
    let line = format!(
        "{} firstboot.install={}/{} firstboot.install-sha256={digest} firstboot.install-then=poweroff",
        image.network_command_line(),
        folder::guest_url(&server),
        name(".raw.zst"),
    );
    let set = image.file("-pxe");
    let installer = |name: &str, disk: &Path| {
        Machine::new(name)
            .memory(3072)
            .kernel(&set.join("vmlinuz"), &set.join("initrd"), &line)
            .disk(disk)
    };
    let each = cuts().div_ceil(MACHINES);
    std::thread::scope(|scope| {
        for number in 0..MACHINES {
            let installer = &installer;
            scope.spawn(move || survives_power_cuts(number, each, installer));
        }
    });
}

/// One machine, whose power is cut so often; `installer` is one of that name that installs to a disk.
fn survives_power_cuts(machine: usize, cuts: usize, installer: &dyn Fn(&str, &Path) -> Machine) {
    let installer = |name: &str, disk: &Path| installer(&format!("{name}-{machine}"), disk);
    const SHORTEST: u64 = 200;
    const BEGINS: &str = "installing ";
    const REFUSED: &str = "holds data";
    let folder = workspace::scratch();
    // How long it takes when nothing happens.
    let whole = installer("cut-none", &empty_disk(folder.path())).boot(|vm| {
        vm.wait_for(BEGINS, INSTALLATION)?;
        let began = vm.age();
        vm.wait_for("is on /dev/vda", INSTALLATION)?;
        Ok(vm.age().saturating_sub(began))
    });
    workspace::say(&format!("machine {machine}: an installation takes {:.1} s", whole.as_secs_f64()));
    let longest = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX).max(SHORTEST + 1);
    let disk = empty_disk(folder.path());
    let mut state = u64::from(std::process::id()) + machine as u64;
    let mut number = 0;
    while number < cuts {
        // A linear congruential generator (Knuth's MMIX): moments that differ, and can be told.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = Duration::from_millis(SHORTEST + (state >> 33) % (longest - SHORTEST));
        let begun = installer("cut", &disk).boot(|vm| {
            let line = first_of(vm, &[BEGINS, REFUSED]);
            let begun = line.contains(BEGINS);
            if begun {
                std::thread::sleep(after);
            }
            let after = after.as_secs_f64();
            workspace::say(&format!("machine {machine}, cut {number}, {after:.1} s later: {line}"));
            Ok(begun)
        });
        if begun {
            number += 1;
        } else {
            // The cut before came too late: the disk is whole, and more cuts of it would prove nothing.
            empty_disk(folder.path());
        }
    }
    // A cut that came too late has left a whole disk.
    installer("cut-last", &disk)
        .boot(|vm| if first_of(vm, &[BEGINS, REFUSED]).contains(BEGINS) { installation(vm) } else { Ok(()) });
    let booted = Machine::new(&format!("cut-booted-{machine}")).memory(3072).disk(&disk);
    booted.boot(|vm| vm.wait_for("firstboot-verdict: ", INSTALLATION).map(drop));
}
