//! Container images that are preloaded: by their names in a registry, or out of a layout on disk.

use std::fs;
use std::path::PathBuf;

use kiln::digest::Digest;
use kiln::process::{Run, tool};
use serde_json::Value;
use testkit::{Options, TestServer, text};

use crate::in_a_registry::{HOST, Image, RealRegistry, Registry, UNVOUCHED};
use crate::place::Place;

const NAME: &str = "hub.invalid/vendor/root:1";

/// A root, and a runtime that imports images.
fn place(test: &str, programs: &[&str]) -> Option<Place> {
    let place = Place::new(test, programs)?;
    place.write_root(&place.path("root.tar"), "1");
    let layer = place.path("runtime/layer.toml");
    let text = fs::read_to_string(&layer).unwrap();
    fs::write(layer, text.replace("['container-runtime']", "['container-runtime', 'preload']")).unwrap();
    Some(place)
}

/// Defines an image with these container images.
fn define(place: &Place, images: &str) {
    place.define("rootfs = 'root.tar'");
    let path = place.path("x.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("[base]", &format!("preload = [{images}]\n[base]"))).unwrap();
}

fn image(layer: &str) -> Image {
    Image::of(layer.as_bytes().to_vec())
}

/// Locks and builds from an empty store, and gives the digests of the layers.
fn layers(place: &Place, further: &[&str]) -> String {
    let built = place.build(further);
    built.lines().filter(|line| line.contains("/blobs/")).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_image_by_its_name_is_the_one_of_a_layout_on_disk() {
    let Some(place) = place("an_image_by_its_name_is_the_one_of_a_layout_on_disk", &["tar"]) else { return };
    let image = image("layer");
    image.write_layout(&place.path("layout"));
    tool("tar")
        .args(["-cf", "layout.tar", "-C", "layout", "."])
        .current_dir(place.path(""))
        .run("tar")
        .unwrap();
    define(&place, &format!("{{ reference = '{NAME}', file = 'layout' }}"));
    let built = layers(&place, &[]);
    define(&place, &format!("{{ reference = '{NAME}', file = 'layout.tar' }}"));
    assert_eq!(layers(&place, &[]), built, "an archive");
    let digest = Digest::of(&fs::read(place.path("layout.tar")).unwrap());
    define(&place, &format!("{{ reference = '{NAME}', file = 'layout.tar', sha256 = '{digest}' }}"));
    assert_eq!(layers(&place, &[]), built, "a pinned archive");
    let registry = Registry::new(&image);
    let mirror = registry.mirror();
    for name in [NAME.to_owned(), format!("{NAME}@{}", image.index), format!("{NAME}@{}", image.manifest)] {
        define(&place, &format!("'{name}'"));
        assert_eq!(layers(&place, &[&mirror, UNVOUCHED]), built, "{name}");
    }
}

#[test]
fn a_name_stays_what_it_was_until_the_lock_is_upgraded() {
    let Some(place) = place("a_name_stays_what_it_was_until_the_lock_is_upgraded", &["tar"]) else { return };
    define(&place, &format!("'{NAME}'"));
    let (old, new) = (Registry::new(&image("old")), Registry::new(&image("new")));
    place.succeed("lock x.toml", &[&old.mirror(), UNVOUCHED]);
    let locked = || fs::read_to_string(place.path("x.lock")).unwrap();
    let first = locked();
    place.succeed("fetch x.toml", &[&old.mirror(), UNVOUCHED]);
    let moved = [new.mirror(), UNVOUCHED.to_owned()];
    let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
    place.succeed("lock x.toml", &moved);
    assert_eq!(locked(), first);
    place.succeed("build x.toml --locked --offline --output-dir out", &[]);
    let output = place.kiln("outdated x.toml", &moved);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("container images: 1 changed\n  changed  hub.invalid/vendor/root  1 sha256:"),
        "{said}"
    );
    place.succeed("lock x.toml --upgrade", &moved);
    assert_ne!(locked(), first);

    define(&place, &format!("'{}'", NAME.replace(":1", ":2")));
    fs::remove_dir_all(place.path("out")).unwrap();
    let build = "build x.toml --locked --output-dir out";
    place.refuse(build, &[], 4, "the container image hub.invalid/vendor/root:2 is not in the lock");
    place.refuse(
        build,
        &[],
        4,
        "the container image hub.invalid/vendor/root:1 is in the lock and no longer wanted",
    );
}

#[test]
fn a_local_image_without_a_digest_is_what_it_was_when_the_lock_was_written() {
    let test = "a_local_image_without_a_digest_is_what_it_was_when_the_lock_was_written";
    let Some(place) = place(test, &["tar"]) else { return };
    define(&place, &format!("{{ reference = '{NAME}', file = 'layout' }}"));
    image("old").write_layout(&place.path("layout"));
    place.succeed("lock x.toml", &[]);
    fs::remove_dir_all(place.path("layout")).unwrap();
    image("new").write_layout(&place.path("layout"));
    place.refuse("build x.toml --locked --output-dir out", &[], 5, "no such file");
    place.succeed("lock x.toml", &[]);
    place.succeed("build x.toml --locked --output-dir out", &[]);
}

#[test]
fn an_image_that_cannot_be_had_is_refused() {
    let Some(place) = place("an_image_that_cannot_be_had_is_refused", &["tar"]) else { return };
    let good = image("layer");
    let arm = Image::for_arch(b"layer".to_vec(), "arm64");
    let nobody = format!("sha256:{}", "0".repeat(64));
    let (plain, missing) = (format!("'{NAME}'"), format!("'{}'", NAME.replace(":1", ":9")));
    let by_digest = format!("'{NAME}@{nobody}'");
    let one = format!("'{NAME}@{}'", arm.manifest);
    let (registry, of_arm) = (Registry::new(&good), Registry::new(&arm));
    let wants_login = TestServer::run(Options::default(), |_, to| {
        std::io::Write::write_all(to, &text(401, "WWW-Authenticate: Basic realm=\"hub\"\r\n", b""))
    });
    let login = format!("--mirror={HOST}={}", wants_login.url(""));
    good.write_layout(&place.path("layout"));
    let file = format!("{{ reference = '{NAME}', file = 'layout', sha256 = '{nobody}' }}");
    let arm64 = "--set=arch=\"arm64\"";
    let none: &[&str] = &[];
    for (images, further, code, says) in [
        (&plain, &[registry.mirror().as_str()][..], 5, "is not taken from http://127.0.0.1"),
        (&missing, &[&registry.mirror(), UNVOUCHED], 5, "404"),
        (&by_digest, &[&registry.mirror()], 5, "404"),
        (&plain, &[&login, UNVOUCHED], 5, "the server wants a login"),
        (&plain, &[&registry.mirror(), UNVOUCHED, arm64], 7, "it has no image for arm64"),
        (&one, &[&of_arm.mirror()], 7, "it is for arm64, and this image for amd64"),
        (&file, none, 6, "and the definition wants sha256:0000"),
    ] {
        define(&place, images);
        place.refuse("lock x.toml", further, code, says);
        place.refuse("lock x.toml", further, code, "locking the container image hub.invalid/vendor/root:");
    }
}

/// The folder of preloaded images in the image that was built last.
fn unpacked(place: &Place) -> PathBuf {
    let to = place.path("unpacked");
    fs::create_dir_all(&to).unwrap();
    for blob in fs::read_dir(place.path("out/x-oci/blobs/sha256")).unwrap() {
        let tar = tool("tar")
            .args(["--force-local", "-xzf"])
            .arg(blob.unwrap().path())
            .arg("-C")
            .arg(&to)
            .run("tar");
        // Not every blob is a layer.
        drop(tar);
    }
    to.join("usr/lib/kiln/preload")
}

#[test]
fn what_a_real_registry_has_is_read_by_skopeo_in_the_image() {
    let test = "what_a_real_registry_has_is_read_by_skopeo_in_the_image";
    let Some(place) = place(test, &["tar", "skopeo", "apt-get", "dpkg-deb"]) else { return };
    let image = image("layer");
    image.write_layout(&place.path("layout"));
    let Some(registry) = RealRegistry::start(&place) else {
        return testkit::not_run(test, "apt gives no package docker-registry");
    };
    let skopeo = |from: &str, to: &str, more: &[&str]| {
        let mut command = tool("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet"]).args(more).args([from, to]);
        command.current_dir(place.path("")).run("skopeo").unwrap();
    };
    let pushed = format!("docker://127.0.0.1:{}/vendor/root:1", registry.1);
    // The older kind of manifest, which many registries have.
    skopeo("oci:layout", &pushed, &["--dest-tls-verify=false", "--format=v2s2"]);
    define(&place, &format!("'{NAME}'"));
    let mirror = format!("--mirror={HOST}=http://127.0.0.1:{}", registry.1);
    place.succeed("build x.toml --output-dir out", &[&mirror, UNVOUCHED]);

    let preload = unpacked(&place);
    let images = fs::read_to_string(preload.join("images")).unwrap();
    let (digest, name) = images.trim_end().split_once(' ').unwrap();
    assert_eq!(name, NAME);
    let manifest = fs::read(preload.join("blobs/sha256").join(digest)).unwrap();
    let types: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(types["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    // As the importer for CRI-O has it: one folder of all files, and the manifest of one image.
    for blob in fs::read_dir(preload.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        std::os::unix::fs::symlink(blob.path(), preload.join(blob.file_name())).unwrap();
    }
    fs::remove_file(preload.join("manifest.json")).unwrap();
    std::os::unix::fs::symlink(preload.join(digest), preload.join("manifest.json")).unwrap();
    skopeo(&format!("dir:{}", preload.display()), "dir:copy", &[]);
    assert_eq!(fs::read(place.path("copy/manifest.json")).unwrap(), manifest);
}
