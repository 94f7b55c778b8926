use std::collections::BTreeSet;

use super::fixture::{Machine, ip};
use super::*;
use crate::error::{ErrorKind, Failure};
use crate::host::network::Address;

/// `E Name` or `W Name` for each finding, sorted.
pub fn found(report: &Report) -> Vec<String> {
    let errors = report.errors.iter().map(|finding| format!("E {}", finding.name));
    let mut all: Vec<String> = errors
        .chain(report.warnings.iter().map(|finding| format!("W {}", finding.name)))
        .collect();
    all.sort();
    all
}

pub type Spoil = fn(&mut Machine);

pub fn check_all(cases: &[(u16, Spoil, &[&str])]) {
    for (number, (minor, spoil, expected)) in cases.iter().enumerate() {
        let mut machine = Machine::new(*minor);
        spoil(&mut machine);
        let report = machine.run();
        assert_eq!(found(&report), *expected, "case {number} of 1.{minor}: {report:#?}");
    }
}

#[test]
fn a_healthy_machine_has_no_findings_in_any_version() {
    for minor in 20..=37 {
        assert_eq!(found(&Machine::new(minor).run()), [""; 0], "1.{minor}");
    }
}

#[test]
fn names_are_unique_in_lower_case_and_every_finding_has_advice() {
    let names: Vec<String> = CHECKS
        .iter()
        .map(|check| match check.name {
            Name::Is(name) => name.to_lowercase(),
            Name::Of(_) => "fileavailable--etc-kubernetes-pki-ca.crt".to_owned(),
        })
        .collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let mut machine = Machine::new(20);
    machine.remove("/usr/bin");
    machine.remove("/opt/cni");
    machine.remove("/proc");
    machine.remove("/sys");
    let report = machine.run();
    assert!(report.errors.len() + report.warnings.len() > 15, "{report:#?}");
    for finding in report.errors.iter().chain(&report.warnings) {
        assert!(finding.help.as_ref().is_some_and(|help| help.len() > 10), "{finding:?}");
    }
}

#[test]
fn files_of_an_earlier_join_stop_a_new_one_but_not_its_own() {
    let spoil: Spoil = |machine| {
        machine.write("/etc/kubernetes/kubelet.conf", "x");
        machine.write("/etc/kubernetes/bootstrap-kubelet.conf", "x");
        machine.write("/data/ca.crt", "x");
        machine.join.ca_cert_path = "/data/ca.crt".into();
        machine.facts.port_taken = Some("in use".to_owned());
    };
    check_all(&[
        (
            36,
            spoil,
            &[
                "E FileAvailable--data-ca.crt",
                "E FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
                "E FileAvailable--etc-kubernetes-kubelet.conf",
                "E Port-10250",
            ],
        ),
        (
            22,
            |machine| machine.write("/etc/kubernetes/manifests/etcd.yaml", "x"),
            &["E DirAvailable--etc-kubernetes-manifests"],
        ),
        (23, |machine| machine.write("/etc/kubernetes/manifests/etcd.yaml", "x"), &[]),
    ]);
    let mut machine = Machine::new(36);
    spoil(&mut machine);
    machine.is_resumed = true;
    assert_eq!(found(&machine.run()), [""; 0]);
}

#[test]
fn programs_matter_by_version() {
    let spoil: Spoil = |machine| machine.remove("/usr/bin");
    let of_1_20 = ["conntrack", "crictl", "ip", "iptables", "mount", "nsenter"]
        .map(|name| format!("E FileExisting-{name}"));
    let warned = ["ebtables", "ethtool", "socat", "tc", "touch"].map(|name| format!("W FileExisting-{name}"));
    let all: Vec<&str> = of_1_20.iter().chain(&warned).map(String::as_str).collect();
    check_all(&[
        (20, spoil, &all),
        (31, |machine| machine.remove("/usr/bin/crictl"), &["W FileExisting-crictl"]),
        (32, |machine| machine.remove("/usr/bin/crictl"), &[]),
        (32, |machine| machine.remove("/usr/bin/conntrack"), &[]),
        (33, spoil, &["E FileExisting-cp", "E FileExisting-mount", "W FileExisting-losetup"]),
    ]);
}

#[test]
fn kernel_parameters_matter_by_version_and_endpoint() {
    let forwarding: Spoil = |machine| machine.write("/proc/sys/net/ipv4/ip_forward", "0\n");
    let by_name: Spoil = |machine| {
        machine.write("/proc/sys/net/ipv4/ip_forward", "0\n");
        machine.endpoint("api.example.com:6443");
    };
    let v6: Spoil = |machine| machine.endpoint("[fd00::1]:6443");
    let bridge: Spoil = |machine| machine.remove("/proc/sys/net/bridge");
    check_all(&[
        (36, forwarding, &["E FileContent--proc-sys-net-ipv4-ip_forward"]),
        (26, by_name, &["E FileContent--proc-sys-net-ipv4-ip_forward"]),
        (27, by_name, &[]),
        (
            29,
            v6,
            &[
                "E FileContent--proc-sys-net-bridge-bridge-nf-call-ip6tables",
                "E FileContent--proc-sys-net-ipv6-conf-default-forwarding",
            ],
        ),
        (30, v6, &["E FileContent--proc-sys-net-ipv6-conf-default-forwarding"]),
        (29, bridge, &["E FileContent--proc-sys-net-bridge-bridge-nf-call-iptables"]),
        (30, bridge, &[]),
    ]);
}

#[test]
fn swap_matters_to_kubeadm_and_to_the_kubelet() {
    let on: Spoil = |machine| machine.write("/proc/swaps", "Filename Type\n/dev/sda2 partition\n");
    let allowed: Spoil = |machine| {
        machine.write("/proc/swaps", "Filename Type\n/dev/sda2 partition\n");
        machine.kubelet_config = Some(serde_json::json!({"failSwapOn": false, "cgroupDriver": "systemd"}));
    };
    let by_argument: Spoil = |machine| {
        machine.write("/proc/swaps", "Filename Type\n/dev/sda2 partition\n");
        machine.argument("fail-swap-on", "false");
    };
    let ignored: Spoil = |machine| {
        machine.write("/proc/swaps", "Filename Type\n/dev/sda2 partition\n");
        machine.join.node.ignore_preflight_errors = vec!["swap".to_owned()];
    };
    check_all(&[
        (22, on, &["E KubeletSwap", "E Swap"]),
        (23, on, &["E KubeletSwap", "W Swap"]),
        (36, allowed, &["W Swap"]),
        (36, by_argument, &["W Swap"]),
        (20, ignored, &["W KubeletSwap", "W Swap"]),
    ]);
}

#[test]
fn the_system_is_verified() {
    let complete = system::symbols_v2().map(|symbol| format!("CONFIG_{symbol}=y\n")).collect::<String>();
    let config = |text: &str| {
        let mut machine = Machine::new(36);
        machine.write("/boot/config-6.1.0-18-cloud-amd64", text);
        machine.run()
    };
    assert_eq!(found(&config(&complete)), [""; 0]);
    let without = config(
        &complete
            .replace("CONFIG_MEMCG=y\n", "# CONFIG_MEMCG is not set\n")
            .replace("CONFIG_INET=y", "CONFIG_INET_X=y"),
    );
    assert!(without.errors[0].message.contains("MEMCG, INET"), "{without:?}");
    let release: [Spoil; 3] = [
        |machine| machine.write("/proc/sys/kernel/osrelease", "2.6.32-x"),
        |machine| machine.write("/proc/sys/kernel/osrelease", "4.18.0-x"),
        |machine| machine.write("/proc/sys/kernel/osrelease", "5.15.0-x"),
    ];
    check_all(&[
        (20, release[0], &["E SystemVerification"]),
        (33, release[1], &[]),
        (34, release[1], &["W SystemVerification"]),
        (34, release[2], &[]),
        (
            36,
            |machine| machine.write("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
            &["E SystemVerification"],
        ),
        (36, |machine| machine.remove("/sys/fs/cgroup"), &["E SystemVerification"]),
    ]);
}

#[test]
fn control_groups_of_version_1_matter_by_version() {
    fn v1(machine: &mut Machine) {
        machine.remove("/sys/fs/cgroup/cgroup.controllers");
        machine.write("/sys/fs/cgroup/memory/tasks", "");
        let rows = ["cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"]
            .map(|name| format!("{name} 1 1 1\n"));
        machine.write("/proc/cgroups", &format!("#subsys_name\n{}", rows.concat()));
    }
    check_all(&[
        (30, v1, &[]),
        (31, v1, &["W CgroupV1"]),
        (35, v1, &["E CgroupV1"]),
        (
            35,
            |machine| {
                v1(machine);
                machine.kubelet_config =
                    Some(serde_json::json!({"failCgroupV1": false, "cgroupDriver": "systemd"}));
            },
            &["W CgroupV1"],
        ),
        (
            36,
            |machine| {
                v1(machine);
                machine.join.node.ignore_preflight_errors = vec!["systemverification".to_owned()];
            },
            &["W CgroupV1"],
        ),
    ]);
}

#[test]
fn errors_can_be_ignored_by_name_or_all_and_root_comes_first() {
    let spoil = |ignore: &[&str]| {
        let mut machine = Machine::new(36);
        machine.is_privileged = false;
        machine.remove("/usr/bin");
        machine.join.node.ignore_preflight_errors = ignore.iter().map(|name| (*name).to_owned()).collect();
        machine.run()
    };
    assert_eq!(found(&spoil(&[])), ["E IsPrivilegedUser"], "nothing else is looked at");
    assert_eq!(
        found(&spoil(&["isprivilegeduser"])),
        ["E FileExisting-cp", "E FileExisting-mount", "W FileExisting-losetup", "W IsPrivilegedUser"]
    );
    assert!(spoil(&["all"]).errors.is_empty());
}

#[test]
fn names_and_identifiers_must_be_the_machines_own() {
    check_all(&[
        (36, |machine| machine.join.node.name = "localhost".to_owned(), &["E NodeName"]),
        (36, |machine| machine.join.node.name = "node_1".to_owned(), &["E Hostname"]),
        (36, |machine| machine.write("/proc/sys/kernel/hostname", "(none)\n"), &["W NodeName"]),
        (
            36,
            |machine| {
                machine.facts.name = Some(Err(Failure::new(ErrorKind::Unreachable, "no server answers")))
            },
            &["W Hostname"],
        ),
        (36, |machine| machine.facts.name = Some(Ok(Vec::new())), &["W Hostname"]),
        (
            36,
            |machine| machine.write("/sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009"),
            &["W ProductUUID"],
        ),
        (36, |machine| machine.remove("/sys/class/dmi/id/product_uuid"), &[]),
        (36, |machine| machine.write("/etc/machine-id", ""), &["W ProductUUID"]),
    ]);
}

#[test]
fn the_nodes_address_is_foreseen() {
    fn add(machine: &mut Machine, interface: &str, text: &str) {
        machine.facts.addresses.push(Address { interface: interface.to_owned(), ip: ip(text) });
    }
    check_all(&[
        (36, |machine| add(machine, "eth1", "192.168.56.10"), &["W NodeAddress"]),
        (36, |machine| add(machine, "eth0", "10.19.0.41"), &["W NodeAddress"]),
        (36, |machine| add(machine, "eth1", "fe80::5"), &[]),
        (
            36,
            |machine| {
                add(machine, "cni0", "10.244.0.1");
                machine.write("/sys/devices/virtual/net/cni0/mtu", "1500");
            },
            &[],
        ),
        (
            36,
            |machine| {
                add(machine, "eth1", "192.168.56.10");
                machine.argument("node-ip", "192.168.56.10");
            },
            &[],
        ),
        (36, |machine| machine.argument("node-ip", "10.9.9.9"), &["E NodeAddress"]),
        (36, |machine| machine.facts.name = Some(Ok(vec![ip("10.0.0.5")])), &[]),
        (36, |machine| machine.facts.name = Some(Ok(vec![ip("203.0.113.9")])), &["W NodeAddress"]),
        (36, |machine| machine.write("/proc/net/route", "Iface\n"), &["W DefaultRoute"]),
    ]);
}

#[test]
fn what_the_troubleshooting_guide_describes_is_seen() {
    let resolv: [Spoil; 3] = [
        |machine| machine.write("/etc/resolv.conf", "# x\nnameserver 127.0.0.53\n"),
        |machine| {
            machine.kubelet_config = Some(
                serde_json::json!({"resolvConf": "/run/systemd/resolve/resolv.conf", "cgroupDriver": "systemd"}),
            )
        },
        |machine| {
            machine.kubelet_config = Some(serde_json::json!({"resolvConf": "", "cgroupDriver": "systemd"}))
        },
    ];
    check_all(&[
        (36, resolv[0], &["W ResolvConf"]),
        (36, resolv[1], &["W ResolvConf"]),
        (36, resolv[2], &[]),
        (36, |machine| machine.remove("/opt/cni/bin/portmap"), &["W CNIPlugins"]),
        (36, |machine| machine.remove("/opt/cni/bin/bridge"), &["W CNIPlugins"]),
        (
            36,
            |machine| machine.write("/etc/containerd/config.toml", "bin_dir = \"/usr/lib/cni\"\n"),
            &["W CNIPlugins"],
        ),
        (
            36,
            |machine| {
                machine.cri_socket = "unix:///var/run/crio/crio.sock";
                machine.write("/etc/crio/crio.conf.d/10.conf", "[crio.network]\nplugin_dirs = [\"/cni\"]\n");
            },
            &["W CNIPlugins"],
        ),
        (
            36,
            |machine| machine.write("/proc/self/mountinfo", "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"),
            &["W MountPropagation"],
        ),
        (
            36,
            |machine| machine.write("/lib/systemd/system/docker.service", "[Service]\nMountFlags=slave\n"),
            &["W MountPropagation"],
        ),
        (36, |machine| machine.write("/sys/fs/selinux/enforce", "1"), &["W SELinux"]),
        (
            36,
            |machine| machine.cluster = Some(Cluster { is_node_read_forbidden: true, ..Cluster::default() }),
            &["W NodeReadable"],
        ),
        (
            36,
            |machine| machine.variables = vec![("https_proxy", "http://user:word@proxy:3128")],
            &["W HTTPProxy"],
        ),
        (
            36,
            |machine| {
                machine.variables = vec![("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "10.0.0.0/8")]
            },
            &[],
        ),
        (
            36,
            |machine| machine.facts.kubelet = Some(Err(Failure::new(ErrorKind::Host, "no kubelet"))),
            &["E KubeletVersion"],
        ),
    ]);
    let mut machine = Machine::new(36);
    machine.variables = vec![("HTTPS_PROXY", "http://user:canary@proxy:3128")];
    assert!(!format!("{:?}", machine.run()).contains("canary"));
}

#[test]
fn several_errors_are_one_failure_with_all_advice() {
    let mut machine = Machine::new(36);
    machine.remove("/usr/bin/mount");
    machine.write("/proc/sys/net/ipv4/ip_forward", "0");
    let failure = machine.run().failure().unwrap();
    assert_eq!(failure.kind, ErrorKind::Preflight);
    assert!(
        failure.message.contains("FileExisting-mount: ") && failure.message.contains("ip_forward is \"0\""),
        "{failure}"
    );
    assert!(failure.help.unwrap().contains("sysctl -w net.ipv4.ip_forward=1"));
    assert_eq!(Report::default().failure(), None);
}
