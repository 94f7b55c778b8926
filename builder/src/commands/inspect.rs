//! `kiln inspect`

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use indicatif::DecimalBytes;

use super::Terminal;
use crate::cli::InspectArgs;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::sums::{self, Sum};
use crate::provenance::{Finished, MANIFEST, SBOM, SUMS};

/// Shows the contents of a built image; with `--verify` compares every file with the list of digests.
pub fn run(args: &InspectArgs, terminal: &Terminal) -> Result<()> {
    let path = if args.image.is_dir() { args.image.join(MANIFEST) } else { args.image.clone() };
    let manifest = Finished::read(&path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let verified = if args.verify { Some(verify(&manifest, folder)?) } else { None };
    terminal.show(&manifest, |manifest| text(manifest, verified))
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
