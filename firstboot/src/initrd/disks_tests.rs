use super::*;

fn partition(number: u32, kind: &str, id: &str) -> Partition {
    Partition { number, kind: kind.to_owned(), id: id.to_owned(), first: 2048, last: 4095 }
}

fn disk(name: &str, partitions: Vec<Partition>) -> Disk {
    Disk { name: name.to_owned(), sector: 512, sectors: 8192, table: Ok(Table::of(partitions)) }
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

#[test]
fn one_disk_with_both_is_taken() {
    let root_only = disk("sdb", vec![partition(1, partition_type::ROOT, "other")]);
    let broken = Disk { table: Err("no GPT".to_owned()), ..whole("sdc", "x") };
    let Choice::One(found) = choose(&[root_only, broken, whole("vda", "r")], None) else {
        panic!("not found")
    };
    assert_eq!((found.disk.name.as_str(), found.root, found.var), ("vda", 2, 4));
}

#[test]
fn two_disks_need_an_identifier() {
    let disks = [whole("vda", "a"), whole("vdb", "b")];
    let Choice::Several(names) = choose(&disks, None) else { panic!("took one at random") };
    let message = ambiguous(&names, None).to_string();
    assert!(
        message.contains("vda 2 root a, vdb 2 root b") && message.contains("root=PARTUUID="),
        "{message}"
    );
    let Choice::One(found) = choose(&disks, Some("b")) else { panic!("not found") };
    assert_eq!(found.disk.name, "vdb");
    assert!(matches!(choose(&disks, Some("c")), Choice::None));
    let twins = [whole("vda", "a"), whole("vdb", "a")];
    let Choice::Several(names) = choose(&twins, Some("a")) else { panic!("took one of two twins") };
    assert!(ambiguous(&names, Some("a")).to_string().contains("detach the copy"));
}

#[test]
fn two_roots_on_one_disk_need_an_identifier_too() {
    let mut partitions =
        vec![partition(2, partition_type::ROOT, "a"), partition(3, partition_type::ROOT, "b")];
    partitions.push(partition(4, partition_type::VAR, "v"));
    let disks = [disk("vda", partitions)];
    assert!(matches!(choose(&disks, None), Choice::Several(_)));
    assert!(matches!(choose(&disks, Some("b")), Choice::One(Found { root: 3, .. })));
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
