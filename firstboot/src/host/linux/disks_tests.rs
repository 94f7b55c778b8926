use super::*;

fn write(root: &Root, path: &str, text: &[u8]) {
    files::write(&root.path(path), text, 0o644).unwrap();
}

/// A disk of a machine with its folder in sysfs.
fn add(root: &Root, name: &str, place: &str, files: &[(&str, &[u8])]) {
    let folder = format!("/sys/devices/{place}/block/{name}");
    write(root, &format!("{folder}/size"), b"2097152\n");
    for (file, bytes) in files {
        write(root, &format!("{folder}/{file}"), bytes);
    }
    fs::create_dir_all(root.path(paths::BLOCK)).unwrap();
    std::os::unix::fs::symlink(folder, root.entry(format!("/sys/block/{name}"))).unwrap();
}

#[test]
fn disks_are_told_apart_by_what_drivers_and_udev_say() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    add(
        &root,
        "vda",
        "pci0000:00/0000:00:04.0/virtio1",
        &[("serial", b"vol-1\n"), ("queue/logical_block_size", b"512\n")],
    );
    add(
        &root,
        "sda",
        "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0",
        &[
            ("device/model", b"QEMU HARDDISK   \n"),
            ("device/wwid", b"naa.5000c500a1b2c3d4\n"),
            ("device/vpd_pg80", b"\0\x80\0\x05S1234"),
            ("dev", b"8:0\n"),
        ],
    );
    add(
        &root,
        "sdb",
        "pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host3/target3:0:0/3:0:0:0",
        &[("removable", b"1\n")],
    );
    add(&root, "sdc", "pci0000:00/0000:00:05.0/virtio2/host4/target4:0:0/4:0:0:0", &[]);
    add(
        &root,
        "nvme0n1",
        "pci0000:00/0000:00:06.0/nvme/nvme0",
        &[
            ("device/model", b"Fast Disk  3\n"),
            ("device/serial", b"N77 \n"),
            ("wwid", b"eui.0025385b71b0a1c2\n"),
            ("queue/logical_block_size", b"4096\n"),
        ],
    );
    for name in ["loop0", "dm-0", "sr0", "zram0", "md127"] {
        add(&root, name, "virtual", &[]);
    }
    add(&root, "sdd", "empty", &[("size", b"0\n")]);
    add(&root, "nvme0c1n1", "pci0000:00/0000:00:06.0/nvme/nvme0", &[("hidden", b"1\n")]);
    add(&root, "mmcblk0boot0", "platform/mmc0", &[]);
    write(&root, "/run/udev/data/b8:0", b"N:sda\nE:ID_SERIAL_SHORT=UDEV1\nE:ID_WWN=0x5000c500a1b2c3d4\n");
    fs::create_dir_all(root.path("/dev/disk/by-id")).unwrap();
    std::os::unix::fs::symlink("../../sda", root.entry("/dev/disk/by-id/ata-QEMU_HARDDISK_S1234")).unwrap();
    let disks = list(&root);
    let shown: Vec<_> =
        disks.iter().map(|disk| (disk.path.display().to_string(), disk.bus, disk.ids())).collect();
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            ("/dev/nvme0n1".to_owned(), "nvme", ids(&["nvme-Fast_Disk_3_N77", "nvme-eui.0025385b71b0a1c2"])),
            (
                "/dev/sda".to_owned(),
                "ata",
                ids(&["ata-QEMU_HARDDISK_S1234", "ata-QEMU_HARDDISK_UDEV1", "wwn-0x5000c500a1b2c3d4"])
            ),
            ("/dev/sdb".to_owned(), "usb", ids(&[])),
            ("/dev/sdc".to_owned(), "scsi", ids(&[])),
            ("/dev/vda".to_owned(), "virtio", ids(&["virtio-vol-1"])),
        ]
    );
    assert_eq!((disks[0].sector, disks[0].size), (4096, 1 << 30));
    assert_eq!(disks[1].serials, ["S1234", "UDEV1"]);
    assert!(
        disks[1].is_at(Path::new("/dev/disk/by-id/ata-QEMU_HARDDISK_S1234"))
            && !disks[1].is_at(Path::new("/dev/sdb"))
    );
    assert!(disks[2].is_removable && !disks[3].is_removable);
}

#[test]
fn a_file_stands_for_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::write(&path, vec![1; 3 << 20]).unwrap();
    let disk = Device::open(&path).unwrap();
    assert_eq!((disk.size, disk.sector), (3 << 20, 512));
    disk.zero(512, 2 << 20).unwrap();
    disk.write_at(1024, b"abc").unwrap();
    disk.forget().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 3 << 20);
    assert_eq!(
        (bytes[511], bytes[512], &bytes[1024..1028], bytes[512 + (2 << 20)]),
        (1, 0, &b"abc\0"[..], 1)
    );
    assert!(Device::open(&folder.path().join("missing")).is_err());
}

#[test]
fn a_block_device_is_zeroed_forgotten_and_taken_once() {
    const TEST: &str = "a disk that is a block device";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, vec![1; 8 << 20]).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let Ok((device, _open)) = loops::attach(&file, b"test", Window::Part(1 << 20, 4 << 20)) else {
        return testkit::not_run(TEST, "it needs root and loop devices");
    };
    let disk = Device::open(&device).unwrap();
    assert_eq!((disk.size, disk.sector), (4 << 20, 512));
    let failure = Device::open(&device).unwrap_err();
    assert!(failure.message.ends_with("it is mounted, or another program uses it"), "{failure}");
    disk.zero(4096, 1 << 20).unwrap();
    // Not a whole number of sectors: the kernel refuses that, and zeros are written.
    disk.zero((2 << 20) + 100, 1000).unwrap();
    disk.write_at(8192, b"abc").unwrap();
    disk.forget().unwrap();
    let mut bytes = vec![7; 4 << 20];
    disk.read_at(0, &mut bytes).unwrap();
    assert_eq!((bytes[4095], &bytes[8192..8196], bytes[4096 + (1 << 20)]), (1, &b"abc\0"[..], 1));
    let at = (2 << 20) + 100;
    assert_eq!((bytes[at - 1], bytes[at], bytes[at + 999], bytes[at + 1000]), (1, 0, 0, 1));
    assert!(disk.write_at(4 << 20, b"x").is_err(), "behind its end");
    drop(disk);
    assert_eq!(fs::read(&path).unwrap()[(1 << 20) + 8192..][..3], *b"abc", "in its part of the file");
}

#[test]
fn files_are_changed_on_a_disk_that_is_held() {
    const TEST: &str = "files on a disk that is a block device";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, vec![0; 16 << 20]).unwrap();
    let made = std::process::Command::new("mkfs.ext4")
        .args(["-q", "-E", "offset=1048576"])
        .arg(&path)
        .arg("12M")
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return testkit::not_run(TEST, "there is no mkfs.ext4");
    }
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let Ok((device, _open)) = loops::attach(&file, b"test", Window::Part(0, 16 << 20)) else {
        return testkit::not_run(TEST, "it needs root and loop devices");
    };
    let disk = Device::open(&device).unwrap();
    let write = |text: &'static str| {
        move |folder: &Path| {
            assert_eq!(folder.join("a/b").exists(), text == "two");
            files::write(&folder.join("a/b"), text.as_bytes(), files::PRIVATE)
        }
    };
    disk.change_files(1 << 20, 12 << 20, write("one")).unwrap();
    disk.change_files(1 << 20, 12 << 20, write("two")).unwrap();
    let failure = disk.change_files(0, 1 << 20, |_| Ok(())).unwrap_err();
    assert!(failure.message.contains("(ext4)"), "{failure}");
    let failing = |_: &Path| Err(Failure::new(ErrorKind::Host, "full"));
    assert_eq!(disk.change_files(1 << 20, 12 << 20, failing).unwrap_err().message, "full");
}
