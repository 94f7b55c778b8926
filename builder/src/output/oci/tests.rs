use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::assembly::{Assembly, Packages};
use crate::definition::plan::{Arch, BasePlan, BootManager, DiskPlan, ImagePlan, PackagesPlan};
use crate::layer::PackedLayer;
use crate::layer::pack::pack;
use crate::part::work::Work;
use crate::process::{Run, tool};
use crate::progress::Progress;
use crate::store::{Key, Store};
use crate::tree::{Body, Entry, Tree};

const EPOCH: u64 = 1_577_836_800;

fn plan() -> ImagePlan {
    ImagePlan {
        name: "debian-13".into(),
        arch: Arch::Amd64,
        variables: BTreeMap::from([("kubernetes".to_owned(), "1.34.9".to_owned())]),
        choices: Vec::new(),
        base: BasePlan::Packages(PackagesPlan {
            distribution: "debian".into(),
            suite: "trixie".into(),
            snapshot: None,
            components: Vec::new(),
            packages: Vec::new(),
        }),
        layers: Vec::new(),
        preload: Vec::new(),
        kernel_arguments: Vec::new(),
        disk: DiskPlan {
            sector_size: 512,
            bios: 0,
            esp: 0,
            var: 0,
            verity: 0,
            windows: 0,
            boot_manager: BootManager::default(),
        },
        metadata: None,
        outputs: vec!["oci".into()],
        output_options: BTreeMap::new(),
        tests: Vec::new(),
    }
}

fn layers(store: &Store) -> Vec<PackedLayer> {
    let mut base = Tree::default();
    base.insert("usr/bin/tool", Entry::file(Body::inline(vec![b'x'; 3000]), 0o4755));
    base.insert("bin", Entry::symlink("usr/bin"));
    base.complete();
    let mut upper = Tree::default();
    upper.insert("etc/motd", Entry::file(Body::inline(*b"hello\n"), 0o644));
    [("trixie", base), ("motd", upper)]
        .map(|(name, tree)| {
            pack(store, name, Key::new("layer", 1, &name, &[]).unwrap(), &tree, EPOCH).unwrap()
        })
        .into()
}

/// Writes the layout of a small image into `folder` with a store of its own.
fn write(folder: &Path) -> Vec<PackedLayer> {
    let store = Store::open(&folder.join("store")).unwrap();
    let layers = layers(&store);
    let (plan, progress) = (plan(), Progress::silent());
    let assembly = Assembly::Tree { tree: &Tree::default(), layers: &layers };
    let packages = Packages::NONE;
    let image = Image { plan: &plan, identity: Digest::of(b"identity"), epoch: EPOCH, assembly, packages };
    let parts = Parts::new(image, Work::new(&store, folder, &progress));
    let out = folder.join("out");
    fs::create_dir(&out).unwrap();
    check_files(&Oci::default().write(&parts, &out).unwrap(), &out);
    layers
}

/// `files` are all that is in `out`, each with the digest of its bytes.
fn check_files(files: &[OutputFile], out: &Path) {
    for written in files {
        assert_eq!(
            written.digest,
            Some(Digest::of_file(&out.join(&written.file)).unwrap()),
            "{}",
            written.file
        );
    }
    let mut told: Vec<_> = files.iter().map(|written| out.join(&written.file)).collect();
    told.sort();
    let layout = out.join("debian-13-oci");
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let mut there: Vec<_> = blobs.chain(["index.json", "oci-layout"].map(|name| layout.join(name))).collect();
    there.sort();
    assert_eq!(told, there);
}

fn missing(program: &str, test: &str) -> bool {
    let missing = tool(program).arg("--version").run(program).is_err();
    if missing {
        testkit::not_run(test, &format!("{program} is not installed"));
    }
    missing
}

#[test]
fn every_blob_has_the_digest_it_is_named_by() {
    let folder = tempfile::tempdir().unwrap();
    let layers = write(folder.path());
    let layout = folder.path().join("out/debian-13-oci");
    let blobs: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(blobs.len(), layers.len() + 2);
    for blob in blobs {
        assert_eq!(Digest::of_file(&blob).unwrap().hex(), blob.file_name().unwrap().to_str().unwrap());
    }
    let index: oci::ImageIndex = oci::ImageIndex::from_file(layout.join("index.json")).unwrap();
    let manifest = layout.join("blobs/sha256").join(index.manifests()[0].digest().digest());
    let manifest = oci::ImageManifest::from_file(manifest).unwrap();
    let config = oci::ImageConfiguration::from_file(
        layout.join("blobs/sha256").join(manifest.config().digest().digest()),
    )
    .unwrap();
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(config.rootfs().diff_ids(), &diff_ids);
    assert_eq!(config.created().as_deref(), Some("2020-01-01T00:00:00Z"));
}

#[test]
fn two_runs_write_the_same_bytes() {
    let [left, right] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    write(left.path());
    write(right.path());
    tool("diff")
        .arg("-r")
        .arg(left.path().join("out"))
        .arg(right.path().join("out"))
        .run("diffutils")
        .unwrap();
}

#[test]
fn skopeo_reads_it() {
    if missing("skopeo", "skopeo_reads_it") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let layers = write(folder.path());
    let reference = format!("oci:{}/out/debian-13-oci:debian-13", folder.path().display());
    let inspected = tool("skopeo").args(["inspect", "--config", &reference]).run("skopeo").unwrap();
    let config: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][1], layers[1].diff_id.to_string());
    // Copying makes skopeo read and verify every blob.
    let copy = format!("dir:{}/copy", folder.path().display());
    tool("skopeo")
        .args(["--insecure-policy", "copy", &reference, &copy])
        .run("skopeo")
        .unwrap();
}

#[test]
fn umoci_unpacks_it() {
    if missing("umoci", "umoci_unpacks_it") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let reference = format!("{}/out/debian-13-oci:debian-13", folder.path().display());
    let bundle = folder.path().join("bundle");
    tool("umoci")
        .args(["unpack", "--rootless", "--image", &reference])
        .arg(&bundle)
        .run("umoci")
        .unwrap();
    assert_eq!(fs::read(bundle.join("rootfs/etc/motd")).unwrap(), b"hello\n");
    assert_eq!(fs::read(bundle.join("rootfs/bin/tool")).unwrap().len(), 3000);
}
