//! Wrong definitions, one by one: each names file, line, what is wrong, and how to mend it.

use std::fs;
use std::path::Path;

use kiln::definition;
use kiln::definition::interpolate::Variables;
use kiln::definition::plan::{BasePlan, Form};
use kiln::definition::registry::Registry;
use kiln::registry;

const IMAGE: &str = r#"schema = 1
name = "node"
arch = "amd64"
kubernetes = "1.36.4"
runtime = "containerd"
layers = ["containerd", "kubelet"]
outputs = ["raw"]
kernel-arguments = ["console=ttyS0"]

[base]
distribution = "debian"
suite = "trixie"
packages = ["systemd", "linux-image-cloud-${arch}"]

[versions]
containerd = "2.3.4"

[disk]
esp = "96MiB"
var = "512MiB"
"#;

const CONTAINERD: &str = r#"schema = 1
summary = "a runtime"
provides = ["container-runtime"]
os = ["debian"]
arch = ["amd64", "arm64"]
packages = ["libseccomp2"]

[[artifact]]
name = "containerd"
version = "${containerd}"
url = "https://example.org/containerd-${containerd}-${arch}.tar.gz"
checksum = "${url}.sha256sum"
archive = { strip = 1, pick = ["bin/*"], into = "/usr/local/bin" }

[[file]]
path = "/etc/containerd/config.toml"
content = "version = 3"
mode = "0644"
when = { containerd = ">=2" }

[units]
enable = ["containerd.service"]
"#;

const KUBELET: &str = r#"schema = 1
summary = "the kubelet"
requires = ["container-runtime"]

[[artifact]]
name = "kubelet"
version = "${kubernetes}"
url = "https://example.org/${kubernetes}/kubelet"
checksum = "${url}.sha256"
path = "/usr/bin/kubelet"

[[link]]
path = "/usr/bin/k"
target = "kubelet"
"#;

/// Which file a case spoils.
#[derive(Clone, Copy)]
enum In {
    Image,
    Containerd,
    Kubelet,
}

struct Case {
    place: In,
    from: &'static str,
    to: &'static str,
    /// `file:line: message`, the first line of the error.
    message: &'static str,
    /// The hint.
    help: &'static str,
}

const fn case(
    place: In,
    from: &'static str,
    to: &'static str,
    message: &'static str,
    help: &'static str,
) -> Case {
    Case { place, from, to, message, help }
}

fn lay_out(root: &Path, case: Option<&Case>) {
    let spoil = |place: In, text: &str| match case {
        Some(case) if case.place as u8 == place as u8 => {
            assert!(text.contains(case.from), "the case does not fit its text: {}", case.from);
            text.replacen(case.from, case.to, 1)
        }
        _ => text.to_owned(),
    };
    for folder in
        ["images", "layers/containerd", "layers/kubelet", "layers/crio", "layers/appliance", "images/plain"]
    {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("images/node.toml"), spoil(In::Image, IMAGE)).unwrap();
    fs::write(root.join("layers/containerd/layer.toml"), spoil(In::Containerd, CONTAINERD)).unwrap();
    fs::write(root.join("layers/kubelet/layer.toml"), spoil(In::Kubelet, KUBELET)).unwrap();
    let rival = "schema = 1\nsummary = \"a rival\"\nprovides = [\"container-runtime\"]\nconflicts = [\"container-runtime\"]\n";
    fs::write(root.join("layers/crio/layer.toml"), rival).unwrap();
    let plain = "schema = 1\nsummary = \"x\"\nprovides = [\"container-runtime\"]\n";
    fs::write(root.join("images/plain/layer.toml"), plain).unwrap();
    // Of another base: no hint may name it.
    let other = "schema = 1\nsummary = \"x\"\nprovides = [\"container-runtime\"]\nos = [\"flatcar\"]\n";
    fs::write(root.join("layers/appliance/layer.toml"), other).unwrap();
}

fn check(case: &Case) -> Result<(), String> {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), Some(case));
    let error = match registry::load(&root.path().join("images/node.toml"), &[], None) {
        Ok(_) => return Err(format!("accepted: {}", case.to)),
        Err(error) => error,
    };
    let prefix = format!("{}/", root.path().display());
    let message = error.message().replace(&prefix, "").replace("images/../", "");
    let first = message.lines().next().unwrap_or_default();
    let help = error.hint().unwrap_or_default();
    if first == case.message && help == case.help && error.kind().exit_code() == 3 {
        Ok(())
    } else {
        Err(format!(
            "case {:?}\n   got {first:?}\n       {help:?}\n  want {:?}\n       {:?}",
            case.to, case.message, case.help
        ))
    }
}

include!("definitions/cases.rs");

#[test]
fn every_wrong_definition_is_explained() {
    let failures: Vec<String> = CASES.iter().filter_map(|case| check(case).err()).collect();
    assert!(CASES.len() >= 40, "the table has {} cases", CASES.len());
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), CASES.len(), failures.join("\n"));
}

#[test]
fn a_package_of_some_architectures_is_in_the_images_for_these() {
    let root = tempfile::tempdir().unwrap();
    let entries = "packages = [\"microcode [amd64]\", \"firmware [amd64 arm64]\", \"systemd\", ";
    lay_out(root.path(), Some(&case(In::Image, "packages = [\"systemd\", ", entries, "", "")));
    for (arch, expected) in [
        ("amd64", &["firmware", "libseccomp2", "linux-image-cloud-amd64", "microcode", "systemd"][..]),
        ("arm64", &["firmware", "libseccomp2", "linux-image-cloud-arm64", "systemd"]),
    ] {
        let set = [format!("arch={arch}")];
        let plan = registry::load(&root.path().join("images/node.toml"), &set, None).unwrap().plan;
        let BasePlan::Packages(base) = &plan.base else { panic!("{:?}", plan.base) };
        assert_eq!(base.packages, expected);
    }
}

#[test]
fn images_for_hardware_have_microcode_where_there_is_any() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    for name in ["debian-13-metal.toml", "ubuntu-24.04-metal.toml"] {
        for (arch, expected) in [("amd64", &["amd64-microcode", "intel-microcode"][..]), ("arm64", &[])] {
            let plan = registry::load(&images.join(name), &[format!("arch={arch}")], None).unwrap().plan;
            let BasePlan::Packages(base) = &plan.base else { panic!("{:?}", plan.base) };
            let found: Vec<&String> =
                base.packages.iter().filter(|name| name.contains("microcode")).collect();
            assert_eq!(found, expected, "{name}, {arch}");
        }
    }
}

#[test]
fn the_right_definition_is_accepted() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let plan = registry::load(&root.path().join("images/node.toml"), &[], None).unwrap().plan;
    let BasePlan::Packages(base) = &plan.base else { panic!("{:?}", plan.base) };
    assert_eq!(base.packages, ["libseccomp2", "linux-image-cloud-amd64", "systemd"]);
    assert_eq!(plan.layers[0].files.len(), 1);
    let older =
        registry::load(&root.path().join("images/node.toml"), &["versions.containerd=1.7.24".into()], None)
            .unwrap()
            .plan;
    assert!(older.layers[0].files.is_empty(), "a condition that does not hold drops the file");
}

#[test]
fn every_shipped_definition_resolves_on_every_architecture_it_names() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let mut seen = 0;
    for entry in fs::read_dir(images).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("windows-") && name.ends_with(".toml") {
            // Kubernetes has no programs for Windows on arm64; tests/windows/layers.rs tries versions.
            registry::load(&path, &[], None).unwrap();
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            for sets in [
                vec![],
                vec!["arch=arm64".to_owned()],
                vec!["kubernetes=1.20.2".to_owned(), "versions.containerd=1.7.24".to_owned()],
            ] {
                registry::load(&path, &sets, None).unwrap();
                seen += 1;
            }
        }
    }
    assert!(seen >= 6);
}

#[test]
fn missing_binary_and_huge_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x.toml");
    let message = |path: &Path| registry::load(path, &[], None).unwrap_err().message().to_owned();
    assert!(message(&path).contains("No such file"));
    assert!(message(root.path()).contains("not a file"));
    fs::write(&path, b"schema = 1\nname = \"\xff\"").unwrap();
    assert!(message(&path).contains("line 2 is not UTF-8"));
    fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert!(message(&path).contains("too large"));
    fs::write(&path, "schema = 1\nextends = \"x.toml\"").unwrap();
    assert!(message(&path).contains(":2: definitions extend each other in a circle"));
}

#[test]
fn wrong_sets_are_named_as_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let path = root.path().join("images/node.toml");
    for (set, expected) in [
        ("kubernetes", "--set kubernetes: there is no ="),
        ("a b=c", "--set a b=c: the part before = is not a key"),
        ("schema=1", "--set schema=1: this key cannot be set from the command line"),
        ("kubernets=1.2.3", "--set kubernets=1.2.3:1: unknown key \"kubernets\""),
        ("kubernetes=1.2", "--set kubernetes=1.2:1: \"1.2\" is not a Kubernetes version"),
        ("outputs=[\"raw\"", "--set outputs=[\"raw\":1: "),
    ] {
        let error = registry::load(&path, &[set.to_owned()], None).unwrap_err();
        assert!(error.message().starts_with(expected), "{set}: {error}");
    }
}

#[test]
fn numbers_of_an_outputs_options_are_numbers_and_versions_stay_text() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let sets = ["outputs=[\"ova\"]", "output.ova.cpus=4", "output.ova.firmware=bios"].map(str::to_owned);
    let definition = registry::load(&root.path().join("images/node.toml"), &sets, None).unwrap();
    let ova = &definition.plan.output_options["ova"];
    assert_eq!((ova["cpus"].as_integer(), ova["firmware"].as_str()), (Some(4), Some("bios")));
}

#[test]
fn a_version_that_nothing_uses_is_refused_unless_the_layers_were_chosen_over_it() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let load = |sets: &[&str], name: &str| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        registry::load(&root.path().join("images").join(name), &sets, None)
    };
    let error = load(&["versions.containred=1.7.24"], "node.toml").unwrap_err();
    assert!(error.message().starts_with("--set versions.containred=1.7.24:1: nothing"), "{error}");
    assert_eq!(error.hint(), Some("did you mean \"containerd\"?"));
    let child = "schema = 1\nextends = \"node.toml\"\nruntime = \"crio\"\nlayers = [\"crio\", \"kubelet\"]\n";
    fs::write(root.path().join("images/child.toml"), child).unwrap();
    load(&[], "child.toml").unwrap();
    load(&["runtime=crio", "layers=[\"crio\", \"kubelet\"]"], "node.toml").unwrap();
    assert!(load(&["versions.containerd=1.7.24"], "child.toml").is_err());
}

#[test]
fn a_plan_warns_of_what_the_lock_will_not_find_and_of_what_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let path = root.path().join("images/node.toml");
    let warnings = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        registry::load(&path, &sets, None).unwrap().warnings
    };
    assert!(warnings(&[]).is_empty());
    let options = warnings(&["output.qcow2.compression=zlib"]);
    assert_eq!(options, ["the options of the output qcow2 change nothing: outputs names raw"]);
    assert!(warnings(&["outputs=[\"qcow2\"]", "output.qcow2.compression=zlib"]).is_empty());
    assert!(warnings(&["base.suite=sid"])[0].contains("not tried with the release \"sid\" of debian"));
    assert!(warnings(&["base.suite=trixi"])[0].ends_with("did you mean trixie?"));
    let kubelet = root.path().join("layers/kubelet/layer.toml");
    fs::write(&kubelet, KUBELET.replace("requires", "extension = false\nrequires")).unwrap();
    assert_eq!(
        warnings(&["outputs=[\"sysext\"]"]),
        ["the output sysext leaves this to its hosts: the layers kubelet; the packages libseccomp2"]
    );
    let plain = KUBELET.replace("checksum = \"${url}.sha256\"", "checksum = \"http://example.org/sums\"");
    fs::write(&kubelet, plain).unwrap();
    assert!(warnings(&[])[0].starts_with("kubelet/kubelet: nobody vouches for a checksum without TLS"));
}

#[test]
fn tests_have_names_commands_and_limits_and_their_variables_are_replaced() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debian-13.toml");
    let load = |test: &str| {
        let set = format!("test=[{test}]");
        registry::load(&shipped, &[set], None).map(|definition| definition.plan.tests)
    };
    let tests =
        load("{name = \"a\", run = [\"x\", \"${arch}\", \"$HOME\"], expect = \"v${kubernetes}\", exit = 3}")
            .unwrap();
    assert_eq!((tests.len(), tests[0].exit, tests[0].within, tests[0].timeout), (1, 3, 0, 60));
    assert_eq!(tests[0].run, ["x", "amd64", "$HOME"]);
    assert!(tests[0].expect.as_ref().unwrap().starts_with("v1."));
    let run = "run = [\"x\"]";
    for (test, says) in [
        ("{name = \"a\", run = []}".to_owned(), "there is no command"),
        ("{name = \"a\", run = [\"\"]}".to_owned(), "there is no command"),
        (format!("{{name = \" \", {run}}}"), "a name is one line of text"),
        (format!("{{name = \"a\", {run}}}, {{name = \"a\", {run}}}"), "two tests have this name"),
        (format!("{{name = \"a\", {run}, timeout = 0}}"), "0 seconds are not possible"),
        (format!("{{name = \"a\", {run}, within = 4000}}"), "4000 seconds are not possible"),
        ("{name = \"a\", run = [\"${nobody}\"]}".to_owned(), "unknown variable ${nobody}"),
        (format!("{{name = \"a\", {run}, exit = 256}}"), "a whole number from 0 to 255 is expected"),
    ] {
        let error = load(&test).unwrap_err();
        assert!(error.message().contains(says), "{test}: {error}");
    }
}

#[test]
fn an_installers_rule_for_the_disk_is_read_with_its_definition() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debian-13.toml");
    let load = |rule: &str| {
        let sets = ["outputs=[\"iso\"]".to_owned(), format!("output.iso.install={{disk=\"{rule}\"}}")];
        registry::load(&shipped, &sets, None).map(drop)
    };
    load("bus=nvme,size>=100G").unwrap();
    for (rule, says) in [
        ("", "a condition is missing"),
        ("bus=sas", "bus is one of"),
        ("largest,smallest", "exclude each other"),
        ("size>=100G init=/bin/sh", "plain letters"),
        ("serial='x'", "plain letters"),
    ] {
        let error = load(rule).unwrap_err();
        assert!(error.message().contains(says) && error.hint().is_some(), "{rule}: {error}");
    }
}

#[test]
fn large_sectors_are_a_disks_of_uefi_and_of_outputs_that_have_them() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debian-13.toml");
    let load = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        registry::load(&shipped, &sets, None).map(|definition| definition.plan.disk)
    };
    let large = "disk.sector-size=4096";
    let esp = "disk.esp=264MiB";
    let disk = load(&[large, esp, "outputs=[\"raw\", \"qcow2\", \"iso\", \"oci\"]"]).unwrap();
    assert_eq!((disk.sector_size, disk.bios, disk.esp >> 20), (4096, 0, 264));
    for (sets, says) in [
        (&["disk.sector-size=2048"][..], "no disk has sectors of 2048 bytes"),
        (&[large, "disk.bios=1MiB"], "no BIOS boots a disk with sectors of 4096 bytes"),
        (&[large, "disk.esp=96MiB"], "96 MiB is too small"),
        (
            &[large, esp, "outputs=[\"raw\", \"vhd\"]"],
            "the output \"vhd\" is a disk with sectors of 512 bytes",
        ),
    ] {
        let error = load(sets).unwrap_err();
        assert!(error.message().contains(says) && error.hint().is_some(), "{sets:?}: {error}");
    }
}

/// A definition that extends a distribution's image names a root file system alone.
#[test]
fn a_root_file_system_replaces_the_distribution_that_a_definition_extends() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let child = root.path().join("images/child.toml");
    let text = "schema = 1\nextends = \"node.toml\"\nlayers = [\"./runtime\", \"kubelet\"]\nruntime = \"runtime\"\n\
                [base]\nrootfs = \"vendor-${arch}.tar\"\n";
    fs::write(&child, text).unwrap();
    fs::write(root.path().join("images/vendor-amd64.tar"), "").unwrap();
    fs::create_dir(root.path().join("images/runtime")).unwrap();
    let layer =
        "schema = 1\nsummary = \"x\"\nprovides = [\"container-runtime\"]\npackages = [\"libseccomp2\"]\n";
    fs::write(root.path().join("images/runtime/layer.toml"), layer).unwrap();
    let plan = registry::load(&child, &[], None).unwrap().plan;
    let BasePlan::Rootfs(base) = &plan.base else { panic!("{:?}", plan.base) };
    assert_eq!(
        (base.rootfs.written.as_str(), base.needs.as_slice()),
        ("vendor-amd64.tar", &["libseccomp2".to_owned()][..])
    );
    assert_eq!(base.rootfs.path().unwrap(), root.path().join("images/vendor-amd64.tar"));
    assert!(!plan.variables.contains_key("suite"));

    let package = format!(
        "{layer}[[artifact]]\nname = \"x\"\npackage = \"runc\"\narchive = {{ pick = [\"usr/bin/runc\"] }}\n"
    );
    fs::write(root.path().join("images/runtime/layer.toml"), package).unwrap();
    let error = registry::load(&child, &[], None).unwrap_err();
    assert!(
        error
            .message()
            .contains("takes files out of the package \"runc\", and this base has no archive"),
        "{error}"
    );
}

#[test]
fn what_a_vendors_disk_cannot_take_is_refused_and_only_wanted_files_are_locked() {
    let root = tempfile::tempdir().unwrap();
    let image = root.path().join("images/x.toml");
    fs::create_dir_all(root.path().join("images/runtime")).unwrap();
    let text = "schema = 1\nname = \"x\"\narch = \"amd64\"\nkubernetes = \"1.36.4\"\nruntime = \"runtime\"\n\
                layers = [\"./runtime\"]\noutputs = [\"raw\", \"pxe\", \"qcow2\"]\n\
                [base]\ndistribution = \"flatcar\"\nchannel = \"lts\"\n";
    fs::write(&image, text).unwrap();
    let layer = "schema = 1\nsummary = \"x\"\nprovides = [\"container-runtime\"]\npackages = [\"socat\", \"mount\"]\n";
    fs::write(root.path().join("images/runtime/layer.toml"), layer).unwrap();
    assert_eq!(
        registry::load(&image, &[], None).unwrap().warnings,
        ["a release of flatcar takes no packages, and must have what the layers name: mount, socat"]
    );
    let load = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        registry::load(&image, &sets, None).map(|definition| definition.plan)
    };
    for (set, says) in [
        ("disk.var=1GiB", "the partitions of this disk are its vendor's"),
        ("kernel-arguments=[\"quiet\"]", "\"quiet\" cannot be passed"),
        (
            "outputs=[\"oci\"]",
            "the output \"oci\" needs the image's layers as archives, and a base of flatcar has none",
        ),
    ] {
        let error = load(&[set]).unwrap_err();
        assert!(error.message().contains(says), "{set}: {error}");
    }
    let forms = |sets: &[&str]| match load(sets).unwrap().base {
        BasePlan::Vendor(vendor) => vendor.forms,
        other => panic!("{other:?}"),
    };
    assert_eq!(forms(&[]), [Form::Disk, Form::Network]);
    assert_eq!(forms(&["outputs=[\"pxe\"]", "kernel-arguments=[\"quiet\"]"]), [Form::Network]);
}

#[test]
fn files_of_the_build_host_stay_out_of_layers() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let (layer, path) = (root.path().join("layers/kubelet"), root.path().join("images/node.toml"));
    fs::write(root.path().join("secret"), "of the build host").unwrap();
    symlink("../../secret", layer.join("motd")).unwrap();
    let file = "\n[[file]]\npath = \"/etc/motd\"\nsource = \"motd\"\n";
    fs::write(layer.join("layer.toml"), format!("{KUBELET}{file}")).unwrap();
    let error = registry::load(&path, &[], None).unwrap_err();
    assert!(error.message().contains("\"motd\" leads out of the layer's folder by a link"), "{error}");
    fs::rename(layer.join("layer.toml"), root.path().join("elsewhere.toml")).unwrap();
    symlink("../../elsewhere.toml", layer.join("layer.toml")).unwrap();
    let error = registry::load(&path, &[], None).unwrap_err();
    assert!(error.message().contains("\"layer.toml\" leads out"), "{error}");
}

#[test]
fn secrets_in_addresses_are_refused_and_never_shown() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("images/node.toml");
    let digest = "0".repeat(64);
    let preload =
        |url: &str| format!("preload=[{{ reference = \"a/b:1\", sha256 = \"{digest}\", url = \"{url}\" }}]");
    for secret in [
        "https://me:s3cr3t@example.org/x",
        "https://example.org/x?X-Amz-Signature=s3cr3t",
        "HTTPS://me:s3cr3t@example.org/x",
        "https:/me:s3cr3t@example.org/x",
        "me:s3cr3t@example.org/x",
        "https://me:/s3cr3t@example.org/x",
        "https://me%3as3cr3t@example.org/x",
        "https://me:s3cr3t%40example.org/x",
        "https://example.org/x?%74oken=s3cr3t",
        "https://example.org/x#token=s3cr3t",
    ] {
        let mut errors = Vec::new();
        for (from, key) in
            [("https://example.org/${kubernetes}/kubelet", "url"), ("${url}.sha256", "checksum")]
        {
            lay_out(root.path(), None);
            let spoiled = KUBELET.replace(from, secret);
            fs::write(root.path().join("layers/kubelet/layer.toml"), spoiled).unwrap();
            let error = registry::load(&path, &[], None).unwrap_err();
            assert!(error.message().contains("layers/kubelet/layer.toml:"), "{key}: {error}");
            errors.push(error);
        }
        lay_out(root.path(), None);
        errors.push(registry::load(&path, &[preload(secret)], None).unwrap_err());
        for error in errors {
            assert!(error.message().contains("the address holds "), "{error}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
    }
}

/// A release whose only base gives no disk.
struct WithoutDisk;

impl Registry for WithoutDisk {
    fn distributions(&self) -> Vec<&'static str> {
        registry::Release.distributions()
    }

    fn suites(&self, distribution: &str) -> Vec<&'static str> {
        registry::Release.suites(distribution)
    }

    fn channels(&self, distribution: &str) -> Vec<&'static str> {
        registry::Release.channels(distribution)
    }

    fn form(&self, output: &str) -> Option<Form> {
        registry::Release.form(output)
    }

    fn outputs(&self) -> Vec<&'static str> {
        registry::Release.outputs()
    }

    fn missing_part(&self, _: &str, output: &str) -> Option<&'static str> {
        (output == "raw").then_some("disk")
    }

    fn leaves_base_out(&self, output: &str) -> bool {
        output == "sysext"
    }

    fn has_large_sectors(&self, _: &str) -> bool {
        true
    }

    fn check_options(&self, _: &str, _: &toml::Table) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn an_output_that_the_base_cannot_give_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let path = root.path().join("images/node.toml");
    let error = definition::load(&path, &[], None, &WithoutDisk, &Variables::new()).unwrap_err();
    let expected = "node.toml:7: the output \"raw\" needs the image's disk, and a base of debian has none";
    assert!(error.message().contains(expected), "{error}");
    definition::load(&path, &["outputs=[\"oci\"]".into()], None, &WithoutDisk, &Variables::new()).unwrap();
}

#[test]
fn options_of_outputs_merge_over_extended_definitions() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), None);
    let path = root.path().join("images/child.toml");
    fs::write(&path, "schema = 1\nextends = \"node.toml\"\n[output.oci]\ncompression = \"zstd\"\n").unwrap();
    let plan = registry::load(&path, &["output.qcow2.compression=zlib".into()], None).unwrap().plan;
    assert_eq!(plan.output_options["oci"]["compression"].as_str(), Some("zstd"));
    assert_eq!(plan.output_options["qcow2"]["compression"].as_str(), Some("zlib"));
}

#[test]
fn a_kernel_argument_names_the_serial_port_of_the_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let port = case(In::Image, "console=ttyS0", "console=${serial},115200", "", "");
    lay_out(folder.path(), Some(&port));
    for (arch, argument) in [("amd64", "console=ttyS0,115200"), ("arm64", "console=ttyAMA0,115200")] {
        let sets = [format!("arch={arch}")];
        let plan = registry::load(&folder.path().join("images/node.toml"), &sets, None).unwrap().plan;
        assert_eq!(plan.kernel_arguments, [argument]);
    }
}
