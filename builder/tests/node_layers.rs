//! The layers that images have by choice: each resolves beside the default ones, and does what its page says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::definition::Definition;
use kiln::definition::plan::{BasePlan, LayerPlan, Place};
use kiln::registry;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A shipped image with these layers beside its own.
fn load(image: &str, more: &[&str], sets: &[&str]) -> Definition {
    let own = ["boot", "node", "runc", "${runtime}", "cni-plugins", "crictl", "kubelet", "firstboot"];
    let layers: Vec<String> = own.iter().chain(more).map(|name| format!("\"{name}\"")).collect();
    let mut all = vec![format!("layers=[{}]", layers.join(", "))];
    all.extend(sets.iter().map(|set| (*set).to_owned()));
    registry::load(&Path::new(HERE).join("../images").join(image), &all, None)
        .unwrap_or_else(|error| panic!("{image} {more:?}: {error}"))
}

fn layer<'a>(definition: &'a Definition, name: &str) -> &'a LayerPlan {
    definition.plan.layers.iter().find(|layer| layer.name == name).unwrap()
}

fn file(layer: &LayerPlan, path: &str) -> Option<String> {
    let file = layer.files.iter().find(|file| file.path == path)?;
    Some(String::from_utf8_lossy(&file.content).into_owned())
}

fn packages(definition: &Definition) -> &[String] {
    let BasePlan::Packages(base) = &definition.plan.base else { panic!("{:?}", definition.plan.base) };
    &base.packages
}

#[test]
fn every_layer_by_choice_resolves_beside_the_others_with_every_base_and_an_old_kubernetes() {
    let choices: [&[&str]; 12] = [
        &["storage-clients", "kubectl"],
        &["chrony"],
        &["sshd", "break-glass"],
        &["sshd", "break-glass", "installer-target"],
        &["auditd"],
        &["cis", "auditd"],
        &["ecr-credential-provider"],
        &["acr-credential-provider"],
        &["gcr-credential-provider"],
        &["gvisor"],
        &["kata"],
        &["nvidia-container-toolkit"],
    ];
    for image in ["debian-13.toml", "debian-12.toml", "ubuntu-22.04.toml", "ubuntu-26.04.toml"] {
        for more in choices {
            load(image, more, &[]);
            load(image, more, &["kubernetes=1.20.2", "versions.containerd=1.7.34"]);
        }
    }
}

#[test]
fn chrony_takes_the_place_of_the_other_program_that_sets_the_clock() {
    let has =
        |definition: &Definition, name: &str| packages(definition).iter().any(|package| package == name);
    let without = load("debian-13.toml", &[], &[]);
    assert!(has(&without, "systemd-timesyncd") && !has(&without, "chrony"));
    let with = load("debian-13.toml", &["chrony"], &[]);
    assert!(has(&with, "chrony") && !has(&with, "systemd-timesyncd"));
    let configuration = file(layer(&with, "chrony"), "etc/chrony/chrony.conf").unwrap();
    assert!(configuration.contains("pool 2.debian.pool.ntp.org iburst"), "{configuration}");
}

/// A machine: files below its root, and what chrony gets as devices and as servers.
type Machine = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);

const MACHINES: [Machine; 9] = [
    ("nothing that is known", &[], "", ""),
    (
        "KVM",
        &[("sys/class/ptp/ptp0/clock_name", "KVM virtual PTP\n")],
        "refclock PHC /dev/ptp0 poll 3 dpoll -2 offset 0 stratum 2\n",
        "",
    ),
    (
        "Azure, whose card has a clock of its own too",
        &[("sys/class/ptp/ptp0/clock_name", "mlx5_ptp\n"), ("sys/class/ptp/ptp1/clock_name", "hyperv\n")],
        "refclock PHC /dev/ptp1 poll 3 dpoll -2 offset 0 stratum 2\n",
        "",
    ),
    (
        "VMware",
        &[("sys/class/ptp/ptp0/clock_name", "ptp_vmw\n")],
        "refclock PHC /dev/ptp0 poll 3 dpoll -2 offset 0 stratum 2\n",
        "",
    ),
    (
        "EC2",
        &[("sys/class/dmi/id/sys_vendor", "Amazon EC2\n")],
        "",
        "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4\nserver fd00:ec2::123 iburst minpoll 4 maxpoll 4\n",
    ),
    (
        "EC2 on Xen",
        &[("sys/class/dmi/id/sys_vendor", "Xen\n"), ("sys/class/dmi/id/bios_version", "4.11.amazon\n")],
        "",
        "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4\nserver fd00:ec2::123 iburst minpoll 4 maxpoll 4\n",
    ),
    (
        "Google Cloud",
        &[("sys/class/dmi/id/product_name", "Google Compute Engine\n")],
        "",
        "server metadata.google.internal prefer iburst\n",
    ),
    (
        "Oracle Cloud",
        &[("sys/class/dmi/id/chassis_asset_tag", "OracleCloud.com\n")],
        "",
        "server 169.254.169.254 prefer iburst\n",
    ),
    (
        "a network whose DHCP names servers on two cards, and something that is none",
        &[
            ("run/systemd/netif/leases/2", "ADDRESS=10.0.0.9\nNTP=10.0.0.2 10.0.0.1\n"),
            ("run/systemd/netif/leases/3", "NTP=10.0.0.1 $(reboot) fd00::1\n"),
        ],
        "",
        "server 10.0.0.1 iburst\nserver 10.0.0.2 iburst\nserver fd00::1 iburst\n",
    ),
];

#[test]
fn chrony_is_told_of_the_clocks_that_a_machine_has() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("platform-clock");
    let layer = load("debian-13.toml", &["chrony"], &[]);
    let text = file(self::layer(&layer, "chrony"), "usr/lib/kiln/platform-clock").unwrap();
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for (number, (title, files, devices, servers)) in MACHINES.into_iter().enumerate() {
        let root: PathBuf = folder.path().join(number.to_string());
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        // It runs at each boot, and again once the network is there.
        for _ in 0..2 {
            let output = Command::new("sh").arg(&script).arg(&root).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{title}: {output:?}");
            let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
            assert_eq!(read("run/chrony/platform.conf"), devices, "{title}");
            assert_eq!(read("run/chrony-dhcp/platform.sources"), servers, "{title}");
        }
    }
}

#[test]
fn nobody_gets_in_before_user_data_says_so() {
    let definition = load("debian-13.toml", &["sshd", "break-glass", "installer-target"], &[]);
    let sshd = layer(&definition, "sshd");
    assert!(sshd.enable.is_empty(), "the server itself starts never");
    assert_eq!(sshd.mask, ["ssh.service", "ssh.socket"]);
    let generators: Vec<_> = sshd
        .links
        .iter()
        .filter(|link| link.path.starts_with("etc/systemd/system-generators/"))
        .collect();
    assert!(
        generators.iter().all(|link| link.target == "/dev/null") && generators.len() == 1,
        "systemd starts the distribution's server on no socket: {generators:?}"
    );
    let mut opened = Vec::new();
    for name in ["break-glass", "installer-target"] {
        let layer = layer(&definition, name);
        assert_eq!(layer.enable, [format!("{name}.path")]);
        let path = file(layer, &format!("usr/lib/systemd/system/{name}.path")).unwrap();
        let watched = path.lines().find_map(|line| line.strip_prefix("PathExists=/")).unwrap().to_owned();
        let configuration = file(layer, &format!("usr/lib/kiln/sshd_config.d/{name}.conf")).unwrap();
        assert!(configuration.contains(&watched), "{name} watches what the server reads");
        opened.push(watched);
    }
    let baked = definition.plan.layers.iter().flat_map(|layer| &layer.files);
    assert!(baked.into_iter().all(|file| !opened.contains(&file.path)), "no image has keys");
}

/// The kubelet looks for a program by the name in the configuration.
#[test]
fn a_provider_of_logins_has_the_name_of_its_program() {
    for (name, program) in [
        ("ecr-credential-provider", "ecr-credential-provider"),
        ("acr-credential-provider", "azure-acr-credential-provider"),
        ("gcr-credential-provider", "auth-provider-gcp"),
    ] {
        let definition = load("debian-13.toml", &[name], &[]);
        let layer = layer(&definition, name);
        let path = match &layer.artifacts[0].place {
            Place::File { path, .. } => path.clone(),
            Place::Archive(rules) => format!("{}/{}", rules.into, rules.pick[0]),
        };
        assert_eq!(path, format!("usr/lib/kubernetes/credential-providers/{program}"));
        let configuration = file(layer, "etc/kubernetes/credential-providers.yaml").unwrap();
        assert!(configuration.contains(&format!("- name: {program}\n")), "{configuration}");
        let drop_in = format!("usr/lib/systemd/system/kubelet.service.d/40-{name}.conf");
        let flags = file(layer, &drop_in).unwrap();
        assert!(
            flags.contains("--image-credential-provider-config=/etc/kubernetes/credential-providers.yaml")
        );
        assert!(
            flags.contains("--image-credential-provider-bin-dir=/usr/lib/kubernetes/credential-providers")
        );
    }
}

#[test]
fn the_rules_of_auditd_are_named_and_watch_only_what_can_change() {
    let definition = load("debian-13.toml", &["cis", "auditd"], &[]);
    let layer = layer(&definition, "auditd");
    let rules = file(layer, "etc/audit/rules.d/50-node.rules").unwrap();
    let mut seen = 0;
    for rule in rules.lines().filter(|line| line.starts_with("-a ")) {
        assert!(rule.starts_with("-a always,exit -F arch=b64 "), "of one architecture: {rule}");
        assert!(rule.contains(" -F key="), "a record says which rule it is of: {rule}");
        let watched = rule.split(' ').filter_map(|word| word.split_once('='));
        for (_, path) in watched.filter(|(field, _)| ["dir", "path"].contains(field)) {
            assert!(path.starts_with("/etc"), "the rest is read-only, or changes all the time: {rule}");
        }
        seen += 1;
    }
    assert!(seen > 5);
    let last = layer.files.iter().map(|file| &file.path).max().unwrap();
    assert!(file(layer, last).unwrap().ends_with("\n-e 2\n"), "nothing can be added after {last}");
}

#[test]
fn the_kubelet_is_told_only_of_what_its_version_has() {
    let at = |kubernetes: &str, name: &str| {
        let definition = load("debian-13.toml", &["cis", "ecr-credential-provider"], &[kubernetes]);
        let layer = layer(&definition, name);
        (layer.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), layer.artifacts.len())
    };
    let cis = "etc/kubernetes/kubelet.conf.d/90-cis.conf".to_owned();
    assert!(at("kubernetes=1.28.15", "cis").0.contains(&cis));
    assert!(!at("kubernetes=1.27.16", "cis").0.contains(&cis));
    assert_eq!(at("kubernetes=1.26.15", "ecr-credential-provider").1, 1);
    assert_eq!(at("kubernetes=1.25.16", "ecr-credential-provider"), (Vec::new(), 0));
}

/// Kubespray calls crictl and ctr in its bin_dir, which on an image is /opt/bin (docs/installers.md).
#[test]
fn an_installer_finds_the_programs_of_the_runtime() {
    let definition = load("debian-13.toml", &["sshd", "installer-target"], &[]);
    let artifacts = definition.plan.layers.iter().flat_map(|layer| &layer.artifacts);
    let baked: Vec<String> = artifacts
        .flat_map(|artifact| match &artifact.place {
            Place::File { path, .. } => vec![path.clone()],
            Place::Archive(rules) => rules.pick.iter().map(|pick| format!("{}/{pick}", rules.into)).collect(),
        })
        .collect();
    let links = &layer(&definition, "installer-target").links;
    let names: Vec<&str> = links.iter().map(|link| link.path.as_str()).collect();
    assert_eq!(names, ["opt/bin/crictl", "opt/bin/runc", "opt/bin/containerd", "opt/bin/ctr"]);
    for link in links {
        let target = link.target.trim_start_matches('/');
        assert!(baked.iter().any(|path| path == target), "{} leads to {target}: {baked:?}", link.path);
    }
}
