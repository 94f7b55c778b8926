use std::os::unix::fs::symlink;

use super::*;

/// Below a folder, the folder of a disk in sysfs, with these attributes beside it.
fn place(path: &str, attributes: &[(&str, &str)]) -> Place {
    let sys = tempfile::tempdir().unwrap();
    let disk = sys.path().join(path);
    fs::create_dir_all(&disk).unwrap();
    for (name, value) in attributes {
        let file = sys.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        match name.ends_with("/driver") {
            true => symlink(value, file).unwrap(),
            false => fs::write(file, value).unwrap(),
        }
    }
    Place::of(&disk)
}

fn function(device: u8, function: u8) -> Hop {
    Hop::Function { device, function }
}

#[test]
fn the_kernels_folders_are_the_firmwares_places() {
    let virtio = place(
        "devices/pci0000:00/0000:00:02.1/0000:02:00.0/virtio3/block/vda",
        &[
            ("devices/pci0000:00/firmware_node/uid", "0\n"),
            ("devices/pci0000:00/0000:00:02.1/0000:02:00.0/driver", "../../bus/pci/drivers/virtio-pci"),
        ],
    );
    assert_eq!(virtio.hops, [Hop::Root(0), function(2, 1), function(0, 0)]);
    assert_eq!((virtio.driver.as_str(), virtio.is_loose), ("virtio-pci", false));

    let scsi = place(
        "devices/pci0000:80/0000:80:1f.0/host2/target2:0:1/2:0:1:3/block/sda",
        &[("devices/pci0000:80/firmware_node/uid", "7\n")],
    );
    assert_eq!(scsi.hops, [Hop::Root(7), function(0x1f, 0)]);
    assert_eq!(scsi.units, [Unit::Scsi { target: 1, lun: 3 }]);

    let sata = place(
        "devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sdb",
        &[("devices/pci0000:00/0000:00:1f.2/ata3/ata_port/ata3/port_no", "2\n")],
    );
    assert!(sata.units.contains(&Unit::Port(1)), "{sata:?}");

    let nvme = "devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/nvme/nvme0/nvme0n1";
    let nvme = place(nvme, &[(&format!("{nvme}/nsid"), "1\n")]);
    assert_eq!(nvme.hops, [Hop::Root(0), function(0xe, 0), function(6, 0)], "a controller's own root");
    assert_eq!(nvme.units, [Unit::Namespace(1)]);

    let hyperv = place(
        "devices/LNXSYSTM:00/VMBUS:00/d2e5805a-363e-449c-94ed-50c0a0cd8656/host0/target0:0:0/0:0:0:0/block/sda",
        &[],
    );
    assert_eq!(hyperv.hops, [Hop::Channel("d2e5805a-363e-449c-94ed-50c0a0cd8656".to_owned())]);
}

#[test]
fn removable_and_network_disks_are_told_from_built_in_ones() {
    for (path, attributes, is_loose) in [
        ("devices/pci0000:00/0000:00:04.0/virtio1/block/vda", vec![], false),
        (
            "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host3/target3:0:0/3:0:0:0/block/sdb",
            vec![],
            true,
        ),
        ("devices/platform/host4/session1/target4:0:0/4:0:0:1/block/sdc", vec![], true),
        ("devices/virtual/nvme-fabrics/ctl/nvme1/nvme1n1", vec![], true),
        ("devices/rbd/0/block/rbd0", vec![], true),
        ("devices/x/block/sda", vec![("devices/x/block/sda/removable", "1\n")], true),
        ("devices/x/block/sda", vec![("devices/x/block/sda/removable", "0\n")], false),
    ] {
        assert_eq!(place(path, &attributes).is_loose, is_loose, "{path}");
    }
}

#[test]
fn a_disk_is_at_the_place_that_the_firmware_names() {
    let place = Place {
        hops: vec![Hop::Root(0), function(3, 0)],
        units: vec![Unit::Scsi { target: 1, lun: 0 }],
        ..Place::default()
    };
    let named = |device, unit| Location { controller: vec![Hop::Root(0), function(device, 0)], unit };
    let unit = |lun| Some(Unit::Scsi { target: 1, lun });
    assert!(place.is_at(&named(3, None)) && !place.is_at(&named(4, None)));
    assert!(place.is_unit(&named(3, None)) && place.is_unit(&named(3, unit(0))));
    assert!(!place.is_unit(&named(3, unit(1))) && !Place::default().is_at(&named(3, None)));
}
