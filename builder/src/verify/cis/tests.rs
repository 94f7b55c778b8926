use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::definition::plan::Arch;
use crate::tree::{Body, Entry, Tree};

/// Rules that the layer `cis` claims to meet (docs/node.md), on a node of Kiln's other layers.
const CLAIMED: &[&str] = &[
    "k8s-4.2.1",
    "k8s-4.2.2",
    "k8s-4.2.4",
    "k8s-4.2.5",
    "k8s-4.2.6",
    "k8s-4.2.8",
    "k8s-4.2.10",
    "k8s-4.2.12",
    "k8s-4.2.13",
    "k8s-4.2.14",
    "k8s-1.7-4.2.6",
    "k8s-4.1.2",
    "k8s-4.1.9",
    "k8s-4.1.10",
    "linux-1.1.1.1",
    "linux-1.1.1.2",
    "linux-1.1.1.3",
    "linux-1.1.1.4",
    "linux-1.1.1.5",
    "linux-1.1.1.7",
    "linux-1.1.23",
    "linux-1.5.1",
    "linux-1.5.3",
    "linux-3.1.2",
    "linux-3.2.1",
    "linux-3.2.2",
    "linux-3.2.3",
    "linux-3.2.4",
    "linux-3.2.5",
    "linux-3.2.6",
    "linux-3.2.8",
    "linux-3.4.1",
    "linux-3.4.3",
    "linux-3.4.4",
    "linux-1.1.3",
    "linux-1.1.4",
    "linux-5.4.4",
    "linux-5.4.5",
];

fn layer_file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers").join(name)).unwrap()
}

fn put(subject: &mut Subject, path: &str, mode: u32, bytes: &[u8]) {
    subject.tree.insert(path, Entry::file(Body::inline(bytes), mode));
    subject.tree.complete();
}

/// A node with the files of Kiln's layers, and modules that some rules forbid.
fn node(has_cis: bool) -> Subject {
    let mut subject = Subject::new(Tree::default(), Arch::Amd64);
    let config_dir =
        b"[Service]\nEnvironment=\"KUBELET_CONFIG_DIR_ARGS=--config-dir=/etc/kubernetes/kubelet.conf.d\"\n";
    let units = "usr/lib/systemd/system/kubelet.service";
    put(&mut subject, "usr/bin/kubelet", 0o755, b"x");
    put(&mut subject, "usr/lib/os-release", 0o644, b"ID=x\n");
    put(&mut subject, "etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n");
    put(&mut subject, "etc/group", 0o644, b"root:x:0:\n");
    put(&mut subject, units, 0o644, &layer_file("kubelet/kubelet.service"));
    put(&mut subject, &format!("{units}.d/10-kubeadm.conf"), 0o644, &layer_file("kubelet/10-kubeadm.conf"));
    put(&mut subject, &format!("{units}.d/15-config-dir.conf"), 0o644, config_dir);
    put(&mut subject, "usr/lib/systemd/system/tmp.mount", 0o644, &layer_file("node/tmp.mount"));
    put(&mut subject, "etc/sysctl.d/99-kubernetes.conf", 0o644, &layer_file("node/sysctl.conf"));
    for module in ["dccp/dccp.ko", "usb/usb-storage.ko.xz", "fs/cramfs.ko"] {
        put(&mut subject, &format!("usr/lib/modules/6.12/kernel/{module}"), 0o644, b"x");
    }
    if has_cis {
        put(
            &mut subject,
            "etc/kubernetes/kubelet.conf.d/90-cis.conf",
            0o600,
            &layer_file("cis/kubelet.yaml"),
        );
        put(&mut subject, "etc/sysctl.d/99-node-cis.conf", 0o644, &layer_file("cis/sysctl.conf"));
        put(&mut subject, "etc/profile.d/cis.sh", 0o644, &layer_file("cis/shell.sh"));
        put(&mut subject, "etc/modprobe.d/cis.conf", 0o644, &layer_file("cis/modprobe.conf"));
    }
    subject
}

fn outcome(subject: &Subject, id: &str) -> Outcome {
    answers(subject, &[]).into_iter().find(|answer| answer.id == id).unwrap().outcome
}

fn is_finding(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Finding { .. })
}

#[test]
fn a_node_with_the_layer_meets_what_the_layer_claims() {
    let node = node(true);
    for id in CLAIMED {
        assert_eq!(outcome(&node, id), Outcome::Passed, "{id}");
    }
}

#[test]
fn a_node_without_the_layer_has_findings_and_says_what_it_has_instead() {
    let node = node(false);
    for id in ["k8s-4.2.1", "k8s-4.2.14", "linux-1.1.23", "linux-3.1.2", "linux-3.2.3", "linux-3.4.1"] {
        assert!(is_finding(&outcome(&node, id)), "{id}");
    }
    let Outcome::Finding { found, expected, place } = outcome(&node, "k8s-4.2.1") else { panic!() };
    assert!(found.contains("the cluster's configuration decides"), "{found}");
    assert_eq!((expected.as_str(), place.as_str()), ("false", "/etc/kubernetes/kubelet.conf.d"));
    // A module that the kernel does not have cannot be loaded.
    assert_eq!(outcome(&node, "linux-3.4.4"), Outcome::Passed);
}

/// A rule, and what makes a node with the layer fail it.
type Fault = (&'static str, fn(&mut Subject));

#[test]
fn no_rule_passes_when_files_were_not_read() {
    let mut node = node(true);
    assert!(Counts::of(&answers(&node, &[])).passed > 0);
    put(&mut node, "etc/sysctl.d/x.conf", 0o644, &[b'\n'; (1 << 20) + 1]);
    let answers = answers(&node, &[]);
    assert!(answers.iter().all(|answer| answer.outcome != Outcome::Passed));
    let wanted = |outcome: &Outcome| format!("{outcome:?}").contains("such as /etc/sysctl.d/x.conf");
    assert!(answers.iter().any(|answer| wanted(&answer.outcome)));
}

#[test]
fn what_undoes_a_rule_is_found() {
    let faults: &[Fault] = &[
        ("k8s-4.2.1", |node| {
            put(
                node,
                "etc/kubernetes/kubelet.conf.d/95-x.conf",
                0o600,
                b"authentication: {anonymous: {enabled: true}}\n",
            )
        }),
        ("k8s-4.2.1", |node| {
            put(node, "etc/default/kubelet", 0o644, b"KUBELET_EXTRA_ARGS=--anonymous-auth=true\n")
        }),
        ("k8s-4.2.4", |node| {
            put(node, "etc/default/kubelet", 0o644, b"KUBELET_EXTRA_ARGS=\"--v=2 --read-only-port 10255\"\n")
        }),
        ("k8s-4.2.7", |node| {
            put(node, "etc/default/kubelet", 0o644, b"KUBELET_EXTRA_ARGS='--hostname-override=x'\n")
        }),
        ("k8s-4.2.5", |node| {
            put(
                node,
                "etc/kubernetes/kubelet.conf.d/95-x.conf",
                0o600,
                b"a: 1\n---\nstreamingConnectionIdleTimeout: 0s\n",
            )
        }),
        ("k8s-4.2.12", |node| {
            put(
                node,
                "etc/kubernetes/kubelet.conf.d/95-x.conf",
                0o600,
                b"tlsCipherSuites: [TLS_RSA_WITH_RC4_128_SHA]\n",
            )
        }),
        ("k8s-4.2.14", |node| {
            node.tree.remove("usr/lib/systemd/system/kubelet.service.d/15-config-dir.conf")
        }),
        ("k8s-4.1.1", |node| put(node, "usr/lib/systemd/system/kubelet.service", 0o666, b"[Service]\n")),
        ("k8s-4.1.9", |node| put(node, "etc/kubernetes/kubelet.conf.d/95-x.conf", 0o644, b"a: 1\n")),
        ("linux-3.2.1", |node| {
            put(node, "etc/sysctl.d/99-z.conf", 0o644, b"net/ipv4/conf/all/accept_source_route=1\n")
        }),
        ("linux-1.1.3", |node| put(node, "etc/fstab", 0o644, b"tmpfs /tmp tmpfs nosuid 0 0\n")),
        ("linux-1.1.23", |node| node.tree.remove("etc/modprobe.d")),
        ("linux-2.3.4", |node| {
            put(
                node,
                "var/lib/dpkg/status",
                0o644,
                b"Package: telnet\nStatus: install ok installed\nVersion: 1\n",
            )
        }),
        ("linux-5.1.2", |node| put(node, "etc/crontab", 0o644, b"x")),
        ("linux-5.4.2", |node| {
            put(node, "etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nd:x:1:0::/:/bin/sh\n")
        }),
        ("linux-6.1.2", |node| put(node, "etc/passwd", 0o664, b"root:x:0:0::/root:/bin/sh\n")),
        ("linux-6.2.16", |node| {
            put(node, "etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nd:x:0:0::/:/bin/false\n")
        }),
        ("linux-6.2.12", |node| put(node, "root/.netrc", 0o600, b"machine x\n")),
    ];
    for (id, fault) in faults {
        let mut node = node(true);
        fault(&mut node);
        assert!(is_finding(&outcome(&node, id)), "{id}: {:?}", outcome(&node, id));
    }
}

#[test]
fn of_sshd_the_first_value_of_the_file_that_its_unit_names_counts() {
    let mut node = node(true);
    assert!(matches!(outcome(&node, "linux-5.2.10"), Outcome::NotChecked { .. }));
    put(&mut node, "usr/sbin/sshd", 0o755, b"x");
    put(&mut node, "usr/lib/systemd/system/node-sshd.service", 0o644, &layer_file("sshd/node-sshd.service"));
    put(&mut node, "usr/lib/kiln/sshd_config", 0o644, &layer_file("sshd/sshd_config"));
    assert_eq!(outcome(&node, "linux-5.2.17"), Outcome::Passed);
    assert!(is_finding(&outcome(&node, "linux-5.2.10")));
    put(&mut node, "usr/lib/kiln/sshd_config.d/a.conf", 0o644, b"PermitRootLogin no\nMatch all\nUsePAM no\n");
    assert_eq!(outcome(&node, "linux-5.2.10"), Outcome::Passed);
    assert_eq!(outcome(&node, "linux-5.2.20"), Outcome::Passed);
}

#[test]
fn the_layer_of_auditd_meets_rules_and_misses_those_that_it_leaves() {
    let mut node = node(true);
    assert!(is_finding(&outcome(&node, "linux-4.1.6")));
    put(&mut node, "usr/sbin/auditd", 0o755, b"x");
    put(&mut node, "etc/audit/rules.d/50-node.rules", 0o640, &layer_file("auditd/node.rules"));
    put(&mut node, "etc/audit/rules.d/99-locked.rules", 0o640, b"-e 2\n");
    for id in ["linux-4.1.6", "linux-4.1.8", "linux-4.1.14", "linux-4.1.16", "linux-4.1.18", "linux-4.1.19"] {
        assert_eq!(outcome(&node, id), Outcome::Passed, "{id}");
    }
    assert!(is_finding(&outcome(&node, "linux-4.1.5")), "adjtimex is left out");
    put(&mut node, "etc/audit/rules.d/60-x.rules", 0o640, b"-w /var/log/lastlog -p wa -k logins\n-f 1\n");
    assert_eq!(outcome(&node, "linux-4.1.19"), Outcome::Passed);
    assert_eq!(outcome(&node, "linux-4.1.9"), Outcome::Passed);
}

#[test]
fn what_no_file_tells_is_never_passed_and_an_accepted_finding_is_exempt() {
    let empty = Subject::new(Tree::default(), Arch::Amd64);
    let all = answers(&empty, &[]);
    for id in
        ["k8s-4.2.1", "k8s-4.2.3", "linux-1.1.6", "linux-2.2.4", "linux-5.1.2", "linux-5.2.10", "linux-3.4.1"]
    {
        let answer = all.iter().find(|answer| answer.id == id).unwrap();
        assert!(matches!(answer.outcome, Outcome::NotChecked { .. }), "{id}: {:?}", answer.outcome);
    }
    let counts = Counts::of(&all);
    assert_eq!(counts.passed + counts.findings + counts.exempt + counts.not_checked, all.len());
    let accepted = answers(&node(false), &["k8s-4.2.1".to_owned()]);
    let accepted = accepted.iter().find(|answer| answer.id == "k8s-4.2.1").unwrap();
    assert_eq!(accepted.outcome, Outcome::Exempt { reason: "accepted by --allow".to_owned() });
}

#[test]
fn each_rule_has_a_number_of_its_own_and_a_title() {
    let numbers: BTreeSet<&str> = ids().collect();
    assert_eq!(numbers.len(), ids().count());
    assert!(rules().all(|rule| !rule.title.is_empty() && !rule.title.starts_with("Ensure")));
}
