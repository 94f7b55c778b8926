//! The layers that images have by choice, all in one image, on a machine that joined a real cluster: who may
//! log in and who not, the clock, the settings of CIS's benchmarks, and nothing that failed beside it.
//!
//! Slow: `make test-long` runs it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{
    assert_joined, eventually, fat_disk, join_configuration, lab_with_network, ready_node, verdict,
    verdict_once_the_clock_is_right,
};
use kiln_tests::kiln::{self, Image};
use kiln_tests::lab_network::{LabNetwork, SERVER, TAP};
use kiln_tests::netns;
use kiln_tests::pods::{self, Network};
use kiln_tests::qemu::{Machine, overlay};
use kiln_tests::ssh::{self, Host, Key};
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::not_run;

const IMAGE: &str = "tests/images/node-layers.toml";
const NODE: &str = "layers-node";
const SSH: u16 = 22;
const KUBELET: u16 = 10250;

fn machine(name: &str, image: &Image, control_plane: &ControlPlane, folder: &Path) -> Machine {
    let disk = overlay(&image.file(".raw"), folder, "disk", Some(8 << 30));
    Machine::new(name)
        .memory(3072)
        .in_network_of(control_plane.fact("pid"))
        .plugged_into(TAP)
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .disk(&disk)
}

/// The disk of a platform (NoCloud) that has the key of an installer, and user data that names the signer of
/// grants.
fn platform(control_plane: &ControlPlane, folder: &Path, installer: &Key, signer: &Key) -> Machine {
    let image = kiln::joining_image_of(IMAGE);
    let files = folder.join("cidata");
    let config: String = join_configuration(control_plane, "")
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let user_data = format!(
        "#cloud-config\nwrite_files:\n\
         - path: /etc/break-glass/ca.pub\n  content: {}\n\
         - path: /run/kubeadm/kubeadm.yaml\n  content: |\n{config}\
         runcmd:\n- kubeadm join --config /run/kubeadm/kubeadm.yaml\n",
        signer.public()
    );
    let meta_data =
        format!("instance-id: n1\nlocal-hostname: {NODE}\npublic-keys:\n- {}\n", installer.public());
    fs::create_dir(&files)
        .and_then(|()| fs::write(files.join("user-data"), user_data))
        .and_then(|()| fs::write(files.join("meta-data"), meta_data))
        .expect("the folder is the test's");
    machine(NODE, &image, control_plane, folder).snapshot(&fat_disk(folder, "CIDATA", &files))
}

/// The machine's address, once it has one.
fn address(network: &LabNetwork) -> Ipv4Addr {
    eventually("an address of the machine", || network.addresses().last().copied().ok_or(Value::Null))
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_node_with_all_layers_of_choice_is_ready_and_lets_in_who_has_a_key_or_a_grant() {
    const WHAT: &str = "the node with all layers of choice";
    if let Some(program) = workspace::missing(&ssh::PROGRAMS) {
        return not_run(WHAT, &format!("no program {program} here (package openssh-client)"));
    }
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, network)) = lab_with_network(WHAT) else { return };
    let folder = workspace::scratch();
    let key = |name: &str| Key::new(folder.path(), name);
    let (installer, signer) = (key("installer"), key("signer"));
    let machine = platform(control_plane, folder.path(), &installer, &signer).clock_off_by(1);
    machine.boot(|vm| {
        assert_joined(&verdict_once_the_clock_is_right(vm)?, "joined", NODE);
        ready_node(control_plane, NODE, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        let said = pods::said_by(control_plane, NODE, "layers-pod", "echo in a pod", Network::OfPods);
        assert_eq!(said, "in a pod\n0");

        let host = Host { control_plane, address: address(&network) };
        assert_eq!(host.said(&installer, "id -un"), "root");
        let alice = holder(&signer, folder.path(), ("alice", "root", "-5m:+1h"));
        assert_eq!(host.said(&alice, "id -un"), "root");
        let logins = host.said(&installer, "journalctl -u node-sshd -o cat");
        assert!(logins.contains("alice, incident 7"), "{logins}");
        workspace::say(&format!("{:.0} s after power-on: logins seen", vm.age().as_secs_f64()));

        let said = |line: &str| host.said(&alice, line);
        assert_eq!(said("systemctl is-system-running --wait; systemctl --failed --no-legend"), "running");
        tells_the_time_of_its_network(&said);
        has_the_settings_of_its_layers(&said);
        kubelet_is_strict(control_plane, &said);
        assert_eq!(open_ports(&said("ss -Hltun")), [SSH, KUBELET]);
        let others = said("systemctl list-units --all --no-legend --plain 'ssh*' | grep -v masked || true");
        assert_eq!(others, "", "the distribution's server listens");
        said("mount.nfs -V; iscsiadm --version; python3 -c 'import apt'; rsync --version; sudo -n true");
        lets_nobody_else_in(&host, folder.path(), &signer);
        workspace::say(&format!("{:.0} s after power-on: seen", vm.age().as_secs_f64()));
        Ok(())
    });
}

/// A new key with a grant of `signer` for this user and time.
fn holder(signer: &Key, folder: &Path, (name, user, validity): (&str, &str, &str)) -> Key {
    let key = Key::new(folder, name);
    signer.grant(&key, &format!("{name}, incident 7"), user, validity);
    key
}

fn lets_nobody_else_in(host: &Host, folder: &Path, signer: &Key) {
    let stranger = Key::new(folder, "stranger");
    host.refuses(&stranger, "a key that nobody named");
    host.refuses(signer, "the signer's own key");
    host.refuses(&holder(&stranger, folder, ("forger", "root", "-5m:+1h")), "a grant of a stranger");
    for (name, user, validity) in
        [("late", "root", "-2h:-1h"), ("early", "root", "+1h:+2h"), ("other", "nobody", "-5m:+1h")]
    {
        host.refuses(&holder(signer, folder, (name, user, validity)), &format!("{validity} for {user}"));
    }
}

/// The clock was a day off.
fn tells_the_time_of_its_network(said: &impl Fn(&str) -> String) {
    assert_eq!(said("systemctl is-active chrony; systemctl cat systemd-timesyncd 2>&1 | head -1"), {
        "active\nNo files found for systemd-timesyncd.service."
    });
    assert_eq!(said("cat /run/chrony/platform.conf /run/chrony-dhcp/platform.sources"), {
        format!("server {SERVER} iburst")
    });
    let sources = said("chronyc -n -c sources");
    assert!(sources.contains(&format!("^,*,{SERVER},")), "{sources}");
    let (here, there) = (workspace::output("date", ["+%s"]), said("date +%s"));
    let seconds = |text: &str| text.trim().parse::<i64>().expect("date tells seconds");
    assert!((seconds(&here) - seconds(&there)).abs() < 30, "{there} there, {here} here");
}

/// Every setting of the kernel that the layers have, as their files say; of two the last counts.
fn has_the_settings_of_its_layers(said: &impl Fn(&str) -> String) {
    let mut wanted = std::collections::BTreeMap::new();
    for layer in ["node", "cis"] {
        let file = workspace::root().join("layers").join(layer).join("sysctl.conf");
        let text = fs::read_to_string(&file).expect("the layer has it");
        let lines = text.lines().filter(|line| !line.starts_with(['#', '-']) && !line.contains('*'));
        let settings = lines.filter_map(|line| line.split_once(" = "));
        wanted.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    assert!(wanted.len() > 40, "{wanted:?}");
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    let told = said(&format!("sysctl {}", names.join(" "))).replace('\t', " ");
    let told = told.lines().filter_map(|line| line.split_once(" = "));
    assert_eq!(told.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>(), {
        wanted.into_iter().collect::<Vec<_>>()
    });
    assert_eq!(
        said("modprobe udf 2>/dev/null; echo $?; modprobe -n -v usb-storage"),
        "1\ninstall /bin/false"
    );
}

/// The kubelet runs with the settings of the layer, which the kernel must fit.
fn kubelet_is_strict(control_plane: &ControlPlane, said: &impl Fn(&str) -> String) {
    let path = format!("/api/v1/nodes/{NODE}/proxy/configz");
    let answer = control_plane.get(&path).expect("the kubelet answers the API server");
    let configuration = &answer["kubeletconfig"];
    let fields = [
        ("protectKernelDefaults", json!(true)),
        ("seccompDefault", json!(true)),
        ("podPidsLimit", json!(4096)),
        ("tlsMinVersion", json!("VersionTLS12")),
    ];
    for (field, value) in fields {
        assert_eq!(configuration[field], value, "{field}");
    }
    assert!(configuration["readOnlyPort"].as_u64().unwrap_or(0) == 0, "{configuration}");
    let line = format!("curl -sk -o /dev/null -w '%{{http_code}}' https://127.0.0.1:{KUBELET}/pods");
    assert_eq!(said(&line), "401", "the kubelet answers strangers");
}

/// The ports that others reach, without those of DHCP's client.
fn open_ports(sockets: &str) -> Vec<u16> {
    let reached = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(4))
        .filter(|local| !local.starts_with("127.") && !local.starts_with("[::1]"));
    let ports = reached.filter_map(|local| local.rsplit(':').next()?.parse().ok());
    let ports: std::collections::BTreeSet<u16> = ports.filter(|port| ![68, 546].contains(port)).collect();
    ports.into_iter().collect()
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_node_whose_metadata_has_no_keys_opens_no_port_for_logins() {
    let _alone = workspace::exclusive("join-e2e");
    let Some((control_plane, network)) = lab_with_network("the node without keys") else { return };
    let (image, folder) = (kiln::joining_image_of(IMAGE), workspace::scratch());
    let config = folder.path().join("config.yaml");
    fs::write(&config, join_configuration(control_plane, "  name: closed-node\n"))
        .expect("the folder is the test's");
    let machine = machine("closed-node", &image, control_plane, folder.path())
        .fw_cfg("opt/org.kiln.firstboot/config", &config);
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", "closed-node");
        ready_node(control_plane, "closed-node", "");
        let address = address(&network);
        let connects = |port| {
            let to = SocketAddr::new(address.into(), port);
            netns::inside(control_plane.fact("pid"), || {
                TcpStream::connect_timeout(&to, Duration::from_secs(20)).map(drop)
            })
        };
        connects(KUBELET).expect("the machine is there");
        assert_eq!(connects(SSH).map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
        Ok(())
    });
}
