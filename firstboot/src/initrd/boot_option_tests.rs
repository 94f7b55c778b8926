use super::*;

/// A node of a device path.
fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap().to_le_bytes();
    [&[kind, subtype, length[0], length[1]], data].concat()
}

fn root(uid: u8) -> Vec<u8> {
    node(ACPI, 1, &[0xd0, 0x41, 0x03, 0x0a, uid, 0, 0, 0])
}

fn function(device: u8, function: u8) -> Vec<u8> {
    node(HARDWARE, 1, &[function, device])
}

fn partition() -> Vec<u8> {
    node(4, 1, &[7; 38])
}

/// A variable: attributes, the option's own attributes, length of the path, description, path, other data.
fn variable(nodes: &[Vec<u8>]) -> Vec<u8> {
    let path = [nodes.concat(), vec![0x7f, 0xff, 4, 0]].concat();
    let length = u16::try_from(path.len()).unwrap().to_le_bytes();
    let description: Vec<u8> = "UEFI Ä".encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    [&[7, 0, 0, 0, 1, 0, 0, 0], length.as_slice(), &description, &path, b"other"].concat()
}

fn at(hops: &[Hop], unit: Option<Unit>) -> Option<Location> {
    Some(Location { controller: hops.to_vec(), unit })
}

/// As OVMF writes it for a disk on virtio-blk: `PciRoot(0x0)/Pci(0x3,0x0)`.
const OVMF: &[u8] = b"\x07\0\0\0\x01\0\0\0\x16\0U\0E\0F\0I\0 \0M\0i\0s\0c\0 \0D\0e\0v\0i\0c\0e\0\0\0\
    \x02\x01\x0c\0\xd0\x41\x03\x0a\0\0\0\0\x01\x01\x06\0\0\x03\x7f\xff\x04\0\
    \x4e\xac\x08\x81\x11\x9f\x59\x4d\x85\x0e\xe2\x1a\x52\x2c\x59\xb2";

#[test]
fn the_disk_of_a_boot_option_is_read() {
    let pci = |device, function| Hop::Function { device, function };
    assert_eq!(disk(OVMF), at(&[Hop::Root(0), pci(3, 0)], None));
    let nvme = node(MESSAGING, 23, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let channel = b"\xa2\xe5\x17\x9b\x91\x08\xdd\x42\xb6\x53\x80\xb5\xc2\x28\x09\xba\
        \xd9\x63\x61\xba\xa1\x04\x29\x4d\xb6\x05\x72\xe2\xff\xb1\xdc\x7f\
        \x5a\x80\xe5\xd2\x3e\x36\x9c\x44\x94\xed\x50\xc0\xa0\xcd\x86\x56";
    let extended = node(ACPI, 2, b"\0\0\0\0\0\0\0\0\0\0\0\0VMBus\0\0\0");
    let scsi = node(MESSAGING, 2, &[1, 0, 2, 0]);
    for (nodes, expected) in [
        (
            vec![root(0), function(4, 0), nvme, partition()],
            at(&[Hop::Root(0), pci(4, 0)], Some(Unit::Namespace(1))),
        ),
        (
            vec![root(2), function(2, 1), function(0, 0), scsi.clone()],
            at(&[Hop::Root(2), pci(2, 1), pci(0, 0)], Some(Unit::Scsi { target: 1, lun: 2 })),
        ),
        (
            vec![root(0), function(0x1f, 2), node(MESSAGING, 18, &[3, 0, 0xff, 0xff, 0, 0])],
            at(&[Hop::Root(0), pci(0x1f, 2)], Some(Unit::Port(3))),
        ),
        (
            vec![extended, node(HARDWARE, 4, channel), scsi],
            at(
                &[Hop::Channel("d2e5805a-363e-449c-94ed-50c0a0cd8656".to_owned())],
                Some(Unit::Scsi { target: 1, lun: 2 }),
            ),
        ),
    ] {
        assert_eq!(disk(&variable(&nodes)), expected);
    }
}

#[test]
fn an_option_that_copies_of_a_disk_share_or_that_is_for_no_disk_names_none() {
    let network = node(MESSAGING, 11, &[0; 33]);
    for nodes in [
        vec![partition(), node(4, 4, b"\\\0E\0\0\0")],
        vec![root(0), function(3, 0), network],
        vec![root(0), function(0x14, 0), node(MESSAGING, 5, &[1, 0])],
        vec![root(0), function(1, 1), node(MESSAGING, 1, &[1, 0, 0, 0]), node(MEDIA, OPTICAL, &[0; 20])],
        vec![node(4, 7, &[0; 16]), node(4, 6, &[0; 16])],
        vec![function(3, 0)],
        vec![root(0)],
        vec![],
    ] {
        assert_eq!(disk(&variable(&nodes)), None, "{nodes:?}");
    }
}

#[test]
fn a_damaged_option_names_no_other_disk() {
    for length in 0..OVMF.len() - 20 {
        assert_eq!(disk(&OVMF[..length]), None, "{length}");
    }
    let endless = variable(&[root(0), function(3, 0), vec![HARDWARE, 1, 0, 0]]);
    assert_eq!(disk(&endless), disk(OVMF), "a node without a length ends the path");
    assert_eq!((number(b"\x06\0\0\0\x02\x01"), number(b"\x06\0\0\0\x02")), (Some(0x102), None));
}
