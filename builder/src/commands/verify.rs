//! `kiln verify`

use std::process::ExitCode;

use serde_json::json;

use super::{Terminal, image};
use crate::cli::VerifyArgs;
use crate::error::{Error, ErrorKind, FOUND, Result};
use crate::lock::LockedArtifact;
use crate::progress::Progress;
use crate::verify::{self, Finding};

/// Checks an image. The exit code tells whether anything was found.
pub fn run(args: &VerifyArgs, progress: &Progress, terminal: &Terminal) -> Result<ExitCode> {
    check_allowed(&args.allowed)?;
    let named = image::named(&args.image, image::is_layout, image::whole)?;
    let mut opened = named.open(args.arch, progress)?;
    let subject = &mut opened.subject;
    subject.vouched = named
        .manifest
        .iter()
        .flat_map(|manifest| &manifest.artifacts)
        .filter_map(vouched)
        .collect();
    let _step = progress.step("checking it");
    let found = verify::verify(subject, &args.allowed);
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
