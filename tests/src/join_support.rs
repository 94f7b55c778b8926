//! Shared code of tests that boot an image in QEMU and join it to a real control plane.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::not_run;

use crate::agent;
use crate::console::Failure;
use crate::control_plane::{self, ControlPlane};
use crate::lab::lab;
use crate::lab_network::LabNetwork;
use crate::qemu::Vm;
use crate::workspace;

/// From power-on to the verdict, under emulation.
const VERDICT: Duration = Duration::from_secs(300);

/// From the verdict to a Node that is Ready, and to a pod that runs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A clock is right again after so many joins that failed because of it.
const MOST_CLOCK_FAILURES: usize = 6;

/// The guest's address on QEMU's user network.
pub const GUEST: &str = "10.0.2.15";

/// A control plane of the Kubernetes version that the image has; none, with the reason said of `what`, where
/// this machine cannot run one.
pub fn control_plane(what: &str) -> Option<&'static ControlPlane> {
    static CONTROL_PLANE: OnceLock<Option<ControlPlane>> = OnceLock::new();
    let start = || {
        let version = &lab().versions["kubernetes"];
        if let Some(why) = control_plane::hindrance(version) {
            not_run(what, &why);
            return None;
        }
        Some(ControlPlane::start(version))
    };
    CONTROL_PLANE.get_or_init(start).as_ref()
}

/// The same, and a machine's segment beside it.
pub fn lab_with_network(what: &str) -> Option<(&'static ControlPlane, LabNetwork)> {
    let control_plane = control_plane(what)?;
    if let Some(program) = workspace::missing(&["dnsmasq"]) {
        not_run(what, &format!("no program {program} here (package dnsmasq-base)"));
        return None;
    }
    Some((control_plane, LabNetwork::start(control_plane)))
}

/// A JoinConfiguration in the newest form that the version's kubeadm reads, with these lines below
/// `nodeRegistration`, indented by two.
pub fn join_configuration(control_plane: &ControlPlane, registration: &str) -> String {
    let form = if lab().kubernetes_minor() >= 31 { "v1beta4" } else { "v1beta2" };
    let (endpoint, token, pin) = (control_plane.endpoint(), control_plane.token(), control_plane.pin());
    let registration = format!("{registration}{}", lab().ignored_checks());
    let head = if registration.is_empty() { "" } else { "nodeRegistration:\n" };
    format!(
        "apiVersion: kubeadm.k8s.io/{form}\nkind: JoinConfiguration\n\
         discovery:\n  bootstrapToken: {{apiServerEndpoint: \"{endpoint}\", token: \"{token}\", caCertHashes: [\"{pin}\"]}}\n{head}{registration}"
    )
}

/// The next verdict on the console.
pub fn verdict(vm: &mut Vm) -> Result<Value, Failure> {
    let line = vm.wait_for("firstboot-verdict: ", VERDICT)?;
    workspace::say(&format!("{:.0} s after power-on: {line}", vm.age().as_secs_f64()));
    Ok(agent::verdict(&line))
}

/// The verdict of the join that succeeds, after some that failed because of the clock.
pub fn verdict_once_the_clock_is_right(vm: &mut Vm) -> Result<Value, Failure> {
    for _ in 0..MOST_CLOCK_FAILURES {
        let verdict = verdict(vm)?;
        if verdict["class"] != "clock" {
            return Ok(verdict);
        }
    }
    verdict(vm)
}

/// Asserts how a machine ended that now is the node `node`.
pub fn assert_joined(verdict: &Value, outcome: &str, node: &str) {
    assert_eq!(
        (verdict["outcome"].as_str(), verdict["exit"].as_i64()),
        (Some(outcome), Some(0)),
        "{verdict}"
    );
    assert_eq!(verdict["node"].as_str(), Some(node), "{verdict}");
}

/// Calls `look` repeatedly until it finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, Value>) -> T {
    let deadline = Instant::now() + workspace::patience(PATIENCE);
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "waited in vain for {what}: {last:#}"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits for the Node to be Ready by the word of a kubelet that booted after `boot_before`.
pub fn ready_node(control_plane: &ControlPlane, name: &str, boot_before: &str) -> Value {
    eventually("a Ready node", || {
        let node = control_plane.get(&format!("/api/v1/nodes/{name}")).unwrap_or(Value::Null);
        let booted = node["status"]["nodeInfo"]["bootID"].as_str().is_some_and(|boot| boot != boot_before);
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True");
        if booted && ready { Ok(node) } else { Err(node["status"]["conditions"].clone()) }
    })
}

/// A FAT disk in `folder` with this label and everything below `files`. Needs mkfs.vfat and mcopy.
pub fn fat_disk(folder: &Path, label: &str, files: &Path) -> PathBuf {
    let disk = folder.join(format!("{label}.raw"));
    File::create(&disk)
        .and_then(|file| file.set_len(4 << 20))
        .expect("the folder is the test's");
    workspace::output("mkfs.vfat", ["-n".as_ref(), label.as_ref(), disk.as_os_str()]);
    for entry in fs::read_dir(files).expect("the folder is the test's").flatten() {
        workspace::output(
            "mcopy",
            ["-s".as_ref(), "-i".as_ref(), disk.as_os_str(), entry.path().as_os_str(), "::".as_ref()],
        );
    }
    disk
}

/// A disc (ISO 9660 with Rock Ridge) in `folder` that has this label and the files below `files`.
pub fn disc(folder: &Path, label: &str, files: &Path) -> PathBuf {
    pressed(folder, label, files, "-R")
}

fn pressed(folder: &Path, label: &str, files: &Path, form: &str) -> PathBuf {
    let disc = folder.join(format!("{label}.iso"));
    let words = ["-quiet", form, "-V", label, "-o"].map(OsStr::new);
    workspace::output("genisoimage", words.into_iter().chain([disc.as_os_str(), files.as_os_str()]));
    disc
}

/// The same as UDF alone (ECMA-167), as the fabric of a cloud makes it: what says ISO 9660 is overwritten by
/// what follows it, which says UDF.
pub fn udf_disc(folder: &Path, label: &str, files: &Path) -> PathBuf {
    const SECTOR: usize = 2048;
    let disc = pressed(folder, label, files, "-udf");
    let mut bytes = fs::read(&disc).expect("the folder is the test's");
    assert_eq!(bytes[18 * SECTOR + 1..18 * SECTOR + 6], *b"BEA01", "genisoimage lays discs out otherwise");
    bytes.copy_within(18 * SECTOR..21 * SECTOR, 16 * SECTOR);
    fs::write(&disc, bytes).expect("the folder is the test's");
    disc
}
