//! A vendor's cloud disk becomes an image that joins a real cluster.

use std::fs;

use kiln_tests::join_support::{assert_joined, control_plane, join_configuration, ready_node, verdict};
use kiln_tests::kiln::{self, Build, Image};
use kiln_tests::lab::lab;
use kiln_tests::qemu::{Machine, overlay};
use kiln_tests::workspace;
use testkit::not_run;

const DEFINITION: &str = "tests/images/rootfs.toml";

/// Programs that make the vendor's disk.
const PROGRAMS: &[&str] = &["mmdebstrap", "mksquashfs", "umoci", "sgdisk", "mke2fs", "qemu-img", "setcap"];

#[test]
#[ignore = "slow: make test-long runs it"]
fn a_lookalike_vendors_disk_becomes_an_image_that_joins() {
    let test = "a_lookalike_vendors_disk_becomes_an_image_that_joins";
    if let Some(program) = workspace::missing(PROGRAMS) {
        return not_run(test, &format!("no {program}"));
    }
    if !workspace::is_root() {
        return not_run(test, "it needs root");
    }
    let Some(control_plane) = control_plane("joins end to end") else { return };
    let _alone = workspace::exclusive("join-e2e");
    let (vendor, folder) = (workspace::kept().join("lookalike-vendor-root"), workspace::scratch());
    let script = workspace::root().join("tests/images/lookalike_vendor_root");
    workspace::output(&script.display().to_string(), [&vendor]);

    let preload = lab().preload(&workspace::root().join(kiln::JOIN));
    let build = |name: &str| {
        let output = folder.path().join(name);
        Build::new(DEFINITION, &output)
            .arg("--layers-dir")
            .arg(workspace::root().join("layers"))
            .arg("--set")
            .arg(format!("base.rootfs={}", vendor.join("disk.qcow2").display()))
            .arg("--set")
            .arg(&preload)
            .cache(&folder.path().join(format!("{name}-store")))
            .run();
        Image::at(&output, DEFINITION)
    };
    let (image, again) = (build("one"), build("two"));
    let sums = |image: &Image| fs::read_to_string(image.folder.join("SHA256SUMS")).expect("a build has it");
    assert_eq!(sums(&image), sums(&again), "two builds differ");

    let config = folder.path().join("config.yaml");
    let text = join_configuration(control_plane, "  name: vendor-node\n");
    fs::write(&config, text).expect("the folder is the test's");
    let disk = overlay(&image.file(".raw"), folder.path(), "disk", None);
    let machine = Machine::new("join-vendor")
        .in_network_of(control_plane.fact("pid"))
        .kernel(&image.file(".vmlinuz"), &image.file(".initrd"), &image.command_line())
        .fw_cfg("opt/org.kiln.firstboot/config", &config)
        .disk(&disk);
    let node = machine.boot(|vm| {
        let verdict = verdict(vm)?;
        assert_joined(&verdict, "joined", "vendor-node");
        let node = ready_node(control_plane, "vendor-node", "");
        workspace::say(&format!("{:.0} s after power-on: Ready", vm.age().as_secs_f64()));
        Ok(node)
    });
    let system = node["status"]["nodeInfo"]["osImage"].as_str().unwrap_or_default();
    assert!(system.starts_with("Debian GNU/Linux 13"), "{system}");
}
