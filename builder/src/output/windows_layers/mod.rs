//! The layers for Windows as one zip archive with an installer: for a Windows that is there, or a builder
//! that boots one.
//!
//! ```text
//! NAME-windows-layers.zip: install.ps1, layers.json, files/Program Files/…
//! ```

mod description;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

use crate::assembly::Part;
use crate::definition::windows::names;
use crate::determinism::Calendar;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::tree::{Node, Tree};
use description::Description;

pub(super) const OUTPUT: Output = Output::new::<WindowsLayers>(
    "windows-layers",
    "a zip archive of the layers for Windows with an installer in PowerShell",
    &[Part::WindowsLayers],
);

const INSTALLER: &str = include_str!("install.ps1");

/// The folder in the archive that stands for the system drive.
const FILES: &str = "files";

/// zlib's usual level.
const LEVEL: i64 = 6;

/// The time of a zip archive begins then, and counts in two seconds.
const FIRST_YEAR: u16 = 1980;

/// `<name>-windows-layers.zip`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WindowsLayers {}

impl Writer for WindowsLayers {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let image = &parts.image;
        let name = format!("{}-windows-layers.zip", image.plan.name);
        let path = folder.join(&name);
        let tree = image.tree();
        names::check_all(tree.entries.keys().map(String::as_str))
            .map_err(|(message, help)| Error::new(ErrorKind::Definition, message).help(help))?;
        let file = File::create(&path).at("creating", &path)?;
        let mut archive = Archive { zip: ZipWriter::new(BufWriter::new(file)), time: time(image.epoch)? };
        let description = Description::of(image.plan, tree)?.text()?;
        archive.add("install.ps1", INSTALLER.len() as u64, &mut INSTALLER.as_bytes())?;
        archive.add("layers.json", description.len() as u64, &mut description.as_bytes())?;
        archive.add_tree(tree)?;
        let file = archive.zip.finish().map_err(failed)?.into_inner();
        file.map_err(|error| Error::io("writing", &path, error.error()))?;
        Ok(vec![name.into()])
    }
}

struct Archive {
    zip: ZipWriter<BufWriter<File>>,
    time: DateTime,
}

impl Archive {
    fn add(&mut self, name: &str, length: u64, content: &mut dyn io::Read) -> Result<()> {
        self.zip.start_file(name, self.options(length)).map_err(failed)?;
        io::copy(content, &mut self.zip).at("writing", name)?;
        self.zip.flush().at("writing", name)
    }

    fn add_tree(&mut self, tree: &Tree) -> Result<()> {
        for (path, entry) in &tree.entries {
            let name = format!("{FILES}/{path}");
            match &entry.node {
                Node::Directory => self.zip.add_directory(&name, self.options(0)).map_err(failed)?,
                Node::File(body) => self.add(&name, body.len(), &mut body.open().at("reading", path)?)?,
                // Links are in the description: unpackers of Windows know none.
                Node::Symlink(_) => {}
            }
        }
        Ok(())
    }

    fn options(&self, length: u64) -> SimpleFileOptions {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(self.time)
            .large_file(length >= u64::from(u32::MAX))
    }
}

fn time(epoch: u64) -> Result<DateTime> {
    let Calendar { year, month, day, hour, minute, second } = Calendar::at(epoch);
    if year < FIRST_YEAR {
        return Ok(DateTime::default());
    }
    DateTime::from_date_and_time(year, month, day, hour, minute, second)
        .map_err(|error| Error::new(ErrorKind::Usage, format!("SOURCE_DATE_EPOCH: {error}")))
}

fn failed(error: zip::result::ZipError) -> Error {
    let kind =
        if matches!(error, zip::result::ZipError::Io(_)) { ErrorKind::Io } else { ErrorKind::Internal };
    Error::new(kind, format!("writing the zip archive: {error}"))
}
