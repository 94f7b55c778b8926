//! `kiln verify`

use std::process::ExitCode;

use serde_json::json;

use super::Terminal;
use super::image::{self, Named};
use crate::cli::{Profile, VerifyArgs};
use crate::error::{Error, ErrorKind, FOUND, Result};
use crate::lock::LockedArtifact;
use crate::progress::Progress;
use crate::verify::cis::{self, Answer, Counts, Outcome};
use crate::verify::{self, Finding, Subject};

/// Checks an image. The exit code tells whether anything was found.
pub fn run(args: &VerifyArgs, progress: &Progress, terminal: &Terminal) -> Result<ExitCode> {
    check_allowed(args)?;
    let named = image::named(&args.image, image::is_layout, image::whole)?;
    let mut opened = named.open(args.arch, args.edition.as_deref(), progress)?;
    let subject = &mut opened.subject;
    subject.vouched = named
        .manifest
        .iter()
        .flat_map(|manifest| &manifest.artifacts)
        .filter_map(vouched)
        .collect();
    if args.profile.is_some() && subject.windows.is_some() {
        return Err(Error::new(
            ErrorKind::Usage,
            "the profile cis asks rules for Linux, and this is Windows",
        )
        .help("leave out --profile"));
    }
    let _step = progress.step("checking it");
    let count = match args.profile {
        Some(Profile::Cis) => show_profile(&named, subject, &args.allowed, terminal)?,
        None => show_checks(&named, subject, &args.allowed, terminal)?,
    };
    Ok(ExitCode::from(if count == 0 { 0 } else { FOUND }))
}

/// Runs Kiln's own checks; returns the number of findings.
fn show_checks(named: &Named, subject: &Subject, allowed: &[String], terminal: &Terminal) -> Result<usize> {
    let found = verify::verify(subject, allowed);
    let (files, is_node) = (subject.count(), subject.is_node());
    let shown = json!({ "image": named.path, "files": files, "node": is_node, "findings": found });
    terminal.show(&shown, |_| text(&found, files, is_node))?;
    Ok(found.len())
}

/// Asks the rules of the benchmarks; returns the number of findings.
fn show_profile(named: &Named, subject: &Subject, allowed: &[String], terminal: &Terminal) -> Result<usize> {
    let answers = cis::answers(subject, allowed);
    let counts = Counts::of(&answers);
    let shown = json!({ "image": named.path, "profile": "cis", "counts": counts, "rules": answers });
    terminal.show(&shown, |_| profile_text(&answers, &counts))?;
    Ok(counts.findings)
}

/// Findings first, then what is so on purpose, then what was not checked, by its reason.
fn profile_text(answers: &[Answer], counts: &Counts) -> String {
    let mut lines = Vec::new();
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for Answer { id, title, outcome } in answers {
        match outcome {
            Outcome::Finding { found, expected, place } => {
                lines.push(format!("{id}: {title}\n  found {found}; expected {expected} ({place})"));
            }
            Outcome::NotChecked { reason } => match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, ids)) => ids.push(id),
                None => reasons.push((reason, vec![id])),
            },
            Outcome::Passed | Outcome::Exempt { .. } => {}
        }
    }
    lines.push("\nnot met on purpose:".to_owned());
    for Answer { id, title, outcome } in answers {
        if let Outcome::Exempt { reason } = outcome {
            lines.push(format!("  {id}: {title}: {reason}"));
        }
    }
    lines.push("\nnot checked:".to_owned());
    lines.extend(reasons.iter().map(|(reason, ids)| format!("  {reason}: {}", ids.join(", "))));
    lines.push(format!(
        "\n{} passed, {} findings, {} not met on purpose, {} not checked",
        counts.passed, counts.findings, counts.exempt, counts.not_checked
    ));
    lines.join("\n")
}

fn check_allowed(args: &VerifyArgs) -> Result<()> {
    let names: Vec<&str> = match args.profile {
        Some(Profile::Cis) => cis::ids().collect(),
        None => verify::names().collect(),
    };
    let check = |one: &String| one.split(':').next().unwrap_or_default().to_owned();
    match args.allowed.iter().map(check).find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Error::new(ErrorKind::Usage, format!("--allow {name}: there is no such check"))
            .help(format!("the checks are: {}", names.join(", ")))),
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
