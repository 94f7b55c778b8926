//! How an image is read, whatever a check looks for in it.

use std::io::Read as _;

use super::tests::{Fault, check_faults, healthy, plant};
use super::{Subject, Wanted, boot, read, upper, verify};
use crate::definition::plan::Arch;
use crate::store::Store;
use crate::tree::{Body, Entry};

fn link(node: &mut Subject, path: &str, target: &str) {
    node.tree.insert(path, Entry::symlink(target));
}

#[test]
fn what_is_behind_links_to_folders_is_found() {
    let faults: &[Fault] = &[
        ("sudo", "/etc/sudoers.d/x", |node| {
            link(node, "etc/sudoers.d", "/opt/s");
            plant(node, "opt/s/x", 0o440, b"ubuntu ALL=(ALL) NOPASSWD:ALL\n");
        }),
        ("ssh", "/etc/ssh/sshd_config.d/x.conf", |node| {
            node.tree.remove("etc/ssh");
            link(node, "etc/ssh", "../opt/ssh");
            link(node, "opt/ssh/sshd_config.d", "/opt/more");
            plant(node, "opt/more/x.conf", 0o644, b"PermitRootLogin yes\n");
        }),
        ("identity", "/etc/ssh/ssh_host_rsa_key.pub", |node| {
            node.tree.remove("etc/ssh");
            link(node, "etc/ssh", "/opt/ssh");
            plant(node, "opt/ssh/ssh_host_rsa_key.pub", 0o644, b"ssh-rsa AAAA");
        }),
        ("debug-shell", "/etc/systemd/system/getty@tty1.service.d/x.conf", |node| {
            link(node, "etc/systemd/system/getty@tty1.service.d", "/opt/g");
            plant(node, "opt/g/x.conf", 0o644, b"[Service]\nExecStart=-/sbin/agetty --autologin root %I\n");
        }),
        ("leftover", "/root/.bash_history", |node| {
            link(node, "root", "var/roothome");
            plant(node, "var/roothome/.bash_history", 0o600, b"ls\n");
        }),
        ("kernel-argument", "init=/bin/sh", |node| {
            link(node, "boot", "usr/lib/x");
            plant(node, "usr/lib/x/grub/grub.cfg", 0o644, b"linux /vmlinuz init=/bin/sh\n");
            node.tree.complete();
            let lines = boot::of_tree(node);
            node.command_lines.extend(lines);
        }),
        ("unread", "/etc/sudoers.d", |node| link(node, "etc/sudoers.d", "/")),
        ("unread", "/etc/a/b/b/b/b/b/b/b/b", |node| {
            link(node, "etc/a", "/opt/a");
            link(node, "opt/a/b", "/opt/b");
            link(node, "opt/b/b", "/opt/a");
        }),
    ];
    check_faults(faults);
}

#[test]
fn links_that_lead_to_nothing_new_are_no_fault() {
    let mut node = healthy();
    link(&mut node, "bin", "usr/bin");
    link(&mut node, "etc/ssh/here", ".");
    link(&mut node, "etc/ssh/above", "..");
    link(&mut node, "etc/ssh/gone", "/nowhere");
    link(&mut node, "etc/ssh/loop", "loop");
    node.tree.complete();
    assert_eq!(verify(&node, &[]), []);
}

/// A file that a check wants is never left out without a word.
#[test]
fn files_that_are_too_large_are_told() {
    const LARGE: &[u8] = &[b'\n'; (1 << 20) + 1];
    let faults: &[Fault] = &[
        ("unread", "/etc/shadow", |node| plant(node, "etc/shadow", 0o640, LARGE)),
        ("unread", "/etc/passwd", |node| plant(node, "etc/passwd", 0o644, LARGE)),
        ("unread", "/etc/ssh/sshd_config", |node| plant(node, "etc/ssh/sshd_config", 0o644, LARGE)),
        ("unread", "/etc/sudoers.d/x", |node| plant(node, "etc/sudoers.d/x", 0o440, LARGE)),
        ("unread", "/etc/machine-id", |node| plant(node, "etc/machine-id", 0o444, LARGE)),
        ("unread", "/etc/ld.so.preload", |node| {
            plant(node, "usr/share/x", 0o644, LARGE);
            link(node, "etc/ld.so.preload", "/usr/share/x");
        }),
    ];
    check_faults(faults);
    let mut node = healthy();
    plant(&mut node, "boot/vmlinuz-1", 0o644, LARGE);
    node.tree.complete();
    assert_eq!(boot::of_tree(&node), [""; 0]);
    assert_eq!(verify(&node, &[]), []);
}

/// A list of a package may name a file any number of times, and a file may have any number of names.
#[test]
fn a_file_is_read_once_however_often_it_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, vec![0; 4 << 20]).unwrap();
    let body = Body::whole(&path).unwrap();
    let mut node = healthy();
    let mut list = String::new();
    for number in 0..2000 {
        list += &format!("{number:032}  usr/share/x\n{number:032}  usr/share/x-{number}\n");
        node.tree.insert(format!("usr/share/x-{number}"), Entry::file(body.clone(), 0o644));
    }
    node.tree.insert("usr/share/x", Entry::file(body, 0o644));
    plant(&mut node, "var/lib/dpkg/info/x.md5sums", 0o644, list.as_bytes());
    node.tree.complete();
    let start = std::time::Instant::now();
    let found = super::findings_of(&node, "package-file");
    assert_eq!(found.len(), 2001);
    // 16 GB, if each line were a reading.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn lists_of_packages_have_a_limit() {
    let mut node = healthy();
    plant(&mut node, "var/lib/dpkg/info/x.md5sums", 0o644, &vec![b'\n'; (8 << 20) + 1]);
    node.tree.complete();
    let found = verify(&node, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].check, found[0].what.as_str()), ("unread", "/var/lib/dpkg/info/x.md5sums"));
}

const UPPER: &str = "var/lib/kiln/etc/upper";

fn attribute(node: &mut Subject, path: &str, name: &str, value: &str) {
    let mut entry = node.tree.get(path).cloned().unwrap_or_else(|| Entry::directory(0o755));
    entry.xattrs.insert(name.to_owned(), value.as_bytes().to_vec());
    node.tree.insert(path, entry);
}

/// What is found in a node with these changes in the upper side of `/etc`, besides that there are some.
fn of_upper(changes: &[(&str, &str)], fault: fn(&mut Subject)) -> Vec<String> {
    let mut node = healthy();
    for (path, text) in changes {
        plant(&mut node, &format!("{UPPER}/{path}"), 0o440, text.as_bytes());
    }
    fault(&mut node);
    node.tree.complete();
    upper::lay(&mut node.tree);
    let found = verify(&node, &[format!("leftover:/{UPPER}")]);
    assert_eq!(verify(&node, &[]).len(), found.len() + 1, "{found:?}");
    found.into_iter().map(|one| format!("{} {}", one.check, one.what)).collect()
}

#[test]
fn what_a_machine_changed_in_etc_is_checked() {
    let nothing = |_: &mut Subject| ();
    for (path, text, found) in [
        ("shadow", "root::1:0:9:7:::\n", "password /etc/shadow"),
        ("machine-id", "0123456789abcdef0123456789abcdef\n", "identity /etc/machine-id"),
        ("sudoers.d/x", "ubuntu ALL=(ALL) NOPASSWD:ALL\n", "sudo /etc/sudoers.d/x"),
        ("ld.so.preload", "/usr/lib/evil.so\n", "preload /etc/ld.so.preload"),
        ("ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA", "identity /etc/ssh/ssh_host_rsa_key.pub"),
    ] {
        assert_eq!(of_upper(&[(path, text)], nothing), [found]);
    }
    // A whiteout, an opaque folder, and a folder where a file was hide what is below.
    let evil = |node: &mut Subject| {
        plant(node, "etc/sudoers.d/x", 0o440, b"x ALL=(ALL) NOPASSWD:ALL\n");
        plant(node, "etc/ld.so.preload", 0o644, b"/usr/lib/evil.so\n");
    };
    assert_eq!(of_upper(&[("y", "")], evil), ["preload /etc/ld.so.preload", "sudo /etc/sudoers.d/x"]);
    let hidden = of_upper(&[], |node| {
        plant(node, "etc/sudoers.d/x", 0o440, b"x ALL=(ALL) NOPASSWD:ALL\n");
        plant(node, "etc/ld.so.preload", 0o644, b"/usr/lib/evil.so\n");
        attribute(node, &format!("{UPPER}/sudoers.d"), "trusted.overlay.opaque", "y");
        attribute(node, &format!("{UPPER}/ld.so.preload"), "trusted.overlay.whiteout", "y");
    });
    assert_eq!(hidden, [""; 0]);
    // What had another name is found under its new one.
    let renamed = of_upper(&[], |node| {
        plant(node, "etc/old/sub/x", 0o440, b"x ALL=(ALL) NOPASSWD:ALL\n");
        attribute(node, &format!("{UPPER}/sudoers.d"), "trusted.overlay.redirect", "old");
        attribute(node, &format!("{UPPER}/sudoers.d/y"), "trusted.overlay.redirect", "/old/sub");
        attribute(node, &format!("{UPPER}/sudoers.d/z"), "trusted.overlay.redirect", "sub");
    });
    let expected = ["x", "x", "x"].iter().zip(["sub", "y", "z"]);
    let expected: Vec<String> =
        expected.map(|(name, folder)| format!("sudo /etc/sudoers.d/{folder}/{name}")).collect();
    assert_eq!(renamed, expected);
}

#[test]
fn what_a_machine_changed_in_opt_is_checked() {
    let mut node = healthy();
    plant(&mut node, "var/lib/kiln/opt/upper/x", 0o4755, b"x");
    node.tree.complete();
    upper::lay(&mut node.tree);
    let found: Vec<String> = verify(&node, &[]).into_iter().map(|one| one.what).collect();
    assert_eq!(found, ["/var/lib/kiln/opt/upper", "/opt/x", "/var/lib/kiln/opt/upper/x"]);
}

#[test]
fn an_archive_that_cannot_be_read_says_why() {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, size) in
        [("usr/lib/os-release", tar::EntryType::Regular, 4000), ("var/pipe", tar::EntryType::Fifo, 0)]
    {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, std::io::repeat(b'x').take(size)).unwrap();
    }
    let whole = tar.into_inner().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    for (bytes, says) in [
        (whole.as_slice(), "named pipe"),
        (&whole[..2000], "the archive ends after"),
        (&whole[..100], "its first bytes are unknown"),
        (b"vhdxfile", "VHDX"),
    ] {
        let path = folder.path().join("image");
        std::fs::write(&path, bytes).unwrap();
        let wanted = Wanted { arch: Arch::Amd64, edition: None };
        let error = read(&path, "it", wanted, &store, folder.path()).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("nor a disk"), "{error}");
    }
}
