use super::*;
use crate::digest::Digest;
use crate::tree::{Body, Entry, Tree};

/// A program of amd64, as far as its header tells.
pub(super) const PROGRAM: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0";

/// A node without faults.
pub(super) fn healthy() -> Subject {
    let mut subject = Subject::new(Tree::default(), Arch::Amd64);
    subject.command_lines.push("console=ttyS0 root=PARTUUID=1 quiet".to_owned());
    subject.vouched.push(("kubelet".to_owned(), Digest::of(PROGRAM)));
    let md5 = hex::encode(<md5::Md5 as md5::Digest>::digest(PROGRAM));
    let su = hex::encode(<md5::Md5 as md5::Digest>::digest(b"x"));
    for (path, mode, text) in [
        ("etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"),
        ("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n"),
        ("etc/shadow", 0o640, "root:*:1:0:9:7:::\nnobody:!*:1:0:9:7:::\n"),
        ("etc/machine-id", 0o444, "uninitialized\n"),
        ("etc/ssh/sshd_config", 0o644, "#PermitRootLogin yes\nPasswordAuthentication no\nUsePAM yes\n"),
        ("etc/apt/sources.list.d/d.sources", 0o644, "Types: deb\nSigned-By: /k.gpg\n"),
        ("etc/firstboot/kubelet.yaml", 0o644, "systemReserved: {cpu: auto}\n"),
        ("etc/containerd/config.toml", 0o644, "version = 3\n"),
        ("usr/lib/systemd/system/containerd.service", 0o644, "[Service]\nExecStart=/usr/bin/containerd\n"),
        ("usr/lib/systemd/system/debug-shell.service", 0o644, "[Service]\n"),
        ("opt/cni/bin/loopback", 0o755, "x"),
        (
            "var/lib/dpkg/info/bash.md5sums",
            0o644,
            &format!("{md5}  usr/bin/bash\n{su}  usr/bin/su\n{md5}  usr/share/doc/gone\n"),
        ),
        ("usr/share/doc/x/example.pem", 0o644, "-----BEGIN PRIVATE KEY-----"),
    ] {
        plant(&mut subject, path, mode, text.as_bytes());
    }
    for path in ["usr/bin/bash", "usr/bin/kubelet", "usr/bin/containerd", "usr/bin/runc"] {
        plant(&mut subject, path, 0o755, PROGRAM);
    }
    plant(&mut subject, "usr/bin/su", 0o4755, b"x");
    let link = Entry::symlink("/usr/lib/systemd/system/containerd.service");
    subject.tree.insert("etc/systemd/system/multi-user.target.wants/containerd.service", link);
    subject.tree.insert("tmp", Entry::directory(0o1777));
    subject.tree.complete();
    subject
}

pub(super) fn plant(subject: &mut Subject, path: &str, mode: u32, bytes: &[u8]) {
    subject.tree.insert(path, Entry::file(Body::inline(bytes), mode));
}

fn enable(subject: &mut Subject, unit: &str) {
    let target = format!("/usr/lib/systemd/system/{unit}");
    subject
        .tree
        .insert(format!("etc/systemd/system/multi-user.target.wants/{unit}"), Entry::symlink(target));
}

/// A fault: the check that finds it, where, and what makes it.
pub(super) type Fault = (&'static str, &'static str, fn(&mut Subject));

#[test]
fn a_sound_node_has_no_findings() {
    assert_eq!(verify(&healthy(), &[]), []);
}

/// Plants each fault into a node without others.
pub(super) fn check_faults(faults: &[Fault]) {
    for (check, what, fault) in faults {
        let mut node = healthy();
        fault(&mut node);
        node.tree.complete();
        let found = verify(&node, &[]);
        let places: Vec<(&str, &str)> = found.iter().map(|one| (one.check, one.what.as_str())).collect();
        assert_eq!(places, [(*check, *what)], "{found:#?}");
        for allowed in [(*check).to_owned(), format!("{check}:{what}")] {
            assert_eq!(verify(&node, &[allowed]), []);
        }
    }
}

#[test]
fn every_planted_fault_is_found_where_it_is_and_by_its_check_alone() {
    let faults: &[Fault] = &[
        ("password", "/etc/shadow", |node| plant(node, "etc/shadow", 0o640, b"root:$6$x$y:1:0:9:7:::\n")),
        ("password", "/etc/shadow", |node| plant(node, "etc/shadow", 0o640, b"root::1:0:9:7:::\n")),
        ("password", "/etc/passwd", |node| plant(node, "etc/passwd", 0o644, b"root::0:0::/:/bin/sh\n")),
        ("account", "/etc/passwd", |node| {
            plant(node, "etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n")
        }),
        ("sudo", "/etc/sudoers.d/x", |node| {
            plant(node, "etc/sudoers.d/x", 0o440, b"ubuntu ALL=(ALL) NOPASSWD:ALL\n")
        }),
        ("identity", "/etc/machine-id", |node| {
            plant(node, "etc/machine-id", 0o444, b"0123456789abcdef0123456789abcdef\n")
        }),
        ("identity", "/etc/ssh/ssh_host_ed25519_key.pub", |node| {
            plant(node, "etc/ssh/ssh_host_ed25519_key.pub", 0o644, b"ssh-ed25519 AAAA");
        }),
        ("identity", "/etc/hostname", |node| plant(node, "etc/hostname", 0o644, b"builder\n")),
        ("identity", "/var/lib/systemd/random-seed", |node| {
            plant(node, "var/lib/systemd/random-seed", 0o600, b"x")
        }),
        ("leftover", "/root/.bash_history", |node| plant(node, "root/.bash_history", 0o600, b"ls\n")),
        ("leftover", "/var/lib/cloud/instances/i-1/user-data.txt", |node| {
            plant(node, "var/lib/cloud/instances/i-1/user-data.txt", 0o600, b"#cloud-config\n");
        }),
        ("leftover", "/var/log/apt/history.log", |node| {
            plant(node, "var/log/apt/history.log", 0o644, b"Start\n")
        }),
        ("key", "/etc/kubernetes/pki/x.pem", |node| {
            plant(node, "etc/kubernetes/pki/x.pem", 0o600, b"-----BEGIN RSA PRIVATE KEY-----\n");
        }),
        ("key", "/root/.kube/config", |node| {
            plant(node, "root/.kube/config", 0o600, b"users:\n- user: {client-key-data: Zm9v}\n")
        }),
        ("token", "/etc/kubernetes/join.yaml", |node| {
            plant(node, "etc/kubernetes/join.yaml", 0o600, b"token: abcdef.0123456789abcdef\n");
        }),
        ("token", "/var/lib/kubelet/config.json", |node| {
            plant(node, "var/lib/kubelet/config.json", 0o600, b"{\"auths\": {\"h\": {\"auth\": \"eA==\"}}}");
        }),
        ("login", "/root/.ssh/authorized_keys", |node| {
            plant(node, "root/.ssh/authorized_keys", 0o600, b"ssh-rsa A")
        }),
        ("world-writable", "/usr/lib/systemd/system/containerd.service", |node| {
            plant(node, "usr/lib/systemd/system/containerd.service", 0o666, b"[Service]\n");
        }),
        ("world-writable", "/etc/open", |node| {
            node.tree.insert("etc/open", Entry::directory(0o777));
        }),
        ("setuid", "/usr/bin/helper", |node| plant(node, "usr/bin/helper", 0o4755, b"x")),
        ("setuid", "/opt/su", |node| plant(node, "opt/su", 0o4755, b"x")),
        ("owner", "/usr/bin/bash", |node| {
            let entry = Entry { uid: 65534, ..node.tree.get("usr/bin/bash").unwrap().clone() };
            node.tree.insert("usr/bin/bash", entry);
        }),
        ("owner", "/etc/x", |node| {
            node.tree.insert("etc/x", Entry { uid: 1234, ..Entry::file(Body::inline(*b"x"), 0o644) });
        }),
        ("secret-mode", "/etc/shadow", |node| plant(node, "etc/shadow", 0o644, b"root:*:1:0:9:7:::\n")),
        ("secret-mode", "/etc/kubernetes/pki/apiserver.key", |node| {
            plant(node, "etc/kubernetes/pki/apiserver.key", 0o644, b"(in the other format)");
        }),
        ("debug-shell", "/etc/systemd/system/multi-user.target.wants/debug-shell.service", |node| {
            enable(node, "debug-shell.service");
        }),
        ("debug-shell", "/etc/systemd/system/getty@tty1.service.d/x.conf", |node| {
            let text = b"[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root %I\n";
            plant(node, "etc/systemd/system/getty@tty1.service.d/x.conf", 0o644, text);
        }),
        ("unit", "/etc/systemd/system/multi-user.target.wants/gone.service", |node| {
            enable(node, "gone.service")
        }),
        ("ssh", "/etc/ssh/sshd_config.d/x.conf", |node| {
            plant(node, "etc/ssh/sshd_config.d/x.conf", 0o644, b"PermitRootLogin yes\n");
        }),
        ("ssh", "/etc/ssh/sshd_config", |node| {
            plant(node, "etc/ssh/sshd_config", 0o644, b"passwordauthentication=YES\n")
        }),
        ("ssh", "/etc/ssh/sshd_config", |node| {
            plant(
                node,
                "etc/ssh/sshd_config.d/a.conf",
                0o644,
                b"Match Address 10.9.9.9\nPermitRootLogin no\n",
            );
            plant(node, "etc/ssh/sshd_config", 0o644, b"\"PermitRootLogin\" yes\n");
        }),
        ("password", "/etc/shadow", |node| {
            plant(node, "usr/share/x", 0o600, b"root:$6$x$y:1:0:9:7:::\n");
            node.tree.insert("etc/shadow", Entry::symlink("/usr/share/x"));
        }),
        ("login", "/root/.ssh/authorized_keys", |node| {
            plant(node, "usr/share/x", 0o600, b"ssh-rsa A");
            node.tree.insert("root/.ssh/authorized_keys", Entry::symlink("/usr/share/x"));
        }),
        ("node", "/usr/bin/kubelet", |node| {
            node.vouched.clear();
            plant(node, "usr/share/x", 0o755, b"#!/bin/sh\n");
            node.tree.insert("usr/bin/kubelet", Entry::symlink("/usr/share/x"));
        }),
        ("kubelet", "/etc/kubernetes/x.yaml", |node| {
            plant(
                node,
                "etc/kubernetes/x.yaml",
                0o644,
                format!("anonymous{}", "[".repeat(1_000_000)).as_bytes(),
            );
        }),
        ("package-source", "/etc/apt/sources.list", |node| {
            plant(node, "etc/apt/sources.list", 0o644, b"deb [ trusted = yes ] http://x.example d main\n");
        }),
        ("preload", "/etc/ld.so.preload", |node| {
            plant(node, "etc/ld.so.preload", 0o644, b"/usr/lib/evil.so\n")
        }),
        ("runtime", "/etc/containerd/certs.d/r.example/hosts.toml", |node| {
            plant(node, "etc/containerd/certs.d/r.example/hosts.toml", 0o644, b"skip_verify = true\n");
        }),
        ("runtime", "/etc/docker/daemon.json", |node| {
            plant(node, "etc/docker/daemon.json", 0o644, b"{\"hosts\": [\"tcp://0.0.0.0:2375\"]}");
        }),
        ("kubelet", "/etc/firstboot/kubelet.yaml", |node| {
            plant(
                node,
                "etc/firstboot/kubelet.yaml",
                0o644,
                b"authentication: {anonymous: {enabled: true}}\n",
            );
        }),
        ("kubelet", "/etc/kubernetes/kubelet.conf.d/x.conf", |node| {
            plant(node, "etc/kubernetes/kubelet.conf.d/x.conf", 0o644, b"readOnlyPort: 10255\n");
        }),
        ("node", "/usr/bin/runc", |node| plant(node, "usr/bin/runc", 0o644, PROGRAM)),
        ("node", "/usr/bin/containerd", |node| plant(node, "usr/bin/containerd", 0o755, b"#!/bin/sh\n")),
        ("node", "CNI", |node| node.tree.remove("opt/cni")),
        ("node", "container runtime", |node| {
            node.tree.remove("usr/lib/systemd/system/containerd.service");
            node.tree.remove("etc/systemd/system/multi-user.target.wants");
        }),
        ("kernel-argument", "systemd.debug_shell=ttyS1", |node| {
            node.command_lines[0] += " systemd.debug_shell=ttyS1"
        }),
        ("kernel-argument", "init=/bin/sh", |node| node.command_lines[0] += " init=/bin/sh"),
        ("kernel-argument", "rdinit=/bin/sh", |node| node.command_lines[0] += " rdinit=/bin/sh"),
        ("kernel-argument", "rd.systemd.debug_shell=1", |node| {
            node.command_lines[0] += " rd.systemd.debug_shell=1"
        }),
        ("kernel-argument", "apparmor=0", |node| node.command_lines[0] += " apparmor=0"),
        ("package-file", "/usr/bin/bash", |node| plant(node, "usr/bin/bash", 0o755, b"\x7fELF another")),
        ("artifact", "/usr/bin/kubelet", |node| {
            plant(node, "usr/bin/kubelet", 0o755, &[PROGRAM, b"and more"].concat());
        }),
        ("sudo", "/etc/doas.conf", |node| plant(node, "etc/doas.conf", 0o600, b"permit nopass :wheel\n")),
        ("sudo", "/etc/sudoers", |node| plant(node, "etc/sudoers", 0o440, b"Defaults:x !authenticate\n")),
        ("sudo", "/etc/polkit-1/rules.d/x.rules", |node| {
            let rule = b"polkit.addRule(function() { return polkit.Result.YES; });";
            plant(node, "etc/polkit-1/rules.d/x.rules", 0o644, rule);
        }),
        ("sudo", "/usr/share/polkit-1/rules.d/x.rules", |node| {
            plant(node, "usr/share/polkit-1/rules.d/x.rules", 0o644, b"return polkit.Result.YES;");
        }),
        ("sudo", "/etc/polkit-1/localauthority/50-local.d/x.pkla", |node| {
            let path = "etc/polkit-1/localauthority/50-local.d/x.pkla";
            plant(node, path, 0o644, b"[x]\nAction=*\nResultAny = yes\n");
        }),
        ("sudo", "/etc/pam.d/sshd", |node| {
            plant(node, "etc/pam.d/sshd", 0o644, b"auth required pam_permit.so\n@include common-auth\n");
        }),
        ("sudo", "/etc/pam.d/login", |node| {
            plant(node, "etc/pam.d/login", 0o644, b"@include common-auth\nauth  sufficient  pam_permit.so\n");
        }),
        ("account", "/etc/userdb/x.user", |node| {
            plant(node, "etc/userdb/x.user", 0o644, b"{\"userName\":\"x\"}")
        }),
        ("account", "/usr/lib/userdb/x:wheel.membership", |node| {
            plant(node, "usr/lib/userdb/x:wheel.membership", 0o644, b"{}");
        }),
        ("account", "/usr/lib/sysusers.d/x.conf", |node| {
            plant(node, "usr/lib/sysusers.d/x.conf", 0o644, b"u toor 0 - / /bin/sh\n");
        }),
        ("account", "/etc/sysusers.d/x.conf", |node| {
            plant(node, "etc/sysusers.d/x.conf", 0o644, b"m nobody sudo\n");
        }),
        ("login", "/etc/tmpfiles.d/x.conf", |node| {
            let line = b"f /root/.ssh/authorized_keys 0600 - - - ssh-rsa\\x20A\n";
            plant(node, "etc/tmpfiles.d/x.conf", 0o644, line);
        }),
        ("key", "/etc/credstore/x", |node| plant(node, "etc/credstore/x", 0o600, b"x")),
        ("key", "/usr/share/x", |node| plant(node, "usr/share/x", 0o644, &private_key(0))),
        ("key", "/opt/x.tar", |node| plant(node, "opt/x.tar", 0o644, &private_key(3 << 20))),
        ("key", "/var/lib/x/disk", |node| plant(node, "var/lib/x/disk", 0o644, &private_key((1 << 20) - 9))),
        ("key", "/etc/wireguard/wg0.conf", |node| {
            plant(node, "etc/wireguard/wg0.conf", 0o600, b"[Interface]\nPrivateKey = eA==\n");
        }),
        ("key", "/etc/NetworkManager/system-connections/x.nmconnection", |node| {
            let path = "etc/NetworkManager/system-connections/x.nmconnection";
            plant(node, path, 0o600, b"[wifi-security]\npsk=secret\n");
        }),
        ("key", "/etc/wpa_supplicant/wpa_supplicant.conf", |node| {
            plant(node, "etc/wpa_supplicant/wpa_supplicant.conf", 0o600, b"network={\n psk=\"secret\"\n}\n");
        }),
        ("key", "/etc/apt/auth.conf.d/x.conf", |node| {
            plant(node, "etc/apt/auth.conf.d/x.conf", 0o600, b"machine a login b password c\n");
        }),
        ("key", "/etc/apt/sources.list", |node| {
            plant(node, "etc/apt/sources.list", 0o644, b"deb https://me:secret@x.example d main\n");
        }),
        ("key", "/root/.netrc", |node| plant(node, "root/.netrc", 0o600, b"machine a login b password c\n")),
        ("key", "/home/x/.git-credentials", |node| {
            plant(node, "home/x/.git-credentials", 0o600, b"https://me:secret@x.example\n");
        }),
        ("key", "/root/.aws/credentials", |node| {
            plant(node, "root/.aws/credentials", 0o600, b"[default]\naws_session_token = x\n");
        }),
        ("token", "/root/.docker/config.json", |node| {
            plant(node, "root/.docker/config.json", 0o600, b"{\"auths\": {\"h\": {\"auth\": \"eA==\"}}}");
        }),
        ("kubelet", "/etc/default/kubelet", |node| {
            plant(node, "etc/default/kubelet", 0o644, b"KUBELET_EXTRA_ARGS=--read-only-port=10255\n");
        }),
        ("kubelet", "/usr/lib/systemd/system/kubelet.service.d/x.conf", |node| {
            let path = "usr/lib/systemd/system/kubelet.service.d/x.conf";
            plant(
                node,
                path,
                0o644,
                b"[Service]\nEnvironment=\"A=--v=2 --authorization-mode AlwaysAllow\"\n",
            );
        }),
        ("kubelet", "/etc/kubernetes/x.yaml", |node| {
            plant(node, "etc/kubernetes/x.yaml", 0o644, b"a: 1\n---\nreadOnlyPort: 10255\n");
        }),
        ("runtime", "/etc/docker/daemon.json", |node| {
            plant(node, "etc/docker/daemon.json", 0o644, b"{\"hosts\": [\"tcp://:2375\"]}");
        }),
        ("runtime", "/etc/docker/daemon.json", |node| {
            plant(node, "etc/docker/daemon.json", 0o644, b"{\"hosts\": [\"tcp://[::]:2375\"]}");
        }),
        ("runtime", "/etc/systemd/system/docker.service.d/x.conf", |node| {
            let path = "etc/systemd/system/docker.service.d/x.conf";
            plant(
                node,
                path,
                0o644,
                b"[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H tcp://10.0.0.1:2375\n",
            );
        }),
        ("runtime", "/etc/containerd/config.toml", |node| {
            plant(node, "etc/containerd/config.toml", 0o644, b"[grpc]\n  tcp_address = \":1234\"\n");
        }),
        ("runtime", "/etc/crio/crio.conf.d/x.conf", |node| {
            plant(node, "etc/crio/crio.conf.d/x.conf", 0o644, b"stream_address = \"0.0.0.0\"\n");
        }),
        ("runtime", "/etc/containerd/certs.d/r.example/hosts.toml", |node| {
            let path = "etc/containerd/certs.d/r.example/hosts.toml";
            plant(node, path, 0o644, b"[host.\"http://r.example\"]\n");
        }),
        ("debug-shell", "/etc/systemd/system/multi-user.target.wants/update.service", |node| {
            let link = Entry::symlink("/usr/lib/systemd/system/debug-shell.service");
            node.tree.insert("etc/systemd/system/multi-user.target.wants/update.service", link);
        }),
        ("debug-shell", "/etc/systemd/system/update.service", |node| {
            let link = Entry::symlink("/usr/lib/systemd/system/debug-shell.service");
            node.tree.insert("etc/systemd/system/update.service", link);
        }),
        ("debug-shell", "/etc/systemd/system/x.service", |node| {
            let text = b"[Service]\nExecStart=-/bin/bash -l\nStandardInput=tty-force\nTTYPath=/dev/tty9\n";
            plant(node, "etc/systemd/system/x.service", 0o644, text);
        }),
        ("setuid", "/usr/bin/helper", |node| plant(node, "usr/bin/helper", 0o2755, b"x")),
        ("setuid", "/usr/bin/helper", |node| {
            let mut entry = Entry::file(Body::inline(*b"x"), 0o755);
            entry.xattrs.insert("security.capability".to_owned(), vec![1]);
            node.tree.insert("usr/bin/helper", entry);
        }),
        ("leftover", "/var/log/syslog.1", |node| plant(node, "var/log/syslog.1", 0o640, b"x")),
        ("leftover", "/run/log/journal/x/system.journal", |node| {
            plant(node, "run/log/journal/x/system.journal", 0o640, b"x");
        }),
        ("package-file", "/usr/bin/bash.distrib", |node| {
            plant(node, "var/lib/dpkg/diversions", 0o644, b"/usr/bin/bash\n/usr/bin/bash.distrib\nother\n");
            plant(node, "usr/bin/bash.distrib", 0o755, b"\x7fELF another");
        }),
        ("unread", "/etc/sudoers", |node| plant(node, "etc/sudoers", 0o440, &[b'#'; (1 << 20) + 1])),
        ("kernel-argument", "init=/bin/sh", |node| {
            plant(
                node,
                "boot/grub/grub.cfg",
                0o644,
                b"menuentry x {\n  linux /vmlinuz root=/dev/sda init=/bin/sh\n}\n",
            );
            let lines = boot::of_tree(node);
            node.command_lines.extend(lines);
        }),
    ];
    assert!(faults.len() >= 30);
    check_faults(faults);
    let found: BTreeSet<&str> = faults.iter().map(|(check, ..)| *check).collect();
    assert_eq!(
        CHECKS.iter().map(|check| check.name).collect::<BTreeSet<_>>(),
        found,
        "each check has a fault here"
    );
}

/// A private key behind so many other bytes.
pub(super) fn private_key(behind: usize) -> Vec<u8> {
    let key = b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n";
    [vec![b'x'; behind].as_slice(), b"\n", key].concat()
}

#[test]
fn what_looks_like_a_fault_and_is_none_is_not_told() {
    let harmless: &[fn(&mut Subject)] = &[
        |node| {
            let own = b"auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n";
            plant(node, "etc/pam.d/common-auth", 0o644, own);
        },
        |node| plant(node, "etc/pam.d/x", 0o644, b"@include common-auth\naccount required pam_permit.so\n"),
        // Programs have the marks of keys, to look for them.
        |node| plant(node, "usr/bin/tool", 0o755, b"\x7fELF-----BEGIN PRIVATE KEY-----\0-----END"),
        |node| plant(node, "etc/docker/daemon.json", 0o644, b"{\"hosts\": [\"tcp://127.0.0.1:2375\"]}"),
        |node| plant(node, "etc/containerd/config.toml", 0o644, b"stream_server_address = \"127.0.0.1\"\n"),
        |node| {
            let path = "etc/systemd/system/containerd.service.d/x.conf";
            plant(node, path, 0o644, b"[Service]\nEnvironment=HTTP_PROXY=http://proxy.example:3128\n");
        },
        |node| {
            plant(node, "usr/share/doc/systemd/README.logs", 0o644, b"text");
            let link = Entry::symlink("../../usr/share/doc/systemd/README.logs");
            node.tree.insert("var/log/README", link);
        },
        |node| {
            let schema = b"{\"$schema\": \"http://json-schema.example/x\"}";
            plant(node, "etc/containers/x.json", 0o644, schema);
        },
        |node| {
            plant(node, "usr/lib/tmpfiles.d/p.conf", 0o644, b"f^= /root/.ssh/authorized_keys 600 - - - c\n")
        },
        |node| plant(node, "etc/wireguard/x.conf", 0o600, b"PrivateKey =\n# PrivateKey = x\n"),
        // A package's file that another package has moved.
        |node| {
            plant(node, "var/lib/dpkg/diversions", 0o644, b"/usr/bin/bash\n/usr/bin/bash.distrib\nother\n");
            plant(node, "usr/bin/bash.distrib", 0o755, PROGRAM);
            plant(node, "usr/bin/bash", 0o755, b"\x7fELF of the other package");
        },
    ];
    for (number, change) in harmless.iter().enumerate() {
        let mut node = healthy();
        change(&mut node);
        node.tree.complete();
        assert_eq!(verify(&node, &[]), [], "{number}");
    }
}

#[test]
fn a_tree_without_anything_is_no_node_and_has_no_faults() {
    let subject = Subject::new(Tree::default(), Arch::Arm64);
    assert_eq!(verify(&subject, &[]), []);
}
