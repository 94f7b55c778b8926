//! `kiln mirror`

use std::path::Path;
use std::process::ExitCode;

use indicatif::DecimalBytes;

use super::{Open, Terminal, resolve, seed, warn};
use crate::cli::{DefinitionArgs, MirrorCreateArgs, MirrorVerb, MirrorVerifyArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::mirror::{self, Image, Source, Verified};
use crate::pipeline::{self, session::Session};
use crate::progress::Progress;

/// Makes or checks a mirror.
pub fn run(verb: &MirrorVerb, progress: Progress, terminal: &Terminal) -> Result<ExitCode> {
    match verb {
        MirrorVerb::Create(args) => create(args, progress, terminal).map(|()| ExitCode::SUCCESS),
        MirrorVerb::Verify(args) => verify(args, terminal),
    }
}

fn create(args: &MirrorCreateArgs, progress: Progress, terminal: &Terminal) -> Result<()> {
    let session = Session::open(&args.fetch, progress)?;
    let definitions = std::iter::once(&args.definition.definition).chain(&args.more);
    let images: Vec<Image> =
        definitions.map(|definition| image(definition, args, &session)).collect::<Result<_>>()?;
    let fetcher = session.fetcher()?;
    let source = Source { store: &session.store, fetcher: &fetcher };
    let requests = || {
        let requests = images.iter().map(|image| pipeline::requests(&session, &image.plan, &image.lock));
        Ok(requests.collect::<Result<Vec<_>>>()?.concat())
    };
    let report = mirror::create(&images, &args.folder, &source, requests, args.sign_key.as_deref())?;
    terminal.show(&report, |report| {
        format!(
            "{} files, {}: {} new, {} removed\nbuild from it with\n  {}",
            report.files,
            DecimalBytes(report.bytes),
            report.added,
            report.removed,
            report.options.join("\n  ")
        )
    })
}

/// An image whose lock is what its definition wants: a mirror never changes a lock.
fn image(definition: &Path, args: &MirrorCreateArgs, session: &Session) -> Result<Image> {
    let args_of = DefinitionArgs { definition: definition.to_owned(), ..args.definition.clone() };
    let (resolved, lock_path) = resolve(&args_of, &args.output_dir, Open::Kept)?;
    warn(&resolved, &session.progress);
    let lock = session.lock_for(&resolved.plan, &lock_path, seed(&args_of).as_deref(), true)?;
    Ok(Image { plan: resolved.plan, lock })
}

fn verify(args: &MirrorVerifyArgs, terminal: &Terminal) -> Result<ExitCode> {
    let scratch = tempfile::tempdir().map_err(|error| {
        Error::new(ErrorKind::Io, format!("creating a folder for temporary files: {error}"))
    })?;
    let verified = mirror::verify(&args.folder, args.key.as_deref(), scratch.path())?;
    let is_good = verified.findings.is_empty();
    terminal.show(&verified, text)?;
    let code = if is_good { 0 } else { ErrorKind::Verification.exit_code() };
    Ok(ExitCode::from(code))
}

fn text(verified: &Verified) -> String {
    let Verified { images, files, bytes, signed, signature_checked, findings } = verified;
    let signature = match (signed, signature_checked) {
        (_, true) => "signed by the key",
        (true, false) => "signed; --key FILE checks by whom",
        (false, false) => "not signed",
    };
    let mut lines: Vec<String> = images.iter().map(|image| format!("image    {image}")).collect();
    lines.push(format!("index    {files} files, {}, {signature}", DecimalBytes(*bytes)));
    lines.extend(findings.iter().map(|finding| format!("wrong    {}: {}", finding.file, finding.problem)));
    if findings.is_empty() {
        lines.push("every file is as the index says".to_owned());
    }
    lines.join("\n")
}
