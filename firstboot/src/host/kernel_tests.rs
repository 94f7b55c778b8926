use super::*;

fn root_with(paths: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    for (path, text) in paths {
        files::write(&root.path(path), text.as_bytes(), 0o644).unwrap();
    }
    (folder, root)
}

#[test]
fn the_layout_of_control_groups_is_recognised() {
    for (path, expected) in [
        ("/sys/fs/cgroup/cgroup.controllers", Cgroups::V2),
        ("/sys/fs/cgroup/unified/cgroup.controllers", Cgroups::Hybrid),
        ("/sys/fs/cgroup/memory/tasks", Cgroups::V1),
        ("/sys/fs/other", Cgroups::Absent),
    ] {
        let (_folder, root) = root_with(&[(path, "")]);
        assert_eq!(cgroups(&root), expected, "{path}");
    }
}

#[test]
fn controllers_of_both_versions_are_listed() {
    let (_folder, root) = root_with(&[("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")]);
    assert_eq!(cgroup_controllers(&root), ["cpuset", "cpu", "io", "memory", "pids"]);
    let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t3\t1\t1\nmemory\t0\t1\t0\nbroken\n";
    let (_folder, root) = root_with(&[("/proc/cgroups", table)]);
    assert_eq!(cgroup_controllers(&root), ["cpu"]);
}

#[test]
fn swap_is_what_follows_the_header() {
    let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    let (_folder, root) = root_with(&[("/proc/swaps", header)]);
    assert!(swaps(&root).is_empty());
    let (_folder, root) =
        root_with(&[("/proc/swaps", &format!("{header}/dev/sda2   partition\t1048572\t0\t-2\n"))]);
    assert_eq!(swaps(&root), ["/dev/sda2"]);
}

#[test]
fn parameters_are_read_and_set() {
    let (_folder, root) = root_with(&[
        ("/proc/sys/net/ipv4/ip_forward", "0\n"),
        ("/proc/sys/net/ipv4/conf/eth0.1/forwarding", "1\n"),
    ]);
    assert_eq!(sysctl(&root, "net.ipv4.ip_forward").as_deref(), Some("0"));
    set_sysctl(&root, "net.ipv4.ip_forward", "1").unwrap();
    assert_eq!(sysctl(&root, "net.ipv4.ip_forward").as_deref(), Some("1"));
    assert_eq!(sysctl(&root, "net.ipv4.conf.eth0/1.forwarding").as_deref(), Some("1"));
    assert_eq!(sysctl(&root, "net.absent"), None);
    let failure = set_sysctl(&root, "net.absent", "1").unwrap_err();
    assert_eq!(failure.message, "setting the kernel parameter net.absent to 1: No such file or directory");
}

#[test]
fn modules_are_found_loaded_and_built_in() {
    let (_folder, root) = root_with(&[
        ("/proc/modules", "overlay 151552 0 - Live 0x0\nnf_nat 1 0 - Live 0x0\n"),
        ("/proc/sys/kernel/osrelease", "6.1.0-1-amd64\n"),
        (
            "/lib/modules/6.1.0-1-amd64/modules.builtin",
            "kernel/drivers/firmware/qemu_fw_cfg.ko\nkernel/net/br-x.ko\n",
        ),
        ("/sys/module/loop/parameters/max_loop", "8"),
    ]);
    for present in ["overlay", "qemu_fw_cfg", "br_x", "br-x", "loop"] {
        assert!(has_module(&root, present), "{present}");
    }
    assert!(!has_module(&root, "nf"));
    assert_eq!(load_module(&root, "absent"), Ok(()), "nothing is loaded for a folder");
}

#[test]
fn releases_are_compared_by_their_first_two_numbers() {
    for (text, expected) in [
        ("6.1.0-18-cloud-amd64", Some((6, 1))),
        ("3.10.0-1160.el7.x86_64", Some((3, 10))),
        ("5.15-generic", Some((5, 15))),
        ("7", None),
        ("x.y", None),
        ("", None),
        ("99999999999.1", None),
    ] {
        assert_eq!(release_numbers(text), expected, "{text}");
    }
}

#[test]
fn mounts_are_read() {
    let table = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                 23 22 254:2 / /usr ro,relatime - squashfs /dev/vda2 rw\n\
                 24 22 254:3 / /mnt rw master:3 - iso9660 /dev/sr0 ro\nbroken line\n";
    let (_folder, root) = root_with(&[("/proc/self/mountinfo", table)]);
    let seen: Vec<_> = mounts(&root)
        .into_iter()
        .map(|mount| (mount.point, mount.shared, mount.read_only))
        .collect();
    assert_eq!(
        seen,
        [("/".to_owned(), true, false), ("/usr".to_owned(), false, true), ("/mnt".to_owned(), false, true)]
    );
}
