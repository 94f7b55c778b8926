//! A cluster from images and user data alone: a machine becomes the control plane by the user data that
//! Cluster API's kubeadm provider writes, a worker of the same image joins it, and the control plane comes
//! back after a reboot.
//!
//! The images of the static pods hold the real programs; those of kube-proxy and CoreDNS are stand-ins.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_tests::console::Failure;
use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::join_support::{assert_joined, eventually, fat_disk, ready_node, verdict};
use kiln_tests::kiln::{self, Image};
use kiln_tests::lab::lab;
use kiln_tests::lab_network::{KNOWN_ADDRESS, KNOWN_CARD, LabNetwork, SECOND_TAP, TAP};
use kiln_tests::netns::{API_ADDRESS, NetworkNamespace};
use kiln_tests::pods;
use kiln_tests::qemu::{Machine, Vm, overlay};
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::not_run;

const DEFINITION: &str = "tests/images/control-plane.toml";
const TOKEN: &str = "lablab.0123456789abcdef";
const OTHER_CARD: &str = "52:54:00:98:00:0c";
const GIBIBYTE: u64 = 1 << 30;

/// The authority of a cluster that does not exist yet, and its administrator.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self { folder: workspace::scratch() };
        fs::create_dir_all(authority.path("kubernetes/pki")).expect("the folder is the test's");
        let (ca, key) = (authority.text("kubernetes/pki/ca.crt"), authority.text("ca.key"));
        let words =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=kubernetes"];
        let usage = "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign";
        openssl(&[&words[..], &["-addext", usage, "-keyout", &key, "-out", &ca]].concat());
        let (request, admin) = (authority.text("request"), authority.text("admin.key"));
        let words = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=system:masters/CN=the-test"];
        openssl(&[&words[..], &["-keyout", &admin, "-out", &request]].concat());
        let certificate = authority.text("admin.certificate");
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &key,
            "-days",
            "30",
            "-set_serial",
            "7",
            "-out",
            &certificate,
        ]);
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("openssl wrote it")
    }

    /// The pin of its public key.
    fn pin(&self) -> String {
        let line = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der | sha256sum";
        let sum = workspace::output("sh", ["-c", line, &self.text("kubernetes/pki/ca.crt")]);
        format!("sha256:{}", sum.split(' ').next().expect("sha256sum prints a digest"))
    }
}

fn openssl(words: &[&str]) {
    workspace::output("openssl", words);
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

/// The version of kubeadm's API that Cluster API writes for this Kubernetes.
fn form() -> &'static str {
    match lab().kubernetes_minor() {
        31.. => "v1beta4",
        22.. => "v1beta3",
        _ => "v1beta2",
    }
}

/// What Cluster API's kubeadm provider writes for the first control plane of the cluster at `endpoint`, with
/// more lines of its InitConfiguration and more flags of kubeadm.
fn first_control_plane(authority: &Authority, etcd: &str, endpoint: &str, more: &str, flags: &str) -> String {
    let (form, version, checks) = (form(), &lab().versions["kubernetes"], lab().ignored_checks());
    // Under emulation an API server takes longer than the minute that kubeadm gives it.
    let (old, new) = match form {
        "v1beta4" => ("", "timeouts: {kubernetesAPICall: 8m, controlPlaneComponentHealthCheck: 8m}\n"),
        _ => ("apiServer: {timeoutForControlPlane: 8m}\n", ""),
    };
    let kubeadm = format!(
        "---\napiVersion: kubeadm.k8s.io/{form}\nkind: ClusterConfiguration\nclusterName: lab\n\
         controlPlaneEndpoint: {endpoint}\nkubernetesVersion: v{version}\netcd: {{local: {{imageTag: {etcd}}}}}\n\
         networking: {{podSubnet: 10.244.0.0/16}}\n{old}\
         ---\napiVersion: kubeadm.k8s.io/{form}\nkind: InitConfiguration\n\
         {more}bootstrapTokens:\n- token: {TOKEN}\nlocalAPIEndpoint: {{}}\nnodeRegistration:\n  name: '{{{{ local_hostname }}}}'\n{checks}{new}"
    );
    let file = |path: &str, mode: &str, text: &str| {
        format!(
            "- path: {path}\n  owner: root:root\n  permissions: '{mode}'\n  content: |\n{}",
            indented(text, 4)
        )
    };
    format!(
        "## template: jinja\n#cloud-config\n\nwrite_files:\n{}{}{}runcmd:\n  - \
         'kubeadm init --config /run/kubeadm/kubeadm.yaml {flags} && echo success > /run/cluster-api/bootstrap-success.complete'\n",
        file("/etc/kubernetes/pki/ca.crt", "0640", &authority.read("kubernetes/pki/ca.crt")),
        file("/etc/kubernetes/pki/ca.key", "0600", &authority.read("ca.key")),
        file("/run/kubeadm/kubeadm.yaml", "0640", &kubeadm),
    )
}

/// A machine that joins the cluster at `endpoint`, with more lines of its JoinConfiguration.
fn joining(authority: &Authority, name: &str, endpoint: &str, more: &str) -> String {
    let (form, pin, checks) = (form(), authority.pin(), lab().ignored_checks());
    format!(
        "apiVersion: kubeadm.k8s.io/{form}\nkind: JoinConfiguration\nnodeRegistration:\n  name: {name}\n{checks}{more}\
         discovery:\n  bootstrapToken: {{apiServerEndpoint: \"{endpoint}\", token: {TOKEN}, caCertHashes: [\"{pin}\"]}}\n"
    )
}

fn seed(folder: &Path, name: &str, user_data: &str) -> PathBuf {
    let files = folder.join(name);
    fs::create_dir(&files).expect("the folder is the test's");
    fs::write(files.join("user-data"), user_data).expect("the folder is the test's");
    let meta_data = format!("instance-id: {name}\nlocal-hostname: {name}\n");
    fs::write(files.join("meta-data"), meta_data).expect("the folder is the test's");
    let disk = fat_disk(folder, "CIDATA", &files);
    let own = folder.join(format!("{name}-seed.raw"));
    fs::rename(disk, &own).expect("the folder is the test's");
    own
}

fn machine(name: &str, image: &Image, disk: &Path, seed: &Path, namespace: &NetworkNamespace) -> Machine {
    Machine::new(name)
        .in_network_of(&namespace.pid())
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .disk(disk)
        .disk(seed)
}

/// A Node that is Ready by a kubelet that booted after `boot`, and says so.
fn ready(cluster: &ControlPlane, vm: &Vm, node: &str, boot: &str) -> Value {
    let found = ready_node(cluster, node, boot);
    workspace::say(&format!("{node}: {:.0} s after power-on: Ready", vm.age().as_secs_f64()));
    found
}

fn power_off(vm: &mut Vm) -> Result<(), Failure> {
    vm.press_power_button();
    vm.wait_exit(Duration::from_secs(180)).map(drop)
}

/// Why no machine becomes a control plane here.
fn hindrance() -> Option<String> {
    // Until 1.30 kubeadm asks the runtime for images by this program.
    let lacks_crictl = lab().kubernetes_minor() < 31 && !lab().versions.contains_key("crictl");
    control_plane::hindrance(&lab().versions["kubernetes"])
        .or_else(|| lacks_crictl.then(|| "the lab has no crictl: see docs/lab.md".to_owned()))
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_control_plane_and_a_worker_from_user_data_alone() {
    if let Some(why) = hindrance() {
        return not_run("a control plane from user data alone", &why);
    }
    let _alone = workspace::exclusive("join-e2e");
    let (image, etcd) = kiln::control_plane_image(DEFINITION);
    let (folder, authority) = (workspace::scratch(), Authority::new());
    let namespace = NetworkNamespace::of_api_server();
    let endpoint = format!("{API_ADDRESS}:6443");
    let cluster = ControlPlane::of_machine(&namespace, &endpoint, authority.folder.path());
    let disk = |name: &str| overlay(&image.file(".raw"), folder.path(), name, Some(8 * GIBIBYTE));
    let (first, second) = (disk("control-plane"), disk("worker"));
    let user_data = [
        ("cp1", first_control_plane(&authority, &etcd, &endpoint, "", "")),
        ("worker", joining(&authority, "worker", &endpoint, "")),
    ];
    let seeds = user_data.map(|(name, text)| seed(folder.path(), name, &text));
    let control_plane = |boot: &str| {
        machine(&format!("control-plane-{boot}"), &image, &first, &seeds[0], &namespace)
            .memory(3072)
            .forward(&endpoint, 6443)
    };

    let boot = control_plane("first").boot(|vm| {
        let verdict = verdict(vm)?;
        assert_joined(&verdict, "joined", "cp1");
        let node = ready(&cluster, vm, "cp1", "");
        let labels = &node["metadata"]["labels"];
        assert_eq!(labels["node-role.kubernetes.io/control-plane"], "", "{labels}");
        let console = vm.lines().join("\n");
        assert!(
            !console.contains("0123456789abcdef") && !console.contains("PRIVATE KEY"),
            "a secret is shown"
        );
        assert!(console.contains("[control-plane]"), "kubeadm's phases are not shown");
        machine("worker", &image, &second, &seeds[1], &namespace).boot_beside(|worker| {
            let joined = kiln_tests::join_support::verdict(worker)?;
            assert_joined(&joined, "joined", "worker");
            ready(&cluster, worker, "worker", "");
            let more = json!({"restartPolicy": "Never"});
            pods::create(
                &cluster,
                "worker",
                "says",
                "echo from a pod > /dev/termination-log",
                &more,
                &json!([]),
            );
            assert_eq!(pods::end_of(&cluster, "says"), "from a pod\n0");
            power_off(worker)
        });
        power_off(vm)?;
        Ok(node["status"]["nodeInfo"]["bootID"].as_str().expect("kubelets tell it").to_owned())
    });

    control_plane("again").boot(|vm| {
        assert_joined(&verdict(vm)?, "already-joined", "cp1");
        // The API server is a pod of this machine: it takes a moment until it answers.
        eventually("the API server", || {
            let url = format!("https://{API_ADDRESS}:6443/healthz");
            let mut curl = cluster.command("curl");
            let asked = curl
                .args(["-sk", "--max-time", "5", "--noproxy", "*", &url])
                .output()
                .expect("curl starts");
            if asked.stdout == b"ok" { Ok(()) } else { Err(json!(String::from_utf8_lossy(&asked.stdout))) }
        });
        ready(&cluster, vm, "cp1", &boot);
        power_off(vm)
    });
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_second_control_plane_joins_the_first_with_the_certificates_that_kubeadm_stored() {
    let what = "a second control plane";
    // Its etcd client gives a server two seconds for a handshake, once.
    let is_emulated = std::env::var_os("KILN_TEST_KVM").is_none_or(|value| value != "1");
    if is_emulated {
        return not_run(
            what,
            "emulated machines are too slow for kubeadm: KILN_TEST_KVM=1 on a host with KVM",
        );
    }
    let no_dhcp = || workspace::missing(&["dnsmasq"]).map(|program| format!("no program {program} here"));
    if let Some(why) = hindrance().or_else(no_dhcp) {
        return not_run(what, &why);
    }
    let _alone = workspace::exclusive("join-e2e");
    let (image, etcd) = kiln::control_plane_image(DEFINITION);
    let (folder, authority) = (workspace::scratch(), Authority::new());
    let namespace = NetworkNamespace::of_api_server();
    let endpoint = format!("{KNOWN_ADDRESS}:6443");
    let cluster = ControlPlane::of_machine(&namespace, &endpoint, authority.folder.path());
    let _segment = LabNetwork::start(&cluster);
    let key = "5a".repeat(32);
    let second = format!("controlPlane: {{certificateKey: {key}}}\n");
    let key = format!("certificateKey: {key}\n");
    let user_data = [
        ("cp1", first_control_plane(&authority, &etcd, &endpoint, &key, "--upload-certs")),
        ("cp2", joining(&authority, "cp2", &endpoint, &second)),
    ];
    let seeds = user_data.map(|(name, text)| seed(folder.path(), name, &text));
    let disk = |name: &str| overlay(&image.file(".raw"), folder.path(), name, Some(8 * GIBIBYTE));
    let (first, second) = (disk("cp1"), disk("cp2"));
    let machine = |name: &str, disk: &Path, seed: &Path, tap: &str, mac: &str| {
        machine(name, &image, disk, seed, &namespace).memory(3072).plugged_into(tap).mac(mac)
    };

    machine("cp1", &first, &seeds[0], TAP, KNOWN_CARD).boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", "cp1");
        ready(&cluster, vm, "cp1", "");
        machine("cp2", &second, &seeds[1], SECOND_TAP, OTHER_CARD).boot_beside(|other| {
            assert_joined(&verdict(other)?, "joined", "cp2");
            let node = ready(&cluster, other, "cp2", "");
            assert_eq!(node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"], "", "{node}");
            let reserves = |resource: &str| {
                node["status"]["capacity"][resource] != node["status"]["allocatable"][resource]
            };
            assert!(reserves("memory") && reserves("cpu"), "nothing is reserved: {}", node["status"]);
            for part in ["etcd", "kube-apiserver"] {
                let path = format!("/api/v1/namespaces/kube-system/pods/{part}-cp2");
                eventually(part, || {
                    let pod = cluster.get(&path).unwrap_or(Value::Null);
                    let is_ready = pod["status"]["containerStatuses"][0]["ready"] == true;
                    if is_ready { Ok(()) } else { Err(pod["status"].clone()) }
                });
            }
            power_off(other)
        });
        power_off(vm)
    });
}
