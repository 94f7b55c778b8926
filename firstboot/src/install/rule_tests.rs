use super::*;

fn disk(name: &str, bus: &'static str, size: u64) -> Candidate {
    let disk = Disk {
        path: format!("/dev/{name}").into(),
        links: vec![
            format!("/dev/disk/by-id/{bus}-{name}").into(),
            format!("/dev/disk/by-path/pci-{name}").into(),
        ],
        size,
        sector: 512,
        model: format!("Model of {name}"),
        serials: vec![format!("SN-{name}"), format!("{name}-long")],
        wwns: vec![format!("0x5000{name}")],
        bus,
        is_removable: false,
        unusable: None,
    };
    Candidate { disk, content: Content::Nothing, is_file: false }
}

/// Four disks: two of one size, one of them with data, a larger one, and a stick.
fn disks() -> Vec<Candidate> {
    let mut disks = vec![
        disk("sda", "ata", 100_000_000_000),
        disk("sdb", "scsi", 100_000_000_000),
        disk("nvme0n1", "nvme", 2_000_000_000_000),
        disk("sdc", "usb", 8_000_000_000),
    ];
    disks[1].content = Content::Data("ext4".to_owned());
    disks[3].disk.is_removable = true;
    disks
}

fn chosen(
    disks: &[Candidate],
    rule: Option<&str>,
    may_overwrite: bool,
) -> Result<String, Vec<Option<String>>> {
    let rule = rule.map(|text| Rule::parse(text).unwrap());
    choose(disks, rule.as_ref(), may_overwrite).map(|found| found.disk.path.display().to_string())
}

#[test]
fn a_rule_leaves_one_disk() {
    let disks = disks();
    for (rule, expected) in [
        ("path=/dev/sdb", "/dev/sdb"),
        ("path=/dev/disk/by-path/pci-sda", "/dev/sda"),
        ("id=ata-*", "/dev/sda"),
        ("serial=SN-sd[b-b]", "/dev/sdb"),
        ("serial=sdb-long", "/dev/sdb"),
        ("wwn=0x5000sda", "/dev/sda"),
        ("model=Model of nvme*", "/dev/nvme0n1"),
        ("bus=nvme", "/dev/nvme0n1"),
        ("size>=1T", "/dev/nvme0n1"),
        ("size>=0.5T", "/dev/nvme0n1"),
        ("size >= 1Ti", "/dev/nvme0n1"),
        ("size<=100G,bus=ata", "/dev/sda"),
        ("size<=100G,bus=ata,smallest", "/dev/sda"),
        ("largest", "/dev/nvme0n1"),
        ("smallest, bus=scsi", "/dev/sdb"),
        ("serial=SN-sdc", "/dev/sdc"),
    ] {
        assert_eq!(chosen(&disks, Some(rule), false), Ok(expected.to_owned()), "{rule}");
    }
}

#[test]
fn each_disk_that_is_left_out_has_its_reason() {
    let mut disks = disks();
    let out = chosen(&disks, Some("size<=100G"), false).unwrap_err();
    assert_eq!(
        out,
        [
            None,
            None,
            Some("it is larger than 100.0 GB".to_owned()),
            Some("it is removable, and no id, serial, wwn or path names it".to_owned())
        ]
    );
    let out = chosen(&disks, Some("smallest"), false).unwrap_err();
    assert_eq!(out[..3], [None, None, Some("another one is smaller".to_owned())], "two of one size");
    let out = chosen(&disks, Some("bus=virtio"), false).unwrap_err();
    assert_eq!(out[0].as_deref(), Some("its bus is not virtio"));
    disks[0].disk.unusable = Some("it is mounted or in use".to_owned());
    disks[2].content = Content::Unreadable("Input/output error".to_owned());
    let out = chosen(&disks, Some("path=/dev/sda"), true).unwrap_err();
    assert_eq!(out[0].as_deref(), Some("it is mounted or in use"), "also if a rule names it");
    let out = chosen(&disks, Some("bus=nvme"), true).unwrap_err();
    assert_eq!(out[2].as_deref(), Some("it cannot be read: Input/output error"));
}

#[test]
fn without_a_rule_the_only_disk_without_data_is_taken() {
    let mut disks = disks();
    assert_eq!(chosen(&disks, None, false).unwrap_err().iter().filter(|why| why.is_none()).count(), 2);
    disks[0].content = Content::Data("LVM".to_owned());
    assert_eq!(chosen(&disks, None, false), Ok("/dev/nvme0n1".to_owned()));
    assert!(chosen(&disks, None, true).is_err(), "all three may be overwritten");
    disks[2].content = Content::Begun;
    assert_eq!(chosen(&disks, None, false), Ok("/dev/nvme0n1".to_owned()));
    assert_eq!(chosen(&disks[..1], None, false).unwrap_err(), [Some("it holds data".to_owned())]);
    assert_eq!(chosen(&disks[..1], None, true), Ok("/dev/sda".to_owned()));
    assert_eq!(chosen(&[], None, false), Err(Vec::new()));
}

#[test]
fn a_malformed_rule_is_refused() {
    for (rule, expected) in [
        ("", "a condition is missing"),
        ("smallest,", "a condition is missing"),
        ("serial", "serial wants a value"),
        ("id=", "id wants a value"),
        ("path=sda", "absolute path"),
        ("bus=sata", "nvme, scsi, ata, virtio, usb"),
        ("size=1G", "size>=100G"),
        ("size>1G", "no condition"),
        ("size>=", "a number such as"),
        ("size>=1X", "a number such as"),
        ("size>=99999999999T", "a number such as"),
        ("size>=-1G", "a number such as"),
        ("smallest=1", "no condition"),
        ("smalest", "did you mean"),
        ("smallest,largest", "exclude each other"),
        ("/dev/sda", "no condition"),
        ("\u{1b}[31m", "no condition"),
    ] {
        let why = Rule::parse(rule).unwrap_err();
        assert!(why.contains(expected) && !why.contains('\u{1b}'), "{rule}: {why}");
    }
}

#[test]
fn a_line_shows_what_rules_see() {
    let mut disk = disk("sda", "ata", 100_000_000_000);
    disk.disk.sector = 4096;
    assert_eq!(
        disk.line(),
        "/dev/sda: 100.0 GB, ata, sectors of 4096 bytes, model Model of sda, serial SN-sda, wwn 0x5000sda, \
         id ata-sda, no data"
    );
    assert_eq!([shown(5), shown(1_500_000), shown(2_000_000_000_000)], ["5 bytes", "1.5 MB", "2.0 TB"]);
}
