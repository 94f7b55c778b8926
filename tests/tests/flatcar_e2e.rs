//! Images on disks that look like Flatcar's, with Debian's systemd inside, join a real cluster.
//!
//! | boot | layout | firmware | what is seen |
//! |---|---|---|---|
//! | 1 | old: extensions are merged after the switch to the root | BIOS | joins, Node Ready |
//! | 2 | new: `/etc` is noexec, extensions are merged in the initrd | UEFI | joins, Node Ready |

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{assert_joined, control_plane, join_configuration, ready_node, verdict};
use kiln_tests::kiln::{self, Build, Image};
use kiln_tests::qemu::Machine;
use kiln_tests::workspace;
use serde_json::Value;
use testkit::lookalike_flatcar::{Flatcar, Sizes, missing};
use testkit::not_run;

/// Large enough for Debian's `/usr` and for containers.
const SIZES: Sizes = Sizes { esp: 262_144, usr: 1_638_400, oem: 40_960, root: 4_194_304 };
const USR_BLOCKS: u64 = 200_000;

struct Layout {
    name: &'static str,
    version: &'static str,
}

const OLD: Layout = Layout { name: "old", version: "4593.2.5" };
const NEW: Layout = Layout { name: "new", version: "4757.1.0" };

fn script(name: &str) -> String {
    workspace::root().join("tests/flatcar").join(name).display().to_string()
}

/// The base of a Debian image of Kiln's as a folder.
fn debian(folder: &Path) -> PathBuf {
    let (out, root) = (folder.join("debian"), folder.join("root"));
    Build::new(kiln::JOIN, &out)
        .arg("--set")
        .arg("outputs=[\"oci\"]")
        .arg("--layers-dir")
        .arg(workspace::root().join("layers"))
        .run();
    let layout = Image::at(&out, kiln::JOIN).file("-oci");
    let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&fs::read(path).expect("the layout is complete")).expect("it is JSON")
    };
    let digest = |value: &Value| value["digest"].as_str().expect("descriptors have digests").to_owned();
    let manifest = read(&blob(&digest(&read(&layout.join("index.json"))["manifests"][0])));
    let base = blob(&digest(&manifest["layers"][0]));
    fs::create_dir(&root).expect("the folder is the test's");
    workspace::output("tar", ["-xzf".as_ref(), base.as_os_str(), "-C".as_ref(), root.as_os_str()]);
    fs::remove_dir_all(out).expect("the folder is the test's");
    root
}

/// The image on a disk of this layout.
fn image(layout: &Layout, folder: &Path) -> PathBuf {
    let root = debian(folder);
    let kernel = fs::read_dir(root.join("boot"))
        .expect("the base has a kernel")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("/vmlinuz-"))
        .expect("the base has a kernel");
    let initrd = folder.join("initrd");
    workspace::output(&script("usr"), [root.as_os_str(), layout.name.as_ref()]);
    let offset = (USR_BLOCKS * 4096).to_string();
    workspace::output(
        &script("initrd"),
        [root.as_os_str(), layout.name.as_ref(), offset.as_ref(), initrd.as_os_str()],
    );
    let like = Flatcar {
        sizes: SIZES,
        usr: &root.join("usr"),
        usr_blocks: USR_BLOCKS,
        kernel: &kernel,
        initrd: Some(&initrd),
        arguments: Some("console=ttyS0 systemd.firstboot=off systemd.gpt_auto=0 loglevel=4"),
    };
    let disk = like.disk(folder, "vendor.bin").path;
    let mirror = folder.join("mirror");
    workspace::output(&script("release"), [disk.as_os_str(), layout.version.as_ref(), mirror.as_os_str()]);
    fs::remove_file(disk).expect("the folder is the test's");
    let (definition, out) = ("tests/images/flatcar.toml", folder.join("out"));
    Build::new(definition, &out)
        .arg("--set")
        .arg(format!("base.version=\"{}\"", layout.version))
        .arg("--layers-dir")
        .arg(workspace::root().join("layers"))
        .arg("--flatcar-mirror")
        .arg(&mirror)
        .arg("--flatcar-key")
        .arg(mirror.join("key.asc"))
        .run();
    Image::at(&out, definition).file(".raw")
}

fn joins(layout: &Layout, machine: Machine, control_plane: &ControlPlane, folder: &Path) {
    let node = format!("flatcar-{}", layout.name);
    let config = folder.join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {node}\n")))
        .expect("the folder is the test's");
    let machine = machine
        .memory(3072)
        .in_network_of(control_plane.fact("pid"))
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .disk(&image(layout, folder));
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", &node);
        ready_node(control_plane, &node, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        assert!(!vm.lines().iter().any(|line| line.contains("/usr is not verified")));
        vm.press_power_button();
        vm.wait_exit(Duration::from_secs(120)).map(drop)
    });
}

fn ready(test: &str) -> Option<&'static ControlPlane> {
    if !workspace::is_root() {
        not_run(test, "only root can give files to root");
        return None;
    }
    if let Some((program, _)) = missing() {
        not_run(test, &format!("no {program}"));
        return None;
    }
    control_plane(test)
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_old_layout_joins_by_bios() {
    let Some(control_plane) = ready("Flatcar's old layout joins") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let folder = workspace::scratch();
    joins(&OLD, Machine::new("flatcar-old"), control_plane, folder.path());
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_new_layout_joins_by_uefi() {
    let Some(control_plane) = ready("Flatcar's new layout joins") else { return };
    let Some(machine) = Machine::new("flatcar-new").uefi() else {
        return not_run("Flatcar's new layout joins", "no OVMF");
    };
    let _alone = workspace::exclusive("join-e2e");
    let folder = workspace::scratch();
    joins(&NEW, machine, control_plane, folder.path());
}
