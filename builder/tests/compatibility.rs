//! The shipped compatibility table, `layers/compatibility.toml`: every refusal has its case, and every
//! Kubernetes has versions for every runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kiln::definition::Definition;
use kiln::error::{Error, Result};
use kiln::registry;

const FILE: &str = "compatibility.toml";

/// The parts of each runtime, as layers name them.
const RUNTIMES: [(&str, &str); 4] = [
    ("containerd", "${containerd} ${pause} ${runc}"),
    ("crio", "${cri-o} ${pause}"),
    ("docker", "${docker} ${pause}"),
    // Docker with the adapter in every version of Kubernetes.
    ("adapter", "${docker} ${cri-dockerd} ${pause}"),
];

/// CRI-O with gVisor beside it.
const SANDBOXED: (&str, &str) = ("sandboxed", "${cri-o} ${gvisor} ${pause}");

/// A definition for each runtime with the shipped table.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let layers = bench.0.path().join("layers");
        fs::create_dir_all(bench.0.path().join("images")).unwrap();
        for (name, parts) in RUNTIMES.into_iter().chain([("crictl", "${crictl}"), SANDBOXED]) {
            fs::create_dir_all(layers.join(name)).unwrap();
            let provides = if name == "crictl" { "crictl" } else { "container-runtime" };
            let mut layer = format!(
                "schema = 1\nsummary = 'x'\nprovides = ['{provides}']\n\n\
                 [[file]]\npath = '/parts-{name}'\ncontent = '{parts}'\ninterpolate = true\n"
            );
            if name == "docker" {
                layer += "\n[[file]]\npath = '/adapter'\ncontent = '${cri-dockerd}'\ninterpolate = true\n\
                          when = { kubernetes = '>=1.24' }\n";
            }
            fs::write(layers.join(name).join("layer.toml"), layer).unwrap();
        }
        fs::copy(shipped(), layers.join(FILE)).unwrap();
        let image = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36'\nruntime = 'containerd'\n\
                     layers = ['containerd', 'crictl']\noutputs = ['oci']\n\n\
                     [base]\ndistribution = 'debian'\nsuite = 'trixie'\npackages = ['systemd']\n";
        fs::write(bench.definition(), image).unwrap();
        bench
    }

    fn definition(&self) -> PathBuf {
        self.0.path().join("images/x.toml")
    }

    fn load(&self, kubernetes: &str, runtime: &str, sets: &str) -> Result<Definition> {
        self.load_again(kubernetes, runtime, sets, &BTreeMap::new())
    }

    /// `sets`: words such as `versions.runc=1.4.3`.
    fn load_again(
        &self,
        kubernetes: &str,
        runtime: &str,
        sets: &str,
        kept: &BTreeMap<String, String>,
    ) -> Result<Definition> {
        let own = [
            format!("kubernetes={kubernetes}"),
            format!("runtime={runtime}"),
            format!("layers=[\"{runtime}\", \"crictl\"]"),
        ];
        let sets: Vec<String> = own.into_iter().chain(sets.split_whitespace().map(str::to_owned)).collect();
        registry::load_again(&self.definition(), &sets, None, kept)
    }

    fn replace(&self, from: &str, to: &str) {
        let path = self.0.path().join("layers").join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers").join(FILE)
}

fn table() -> toml::Table {
    fs::read_to_string(shipped()).unwrap().parse().unwrap()
}

fn newest(part: &str) -> Vec<String> {
    let list = table()["newest"][part].as_array().unwrap().clone();
    list.iter().map(|version| version.as_str().unwrap().to_owned()).collect()
}

/// "1.36" of "1.36.5".
fn line(version: &str) -> &str {
    version.rsplit_once('.').unwrap().0
}

/// The row that an error or a warning names.
fn row(text: &str) -> usize {
    let (_, rest) = text.rsplit_once(&format!("{FILE}:")).unwrap_or_else(|| panic!("no row in: {text}"));
    rest.trim_end_matches(')').parse().unwrap_or_else(|_| panic!("no row in: {text}"))
}

fn message(error: &Error) -> &str {
    error.message().lines().next().unwrap_or_default()
}

#[test]
fn every_minor_has_versions_for_every_runtime() {
    let bench = Bench::new();
    let minors = newest("kubernetes");
    assert!(minors.len() >= 18 && minors[0] == "1.20.15");
    for kubernetes in &minors {
        for (runtime, _) in RUNTIMES {
            // Nobody needs the adapter where the kubelet has its own.
            if runtime == "adapter" && ["1.20", "1.21", "1.22"].contains(&line(kubernetes)) {
                continue;
            }
            let plan = bench.load(line(kubernetes), runtime, "").unwrap().plan;
            let variables = &plan.variables;
            assert_eq!(&variables["kubernetes"], kubernetes);
            assert_eq!(line(&variables["crictl"]), line(kubernetes), "{runtime}");
            let parts: BTreeSet<&str> = plan.choices.iter().map(|choice| choice.part.as_str()).collect();
            let mut expected = BTreeSet::from(["kubernetes", "crictl", "pause"]);
            match runtime {
                "containerd" => expected.extend(["containerd", "runc"]),
                "crio" => expected.extend(["cri-o"]),
                "docker" if ["1.20", "1.21", "1.22", "1.23"].contains(&line(kubernetes)) => {
                    expected.extend(["docker"]);
                }
                _ => expected.extend(["docker", "cri-dockerd"]),
            }
            assert_eq!(parts, expected, "{runtime} {kubernetes}");
            assert!(plan.choices.iter().all(|choice| !choice.why.is_empty() && choice.row.is_some()));
        }
    }
}

#[test]
fn upstreams_recommendations_are_chosen() {
    let bench = Bench::new();
    for (kubernetes, runtime, sets, expected) in [
        ("1.20", "containerd", "", "containerd 1.7.34 crictl 1.20.0 kubernetes 1.20.15 pause 3.2 runc 1.3.6"),
        ("1.30", "containerd", "", "containerd 1.7.34 crictl 1.30.1 kubernetes 1.30.14 pause 3.9 runc 1.3.6"),
        (
            "1.36",
            "containerd",
            "",
            "containerd 2.3.6 crictl 1.36.0 kubernetes 1.36.5 pause 3.10.2 runc 1.4.3",
        ),
        (
            "latest",
            "containerd",
            "",
            "containerd 2.3.6 crictl 1.37.0 kubernetes 1.37.1 pause 3.10.2 runc 1.4.3",
        ),
        (
            "1.36",
            "containerd",
            "versions.containerd=2.2",
            "containerd 2.2.7 crictl 1.36.0 kubernetes 1.36.5 pause 3.10.2 runc 1.3.6",
        ),
        (
            "1.36.2",
            "containerd",
            "versions.containerd=latest",
            "containerd 2.4.1 crictl 1.36.0 pause 3.10.2 runc 1.4.3",
        ),
        (
            "1.20.2",
            "containerd",
            "versions.containerd=latest",
            "containerd 1.7.34 crictl 1.20.0 pause 3.2 runc 1.3.6",
        ),
        ("1.38.0", "containerd", "versions.crictl=1.37.0", "containerd 2.3.6 pause 3.10.2 runc 1.4.3"),
        ("1.34", "crio", "", "cri-o 1.34.11 crictl 1.34.0 kubernetes 1.34.12 pause 3.10.1"),
        ("1.20.2", "docker", "", "crictl 1.20.0 docker 20.10.24 pause 3.2"),
        (
            "1.36",
            "docker",
            "",
            "cri-dockerd 0.4.4 crictl 1.36.0 docker 29.8.2 kubernetes 1.36.5 pause 3.10.2",
        ),
        ("1.28.1", "docker", "versions.docker=24.0.7", "cri-dockerd 0.3.15 crictl 1.28.0 pause 3.9"),
    ] {
        let plan = bench.load(kubernetes, runtime, sets).unwrap().plan;
        let mut choices: Vec<String> =
            plan.choices.iter().map(|choice| format!("{} {}", choice.part, choice.version)).collect();
        choices.sort();
        assert_eq!(choices.join(" "), expected, "{kubernetes} {runtime} {sets}");
    }
}

/// Kubernetes, runtime, versions; what is refused, and what works instead.
const REFUSED: &[(&str, &str, &str, &str, &str)] = &[
    (
        "1.20.2",
        "containerd",
        "containerd=2.1.9",
        "kubernetes 1.20.2 cannot work with containerd 2.1.9: the kubelet speaks CRI v1alpha2",
        "containerd 1.7.34 works",
    ),
    (
        "1.36.5",
        "containerd",
        "containerd=1.5.18 crictl=1.25.0",
        "kubernetes 1.36.5 cannot work with containerd 1.5.18: the kubelet speaks CRI v1 alone",
        "containerd 1.6.39 works",
    ),
    (
        "1.38.0",
        "containerd",
        "containerd=1.7.34 crictl=1.37.0",
        "kubernetes 1.38.0 cannot work with containerd 1.7.34: the kubelet asks",
        "containerd 2.0.11 works",
    ),
    (
        "1.34.9",
        "crio",
        "cri-o=1.36.3",
        "kubernetes 1.34.9 cannot work with cri-o 1.36.3: a CRI-O release",
        "cri-o 1.34.11 works",
    ),
    (
        "1.36.5",
        "sandboxed",
        "gvisor=20260928.0 cri-o=1.36.3",
        "gvisor 20260928.0 cannot work with cri-o 1.36.3: CRI-O runs gVisor",
        "choose other versions",
    ),
    (
        "1.26.15",
        "docker",
        "cri-dockerd=0.2.6",
        "kubernetes 1.26.15 cannot work with cri-dockerd 0.2.6",
        "cri-dockerd 0.3.7 works",
    ),
    (
        "1.22.17",
        "adapter",
        "cri-dockerd=0.3.26",
        "kubernetes 1.22.17 cannot work with cri-dockerd 0.3.26",
        "cri-dockerd 0.3.21 works",
    ),
    (
        "1.22.17",
        "adapter",
        "cri-dockerd=0.4.4",
        "kubernetes 1.22.17 cannot work with cri-dockerd 0.4.4",
        "cri-dockerd 0.3.21 works",
    ),
    (
        "1.38.0",
        "docker",
        "cri-dockerd=0.3.15 crictl=1.37.0",
        "kubernetes 1.38.0 cannot work with cri-dockerd 0.3.15",
        "cri-dockerd 0.3.21 works",
    ),
    (
        "1.36.5",
        "containerd",
        "containerd=2.3.6 crictl=1.23.0",
        "containerd 2.3.6 cannot work with crictl 1.23.0",
        "crictl 1.24.0 works",
    ),
    (
        "1.25.16",
        "containerd",
        "containerd=1.5.18 crictl=1.26.1",
        "containerd 1.5.18 cannot work with crictl 1.26.1",
        "crictl 1.25.0 works",
    ),
    (
        "1.23.17",
        "docker",
        "crictl=1.26.1",
        "kubernetes 1.23.17 and runtime docker cannot work with crictl 1.26.1",
        "crictl 1.25.0 works",
    ),
    (
        "1.24.17",
        "docker",
        "cri-dockerd=0.2.6 docker=19.03.15",
        "cri-dockerd 0.2.6 cannot work with docker 19.03.15",
        "docker 20.10.24 works",
    ),
    (
        "1.28.15",
        "docker",
        "cri-dockerd=0.3.7 docker=20.10.24",
        "cri-dockerd 0.3.7 cannot work with docker 20.10.24",
        "docker 23.0.6 works",
    ),
    (
        "1.28.15",
        "docker",
        "cri-dockerd=0.3.15 docker=23.0.6",
        "cri-dockerd 0.3.15 cannot work with docker 23.0.6",
        "docker 24.0.9 works",
    ),
    (
        "1.28.15",
        "docker",
        "cri-dockerd=0.3.12 docker=24.0.9",
        "cri-dockerd 0.3.12 cannot work with docker 24.0.9",
        "docker 25.0.5 works",
    ),
    (
        "1.36.5",
        "docker",
        "cri-dockerd=0.4.4 docker=24.0.9",
        "cri-dockerd 0.4.4 cannot work with docker 24.0.9",
        "docker 25.0.5 works",
    ),
    (
        "1.33.13",
        "docker",
        "cri-dockerd=0.4.0 docker=26.1.4",
        "cri-dockerd 0.4.0 cannot work with docker 26.1.4",
        "docker 27.5.1 works",
    ),
    (
        "1.28.15",
        "docker",
        "cri-dockerd=0.3.7 docker=25.0.5",
        "docker 25.0.5 cannot work with cri-dockerd 0.3.7",
        "cri-dockerd 0.3.15 works",
    ),
    (
        "1.28.15",
        "docker",
        "cri-dockerd=0.3.11 docker=29.1.0",
        "docker 29.1.0 cannot work with cri-dockerd 0.3.11",
        "cri-dockerd 0.3.21 works",
    ),
    (
        "1.28.15",
        "docker",
        "cri-dockerd=0.3.15 docker=29.1.0",
        "docker 29.1.0 cannot work with cri-dockerd 0.3.15",
        "cri-dockerd 0.3.21 works",
    ),
    (
        "1.23.17",
        "docker",
        "docker=29.1.0",
        "kubernetes 1.23.17 cannot work with docker 29.1.0",
        "docker 28.5.2 works",
    ),
    (
        "1.34.12",
        "containerd",
        "containerd=2.1.9 base.suite=focal",
        "suite focal cannot work with containerd 2.1.9",
        "containerd 2.0.11 works",
    ),
];

#[test]
fn what_cannot_work_is_refused_with_the_nearest_that_can() {
    let bench = Bench::new();
    let mut rows = BTreeSet::new();
    for (kubernetes, runtime, versions, refused, help) in REFUSED {
        let sets: Vec<String> = versions
            .split(' ')
            .map(|set| if set.contains("base.") { set.to_owned() } else { format!("versions.{set}") })
            .collect();
        let error = bench.load(kubernetes, runtime, &sets.join(" ")).unwrap_err();
        assert!(message(&error).contains(refused), "{versions}: {error}");
        assert_eq!(error.hint(), Some(*help), "{versions}: {error}");
        assert!(message(&error).starts_with("--set "), "the user's own words are shown: {error}");
        rows.insert(row(message(&error)));
    }
    let text = fs::read_to_string(shipped()).unwrap();
    let refusing: BTreeSet<usize> =
        rules(&text).filter(|(_, rule)| refuses(rule)).map(|(line, _)| line).collect();
    assert_eq!(rows, refusing, "the rows that have a case, and those that refuse");
}

/// The rules of the table with the lines where they begin.
fn rules(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split("[[rule]]")
        .scan(1, |line, block| {
            let begins = *line;
            *line += block.matches('\n').count();
            Some((begins, block))
        })
        .skip(1)
}

/// Whether it refuses images for Linux; tests/windows/layers.rs has the others.
fn refuses(rule: &str) -> bool {
    !rule.contains("windows = ")
        && rule.lines().any(|line| line.starts_with("needs") || line.starts_with("excludes"))
}

#[test]
fn what_nears_its_end_is_a_warning() {
    let bench = Bench::new();
    let warnings = |kubernetes: &str, runtime: &str, sets: &str| {
        let mut warnings = bench.load(kubernetes, runtime, sets).unwrap().warnings;
        warnings.iter_mut().for_each(|warning| {
            row(warning);
            warning.truncate(warning.rfind(" (").unwrap_or_default());
        });
        warnings
    };
    assert!(warnings("1.36", "containerd", "").is_empty());
    assert_eq!(
        warnings("1.34", "containerd", "versions.containerd=1.7.34"),
        [
            "kubernetes 1.34.12: upstream's support of 1.34 ends on 2026-10-27",
            "containerd 1.7.34: upstream's support of 1.7 ends on 2026-09-10",
            "containerd 1.7.34 and kubernetes 1.34.12: the kubelet complains of containerd before 2.0 \
             (cri_losing_support), and Kubernetes 1.38 will not start with it",
        ]
    );
    let adapter = warnings("1.36", "docker", "versions.cri-dockerd=0.3.15");
    assert!(adapter.len() == 1 && adapter[0].contains("cri-dockerd before 0.3.17"), "{adapter:?}");
}

#[test]
fn a_lock_keeps_what_was_chosen_as_long_as_the_minor_version_stays() {
    let bench = Bench::new();
    let kept = bench.load("1.36", "containerd", "").unwrap().plan.versions_to_keep();
    assert_eq!((kept["kubernetes"].as_str(), kept["containerd"].as_str()), ("1.36.5", "2.3.6"));
    bench.replace("1.36.5", "1.36.9");
    bench.replace("2.3.6", "2.3.8");
    let versions = |kubernetes: &str, sets: &str| {
        let plan = bench.load_again(kubernetes, "containerd", sets, &kept).unwrap().plan;
        [plan.variables["kubernetes"].clone(), plan.variables["containerd"].clone()].join(" ")
    };
    assert_eq!(versions("1.36", ""), "1.36.5 2.3.6");
    assert_eq!(versions("latest", ""), "1.36.5 2.3.6");
    assert_eq!(versions("1.36.2", ""), "1.36.2 2.3.6");
    assert_eq!(versions("1.36", "versions.containerd=2.2"), "1.36.5 2.2.7");
    assert_eq!(versions("1.37", ""), "1.37.1 2.3.8");
    let anew = bench.load("1.36", "containerd", "").unwrap().plan.variables;
    assert_eq!((anew["kubernetes"].as_str(), anew["containerd"].as_str()), ("1.36.9", "2.3.8"));
}

#[test]
fn what_the_table_cannot_give_is_an_error_that_says_what_to_set() {
    let bench = Bench::new();
    let error = bench.load("1.38.0", "crio", "").unwrap_err();
    assert!(
        message(&error).contains("compatibility.toml has no cri-o that works with Kubernetes 1.38.0"),
        "{error}"
    );
    assert_eq!(error.hint(), Some("set versions.cri-o, or change what it must work with"));
    let error = bench.load("1.50", "containerd", "").unwrap_err();
    assert!(message(&error).contains("\"1.50\" is not a Kubernetes version"), "{error}");
    assert!(error.hint().unwrap().ends_with("1.36, 1.37"), "{error}");
}

/// A list of versions for several images names parts that one of them lacks.
#[test]
fn a_version_of_a_known_part_that_nothing_uses_is_a_warning_and_a_typo_an_error() {
    let bench = Bench::new();
    let loaded = bench.load("1.36", "containerd", "versions.docker=28.5.2").unwrap();
    assert_eq!(loaded.warnings, ["versions.docker changes nothing: no layer of this image uses it"]);
    let error = bench.load("1.36", "containerd", "versions.dokcer=28.5.2").unwrap_err();
    assert!(message(&error).contains("nothing in this image uses ${dokcer}"), "{error}");
    assert_eq!(error.hint(), Some("did you mean \"docker\"?"));
}

/// The same of the layers as they are shipped: one word chooses the runtime.
#[test]
fn the_default_image_has_versions_for_every_minor_and_runtime() {
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debian-13.toml");
    for kubernetes in newest("kubernetes") {
        for (runtime, part) in [("containerd", "containerd"), ("crio", "cri-o"), ("docker", "docker")] {
            let sets = [format!("kubernetes={}", line(&kubernetes)), format!("runtime={runtime}")];
            let plan = registry::load(&definition, &sets, None).unwrap().plan;
            assert_eq!(plan.variables["kubernetes"], kubernetes);
            let chosen = |part: &str| plan.choices.iter().any(|choice| choice.part == part);
            assert!(chosen(part) && chosen("runc"), "{runtime} {kubernetes}");
            let own = ["1.20", "1.21", "1.22", "1.23"].contains(&line(&kubernetes));
            assert_eq!(chosen("cri-dockerd"), runtime == "docker" && !own, "{kubernetes}");
        }
    }
}

/// A kubelet does not start with a flag that its version does not know.
#[test]
fn the_kubelet_gets_only_flags_that_its_version_takes() {
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debian-13.toml");
    for kubernetes in newest("kubernetes") {
        let minor: u32 = line(&kubernetes).strip_prefix("1.").unwrap().parse().unwrap();
        let plan = registry::load(&definition, &[format!("kubernetes={kubernetes}")], None).unwrap().plan;
        let kubelet = plan.layers.iter().find(|layer| layer.name == "kubelet").unwrap();
        let text: String = kubelet
            .files
            .iter()
            .map(|file| String::from_utf8(file.content.clone()).unwrap())
            .collect();
        let flags: BTreeSet<&str> = text
            .split(|end: char| end.is_whitespace() || "=\"".contains(end))
            .filter(|word| word.starts_with("--"))
            .collect();
        let mut expected = BTreeSet::from(["--bootstrap-kubeconfig", "--kubeconfig", "--config"]);
        let folder = minor >= 28;
        if folder {
            expected.insert("--config-dir");
        }
        assert_eq!(flags, expected, "{kubernetes}");
        let has_folder = kubelet.directories.iter().any(|made| made.path == "etc/kubernetes/kubelet.conf.d");
        assert_eq!(has_folder, folder, "{kubernetes}");
        let alpha = text.contains("KUBELET_CONFIG_DROPIN_DIR_ALPHA=true");
        assert_eq!(alpha, (28..31).contains(&minor), "{kubernetes}");
    }
}

/// A definition whose one artifact has an open version, upstream in a folder beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let upstream = place.0.path().join("upstream").display().to_string();
        place.put(
            "images/x.toml",
            "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36'\nruntime = 'tool'\nlayers = ['tool']\n\
             outputs = ['oci']\n[base]\nrootfs = 'root.tar'\n",
        );
        place.put("images/root.tar", "not read when it is locked");
        place.put(
            "layers/tool/layer.toml",
            &format!(
                "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n[[artifact]]\nname = 'tool'\n\
                 version = '${{tool}}'\nurl = 'file://{upstream}/tool-${{tool}}'\nchecksum = '${{url}}.sha256'\n\
                 path = '/usr/bin/tool'\n"
            ),
        );
        place
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The newest release of the tool, in the table and upstream.
    fn release(&self, version: &str) {
        let table = format!("schema = 1\n[newest]\nkubernetes = ['1.36.5']\ntool = ['{version}']\n");
        self.put("layers/compatibility.toml", &table);
        self.put(&format!("upstream/tool-{version}"), version);
        let digest = kiln::digest::Digest::of(version.as_bytes()).hex();
        self.put(&format!("upstream/tool-{version}.sha256"), &digest);
    }

    fn kiln(&self, words: &str) -> (Option<i32>, String) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"))
            .args(words.split(' '))
            .current_dir(self.0.path())
            .env("KILN_CACHE", self.0.path().join("cache"))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    fn succeed(&self, words: &str) -> String {
        let (code, said) = self.kiln(words);
        assert_eq!(code, Some(0), "{words}: {said}");
        said
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.0.path().join("images/x.lock")).unwrap()
    }

    /// What the lock says of the versions that are open.
    fn versions(&self) -> String {
        self.lock().parse::<toml::Table>().unwrap()["versions"].to_string()
    }
}

#[test]
fn the_lock_command_keeps_what_was_chosen_until_it_is_told_to_upgrade() {
    let place = Place::new();
    place.release("1.0.0");
    place.succeed("lock images/x.toml");
    assert_eq!(place.versions(), "{ kubernetes = \"1.36.5\", tool = \"1.0.0\" }");
    place.release("1.0.1");
    place.succeed("lock images/x.toml");
    assert_eq!(place.versions(), "{ kubernetes = \"1.36.5\", tool = \"1.0.0\" }");
    place.succeed("lock images/x.toml --check");
    assert!(place.succeed("plan images/x.toml").contains("1.0.0: the lock has it"));
    let said = place.succeed("lock images/x.toml --upgrade");
    assert!(said.contains("~ version of tool 1.0.0 -> 1.0.1"), "{said}");
    assert_eq!(place.versions(), "{ kubernetes = \"1.36.5\", tool = \"1.0.1\" }");
    let plan: serde_json::Value = serde_json::from_str(&place.succeed("plan images/x.toml --json")).unwrap();
    assert_eq!(plan["plan"]["choices"][1]["version"], "1.0.1");

    // A lock of an earlier Kiln, which had no such table.
    let without = place.lock().replace("[versions]\nkubernetes = \"1.36.5\"\ntool = \"1.0.1\"\n", "");
    place.put("images/x.lock", &without);
    let (code, said) = place.kiln("lock images/x.toml --check");
    assert!(code == Some(4) && said.contains("the version of tool, 1.0.1, is not in the lock"), "{said}");
}
