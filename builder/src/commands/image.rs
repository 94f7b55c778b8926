//! Which image a command means: a file, or one of a build's output folder.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::LockedArtifact;
use crate::output::sums::Sum;
use crate::provenance::MANIFEST;

/// The members of a manifest that count for a command on an image.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    arch: Arch,
    pub(super) artifacts: Vec<LockedArtifact>,
    outputs: Vec<Sum>,
}

/// An image.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    /// The manifest beside it, if that names it.
    pub(super) manifest: Option<Manifest>,
}

impl Named {
    /// Its architecture: what its manifest says, else this machine's.
    pub(super) fn arch(&self) -> Arch {
        self.manifest.as_ref().map_or(Arch::OF_THIS_MACHINE, |manifest| manifest.arch)
    }
}

/// The image at `path`. If that is a folder and `is_image` says that it is none itself, it is an output
/// folder, of which `choose` takes one file.
pub(super) fn named(
    path: &Path,
    is_image: impl Fn(&Path) -> bool,
    choose: impl Fn(&Path, &[String]) -> Result<PathBuf>,
) -> Result<Named> {
    if !path.exists() {
        return Err(Error::new(ErrorKind::Io, format!("{}: there is no such file", path.display()))
            .help("build an image first (kiln build), or name one"));
    }
    // Who writes into a pipe may never do so.
    if !path.is_dir() && !path.is_file() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{} is neither a file nor a folder", path.display()),
        )
        .help("name an image, or the output folder of a build"));
    }
    let is_output = path.is_dir() && !is_image(path);
    let folder = if is_output { path } else { path.parent().unwrap_or(Path::new("")) };
    let manifest = manifest(folder);
    let found = match &manifest {
        Some(manifest) if is_output => {
            let files: Vec<String> = manifest.outputs.iter().map(|sum| sum.file.clone()).collect();
            choose(path, &files)?
        }
        None if is_output => {
            let message = format!("{} is no output folder of a build", path.display());
            return Err(Error::new(ErrorKind::Usage, message)
                .help("name an image, or an output folder with its manifest.json"));
        }
        _ => path.to_owned(),
    };
    let names =
        |manifest: &Manifest| manifest.outputs.iter().any(|sum| folder.join(&sum.file).starts_with(&found));
    let manifest = manifest.filter(names);
    Ok(Named { path: found, manifest })
}

fn manifest(folder: &Path) -> Option<Manifest> {
    serde_json::from_reader(BufReader::new(File::open(folder.join(MANIFEST)).ok()?)).ok()
}
