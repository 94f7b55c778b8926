//! Container images that the runtime imports before the network is up. Each archive must hold the image that
//! the definition names.
//!
//! | archive | where the names are |
//! |---|---|
//! | `docker save`, skopeo's docker-archive | `manifest.json`: `RepoTags` |
//! | OCI image layout in a tar (image-spec, "Image Layout") | `index.json`: annotations of the manifests |

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::archive;
use crate::definition::plan::{ArchiveRules, ImagePlan, PreloadOrigin, PreloadPlan};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::store::Store;
use crate::tree::{Body, Entry, Node, Tree};

/// Where the archives lie; `preload-images.service` of the runtime's layer imports them.
pub const FOLDER: &str = "usr/lib/kiln/preload";

/// The annotations that name an image in a layout, by preference: containerd's has the whole reference.
const ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Adds the archives to `top`, in the definition's order. Compressed archives are unpacked to `spool` for the
/// check.
pub fn preload(top: &mut Tree, plan: &ImagePlan, store: &Store, spool: &Path) -> Result<()> {
    for (index, image) in plan.preload.iter().enumerate() {
        if let PreloadOrigin::File(path) = &image.origin {
            let mut file = std::fs::File::open(path).at("opening", path)?;
            let inserted = store.insert(&mut file, Some(&image.sha256));
            inserted.map_err(|error| error.context(format!("{} for {}", path.display(), image.reference)))?;
        }
        let blob = store.verified(&image.sha256)?;
        check(image, &blob, spool)?;
        let len = blob.metadata().at("reading", &blob)?.len();
        let body = Body::Slice { file: Arc::from(blob), offset: 0, len };
        top.insert(format!("{FOLDER}/{index:03}.tar"), Entry::file(body, 0o644));
    }
    Ok(())
}

/// A runtime imports an image under the name in its archive. With another name than the definition's, it
/// would fetch the image from the network.
fn check(image: &PreloadPlan, archive: &Path, spool: &Path) -> Result<()> {
    let everything = ArchiveRules { strip: 0, pick: Vec::new(), into: String::new(), mode: None };
    let names = names(&archive::extract(archive, &everything, &image.reference, spool)?);
    if names.iter().any(|name| full(name) == full(&image.reference)) {
        return Ok(());
    }
    let (holds, help) = match names.as_slice() {
        [] => (
            "no image with a name".to_owned(),
            "save the image by its name: docker save NAME, or skopeo copy … docker-archive:FILE:NAME",
        ),
        names => (names.join(", "), "write the name that the archive has, or save the image under this one"),
    };
    Err(Error::new(
        ErrorKind::Definition,
        format!("the archive to preload for {} holds {holds}", image.reference),
    )
    .help(help))
}

#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// The names of the images in an archive.
fn names(archive: &Tree) -> Vec<String> {
    let saved: Vec<Saved> = json(archive, "manifest.json").unwrap_or_default();
    let index: Index = json(archive, "index.json").unwrap_or(Index { manifests: Vec::new() });
    let annotated = index
        .manifests
        .into_iter()
        .filter_map(|mut manifest| ANNOTATIONS.iter().find_map(|key| manifest.annotations.remove(*key)));
    let mut names: Vec<String> = saved
        .into_iter()
        .flat_map(|image| image.tags.unwrap_or_default())
        .chain(annotated)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn json<T: for<'de> Deserialize<'de>>(archive: &Tree, path: &str) -> Option<T> {
    let Node::File(body) = &archive.get(path)?.node else { return None };
    serde_json::from_slice(&body.read().ok()?).ok()
}

/// A reference in full, as every runtime reads it: `docker.io/` and `library/` may be left out.
fn full(reference: &str) -> String {
    let first = reference.split_once('/').map_or("", |(first, _)| first);
    if first.contains(['.', ':']) || first == "localhost" {
        return reference.to_owned();
    }
    if first.is_empty() { format!("docker.io/library/{reference}") } else { format!("docker.io/{reference}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn tree(path: &str, text: &str) -> Tree {
        let mut tree = Tree::default();
        tree.insert(path, Entry::file(Body::inline(text.as_bytes().to_vec()), 0o644));
        tree
    }

    #[test]
    fn reads_the_names_of_both_kinds_of_archives() {
        let saved = tree(
            "manifest.json",
            r#"[{"Config":"c","RepoTags":["busybox:1"],"Layers":[]},{"Config":"d","RepoTags":null,"Layers":[]}]"#,
        );
        assert_eq!(names(&saved), ["busybox:1"]);
        let layout = r#"{"schemaVersion":2,"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"1","io.containerd.image.name":"localhost/x:1"}},{}]}"#;
        assert_eq!(names(&tree("index.json", layout)), ["localhost/x:1"]);
        assert!(names(&tree("manifest.json", "no JSON")).is_empty() && names(&Tree::default()).is_empty());
    }

    #[test]
    fn an_archive_of_another_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
        let (json, mut header) =
            (br#"[{"Config":"c","RepoTags":["busybox:1"],"Layers":[]}]"#, tar::Header::new_gnu());
        header.set_size(json.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, "manifest.json", json.as_slice()).unwrap();
        archive.finish().unwrap();
        let image = |reference: &str| PreloadPlan {
            reference: reference.to_owned(),
            origin: PreloadOrigin::File(path.clone()),
            sha256: Digest::of_file(&path).unwrap(),
        };
        check(&image("docker.io/library/busybox:1"), &path, folder.path()).unwrap();
        let error = check(&image("registry.k8s.io/pause:3"), &path, folder.path()).unwrap_err();
        assert_eq!(error.message(), "the archive to preload for registry.k8s.io/pause:3 holds busybox:1");
    }

    #[test]
    fn short_names_are_those_of_docker_hub() {
        assert_eq!(full("busybox:1"), full("docker.io/library/busybox:1"));
        assert_eq!(full("grafana/loki:3"), "docker.io/grafana/loki:3");
        for whole in ["registry.k8s.io/pause:3.10", "localhost/x:1", "host:5000/x:1"] {
            assert_eq!(full(whole), whole);
        }
    }
}
