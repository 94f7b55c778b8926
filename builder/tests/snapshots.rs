//! Builds from a lock whose packages left the mirror: they come from the distribution's snapshot service,
//! here a server of the test.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kiln::digest::Digest;
use kiln::process::{Run, tool};
use testkit::TestServer;

const TIME: &str = "20250101T120000Z";
const NEXT_DAY: &str = "20250102T120000Z";

/// A checkout with one image, a mirror and a snapshot service.
struct Place {
    folder: tempfile::TempDir,
    mirror: TestServer,
    service: TestServer,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["images", "layers/tool", "mirror", "service"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let image = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'tool'\nlayers = ['tool']\n\
             outputs = ['oci']\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n";
        let layer = "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n";
        fs::write(folder.path().join("images/x.toml"), image).unwrap();
        fs::write(folder.path().join("layers/tool/layer.toml"), layer).unwrap();
        let mirror = testkit::folder::serve(&folder.path().join("mirror"));
        let service = testkit::folder::serve(&folder.path().join("service"));
        Self { folder, mirror, service }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes a lock of these packages; each has its name as content.
    fn lock(&self, snapshot: &str, packages: &[&str]) {
        let head = format!(
            "schema = 1\nimage = 'x'\narch = 'amd64'\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n{snapshot}\
             install = []\nextract = []\n"
        );
        let package = |name: &&str| {
            format!(
                "[[package]]\nname = '{name}'\nversion = '1'\narchitecture = 'all'\nsource = '{name}'\narchive = 'debian'\n\
                 path = 'pool/{name}.deb'\nsize = {}\nsha256 = '{}'\ninstall = true\n",
                name.len(),
                Digest::of(name.as_bytes())
            )
        };
        self.put("images/x.lock", (head + &packages.iter().map(package).collect::<String>()).as_bytes());
    }

    /// Runs `kiln` with both servers.
    fn kiln(&self, arguments: &[&str]) -> Output {
        let mirror = self.mirror.url("/debian");
        let service = self.service.url("/archive");
        self.command(arguments)
            .args(["--debian-mirror", &mirror, "--debian-snapshots", &service])
            .output()
            .unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("KILN_CACHE", self.path("store")).env("NO_PROXY", "127.0.0.1");
        command
    }

    fn fetch(&self) -> Output {
        self.kiln(&["fetch", "images/x.toml"])
    }

    fn stored(&self) -> usize {
        fs::read_dir(self.path("store/blobs")).map_or(0, Iterator::count)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn packages_that_left_the_mirror_come_from_the_lock_s_snapshot_or_the_next_day_s() {
    let place = Place::new();
    place.lock(&format!("snapshot = '{TIME}'\n"), &["stays", "left", "new"]);
    place.put("mirror/debian/pool/stays.deb", b"stays");
    place.put(&format!("service/archive/debian/{TIME}/pool/left.deb"), b"left");
    place.put(&format!("service/archive/debian/{NEXT_DAY}/pool/new.deb"), b"new");
    let output = place.fetch();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(place.stored(), 3);
    let said = said(&output);
    let said = said.lines().find(|line| line.contains("taken from a snapshot")).expect(&said);
    assert!(said.contains(&place.service.url("/archive/debian/")), "{said}");
    assert!(said.contains("left 1") && said.contains("new 1") && !said.contains("stays 1"), "{said}");
    let asked: Vec<String> = place.service.requests().iter().map(|seen| seen.path.clone()).collect();
    assert!(
        !asked.iter().any(|path| path.ends_with("stays.deb")),
        "the service was asked in vain: {asked:?}"
    );
}

#[test]
fn wrong_bytes_of_a_snapshot_are_refused() {
    let place = Place::new();
    place.lock(&format!("snapshot = '{TIME}'\n"), &["left"]);
    for time in [TIME, NEXT_DAY] {
        place.put(&format!("service/archive/debian/{time}/pool/left.deb"), b"evil");
    }
    let output = place.fetch();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("left 1"), "{}", said(&output));
    assert_eq!(place.stored(), 0);
}

#[test]
fn a_package_that_nobody_has_is_named_with_both_places_and_the_next_step() {
    let place = Place::new();
    place.lock(&format!("snapshot = '{TIME}'\n"), &["left"]);
    let output = place.fetch();
    let message = said(&output);
    assert_eq!(output.status.code(), Some(5), "{message}");
    for part in [
        "left 1 is neither on the mirror",
        &place.mirror.url("/debian/pool/left.deb"),
        &place.service.url(&format!("/archive/debian/{TIME}/pool/left.deb")),
        "kiln lock --upgrade",
        "--debian-snapshots",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[test]
fn a_lock_without_a_snapshot_works_while_the_mirror_has_its_packages() {
    let place = Place::new();
    place.lock("", &["left"]);
    let message = said(&place.fetch());
    assert!(message.contains("the lock names no snapshot"), "{message}");
    assert!(message.contains("kiln lock --upgrade"), "{message}");
    assert!(place.service.requests().is_empty());
    place.put("mirror/debian/pool/left.deb", b"left");
    assert!(place.fetch().status.success());
}

#[test]
fn a_definition_s_snapshot_must_be_the_lock_s() {
    let place = Place::new();
    place.lock(&format!("snapshot = '{TIME}'\n"), &[]);
    let check = |more: &[&str]| {
        place
            .command(&[&["lock", "images/x.toml", "--lock", "images/x.lock"], more].concat())
            .output()
            .unwrap()
    };
    assert!(check(&["--check"]).status.success(), "a definition without a snapshot takes any");
    assert!(check(&["--check", "--set", &format!("base.snapshot={TIME}")]).status.success());
    let other = check(&["--check", "--set", &format!("base.snapshot={NEXT_DAY}")]);
    assert_eq!(other.status.code(), Some(4), "{}", said(&other));
    assert!(said(&other).contains(NEXT_DAY) && said(&other).contains(TIME), "{}", said(&other));
    let both = check(&["--snapshot", TIME, "--set", &format!("base.snapshot={NEXT_DAY}")]);
    assert_eq!(both.status.code(), Some(2), "{}", said(&both));
    for wrong in ["--snapshot=yesterday", "--set=base.snapshot=latest"] {
        let output = check(&[wrong]);
        assert!(said(&output).contains("20261101T000000Z"), "{}", said(&output));
    }
}

/// With real packages, half of which left the mirror.
#[test]
fn an_image_is_the_same_when_its_packages_left_the_mirror() {
    const TEST: &str = "an_image_is_the_same_when_its_packages_left_the_mirror";
    for program in ["mmdebstrap", "apt-get"] {
        if tool(program).arg("--version").run("").is_err() {
            return testkit::not_run(TEST, &format!("no {program}"));
        }
    }
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        return testkit::not_run(TEST, "no debian-archive-keyring");
    }
    let place = Place::new();
    let build = |output: &str| ["build", "images/x.toml", "--output-dir", output].map(str::to_owned);
    let first = place.command(&build("first").each_ref().map(String::as_str)).output().unwrap();
    if said(&first).contains("mirror is known") {
        return testkit::not_run(TEST, "this machine's apt has no Debian mirror");
    }
    assert!(first.status.success(), "{}", said(&first));
    let lock: toml::Table = fs::read_to_string(place.path("images/x.lock")).unwrap().parse().unwrap();
    let time = lock["base"]["snapshot"].as_str().expect("the lock names a snapshot");
    for (index, package) in lock["package"].as_array().unwrap().iter().enumerate() {
        let field = |name: &str| package[name].as_str().unwrap();
        let folder = match index % 2 {
            0 => format!("mirror/{}", field("archive")),
            _ => format!("service/archive/{}/{time}", field("archive")),
        };
        let to = place.path(&folder).join(field("path"));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let digest = field("sha256").trim_start_matches("sha256:");
        fs::rename(place.path("store/blobs").join(digest), to).unwrap();
    }
    fs::rename(place.path("store"), place.path("store-before")).unwrap();
    let words = build("second");
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.push("--locked");
    let second = place.kiln(&words);
    assert!(second.status.success(), "{}", said(&second));
    assert!(said(&second).contains("taken from a snapshot"), "{}", said(&second));
    let sums = |output: &str| fs::read_to_string(place.path(output).join("SHA256SUMS")).unwrap();
    assert_eq!(sums("first"), sums("second"));
    assert!(fs::metadata(place.path("second/SHA256SUMS")).unwrap().size() > 0);
}
