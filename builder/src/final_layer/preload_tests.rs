use super::*;
use crate::definition::plan::Location;

/// Writes a tar of these files and links to the path of its digest in `store`, and gives that.
fn archive(store: &Store, files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Digest {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    for (path, bytes) in files {
        tar.append_data(&mut header(tar::EntryType::Regular, bytes.len()), path, *bytes).unwrap();
    }
    for (path, target) in links {
        tar.append_link(&mut header(tar::EntryType::Symlink, 0), path, target).unwrap();
    }
    store.insert(&mut tar.into_inner().unwrap().as_slice(), None).unwrap().0
}

const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
const NAME: &str = "registry.k8s.io/pause:3";

fn plan(reference: &str, sha256: Digest) -> PreloadPlan {
    let from = Location { written: "x.tar".to_owned(), address: "file:///x.tar".to_owned() };
    PreloadPlan { reference: reference.to_owned(), from, sha256: Some(sha256) }
}

struct Place(tempfile::TempDir, Store);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self(folder, store)
    }

    fn read(&self, image: &PreloadPlan) -> Result<Image> {
        let spool = self.0.path();
        Source { image, arch: Arch::Amd64, store: &self.1, spool }.in_archive(&image.sha256.unwrap())
    }

    fn saved(&self, manifest: &str) -> Digest {
        let files = [
            ("manifest.json", manifest.as_bytes()),
            ("c.json", CONFIG),
            ("1/layer.tar", b"\x1f\x8bgzip"),
            ("b", b"plain"),
        ];
        archive(&self.1, &files, &[("2/layer.tar", "../1/layer.tar")])
    }

    fn laid_out(&self, index: &Value, files: &[Vec<u8>]) -> Digest {
        let paths: Vec<String> = files.iter().map(|bytes| blob_path(&Digest::of(bytes))).collect();
        let index = index.to_string();
        let mut all = vec![("oci-layout", &b"{}"[..]), (INDEX, index.as_bytes())];
        all.extend(paths.iter().map(String::as_str).zip(files.iter().map(Vec::as_slice)));
        archive(&self.1, &all, &[])
    }
}

fn descriptor(bytes: &[u8], media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

#[test]
fn what_docker_save_writes_becomes_an_image_with_a_manifest() {
    let place = Place::new();
    let manifest = r#"[{"Config":"c.json","RepoTags":["busybox:1"],"Layers":["b"]},
        {"Config":"c.json","RepoTags":["registry.k8s.io/pause:3"],"Layers":["1/layer.tar","b","2/layer.tar"]}]"#;
    let image = place.read(&plan(NAME, place.saved(manifest))).unwrap();
    let (gzip, plain) = (Digest::of(b"\x1f\x8bgzip"), Digest::of(b"plain"));
    assert_eq!((image.config, image.layers), (Digest::of(CONFIG), vec![gzip, plain, gzip]));
    let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    let types: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["mediaType"].as_str().unwrap())
        .collect();
    let kind = "application/vnd.oci.image.layer.v1.tar";
    assert_eq!(types, [&format!("{kind}+gzip"), kind, &format!("{kind}+gzip")]);
    assert_eq!(image.blobs[2].1.read().unwrap(), b"plain");
    // A name may be short, and there may be none.
    for manifest in
        [manifest_of("\"busybox:1\""), r#"[{"Config":"c.json","RepoTags":null,"Layers":[]}]"#.to_owned()]
    {
        place.read(&plan("docker.io/library/busybox:1", place.saved(&manifest))).unwrap();
    }
}

fn manifest_of(tags: &str) -> String {
    format!(r#"[{{"Config":"c.json","RepoTags":[{tags}],"Layers":["b"]}}]"#)
}

#[test]
fn an_image_of_a_layout_keeps_its_manifest() {
    let place = Place::new();
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind,
        "config": descriptor(CONFIG, "application/vnd.docker.container.image.v1+json"),
        "layers": [descriptor(b"l", "application/vnd.docker.image.rootfs.diff.tar.gzip")]})
    .to_string()
    .into_bytes();
    let mut entry = descriptor(&manifest, kind);
    let files = [CONFIG.to_vec(), b"l".to_vec(), manifest.clone()];
    for name in [None, Some(NAME), Some("3")] {
        if let Some(name) = name {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let image = place.read(&plan(NAME, place.laid_out(&index, &files))).unwrap();
        assert!(image.manifest == manifest && image.media_type == kind);
        assert_eq!(image.layers, [Digest::of(b"l")]);
    }
}

#[test]
fn archives_of_something_else_are_refused() {
    let place = Place::new();
    let arm = br#"{"architecture":"arm64"}"#.to_vec();
    let of = |config: &[u8]| {
        let manifest = json!({"schemaVersion": 2, "config": descriptor(config, "application/vnd.oci.image.config.v1+json"), "layers": []});
        let manifest = manifest.to_string().into_bytes();
        (json!({"schemaVersion": 2, "manifests": [descriptor(&manifest, MANIFEST)]}), manifest)
    };
    let (for_arm, arm_manifest) = of(&arm);
    let (index, manifest) = of(CONFIG);
    let other = json!({"schemaVersion": 2, "manifests": [{"annotations": {"io.containerd.image.name": "a.example/b:1"}}]});
    let no_index = json!({"manifests": []});
    for (archive, says) in [
        (place.saved(&manifest_of("\"busybox:1\"")), "it has no registry.k8s.io/pause:3, but busybox:1"),
        (place.saved("[]"), "it has 0 images without names"),
        (place.saved("{}"), "its manifest.json: "),
        (
            place.saved(&manifest_of("\"registry.k8s.io/pause:3\"").replace("\"b\"", "\"gone\"")),
            "it lacks gone",
        ),
        (archive(&place.1, &[("etc/passwd", b"x")], &[]), "neither a layout nor what docker save writes"),
        (place.laid_out(&for_arm, &[arm, arm_manifest]), "it is for arm64, and this image for amd64"),
        (place.laid_out(&index, std::slice::from_ref(&manifest)), "it lacks blobs/sha256/"),
        (place.laid_out(&other, &[]), "it has no registry.k8s.io/pause:3, but a.example/b:1"),
        (place.laid_out(&no_index, &[]), "its index: "),
        (
            archive(
                &place.1,
                &[
                    ("oci-layout", b"{}"),
                    (INDEX, index.to_string().as_bytes()),
                    (&blob_path(&Digest::of(&manifest)), b"{}"),
                ],
                &[],
            ),
            "is not what its name says",
        ),
    ] {
        let Err(error) = place.read(&plan(NAME, archive)) else { panic!("{says}: it was read") };
        assert!(error.message().contains(says), "{says}: {error}");
    }
}

#[test]
fn images_share_their_files_in_one_layout() {
    let place = Place::new();
    let both = r#"[{"Config":"c.json","RepoTags":["a/a:1"],"Layers":["b"]},{"Config":"c.json","RepoTags":["b/b:2"],"Layers":["b","1/layer.tar"]}]"#;
    let digest = place.saved(both);
    let images = [plan("docker.io/a/a:1", digest), plan("docker.io/b/b:2", digest)];
    let mut top = Tree::default();
    preload(&mut top, (&images, Arch::Amd64), &[], &place.1, place.0.path()).unwrap();
    let file = |name: &str| top.file(&format!("{FOLDER}/{name}")).unwrap().read().unwrap();
    let json = |name: &str| serde_json::from_slice::<Value>(&file(name)).unwrap();
    let index = json(INDEX);
    let lines = String::from_utf8(file("images")).unwrap();
    for (line, entry) in lines.lines().zip(index["manifests"].as_array().unwrap()) {
        let (digest, name) = line.split_once(' ').unwrap();
        assert_eq!(entry["annotations"]["io.containerd.image.name"], name);
        assert_eq!(Digest::of(&file(&format!("blobs/sha256/{digest}"))).hex(), digest);
    }
    assert_eq!(json("manifest.json")[1]["RepoTags"], json!(["docker.io/b/b:2"]));
    // Two manifests, one configuration, two layers, and the four documents.
    assert_eq!(top.entries.len(), 5 + 4);
}
