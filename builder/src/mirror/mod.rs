//! A folder that has every file of a lock, laid out as `--mirror https://=FOLDER` looks for them, with an
//! index of all that is in it.
//!
//! ```text
//! create: lock ─► wanted files ─► (index away) ─► missing files ─► surplus removed ─► index, signed
//! verify: index ─► signature ─► every file of the folder
//! ```
//!
//! A folder with an index is complete: the index is removed before the first change and appears last.

mod create;
mod folder;
pub mod index;
mod verify;

pub use create::{Image, Report, Source, create};
pub use verify::{Finding, Verified, verify};

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, ErrorKind, IoContext, Result};
use index::LARGEST_INDEX;

/// The name of the index. `sha256sum --check` reads it.
pub const INDEX: &str = "KILN-MIRROR";

/// The bytes of the index of `folder`; `None` if there is none.
fn read_index(folder: &Path) -> Result<Option<Vec<u8>>> {
    let path = folder.join(INDEX);
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = File::open(&path).at("opening", &path)?;
    file.take(LARGEST_INDEX + 1).read_to_end(&mut bytes).at("reading", &path)?;
    if bytes.len() as u64 > LARGEST_INDEX {
        let message = format!("{} is longer than {LARGEST_INDEX} bytes", path.display());
        return Err(Error::new(ErrorKind::Verification, message));
    }
    Ok(Some(bytes))
}

/// Removes the index, so that the folder no longer passes for complete.
fn remove_index(folder: &Path) -> Result<()> {
    let path = folder.join(INDEX);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("removing", &path, &error))
        }
        _ => folder::sync(folder),
    }
}
