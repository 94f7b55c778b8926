//! `kiln diff`

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use super::Terminal;
use super::image::{self, Named, Opened};
use crate::cli::DiffArgs;
use crate::compare::{Side, compare, page};
use crate::error::{FOUND, IoContext, Result};
use crate::lock::Lock;
use crate::pipeline::session::no_lock;
use crate::progress::Progress;
use crate::provenance::{Finished, MANIFEST};
use crate::scratch::Scratch;

/// How many bytes tell text from an image.
const HEAD: u64 = 4096;

/// What a word of the command line means.
enum Kind {
    Lock,
    Manifest,
    Image,
}

/// Shows in what two images differ.
pub fn run(args: &DiffArgs, progress: &Progress, terminal: &Terminal) -> Result<ExitCode> {
    let (old, _old_files) = side(&args.old, args, progress)?;
    let (new, _new_files) = side(&args.new, args, progress)?;
    let step = progress.step("comparing");
    let difference = compare(old, new)?;
    drop(step);
    if let Some(path) = &args.html {
        fs::write(path, page(&difference)).at("writing", path)?;
    }
    terminal.show(&difference, ToString::to_string)?;
    let is_told = args.exit_code && !difference.is_empty();
    Ok(ExitCode::from(if is_told { FOUND } else { 0 }))
}

/// What is known of the image at `path`, and the folder with the files that it refers to.
fn side(path: &Path, args: &DiffArgs, progress: &Progress) -> Result<(Side, Option<Scratch>)> {
    let title = path.display().to_string();
    match kind(path)? {
        Kind::Lock => {
            let lock = Lock::read(path)?.ok_or_else(|| no_lock(path))?;
            Ok((Side::of_lock(title, &lock), None))
        }
        Kind::Manifest => Ok((Side::of_manifest(title, Finished::read(path)?), None)),
        Kind::Image if path.is_dir() && !image::is_layout(path) => {
            let manifest = Finished::read(&path.join(MANIFEST))?;
            let files: Vec<String> = manifest.outputs.iter().map(|sum| sum.file.clone()).collect();
            match image::whole(path, &files) {
                Ok(path) => of_image(title, Named { path, manifest: Some(manifest) }, args, progress),
                Err(_) => Ok((Side::of_manifest(title, manifest), None)),
            }
        }
        Kind::Image => {
            let named = image::named(path, image::is_layout, image::whole)?;
            of_image(title, named, args, progress)
        }
    }
}

fn of_image(
    title: String,
    named: Named,
    args: &DiffArgs,
    progress: &Progress,
) -> Result<(Side, Option<Scratch>)> {
    let Opened { subject, spool } = named.open(args.arch, args.edition.as_deref(), progress)?;
    let _step = progress.step(&format!("listing the files of {title}"));
    let side = match named.manifest {
        Some(manifest) => Side::of_manifest(title, manifest).with_image(subject)?,
        None => Side::of_image(title, subject)?,
    };
    Ok((side, Some(spool)))
}

/// Text is a lock or a manifest, as is what comes out of a pipe.
fn kind(path: &Path) -> Result<Kind> {
    let is_missing = !path.exists() && path.extension().is_none_or(|end| end != "lock");
    if path.is_dir() || is_missing {
        return Ok(Kind::Image);
    }
    if !path.is_file() {
        return Ok(Kind::Lock);
    }
    let mut head = Vec::new();
    let file = File::open(path).at("opening", path)?;
    file.take(HEAD).read_to_end(&mut head).at("reading", path)?;
    // A letter may be cut off at the end.
    let is_text = !head.contains(&0)
        && std::str::from_utf8(&head).map_or_else(|error| error.error_len().is_none(), |_| true);
    Ok(match head.first() {
        Some(b'{') if is_text => Kind::Manifest,
        _ if is_text => Kind::Lock,
        _ => Kind::Image,
    })
}
