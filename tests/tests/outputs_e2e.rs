//! Every output that a machine boots, by the firmware and on the controllers of the places where it is used:
//! each machine joins a real cluster and its node is Ready. The seconds are printed, beside those of the
//! plain disk.
//!
//! Slow: `make test-long` runs it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{
    assert_joined, control_plane, join_configuration, lab_with_network, ready_node, verdict,
    verdict_once_the_clock_is_right,
};
use kiln_tests::kiln;
use kiln_tests::lab_network::{self, TAP};
use kiln_tests::netns;
use kiln_tests::qemu::{Machine, overlay};
use kiln_tests::workspace;
use testkit::{folder, not_run};

const IMAGE: &str = "tests/images/outputs.toml";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Firmware {
    Uefi,
    Bios,
}

/// A disk: its output, the firmware, and the devices through which the machine reaches it.
struct Disk {
    name: &'static str,
    output: &'static str,
    firmware: Firmware,
    /// What comes before the disk's own device: controllers, another board.
    before: &'static [&'static str],
    device: &'static str,
}

const DISKS: &[Disk] = &[
    Disk {
        name: "raw-uefi",
        output: ".raw",
        firmware: Firmware::Uefi,
        before: &[],
        device: "virtio-blk-pci",
    },
    Disk {
        name: "qcow2-bios",
        output: ".qcow2",
        firmware: Firmware::Bios,
        before: &[],
        device: "virtio-blk-pci",
    },
    Disk {
        name: "qcow2-virtio-scsi",
        output: ".qcow2",
        firmware: Firmware::Bios,
        before: &["-device", "virtio-scsi-pci"],
        device: "scsi-hd",
    },
    Disk {
        name: "raw-nvme",
        output: ".raw",
        firmware: Firmware::Uefi,
        before: &[],
        device: "nvme,serial=n1",
    },
    Disk { name: "raw-ahci", output: ".raw", firmware: Firmware::Uefi, before: &[], device: "ide-hd" },
    Disk {
        name: "vhd-ide",
        output: ".vhd",
        firmware: Firmware::Bios,
        before: &["-machine", "pc"],
        device: "ide-hd",
    },
    Disk {
        name: "vhdx-uefi",
        output: ".vhdx",
        firmware: Firmware::Uefi,
        before: &["-device", "virtio-scsi-pci"],
        device: "scsi-hd",
    },
    Disk {
        name: "vmdk-pvscsi",
        output: ".vmdk",
        firmware: Firmware::Bios,
        before: &["-device", "pvscsi"],
        device: "scsi-hd",
    },
];

/// A machine with the node config of the node `name` in its firmware; none, and said, where this machine has
/// no such firmware.
fn machine(name: &str, firmware: Firmware, control_plane: &ControlPlane, folder: &Path) -> Option<Machine> {
    let config = folder.join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {name}\n")))
        .expect("the folder is the test's");
    let machine = Machine::new(name)
        .memory(3072)
        .in_network_of(control_plane.fact("pid"))
        .fw_cfg("opt/org.kiln.firstboot/config", &config);
    if firmware == Firmware::Bios {
        return Some(machine);
    }
    let with_firmware = machine.uefi();
    if with_firmware.is_none() {
        not_run(name, "no UEFI firmware here (package ovmf)");
    }
    with_firmware
}

/// Boots `machine`, which becomes the node `name`.
fn joins(machine: &Machine, name: &str, control_plane: &ControlPlane) {
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", name);
        ready_node(control_plane, name, "");
        workspace::say(&format!("{name}: Ready {:.0} s after power-on", vm.age().as_secs_f64()));
        Ok(())
    });
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn disks_of_every_format_on_every_bus_are_ready_nodes_by_both_firmwares() {
    let Some(control_plane) = control_plane("disks of every format") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let image = kiln::joining_image_of(IMAGE);
    for disk in DISKS {
        let folder = workspace::scratch();
        let Some(machine) = machine(disk.name, disk.firmware, control_plane, folder.path()) else { continue };
        let own = overlay(&image.file(disk.output), folder.path(), "disk", None);
        joins(&machine.args(disk.before).disk_as(&own, disk.device), disk.name, control_plane);
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_disc_that_runs_from_memory_is_a_ready_node_by_both_firmwares_and_as_a_stick() {
    let Some(control_plane) = control_plane("the live disc") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let image = kiln::joining_image_of(IMAGE);
    let iso = image.file(".iso");
    for (name, firmware) in [("iso-uefi", Firmware::Uefi), ("iso-bios", Firmware::Bios)] {
        let folder = workspace::scratch();
        let Some(machine) = machine(name, firmware, control_plane, folder.path()) else { continue };
        joins(&machine.disc(&iso), name, control_plane);
    }
    let folder = workspace::scratch();
    let Some(machine) = machine("iso-stick", Firmware::Uefi, control_plane, folder.path()) else { return };
    let stick = folder.path().join("stick.raw");
    fs::copy(&iso, &stick).expect("the disc can be copied");
    let machine = machine.args(["-device", "qemu-xhci"]).disk_as(&stick, "usb-storage");
    joins(&machine, "iso-stick", control_plane);
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_booted_by_ipxe_is_a_ready_node() {
    let Some(control_plane) = control_plane("iPXE") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let (image, folder) = (kiln::joining_image_of(IMAGE), workspace::scratch());
    let set = image.file("-pxe");
    let server = netns::inside(control_plane.fact("pid"), || folder::serve(&set));
    let machine = machine("ipxe", Firmware::Bios, control_plane, folder.path()).expect("QEMU has SeaBIOS");
    let machine = machine.netboot(&format!("{}/boot.ipxe", folder::guest_url(&server)), None);
    joins(&machine, "ipxe", control_plane);
}

/// The firmware itself asks a real DHCP server for the address of a program, gets it by HTTP and starts it:
/// no iPXE is involved.
#[test]
#[ignore = "slow: make test-long runs it"]
fn a_machine_booted_by_its_firmware_over_http_is_a_ready_node() {
    const NAME: &str = "uefi-http";
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, _network)) = lab_with_network("UEFI HTTP boot") else { return };
    let (image, folder) = (kiln::joining_image_of(IMAGE), workspace::scratch());
    let served = folder.path().join("served");
    fs::create_dir(&served)
        .and_then(|()| symlink(image.file(".efi"), served.join(lab_network::PROGRAM)))
        .expect("the folder is the test's");
    let address = format!("{}:80", lab_network::SERVER);
    let server = netns::inside(control_plane.fact("pid"), || folder::serve_at(&address, &served));
    let Some(machine) = machine(NAME, Firmware::Uefi, control_plane, folder.path()) else { return };
    // Without iPXE in the card's ROM, the firmware's own driver is the one that asks.
    let machine = machine.plugged_into(TAP).card("virtio-net-pci,romfile=,bootindex=1");
    machine.boot(|vm| {
        assert_joined(&verdict_once_the_clock_is_right(vm)?, "joined", NAME);
        ready_node(control_plane, NAME, "");
        workspace::say(&format!("{NAME}: Ready {:.0} s after power-on", vm.age().as_secs_f64()));
        Ok(())
    });
    let requests = server.lines();
    assert!(requests.iter().any(|line| line == "GET /boot.efi"), "{requests:?}");
}
