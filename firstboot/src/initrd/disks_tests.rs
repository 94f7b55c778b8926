use super::*;
use crate::initrd::boot_option::{Hop, Unit};

fn partition(number: u32, kind: &str, id: &str) -> Partition {
    Partition { number, kind: kind.to_owned(), id: id.to_owned(), first: 2048, last: 4095 }
}

fn disk(name: &str, partitions: Vec<Partition>) -> Disk {
    let table = Ok(Table::of(partitions));
    Disk { name: name.to_owned(), sector: 512, sectors: 8192, table, place: Place::default() }
}

fn whole(name: &str, id: &str) -> Disk {
    disk(
        name,
        vec![
            partition(1, partition_type::ESP, "e"),
            partition(2, partition_type::ROOT, id),
            partition(4, partition_type::VAR, "v"),
        ],
    )
}

/// A disk on function 0 of this PCI device, with virtio's driver.
fn at(device: u8, disk: Disk) -> Disk {
    let hops = vec![Hop::Root(0), Hop::Function { device, function: 0 }];
    Disk { place: Place { hops, driver: "virtio-pci".to_owned(), ..Place::default() }, ..disk }
}

fn loose(mut disk: Disk) -> Disk {
    disk.place.is_loose = true;
    disk
}

/// The firmware booted from this PCI device.
fn firmware(device: u8) -> Location {
    Location { controller: at(device, whole("", "")).place.hops, unit: None }
}

fn chosen(disks: &[Disk], root: Option<&str>, boot_disk: Option<&Location>) -> Option<(String, u32, u32)> {
    let found = choose(&candidates(disks, root), boot_disk)?;
    Some((found.disk.name, found.root, found.var))
}

fn is_chosen(name: &str, disks: &[Disk], boot_disk: Option<&Location>) -> bool {
    chosen(disks, Some("a"), boot_disk).is_some_and(|(chosen, _, _)| chosen == name)
}

#[test]
fn one_disk_with_both_is_taken() {
    let root_only = disk("sdb", vec![partition(1, partition_type::ROOT, "other")]);
    let broken = Disk { table: Err("no GPT".to_owned()), ..whole("sdc", "x") };
    let disks = [root_only, broken, whole("vda", "r")];
    assert_eq!(chosen(&disks, None, None), Some(("vda".to_owned(), 2, 4)));
    assert_eq!(chosen(&disks, None, Some(&firmware(3))), Some(("vda".to_owned(), 2, 4)));
}

#[test]
fn two_disks_without_a_place_need_an_identifier() {
    let disks = [whole("vda", "a"), whole("vdb", "b")];
    assert_eq!(chosen(&disks, None, None), None);
    let message = ambiguous(&candidates(&disks, None), None).to_string();
    assert!(
        message.contains("vda 2 root a, vdb 2 root b") && message.contains("root=PARTUUID="),
        "{message}"
    );
    assert_eq!(chosen(&disks, Some("b"), None), Some(("vdb".to_owned(), 2, 4)));
    assert!(candidates(&disks, Some("c")).is_empty());
    let twins = [whole("vda", "a"), whole("vdb", "a")];
    assert_eq!(chosen(&twins, Some("a"), None), None);
    let message = ambiguous(&candidates(&twins, Some("a")), Some("a")).to_string();
    assert!(message.contains("detach the copy"), "{message}");
}

#[test]
fn of_two_disks_with_one_image_the_firmwares_is_taken() {
    let twins = [at(4, whole("vda", "a")), at(3, whole("vdb", "a"))];
    assert!(is_chosen("vda", &twins, Some(&firmware(4))));
    assert!(is_chosen("vdb", &twins, Some(&firmware(3))));
    let stick = [loose(at(4, whole("sda", "a"))), at(3, whole("vdb", "a"))];
    assert!(is_chosen("sda", &stick, Some(&firmware(4))), "the firmware counts more than the kind of a disk");
    let on_one_controller = |lun| {
        let mut disk = at(3, whole(&format!("sd{lun}"), "a"));
        disk.place.units = vec![Unit::Scsi { target: 0, lun }];
        disk
    };
    let unit = Some(Unit::Scsi { target: 0, lun: 5 });
    let named = Location { unit, ..firmware(3) };
    assert!(is_chosen("sd5", &[on_one_controller(1), on_one_controller(5)], Some(&named)));
}

#[test]
fn without_the_firmwares_word_a_built_in_disk_comes_first_and_then_the_machines_order() {
    assert!(is_chosen("vdb", &[loose(at(3, whole("sda", "a"))), at(4, whole("vdb", "a"))], None));
    assert!(is_chosen("vdb", &[at(4, whole("vda", "a")), at(3, whole("vdb", "a"))], None));
    assert!(is_chosen("vdb", &[at(4, whole("vda", "a")), at(3, whole("vdb", "a"))], Some(&firmware(9))));
    let mut other_driver = at(3, whole("vdb", "a"));
    other_driver.place.driver = "ahci".to_owned();
    for unlike in [other_driver, at(3, whole("sdb", "a")), at(4, whole("vdb", "a"))] {
        assert_eq!(chosen(&[at(4, whole("vda", "a")), unlike.clone()], None, None), None, "{unlike:?}");
    }
}

#[test]
fn a_slow_disk_of_the_firmware_is_waited_for() {
    let machine = tempfile::tempdir().unwrap();
    let controller = machine.path().join("devices/pci0000:00/0000:00:03.0");
    let devices = machine.path().join("bus/pci/devices");
    fs::create_dir_all(&controller).unwrap();
    fs::create_dir_all(&devices).unwrap();
    std::os::unix::fs::symlink(controller, devices.join("0000:00:03.0")).unwrap();
    let buses = machine.path().join("bus");
    let copy = [at(4, whole("vdb", "a"))];
    assert!(is_awaited(Some(&firmware(3)), &copy, &buses));
    assert!(!is_awaited(Some(&firmware(3)), &[at(3, whole("vda", "a"))], &buses), "it is there");
    assert!(!is_awaited(Some(&firmware(5)), &copy, &buses), "the machine has no such controller");
    assert!(!is_awaited(None, &copy, &buses));
}

#[test]
fn two_roots_on_one_disk_need_an_identifier_too() {
    let mut partitions =
        vec![partition(2, partition_type::ROOT, "a"), partition(3, partition_type::ROOT, "b")];
    partitions.push(partition(4, partition_type::VAR, "v"));
    let disks = [at(3, disk("vda", partitions))];
    assert_eq!(chosen(&disks, None, Some(&firmware(3))), None);
    assert_eq!(chosen(&disks, Some("b"), None), Some(("vda".to_owned(), 3, 4)));
}

#[test]
fn the_message_lists_what_was_seen() {
    let disks = [
        disk("sda", vec![partition(1, "some-type", "i")]),
        Disk { table: Err("no GPT".to_owned()), ..whole("sdb", "x") },
    ];
    let message =
        nothing_found(&disks, &crate::initrd::arguments::parse("root=PARTUUID=q kiln.timeout=4")).to_string();
    for expected in [
        "in 4 s",
        "identifier q",
        partition_type::ROOT,
        partition_type::VAR,
        "sda of 4 MiB: 1 some-type i",
        "sdb of 4 MiB: no GPT",
    ] {
        assert!(message.contains(expected), "{expected} is missing in:\n{message}");
    }
    assert!(
        nothing_found(&[], &crate::initrd::arguments::parse(""))
            .to_string()
            .contains("found no disk")
    );
}

#[test]
fn the_first_disk_does_not_win_while_a_driver_still_searches() {
    assert!(!is_final(SETTLE * 10, false, true));
    assert!(!is_final(SETTLE / 2, false, false));
    assert!(is_final(SETTLE, false, false) && is_final(SETTLE, true, true));
}
