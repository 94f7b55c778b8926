//! Images on disks that look like Flatcar's, with Debian's systemd inside, join a real cluster.
//!
//! | boot | layout | firmware | what is seen |
//! |---|---|---|---|
//! | 1 | old: extensions are merged after the switch to the root | BIOS | joins, Node Ready, a pod runs |
//! | 2 | new: `/etc` is noexec, extensions are merged in the initrd | UEFI | joins, Node Ready, a pod runs |

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{assert_joined, control_plane, join_configuration, ready_node, verdict};
use kiln_tests::kiln::{self, Build, Image};
use kiln_tests::lab::lab;
use kiln_tests::pods;
use kiln_tests::qemu::Machine;
use kiln_tests::workspace;
use serde_json::json;
use testkit::lookalike_flatcar::{Flatcar, Sizes, missing};
use testkit::not_run;

const DEFINITION: &str = "tests/images/flatcar.toml";

/// Large enough for Debian's `/usr` and for containers.
const SIZES: Sizes = Sizes { esp: 262_144, usr: 1_048_576, oem: 40_960, root: 2_097_152 };
const USR_BLOCKS: u64 = 120_000;

struct Layout {
    name: &'static str,
    version: &'static str,
}

const OLD: Layout = Layout { name: "old", version: "4593.2.5" };
const NEW: Layout = Layout { name: "new", version: "4757.1.0" };

fn script(name: &str) -> String {
    workspace::root().join("tests/flatcar").join(name).display().to_string()
}

/// A disk of the vendor's in `folder`.
fn vendors_disk(layout: &Layout, folder: &Path) -> PathBuf {
    let (debian, root) = (kiln::extensions(), folder.join("debian"));
    debian.unpack_base(&root);
    let extensions = debian.file("-sysext");
    workspace::output(
        &script("usr"),
        [root.as_os_str(), layout.name.as_ref(), layout.version.as_ref(), extensions.as_os_str()],
    );
    let (initrd, offset) = (folder.join("initrd"), (USR_BLOCKS * 4096).to_string());
    workspace::output(
        &script("initrd"),
        [root.as_os_str(), layout.name.as_ref(), offset.as_ref(), initrd.as_os_str()],
    );
    let like = Flatcar {
        sizes: SIZES,
        usr: &root.join("usr"),
        usr_blocks: USR_BLOCKS,
        kernel: &kiln::kernel_of(&root),
        initrd: Some(&initrd),
        arguments: Some("console=ttyS0 systemd.firstboot=off systemd.gpt_auto=0 loglevel=4"),
    };
    let disk = like.disk(folder, "vendor.bin").path;
    fs::remove_dir_all(root).expect("the folder is the test's");
    disk
}

/// The image of Kiln's on a disk of this layout, with more words for `kiln build`.
fn image(layout: &Layout, folder: &Path, words: &[&str]) -> PathBuf {
    let (disk, mirror, out) = (vendors_disk(layout, folder), folder.join("mirror"), folder.join("out"));
    workspace::output(&script("release"), [disk.as_os_str(), layout.version.as_ref(), mirror.as_os_str()]);
    fs::remove_file(disk).expect("the folder is the test's");
    let build = Build::new(DEFINITION, &out)
        .arg("--set")
        .arg(format!("base.version=\"{}\"", layout.version))
        .arg("--layers-dir")
        .arg(workspace::root().join("layers"))
        .arg("--flatcar-mirror")
        .arg(&mirror)
        .arg("--flatcar-key")
        .arg(mirror.join("key.asc"))
        .cache(&folder.join("store"));
    words.iter().fold(build, Build::arg).run();
    Image::at(&out, DEFINITION).file(".raw")
}

/// Boots `disk` and returns what `look` sees of the Ready node.
fn joins<T>(
    name: &str,
    machine: Machine,
    control_plane: &ControlPlane,
    disk: &Path,
    look: impl Fn(&str) -> T,
) -> T {
    let folder = workspace::scratch();
    let config = folder.path().join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {name}\n")))
        .expect("the folder is the test's");
    let machine = machine
        .memory(3072)
        .in_network_of(control_plane.fact("pid"))
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .boot_disk(disk);
    machine.boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", name);
        ready_node(control_plane, name, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        assert!(!vm.lines().iter().any(|line| line.contains("/usr is not verified")));
        let seen = look(name);
        vm.press_power_button();
        vm.wait_exit(Duration::from_secs(120))?;
        Ok(seen)
    })
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

/// What a new pod on `node` says of the node's own mounts, besides that it runs.
fn mounts(control_plane: &ControlPlane, node: &str) -> String {
    let more = json!({"restartPolicy": "Never", "hostPID": true});
    let line = "exec > /dev/termination-log 2>&1; grep -E ' /(etc|usr|opt) ' /proc/1/mounts | cut -c -150";
    pods::create(control_plane, node, &format!("{node}-mounts"), line, &more, &json!([]));
    pods::end_of(control_plane, &format!("{node}-mounts"))
}

/// The line about what is mounted last at `path`.
fn mount<'a>(mounts: &'a str, path: &str) -> &'a str {
    let found = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(path));
    found.unwrap_or_else(|| panic!("nothing is mounted at {path}: {mounts}"))
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_old_layout_joins_by_bios() {
    let Some(control_plane) = ready("Flatcar's old layout joins") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let folder = workspace::scratch();
    let preload = format!("--set={}", lab().preload(&workspace::root().join(kiln::JOIN)));
    let disk = image(&OLD, folder.path(), &[&preload]);
    let seen = joins("flatcar-old", Machine::new("flatcar-old"), control_plane, &disk, |node| {
        mounts(control_plane, node)
    });
    let etc = mount(&seen, "/etc");
    assert!(etc.starts_with("overlay ") && !etc.contains("noexec"), "{seen}");
    assert!(mount(&seen, "/usr").starts_with("sysext "), "{seen}");
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
    let preload = format!("--set={}", lab().preload(&workspace::root().join(kiln::JOIN)));
    let disk = image(&NEW, folder.path(), &[&preload]);
    let seen = joins("flatcar-new", machine, control_plane, &disk, |node| mounts(control_plane, node));
    let etc = mount(&seen, "/etc");
    assert!(etc.starts_with("confext ") && etc.contains("noexec"), "{seen}");
    assert!(mount(&seen, "/usr").starts_with("sysext "), "{seen}");
}
