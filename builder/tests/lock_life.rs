//! The life of a lock: what differs, what is newer, what is known to be vulnerable.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kiln::digest::Digest;
use kiln::process::{Run, tool};
use testkit::archive::{Key, Suite, TOOLS};

const DEFINITION: &str = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'runtime'\n\
    layers = ['./runtime']\noutputs = ['oci']\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n";

const LAYER: &str = "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n\
    [[artifact]]\nname = 'runc'\nversion = '1.4.2'\nurl = 'https://github.com/opencontainers/runc/releases/download/v1.4.2/runc.amd64'\n\
    sha256 = 'DIGEST'\npath = '/usr/bin/runc'\n\
    [[artifact]]\nname = 'kubelet'\nversion = '1.36.4'\nurl = 'https://dl.k8s.io/kubelet'\nmodule = 'k8s.io/kubernetes'\n\
    sha256 = 'DIGEST'\npath = '/usr/bin/kubelet'\n\
    [[artifact]]\nname = 'tool'\nversion = 'nightly'\nurl = 'https://a.example/tool'\nsha256 = 'DIGEST'\npath = '/usr/bin/tool'\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let digest = Digest::of(b"x").to_string();
        place.put("x.toml", DEFINITION);
        place.put("runtime/layer.toml", &LAYER.replace("DIGEST", &digest));
        let artifact = |name: &str, version: &str, url: &str| {
            format!(
                "[[artifact]]\nlayer = 'runtime'\nname = '{name}'\nversion = '{version}'\nurl = '{url}'\nsha256 = '{digest}'\n"
            )
        };
        let package = |name: &str, version: &str, source: &str| {
            format!(
                "[[package]]\nname = '{name}'\nversion = '{version}'\narchitecture = 'amd64'\n{source}archive = 'debian'\n\
                 path = 'pool/{name}'\nsize = 1\nsha256 = '{digest}'\ninstall = true\n"
            )
        };
        let lock = [
            "schema = 1\nimage = 'x'\narch = 'amd64'\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\ninstall = []\nextract = []\n",
            &artifact("kubelet", "1.36.4", "https://dl.k8s.io/kubelet"),
            &artifact(
                "runc",
                "1.4.2",
                "https://github.com/opencontainers/runc/releases/download/v1.4.2/runc.amd64",
            ),
            &artifact("tool", "nightly", "https://a.example/tool"),
            &package("dmsetup", "2:1.02.205-2", "source = 'lvm2'\nsource-version = '2.03.31-2'\n"),
            &package("libssl3t64", "3.5.4-1~deb13u1", "source = 'openssl'\n"),
            &package("linux-image-6.12", "6.12.57-1", "source = 'linux-signed-amd64'\n"),
            &package("openssl", "3.5.4-1~deb13u1", "source = 'openssl'\n"),
        ];
        place.put("x.lock", &lock.concat());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn record(&self, name: &str, text: &str) {
        self.put(&format!("osv/{name}.json"), text);
    }

    fn kiln(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command.env("KILN_CACHE", self.path("store")).output().unwrap()
    }

    /// The result as JSON, after this exit code.
    fn json(&self, words: &[&str], code: i32) -> serde_json::Value {
        let output = self.kiln(&[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn record(id: &str, cve: &str, ecosystem: &str, name: &str, events: &str) -> String {
    let kind = if ecosystem.starts_with("Debian") { "ECOSYSTEM" } else { "SEMVER" };
    format!(
        r#"{{"id": "{id}", "upstream": ["{cve}"], "affected": [{{"package": {{"ecosystem": "{ecosystem}", "name": "{name}"}},
           "ranges": [{{"type": "{kind}", "events": {events}}}]}}]}}"#
    )
}

/// One record for each thing in the lock: half of them are about it.
fn records() -> Vec<(&'static str, String)> {
    let until = |fixed: &str| format!(r#"[{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]"#);
    vec![
        ("a", record("DEBIAN-CVE-1", "CVE-1", "Debian:13", "openssl", &until("3.5.4-1~deb13u2"))),
        ("b", record("DSA-1", "CVE-1", "Debian:13", "openssl", &until("3.5.4-1~deb13u2"))),
        ("c", record("DEBIAN-CVE-2", "CVE-2", "Debian:13", "lvm2", &until("2.03.32-1"))),
        ("d", record("DEBIAN-CVE-3", "CVE-3", "Debian:13", "lvm2", &until("2.03.31-2"))),
        ("e", record("DEBIAN-CVE-4", "CVE-4", "Debian:13", "linux", r#"[{"introduced": "0"}]"#)),
        ("f", record("GO-1", "CVE-5", "Go", "github.com/opencontainers/runc", &until("1.4.3"))),
        ("g", record("K8S-1", "CVE-6", "Kubernetes", "k8s.io/kubernetes", &until("1.36.5"))),
        ("h", record("GO-2", "CVE-7", "Go", "k8s.io/kubernetes", &until("1.36.4"))),
    ]
}

fn ids(audit: &serde_json::Value) -> Vec<&str> {
    let counts = |finding: &&serde_json::Value| finding.get("ignored").is_none();
    audit["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(counts)
        .map(|finding| finding["id"].as_str().unwrap())
        .collect()
}

#[test]
fn known_vulnerabilities_are_found_in_folders_and_in_exports_of_osv_dev() {
    let place = Place::new();
    records().iter().for_each(|(name, text)| place.record(name, text));
    let found = place.json(&["audit", "x.toml", "--database", "osv"], 10);
    assert_eq!(ids(&found), ["CVE-5", "CVE-6", "CVE-4", "CVE-2", "CVE-1"]);
    let openssl = &found["findings"][4];
    assert_eq!(openssl["pins"], serde_json::json!(["libssl3t64", "openssl"]));
    assert_eq!(openssl["records"], serde_json::json!(["DEBIAN-CVE-1", "DSA-1"]));
    assert_eq!(openssl["fixed"], "3.5.4-1~deb13u2");
    assert_eq!(found["unknown"], serde_json::json!(["runtime/tool nightly"]));

    let mut zip = zip::ZipWriter::new(fs::File::create(place.path("all.zip")).unwrap());
    for (name, text) in records() {
        zip.start_file(format!("{name}.json"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let words = ["audit", "x.toml", "--database", "all.zip"];
    assert_eq!(place.json(&words, 10), found);
    let fixed = place.json(&[&words[..], &["--only-fixed"]].concat(), 10);
    assert_eq!(ids(&fixed), ["CVE-5", "CVE-6", "CVE-2", "CVE-1"]);
    let text = said(&place.kiln(&words));
    assert!(
        text.contains("openssl 3.5.4-1~deb13u1 (libssl3t64, openssl): fixed in 3.5.4-1~deb13u2"),
        "{text}"
    );
    assert!(
        text.contains("5 vulnerabilities (0 more are ignored) in 5 packages and modules, by 8 records"),
        "{text}"
    );
}

#[test]
fn what_is_ignored_has_a_reason_and_does_not_count() {
    let place = Place::new();
    records().iter().for_each(|(name, text)| place.record(name, text));
    let words = ["audit", "x.toml", "--database=osv", "--ignore=ignore.toml"];
    let entry = |id: &str, more: &str| format!("[[ignore]]\nid = '{id}'\nreason = 'not reachable'\n{more}");
    let some =
        [entry("CVE-4", ""), entry("DSA-1", "package = 'openssl'\n"), entry("CVE-2", "package = 'bash'\n")];
    place.put("ignore.toml", &some.concat());
    assert_eq!(ids(&place.json(&words, 10)), ["CVE-5", "CVE-6", "CVE-2"]);
    let text = said(&place.kiln(&words));
    assert!(
        text.contains("ignored: not reachable") && text.contains("CVE-2 is ignored, and nothing has it"),
        "{text}"
    );
    let all = ["CVE-1", "CVE-2", "CVE-4", "CVE-5", "CVE-6"].map(|id| entry(id, "")).concat();
    place.put("ignore.toml", &all);
    assert_eq!(ids(&place.json(&words, 0)), [""; 0]);
    for (wrong, says) in [
        ("[[ignore]]\nid = 'CVE-1'\nreason = ' '\n", "without a reason"),
        ("[[ignore]]\nid = 'CVE-1'\n", "reason"),
        ("[[ignored]]\n", "ignored"),
    ] {
        place.put("ignore.toml", wrong);
        let output = place.kiln(&words);
        assert!(output.status.code() == Some(3) && said(&output).contains(says), "{}", said(&output));
    }
}

#[test]
fn a_database_that_cannot_answer_is_an_error() {
    let place = Place::new();
    let words = ["audit", "x.toml", "--database=osv"];
    place.record("a", &records()[0].1);
    let output = place.kiln(&words);
    assert!(
        output.status.code() == Some(2) && said(&output).contains("has nothing about Go"),
        "{}",
        said(&output)
    );
    place.record("b", "{");
    let output = place.kiln(&words);
    assert!(
        output.status.code() == Some(7) && said(&output).contains("b.json is no record"),
        "{}",
        said(&output)
    );
    place.put("broken.zip", "PK");
    let output = place.kiln(&["audit", "x.toml", "--database=broken.zip"]);
    assert!(output.status.code() == Some(7) && said(&output).contains("broken.zip"), "{}", said(&output));
}

#[test]
fn two_locks_are_compared() {
    let place = Place::new();
    let lock = fs::read_to_string(place.path("x.lock")).unwrap();
    place.put("new.lock", &lock.replace("deb13u1", "deb13u2"));
    let text = said(&place.kiln(&["diff", "x.lock", "new.lock"]));
    let change = "up       openssl  3.5.4-1~deb13u1 -> 3.5.4-1~deb13u2  (libssl3t64, openssl)";
    assert!(text.contains(change), "{text}");
    assert_eq!(place.json(&["diff", "new.lock", "x.lock"], 0)["packages"][0]["what"], "down");
    assert!(said(&place.kiln(&["diff", "x.lock", "x.lock"])).contains("no difference"));
    assert_eq!(place.kiln(&["diff", "x.lock", "none.lock"]).status.code(), Some(4));
}

/// An archive in the shape of Ubuntu's, at a time, and what it has then: name, version, further fields.
fn publish(place: &Place, folder: &str, date: &str, packages: &[(&str, &str, &str)], key: &Key) {
    let stanza = |(name, version, further): &(&str, &str, &str)| {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{further}Filename: pool/{name}_{version}.deb\nSize: 1\n\
             SHA256: {}\n\n",
            Digest::of(format!("{name} {version}").as_bytes()).hex()
        )
    };
    let list: String = packages.iter().map(stanza).collect();
    for (pocket, list) in [("noble", list.as_str()), ("noble-updates", ""), ("noble-security", "")] {
        let components = [("main", list), ("universe", "")];
        let suite = Suite {
            origin: "Ubuntu",
            name: pocket,
            date,
            valid_until: None,
            arch: "amd64",
            components: &components,
        };
        suite.write(&place.path(folder), key);
    }
}

#[test]
fn only_the_named_packages_move() {
    for program in TOOLS.iter().chain(&["apt-get"]) {
        if tool(program).arg("--version").run("").is_err() {
            return testkit::not_run("only_the_named_packages_move", &format!("no {program}"));
        }
    }
    let place = Place::new();
    let key = Key::new(&place.path("key"));
    let definition = DEFINITION.replace("debian", "ubuntu").replace("trixie", "noble");
    place.put("x.toml", &format!("{definition}packages = ['openssl', 'zlib']\n"));
    let of = |ssl: &str, zlib: &str, needs: &str| {
        let source = format!("Source: openssl\n{needs}");
        publish(
            &place,
            "mirror",
            if ssl == "3-1" { "Thu, 25 Apr 2024 15:10:33 UTC" } else { "Fri, 26 Apr 2024 15:10:33 UTC" },
            &[
                ("base-files", "1", "Essential: yes\n"),
                ("libssl", ssl, &source),
                ("openssl", ssl, &format!("Depends: libssl (>= {ssl})\n")),
                ("zlib", zlib, ""),
            ],
            &key,
        );
    };
    of("3-1", "1.2", "");
    let [mirror, service] = ["mirror", "service"].map(|name| place.path(name).display().to_string());
    let keyring = key.keyring().display().to_string();
    let archive = |words: &[&str]| {
        let options =
            ["--ubuntu-mirror", &mirror, "--ubuntu-snapshots", &service, "--ubuntu-keyring", &keyring];
        place.kiln(&[words, &options].concat())
    };
    let lock = |words: &[&str], code: i32, says: &str| {
        let output = archive(&[&["lock", "x.toml"], words].concat());
        assert!(
            output.status.code() == Some(code) && said(&output).contains(says),
            "{says}: {}",
            said(&output)
        );
    };
    fs::remove_file(place.path("x.lock")).unwrap();
    place.put("digests.tsv", &digests());
    lock(&["--digests=digests.tsv"], 0, "4 packages");
    let first = fs::read_to_string(place.path("x.lock")).unwrap();
    let outdated = |code: i32, says: &str| {
        let output = archive(&["outdated", "x.toml"]);
        assert!(
            output.status.code() == Some(code) && said(&output).contains(says),
            "{says}: {}",
            said(&output)
        );
    };
    outdated(0, "nothing newer");

    // The old versions are only in the snapshot service, whose lists have the names of a time.
    fs::create_dir_all(place.path("service/ubuntu")).unwrap();
    fs::rename(place.path("mirror"), place.path("service/ubuntu/20240425T151033Z")).unwrap();
    of("3-2", "1.3", "");
    outdated(10, "packages: 2 up");
    assert_eq!(fs::read_to_string(place.path("x.lock")).unwrap(), first, "it writes nothing");
    let digests = "--digests=digests.tsv";
    lock(&[digests], 0, "4 packages");
    assert_eq!(fs::read_to_string(place.path("x.lock")).unwrap(), first, "nothing moves by itself");
    lock(&[digests, "--upgrade=opensl"], 2, "did you mean \"openssl\"?");
    lock(&[digests, "--upgrade=openssl"], 0, "4 packages");
    let moved: toml::Table = fs::read_to_string(place.path("x.lock")).unwrap().parse().unwrap();
    assert_eq!(moved["base"]["snapshot"].as_str(), Some("20240425T151033Z"));
    let field = |package: &toml::Value, name: &str| {
        package.get(name).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let packages = moved["package"].as_array().unwrap().iter();
    let packages: Vec<_> =
        packages.map(|package| (field(package, "version"), field(package, "snapshot"))).collect();
    let (old, new) = (
        |version: &str| (Some(version.to_owned()), None),
        |version: &str| (Some(version.to_owned()), Some("20240426T151033Z".to_owned())),
    );
    assert_eq!(packages, [old("1"), new("3-2"), new("3-2"), old("1.2")]);
    lock(&[digests, "--upgrade"], 0, "4 packages");
    assert!(fs::read_to_string(place.path("x.lock")).unwrap().contains("version = \"1.3\""));

    // What cannot move alone says so.
    place.put("x.lock", &first);
    of("3-2", "1.3", "Depends: zlib (>= 1.3)\n");
    lock(&[digests, "--upgrade=openssl"], 3, "zlib");
    assert_eq!(fs::read_to_string(place.path("x.lock")).unwrap(), first);
    lock(&[digests, "--upgrade=openssl,zlib"], 0, "4 packages");
}

/// The digests of the layer's artifacts, so that nobody is asked for their length.
fn digests() -> String {
    let row = |url: &str| format!("{url}\tsha256\t{}\n", Digest::of(b"x").hex());
    let urls = [
        "https://github.com/opencontainers/runc/releases/download/v1.4.2/runc.amd64",
        "https://dl.k8s.io/kubelet",
        "https://a.example/tool",
    ];
    format!("url\tdigest_algorithm\tdigest\n{}", urls.map(row).concat())
}
