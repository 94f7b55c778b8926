//! `kiln audit`

use std::process::ExitCode;

use super::{Open, Terminal, earlier_lock, resolve, warn};
use crate::audit::{self, Audit, Finding, Ignored};
use crate::cli::AuditArgs;
use crate::error::{FOUND, Result};
use crate::pipeline::session::no_lock;
use crate::progress::Progress;

/// Shows the known vulnerabilities of what the lock pins.
pub fn run(args: &AuditArgs, progress: &Progress, terminal: &Terminal) -> Result<ExitCode> {
    let (resolved, path) = resolve(&args.definition, &args.output_dir, Open::Kept)?;
    warn(&resolved, progress);
    let lock = earlier_lock(&args.definition, &path)?.ok_or_else(|| no_lock(&path))?;
    let ignored = args.ignore.as_deref().map(Ignored::read).transpose()?.unwrap_or_default();
    let audit = audit::audit(&resolved.plan, &lock, &args.databases, &ignored, args.only_fixed)?;
    for id in &audit.unused {
        progress.note(&format!("{id} is ignored, and nothing has it"));
    }
    terminal.show(&audit, text)?;
    Ok(ExitCode::from(if audit.count() == 0 { 0 } else { FOUND }))
}

fn text(audit: &Audit) -> String {
    let mut lines: Vec<String> = audit.findings.iter().map(line).collect();
    if !audit.unknown.is_empty() {
        lines.push(format!("not looked up: {}", audit.unknown.join(", ")));
    }
    let ignored = audit.findings.len() - audit.count();
    lines.push(format!(
        "{} vulnerabilities ({ignored} more are ignored) in {} packages and modules, by {} records",
        audit.count(),
        audit.components,
        audit.records
    ));
    lines.join("\n")
}

fn line(finding: &Finding) -> String {
    let Finding { id, package, version, fixed, ignored, summary, pins, .. } = finding;
    let fixed = fixed.as_ref().map_or("no fixed version".to_owned(), |fixed| format!("fixed in {fixed}"));
    let of = if pins == &[package.as_str()] { String::new() } else { format!(" ({})", pins.join(", ")) };
    let end = match ignored {
        Some(reason) => format!("  ignored: {reason}"),
        None if summary.is_empty() => String::new(),
        None => format!("  {summary}"),
    };
    format!("{id:<16} {package} {version}{of}: {fixed}{end}")
}
