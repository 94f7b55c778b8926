//! The manifest, the SBOM and the list of digests.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use kiln::base::packages::{LockedPackages, Selection};
use kiln::base::{LockedBase, LockedPackage};
use kiln::definition::plan::{ArtifactPlan, Checksum, LayerPlan, Origin, Place};
use kiln::digest::Digest;
use kiln::layer::PackedLayer;
use kiln::lock::LockedArtifact;
use kiln::output;
use kiln::output::sums;
use kiln::provenance::{self, Pins};
use kiln::tree::{Body, Entry};
use serde_json::Value;

use crate::bench::{Bench, have};

const RUNC: &str = "https://github.com/opencontainers/runc/releases/download/v1.3.0/runc.amd64";

fn artifact() -> LockedArtifact {
    LockedArtifact {
        layer: "runc".to_owned(),
        name: "runc".to_owned(),
        version: "1.3.0".to_owned(),
        url: RUNC.to_owned(),
        checksum: None,
        signer: None,
        size: Some(12),
        sha256: Digest::of(b"runc"),
    }
}

fn package(name: &str, source: &str) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: "1:2.0-1+b1".to_owned(),
        architecture: "amd64".to_owned(),
        source: source.to_owned(),
        source_version: None,
        snapshot: None,
        archive: "debian".to_owned(),
        path: format!("pool/main/{name}.deb"),
        size: 9,
        sha256: Digest::of(name.as_bytes()),
        install: true,
    }
}

fn selection() -> Selection {
    Selection {
        distribution: "debian".to_owned(),
        suite: "trixie".to_owned(),
        snapshot: None,
        components: Vec::new(),
        install: Vec::new(),
        extract: Vec::new(),
    }
}

/// A layer whose tar is never read.
fn packed() -> PackedLayer {
    let digest = Digest::of(b"layer");
    PackedLayer {
        name: "runc".to_owned(),
        key: digest,
        tar: "/nowhere/runc.tar".into(),
        diff_id: digest,
        size: 1536,
        cached: false,
    }
}

fn layer() -> LayerPlan {
    let place = || Place::File { path: "usr/bin/x".to_owned(), mode: 0o755 };
    let origin = Origin::Url {
        url: RUNC.to_owned(),
        checksum: Some(Checksum::Pinned(Digest::of(b"runc"))),
        signature: None,
    };
    let license = Some("Apache-2.0".to_owned());
    let program = Origin::Program { name: "firstboot".to_owned() };
    LayerPlan {
        name: "runc".to_owned(),
        summary: String::new(),
        artifacts: vec![
            ArtifactPlan {
                name: "runc".to_owned(),
                version: "1.3.0".to_owned(),
                origin,
                place: place(),
                license,
                module: None,
            },
            ArtifactPlan {
                name: "agent".to_owned(),
                version: "0".to_owned(),
                origin: program,
                place: place(),
                license: None,
                module: None,
            },
        ],
        files: Vec::new(),
        directories: Vec::new(),
        links: Vec::new(),
        enable: Vec::new(),
        mask: Vec::new(),
        replaces: Vec::new(),
        windows: None,
        packages: Vec::new(),
        extension: true,
    }
}

/// Writes the raw output with its provenance; the parsed manifest and SBOM.
fn describe(bench: &mut Bench) -> (Value, Value) {
    bench.plan.layers = vec![layer()];
    bench.plan.variables.insert("kubernetes".to_owned(), "1.36.2".to_owned());
    bench
        .tree
        .insert("usr/lib/os-release", Entry::file(Body::inline(*b"ID=debian\nVERSION_ID=\"13\"\n"), 0o644));
    let out = bench.path("out");
    bench.layers = vec![packed()];
    let packages = vec![package("libc6", "glibc"), package("bash", "bash")];
    let (artifacts, base) =
        ([artifact()], LockedBase::Packages(LockedPackages { selection: selection(), packages }));
    bench.with(|parts| {
        let files = output::configured("raw", None).unwrap().write(parts, &out).unwrap();
        let pins = Pins { artifacts: &artifacts, base: &base, preload: &[] };
        let sums = provenance::write(parts, pins, sums::of(&files, &out).unwrap(), &out).unwrap();
        assert_eq!(sums.len(), files.len() + 2);
    });
    let read = |name: &str| serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap();
    (read(provenance::MANIFEST), read(provenance::SBOM))
}

#[test]
fn sha256sum_agrees_with_the_list_and_the_manifest() {
    if !have("digests", &["mksquashfs", "mke2fs", "sha256sum"]) {
        return;
    }
    let mut bench = Bench::new();
    let (manifest, _) = describe(&mut bench);
    let output = Command::new("sha256sum")
        .args(["--strict", "-c", "SHA256SUMS"])
        .current_dir(bench.path("out"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 6, "{said}");
    let raw = manifest["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["file"] == "test-node.raw")
        .unwrap();
    let path = bench.path("out/test-node.raw");
    assert_eq!(raw["size"], fs::metadata(&path).unwrap().len());
    assert_eq!(raw["sha256"], Digest::of_file(&path).unwrap().to_string());
}

#[test]
fn the_manifest_says_where_the_root_is() {
    if !have("manifest", &["mksquashfs", "mke2fs"]) {
        return;
    }
    let mut bench = Bench::new();
    let (manifest, _) = describe(&mut bench);
    assert_eq!((&manifest["schema"], &manifest["name"]), (&1.into(), &"test-node".into()));
    let partitions = manifest["disk"]["partitions"].as_array().unwrap();
    let root = partitions.iter().find(|partition| partition["label"] == "root").unwrap();
    assert_eq!(root["flags"], "0x1000000000000000");
    let mut magic = [0; 4];
    fs::File::open(bench.path("out/test-node.raw"))
        .unwrap()
        .read_exact_at(&mut magic, root["offset"].as_u64().unwrap())
        .unwrap();
    assert_eq!(&magic, b"hsqs");
    let wanted = format!("root=PARTUUID={}", root["guid"].as_str().unwrap());
    assert!(manifest["kernel"]["command_line"].as_str().unwrap().ends_with(&wanted));
    assert_eq!(manifest["layers"][0]["diffID"], Digest::of(b"layer").to_string());
    assert_eq!(manifest["tools"].as_object().unwrap().keys().collect::<Vec<_>>(), ["mke2fs", "mksquashfs"]);
    let text = manifest.to_string();
    assert!(
        !text.contains("/nowhere") && !text.contains(bench.path("").to_str().unwrap()),
        "a path of the host: {text}"
    );
}

#[test]
fn the_sbom_names_every_package_and_artifact() {
    if !have("sbom", &["mksquashfs", "mke2fs"]) {
        return;
    }
    let (_, sbom) = describe(&mut Bench::new());
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    assert_eq!(sbom["metadata"]["timestamp"], "2020-01-01T00:00:00Z");
    let components = sbom["components"].as_array().unwrap();
    let names: Vec<_> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["firstboot", "runc", "debian", "bash", "libc6"]);
    let purl = "pkg:deb/debian/libc6@1:2.0-1%2Bb1?arch=amd64&distro=debian-13&upstream=glibc";
    assert_eq!(components[4]["purl"], purl);
    assert_eq!(components[1]["licenses"][0]["expression"], "Apache-2.0");
    assert_eq!(components[1]["hashes"][0]["content"], Digest::of(b"runc").hex());
    assert_eq!(sbom["dependencies"][0]["dependsOn"].as_array().unwrap().len(), components.len());
}

#[test]
fn provenance_is_bit_identical_too() {
    if !have("identical provenance", &["mksquashfs", "mke2fs"]) {
        return;
    }
    let [one, two] = [(); 2].map(|()| {
        let mut bench = Bench::new();
        describe(&mut bench);
        fs::read(bench.path("out/SHA256SUMS")).unwrap()
    });
    assert!(one == two);
}
