//! `kiln verify`

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::{Terminal, image};
use crate::cli::VerifyArgs;
use crate::error::{Error, ErrorKind, FOUND, IoContext, Result};
use crate::lock::LockedArtifact;
use crate::progress::Progress;
use crate::store::Store;
use crate::verify::{self, Finding};

/// The file that makes a folder an OCI layout.
const LAYOUT: &str = "oci-layout";
/// Outputs that hold the whole image, the best first.
const BEST: [&str; 4] = [".raw", ".qcow2", ".vhd", "-oci/oci-layout"];

/// Checks an image. The exit code tells whether anything was found.
pub fn run(args: &VerifyArgs, progress: &Progress, terminal: &Terminal) -> Result<ExitCode> {
    check_allowed(&args.allowed)?;
    let named = image::named(&args.image, |path| path.join(LAYOUT).is_file(), choose)?;
    let spool = tempfile::Builder::new()
        .prefix("kiln-verify-")
        .tempdir()
        .at("making a folder in", std::env::temp_dir())?;
    let store = Store::open(&spool.path().join("store"))?;
    let path = if named.path.is_dir() { packed(&named.path, spool.path())? } else { named.path.clone() };
    let title = named.path.display().to_string();
    let arch = args.arch.unwrap_or_else(|| named.arch());
    let step = progress.step(&format!("reading {title}"));
    let mut subject = verify::read(&path, &title, arch, &store, spool.path())?;
    drop(step);
    subject.vouched = named
        .manifest
        .iter()
        .flat_map(|manifest| &manifest.artifacts)
        .filter_map(vouched)
        .collect();
    let _step = progress.step("checking it");
    let found = verify::verify(&subject, &args.allowed);
    let (files, is_node) = (subject.tree.entries.len(), subject.is_node());
    let shown = json!({ "image": named.path, "files": files, "node": is_node, "findings": found });
    terminal.show(&shown, |_| text(&found, files, is_node))?;
    Ok(ExitCode::from(if found.is_empty() { 0 } else { FOUND }))
}

fn check_allowed(allowed: &[String]) -> Result<()> {
    let check = |one: &String| one.split(':').next().unwrap_or_default().to_owned();
    match allowed.iter().map(check).find(|name| !verify::names().any(|known| known == name)) {
        None => Ok(()),
        Some(name) => {
            let names: Vec<&str> = verify::names().collect();
            Err(Error::new(ErrorKind::Usage, format!("--allow {name}: there is no such check"))
                .help(format!("the checks are: {}", names.join(", "))))
        }
    }
}

fn choose(folder: &Path, files: &[String]) -> Result<PathBuf> {
    let found = BEST.iter().find_map(|ending| files.iter().find(|file| file.ends_with(ending)));
    let found = found.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{} has no output that can be checked", folder.display()))
            .help("build the output raw, qcow2 or oci")
    })?;
    Ok(folder.join(found.trim_end_matches("/oci-layout")))
}

/// The files of a layout as an archive, which the readers of given roots read. Links are not followed, so
/// nothing outside of the folder is read.
fn packed(layout: &Path, spool: &Path) -> Result<PathBuf> {
    let path = spool.join("layout.tar");
    let mut tar = tar::Builder::new(File::create(&path).at("creating", &path)?);
    tar.sparse(false);
    let mut folders = vec![layout.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().at("reading", &folder)? {
            let entry = entry.at("reading", &folder)?;
            let (own, kind) = (entry.path(), entry.file_type().at("reading", entry.path())?);
            if kind.is_dir() {
                folders.push(own);
            } else if kind.is_file() {
                let name = own.strip_prefix(layout).unwrap_or(&own).to_owned();
                tar.append_path_with_name(&own, name).at("reading", &own)?;
            }
        }
    }
    tar.finish().at("writing", &path)?;
    Ok(path)
}

/// An artifact that is one file, under the name that it has in images.
fn vouched(artifact: &LockedArtifact) -> Option<(String, crate::digest::Digest)> {
    const ARCHIVES: [&str; 8] = [".gz", ".tgz", ".xz", ".zst", ".zip", ".tar", ".bz2", ".deb"];
    let is_archive = ARCHIVES.iter().any(|ending| artifact.url.ends_with(ending));
    (!is_archive).then(|| (artifact.name.clone(), artifact.sha256))
}

fn text(found: &[Finding], files: usize, is_node: bool) -> String {
    let mut lines = Vec::new();
    if !is_node {
        lines.push("it has no kubelet: what a node needs was not checked".to_owned());
    }
    let mut before = "";
    for finding in found {
        if finding.check != before {
            lines.push(format!("{}: {}", finding.check, verify::help(finding.check)));
            before = finding.check;
        }
        lines.push(format!("  {}: {}", finding.what, finding.why));
    }
    lines.push(match found.len() {
        0 => format!("nothing was found in {files} files"),
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    });
    lines.join("\n")
}
