//! Images on releases that look like Flatcar's, with Debian's systemd inside, join a real cluster.
//!
//! | boot | layout | started by | what is seen |
//! |---|---|---|---|
//! | 1 | old: extensions are merged after the switch to the root | BIOS | joins, Node Ready, a pod runs |
//! | 2 | new: `/etc` is noexec, extensions are merged in the initrd | UEFI | joins, Node Ready, a pod runs |
//! | 3 | new, with the containerd of the release | UEFI | joins, Node Ready |
//! | 4 | new, from the network: the root is in memory | the kernel itself | Ignition puts all in its place and a user's configuration over it; joins, Node Ready, a pod runs |

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kiln_tests::control_plane::ControlPlane;
use kiln_tests::join_support::{assert_joined, control_plane, join_configuration, ready_node, verdict};
use kiln_tests::kiln::{Build, Image, JOIN};
use kiln_tests::lab::lab;
use kiln_tests::lookalike_flatcar::{self, ARGUMENTS, Layout, NEW, OLD};
use kiln_tests::pods;
use kiln_tests::qemu::Machine;
use kiln_tests::workspace;
use serde_json::json;
use testkit::not_run;

const DEFINITION: &str = "tests/images/flatcar.toml";
/// Without a layer that imports container images, so that no pod can be started.
const ITS_CONTAINERD: &str = "tests/images/flatcar-containerd.toml";

/// The image of this definition on a release of this layout.
fn image(definition: &str, layout: &Layout, folder: &Path, change: impl FnOnce(Build) -> Build) -> Image {
    let (mirror, out) = (lookalike_flatcar::release(layout), folder.join("out"));
    let build = Build::new(definition, &out)
        .arg(format!("--set=base.version=\"{}\"", layout.version))
        .arg("--layers-dir")
        .arg(workspace::root().join("layers"))
        .arg("--flatcar-mirror")
        .arg(&mirror)
        .arg("--flatcar-key")
        .arg(mirror.join("key.asc"))
        .cache(&folder.join("store"));
    change(build).run();
    Image::at(&out, definition)
}

/// With a container image for pods.
fn for_pods(build: Build) -> Build {
    build.arg(format!("--set={}", lab().preload(&workspace::root().join(JOIN))))
}

/// The node config of the machine `name`, as a file in `folder`.
fn node_config(control_plane: &ControlPlane, name: &str, folder: &Path) -> PathBuf {
    let config = folder.join("config.yaml");
    fs::write(&config, join_configuration(control_plane, &format!("  name: {name}\n")))
        .expect("the folder is the test's");
    config
}

/// Boots `disk`.
fn boot_disk<T>(
    machine: Machine,
    name: &str,
    control_plane: &ControlPlane,
    disk: &Path,
    look: impl Fn(&ControlPlane, &str) -> T,
) -> T {
    let folder = workspace::scratch();
    let config = node_config(control_plane, name, folder.path());
    let machine = machine.fw_cfg("opt/org.kiln.firstboot/config", &config).boot_disk(disk);
    boot(machine, name, control_plane, look)
}

/// Boots `machine` and returns what `look` sees of the Ready node.
fn boot<T>(
    machine: Machine,
    name: &str,
    control_plane: &ControlPlane,
    look: impl Fn(&ControlPlane, &str) -> T,
) -> T {
    machine.in_network_of(control_plane.fact("pid")).boot(|vm| {
        assert_joined(&verdict(vm)?, "joined", name);
        ready_node(control_plane, name, "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        let complaint = vm.lines().into_iter().find(|line| line.contains("flatcar: "));
        assert_eq!(complaint, None, "the initrd complains");
        let seen = look(control_plane, name);
        vm.press_power_button();
        vm.wait_exit(Duration::from_secs(120))?;
        Ok(seen)
    })
}

fn ready(test: &str) -> Option<&'static ControlPlane> {
    if let Some(why) = lookalike_flatcar::hindrance() {
        not_run(test, &why);
        return None;
    }
    control_plane(test)
}

/// What a new pod on `node` says of the node's own mounts, besides that it runs.
fn mounts(control_plane: &ControlPlane, node: &str) -> String {
    let more = json!({"restartPolicy": "Never", "hostPID": true});
    let line =
        "exec > /dev/termination-log 2>&1; grep -E ' /(|etc|oem|usr|opt) ' /proc/1/mounts | cut -c -150";
    pods::create(control_plane, node, &format!("{node}-mounts"), line, &more, &json!([]));
    pods::end_of(control_plane, &format!("{node}-mounts"))
}

/// The line about what is mounted last at `path`.
fn mount<'a>(mounts: &'a str, path: &str) -> &'a str {
    let found = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(path));
    found.unwrap_or_else(|| panic!("nothing is mounted at {path}: {mounts}"))
}

fn assert_new_layout(seen: &str) {
    let etc = mount(seen, "/etc");
    assert!(etc.starts_with("confext ") && etc.contains("noexec"), "{seen}");
    assert!(mount(seen, "/usr").starts_with("sysext "), "{seen}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_old_layout_joins_by_bios() {
    let Some(control_plane) = ready("Flatcar's old layout joins") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let (name, folder) = ("flatcar-old", workspace::scratch());
    let disk = image(DEFINITION, &OLD, folder.path(), for_pods).file(".raw");
    let seen = boot_disk(Machine::new(name).memory(3072), name, control_plane, &disk, mounts);
    let etc = mount(&seen, "/etc");
    assert!(etc.starts_with("overlay ") && !etc.contains("noexec"), "{seen}");
    assert!(mount(&seen, "/usr").starts_with("sysext "), "{seen}");
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_new_layout_joins_by_uefi() {
    let Some(control_plane) = ready("Flatcar's new layout joins") else { return };
    let name = "flatcar-new";
    let Some(machine) = Machine::new(name).memory(3072).uefi() else {
        return not_run("Flatcar's new layout joins", "no OVMF");
    };
    let _alone = workspace::exclusive("join-e2e");
    let folder = workspace::scratch();
    let disk = image(DEFINITION, &NEW, folder.path(), for_pods).file(".raw");
    assert_new_layout(&boot_disk(machine, name, control_plane, &disk, mounts));
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_new_layout_joins_with_the_containerd_of_the_release() {
    let Some(control_plane) = ready("Flatcar's own containerd serves the kubelet") else { return };
    let name = "flatcar-containerd";
    let Some(machine) = Machine::new(name).memory(3072).uefi() else {
        return not_run("Flatcar's own containerd serves the kubelet", "no OVMF");
    };
    let _alone = workspace::exclusive("join-e2e");
    let folder = workspace::scratch();
    let disk = image(ITS_CONTAINERD, &NEW, folder.path(), |build| build).file(".raw");
    boot_disk(machine, name, control_plane, &disk, |_, _| ());
}

/// A user's configuration for Ignition, which writes `config` to where the agent looks for it.
fn ignition(config: &Path) -> String {
    let config = STANDARD.encode(fs::read(config).expect("the file is the test's"));
    json!({"ignition": {"version": "3.0.0"}, "storage": {"files": [{
        "path": "/etc/firstboot/config.yaml",
        "mode": 0o600,
        "contents": {"source": format!("data:;base64,{config}")},
    }]}})
    .to_string()
}

#[test]
#[ignore = "slow: make test-long runs it"]
fn the_new_layout_joins_from_the_network_by_ignition() {
    let Some(control_plane) = ready("Flatcar joins from the network") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let (name, folder) = ("flatcar-network", workspace::scratch());
    let image =
        image(DEFINITION, &NEW, folder.path(), |build| for_pods(build).arg("--set=outputs=[\"pxe\"]"));
    let (set, line) = (image.file("-pxe"), image.network_command_line());
    let user = folder.path().join("user.ign");
    fs::write(&user, ignition(&node_config(control_plane, name, folder.path())))
        .expect("the folder is the test's");
    let machine = Machine::new(name)
        .memory(4096)
        .kernel(&set.join("vmlinuz"), &set.join("initrd"), &format!("{line} {ARGUMENTS}"))
        .fw_cfg("opt/com.coreos/config", &user);
    let seen = boot(machine, name, control_plane, mounts);
    assert_new_layout(&seen);
    for place in ["/", "/oem"] {
        assert!(mount(&seen, place).contains(" tmpfs "), "{seen}");
    }
}
