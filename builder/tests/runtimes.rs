//! What an image has of each container runtime, for every Kubernetes: golden files in `tests/runtimes/`, one
//! from the first minor version on that has this tree.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use contract::runtime::RUNTIMES;
use kiln::definition::plan::{ImagePlan, LayerPlan, Origin, Place};
use kiln::error::Result;
use kiln::registry;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A runtime with versions of its parts, and the minor versions of Kubernetes that it is tried with.
struct Case {
    runtime: &'static str,
    golden: &'static str,
    minors: std::ops::RangeInclusive<u16>,
    versions: &'static [(&'static str, &'static str)],
}

const fn case(
    runtime: &'static str,
    golden: &'static str,
    minors: std::ops::RangeInclusive<u16>,
    versions: &'static [(&'static str, &'static str)],
) -> Case {
    Case { runtime, golden, minors, versions }
}

const CASES: [Case; 5] = [
    case("containerd", "containerd-1", 20..=37, &[("containerd", "1.7.34")]),
    case("containerd", "containerd-2", 24..=37, &[("containerd", "2.3.6")]),
    case("crio", "crio", 20..=37, &[("cri-o", "1.MINOR.5")]),
    case("docker", "docker", 20..=23, &[("docker", "20.10.24")]),
    case("docker", "docker", 24..=37, &[("docker", "28.5.2"), ("cri-dockerd", "0.4.3")]),
];

const RUNC: &str = "\"runc\"";

/// The plan of an image that has these OCI runtimes and this container runtime.
fn plan(oci: &str, runtime: &str, minor: u16, versions: &[(&str, String)]) -> Result<ImagePlan> {
    let folder = tempfile::tempdir().unwrap();
    let mut definition = format!(
        "schema = 1\nname = \"x\"\narch = \"amd64\"\nkubernetes = \"1.{minor}.2\"\nruntime = \"{runtime}\"\n\
         layers = [\"boot\", \"node\", {oci}, \"${{runtime}}\", \"cni-plugins\", \"crictl\", \"kubelet\", \
         \"firstboot\"]\noutputs = [\"raw\"]\n[base]\ndistribution = \"debian\"\nsuite = \"trixie\"\n\
         [versions]\ncni-plugins = \"1.9.1\"\ncrictl = \"1.{minor}.0\"\npause = \"3.10.2\"\n"
    );
    versions
        .iter()
        .for_each(|(name, version)| writeln!(definition, "{name} = \"{version}\"").unwrap());
    let path = folder.path().join("x.toml");
    fs::write(&path, definition).unwrap();
    let layers = Path::new(HERE).join("../layers");
    registry::load(&path, &[], Some(&layers)).map(|loaded| loaded.plan)
}

/// The variables of versions that golden files have instead of them.
const PARTS: [&str; 10] = [
    "containerd",
    "cri-o",
    "cri-dockerd",
    "crictl",
    "docker",
    "gvisor",
    "kata",
    "nvidia-container-toolkit",
    "pause",
    "runc",
];

/// The layers that the runtime decides about, in full, and what others say about it. Versions are variables
/// again.
fn shown(plan: &ImagePlan) -> String {
    let mut text = String::new();
    for layer in &plan.layers {
        match layer.name.as_str() {
            "kubelet" | "firstboot" => ordering(layer, &mut text),
            "boot" | "node" | "cni-plugins" => {}
            _ => whole(layer, &mut text),
        }
    }
    without_versions(plan, text)
}

fn without_versions(plan: &ImagePlan, text: String) -> String {
    let versions = plan.variables.iter().filter(|(name, _)| PARTS.contains(&name.as_str()));
    versions.fold(text, |text, (name, value)| text.replace(value, &format!("${{{name}}}")))
}

fn whole(layer: &LayerPlan, text: &mut String) {
    writeln!(text, "layer {}", layer.name).unwrap();
    for artifact in &layer.artifacts {
        let Origin::Url { url, checksum, .. } = &artifact.origin else { continue };
        let (place, mode) = match &artifact.place {
            Place::File { path, mode } => (path.clone(), *mode),
            Place::Archive(rules) => {
                (format!("{}/ {}", rules.into, rules.pick.join(" ")), rules.mode.unwrap_or_default())
            }
        };
        let vouched = if checksum.is_some() { "checksum" } else { "no checksum" };
        writeln!(text, "fetch {url} ({vouched})\n   to {place} {mode:04o}").unwrap();
    }
    for file in &layer.files {
        writeln!(text, "file {} {:04o}", file.path, file.mode).unwrap();
        let content = String::from_utf8_lossy(&file.content);
        content
            .lines()
            .for_each(|line| writeln!(text, "{}", format!("   | {line}").trim_end()).unwrap());
    }
    layer
        .directories
        .iter()
        .for_each(|folder| writeln!(text, "folder {}", folder.path).unwrap());
    layer
        .links
        .iter()
        .for_each(|link| writeln!(text, "link {} -> {}", link.path, link.target).unwrap());
    if !layer.enable.is_empty() {
        writeln!(text, "enable {}", layer.enable.join(" ")).unwrap();
    }
}

fn ordering(layer: &LayerPlan, text: &mut String) {
    for file in layer.files.iter().filter(|file| file.path.ends_with(".service")) {
        let content = String::from_utf8_lossy(&file.content).into_owned();
        content
            .lines()
            .filter(|line| line.starts_with("After="))
            .for_each(|line| writeln!(text, "{}: {line}", file.path).unwrap());
    }
}

#[test]
fn every_runtime_has_the_tree_of_its_golden_file_with_every_kubernetes() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for Case { runtime, golden: name, minors, versions } in &CASES {
        for minor in minors.clone() {
            let versions = versions
                .iter()
                .map(|(part, version)| (*part, version.replace("MINOR", &minor.to_string())));
            let versions: Vec<_> = versions.chain([("runc", "1.4.3".to_owned())]).collect();
            let text = shown(&plan(RUNC, runtime, minor, &versions).unwrap());
            let golden = |minor: u16| format!("{HERE}/tests/runtimes/{name}-from-1.{minor}.txt");
            let path = (*minors.start()..=minor).rev().map(golden).find(|path| Path::new(path).is_file());
            let expected = path.as_ref().map(|path| fs::read_to_string(path).unwrap()).unwrap_or_default();
            if text != expected {
                let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-from-1.{minor}.txt"));
                fs::write(&found, &text).unwrap();
                wrong.push(format!("{runtime} with 1.{minor}: {} is not {path:?}", found.display()));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, 18 + 14 + 18 + 18);
}

#[test]
fn every_runtime_of_the_table_is_a_layer_and_no_other_layer_claims_its_name() {
    for runtime in &RUNTIMES {
        let text = fs::read_to_string(format!("{HERE}/../layers/{}/layer.toml", runtime.name)).unwrap();
        assert!(text.contains("provides = [\"container-runtime\""), "{}", runtime.name);
        assert!(text.contains("conflicts = [\"container-runtime\"]"), "{}", runtime.name);
    }
}

#[test]
fn crun_takes_the_place_of_runc_for_every_runtime() {
    for (runtime, part, version) in
        [("containerd", "containerd", "2.3.6"), ("crio", "cri-o", "1.36.3"), ("docker", "docker", "28.5.2")]
    {
        let mut versions = vec![(part, version.to_owned()), ("crun", "1.29.1".to_owned())];
        versions.extend((runtime == "docker").then(|| ("cri-dockerd", "0.4.3".to_owned())));
        let plan = plan("\"crun\"", runtime, 36, &versions).unwrap();
        let crun = plan.layers.iter().find(|layer| layer.name == "crun").unwrap();
        assert_eq!(crun.links[0].path, "usr/local/sbin/runc", "{runtime}");
        let dropped: Vec<&str> = crun.files.iter().map(|file| file.path.as_str()).collect();
        let expected: &[&str] =
            if runtime == "crio" { &["etc/crio/crio.conf.d/20-oci-runtime.conf"] } else { &[] };
        assert_eq!(dropped, expected, "{runtime}");
    }
}

#[test]
fn two_oci_runtimes_exclude_each_other() {
    let versions = [("containerd", "2.3.6"), ("crun", "1.29.1"), ("runc", "1.4.3")];
    let versions = versions.map(|(part, version)| (part, version.to_owned()));
    let error = plan("\"runc\", \"crun\"", "containerd", 36, &versions).unwrap_err();
    assert!(error.message().contains("exclude each other"), "{error}");
}

/// What an image of these layers, over those of every node, has by the word `kubernetes` in `preload`: names,
/// and where those are that have another name there.
fn needed(runtime: &str, layers: &str, kubernetes: &str) -> Result<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    let definition = format!(
        "schema = 1\nname = \"x\"\narch = \"amd64\"\nkubernetes = \"{kubernetes}\"\nruntime = \"{runtime}\"\n\
         preload = [\"kubernetes\"]\nlayers = [\"boot\", \"node\", {RUNC}, \"${{runtime}}\", {layers}\"cni-plugins\", \
         \"crictl\", \"kubelet\", \"firstboot\"]\noutputs = [\"raw\"]\n[base]\ndistribution = \"debian\"\nsuite = \"trixie\"\n"
    );
    fs::write(&path, definition).unwrap();
    let plan = registry::load(&path, &[], Some(&Path::new(HERE).join("../layers")))?.plan;
    let shown = plan.preload.iter().map(|image| {
        let there = image.from.written.trim_start_matches("docker://");
        if there == image.reference { there.to_owned() } else { format!("{} = {there}", image.reference) }
    });
    Ok(shown.collect::<Vec<_>>().join("\n"))
}

#[test]
fn one_word_has_the_images_that_kubernetes_needs() {
    let worker = |runtime: &str, layers: &str, kubernetes: &str| needed(runtime, layers, kubernetes).unwrap();
    let importer = "\"crio-preload\", ";
    for (runtime, layers, kubernetes, images) in [
        ("containerd", "", "1.36.2", "registry.k8s.io/pause:3.10.2"),
        ("crio", importer, "1.34.2", "registry.k8s.io/pause:3.10.1"),
        ("docker", "", "1.24.0", "registry.k8s.io/pause:3.7"),
        (
            "docker",
            "",
            "1.20.2",
            "registry.k8s.io/pause:3.2\nk8s.gcr.io/pause:3.2 = registry.k8s.io/pause:3.2",
        ),
    ] {
        assert_eq!(worker(runtime, layers, kubernetes), images, "{runtime} {kubernetes}");
    }
    let control_plane = |kubernetes: &str| worker("containerd", "\"kubeadm\", ", kubernetes);
    let names = |registry: &str, kubernetes: &str, more: &[&str]| -> Vec<String> {
        let programs = ["apiserver", "controller-manager", "scheduler", "proxy"];
        let programs = programs.map(|name| format!("kube-{name}:v{kubernetes}"));
        programs
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .map(|name| format!("{registry}/{name}"))
            .collect()
    };
    let newest = names("registry.k8s.io", "1.36.5", &["etcd:3.6.8-0", "coredns/coredns:v1.14.2"]).join("\n");
    assert_eq!(control_plane("1.36.5"), format!("registry.k8s.io/pause:3.10.2\n{newest}"));
    let there = names("registry.k8s.io", "1.20.2", &["pause:3.2", "etcd:3.4.13-0", "coredns:1.7.0"]);
    let here = names("k8s.gcr.io", "1.20.2", &["pause:3.2", "etcd:3.4.13-0", "coredns:1.7.0"]);
    let oldest: Vec<String> =
        here.iter().zip(&there).map(|(here, there)| format!("{here} = {there}")).collect();
    assert_eq!(control_plane("1.20.2"), format!("registry.k8s.io/pause:3.2\n{}", oldest.join("\n")));
    // A patch release may have another etcd, and another registry.
    for (kubernetes, etcd) in [
        ("1.22.16", "k8s.gcr.io/etcd:3.5.0-0 = registry.k8s.io/etcd:3.5.0-0"),
        ("1.22.17", "registry.k8s.io/etcd:3.5.6-0"),
        ("1.34.1", "registry.k8s.io/etcd:3.6.4-0"),
        ("1.34.2", "registry.k8s.io/etcd:3.6.5-0"),
    ] {
        assert!(control_plane(kubernetes).lines().any(|line| line == etcd), "{kubernetes}");
    }
}

#[test]
fn every_runtime_has_an_importer_of_images_or_a_layer_beside_it_that_is_one() {
    for runtime in &RUNTIMES {
        let alone = needed(runtime.name, "", "1.36.2");
        let beside = needed(runtime.name, &format!("\"{}-preload\", ", runtime.name), "1.36.2");
        assert!(alone.is_ok() != beside.is_ok(), "{}", runtime.name);
        for error in [alone, beside].into_iter().filter_map(Result::err) {
            let (message, help) = (error.message(), error.hint().unwrap_or_default());
            assert!(
                message.contains("there is no layer")
                    || (message.contains("imports container images")
                        && help.contains("these do: containerd, crio-preload, docker")),
                "{error}"
            );
        }
    }
}

/// A layer that adds a handler for a RuntimeClass, beside a runtime with this version of it.
const HANDLERS: [(&str, &str, u16, (&str, &str)); 9] = [
    ("gvisor", "containerd", 20, ("containerd", "1.7.34")),
    ("gvisor", "containerd", 36, ("containerd", "2.3.6")),
    ("gvisor", "crio", 37, ("cri-o", "1.37.2")),
    ("kata", "containerd", 30, ("containerd", "1.7.34")),
    ("kata", "containerd", 36, ("containerd", "2.3.6")),
    ("kata", "crio", 36, ("cri-o", "1.36.3")),
    ("nvidia-container-toolkit", "containerd", 30, ("containerd", "1.7.34")),
    ("nvidia-container-toolkit", "containerd", 36, ("containerd", "2.3.6")),
    ("nvidia-container-toolkit", "crio", 36, ("cri-o", "1.36.3")),
];

fn plan_with(layers: &[&str], runtime: &str, minor: u16, (part, version): (&str, &str)) -> Result<ImagePlan> {
    let names: Vec<String> = ["runc"].iter().chain(layers).map(|name| format!("\"{name}\"")).collect();
    let versions = [(part, version.to_owned()), ("runc", "1.4.3".to_owned())];
    plan(&names.join(", "), runtime, minor, &versions)
}

#[test]
fn layers_with_handlers_have_the_tree_of_their_golden_file() {
    let mut wrong = Vec::new();
    for (name, runtime, minor, version) in HANDLERS {
        let plan = plan_with(&[name], runtime, minor, version).unwrap();
        let mut text = String::new();
        whole(plan.layers.iter().find(|layer| layer.name == name).unwrap(), &mut text);
        let text = without_versions(&plan, text);
        let line = version.1.split('.').next().unwrap();
        let file = format!("{name}-beside-{runtime}-{line}.txt");
        if text != fs::read_to_string(format!("{HERE}/tests/runtimes/{file}")).unwrap_or_default() {
            let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&file);
            fs::write(&found, &text).unwrap();
            wrong.push(format!("{} is not that of tests/runtimes", found.display()));
        }
        let others: Vec<_> = plan.variables.keys().filter(|part| PARTS.contains(&part.as_str())).collect();
        let runtimes = ["containerd", "cri-o", "docker"];
        let chosen: Vec<_> = others.iter().filter(|part| runtimes.contains(&part.as_str())).collect();
        assert_eq!(
            chosen,
            [&version.0],
            "{name}: the image has one runtime, and its version alone is chosen"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// containerd 1.x takes a whole section from the last file that has it.
#[test]
fn a_drop_in_for_containerd_1_repeats_what_the_main_file_says() {
    let parsed = |name: &str| -> toml::Table {
        let text = fs::read_to_string(format!("{HERE}/../layers/{name}.toml")).unwrap();
        text.parse().unwrap()
    };
    let main = parsed("containerd/config-v2");
    for name in ["gvisor", "kata", "nvidia-container-toolkit"] {
        let drop_in = parsed(&format!("{name}/containerd-v2"));
        assert_eq!(drop_in["version"], main["version"]);
        let missing = lacks(&drop_in["plugins"], &main["plugins"]);
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
    }
}

/// The paths of the values that `all` has and `some` has not.
fn lacks(some: &toml::Value, all: &toml::Value) -> Vec<String> {
    let Some(all) = all.as_table() else {
        return if some == all { Vec::new() } else { vec![all.to_string()] };
    };
    let of = |key: &str| some.get(key).cloned().unwrap_or(toml::Value::Boolean(false));
    let below = all.iter().map(|(key, value)| (key, lacks(&of(key), value)));
    below
        .flat_map(|(key, paths)| paths.into_iter().map(move |path| format!("{key}.{path}")))
        .collect()
}

#[test]
fn layers_with_handlers_refuse_what_cannot_run_them() {
    let refused = |layers: &[&str], runtime: &str, minor: u16, version: (&str, &str)| {
        let error = plan_with(layers, runtime, minor, version).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error.message().to_owned()
    };
    for name in ["gvisor", "kata", "nvidia-container-toolkit"] {
        let said = refused(&[name], "docker", 36, ("docker", "29.8.2"));
        assert!(said.contains(name) && said.contains("docker"), "{said}");
    }
    let said = refused(&["gvisor"], "crio", 36, ("cri-o", "1.36.3"));
    assert!(said.contains("CRI-O runs gVisor by its shim"), "{said}");
    let both = ["gvisor", "kata"];
    assert!(plan_with(&both, "containerd", 36, ("containerd", "2.3.6")).is_ok());
}
