//! What the firmware says of a machine: the agent asks Windows for its table, which wine makes of the texts
//! that a machine of Linux shows. Strings of type 11 are not among them. On VMware also `guestinfo`, by a
//! look-alike of VMware Tools: no processor of a test names VMware, and none has its port.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_simulator::namespace;
use kiln_tests::simulated;
use kiln_tests::wine::{Said, Windows};
use kiln_tests::{kiln, workspace};
use serde_json::Value;

use super::CONFIG;

/// Machines in `firstboot/tests/platforms`.
const MACHINES: &[&str] = &[
    "azure",
    "cloudstack-kvm",
    "ec2-nitro",
    "ec2-xen",
    "gce",
    "gce-by-serial",
    "hetzner",
    "hyperv",
    "hyperv-generation-1",
    "none-dell",
    "nutanix",
    "nocloud-serial",
    "openstack-nova",
    "openstack-tag-telekom",
    "vmware-esxi",
    "vmware-workstation-guest",
];

fn captured(name: &str) -> PathBuf {
    workspace::root().join("firstboot/tests/platforms").join(name)
}

/// A root with the firmware of a captured machine alone, in which no metadata service is waited for.
fn with_firmware_alone(name: &str, folder: &Path) -> PathBuf {
    let root = folder.join("root");
    let texts = root.join("sys/class/dmi/id");
    fs::create_dir_all(&texts).expect("the folder is the test's");
    let from = captured(name).join("sys/class/dmi/id");
    for entry in fs::read_dir(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("the folder is in the checkout");
        fs::copy(entry.path(), texts.join(entry.file_name())).expect("the folder is the test's");
    }
    for (path, text) in [("proc/cmdline", NO_WAIT), ("etc/machine-id", "0123456789abcdef0123456789abcdef\n")]
    {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it is a file")).expect("the folder is the test's");
        fs::write(path, text).expect("the folder is the test's");
    }
    root
}

const NO_WAIT: &str = "firstboot.source-deadline=1\n";

/// The platform, and what shows it. Where its metadata service does not answer, a line with the failure
/// follows.
fn platform(text: &str) -> (Value, Value) {
    let line = text.lines().find(|line| line.contains("\"platform\"")).unwrap_or_default();
    let all: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
    (all["platform"].clone(), all["seen"].clone())
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn every_machine_is_recognised_by_its_firmware_as_on_linux() {
    if !simulated::can_start("firmware::every_machine_is_recognised_by_its_firmware_as_on_linux") {
        return;
    }
    let mut wrong = Vec::new();
    for name in MACHINES {
        let looked = std::thread::spawn(move || {
            namespace::enter_thread().unwrap_or_else(|error| panic!("{error}"));
            let folder = workspace::scratch();
            let root = with_firmware_alone(name, folder.path());
            let windows = Windows::with_firmware_of(&root);
            windows.write("/ProgramData/firstboot/arguments", NO_WAIT);
            let mut linux = Command::new(kiln::programs().join("firstboot"));
            let linux = linux.args(["explain", "--json", "--rootfs"]).arg(&root).output();
            let linux = linux.expect("the agent starts").stdout;
            (windows.run(&["explain", "--json"]).text, String::from_utf8_lossy(&linux).into_owned())
        });
        let (windows, linux) = looked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (windows, linux) = (platform(&windows), platform(&linux));
        if windows != linux {
            wrong.push(format!("{name}: {windows:?}, on Linux {linux:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A machine of vSphere with these keys, and VMware Tools.
fn lookalike_with_guestinfo(keys: &[(&str, &str)]) -> Windows {
    let machine = Windows::with_firmware_of(&captured("vmware-esxi"));
    machine.write("/usr/lib/kiln/image.json", r#"{"variables": {"kubernetes": "1.36.2"}}"#);
    machine.install("rpctool.c", &[], "/Program Files/VMware/VMware Tools/rpctool.exe");
    fs::create_dir_all(machine.path("/guestinfo")).expect("the folder is the test's");
    keys.iter().for_each(|(key, value)| machine.write(&format!("/guestinfo/{key}"), value));
    machine
}

fn explained(machine: &Windows) -> (Said, Value) {
    let said = machine.run(&["explain", "--json"]);
    assert!(!said.text.contains("0123456789abcdef"), "{}", said.text);
    let record = said.text.lines().find(|line| line.contains("\"platform\"")).unwrap_or_default();
    let record = serde_json::from_str(record).unwrap_or_else(|_| panic!("{said:?}"));
    (said, record)
}

fn packed(text: &str) -> String {
    let folder = workspace::scratch();
    let file = folder.path().join("file");
    fs::write(&file, text).expect("the folder is the test's");
    workspace::output("gzip", [&file]);
    STANDARD.encode(fs::read(file.with_extension("gz")).expect("gzip makes it"))
}

#[test]
fn lookalike_vmware_tools_hand_out_guestinfo_in_every_encoding() {
    if !simulated::can_start("firmware::lookalike_vmware_tools_hand_out_guestinfo_in_every_encoding") {
        return;
    }
    let metadata = STANDARD.encode("instance-id: i-7\nlocal-hostname: worker-7\n");
    for (encoding, value) in [
        ("plaintext", CONFIG.to_owned()),
        ("base64", STANDARD.encode(CONFIG)),
        ("gzip+base64", packed(CONFIG)),
    ] {
        let machine = lookalike_with_guestinfo(&[
            ("metadata", &metadata),
            ("metadata.encoding", "base64"),
            ("userdata", &value),
            ("userdata.encoding", encoding),
        ]);
        let (said, record) = explained(&machine);
        assert_eq!((said.code, &record["platform"]), (Some(0), &"vmware".into()), "{encoding}: {said:?}");
        assert!(record["config"].as_str().unwrap().contains("guestinfo.userdata"), "{encoding}: {record}");
        let fact = |name: &str| record["facts"][name]["value"].as_str().unwrap_or_default().to_owned();
        assert_eq!((fact("instance-id"), fact("hostname")), ("i-7".into(), "worker-7".into()), "{record}");
        assert_eq!(fact("uuid"), "421c5f2a-8e0b-33c4-9d00-112233445566", "{record}");
    }
}

#[test]
fn lookalike_vmware_tools_that_fail_or_are_missing_are_named() {
    if !simulated::can_start("firmware::lookalike_vmware_tools_that_fail_or_are_missing_are_named") {
        return;
    }
    for (mode, expected) in [("fails", "it ended with code 1"), ("long", "the answer is too long")] {
        let machine = lookalike_with_guestinfo(&[("userdata", CONFIG), ("mode", mode)]);
        let (said, record) = explained(&machine);
        assert_ne!(said.code, Some(0), "{mode}");
        assert!(said.text.contains(expected) && said.text.contains("rpctool.exe"), "{mode}: {}", said.text);
        assert_eq!(record["platform"], "vmware");
    }
    let machine = lookalike_with_guestinfo(&[("userdata", CONFIG)]);
    fs::remove_file(machine.path("/Program Files/VMware/VMware Tools/rpctool.exe")).expect("it was there");
    let (said, record) = explained(&machine);
    assert!(said.text.contains("and VMware Tools are not installed: guestinfo is not read"), "{said:?}");
    assert_eq!((&record["platform"], &record["config"]), (&"vmware".into(), &"no node config found".into()));
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn lookalike_vmware_tools_that_never_end_are_ended() {
    if !simulated::can_start("firmware::lookalike_vmware_tools_that_never_end_are_ended") {
        return;
    }
    for mode in ["endless", "hangs"] {
        let machine = lookalike_with_guestinfo(&[("mode", mode)]);
        let (said, _) = explained(&machine);
        assert!(said.code != Some(0) && said.text.contains("no end after 10 s"), "{mode}: {}", said.text);
    }
}
