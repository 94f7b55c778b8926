//! Mirrors of a lock: an image is the same from one without any network as from upstream, here a server of
//! the test, and every change of a mirror is found.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kiln::digest::Digest;
use kiln::process::{Run, tool};
use testkit::TestServer;
use testkit::archive::Key;

const INDEX: &str = "KILN-MIRROR";
const UNVOUCHED: &str = "--allow-unauthenticated-checksums";

const DEFINITION: &str = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'runtime'\n\
    layers = ['./runtime']\noutputs = ['oci']\n";

/// A definition of everything that can be fetched, and a server that has it all.
struct Place {
    folder: tempfile::TempDir,
    upstream: TestServer,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("upstream")).unwrap();
        let upstream = testkit::folder::serve(&folder.path().join("upstream"));
        let place = Self { folder, upstream };
        place.release("1");
        place.write_root();
        place.write_preload();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Upstream's release `version` of a program with a list of SHA-256 and of one with SHA-512, and a layer
    /// of them.
    fn release(&self, version: &str) {
        let (tool, other) = (format!("tool {version}"), format!("other {version}"));
        let folder = format!("upstream/dl.example/v{version}");
        self.put(&format!("{folder}/tool"), &tool);
        self.put(&format!("{folder}/tool.sha256"), format!("{}  tool\n", Digest::of(tool.as_bytes()).hex()));
        self.put(&format!("{folder}/a+b/other"), &other);
        let sums = tool_output("sha512sum", &self.path(&format!("{folder}/a+b")), "other");
        self.put(&format!("{folder}/SHA512SUMS"), sums);
        let artifact = |name: &str, url: &str, list: &str| {
            format!(
                "[[artifact]]\nname = '{name}'\nversion = '{version}'\nurl = 'https://dl.example/v{version}/{url}'\n\
                 checksum = 'https://dl.example/v{version}/{list}'\npath = '/usr/bin/{name}'\nmode = '0755'\n"
            )
        };
        let layer = format!(
            "schema = 1\nsummary = 'x'\nprovides = ['container-runtime', 'preload']\n{}{}",
            artifact("tool", "tool", "tool.sha256"),
            artifact("other", "a+b/other", "SHA512SUMS")
        );
        self.put("runtime/layer.toml", layer);
    }

    /// A tar of the least that a root needs, and the definition that names it.
    fn write_root(&self) {
        self.put("root/usr/lib/os-release", "ID=demo\nVERSION_ID=1\n");
        self.put("root/usr/lib/systemd/systemd", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0rest");
        for name in ["bin", "lib", "sbin"] {
            symlink(format!("usr/{name}"), self.path("root").join(name)).unwrap();
        }
        self.tar("upstream/vendor.example/root.tar", "root");
    }

    /// An archive with a container image, and an image in a registry.
    fn write_preload(&self) {
        let config = r#"{"architecture":"amd64","os":"linux"}"#;
        self.put("image/manifest.json", r#"[{"Config":"c","RepoTags":["docker.io/busybox:1"],"Layers":[]}]"#);
        self.put("image/c", config);
        self.tar("upstream/dl.example/images/busybox.tar", "image");
        let blob = |kind: &str, name: &str, text: &str| {
            let digest = Digest::of(text.as_bytes());
            self.put(&format!("upstream/hub.example/v2/pause/{kind}/{digest}"), text);
            serde_json::json!({"mediaType": format!("application/vnd.oci.image.{name}"), "digest": digest, "size": text.len()})
        };
        let config = blob("blobs", "config.v1+json", config);
        let layer = blob("blobs", "layer.v1.tar", "layer");
        let manifest =
            serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
        blob("manifests", "manifest.v1+json", &manifest);
        let of = |name: &str| Digest::of(&fs::read(self.path(&format!("upstream/{name}"))).unwrap());
        let definition = format!(
            "{DEFINITION}[base]\nrootfs = 'https://vendor.example/root.tar'\nsha256 = '{}'\n\
             [[preload]]\nreference = 'docker.io/busybox:1'\nurl = 'https://dl.example/images/busybox.tar'\nsha256 = '{}'\n\
             [[preload]]\nreference = 'hub.example/pause:1@{}'\n",
            of("vendor.example/root.tar"),
            of("dl.example/images/busybox.tar"),
            Digest::of(manifest.as_bytes())
        );
        self.put("x.toml", definition);
    }

    fn tar(&self, name: &str, folder: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut command = tool("tar");
        command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf"]).arg(path);
        command.arg("-C").arg(self.path(folder)).arg(".").run("tar").unwrap();
    }

    fn command(&self, words: &str, further: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(words.split(' ')).args(further);
        self.within(command)
    }

    fn within(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("KILN_CACHE", self.path("store")).env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Runs `kiln`, which reaches upstream.
    fn online(&self, words: &str, further: &[&str]) -> Output {
        let mirror = format!("--mirror=https://={}", self.upstream.url(""));
        self.command(words, further).args([&mirror, UNVOUCHED]).output().unwrap()
    }

    /// Runs `kiln` without any network, with an empty store.
    fn alone(&self, words: &str, further: &[&str]) -> Output {
        fs::remove_dir_all(self.path("store")).ok();
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", env!("CARGO_BIN_EXE_kiln")]);
        command.args(words.split(' ')).args(further);
        self.within(command).output().unwrap()
    }

    fn sums(&self, output: &str) -> String {
        fs::read_to_string(self.path(output).join("SHA256SUMS")).unwrap()
    }

    /// Locks, and makes the mirror `m`.
    fn mirror(&self, further: &[&str]) {
        good(&self.online("lock x.toml", &[]));
        good(&self.online("mirror create m x.toml", further));
    }

    /// Every file of the mirror with its content, but for the marker.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.path("m")];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path)
                } else {
                    drop(found.insert(path.clone(), fs::read(&path).unwrap()))
                }
            }
        }
        found.retain(|path, _| !path.ends_with(".kiln-mirror-lock"));
        found
    }

    #[track_caller]
    fn verified(&self, further: &[&str], code: i32, says: &str) {
        let output = self.command("mirror verify m", further).output().unwrap();
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(code) && said.contains(says), "{says}: {said}");
    }
}

fn tool_output(program: &str, folder: &Path, argument: &str) -> Vec<u8> {
    tool(program).arg(argument).current_dir(folder).run("").unwrap().stdout
}

#[track_caller]
fn good(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether this machine has a network namespace for a process of its own; says so if not.
fn has_namespaces(test: &str) -> bool {
    let has = tool("unshare").args(["--map-root-user", "--net", "true"]).run("util-linux").is_ok();
    if !has {
        testkit::not_run(test, "unshare makes no network namespace");
    }
    has
}

#[test]
fn an_image_from_a_mirror_without_a_network_is_the_one_from_upstream() {
    if !has_namespaces("an_image_from_a_mirror_without_a_network_is_the_one_from_upstream") {
        return;
    }
    let place = Place::new();
    good(&place.online("lock x.toml", &[]));
    good(&place.online("build x.toml --locked --output-dir online", &[]));
    good(&place.online("mirror create m x.toml", &[]));
    let mirror = format!("--mirror=https://={}", place.path("m").display());
    good(&place.alone("build x.toml --locked --output-dir alone", &[&mirror]));
    assert_eq!(place.sums("online"), place.sums("alone"));
    // Also with an empty lock: the checksum files are there.
    let lock = fs::read_to_string(place.path("x.lock")).unwrap();
    for remove in [false, true] {
        if remove {
            fs::remove_file(place.path("x.lock")).unwrap();
        }
        good(&place.alone("lock x.toml", &["--offline", &mirror]));
        assert_eq!(fs::read_to_string(place.path("x.lock")).unwrap(), lock);
    }
    // The mirror on a server.
    let server = testkit::folder::serve(&place.path("m"));
    fs::remove_dir_all(place.path("store")).unwrap();
    let mirror = format!("--mirror=https://={}", server.url(""));
    good(&place.command("build x.toml --locked --output-dir served", &[&mirror]).output().unwrap());
    assert_eq!(place.sums("online"), place.sums("served"));
}

#[test]
fn a_second_create_fetches_and_changes_nothing_and_a_new_lock_only_what_is_new() {
    let place = Place::new();
    place.mirror(&[]);
    let (first, asked) = (place.content(), place.upstream.requests().len());
    assert_eq!(
        first.len(),
        10,
        "root, archive, three files of an image, two programs, their two lists, the index"
    );
    fs::remove_dir_all(place.path("store")).unwrap();
    let output = place.online("mirror create m x.toml", &["--json"]);
    good(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["files"], &report["added"], &report["removed"]), (&9.into(), &0.into(), &0.into()));
    assert_eq!(report["options"].as_array().unwrap().len(), 1);
    assert_eq!((place.content(), place.upstream.requests().len()), (first.clone(), asked));

    // A damaged file is made good.
    place.put("m/dl.example/v1/tool", "toll 1");
    good(&place.online("mirror create m x.toml", &[]));
    assert_eq!(place.content(), first);

    place.release("2");
    let stale = place.online("mirror create m x.toml", &[]);
    assert_eq!(stale.status.code(), Some(4), "{}", said(&stale));
    assert_eq!(place.content(), first, "a mirror changes no lock");
    place.mirror(&[]);
    place.verified(&[], 0, "9 files");
    let kept = |content: &BTreeMap<PathBuf, Vec<u8>>| {
        content
            .keys()
            .filter(|path| !path.to_string_lossy().contains("/v"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(&place.content()), kept(&first));
    assert!(!place.path("m/dl.example/v1").exists(), "nothing of the old release is left");
}

#[test]
fn every_change_of_a_mirror_is_found_and_named() {
    let place = Place::new();
    place.mirror(&[]);
    place.verified(&[], 0, "every file is as the index says");
    let whole = place.content();
    let restore = || {
        fs::remove_dir_all(place.path("m")).unwrap();
        for (path, bytes) in &whole {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    // One bit of each file.
    for (path, bytes) in whole.iter().filter(|(path, _)| !path.ends_with(INDEX)) {
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        fs::write(path, changed).unwrap();
        let name = path.strip_prefix(place.path("m")).unwrap().display().to_string();
        place.verified(&[], 6, &format!("{name}: its digest is"));
        fs::write(path, bytes).unwrap();
    }
    let (tool, other) = ("m/dl.example/v1/tool", "m/dl.example/v1/a+b/other");
    type Change<'a> = &'a dyn Fn();
    let changes: [(Change<'_>, &str); 7] = [
        (&|| fs::remove_file(place.path(tool)).unwrap(), "dl.example/v1/tool: it is missing"),
        (&|| place.put("m/dl.example/v1/more", ""), "dl.example/v1/more: it is not in the index"),
        (&|| place.put(tool, "tool 1 and more"), "dl.example/v1/tool: it has 15 bytes instead of 6"),
        (&|| place.put(tool, "too"), "dl.example/v1/tool: it has 3 bytes instead of 6"),
        (
            &|| {
                place.put(tool, "other 1");
                place.put(other, "tool 1");
            },
            "dl.example/v1/tool: it has the content of dl.example/v1/a+b/other",
        ),
        (
            &|| {
                fs::rename(place.path(tool), place.path("elsewhere")).unwrap();
                symlink(place.path("elsewhere"), place.path(tool)).unwrap();
            },
            "dl.example/v1/tool: it is no regular file",
        ),
        (&|| fs::remove_file(place.path("m").join(INDEX)).unwrap(), "is no complete mirror"),
    ];
    for (change, says) in changes {
        change();
        place.verified(&[], 6, says);
        restore();
    }
    let index = fs::read_to_string(place.path("m").join(INDEX)).unwrap();
    place.put(&format!("m/{INDEX}"), index.replace("v1/tool", "../v1/tool"));
    place.verified(&[], 6, "KILN-MIRROR: line");
    restore();
    place.verified(&["--json"], 0, "\"findings\": []");
}

#[test]
fn a_signed_index_is_checked_and_kept() {
    for program in testkit::archive::TOOLS {
        if tool("which").arg(program).run("").is_err() {
            return testkit::not_run("a_signed_index_is_checked_and_kept", &format!("no {program}"));
        }
    }
    let place = Place::new();
    let (key, other) = (Key::new(&place.path("key")), Key::new(&place.path("other")));
    good(&place.online("lock x.toml", &[]));
    let create = |further: &[&str]| {
        let mirror = format!("--mirror=https://={}", place.upstream.url(""));
        let mut command = place.command("mirror create m x.toml", further);
        command.args([&mirror, UNVOUCHED]).env("GNUPGHOME", place.path("key")).output().unwrap()
    };
    good(&create(&["--sign-key", "Test"]));
    let (key, other) = (key.keyring(), other.keyring());
    let [by_key, by_other] = [&key, &other].map(|path| ["--key", path.to_str().unwrap()]);
    place.verified(&by_key, 0, "signed by the key");
    place.verified(&by_other, 6, "an unknown key made it");
    place.verified(&[], 0, "--key FILE checks by whom");
    tool("gpgv")
        .arg("--keyring")
        .arg(&key)
        .arg(place.path("m").join(INDEX))
        .run("gpgv")
        .unwrap();
    let first = place.content();
    good(&create(&["--sign-key", "Test"]));
    assert_eq!(place.content(), first, "it is not signed again");

    // A consistent change of a file and of the index.
    let index = fs::read_to_string(place.path("m").join(INDEX)).unwrap();
    place.put("m/dl.example/v1/tool", "toll 1");
    let digests = [b"tool 1", b"toll 1"].map(|text| Digest::of(text).hex());
    place.put(&format!("m/{INDEX}"), index.replace(&digests[0], &digests[1]));
    place.verified(&[], 0, "every file is as the index says");
    place.verified(&by_key, 6, "the file is not the one that the key");

    let unsigned = create(&[]);
    good(&unsigned);
    assert!(said(&unsigned).contains("--sign-key signs it"), "{}", said(&unsigned));
    place.verified(&by_key, 6, "nobody has signed it");
    let unknown = create(&["--sign-key", "nobody@nowhere.invalid"]);
    assert_eq!(unknown.status.code(), Some(8), "{}", said(&unknown));
    assert!(said(&unknown).contains("gpg --list-secret-keys"), "{}", said(&unknown));
}

#[test]
fn a_killed_create_passes_for_complete_only_if_it_is() {
    let place = Place::new();
    // Long enough for a kill in the middle of a copy.
    place.put("upstream/vendor.example/root.tar", {
        let mut tar = fs::read(place.path("upstream/vendor.example/root.tar")).unwrap();
        tar.resize(24 << 20, 0);
        tar
    });
    place.write_preload();
    place.mirror(&[]);
    let whole = place.content();
    let mut cut = 0;
    for milliseconds in 0..40 {
        fs::remove_dir_all(place.path("m")).unwrap();
        let mirror = format!("--mirror=https://={}", place.upstream.url(""));
        let mut command = place.command("mirror create m x.toml", &[&mirror, UNVOUCHED]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&place.path("m/.kiln-mirror-lock"), &mut child);
        std::thread::sleep(Duration::from_millis(2 * milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let output = place.command("mirror verify m", &[]).output().unwrap();
        if output.status.success() {
            assert_eq!(place.content(), whole);
        } else {
            assert!(said(&output).contains("is no complete mirror"), "{}", said(&output));
            cut += 1;
        }
    }
    assert!(cut > 0, "no kill came in time");
    good(&place.online("mirror create m x.toml", &[]));
    assert_eq!(place.content(), whole, "nothing of the killed ones is left");
}

fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_cannot_be_a_mirror_is_refused() {
    let place = Place::new();
    good(&place.online("lock x.toml", &[]));
    place.put("m/letter.txt", "mine");
    let output = place.online("mirror create m x.toml", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("of no mirror") && place.path("m/letter.txt").exists());
    fs::remove_dir_all(place.path("m")).unwrap();

    // Upstream has another list now: the lock is good, and the list would contradict it.
    place.put("upstream/dl.example/v1/tool.sha256", format!("{}  tool\n", Digest::of(b"new").hex()));
    let output = place.online("mirror create m x.toml", &[]);
    good(&output);
    assert!(said(&output).contains("no longer has the digest"), "{}", said(&output));
    place.verified(&[], 0, "8 files");

    // An address that would be below a file.
    let layer = fs::read_to_string(place.path("runtime/layer.toml")).unwrap();
    place.put("runtime/layer.toml", layer.replace("v1/SHA512SUMS", "v1/tool/SHA512SUMS"));
    let output = place.online("mirror create m x.toml", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("dl.example/v1/tool and dl.example/v1/tool/SHA512SUMS"),
        "{}",
        said(&output)
    );
}

/// With packages of an archive, which have an option of their own.
#[test]
fn packages_are_taken_from_a_mirror_by_the_option_of_their_base() {
    let place = Place::new();
    let definition = format!("{DEFINITION}[base]\ndistribution = 'debian'\nsuite = 'trixie'\n");
    place.put("x.toml", definition);
    place.put("runtime/layer.toml", "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n");
    let package = |name: &str, archive: &str| {
        place.put(&format!("upstream/{archive}/pool/{name}.deb"), name);
        format!(
            "[[package]]\nname = '{name}'\nversion = '1'\narchitecture = 'all'\nsource = '{name}'\narchive = '{archive}'\n\
             path = 'pool/{name}.deb'\nsize = {}\nsha256 = '{}'\ninstall = true\n",
            name.len(),
            Digest::of(name.as_bytes())
        )
    };
    let packages = [package("one", "debian"), package("two", "debian-security")].concat();
    place.put(
        "x.lock",
        format!(
            "schema = 1\nimage = 'x'\narch = 'amd64'\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n\
             install = []\nextract = []\n{packages}"
        ),
    );
    let archive = place.upstream.url("/debian");
    let create = place.command("mirror create m x.toml", &["--debian-mirror", &archive]).output().unwrap();
    good(&create);
    place.verified(&[], 0, "2 files");
    let debian = place.path("m/debian");
    let options = String::from_utf8_lossy(&create.stdout).into_owned();
    assert!(options.contains(&format!("--debian-mirror {}", debian.display())), "{options}");
    fs::remove_dir_all(place.path("store")).unwrap();
    let further = ["--offline", "--debian-mirror", debian.to_str().unwrap()];
    good(&place.command("fetch x.toml", &further).output().unwrap());
}
