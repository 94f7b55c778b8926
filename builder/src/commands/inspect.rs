//! `kiln inspect`

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use indicatif::DecimalBytes;
use serde_json::json;

use super::Terminal;
use super::image::{self, Named};
use crate::cli::InspectArgs;
use crate::columns::widest;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::sums::{self, Sum};
use crate::progress::Progress;
use crate::provenance::{Finished, MANIFEST, SBOM, SUMS};
use crate::size_map::{self, Folder, SizeMap};
use crate::verify::Subject;

/// Shows the contents of a built image; with `--verify` compares every file with the list of digests.
pub fn run(args: &InspectArgs, progress: &Progress, terminal: &Terminal) -> Result<()> {
    let path = if args.image.is_dir() { args.image.join(MANIFEST) } else { args.image.clone() };
    if let Some(file) = args.map.as_ref().filter(|_| !is_manifest(&path)) {
        let named = image::named(&args.image, image::is_layout, image::whole)?;
        return draw_image(&named, args.edition.as_deref(), file, progress, terminal);
    }
    let manifest = Finished::read(&path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let verified = if args.verify { Some(verify(&manifest, folder)?) } else { None };
    if let Some(file) = &args.map {
        draw_build(&manifest, folder, args.edition.as_deref(), file, progress)?;
    }
    terminal.show(&manifest, |manifest| text(manifest, verified))
}

/// Whether `path` is to be read as a manifest, not as an image.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json") && path.is_file()
}

/// The folders of an image.
fn folders(subject: &Subject) -> Result<Folder> {
    match &subject.windows {
        Some(windows) => Ok(Folder::of_windows(&windows.files.sizes()?)),
        None => Ok(Folder::of(&subject.tree)),
    }
}

/// Draws a finished build: its layers, and the folders of the best of its outputs, if one has files.
fn draw_build(
    manifest: &Finished,
    folder: &Path,
    edition: Option<&str>,
    file: &Path,
    progress: &Progress,
) -> Result<()> {
    let outputs: Vec<String> = manifest.outputs.iter().map(|sum| sum.file.clone()).collect();
    let root = match image::whole(folder, &outputs) {
        Ok(path) => {
            let named = image::named(&path, image::is_layout, image::whole)?;
            Some(folders(&named.open(None, edition, progress)?.subject)?)
        }
        Err(_) => None,
    };
    let layers = manifest.layers.iter().map(|layer| (layer.name.clone(), layer.size)).collect();
    write(&SizeMap { title: manifest.name.clone(), layers, root }, file)
}

/// Draws an image, and says how large it is.
fn draw_image(
    named: &Named,
    edition: Option<&str>,
    file: &Path,
    progress: &Progress,
    terminal: &Terminal,
) -> Result<()> {
    let opened = named.open(None, edition, progress)?;
    let root = folders(&opened.subject)?;
    let shown = json!({ "image": named.path, "files": root.files, "bytes": root.size, "map": file });
    let said = format!("{} in {} files", DecimalBytes(root.size), root.files);
    let layers = named.manifest.iter().flat_map(|manifest| &manifest.layers);
    let layers = layers.map(|layer| (layer.name.clone(), layer.size)).collect();
    let name = named.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    write(&SizeMap { title: name, layers, root: Some(root) }, file)?;
    terminal.show(&shown, |_| said)
}

fn write(map: &SizeMap, file: &Path) -> Result<()> {
    let is_page = file.extension().is_some_and(|end| end == "html");
    fs::write(file, if is_page { size_map::html(map) } else { size_map::svg(map) }).at("writing", file)
}

/// Compares all files, the manifest and the SBOM among them, with the list of digests, and that with the
/// manifest. Returns how many there are.
fn verify(manifest: &Finished, folder: &Path) -> Result<usize> {
    let path = folder.join(SUMS);
    let list = fs::read_to_string(&path).at("reading", &path)?;
    let listed = sums::parse(&list).map_err(|line| {
        Error::new(ErrorKind::Verification, format!("{}:{line} is not a digest and a file", path.display()))
            .help("build again, or copy it again")
    })?;
    let mut wrong = BTreeSet::new();
    for (file, digest) in &listed {
        if Digest::of_file(&folder.join(file))? != *digest {
            wrong.insert(*file);
        }
    }
    let differs = |file: &&Sum| listed.get(file.file.as_str()) != Some(&file.sha256);
    wrong.extend(manifest.outputs.iter().filter(differs).map(|file| file.file.as_str()));
    wrong.extend([MANIFEST, SBOM].into_iter().filter(|file| !listed.contains_key(file)));
    if wrong.is_empty() {
        return Ok(listed.len());
    }
    let wrong: Vec<&str> = wrong.into_iter().collect();
    Err(Error::new(ErrorKind::Verification, format!("not as they were built: {}", wrong.join(", ")))
        .help("build again, or copy them again"))
}

fn text(manifest: &Finished, verified: Option<usize>) -> String {
    let mut lines = vec![format!("{} {}", manifest.name, manifest.identity)];
    let layers = widest(16, manifest.layers.iter().map(|layer| layer.name.as_str()));
    lines.extend(manifest.layers.iter().map(|layer| {
        let size = DecimalBytes(layer.size).to_string();
        format!("layer    {:<layers$} {size:>10}  {}", layer.name, layer.diff_id)
    }));
    let artifacts = widest(16, manifest.artifacts.iter().map(|artifact| artifact.name.as_str()));
    let versions = widest(10, manifest.artifacts.iter().map(|artifact| artifact.version.as_str()));
    lines.extend(manifest.artifacts.iter().map(|artifact| {
        let (name, version) = (&artifact.name, &artifact.version);
        format!("artifact {name:<artifacts$} {version:<versions$}  {}", artifact.sha256)
    }));
    lines.push(format!("packages {}", manifest.packages.len()));
    let shown = || manifest.outputs.iter().filter(|file| !file.file.contains("/blobs/"));
    let files = widest(36, shown().map(|file| file.file.as_str()));
    lines.extend(shown().map(|file| {
        let size = DecimalBytes(file.size).to_string();
        format!("file     {:<files$} {size:>10}  {:.12}", file.file, file.sha256.hex())
    }));
    lines.extend(verified.map(|count| format!("verified {count} files")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_moves_no_column() {
        let digest = Digest::of(b"");
        let manifest = serde_json::json!({
            "name": "x", "arch": "amd64", "identity": digest, "variables": {}, "kernel": null, "packages": [],
            "artifacts": [], "tools": {},
            "layers": [
                { "name": "boot", "diffID": digest, "size": 1 },
                { "name": "windows-features-unattend", "diffID": digest, "size": 1000 },
            ],
            "outputs": [
                { "file": "a.raw", "size": 1, "sha256": digest },
                { "file": format!("{}.raw", "a".repeat(50)), "size": 1, "sha256": digest },
            ],
        });
        let manifest: Finished = serde_json::from_value(manifest).unwrap();
        let said = text(&manifest, None);
        for (kind, mark) in [("layer ", "sha256:"), ("file ", &digest.hex()[..12])] {
            let places: Vec<_> =
                said.lines().filter(|line| line.starts_with(kind)).map(|line| line.find(mark)).collect();
            assert!(places.len() == 2 && places[0].is_some() && places[0] == places[1], "{said}");
        }
    }
}
