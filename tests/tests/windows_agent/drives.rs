//! Metadata on disks and discs, and in the registry. Wine reads label and file system of real images; their
//! files it shows from a folder. The firmware is the test machine's, so that the image names the platform.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firstboot::host::kvp;
use kiln_simulator::Simulation;
use kiln_tests::join_support::udf_disc;
use kiln_tests::loop_device::{LoopDevice, can_mount};
use kiln_tests::simulated::{self, Machine};
use kiln_tests::wine::Windows;
use kiln_tests::{kiln, workspace};
use testkit::not_run;

use super::{CONFIG, told};

/// Files with their paths.
type Files = Vec<(String, Vec<u8>)>;

/// A platform that hands metadata on a drive with this label.
struct Case {
    platform: &'static str,
    label: &'static str,
    files: fn() -> Files,
    /// Whether the drive is a disc, else a disk with FAT.
    is_disc: bool,
}

const fn case(platform: &'static str, label: &'static str, files: fn() -> Files, is_disc: bool) -> Case {
    Case { platform, label, files, is_disc }
}

const CASES: &[Case] = &[
    case("nocloud", "cidata", no_cloud, true),
    case("nocloud", "CIDATA", no_cloud, false),
    case("config-drive", "config-2", open_stack, true),
    case("config-drive", "CONFIG-2", open_stack, false),
    case("nutanix", "config-2", open_stack, true),
    case("kubevirt", "config-2", open_stack, true),
    case("proxmox", "cidata", no_cloud, true),
    case("hyperv", "cidata", no_cloud, true),
    case("vmware", "cidata", no_cloud, true),
    case("vmware", "OVF ENV", ovf, true),
];

fn no_cloud() -> Files {
    drive_of("nocloud-drive")
}

fn open_stack() -> Files {
    drive_of("openstack-drive")
}

/// The files of a simulated platform's drive.
fn drive_of(platform: &str) -> Files {
    let machine = Simulation::of(platform).user_data(CONFIG.as_bytes()).build();
    let drive = machine.and_then(|machine| machine.drive());
    drive.unwrap_or_else(|error| panic!("{error}")).expect("the platform has a drive").files
}

/// As vSphere writes the properties of a virtual appliance (DSP0243, 11).
fn ovf() -> Files {
    let space = "http://schemas.dmtf.org/ovf/environment/1";
    let property = |key: &str, value: &str| format!("<Property oe:key=\"{key}\" oe:value=\"{value}\"/>");
    let properties = [
        property("instance-id", "i-7"),
        property("hostname", "n1"),
        property("user-data", &STANDARD.encode(CONFIG)),
    ];
    let text = format!(
        "<Environment xmlns=\"{space}\" xmlns:oe=\"{space}\"><PropertySection>{}</PropertySection></Environment>",
        properties.concat()
    );
    vec![("ovf-env.xml".to_owned(), text.into_bytes())]
}

fn write_all(folder: &Path, files: &Files) {
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("the folder is the test's");
        fs::write(path, bytes).expect("the folder is the test's");
    }
}

/// What the image of each machine says.
fn of_image(platform: &str) -> Files {
    vec![
        ("usr/lib/kiln/image.json".to_owned(), br#"{"variables": {"kubernetes": "1.36.2"}}"#.to_vec()),
        ("usr/lib/kiln/policy.json".to_owned(), format!("{{\"platform\": \"{platform}\"}}").into_bytes()),
    ]
}

/// A machine of Linux whose image says the same. Windows makes its own identifier, Linux has it in a file.
fn linux(folder: &Path, platform: &str) -> PathBuf {
    let root = folder.join("root");
    write_all(&root, &of_image(platform));
    write_all(&root, &vec![("etc/machine-id".to_owned(), b"0123456789abcdef0123456789abcdef\n".to_vec())]);
    root
}

/// An image of a file system with this label, as Windows' users make it: Joliet on a disc.
fn image(folder: &Path, case: &Case, files: &Path) -> PathBuf {
    let image = folder.join("image");
    let (to, from) = (image.as_os_str(), files.as_os_str());
    if case.is_disc {
        let words = ["-quiet", "-J", "-R", "-V", case.label, "-o"].map(AsRef::as_ref);
        workspace::output("genisoimage", words.into_iter().chain([to, from]));
    } else {
        let words = ["-C", "-n", case.label].map(AsRef::as_ref);
        workspace::output("mkfs.vfat", words.into_iter().chain([to, "1440".as_ref()]));
    }
    image
}

fn explained_by_windows(machine: &Windows) -> String {
    let said = machine.run(&["explain", "--json"]);
    assert!(!said.text.contains("0123456789abcdef"), "{}", said.text);
    plain(&told(&said.text), &[r"D:\\\\", r"D:\\", r"D:\"])
}

/// The machine `root` with a disk that has these files, by the agent for Linux.
fn explained_by_linux(root: &Path) -> String {
    let mut agent = Command::new(kiln::programs().join("firstboot"));
    let output = agent
        .args(["explain", "--json", "--rootfs"])
        .arg(root)
        .output()
        .expect("the agent starts");
    let device = root.join("dev/vdb").display().to_string();
    plain(&told(&String::from_utf8_lossy(&output.stdout)), &[&device, "/dev/vdb"])
}

/// Platforms that name a machine by the identifier of its firmware.
const OF_FIRMWARE: [&str; 3] = ["nutanix", "proxmox", "vsphere"];

/// Without the names of the drive, and without what the firmware says, which is the test machine's own.
fn plain(told: &str, drives: &[&str]) -> String {
    let named = drives.iter().fold(told.to_owned(), |text, drive| text.replace(drive, "DRIVE"));
    // The machine of Windows is a real one, and the address is not its own.
    let named = named.replace(r#""--node-ip=10.2.0.5","#, "");
    // Nor is the identifier of its firmware, by which these are named.
    let is_named_by_firmware = ["nutanix", "proxmox", "hyperv", "vmware"]
        .iter()
        .any(|platform| told.starts_with(&format!("\"{platform}\"")));
    let is_of_firmware =
        |line: &&str| line.contains("smbios") || (is_named_by_firmware && line.starts_with("instance-id"));
    let named = OF_FIRMWARE.iter().fold(named, |text, scheme| {
        let Some((before, after)) = text.split_once(&format!("\"--provider-id={scheme}://")) else {
            return text;
        };
        let after = after.split_once('"').map_or("", |(_, after)| after);
        format!("{}{after}", before.trim_end_matches(','))
    });
    let lines = named.lines().filter(|line| !is_of_firmware(line));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn drives_by_letter_are_read_as_disks_by_label_on_linux() {
    let name = "drives_by_letter_are_read_as_disks_by_label_on_linux";
    if !can_mount() {
        not_run(name, "this user may mount no disks");
        return;
    }
    for case in CASES {
        let folder = workspace::scratch();
        let content = folder.path().join("content");
        write_all(&content, &(case.files)());
        let device = LoopDevice::attach(&image(folder.path(), case, &content)).expect("root may attach it");
        let windows = Windows::new();
        of_image(case.platform).iter().for_each(|(path, bytes)| windows.write(path, bytes));
        windows.insert('d', &device, &content, case.is_disc);

        // The kernel of a test machine may know no other file system.
        let disk = folder.path().join("disk");
        let words = ["-q", "-t", "ext4", "-O", "^has_journal", "-L", case.label, "-d"].map(AsRef::as_ref);
        let of_disk = [content.as_os_str(), disk.as_os_str(), "1M".as_ref()];
        workspace::output("mke2fs", words.into_iter().chain(of_disk));
        let disk = LoopDevice::attach(&disk).expect("root may attach it");
        let root = linux(folder.path(), case.platform);
        write_all(&root, &vec![("sys/class/block/vdb/size".to_owned(), b"2048\n".to_vec())]);
        fs::create_dir_all(root.join("dev")).expect("the folder is the test's");
        workspace::output("cp", ["-a".as_ref(), disk.path().as_os_str(), root.join("dev/vdb").as_os_str()]);

        let (windows, linux) = (explained_by_windows(&windows), explained_by_linux(&root));
        let what = format!("{} {}", case.platform, case.label);
        assert!(windows.contains("DRIVE"), "{what}: {windows}");
        assert_eq!(windows, linux, "{what}");
    }
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn two_drives_with_one_label_are_refused() {
    if !can_mount() {
        not_run("two_drives_with_one_label_are_refused", "this user may mount no disks");
        return;
    }
    let (folder, case) = (workspace::scratch(), &CASES[0]);
    let content = folder.path().join("content");
    write_all(&content, &no_cloud());
    let device = LoopDevice::attach(&image(folder.path(), case, &content)).expect("root may attach it");
    let windows = Windows::new();
    of_image(case.platform).iter().for_each(|(path, bytes)| windows.write(path, bytes));
    windows.insert('d', &device, &content, true);
    windows.insert('e', &device, &content, true);
    let said = windows.run(&["explain"]);
    assert_ne!(said.code, Some(0), "{}", said.text);
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_custom_data_of_azure_is_read_from_its_disc() {
    let name = "the_custom_data_of_azure_is_read_from_its_disc";
    if !simulated::can_start(name) {
        return;
    }
    if !can_mount() {
        not_run(name, "this user may mount no disks");
        return;
    }
    let read = std::thread::spawn(|| {
        let _services = Machine::start(Simulation::of("azure"));
        let folder = workspace::scratch();
        let content = folder.path().join("content");
        write_all(&content, &vec![("CustomData.bin".to_owned(), CONFIG.as_bytes().to_vec())]);
        let disc = udf_disc(folder.path(), "rd_rdfe", &content);
        let device = LoopDevice::attach(&disc).expect("root may attach it");
        let windows = Windows::new();
        of_image("azure").iter().for_each(|(path, bytes)| windows.write(path, bytes));
        windows.insert('d', &device, &content, true);
        explained_by_windows(&windows)
    });
    let windows = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(windows.contains("DRIVE: CustomData.bin"), "{windows}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_pairs_of_hyper_v_are_read_from_the_registry_as_from_the_pools_on_linux() {
    // Wine's file of the registry has a value in one line.
    let config = serde_yaml_ng::from_str::<serde_json::Value>(CONFIG).expect("it is YAML").to_string();
    let (front, back) = config.split_at(config.len() / 2);
    let given = [("firstboot.config.0", front), ("firstboot.config.1", back), ("other", "x")];
    let about = [
        ("VirtualMachineId", "BBBBBBBB-1111-2222-3333-444444444444"),
        ("VirtualMachineName", "worker 1"),
        ("PhysicalHostNameFullyQualified", "host.example.com"),
    ];
    let pools = [(0, "External", &given[..]), (3, r"Guest\Parameters", &about[..])];

    let windows = Windows::new();
    of_image("hyperv").iter().for_each(|(path, bytes)| windows.write(path, bytes));
    let folder = workspace::scratch();
    let root = linux(folder.path(), "hyperv");
    for (number, name, pairs) in pools {
        windows.preset(&format!(r"Software\Microsoft\Virtual Machine\{name}"), pairs);
        let records = pairs.iter().flat_map(|(key, value)| kvp::record(key, value).expect("it fits"));
        let path = format!("var/lib/hyperv/.kvp_pool_{number}");
        write_all(&root, &vec![(path, records.collect())]);
    }
    let (windows, linux) = (explained_by_windows(&windows), explained_by_linux(&root));
    assert!(windows.contains("worker 1") && windows.contains("firstboot.config"), "{windows}");
    assert_eq!(windows, linux);
}
