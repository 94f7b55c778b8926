//! Layers for Windows, from a definition to the archive that a Windows takes: it is read by other programs,
//! and the installer by a parser of its language.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kiln::definition::plan::{Checksum, ImagePlan, Origin};
use kiln::definition::windows::WindowsPlan;
use kiln::definition::windows::registry::RegistryData;
use kiln::digest::Digest;
use kiln::registry;
use serde_json::Value;

use crate::lookalike;
use crate::tools::run;

const IMAGE: &str = r#"schema = 1
name = "node"
arch = "amd64"
kubernetes = "1.36.4"
runtime = "tools"
layers = ["tools", "./acme"]
outputs = ["windows-layers"]
[base]
release = "2022"
"#;

const TOOLS: &str = r#"schema = 1
summary = "a runtime"
os = ["windows"]
provides = ["container-runtime"]
path = ['C:\Program Files\containerd']
[[artifact]]
name = "containerd"
version = "2.3.4"
url = "file://HERE/containerd.tar"
checksum = "unpublished"
archive = { strip = 1, into = 'C:\Program Files\containerd' }
[[windows-service]]
name = "containerd"
command = '"C:\Program Files\containerd\containerd.exe" --run-service'
restart-after = [5]
"#;

const ACME: &str = r#"schema = 1
summary = "what the company adds"
os = ["windows"]
path = ['C:\k']
windows-features = ["Containers"]
[[windows-driver]]
inf = 'C:\k\release.inf'
[[file]]
path = 'C:\k\release.txt'
content = "${kubernetes} on ${windows} (${windows-build})"
interpolate = true
[[directory]]
path = 'C:\var\log\kubelet'
[[link]]
path = 'C:\var\lib\kubelet\etc\kubernetes\pki'
target = 'C:\etc\kubernetes\pki'
[[registry]]
key = 'HKLM\SYSTEM\CurrentControlSet\Services\hns\State'
name = "HNSControlFlag"
type = "dword"
data = 0x50
"#;

/// A checkout with one image for Windows. The archive of the runtime is a stand-in of ours.
fn checkout() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let here = root.path();
    for folder in ["images/acme", "layers/tools", "bin"] {
        fs::create_dir_all(here.join(folder)).unwrap();
    }
    for program in ["containerd.exe", "ctr.exe"] {
        fs::write(here.join("bin").join(program), format!("MZ stand-in of {program}")).unwrap();
    }
    let tar = here.join("containerd.tar");
    let packed = Command::new("tar").arg("-C").arg(here).arg("-cf").arg(&tar).arg("bin").status().unwrap();
    assert!(packed.success());
    let table = "schema = 1\n[newest]\nkubernetes = [\"1.36.4\"]\n\
                 [[windows]]\nrelease = \"2022\"\nbuild = 20348\nleast-revision = 1129\nruns = [\"2022\"]\nsource = \"x\"\n";
    let tools = TOOLS.replace("HERE", here.to_str().unwrap());
    for (file, text) in [
        ("layers/compatibility.toml", table),
        ("layers/tools/layer.toml", &tools),
        ("images/acme/layer.toml", ACME),
        ("images/node.toml", IMAGE),
    ] {
        fs::write(here.join(file), text).unwrap();
    }
    root
}

fn kiln(here: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command
        .args(arguments)
        .current_dir(here)
        .env("KILN_CACHE", here.join("cache"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Builds, and returns the archive.
fn build(here: &Path, into: &str) -> PathBuf {
    let built = kiln(here, &["build", "images/node.toml", "--output-dir", into]);
    assert!(built.status.success(), "{}", said(&built));
    here.join(into).join("node-windows-layers.zip")
}

/// The files of a zip archive as Python reads them.
fn unpacked(zip: &Path, into: &Path) -> BTreeMap<String, Vec<u8>> {
    let script = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nz.extractall(sys.argv[2])\n\
                  print('\\n'.join(n for n in z.namelist() if not n.endswith('/')))";
    let output = Command::new("python3").args(["-c", script]).arg(zip).arg(into).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().map(|name| (name.to_owned(), fs::read(into.join(name)).unwrap())).collect()
}

#[test]
fn layers_for_windows_become_one_archive_the_same_each_time() {
    let root = checkout();
    let here = root.path();
    let plan = said(&kiln(here, &["plan", "images/node.toml"]));
    assert!(plan.contains("base     Windows Server 2022, build 20348.1129 or a newer patch"), "{plan}");

    for line in [
        "           services     containerd",
        "           registry     1 value",
        r"           path         C:\k",
        "           features     Containers",
    ] {
        assert!(plan.lines().any(|said| said == line), "{line}: {plan}");
    }

    let zip = build(here, "out");
    let files = unpacked(&zip, &here.join("unpacked"));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "files/Program Files/containerd/containerd.exe",
            "files/Program Files/containerd/ctr.exe",
            "files/k/release.txt",
            "files/usr/lib/kiln/image.json",
            "install.ps1",
            "layers.json",
        ]
    );
    assert_eq!(files["files/k/release.txt"], b"1.36.4 on 2022 (20348)");
    let set: Value = serde_json::from_slice(&files["layers.json"]).unwrap();
    assert_eq!((&set["build"], &set["features"][0]), (&20_348.into(), &"Containers".into()));
    for file in set["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap().strip_prefix(r"C:\").unwrap().replace('\\', "/");
        let content = &files[&format!("files/{path}")];
        assert_eq!(file["sha256"], Digest::of(content).hex(), "{path}");
    }
    assert_eq!(set["links"][0]["target"], r"C:\etc\kubernetes\pki");
    assert_eq!(set["path"][1], r"C:\k");
    assert_eq!(set["drivers"][0], r"C:\k\release.inf");
    let value = |name: &str| {
        let values = set["registry"].as_array().unwrap();
        values.iter().find(|value| value["name"] == name).unwrap_or_else(|| panic!("{name}"))
    };
    let flag = value("HNSControlFlag");
    assert_eq!(flag["key"], r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\hns\State");
    assert_eq!((&flag["kind"], &flag["data"]), (&"DWord".into(), &80.into()));
    assert_eq!(value("ImagePath")["kind"], "ExpandString");
    assert_eq!(value("FailureActions")["data"].as_array().unwrap().len(), 28);

    let again = kiln(here, &["build", "images/node.toml", "--output-dir", "again", "--locked", "--offline"]);
    assert!(again.status.success(), "{}", said(&again));
    assert!(fs::read(&zip).unwrap() == fs::read(here.join("again/node-windows-layers.zip")).unwrap());

    // What a layer enables is not asked of the machine.
    let enables = "enables-windows-features = [\"Containers\"]\n[[windows-driver]]";
    fs::write(here.join("images/acme/layer.toml"), ACME.replace("[[windows-driver]]", enables)).unwrap();
    let files = unpacked(&build(here, "enabled"), &here.join("unpacked-enabled"));
    let set: Value = serde_json::from_slice(&files["layers.json"]).unwrap();
    assert_eq!(set["features"], serde_json::json!([]));
}

#[test]
fn a_folder_that_holds_another_image_or_an_earlier_one_s_outputs_is_told() {
    const WARNING: &str = "warning: out holds the image node for amd64";
    let root = checkout();
    let here = root.path();
    let (zip, second) = (build(here, "out"), here.join("images/second.toml"));
    let again = kiln(here, &["build", "images/node.toml", "--output-dir", "out"]);
    assert!(again.status.success() && !said(&again).contains("warning: out"), "{}", said(&again));
    // An output that the image had before.
    let manifest = here.join("out/manifest.json");
    let listed = fs::read_to_string(&manifest).unwrap().replace("node-windows-layers.zip", "node.old");
    fs::write(&manifest, listed).unwrap();
    fs::write(here.join("out/node.old"), "old").unwrap();
    let left = kiln(here, &["build", "images/node.toml", "--output-dir", "out"]);
    assert!(said(&left).contains("neither manifest nor SHA256SUMS now: node.old"), "{}", said(&left));
    let text = fs::read_to_string(here.join("images/node.toml")).unwrap();
    fs::write(&second, text.replacen("name = \"node\"", "name = \"second\"", 1)).unwrap();
    let other = kiln(here, &["build", "images/second.toml", "--output-dir", "out"]);
    assert!(other.status.success() && said(&other).contains(WARNING), "{}", said(&other));
    assert!(zip.is_file() && here.join("out/second-windows-layers.zip").is_file());
}

#[test]
fn what_windows_cannot_have_is_refused_with_what_to_do() {
    let root = checkout();
    let here = root.path();
    let change = |file: &str, from: &str, to: &str| {
        let path = here.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(from, to)).unwrap();
        let output = kiln(here, &["build", "images/node.toml", "--output-dir", "out"]);
        fs::write(&path, text).unwrap();
        (output.status.code(), said(&output))
    };
    for (file, from, to, message, help) in [
        ("images/node.toml", "\"2022\"", "\"2016\"", "unknown release \"2016\"", "did you mean \"2022\"?"),
        (
            "images/node.toml",
            "release = \"2022\"",
            "release = \"2022\"\nsuite = \"x\"",
            "base.suite does not go with",
            "keep one",
        ),
        (
            "images/node.toml",
            "[base]",
            "[disk]\nesp = \"96MiB\"\n[base]",
            "an image of Windows has no disk without base.windows",
            "leave disk out",
        ),
        (
            "images/node.toml",
            "windows-layers",
            "raw",
            "the output \"raw\" needs the image's disk",
            "base.windows = ",
        ),
        (
            "images/acme/layer.toml",
            "os = [\"windows\"]\n",
            "",
            "a path of Windows, and the layer is for Linux",
            "os = [\"windows\"]",
        ),
        (
            "images/acme/layer.toml",
            r"C:\k\release.txt",
            r"C:\program files\Containerd\CTR.exe",
            "differ in case alone",
            "in the same way",
        ),
        ("layers/tools/layer.toml", "strip = 1, ", "pick = [\"bin/none\"], ", "bin/none", ""),
    ] {
        let (code, said) = change(file, from, to);
        assert!(code != Some(0) && said.contains(message) && said.contains(help), "{to}: {code:?}: {said}");
    }
}

#[test]
fn a_layer_for_linux_does_not_come_into_an_image_for_windows() {
    let root = checkout();
    let here = root.path();
    let linux = "schema = 1\nsummary = \"x\"\n[[file]]\npath = \"/etc/x\"\ncontent = \"\"\n";
    fs::write(here.join("images/acme/layer.toml"), linux).unwrap();
    let output = kiln(here, &["plan", "images/node.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("the layer \"acme\" does not work on Windows"), "{}", said(&output));
}

/// `layers=[…]`: those of a shipped image for Windows, and others.
fn layers_set(more: &[&str]) -> String {
    layers_with("windows-features-base", more)
}

/// The same, with another layer of features.
fn layers_with(features: &str, more: &[&str]) -> String {
    let own = [
        "windows-node",
        features,
        "windows-fixes",
        "windows-defender",
        "${runtime}",
        "windows-cni-plugins",
        "windows-kubelet",
        "windows-crictl",
        "windows-firstboot",
    ];
    let layers: Vec<String> = own.iter().chain(more).map(|name| format!("\"{name}\"")).collect();
    format!("layers=[{}]", layers.join(", "))
}

/// A shipped image for Windows with layers beside its own.
fn shipped(release: &str, more: &[&str], sets: &[&str]) -> ImagePlan {
    let mut all = vec![layers_set(more)];
    all.extend(sets.iter().map(|set| (*set).to_owned()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../images/windows-{release}.toml"));
    let plan = registry::load(&path, &all, None);
    plan.unwrap_or_else(|error| panic!("{release} {more:?}: {error}")).plan
}

fn windows<'a>(plan: &'a ImagePlan, name: &str) -> &'a WindowsPlan {
    let layer = plan.layers.iter().find(|layer| layer.name == name).unwrap();
    layer.windows.as_ref().unwrap()
}

#[test]
fn every_layer_for_windows_resolves_with_every_release_and_an_old_kubernetes() {
    let choices: [&[&str]; 8] = [
        &[],
        &["windows-kube-proxy", "windows-flannel-host-gw"],
        &["windows-kube-proxy", "windows-flannel-vxlan"],
        &["windows-sdn-cni"],
        &["windows-csi-proxy", "windows-kubectl"],
        &["windows-gmsa"],
        &["windows-openssh"],
        &["windows-openssh", "windows-gmsa", "windows-csi-proxy"],
    ];
    for release in ["2019", "2022", "2025"] {
        for more in choices {
            shipped(release, more, &[]);
            shipped(release, more, &["kubernetes=1.26"]);
        }
    }
    shipped("2019", &[], &["kubernetes=1.20", "versions.containerd=1.6"]);
    shipped("2022", &[], &["kubernetes=1.23", "versions.containerd=1.6"]);
    let layers = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers")).unwrap();
    let names = layers.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let tried: Vec<&str> = choices.concat();
    let plan = shipped("2022", &[], &[]);
    let of_features = ["windows-features-unattend", "windows-features-agent", "windows-hyper-v"];
    let names = names.filter(|name| name.starts_with("windows-") && !of_features.contains(&name.as_str()));
    for name in names {
        assert!(
            tried.contains(&name.as_str()) || plan.layers.iter().any(|layer| layer.name == name),
            "{name} is in no image of this test"
        );
    }
}

/// The plan of a shipped image with another layer of features.
fn with_features(features: &str, more: &[&str]) -> Result<ImagePlan, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/windows-2022.toml");
    let loaded = registry::load(&path, &[layers_with(features, more)], None);
    loaded.map(|loaded| loaded.plan).map_err(|error| format!("{error:?}"))
}

#[test]
fn features_come_from_the_base_an_answer_file_or_the_agent_but_from_one_of_them() {
    let layers = ["windows-features-base", "windows-features-unattend", "windows-features-agent"];
    for features in layers {
        let plan = with_features(features, &[]).unwrap();
        let of_base: Vec<&str> = plan.features_of_base().map(|(_, name)| name).collect();
        assert_eq!(of_base.is_empty(), features != "windows-features-base", "{features}: {of_base:?}");
        for other in layers.iter().filter(|other| **other != features) {
            let refused = with_features(features, &[other]).unwrap_err();
            assert!(refused.contains("windows-features") && refused.contains(other), "{refused}");
        }
    }
    let refused = with_features("windows-features-base", &["windows-hyper-v"]).unwrap_err();
    assert!(refused.contains("windows-features-agent"), "{refused}");
}

#[test]
fn the_agent_enables_what_its_layers_say() {
    let plan = with_features("windows-features-agent", &["windows-hyper-v"]).unwrap();
    let enabled: Vec<&str> = plan.enabled_features().collect();
    assert_eq!(enabled, ["Containers", "Microsoft-Hyper-V"]);
    let files = plan.layers.iter().flat_map(|layer| &layer.files);
    let asked =
        files.filter_map(|file| file.path.strip_prefix(contract::WINDOWS_FEATURES)?.strip_prefix('/'));
    assert_eq!(asked.collect::<Vec<_>>(), enabled, "the files that the agent reads");
}

#[test]
fn each_release_gets_the_values_of_its_own_patches() {
    let count = |release: &str| windows(&shipped(release, &[], &[]), "windows-fixes").registry.len();
    assert_eq!(["2019", "2022", "2025"].map(count), [0, 70, 3]);
    let plan = shipped("2022", &[], &[]);
    for value in &windows(&plan, "windows-fixes").registry {
        let patch = value.patch.as_deref().unwrap_or("2013-12B");
        let of_year = |text: &str| text.len() == 8 && text.ends_with('B') && text[..4].parse::<u16>().is_ok();
        assert!(of_year(patch), "{patch}");
    }
    let has = |release: &str, name: &str| {
        let plan = shipped(release, &[], &[]);
        windows(&plan, "windows-node").registry.iter().any(|value| value.name == name)
    };
    for (name, releases) in [
        ("HNSControlFlag", &["2019"][..]),
        ("520997518", &["2025"]),
        ("EnableCompartmentNamespace", &["2019", "2022", "2025"]),
        ("AUOptions", &["2019", "2022", "2025"]),
    ] {
        for release in ["2019", "2022", "2025"] {
            assert_eq!(has(release, name), releases.contains(&release), "{name} on {release}");
        }
    }
}

#[test]
fn what_goes_with_each_release_is_refused_or_chosen() {
    let pause = |release: &str, kubernetes: &str| {
        let plan = shipped(release, &[], &[&format!("kubernetes={kubernetes}")]);
        plan.variables["pause"].clone()
    };
    assert_eq!(pause("2022", "1.34"), "3.10.1", "the one of kubeadm");
    assert_eq!(pause("2025", "1.34"), "3.10.2", "the first for Windows Server 2025");
    let refused = |release: &str, sets: &[&str]| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../images/windows-{release}.toml"));
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        registry::load(&path, &sets, None).unwrap_err().to_string()
    };
    let table =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers/compatibility.toml"));
    let table: toml::Table = table.unwrap().parse().unwrap();
    let refusing = table["rule"].as_array().unwrap().iter().filter(|rule| {
        rule["when"].get("windows").is_some()
            && (rule.get("needs").is_some() || rule.get("excludes").is_some())
    });
    let mut reasons: Vec<&str> = refusing.map(|rule| rule["why"].as_str().unwrap()).collect();
    for (release, sets, why) in [
        ("2022", &["kubernetes=1.22.17", "versions.containerd=1.6"][..], "Windows Server 2022 from 1.23 on"),
        ("2022", &["versions.pause=3.5"], "has Windows Server 2022 from 3.6 on"),
        ("2025", &["versions.pause=3.10.1"], "has Windows Server 2025 from 3.10.2 on"),
        ("2025", &["versions.containerd=1.7"], "for Windows Server 2025 from 2.0 on"),
        ("2022", &["runtime=containerd"], "take the layer \"windows-containerd\" instead"),
    ] {
        let said = refused(release, sets);
        assert!(said.contains(why), "{release} {sets:?}: {said}");
        reasons.retain(|reason| !reason.contains(why));
    }
    assert!(reasons.is_empty(), "rules without a case: {reasons:?}");
}

/// The first piece of `text` that the grammar of PowerShell does not know.
fn first_error(text: &str) -> Option<String> {
    let mut parser = tree_sitter::Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).unwrap();
    let tree = parser.parse(text, None).unwrap();
    let mut cursor = tree.walk();
    let mut nodes = vec![tree.root_node()];
    while let Some(node) = nodes.pop() {
        if node.is_error() || node.is_missing() {
            return Some(format!("line {}: {}", node.start_position().row + 1, &text[node.byte_range()]));
        }
        nodes.extend(node.children(&mut cursor));
    }
    None
}

#[test]
fn every_script_in_powershell_is_one() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = Command::new("git")
        .arg("-C")
        .arg(&repository)
        .args(["ls-files", "*.ps1"])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let own = "builder/src/output/windows_layers/install.ps1";
    for file in list.lines().chain([own]) {
        let text = fs::read_to_string(repository.join(file)).unwrap();
        assert_eq!(first_error(&text), None, "{file}");
    }
    assert!(first_error("if ($x { 1 }").is_some(), "the parser finds mistakes");
}

/// What stands in for a program: the head of a PE image for amd64, and its name.
fn program(name: &str) -> Vec<u8> {
    let machine = 0x8664_u16.to_le_bytes();
    let head = [b"MZ".as_slice(), &[0; 58], &[0x80, 0, 0, 0], &[0; 64], b"PE\0\0", &machine];
    [head.concat(), name.as_bytes().to_vec()].concat()
}

/// The members of upstream's archives, as they are laid out there.
const ARCHIVES: [(&str, &[&str]); 8] = [
    (
        "/containerd-",
        &[
            "bin/containerd.exe",
            "bin/ctr.exe",
            "bin/containerd-shim-runhcs-v1.exe",
            "bin/containerd-stress.exe",
        ],
    ),
    ("/crictl-", &["crictl.exe"]),
    ("/cni-plugins-", &["host-local.exe", "win-bridge.exe", "win-overlay.exe", "LICENSE", "README.md"]),
    ("/windows-container-networking-cni-", &["nat.exe", "sdnbridge.exe", "sdnoverlay.exe"]),
    ("/cni-plugin-flannel-", &["flannel-amd64.exe"]),
    ("/csi-proxy-", &["bin/csi-proxy.exe"]),
    ("/windows-gmsa-ccgakvplugin-", &["CCGAKVPlugin.dll", "CCGEvents.man", "registerplugin.reg"]),
    ("/OpenSSH-Win64", &["OpenSSH-Win64/sshd.exe", "OpenSSH-Win64/ssh.exe", "OpenSSH-Win64/sftp-server.exe"]),
];

/// An archive of stand-ins in the form that the address has.
fn archive(url: &str, members: &[&str], scratch: &Path) -> Vec<u8> {
    let _ = fs::remove_dir_all(scratch);
    for member in members {
        let path = scratch.join("in").join(member);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, program(member)).unwrap();
    }
    let out = scratch.join("out");
    let script = "import sys,os,zipfile\nz=zipfile.ZipFile(sys.argv[1],'w')\nos.chdir(sys.argv[2])\n\
                  [z.write(os.path.join(d,f)) for d,_,fs in os.walk('.') for f in sorted(fs)]";
    let packed = if url.ends_with(".zip") {
        Command::new("python3").args(["-c", script]).arg(&out).arg(scratch.join("in")).status()
    } else {
        Command::new("tar")
            .arg("-czf")
            .arg(&out)
            .arg("-C")
            .arg(scratch.join("in"))
            .arg(".")
            .status()
    };
    assert!(packed.unwrap().success());
    fs::read(out).unwrap()
}

/// Everything that the images for Windows fetch, with checksum files, below a folder for each host.
fn mirror(plans: &[ImagePlan], into: &Path, scratch: &Path) {
    let place = |url: &str| into.join(url.strip_prefix("https://").unwrap());
    for artifact in plans.iter().flat_map(|plan| &plan.layers).flat_map(|layer| &layer.artifacts) {
        let Origin::Url { url, checksum, .. } = &artifact.origin else { continue };
        let path = place(url);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let members = ARCHIVES.iter().find(|(part, _)| url.contains(part)).map(|(_, members)| *members);
        let bytes = match members {
            Some(members) => archive(url, members, scratch),
            None => program(&name),
        };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        if let Some(Checksum::File(list)) = checksum {
            let digest = Digest::of(&bytes).hex();
            // Kubernetes' files have the digest alone.
            let text = if list.contains("dl.k8s.io") { digest } else { format!("{digest}  {name}\n") };
            fs::write(place(list), text).unwrap();
        }
    }
}

/// The programs are stand-ins, and so the archives are not upstream's: they only have its layout.
#[test]
fn lookalike_nodes_of_every_release_are_built_from_archives_laid_out_as_upstreams() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let more = [
        "windows-kube-proxy",
        "windows-flannel-vxlan",
        "windows-sdn-cni",
        "windows-csi-proxy",
        "windows-gmsa",
        "windows-openssh",
        "windows-kubectl",
    ];
    let releases = ["2019", "2022", "2025"];
    mirror(
        &releases.map(|release| shipped(release, &more, &[])),
        &here.join("mirror"),
        &here.join("scratch"),
    );
    fs::write(here.join("firstboot.exe"), program("firstboot")).unwrap();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images").canonicalize().unwrap();
    let mirror = format!("https://={}", here.join("mirror").display());
    for release in releases {
        let image = images.join(format!("windows-{release}.toml"));
        let layers = layers_set(&more);
        let built = kiln(
            here,
            &[
                "build",
                image.to_str().unwrap(),
                "--set",
                &layers,
                "--mirror",
                &mirror,
                "--firstboot",
                "firstboot.exe",
                "--output-dir",
                release,
            ],
        );
        assert!(built.status.success(), "{}", said(&built));
        let zip = here.join(release).join(format!("windows-{release}-windows-layers.zip"));
        let files = unpacked(&zip, &here.join(release).join("unpacked"));
        for path in [
            "Program Files/containerd/containerd.exe",
            "Program Files/containerd/containerd-shim-runhcs-v1.exe",
            "Program Files/containerd/config.toml",
            "Program Files/firstboot/firstboot.exe",
            "Program Files/OpenSSH/sshd.exe",
            "ProgramData/firstboot/kubelet.yaml",
            "Windows/System32/CCGAKVPlugin.dll",
            "csi-proxy/csi-proxy.exe",
            "etc/cni/net.d/10-flannel.conf",
            "flannel/flanneld.exe",
            "k/crictl.exe",
            "k/kube-log-runner.exe",
            "k/kube-proxy.exe",
            "k/kubectl.exe",
            "k/kubelet.exe",
            "opt/cni/bin/flannel-amd64.exe",
            "opt/cni/bin/sdnbridge.exe",
            "opt/cni/bin/win-overlay.exe",
        ] {
            assert!(files.contains_key(&format!("files/{path}")), "{release}: {path}");
        }
        let config = String::from_utf8(files["files/Program Files/containerd/config.toml"].clone()).unwrap();
        let config: toml::Table = config.parse().unwrap_or_else(|error| panic!("{error}: {config}"));
        assert_eq!(config["grpc"]["address"].as_str(), Some(r"\\.\pipe\containerd-containerd"));
        for json in ["etc/cni/net.d/10-flannel.conf", "etc/kube-flannel/net-conf.json"] {
            serde_json::from_slice::<Value>(&files[&format!("files/{json}")]).unwrap();
        }
        let set: Value = serde_json::from_slice(&files["layers.json"]).unwrap();
        let commands = set["registry"].as_array().unwrap().iter();
        let commands = commands.filter(|value| value["name"] == "ImagePath");
        for command in commands.map(|value| value["data"].as_str().unwrap()) {
            // Behind the last program are its arguments.
            let (programs, _) = command.rsplit_once(".exe").unwrap();
            let programs = programs.split(".exe").map(|before| before.rsplit_once(r"C:\"));
            for program in programs.map(|program| program.unwrap().1) {
                let path = format!("files/{}.exe", program.replace('\\', "/"));
                assert!(files.contains_key(&path), "{release}: no program {path} of the service {command}");
            }
        }
    }
}

/// The programs and the base are stand-ins; the layers, their values and the checks are those that users get.
#[test]
fn lookalike_the_shipped_image_is_baked_and_verified() {
    let test = "lookalike_the_shipped_image_is_baked_and_verified";
    let Some(folder) = lookalike::folder(test) else { return };
    let here = folder.path();
    let more = ["windows-kube-proxy", "windows-gmsa", "windows-openssh"];
    let plan = shipped("2022", &more, &[]);
    mirror(std::slice::from_ref(&plan), &here.join("mirror"), &here.join("scratch"));
    fs::write(here.join("firstboot.exe"), program("firstboot")).unwrap();
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/windows-2022.toml");
    let sets = [
        layers_set(&more),
        format!("base.windows=\"{}\"", here.join("install.wim").display()),
        "base.edition=\"ServerStandardCore\"".to_owned(),
        "outputs=[\"wim\", \"windows-layers\"]".to_owned(),
    ];
    let mirror = format!("https://={}", here.join("mirror").display());
    let mut arguments = vec!["build", image.to_str().unwrap(), "--mirror", &mirror];
    arguments.extend(["--firstboot", "firstboot.exe", "--output-dir", "out"]);
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let built = kiln(here, &arguments);
    assert!(built.status.success(), "{}", said(&built));

    let out = here.join("out");
    let config = ["SYSTEM", "SOFTWARE"].map(|hive| format!("/Windows/System32/config/{hive}"));
    let extract = ["extract", "windows-2022.wim", "1", &config[0], &config[1], "--dest-dir=."];
    run("wimlib-imagex", &extract, &out);
    let values = plan
        .layers
        .iter()
        .filter_map(|layer| layer.windows.as_ref())
        .flat_map(WindowsPlan::values);
    let mut seen = 0;
    for value in values {
        let text = match &value.data {
            RegistryData::Sz(text) | RegistryData::ExpandSz(text) => text.clone(),
            RegistryData::Dword(number) => number.to_string(),
            // hivexget writes them in other forms: the bytes are read in builder/tests/windows/hive.rs.
            _ => continue,
        };
        let key = format!("\\{}", value.key.replacen("CurrentControlSet", "ControlSet001", 1));
        let name = if value.name.is_empty() { "@" } else { &value.name };
        let found = run("hivexget", &[value.hive.name(), &key, name], &out);
        assert_eq!(found.trim_end_matches('\n'), text, "{}", value.title());
        seen += 1;
    }
    assert!(seen > 120, "{seen} values");
    let verified = kiln(here, &["verify", "out/windows-2022.wim"]);
    assert!(verified.status.success(), "{}", said(&verified));
    let files = unpacked(&out.join("windows-2022-windows-layers.zip"), &out.join("unpacked"));
    let set: Value = serde_json::from_slice(&files["layers.json"]).unwrap();
    assert_eq!((&set["build"], &set["least_revision"]), (&20_348.into(), &1129.into()));
}

#[test]
fn the_answer_file_is_well_formed_and_for_one_pass() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers/windows-features-unattend/Unattend.xml");
    let script = "import sys,xml.etree.ElementTree as E\nn='{urn:schemas-microsoft-com:unattend}'\n\
                  r=E.parse(sys.argv[1]).getroot()\nprint(r.tag==n+'unattend',[s.get('pass') for s in r.findall(n+'settings')])";
    let said = run("python3", &["-c", script, file.to_str().unwrap()], Path::new("/"));
    assert_eq!(said.trim_end(), "True ['specialize']");
}
