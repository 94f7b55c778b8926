//! `kiln inspect`

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use indicatif::DecimalBytes;
use serde_json::json;

use super::Terminal;
use super::image::{self, Named};
use crate::cli::InspectArgs;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::sums::{self, Sum};
use crate::progress::Progress;
use crate::provenance::{Finished, MANIFEST, SBOM, SUMS};
use crate::size_map::{self, Folder, SizeMap};

/// Shows the contents of a built image; with `--verify` compares every file with the list of digests.
pub fn run(args: &InspectArgs, progress: &Progress, terminal: &Terminal) -> Result<()> {
    let path = if args.image.is_dir() { args.image.join(MANIFEST) } else { args.image.clone() };
    if let Some(file) = args.map.as_ref().filter(|_| !is_manifest(&path)) {
        let named = image::named(&args.image, image::is_layout, image::whole)?;
        return draw_image(&named, file, progress, terminal);
    }
    let manifest = Finished::read(&path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let verified = if args.verify { Some(verify(&manifest, folder)?) } else { None };
    if let Some(file) = &args.map {
        draw_build(&manifest, folder, file, progress)?;
    }
    terminal.show(&manifest, |manifest| text(manifest, verified))
}

/// Whether `path` is to be read as a manifest, not as an image.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json") && path.is_file()
}

const NOT_DRAWN: &str = "the sizes of its files are not known";

/// Draws a finished build: its layers, and the folders of the best of its outputs, if one has files.
fn draw_build(manifest: &Finished, folder: &Path, file: &Path, progress: &Progress) -> Result<()> {
    let outputs: Vec<String> = manifest.outputs.iter().map(|sum| sum.file.clone()).collect();
    let root = match image::whole(folder, &outputs) {
        Ok(path) => {
            let opened = image::named(&path, image::is_layout, image::whole)?.open(None, progress)?;
            Some(Folder::of(&opened.subject.of_linux(NOT_DRAWN)?.tree))
        }
        Err(_) => None,
    };
    let layers = manifest.layers.iter().map(|layer| (layer.name.clone(), layer.size)).collect();
    write(&SizeMap { title: manifest.name.clone(), layers, root }, file)
}

/// Draws an image, and says how large it is.
fn draw_image(named: &Named, file: &Path, progress: &Progress, terminal: &Terminal) -> Result<()> {
    let opened = named.open(None, progress)?;
    let root = Folder::of(&opened.subject.of_linux(NOT_DRAWN)?.tree);
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
    lines.extend(manifest.layers.iter().map(|layer| {
        format!("layer    {:<16} {:>10}  {}", layer.name, DecimalBytes(layer.size).to_string(), layer.diff_id)
    }));
    lines.extend(manifest.artifacts.iter().map(|artifact| {
        format!("artifact {:<16} {:<10}  {}", artifact.name, artifact.version, artifact.sha256)
    }));
    lines.push(format!("packages {}", manifest.packages.len()));
    lines.extend(manifest.outputs.iter().filter(|file| !file.file.contains("/blobs/")).map(|file| {
        format!(
            "file     {:<36} {:>10}  {:.12}",
            file.file,
            DecimalBytes(file.size).to_string(),
            file.sha256.hex()
        )
    }));
    lines.extend(verified.map(|count| format!("verified {count} files")));
    lines.join("\n")
}
