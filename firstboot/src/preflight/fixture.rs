//! A healthy machine as a folder, with its data. Each test breaks one thing.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use testkit::PROGRAMS;

use super::*;
use crate::config::model::{ApiVersion, Argument, Discovery, JoinConfiguration, NodeRegistration, Timeouts};
use crate::config::role::Role;
use crate::host::cri::{Api, RuntimeVersion};
use crate::host::network::Address;
use crate::host::root::Root;
use crate::host::services::Services;

const FILES: &[(&str, &str)] = &[
    ("/proc/sys/kernel/hostname", "node1\n"),
    ("/proc/sys/kernel/osrelease", "6.1.0-18-cloud-amd64\n"),
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
    ("/proc/sys/net/ipv4/ip_forward", "1\n"),
    ("/proc/swaps", "Filename Type Size Used Priority\n"),
    (
        "/proc/net/route",
        "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n",
    ),
    ("/proc/self/mountinfo", "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"),
    ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"),
    ("/sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8052-b4c04f4e3232\n"),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("/etc/resolv.conf", "nameserver 10.0.0.2\n"),
    ("/opt/cni/bin/loopback", ""),
    ("/opt/cni/bin/host-local", ""),
    ("/opt/cni/bin/portmap", ""),
    ("/opt/cni/bin/bridge", ""),
    ("/etc/cni/net.d/10-bridge.conflist", r#"{"plugins":[{"type":"bridge","ipam":{"type":"host-local"}}]}"#),
    ("/var/lib/kubelet/keep", ""),
    ("/var/lib/containerd/keep", ""),
    ("/etc/kubernetes/keep", ""),
    ("/usr/libexec/kubernetes/kubelet-plugins/volume/exec/keep", ""),
];

/// A machine for a test.
pub struct Machine {
    folder: tempfile::TempDir,
    pub root: Root,
    pub join: JoinConfiguration,
    pub kubelet_config: Option<serde_json::Value>,
    pub variables: Vec<(&'static str, &'static str)>,
    pub cri_socket: &'static str,
    pub is_privileged: bool,
    pub is_resumed: bool,
    pub facts: Facts,
    pub cluster: Option<Cluster>,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Machine {
    /// A healthy machine whose kubelet is `v1.<minor>.0`.
    pub fn new(minor: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let machine = Self {
            root,
            folder,
            join: join(),
            kubelet_config: Some(serde_json::json!({"cgroupDriver": "systemd"})),
            variables: Vec::new(),
            cri_socket: "unix:///run/containerd/containerd.sock",
            is_privileged: true,
            is_resumed: false,
            facts: facts(minor),
            cluster: Some(Cluster { version: format!("v1.{minor}.0").parse().ok(), ..Cluster::default() }),
        };
        FILES.iter().for_each(|(path, text)| machine.write(path, text));
        for program in PROGRAMS {
            machine.write(&format!("/usr/bin/{program}"), "");
            std::fs::set_permissions(
                machine.root.path(format!("/usr/bin/{program}")),
                std::fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        machine
    }

    pub fn write(&self, path: &str, text: &str) {
        // Does not use host::files, because hundreds of fixtures need not be flushed.
        let path = self.root.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.folder.path().join(path.trim_start_matches('/'));
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }

    pub fn argument(&mut self, name: &str, value: &str) {
        self.join
            .node
            .kubelet_extra_args
            .push(Argument { name: name.to_owned(), value: value.to_owned() });
    }

    pub fn endpoint(&mut self, text: &str) {
        let Discovery::Token { endpoints, .. } = &mut self.join.discovery else {
            panic!("no token discovery")
        };
        *endpoints = vec![text.parse().unwrap()];
    }

    pub fn run(&mut self) -> Report {
        let variables = self.variables.clone();
        let variable =
            move |name: &str| variables.iter().find(|row| row.0 == name).map(|row| row.1.to_owned());
        let context = Context {
            root: &self.root,
            path: "/usr/sbin:/usr/bin",
            services: Services::None,
            is_privileged: self.is_privileged,
            join: &self.join,
            cri_socket: self.cri_socket,
            kubelet_config: self.kubelet_config.as_ref(),
            is_resumed: self.is_resumed,
            variable: &variable,
            facts: &self.facts,
            cluster: self.cluster.clone(),
        };
        let mut report = run(&context, Stage::Machine);
        let later = run(&context, Stage::Cluster);
        report.errors.extend(later.errors);
        report.warnings.extend(later.warnings);
        // The result must not depend on the free space of the test machine's disk.
        report.warnings.retain(|finding| finding.name != "DiskSpace");
        report
    }
}

fn facts(minor: u16) -> Facts {
    let address = |interface: &str, text: &str| Address { interface: interface.to_owned(), ip: ip(text) };
    Facts {
        kubelet: Some(Ok(format!("v1.{minor}.0").parse().unwrap())),
        runtime: Some(Ok(Runtime {
            version: RuntimeVersion {
                name: "containerd".to_owned(),
                version: "2.1.9".to_owned(),
                api: Api::V1,
            },
            serves_v1alpha2: minor < 26,
            runtime_config: Some(crate::host::cri::CgroupDriver::Systemd),
            cgroup_driver: Some(crate::host::cri::CgroupDriver::Systemd),
        })),
        docker: None,
        name: Some(Ok(vec![ip("127.0.1.1")])),
        addresses: vec![address("lo", "127.0.0.1"), address("eth0", "10.0.0.5")],
        units: Units::default(),
        port_taken: None,
    }
}

fn join() -> JoinConfiguration {
    JoinConfiguration {
        api_version: ApiVersion::V1beta4,
        node: NodeRegistration {
            name: "node1".to_owned(),
            is_named: true,
            cri_socket: None,
            taints: None,
            kubelet_extra_args: Vec::new(),
            ignore_preflight_errors: Vec::new(),
        },
        ca_cert_path: PathBuf::from("/etc/kubernetes/pki/ca.crt"),
        discovery: Discovery::Token {
            endpoints: vec!["10.0.0.1:6443".parse().unwrap()],
            token: "9vr73a.a8uxyaju799qwdjv".parse().unwrap(),
            pins: Vec::new(),
            unsafe_skip_ca_verification: true,
        },
        tls_bootstrap_token: None,
        role: Role::Worker,
        skip_phases: Vec::new(),
        patches: None,
        dry_run: false,
        timeouts: Timeouts::default(),
    }
}
