//! `kiln inspect`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;
use serde::{Deserialize, Serialize};

use super::Terminal;
use crate::base::LockedPackage;
use crate::cli::InspectArgs;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::lock::LockedArtifact;
use crate::provenance::MANIFEST;
use crate::provenance::sums::Sum;

/// The members of a manifest that are shown.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    name: String,
    identity: Digest,
    variables: BTreeMap<String, String>,
    layers: Vec<Layer>,
    artifacts: Vec<LockedArtifact>,
    packages: Vec<LockedPackage>,
    tools: BTreeMap<String, String>,
    outputs: Vec<Sum>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Layer {
    name: String,
    #[serde(rename = "diffID")]
    diff_id: Digest,
    size: u64,
}

/// Shows the contents of a built image; with `--verify` compares every file with the manifest.
pub fn run(args: &InspectArgs, terminal: &Terminal) -> Result<()> {
    let path = if args.image.is_dir() { args.image.join(MANIFEST) } else { args.image.clone() };
    let manifest = read(&path)?;
    if args.verify {
        verify(&manifest, path.parent().unwrap_or(Path::new("")))?;
    }
    terminal.show(&manifest, |manifest| text(manifest, args.verify))
}

fn read(path: &PathBuf) -> Result<Manifest> {
    let file = File::open(path).map_err(|error| {
        Error::io("opening", path, &error).help("name the output folder of a build, such as out")
    })?;
    serde_json::from_reader(BufReader::new(file)).map_err(|error| {
        Error::new(ErrorKind::Verification, format!("{} is not a manifest: {error}", path.display()))
            .help("name a manifest.json that kiln build wrote")
    })
}

fn verify(manifest: &Manifest, folder: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for file in &manifest.outputs {
        let path = folder.join(&file.file);
        let size = path.metadata().at("reading", &path)?.len();
        if size != file.size || Digest::of_file(&path)? != file.sha256 {
            wrong.push(file.file.as_str());
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Verification, format!("not as they were built: {}", wrong.join(", ")))
        .help("build again, or copy them again"))
}

fn text(manifest: &Manifest, verified: bool) -> String {
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
    if verified {
        lines.push(format!("verified {} files", manifest.outputs.len()));
    }
    lines.join("\n")
}
