//! A container image (<https://github.com/opencontainers/image-spec>) in a registry, or in a layout in a
//! folder: what a lock pins of it, and where its files are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container_image::ImageAddress;
use crate::definition::plan::{Arch, Location};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::fetch::{Fetcher, Request};
use crate::tree::Tree;

/// Names in a layout.
pub const LAYOUT: &str = "oci-layout";
/// The index of a layout.
pub const INDEX: &str = "index.json";

/// The largest index, manifest or configuration that is read, in bytes, as registries have it.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// The most layers: what Docker and overlayfs can mount.
const MOST_LAYERS: usize = 128;

/// The operating system of all nodes here, as an image names it.
const OS: &str = "linux";

/// Indexes in indexes.
const DEPTH: usize = 4;

/// The annotations that name an image in a layout, by preference: containerd's has the whole reference.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Its digest, which is its name.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// What a lock pins of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The manifest.
    pub manifest: Blob,
    /// The files that it names: the configuration, then the layers.
    pub blobs: Vec<Blob>,
}

impl Pins {
    /// Of the image for `arch` at `location`; `None` if that is a file. With a `name`, of the image of that
    /// name, if the layout has names.
    ///
    /// # Errors
    /// Of the fetch; [`ErrorKind::Archive`] if the image is broken, or there is none for `arch`.
    pub fn of(
        location: &Location,
        name: Option<&str>,
        arch: Arch,
        fetcher: &Fetcher<'_>,
    ) -> Result<Option<Self>> {
        let title = &location.written;
        if let Some(image) = location.image() {
            return Self::of_remote(&image, arch, title, fetcher).map(Some);
        }
        match location.path().filter(|path| path.is_dir()) {
            Some(folder) => Self::of_layout(&folder, name, arch, title).map(Some),
            None => Ok(None),
        }
    }

    /// Of the image for `arch` in the layout `folder`; see [`Self::of`].
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn of_layout(folder: &Path, name: Option<&str>, arch: Arch, title: &str) -> Result<Self> {
        if !folder.join(LAYOUT).is_file() {
            return Err(failed(title, "it is a folder, but no OCI layout: it has no oci-layout")
                .help("name a file, or a folder that skopeo copy … oci:FOLDER has made"));
        }
        let mut index = first_bytes(&folder.join(INDEX), LARGEST_DOCUMENT)?;
        if let Some(name) = name {
            index = named(&index, name).map_err(|why| failed(title, &why))?;
        }
        let read = |blob: &Blob| {
            let path = folder.join(blob_path(&blob.sha256));
            verified(first_bytes(&path, LARGEST_DOCUMENT)?, blob, title)
        };
        let manifest = manifest(&index, arch, title, &read)?;
        let bytes = read(&manifest)?;
        Self::new(manifest, &bytes, title)
    }

    fn of_remote(image: &ImageAddress, arch: Arch, title: &str, fetcher: &Fetcher<'_>) -> Result<Self> {
        let read = |blob: &Blob| {
            let document = fetcher.signed_document(&image.manifest_url(&blob.sha256), LARGEST_DOCUMENT)?;
            verified(document.bytes, blob, title)
        };
        let bytes = match image.digest {
            // The length is not known yet, and the digest decides.
            Some(sha256) => read(&Blob { sha256, size: 0 })?,
            None => fetcher.document(&image.url(), LARGEST_DOCUMENT)?.bytes,
        };
        let is_index =
            serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.get("manifests").is_some());
        if !is_index {
            let manifest = Blob { sha256: Digest::of(&bytes), size: bytes.len() as u64 };
            return Self::new(manifest, &bytes, title);
        }
        let manifest = manifest(&bytes, arch, title, &read)?;
        let bytes = read(&manifest)?;
        Self::new(manifest, &bytes, title)
    }

    /// Of the manifest, whose bytes these are.
    fn new(manifest: Blob, bytes: &[u8], title: &str) -> Result<Self> {
        let blobs = blobs(bytes).map_err(|why| failed(title, &why))?;
        Ok(Self { manifest, blobs: blobs.into_iter().map(|(blob, _)| blob).collect() })
    }
}

/// What must be fetched of the image, or the file, at `location`, whose manifest or only file has this
/// digest.
pub fn requests(
    location: &Location,
    title: &str,
    (sha256, size): (Digest, Option<u64>),
    blobs: &[Blob],
) -> Vec<Request> {
    let address = location.address.trim_end_matches('/');
    let image = location.image();
    let url_of_blob = |digest: &Digest| match &image {
        Some(image) => image.blob_url(digest),
        None => format!("{address}/{}", blob_path(digest)),
    };
    let url = match &image {
        Some(image) => image.manifest_url(&sha256),
        None if blobs.is_empty() => location.address.clone(),
        None => url_of_blob(&sha256),
    };
    let files = blobs.iter().map(|blob| (url_of_blob(&blob.sha256), blob.sha256, Some(blob.size)));
    std::iter::once((url, sha256, size))
        .chain(files)
        .map(|(url, digest, size)| Request {
            title: title.to_owned(),
            urls: vec![url],
            kept: Vec::new(),
            digest,
            size,
            absent: None,
        })
        .collect()
}

/// Whether a tree is a layout.
pub fn is_layout(tree: &Tree) -> bool {
    tree.file(LAYOUT).is_some() && tree.file(INDEX).is_some()
}

/// Where a layout has a blob.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The bytes of a blob, if they are that.
///
/// # Errors
/// [`ErrorKind::Archive`] if they are not.
pub fn verified(bytes: Vec<u8>, blob: &Blob, title: &str) -> Result<Vec<u8>> {
    if Digest::of(&bytes) == blob.sha256 {
        return Ok(bytes);
    }
    Err(failed(title, &format!("{} is not what its name says", blob_path(&blob.sha256))))
}

/// The first bytes of a file, at most `count`.
///
/// # Errors
/// [`ErrorKind::Io`].
pub fn first_bytes(path: &Path, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if !path.metadata().at("reading", path)?.is_file() {
        return Err(Error::new(ErrorKind::Archive, format!("{} is not a regular file", path.display())));
    }
    let file = File::open(path).at("opening", path)?;
    file.take(count).read_to_end(&mut bytes).at("reading", path)?;
    Ok(bytes)
}

/// The manifest for `arch` in an index, or in an index that it names, which `read` gives.
///
/// # Errors
/// [`ErrorKind::Archive`] if there is none.
pub fn manifest(
    index: &[u8],
    arch: Arch,
    title: &str,
    read: &dyn Fn(&Blob) -> Result<Vec<u8>>,
) -> Result<Blob> {
    let mut bytes = index.to_vec();
    for _ in 0..DEPTH {
        match choose(&bytes, arch).map_err(|why| failed(title, &why))? {
            Choice::Manifest(manifest) => return Ok(manifest),
            Choice::Index(index) => bytes = read(&index)?,
        }
    }
    Err(failed(title, "its indexes name each other"))
}

/// What an index leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// The image's manifest.
    Manifest(Blob),
    /// Another index.
    Index(Blob),
}

/// The only image for `arch` that an index names.
///
/// # Errors
/// Why there is none, in words.
pub fn choose(index: &[u8], arch: Arch) -> Result<Choice, String> {
    let index = ImageIndex::from_reader(index).map_err(|error| format!("its index: {error}"))?;
    // What has no platform is for any; attestations have the platform "unknown".
    let fits = |descriptor: &&Descriptor| {
        let platform = descriptor.platform().as_ref();
        platform.is_none_or(|platform| {
            platform.architecture().to_string() == arch.name() && platform.os().to_string() == OS
        })
    };
    let mut found: Vec<&Descriptor> = Vec::new();
    for descriptor in index.manifests().iter().filter(fits) {
        if found.iter().all(|other| other.digest() != descriptor.digest()) {
            found.push(descriptor);
        }
    }
    // Of the variants of an architecture, the one that every machine of it runs.
    let plain = |descriptor: &&&Descriptor| {
        let variant = descriptor.platform().as_ref().and_then(|platform| platform.variant().as_ref());
        variant.is_none_or(|variant| ["v1", "v8"].contains(&variant.as_str()))
    };
    if found.len() > 1 && found.iter().filter(plain).count() == 1 {
        found = found.iter().filter(plain).copied().collect();
    }
    match found.as_slice() {
        [one] => {
            let media_type = one.media_type().to_string();
            let is_index = media_type.contains("index") || media_type.contains("manifest.list");
            let blob = blob(one)?;
            Ok(if is_index { Choice::Index(blob) } else { Choice::Manifest(blob) })
        }
        [] => Err(format!("it has no image for {}", arch.name())),
        several => Err(format!(
            "it has {} images for {}; copy one of them out: skopeo copy oci:FOLDER:TAG oci:ONE",
            several.len(),
            arch.name()
        )),
    }
}

/// The index of a layout without the images that have other names than `name`, which is a whole one:
/// `registry/name:tag`. Many programs write the tag alone. What has no name at all may be any image, if
/// nothing has that one.
///
/// # Errors
/// Why there is none, in words.
pub fn named(index: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let mut index: Value = serde_json::from_slice(index).map_err(|error| format!("its index: {error}"))?;
    let manifests = index.get_mut("manifests").and_then(Value::as_array_mut).ok_or("its index is none")?;
    let tag = name.rsplit_once(':').map_or("", |(_, tag)| tag);
    let is_it = |written: &str| {
        if written.contains(['/', ':']) {
            ImageAddress::whole(written).as_deref() == Some(name)
        } else {
            written == tag
        }
    };
    let found: Vec<String> = manifests.iter().filter_map(written_name).map(str::to_owned).collect();
    let has_it = found.iter().any(|written| is_it(written));
    manifests.retain(|manifest| written_name(manifest).map_or(!has_it, is_it));
    if manifests.is_empty() && !found.is_empty() {
        return Err(format!("it has no {name}, but {}", found.join(", ")));
    }
    Ok(index.to_string().into_bytes())
}

fn written_name(descriptor: &Value) -> Option<&str> {
    let annotations = descriptor.get("annotations")?;
    NAMES.iter().find_map(|key| annotations.get(key)?.as_str())
}

/// How a layer is packed; the bytes tell it, so only whether it can be read is told here.
fn check_layer(media_type: &str) -> Result<(), String> {
    let known = ["tar", "tar+gzip", "tar+zstd", "tar.gzip", "tar.zstd"]
        .iter()
        .any(|end| media_type.ends_with(end));
    if known { Ok(()) } else { Err(format!("its layers of the type {media_type} are not known")) }
}

/// The blobs of a manifest: the configuration, then the layers, and whether each is a layer.
///
/// # Errors
/// What is wrong with the manifest, in words.
pub fn blobs(manifest: &[u8]) -> Result<Vec<(Blob, bool)>, String> {
    let manifest = ImageManifest::from_reader(manifest).map_err(|error| format!("its manifest: {error}"))?;
    if manifest.layers().len() > MOST_LAYERS {
        return Err(format!("it has more than {MOST_LAYERS} layers"));
    }
    let mut blobs = vec![(blob(manifest.config())?, false)];
    for layer in manifest.layers() {
        check_layer(layer.media_type().as_ref())?;
        blobs.push((blob(layer)?, true));
    }
    Ok(blobs)
}

fn blob(descriptor: &Descriptor) -> Result<Blob, String> {
    let digest = descriptor.digest().to_string();
    let sha256 = digest.strip_prefix("sha256:").and_then(|digits| digits.parse().ok());
    let sha256 = sha256.ok_or_else(|| format!("its digest {digest} is no SHA-256"))?;
    Ok(Blob { sha256, size: descriptor.size() })
}

/// Refuses the configuration of an image for another architecture.
///
/// # Errors
/// [`ErrorKind::Archive`].
pub fn check_architecture(config: &[u8], arch: Arch, title: &str) -> Result<()> {
    let config: Value = serde_json::from_slice(config)
        .map_err(|error| failed(title, &format!("its configuration: {error}")))?;
    let os = config.get("os").and_then(Value::as_str);
    if let Some(os) = os.filter(|os| *os != OS) {
        return Err(failed(title, &format!("it is for {os}, and this image for {OS}")));
    }
    match config.get("architecture").and_then(Value::as_str) {
        Some(found) if found == arch.name() => Ok(()),
        Some(found) => Err(failed(title, &format!("it is for {found}, and this image for {}", arch.name()))),
        None => Err(failed(title, "its configuration names no architecture")),
    }
}

/// Refuses another image than the definition wants.
///
/// # Errors
/// [`ErrorKind::Verification`].
pub fn check_manifest(found: &Digest, wanted: &Digest, title: &str) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    let message = format!("the manifest of {title} is {found}, and the definition wants {wanted}");
    Err(Error::new(ErrorKind::Verification, message)
        .help("copy the image again; its name may stand for another one now"))
}

/// An error about an image.
pub fn failed(title: &str, why: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("{title}: the OCI image: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_a_layout_is_found_by_its_name_if_there_are_names() {
        let layout = |names: &[&str]| {
            let manifests: Vec<Value> = names
                .iter()
                .map(|name| serde_json::json!({"digest": name, "annotations": {"org.opencontainers.image.ref.name": name}}))
                .collect();
            serde_json::json!({ "manifests": manifests }).to_string().into_bytes()
        };
        let found = |names: &[&str]| {
            let index = named(&layout(names), "docker.io/library/busybox:1")?;
            let index: Value = serde_json::from_slice(&index).unwrap();
            let manifests = index["manifests"].as_array().unwrap().clone();
            Ok::<_, String>(
                manifests.iter().map(|m| m["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(found(&["a.example/x:1", "busybox:1"]).unwrap(), ["busybox:1"]);
        assert_eq!(found(&["1"]).unwrap(), ["1"]);
        assert_eq!(found(&["2", "1"]).unwrap(), ["1"]);
        for other in ["2", "a.example/x", "a.example/x@sha256:1"] {
            assert!(found(&[other]).unwrap_err().ends_with(&format!("but {other}")));
        }
        let error = found(&["a.example/x:1"]).unwrap_err();
        assert_eq!(error, "it has no docker.io/library/busybox:1, but a.example/x:1");
        assert!(named(b"{}", "x").is_err() && named(b"[", "x").is_err());
    }

    #[test]
    fn a_pipe_in_place_of_a_document_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INDEX);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(first_bytes(&path, 1).unwrap_err().message().contains("not a regular file"));
    }

    #[test]
    fn an_image_of_another_architecture_is_refused() {
        check_architecture(br#"{"architecture":"amd64"}"#, Arch::Amd64, "x").unwrap();
        for (config, says) in [
            (
                &br#"{"architecture":"amd64","os":"windows"}"#[..],
                "it is for windows, and this image for linux",
            ),
            (&br#"{"architecture":"arm64"}"#[..], "it is for arm64, and this image for amd64"),
            (b"{}", "names no architecture"),
            (b"no", "its configuration: "),
        ] {
            let error = check_architecture(config, Arch::Amd64, "x").unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
    }

    #[test]
    fn of_an_index_for_several_systems_the_one_for_all_machines_with_linux_is_taken() {
        let of = |platforms: &[(&str, &str, &str, &str)]| {
            let manifests: Vec<Value> = platforms
                .iter()
                .map(|(digit, os, architecture, variant)| {
                    let mut platform = serde_json::json!({"os": os, "architecture": architecture});
                    if !variant.is_empty() {
                        platform["variant"] = serde_json::json!(variant);
                    }
                    serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                        "digest": format!("sha256:{}", digit.repeat(64)), "platform": platform})
                })
                .collect();
            let index = serde_json::json!({"schemaVersion": 2, "manifests": manifests});
            match choose(index.to_string().as_bytes(), Arch::Amd64) {
                Ok(Choice::Manifest(blob) | Choice::Index(blob)) => Ok(blob.sha256.hex()[..1].to_owned()),
                Err(why) => Err(why),
            }
        };
        let linux = ("a", "linux", "amd64", "");
        let windows = [("b", "windows", "amd64", ""), ("c", "windows", "amd64", "")];
        assert_eq!(of(&[windows[0], linux, windows[1]]).unwrap(), "a");
        assert_eq!(of(&[("b", "linux", "amd64", "v3"), linux]).unwrap(), "a");
        assert_eq!(of(&[linux, linux, ("d", "linux", "arm64", "v8")]).unwrap(), "a");
        assert!(of(&windows).unwrap_err().contains("no image for amd64"));
        assert!(of(&[linux, ("b", "linux", "amd64", "")]).unwrap_err().contains("2 images for amd64"));
    }
}
