//! Which image a command means: a file, or one of a build's output folder; and what is in it.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::progress::Progress;
use crate::provenance::{Finished, MANIFEST};
use crate::scratch::Scratch;
use crate::store::Store;
use crate::verify::{self, Subject, Wanted};

/// The file that makes a folder an OCI layout.
const LAYOUT: &str = "oci-layout";
/// Outputs that hold the whole image, the best first.
const BEST: [&str; 8] = [".raw", ".qcow2", ".vhd", ".raw.zst", ".raw.gz", "-oci/oci-layout", ".wim", ".vhdx"];

/// An image.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    /// The manifest beside it, if that names it.
    pub(super) manifest: Option<Finished>,
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
        |manifest: &Finished| manifest.outputs.iter().any(|sum| folder.join(&sum.file).starts_with(&found));
    let manifest = manifest.filter(names);
    Ok(Named { path: found, manifest })
}

fn manifest(folder: &Path) -> Option<Finished> {
    Finished::read(&folder.join(MANIFEST)).ok()
}

/// What is in an image. It refers to files in a temporary folder.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) subject: Subject,
    pub(super) spool: Scratch,
}

impl Named {
    /// Reads the image; of several in a file that which `edition` means.
    pub(super) fn open(
        &self,
        arch: Option<Arch>,
        edition: Option<&str>,
        progress: &Progress,
    ) -> Result<Opened> {
        let spool = Scratch::temporary()?;
        let store = Store::open(&spool.path().join("store"))?;
        let path = if self.path.is_dir() { packed(&self.path, spool.path())? } else { self.path.clone() };
        let title = self.path.display().to_string();
        let _step = progress.step(&format!("reading {title}"));
        let arch = arch.unwrap_or_else(|| self.arch());
        let wanted = Wanted { arch, edition };
        let subject = verify::read(&path, &title, wanted, &store, spool.path())?;
        Ok(Opened { subject, spool })
    }
}

/// Whether a folder is an image by itself.
pub(super) fn is_layout(path: &Path) -> bool {
    path.join(LAYOUT).is_file()
}

/// The file of an output folder that holds the whole image.
pub(super) fn whole(folder: &Path, files: &[String]) -> Result<PathBuf> {
    let found = BEST.iter().find_map(|ending| files.iter().find(|file| file.ends_with(ending)));
    let found = found.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{} has no output that can be read", folder.display()))
            .help("build the output raw, qcow2, oci or wim")
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
