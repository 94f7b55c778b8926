//! Files of an image as an attacker writes them, one after each 0xff: the first byte says where, the rest is
//! the content. All checks of kiln verify and all rules of its profile look at them.
#![no_main]

use kiln::definition::plan::Arch;
use kiln::tree::{Body, Entry, Tree};
use kiln::verify::{Subject, cis, verify};
use libfuzzer_sys::fuzz_target;

/// Where checks look.
const PATHS: &[&str] = &[
    "etc/passwd",
    "etc/shadow",
    "etc/sudoers",
    "etc/doas.conf",
    "etc/pam.d/x",
    "etc/polkit-1/rules.d/x.rules",
    "etc/sysusers.d/x.conf",
    "etc/tmpfiles.d/x.conf",
    "etc/sysctl.d/x.conf",
    "etc/modprobe.d/x.conf",
    "etc/ssh/sshd_config",
    "etc/audit/rules.d/x.rules",
    "etc/kubernetes/kubelet.conf.d/x.conf",
    "etc/default/kubelet",
    "etc/containerd/config.toml",
    "etc/docker/daemon.json",
    "etc/systemd/system/docker.service.d/x.conf",
    "etc/fstab",
    "var/lib/dpkg/diversions",
    "var/lib/dpkg/info/x.md5sums",
    "var/lib/dpkg/status",
    "usr/share/x",
];

fuzz_target!(|bytes: &[u8]| {
    let mut tree = Tree::default();
    for path in ["usr/sbin/sshd", "usr/sbin/auditd", "usr/bin/kubelet"] {
        tree.insert(path, Entry::file(Body::inline(*b"x"), 0o755));
    }
    let unit = b"[Service]\nExecStart=/usr/bin/kubelet --config-dir=/etc/kubernetes/kubelet.conf.d\n";
    tree.insert("usr/lib/systemd/system/kubelet.service", Entry::file(Body::inline(*unit), 0o644));
    for piece in bytes.split(|byte| *byte == 0xff) {
        let Some((&place, content)) = piece.split_first() else { continue };
        let path = PATHS[usize::from(place) % PATHS.len()];
        tree.insert(path, Entry::file(Body::inline(content), 0o644));
    }
    tree.complete();
    let subject = Subject::new(tree, Arch::Amd64);
    let _ = verify(&subject, &[]);
    let _ = cis::answers(&subject, &[]);
});
