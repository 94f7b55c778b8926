//! The one image, unchanged, joins wherever it is booted: QEMU shows the platform's firmware tables, the
//! simulator answers on the platform's own addresses, and a real control plane gets the Node. Each Node has
//! the platform's provider-id, labels and addresses.
//!
//! Long: a boot for each platform. `KILN_TEST_PLATFORMS=ec2,gce` chooses some.

use std::fs;
use std::path::Path;

use base64::Engine;
use kiln_simulator::simulation::Family;
use kiln_simulator::{Running, Simulation};
use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{
    GUEST, assert_joined, control_plane, disc, fat_disk, join_configuration, ready_node, udf_disc, verdict,
};
use kiln_tests::kiln::{self, Image};
use kiln_tests::netns;
use kiln_tests::pods::{self, Network};
use kiln_tests::qemu::Machine;
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::{TestServer, folder, not_run};

/// The way in which a machine gets its node config.
enum Way {
    /// From the platform's service, or the drive that the platform attaches.
    UserData,
    /// As `UserData`, in a cloud-config that names GCE's service in `/etc/hosts`: there the service is the
    /// machine's name server, here there is none, and kubelets before 1.26 wait for an answer to the name.
    WithNameOfService,
    /// From the disc that Azure provisions a machine with; the service has the facts.
    CustomData,
    /// As a disk with the label `cidata`, with this meta-data.
    Cidata(&'static str),
    /// Through QEMU's fw_cfg.
    FwCfg,
    /// By a URL with variables of the machine on the kernel command line.
    Url,
}

/// A machine, and what its Node must have.
struct Case {
    /// In the simulator and in `firstboot explain`.
    platform: &'static str,
    way: Way,
    /// Values of the simulator.
    sets: &'static [(&'static str, &'static str)],
    /// The Node's name.
    node: &'static str,
    provider_id: Option<&'static str>,
    /// Labels by what follows the last slash of their names.
    labels: &'static [(&'static str, &'static str)],
    /// A request to the platform's service that any program of the machine can make, but no pod, and its
    /// answer.
    open_to_all: Option<(&'static str, &'static str)>,
}

const CASES: &[Case] = &[
    Case {
        platform: "ec2",
        way: Way::UserData,
        sets: &[("local-ipv4", GUEST), ("hostname", "ip-10-0-2-15.eu-west-1.compute.internal")],
        node: "ip-10-0-2-15.eu-west-1.compute.internal",
        provider_id: Some("aws:///eu-west-1b/i-0a1b2c3d4e5f60718"),
        labels: &[("region", "eu-west-1"), ("zone", "eu-west-1b"), ("instance-type", "m7i.large")],
        open_to_all: None,
    },
    Case {
        platform: "gce",
        way: Way::WithNameOfService,
        sets: &[("local-ipv4", GUEST), ("name", "gce-node")],
        node: "gce-node",
        provider_id: Some("gce://kiln-simulated/europe-west4-a/gce-node"),
        labels: &[("region", "europe-west4"), ("zone", "europe-west4-a"), ("instance-type", "n2-standard-4")],
        open_to_all: None,
    },
    Case {
        platform: "azure",
        way: Way::UserData,
        sets: &[("local-ipv4", GUEST), ("hostname", "azure-node")],
        node: "azure-node",
        provider_id: Some(
            "azure:///subscriptions/8d10da13-8125-4ba9-a717-bf7490507b3d/resourceGroups/kiln-simulated/providers/Microsoft.Compute/virtualMachines/azure-node",
        ),
        labels: &[("region", "westeurope"), ("zone", "westeurope-1"), ("instance-type", "Standard_D4s_v5")],
        open_to_all: None,
    },
    Case {
        platform: "azure",
        way: Way::CustomData,
        sets: &[("local-ipv4", GUEST), ("hostname", "azure-disc-node")],
        node: "azure-disc-node",
        provider_id: Some(
            "azure:///subscriptions/8d10da13-8125-4ba9-a717-bf7490507b3d/resourceGroups/kiln-simulated/providers/Microsoft.Compute/virtualMachines/azure-disc-node",
        ),
        labels: &[("region", "westeurope"), ("zone", "westeurope-1"), ("instance-type", "Standard_D4s_v5")],
        open_to_all: None,
    },
    Case {
        platform: "openstack-drive",
        way: Way::UserData,
        sets: &[("local-ipv4", GUEST), ("hostname", "openstack-node")],
        node: "openstack-node",
        provider_id: Some("openstack:///d8e02d56-2648-49a3-bf97-6be8f1204f38"),
        labels: &[("zone", "nova"), ("instance-type", "m1.medium")],
        open_to_all: None,
    },
    Case {
        platform: "hetzner",
        way: Way::UserData,
        sets: &[("local-ipv4", GUEST), ("hostname", "hetzner-node")],
        node: "hetzner-node",
        provider_id: Some("hcloud://42003145"),
        labels: &[("region", "eu-central"), ("zone", "hel1-dc2")],
        open_to_all: None,
    },
    Case {
        platform: "digitalocean",
        way: Way::UserData,
        sets: &[("local-ipv4", GUEST), ("hostname", "droplet-node")],
        node: "droplet-node",
        provider_id: Some("digitalocean://2756294"),
        labels: &[("region", "nyc3")],
        open_to_all: Some(("http://169.254.169.254/metadata/v1/region", "nyc3")),
    },
    Case {
        platform: "nocloud",
        way: Way::Cidata(
            "instance-id: n1\nlocal-hostname: nocloud-node\nregion: here\nzone: here-a\nprovider-id: lab://n1\n",
        ),
        sets: &[],
        node: "nocloud-node",
        provider_id: Some("lab://n1"),
        labels: &[("region", "here"), ("zone", "here-a")],
        open_to_all: None,
    },
    Case {
        platform: "qemu",
        way: Way::FwCfg,
        sets: &[],
        node: "fw-cfg-node",
        provider_id: None,
        labels: &[],
        open_to_all: None,
    },
    Case {
        platform: "metal",
        way: Way::Url,
        sets: &[],
        node: "metal-node",
        provider_id: None,
        labels: &[],
        open_to_all: None,
    },
];

/// A node config that leaves name, provider-id and addresses to the platform, if the platform has them.
fn node_config(control_plane: &ControlPlane, case: &Case) -> String {
    let named = match case.way {
        Way::FwCfg | Way::Url => format!("  name: {}\n", case.node),
        Way::UserData | Way::WithNameOfService | Way::CustomData | Way::Cidata(_) => String::new(),
    };
    join_configuration(control_plane, &named)
}

/// A machine and the programs beside it.
struct Fixture {
    machine: Machine,
    _service: Option<Running>,
    _server: Option<TestServer>,
}

fn fixture(case: &Case, image: &Image, folder: &Path, control_plane: &ControlPlane) -> Fixture {
    let config = node_config(control_plane, case);
    let name = format!("platform-{}", case.platform);
    let plain = |line: &str| {
        let machine = Machine::new(&name).in_network_of(control_plane.fact("pid"));
        machine
            .kernel(
                &image.file(".vmlinuz"),
                &image.file(".initrd"),
                &format!("{} {line}", image.command_line()),
            )
            .snapshot(&image.file(".raw"))
    };
    match case.way {
        Way::UserData => simulated(case, Some(&config), folder, control_plane, plain),
        Way::WithNameOfService => {
            simulated(case, Some(&with_name_of_service(&config)), folder, control_plane, plain)
        }
        Way::CustomData => {
            let files = folder.join("provisioning");
            let written = fs::create_dir(&files)
                .and_then(|()| fs::write(files.join("ovf-env.xml"), provisioning(&config)));
            written.expect("the folder is the test's");
            let disc = udf_disc(folder, "provisioning", &files);
            simulated(case, None, folder, control_plane, |line| plain(line).disc(&disc))
        }
        Way::Cidata(meta_data) => {
            let files = folder.join("cidata");
            let write = |name: &str, text: &str| fs::write(files.join(name), text);
            let written = fs::create_dir(&files)
                .and_then(|()| write("user-data", &config))
                .and_then(|()| write("meta-data", meta_data));
            written.expect("the folder is the test's");
            Fixture {
                machine: plain("").snapshot(&fat_disk(folder, "CIDATA", &files)),
                _service: None,
                _server: None,
            }
        }
        Way::FwCfg => {
            let file = folder.join("config.yaml");
            fs::write(&file, config).expect("the folder is the test's");
            Fixture {
                machine: plain("").fw_cfg("opt/org.kiln.firstboot/config", &file),
                _service: None,
                _server: None,
            }
        }
        Way::Url => {
            let uuid = "4c4c4544-0042-3510-8052-b4c04f4e3299";
            let served = folder.join("served");
            fs::create_dir(&served)
                .and_then(|()| fs::write(served.join(uuid), &config))
                .expect("the folder is the test's");
            let server = netns::inside(control_plane.fact("pid"), || folder::serve(&served));
            let digest = workspace::output("sha256sum", [served.join(uuid)]);
            let digest = digest.split(' ').next().expect("sha256sum prints a digest");
            let line = format!(
                "firstboot.config={}/${{uuid}} firstboot.config-sha256={digest}",
                folder::guest_url(&server)
            );
            let machine = plain(&line).uuid(uuid).smbios("type=1,manufacturer=Lab,product=Rack 1,serial=r1");
            Fixture { machine, _service: None, _server: Some(server) }
        }
    }
}

fn with_name_of_service(config: &str) -> String {
    let config: String = config.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "#cloud-config\nwrite_files:\n\
         - path: /etc/hosts\n  append: true\n  content: |\n    169.254.169.254 metadata.google.internal\n\
         - path: /run/kubeadm/kubeadm.yaml\n  content: |\n{config}\
         runcmd:\n- kubeadm join --config /run/kubeadm/kubeadm.yaml\n"
    )
}

/// The files on Azure's provisioning disc that the agent reads.
fn provisioning(config: &str) -> String {
    let custom_data = base64::engine::general_purpose::STANDARD.encode(config);
    format!(
        "<?xml version=\"1.0\"?>\n<Environment xmlns=\"http://schemas.dmtf.org/ovf/environment/1\" xmlns:wa=\"http://schemas.microsoft.com/windowsazure\">\
         <wa:ProvisioningSection><LinuxProvisioningConfigurationSet xmlns=\"http://schemas.microsoft.com/windowsazure\">\
         <CustomData>{custom_data}</CustomData></LinuxProvisioningConfigurationSet></wa:ProvisioningSection></Environment>\n"
    )
}

fn simulated(
    case: &Case,
    config: Option<&str>,
    folder: &Path,
    control_plane: &ControlPlane,
    plain: impl Fn(&str) -> Machine,
) -> Fixture {
    let simulation = Simulation::of(case.platform).family(Family::V4);
    let simulation = config.into_iter().fold(simulation, |simulation, config| simulation.user_data(config));
    let simulation =
        case.sets.iter().fold(simulation, |simulation, (name, value)| simulation.set(name, value));
    let simulated = simulation.build().unwrap_or_else(|error| panic!("{}: {error}", case.platform));
    let mut machine = plain("")
        .args(simulated.qemu_arguments().unwrap_or_else(|error| panic!("{}: {error}", case.platform)));
    let drive = simulated.drive().unwrap_or_else(|error| panic!("{}: {error}", case.platform));
    if let Some(drive) = drive {
        let files = folder.join("drive");
        fs::create_dir(&files).expect("the folder is the test's");
        simulated.write_drive(&files).unwrap_or_else(|error| panic!("{}: {error}", case.platform));
        // As Nova makes it unless it is told otherwise; NoCloud below is a disk.
        machine = machine.disc(&disc(folder, &drive.label, &files));
        return Fixture { machine, _service: None, _server: None };
    }
    for (_, address, _) in simulated.addresses() {
        let _ = control_plane
            .command("ip")
            .args(["addr", "add", &format!("{}/32", address.ip), "dev", "lo"])
            .output();
    }
    let service = netns::inside(control_plane.fact("pid"), || simulated.serve_here());
    Fixture {
        machine,
        _service: Some(service.unwrap_or_else(|error| panic!("{}: {error}", case.platform))),
        _server: None,
    }
}

fn assert_of_its_platform(node: &Value, case: &Case) {
    assert_eq!(node["spec"]["providerID"].as_str(), case.provider_id, "{}", case.platform);
    let labels = node["metadata"]["labels"].as_object().expect("Nodes have labels");
    let value = |name: &str| {
        let stable = |key: &str| !key.starts_with("failure-domain.") && !key.starts_with("beta.");
        labels
            .iter()
            .find(|(key, _)| stable(key) && key.rsplit('/').next() == Some(name))
            .and_then(|(_, value)| value.as_str())
    };
    for (name, expected) in case.labels {
        assert_eq!(value(name), Some(*expected), "{}: label {name}: {labels:?}", case.platform);
    }
    for name in ["region", "zone", "instance-type"] {
        let expected = case.labels.iter().find(|(each, _)| *each == name).map(|(_, value)| *value);
        assert_eq!(value(name), expected, "{}: label {name}", case.platform);
    }
    let addresses = node["status"]["addresses"].as_array().cloned().unwrap_or_default();
    assert!(
        addresses.contains(&json!({"type": "InternalIP", "address": GUEST})),
        "{}: {addresses:?}",
        case.platform
    );
}

/// The machine gets an answer, as the agent does; a pod gets none.
fn assert_pods_are_kept_from(control_plane: &ControlPlane, case: &Case, address: &str, answer: &str) {
    let asked = |who: &str, network| {
        pods::answer_to(control_plane, case.node, &format!("{who}-{}", case.platform), network, address)
    };
    assert_eq!(asked("machine", Network::OfTheMachine), format!("{answer}0"), "{}", case.platform);
    let of_a_pod = asked("pod", Network::OfPods);
    assert!(of_a_pod.ends_with('1') && !of_a_pod.contains(answer), "{}: a pod got {of_a_pod}", case.platform);
}

fn joins(case: &Case, image: &Image, control_plane: &ControlPlane) {
    let folder = workspace::scratch();
    let fixture = fixture(case, image, folder.path(), control_plane);
    fixture.machine.boot(|vm| {
        let verdict = verdict(vm)?;
        assert_joined(&verdict, "joined", case.node);
        let node = ready_node(control_plane, case.node, "");
        workspace::say(&format!("{}: Ready {:.0} s after power-on", case.platform, vm.age().as_secs_f64()));
        assert_of_its_platform(&node, case);
        if let Some((address, answer)) = case.open_to_all {
            assert_pods_are_kept_from(control_plane, case, address, answer);
        }
        Ok(())
    });
}

#[test]
fn the_one_image_joins_on_every_platform() {
    let Some(control_plane) = control_plane("joins on every platform") else { return };
    if let Some(program) = workspace::missing(&["mkfs.vfat", "mcopy", "genisoimage"]) {
        return not_run(
            "joins on every platform",
            &format!("no program {program} here (packages dosfstools, mtools, genisoimage)"),
        );
    }
    let chosen = std::env::var("KILN_TEST_PLATFORMS").ok();
    let is_chosen =
        |case: &&Case| chosen.as_ref().is_none_or(|names| names.split(',').any(|name| name == case.platform));
    let image = kiln::joining_image();
    let cases: Vec<&Case> = CASES.iter().filter(is_chosen).collect();
    assert!(!cases.is_empty(), "KILN_TEST_PLATFORMS names no platform of this test");
    cases.into_iter().for_each(|case| joins(case, &image, control_plane));
}
