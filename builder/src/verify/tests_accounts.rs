//! Faults of accounts, logins, units, credentials and rights, each planted into a node without faults.

use super::tests::{Fault, check_faults, healthy, plant};
use super::*;
use crate::tree::{Body, Entry};

fn link(node: &mut Subject, path: &str, target: &str) {
    node.tree.insert(path, Entry::symlink(target));
}

/// A node with the account bob, who may not log in.
fn with_bob(node: &mut Subject) {
    let accounts = b"root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/bash\n";
    plant(node, "etc/passwd", 0o644, accounts);
    plant(node, "etc/group", 0o644, b"root:x:0:\nbob:x:1000:\n");
    plant(node, "etc/shadow", 0o640, b"root:*:1:0:9:7:::\nbob:!:1:0:9:7:::\n");
}

/// Gives a file to an account.
fn give(node: &mut Subject, path: &str, mode: u32, uid: u32, gid: u32) {
    with_bob(node);
    node.tree.insert(path, Entry { uid, gid, ..Entry::file(Body::inline(*b"x"), mode) });
}

const SUDO: &[Fault] = &[
    ("sudo", "/etc/sudoers.d/x", |node| {
        plant(node, "etc/sudoers.d/x", 0o440, b"#1000 ALL=(ALL) NOPASSWD: ALL\n")
    }),
    ("sudo", "/opt/x", |node| {
        plant(node, "etc/sudoers", 0o440, b"@include /opt/x\n");
        plant(node, "opt/x", 0o440, b"bob ALL=(ALL) NOPASSWD: ALL\n");
    }),
    ("sudo", "/etc/s/x", |node| {
        plant(node, "etc/sudoers", 0o440, b"#includedir s\n");
        plant(node, "etc/s/x", 0o440, b"bob ALL=(ALL) \\\n NOPASSWD: ALL\n");
    }),
    ("sudo", "/etc/sudoers", |node| plant(node, "etc/sudoers", 0o440, b"Defaults exempt_group = bob\n")),
    ("sudo", "/etc/sudoers", |node| plant(node, "etc/sudoers", 0o440, b"Defaults \\\n  !authenticate\n")),
    ("sudo", "/etc/pam.d/x", |node| {
        plant(node, "etc/pam.d/x", 0o644, b"AUTH Sufficient /lib/security/pam_permit.so\n")
    }),
    ("sudo", "/etc/pam.d/x", |node| {
        plant(node, "etc/pam.d/x", 0o644, b"auth required pam_env.so\nauth [default=done] pam_permit.so\n")
    }),
    ("sudo", "/etc/pam.conf", |node| {
        plant(
            node,
            "etc/pam.conf",
            0o644,
            b"x auth required pam_unix.so\nsshd auth required pam_permit.so\n",
        );
    }),
    ("sudo", "/opt/p", |node| {
        plant(node, "etc/pam.d/x", 0o644, b"auth include /opt/p\n");
        plant(node, "opt/p", 0o644, b"auth \\\n required pam_permit.so\n");
    }),
];

const SSH: &[Fault] = &[
    ("ssh", "/opt/sshd.conf", |node| {
        plant(node, "etc/ssh/sshd_config", 0o644, b"Include /opt/*.conf\n");
        plant(node, "opt/sshd.conf", 0o644, b"PermitRootLogin yes\n");
    }),
    ("ssh", "/etc/ssh/sshd_config", |node| {
        plant(node, "etc/ssh/sshd_config", 0o644, b"KbdInteractiveAuthentication yes # for all\n");
    }),
    ("ssh", "/etc/ssh/sshd_config", |node| {
        plant(node, "etc/ssh/sshd_config", 0o644, b"TrustedUserCAKeys /etc/ssh/ca.pub\n");
        plant(node, "etc/ssh/ca.pub", 0o644, b"ssh-ed25519 AAAA\n");
    }),
    ("ssh", "/etc/ssh/sshd_config", |node| {
        plant(node, "etc/ssh/sshd_config", 0o644, b"AuthorizedKeysCommand /opt/k\n");
    }),
    ("ssh", "/etc/default/ssh", |node| {
        plant(node, "etc/default/ssh", 0o644, b"SSHD_OPTS=\"-4 -o PermitRootLogin=yes\"\n");
    }),
    ("ssh", "/opt/options", |node| {
        let unit = b"[Service]\nEnvironmentFile=-/opt/options\nExecStart = /usr/sbin/sshd -D $MORE\n";
        plant(node, "etc/systemd/system/ssh.service", 0o644, unit);
        plant(node, "opt/options", 0o644, b"MORE='-oPasswordAuthentication=yes'\n");
    }),
    ("ssh", "/opt/sshd", |node| {
        let unit = b"[Service]\nExecStart=/usr/sbin/sshd -D \\\n  -f /opt/sshd\n";
        plant(node, "etc/systemd/system/x.service", 0o644, unit);
        plant(node, "opt/sshd", 0o644, b"PermitEmptyPasswords yes\n");
    }),
    ("login", "/etc/ssh/keys/root", |node| {
        plant(node, "etc/ssh/sshd_config.d/x.conf", 0o644, b"AuthorizedKeysFile /etc/ssh/keys/%u\n");
        plant(node, "etc/ssh/keys/root", 0o644, b"ssh-ed25519 AAAA\n");
    }),
    ("login", "/root/k", |node| {
        plant(node, "etc/ssh/sshd_config", 0o644, b"AuthorizedKeysFile none k\n");
        plant(node, "root/k", 0o644, b"ssh-ed25519 AAAA\n");
    }),
];

const UNITS: &[Fault] = &[
    ("debug-shell", "/etc/systemd/system/multi-user.target.d/x.conf", |node| {
        let text = b"[Unit]\nWants = x.service \\\n  debug-shell.service\n";
        plant(node, "etc/systemd/system/multi-user.target.d/x.conf", 0o644, text);
    }),
    ("debug-shell", "/usr/local/lib/systemd/system/x.target.wants/debug-shell.service", |node| {
        let path = "usr/local/lib/systemd/system/x.target.wants/debug-shell.service";
        link(node, path, "/usr/lib/systemd/system/debug-shell.service");
    }),
    ("debug-shell", "/etc/systemd/system.control/x.target.requires/debug-shell.service", |node| {
        let path = "etc/systemd/system.control/x.target.requires/debug-shell.service";
        link(node, path, "/usr/lib/systemd/system/debug-shell.service");
    }),
    ("debug-shell", "/etc/systemd/system/x.target.wants/debug-shell.service", |node| {
        link(node, "etc/systemd/system/x.target.wants", "/opt/wants");
        link(node, "opt/wants/debug-shell.service", "/usr/lib/systemd/system/debug-shell.service");
    }),
    ("debug-shell", "/usr/lib/systemd/system/default.target", |node| {
        link(node, "usr/lib/systemd/system/default.target", "debug-shell.service");
    }),
    ("debug-shell", "/etc/systemd/system/default.target", |node| {
        plant(node, "usr/lib/systemd/system/rescue.target", 0o644, b"[Unit]\n");
        link(node, "etc/systemd/system/default.target", "/usr/lib/systemd/system/rescue.target");
    }),
    ("debug-shell", "/etc/systemd/system/getty@.service.d/x.conf", |node| {
        let text = b"[Service]\nExecStart=-/sbin/agetty -a root - $TERM\n";
        plant(node, "etc/systemd/system/getty@.service.d/x.conf", 0o644, text);
    }),
    ("debug-shell", "/run/systemd/system/x.service", |node| {
        plant(node, "run/systemd/system/x.service", 0o644, b"[Service]\nExecStart=/bin/login -f root\n");
    }),
    ("debug-shell", "/etc/systemd/system/x.service", |node| {
        let text = b"[Service]\nExecStart=/usr/bin/env bash\nStandardInput = tty\n";
        plant(node, "etc/systemd/system/x.service", 0o644, text);
    }),
    ("debug-shell", "/etc/systemd/system/x@.service", |node| {
        plant(node, "etc/systemd/system/x.socket", 0o644, b"[Socket]\nListenStream=4444\nAccept=yes\n");
        let text = b"[Service]\nExecStart=\\\n# why\n  /bin/bash -i\nStandardInput=socket\n";
        plant(node, "etc/systemd/system/x@.service", 0o644, text);
    }),
    ("debug-shell", "/etc/systemd/system/x-.service.d/y.conf", |node| {
        plant(node, "etc/systemd/system/x-.service.d/y.conf", 0o644, b"[Service]\nExecStart=/bin/sh\n");
        plant(node, "etc/systemd/system/x-y.service", 0o644, b"[Service]\nStandardInput=tty\n");
    }),
    ("debug-shell", "/etc/systemd/system/emergency.service.d/x.conf", |node| {
        let text = b"[Service]\nEnvironment=A=b \"SYSTEMD_SULOGIN_FORCE=1\"\n";
        plant(node, "etc/systemd/system/emergency.service.d/x.conf", 0o644, text);
    }),
    ("debug-shell", "/etc/systemd/system/getty@.service.d/x.conf", |node| {
        let text = b"[Service]\nSetCredential=agetty.autologin:root\n";
        plant(node, "etc/systemd/system/getty@.service.d/x.conf", 0o644, text);
    }),
    ("debug-shell", "/etc/systemd/system.conf.d/x.conf", |node| {
        let text = b"[Manager]\nDefaultEnvironment=SYSTEMD_SULOGIN_FORCE=yes\n";
        plant(node, "etc/systemd/system.conf.d/x.conf", 0o644, text);
    }),
    ("debug-shell", "/etc/systemd/system-preset/00-x.preset", |node| {
        plant(node, "etc/systemd/system-preset/00-x.preset", 0o644, b"enable debug-*\n");
        plant(node, "usr/lib/systemd/system-preset/90-x.preset", 0o644, b"disable debug-shell.service\n");
    }),
    ("debug-shell", "/etc/systemd/system-generators/x", |node| {
        plant(node, "etc/systemd/system-generators/x", 0o755, b"#!/bin/sh\n");
    }),
];

const CREDENTIALS: &[Fault] = &[
    ("token", "/etc/kubernetes/admin.conf", |node| {
        let text = b"kind: Config\nusers:\n- name: a\n  user:\n    token: eyJh.eyJz.abc\n";
        plant(node, "etc/kubernetes/admin.conf", 0o600, text);
    }),
    ("token", "/data/x.json", |node| {
        plant(
            node,
            "data/x.json",
            0o600,
            b"{\"kind\":\"Config\",\"users\":[{\"user\":{\"password\":\"x\"}}]}",
        );
    }),
    ("token", "/srv/x", |node| plant(node, "srv/x", 0o600, b"Authorization: Bearer eyJh.eyJz.a-_b\n")),
    ("token", "/root/.config/containers/auth.json", |node| {
        let text = b"{\"auths\": {\"r\": {\"auth\": \"eA==\"}}}";
        plant(node, "root/.config/containers/auth.json", 0o600, text);
    }),
    ("key", "/root/x.asc", |node| {
        plant(node, "root/x.asc", 0o600, b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ\n")
    }),
    ("key", "/root/keys.txt", |node| plant(node, "root/keys.txt", 0o600, b"AGE-SECRET-KEY-1QQQQ\n")),
    ("key", "/etc/krb5.keytab", |node| plant(node, "etc/krb5.keytab", 0o600, b"\x05\x02")),
    ("key", "/etc/ssl/x.p12", |node| plant(node, "etc/ssl/x.p12", 0o600, b"\x30\x82")),
    ("key", "/kubeconfig", |node| plant(node, "kubeconfig", 0o600, b"client-key-data: Zm9v\n")),
    ("key", "/usr/share/k", |node| {
        plant(node, "usr/share/k", 0o600, b"\"client-key-data\": \"LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBL\"")
    }),
    ("key", "/var/cache/k.pem", |node| plant(node, "var/cache/k.pem", 0o600, &tests::private_key(0))),
    ("key", "/boot/k.pem", |node| plant(node, "boot/k.pem", 0o600, &tests::private_key(0))),
    ("password", "/etc/shadow-", |node| plant(node, "etc/shadow-", 0o600, b"root:$6$x$y:1:0:9:7:::\n")),
    ("password", "/etc/security/opasswd", |node| {
        plant(node, "etc/security/opasswd", 0o600, b"bob:1000:1:$6$x$y\n");
    }),
    ("login", "/etc/tmpfiles.d/x.conf", |node| {
        plant(node, "etc/tmpfiles.d/x.conf", 0o644, b"f+ \"/etc/sudoers.d/x\" 0440 root root - x\n");
    }),
    ("login", "/etc/tmpfiles.d/x.conf", |node| {
        plant(node, "etc/tmpfiles.d/x.conf", 0o644, b"z /srv/x 4755 root root\n");
    }),
    ("login", "/run/tmpfiles.d/x.conf", |node| {
        plant(node, "run/tmpfiles.d/x.conf", 0o644, b"f+ /var/spool/cron/crontabs/root - - - - x\n");
    }),
];

const ACCOUNTS: &[Fault] = &[
    ("account", "/etc/passwd", |node| {
        plant(node, "etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\ntoor:x: 0:0::/:/bin/sh\n");
    }),
    ("account", "/var/lib/extrausers/passwd", |node| {
        plant(node, "var/lib/extrausers/passwd", 0o644, b"toor:x:0:0::/:/bin/sh\n");
    }),
    ("account", "/etc/group", |node| {
        with_bob(node);
        plant(node, "etc/group", 0o644, b"root:x:0:\nbob:x:1000:\ndocker:x:99:core,bob\n");
    }),
    ("account", "/etc/passwd", |node| {
        plant(node, "etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\nbob:x:1000:27::/:/bin/sh\n");
        plant(node, "etc/group", 0o644, b"root:x:0:\nsudo:x:27:\n");
    }),
    ("account", "/etc/sysusers.d/x.conf", |node| {
        plant(node, "etc/sysusers.d/x.conf", 0o644, b"u toor \"0\" \"x y\" /root /bin/sh\n");
    }),
    ("account", "/etc/sysusers.d/x.conf", |node| {
        plant(node, "etc/sysusers.d/x.conf", 0o644, b"u toor /etc/passwd\n");
    }),
    ("owner", "/etc/sudoers", |node| give(node, "etc/sudoers", 0o440, 1000, 0)),
    ("owner", "/usr/lib/x/libc.so.6", |node| give(node, "usr/lib/x/libc.so.6", 0o755, 1000, 0)),
    ("owner", "/opt/cni/bin/bridge", |node| give(node, "opt/cni/bin/bridge", 0o755, 1000, 0)),
    ("owner", "/boot/vmlinuz", |node| give(node, "boot/vmlinuz", 0o644, 1000, 0)),
    ("owner", "/usr/bin/kk", |node| give(node, "usr/bin/kk", 0o775, 0, 1000)),
    ("setuid", "/usr/lib/.x/mount", |node| plant(node, "usr/lib/.x/mount", 0o4755, b"x")),
    ("setuid", "/usr/bin/pkexec", |node| plant(node, "usr/bin/pkexec", 0o4755, b"x")),
];

#[test]
fn ways_in_and_credentials_check_faults_wherever_they_are_written() {
    for faults in [SUDO, SSH, UNITS, CREDENTIALS, ACCOUNTS] {
        check_faults(faults);
    }
}

#[test]
fn what_distributions_have_is_no_fault() {
    let harmless: &[fn(&mut Subject)] = &[
        |node| {
            let rules = b"#%wheel ALL=(ALL) NOPASSWD: ALL\nroot ALL=(ALL) ALL # NOPASSWD\n@includedir /etc/sudoers.d\n";
            plant(node, "etc/sudoers", 0o440, rules);
        },
        |node| {
            plant(
                node,
                "etc/passwd",
                0o644,
                b"root:x:0:0::/:/bin/sh\nsyslog:x:104:110::/:/usr/sbin/nologin\n",
            );
            plant(node, "etc/group", 0o644, b"root:x:0:root\nadm:x:4:syslog\nsyslog:x:110:\n");
        },
        |node| {
            let text =
                b"[Service]\nExecStart=-/sbin/agetty -o '-p -- \\\\u' --noclear - $TERM\nStandardInput=tty\n";
            plant(node, "usr/lib/systemd/system/getty@.service", 0o644, text);
        },
        |node| {
            let text = b"[Service]\nExecStart=/bin/sh\nStandardInput=tty\n";
            plant(node, "usr/lib/systemd/system/debug-shell.service", 0o644, text);
        },
        |node| link(node, "etc/systemd/system-generators/x", "/dev/null"),
        |node| plant(node, "etc/pam.d/lightdm-greeter", 0o644, b"auth required pam_permit.so\n"),
        |node| plant(node, "usr/share/man/man5/authorized_keys.5.gz", 0o644, b"x"),
        |node| plant(node, "etc/wpa_supplicant/functions.sh", 0o644, b"psk=$1\n"),
        |node| plant(node, "etc/ssh/ssh_config.d/x.conf", 0o644, b"PasswordAuthentication yes\n"),
        |node| {
            plant(
                node,
                "etc/ssh/sshd_config",
                0o644,
                b"TrustedUserCAKeys /etc/gone\nAuthorizedKeysFile none\n",
            )
        },
        |node| {
            let text = b"auth required pam_env.so\nauth required pam_unix.so\nauth optional pam_permit.so\n";
            plant(node, "etc/pam.d/system-auth", 0o644, text);
        },
        |node| {
            let accounts = b"root:x:0:0::/:/bin/sh\npolkitd:x:999:0::/:/usr/sbin/nologin\n";
            plant(node, "etc/passwd", 0o644, accounts);
            let folder = Entry { uid: 999, ..Entry::directory(0o700) };
            node.tree.insert("usr/share/polkit-1/rules.d", folder.clone());
            node.tree.insert("etc/landscape", folder);
        },
        |node| {
            plant(node, "usr/bin/tool", 0o755, b"\x7fELF client-key-data,omitempty AGE-SECRET-KEY-1 and more")
        },
        |node| plant(node, "etc/kubernetes/x.yaml", 0o644, b"kind: Config\nusers:\n- user: {token: \"\"}\n"),
    ];
    for (number, change) in harmless.iter().enumerate() {
        let mut node = healthy();
        change(&mut node);
        node.tree.complete();
        assert_eq!(verify(&node, &[]), [], "{number}");
    }
}

#[test]
fn a_configuration_that_includes_itself_ends_and_is_told() {
    let mut node = healthy();
    let text = "Include /etc/ssh/sshd_config\n".repeat(100);
    plant(&mut node, "etc/ssh/sshd_config", 0o644, text.as_bytes());
    assert_eq!(findings_of(&node, "ssh"), []);
    assert!(node.unread().contains_key("/etc/ssh/sshd_config"), "{:?}", node.unread());
}
