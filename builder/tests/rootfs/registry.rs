//! A root file system in a registry of container images.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kiln::digest::Digest;
use kiln::process::{Run, tool};
use serde_json::json;
use testkit::{Options, TestServer, text};

use crate::place::Place;

pub const HOST: &str = "https://hub.invalid";
const NAME: &str = "docker://hub.invalid/vendor/root";
pub const UNVOUCHED: &str = "--allow-unauthenticated-checksums";

/// An image of one layer: its blobs by their digests.
pub struct Image {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub index: String,
    pub manifest: String,
}

impl Image {
    pub fn of(layer: Vec<u8>) -> Self {
        Self::for_arch(layer, "amd64")
    }

    /// An image whose configuration has this architecture; its index says amd64.
    pub fn for_arch(layer: Vec<u8>, arch: &str) -> Self {
        let mut blobs = BTreeMap::new();
        let mut add = |bytes: Vec<u8>, kind: &str| {
            let (digest, size) = (Digest::of(&bytes).to_string(), bytes.len());
            blobs.insert(digest.clone(), bytes);
            json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size })
        };
        let config =
            json!({"architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = add(config.to_string().into_bytes(), "config.v1+json");
        let layer = add(layer, "layer.v1.tar");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let mut entry = add(manifest.to_string().into_bytes(), "manifest.v1+json");
        let manifest = entry["digest"].as_str().unwrap().to_owned();
        entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let mut attestation = entry.clone();
        attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        let index = json!({"schemaVersion": 2, "manifests": [entry, attestation]});
        let index = add(index.to_string().into_bytes(), "index.v1+json");
        Self { blobs, index: index["digest"].as_str().unwrap().to_owned(), manifest }
    }

    /// Writes it as a layout.
    pub fn write_layout(&self, folder: &Path) {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (digest, bytes) in &self.blobs {
            fs::write(folder.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        }
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let size = self.blobs[&self.manifest].len();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": kind, "digest": self.manifest, "size": size}]});
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
    }
}

fn image(place: &Place) -> Image {
    place.write_root(&place.path("root.tar"), "1");
    Image::of(fs::read(place.path("root.tar")).unwrap())
}

type Script = Box<dyn Fn(&testkit::Request) -> Vec<u8> + Send + Sync>;

/// The whole answer of a server that was reached by this name.
type Answer = fn(&str) -> Vec<u8>;

/// A registry as large ones are: it wants a token, and its blobs are on another server.
pub struct Registry {
    pub server: TestServer,
    store: TestServer,
}

impl Registry {
    pub fn new(image: &Image) -> Self {
        let run = |script: Script| {
            TestServer::run(Options::default(), move |request, to| {
                std::io::Write::write_all(to, &script(request))
            })
        };
        let blobs = image.blobs.clone();
        let known = |blobs: &BTreeMap<String, Vec<u8>>, digest: &str| match blobs.get(digest) {
            Some(bytes) => text(200, "", bytes),
            None => text(404, "", b""),
        };
        let store = run(Box::new(move |request| known(&blobs, request.path.trim_start_matches('/'))));
        let (elsewhere, blobs, index) = (store.url("/"), image.blobs.clone(), image.index.clone());
        let server = run(Box::new(move |request| {
            let host = request.header("host").unwrap();
            if request.path == "/token?service=hub&scope=repository%3Avendor%2Froot%3Apull" {
                return text(200, "", br#"{"token": "t0ken"}"#);
            }
            if request.header("authorization") != Some("Bearer t0ken") {
                let challenge = format!(
                    "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"hub\",scope=\"repository:vendor/root:pull\"\r\n"
                );
                return text(401, &challenge, b"");
            }
            match request.path.strip_prefix("/v2/vendor/root/").unwrap().split_once('/').unwrap() {
                ("blobs", digest) => text(307, &format!("Location: {elsewhere}{digest}\r\n"), b""),
                (_, "1") => text(200, "", &blobs[&index]),
                (_, digest) => known(&blobs, digest),
            }
        }));
        Self { server, store }
    }

    pub fn mirror(&self) -> String {
        format!("--mirror={HOST}={}", self.server.url(""))
    }
}

#[test]
fn an_image_in_a_registry_is_what_the_lock_says() {
    let test = "an_image_in_a_registry_is_what_the_lock_says";
    let Some(place) = Place::new(test, &["tar"]) else { return };
    let image = image(&place);
    image.write_layout(&place.path("layout"));
    place.define("rootfs = 'layout'");
    let built = place.build(&[]);

    let registry = Registry::new(&image);
    let mirror = registry.mirror();
    // A name is what the registry says, so that TLS must vouch for it; a digest is not.
    place.define(&format!("rootfs = '{NAME}:1'"));
    place.refuse("lock x.toml", &[&mirror], 5, "vendor/root 1 is not taken from http://127.0.0.1");
    for (name, further) in [("1", &[UNVOUCHED][..]), (&image.index, &[]), (&image.manifest, &[])] {
        let mark = if name == "1" { ':' } else { '@' };
        place.define(&format!("rootfs = '{NAME}{mark}{name}'"));
        assert_eq!(place.build(&[&[mirror.as_str()], further].concat()), built, "{name}");
    }
    let asked = registry.store.requests();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|request| request.header("authorization").is_none()),
        "the token went elsewhere"
    );
    let documents = registry.server.requests();
    let mut documents = documents.iter().filter(|request| request.path.contains("/manifests/"));
    assert!(documents.all(|request| request.header("accept").unwrap().contains("manifest.list.v2+json")));

    // A name that stands for something else now, after the lock.
    place.succeed("lock x.toml", &[&mirror]);
    fs::remove_dir_all(place.path("store")).unwrap();
    place.write_root(&place.path("root.tar"), "2");
    let other = Registry::new(&Image::of(fs::read(place.path("root.tar")).unwrap()));
    place.refuse("build x.toml --locked --output-dir out", &[&other.mirror()], 5, "404");
    let digest = format!("sha256:{}", "0".repeat(64));
    place.define(&format!("rootfs = '{NAME}:1'\nsha256 = '{digest}'"));
    place.refuse("lock x.toml", &[&mirror, UNVOUCHED], 6, "and the definition wants sha256:0000");
    place.define(&format!("rootfs = '{NAME}:1'"));
    place.refuse(
        "lock x.toml",
        &[&mirror, UNVOUCHED, "--set=arch=\"arm64\""],
        7,
        "it has no image for arm64",
    );
}

#[test]
fn a_registry_that_lies_or_wants_a_login_is_refused() {
    let test = "a_registry_that_lies_or_wants_a_login_is_refused";
    let Some(place) = Place::new(test, &["tar"]) else { return };
    let image = image(&place);
    place.define(&format!("rootfs = '{NAME}@{}'", image.manifest));
    let answers: [(Answer, i32, &str); 4] = [
        (|_| text(200, "", b"{}"), 7, "is not what its name says"),
        (|_| text(401, "WWW-Authenticate: Basic realm=\"hub\"\r\n", b""), 5, "the server wants a login"),
        (
            |host| {
                let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\n");
                text(401, &challenge, b"")
            },
            5,
            "the server wants a login",
        ),
        (|_| b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec(), 5, "longer than"),
    ];
    for (answer, code, says) in answers {
        let server = TestServer::run(Options::default(), move |request, to| {
            std::io::Write::write_all(to, &answer(request.header("host").unwrap()))
        });
        place.refuse("lock x.toml", &[&format!("--mirror={HOST}={}", server.url(""))], code, says);
        assert!(server.requests().len() <= 2, "{:?}", server.lines());
    }
}

/// The registry of the package docker-registry, and its port.
pub struct RealRegistry(Child, pub u16);

impl RealRegistry {
    /// Takes the program out of its package: an installed one would serve the whole network.
    pub fn start(place: &Place) -> Option<Self> {
        let script = "apt-get -qq download docker-registry && dpkg-deb -x docker-registry_*.deb package";
        tool("sh").args(["-euc", script]).current_dir(place.path("")).run("apt").ok()?;
        // Free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            place.path("registry").display()
        );
        fs::write(place.path("registry.yml"), config).unwrap();
        let mut command = Command::new(place.path("package/usr/bin/docker-registry"));
        command
            .arg("serve")
            .arg(place.path("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the registry does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        Some(Self(child, port))
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_image_that_skopeo_pushed_to_a_real_registry_is_built() {
    let test = "an_image_that_skopeo_pushed_to_a_real_registry_is_built";
    let Some(place) = Place::new(test, &["tar", "skopeo", "apt-get", "dpkg-deb"]) else { return };
    image(&place).write_layout(&place.path("layout"));
    place.define("rootfs = 'layout'");
    let built = place.build(&[]);
    let Some(registry) = RealRegistry::start(&place) else {
        return testkit::not_run(test, "apt gives no package docker-registry");
    };
    let mut command = tool("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "oci:layout"]);
    command.arg(format!("docker://127.0.0.1:{}/vendor/root:1", registry.1));
    command.current_dir(place.path("")).run("skopeo").unwrap();
    place.define(&format!("rootfs = '{NAME}:1'"));
    let mirror = format!("--mirror={HOST}=http://127.0.0.1:{}", registry.1);
    assert_eq!(place.build(&[&mirror, UNVOUCHED]), built);
}
