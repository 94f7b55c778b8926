//! Installers on a machine that booted an image for them: the roles with which Kubespray prepares a machine.
//!
//! Slow, and Kubespray's tree is not part of the checkout: `KILN_KUBESPRAY` names it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_tests::join_support::{eventually, fat_disk, verdict};
use kiln_tests::kiln;
use kiln_tests::lab::lab;
use kiln_tests::qemu::{Machine, overlay};
use kiln_tests::ssh::{self, Key};
use kiln_tests::workspace;
use serde_json::Value;
use testkit::{folder as served, not_run};

const NODE: &str = "prepared-node";

/// A port that nobody uses now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback address has free ports");
    listener.local_addr().expect("it is bound").port()
}

/// The variables of a lab: where its parts are, their versions, and their digests instead of upstream's.
fn lab_variables(url: &str) -> String {
    let version = |part: &str| lab().versions[part].clone();
    let (kubernetes, cni) = (version("kubernetes"), version("cni-plugins"));
    let mut text = format!(
        "dl_k8s_io_url: {url}/dl.k8s.io\ngithub_url: {url}/github.com\n\
         kube_version: {kubernetes}\ncni_version: {cni}\n\
         download_container: false\nskip_kubeadm_images: true\netcd_deployment_type: kubeadm\n\
         kube_network_plugin: cni\ndownload_retries: 1\n"
    );
    let programs = format!("dl.k8s.io/release/v{kubernetes}/bin/linux/amd64");
    let plugins = "github.com/containernetworking/plugins/releases/download";
    let mut files: Vec<(String, &str, String)> = ["kubelet", "kubeadm", "kubectl"]
        .map(|name| (format!("{name}_checksums"), kubernetes.as_str(), format!("{programs}/{name}")))
        .to_vec();
    let archive = format!("{plugins}/v{cni}/cni-plugins-linux-amd64-v{cni}.tgz");
    files.push(("cni_binary_checksums".to_owned(), &cni, archive));
    let crictl = version("crictl");
    let tools = "github.com/kubernetes-sigs/cri-tools/releases/download";
    let archive = format!("{tools}/v{crictl}/crictl-v{crictl}-linux-amd64.tar.gz");
    files.push(("crictl_checksums".to_owned(), &crictl, archive));
    for (variable, version, file) in files {
        let digest = workspace::output("sha256sum", [lab().mirror.join(file)]);
        let digest = digest.split(' ').next().expect("sha256sum prints a digest");
        text += &format!("{variable}: {{amd64: {{{version}: \"sha256:{digest}\"}}}}\n");
    }
    text
}

/// `ansible-playbook` with the roles of `tree` on the machine at this port; panics with what it says.
fn prepare(tree: &Path, folder: &Path, key: &Key, port: u16, url: &str) {
    let inventory = folder.join("inventory.ini");
    let login = "ansible_host=127.0.0.1 ansible_user=root ansible_remote_tmp=/var/tmp/ansible";
    let all = "[kube_node:children]\nkube_control_plane\n[etcd:children]\nkube_control_plane\n";
    let host = format!("{NODE} {login} ansible_port={port}");
    let variables = folder.join("lab.yml");
    fs::write(&inventory, format!("[kube_control_plane]\n{host}\n{all}"))
        .and_then(|()| fs::write(&variables, lab_variables(url)))
        .expect("the folder is the test's");
    let own = workspace::root().join("tests/installers");
    let status = Command::new("ansible-playbook")
        .arg("--inventory")
        .arg(&inventory)
        .arg("--private-key")
        .arg(key.file())
        .args(["--skip-tags", "system-packages", "--extra-vars"])
        .arg(format!("@{}", own.join("image.yml").display()))
        .arg("--extra-vars")
        .arg(format!("@{}", variables.display()))
        .arg(own.join("kubespray.yml"))
        .current_dir(tree)
        .env("ANSIBLE_ROLES_PATH", tree.join("roles"))
        .env("ANSIBLE_LIBRARY", tree.join("library"))
        .env("ANSIBLE_HOST_KEY_CHECKING", "false")
        .env("ANSIBLE_CACHE_PLUGIN", "memory")
        .env("ANSIBLE_SSH_CONTROL_PATH_DIR", folder.join("cp"))
        .env("ANSIBLE_SSH_RETRIES", "3")
        .stdin(Stdio::null())
        .status()
        .expect("ansible-playbook starts");
    assert!(status.success(), "a role failed: {status}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn kubespray_prepares_a_machine_and_leaves_it_the_runtime_of_the_image() {
    const WHAT: &str = "the roles of Kubespray";
    let Some(tree) = std::env::var_os("KILN_KUBESPRAY").map(PathBuf::from) else {
        return not_run(WHAT, "no tree of Kubespray: KILN_KUBESPRAY names one");
    };
    if let Some(program) = workspace::missing(&[&ssh::PROGRAMS[..], &["ansible-playbook"]].concat()) {
        return not_run(WHAT, &format!("no program {program} here: requirements.txt of Kubespray"));
    }
    if !lab().versions.contains_key("crictl") {
        return not_run(WHAT, "the lab has no crictl: see docs/lab.md");
    }
    let image = kiln::joining_image_of("tests/images/node-layers.toml");
    let folder = workspace::scratch();
    let (key, files) = (Key::new(folder.path(), "installer"), folder.path().join("cidata"));
    let meta_data = format!("instance-id: k1\nlocal-hostname: {NODE}\npublic-keys:\n- {}\n", key.public());
    fs::create_dir(&files)
        .and_then(|()| fs::write(files.join("meta-data"), meta_data))
        .and_then(|()| fs::write(files.join("user-data"), ""))
        .expect("the folder is the test's");
    let disk = overlay(&image.file(".raw"), folder.path(), "disk", Some(8 << 30));
    let parts = served::serve(&lab().mirror);
    let port = free_port();
    let machine = Machine::new(NODE)
        .memory(3072)
        .forward(&format!("127.0.0.1:{port}"), 22)
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .disk(&disk)
        .snapshot(&fat_disk(folder.path(), "CIDATA", &files));
    machine.boot(|vm| {
        let verdict = verdict(vm)?;
        assert_eq!(verdict["outcome"], "no-config", "{verdict}");
        eventually("a server of logins", || {
            let has_started = |line: &String| line.contains("Started") && line.contains("node-sshd.service");
            vm.lines().iter().any(has_started).then_some(()).ok_or(Value::Null)
        });
        prepare(&tree, folder.path(), &key, port, &served::guest_url(&parts));
        workspace::say(&format!("{:.0} s after power-on: prepared", vm.age().as_secs_f64()));
        Ok(())
    });
}
