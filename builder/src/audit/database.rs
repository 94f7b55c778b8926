//! A local copy of an OSV database: folders of records (`*.json`), and zip files of them as osv.dev exports
//! them for each ecosystem (`gs://osv-vulnerabilities/ECOSYSTEM/all.zip`).

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use super::osv::{LARGEST_RECORD, Record};
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Calls `visit` with each record below `path`, in the order of their names.
///
/// # Errors
/// [`ErrorKind::Archive`] for a record or a zip file that cannot be read: a vulnerability in it would be
/// overlooked.
pub fn each(path: &Path, visit: &mut dyn FnMut(Record)) -> Result<()> {
    let metadata = fs::metadata(path).at("reading", path)?;
    if metadata.is_dir() {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).at("reading", path)? {
            entries.push(entry.at("reading", path)?.path());
        }
        entries.sort();
        let known = |path: &Path| path.is_dir() || is(path, "json") || is(path, "zip");
        return entries.iter().filter(|path| known(path)).try_for_each(|path| each(path, visit));
    }
    if !metadata.is_file() {
        let message = format!("{} is not a regular file", path.display());
        return Err(Error::new(ErrorKind::Archive, message).help("name a folder of records, or a zip file"));
    }
    if is(path, "zip") {
        return each_in_zip(path, visit);
    }
    let file = File::open(path).at("opening", path)?;
    visit(record(file, &path.display().to_string())?);
    Ok(())
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn each_in_zip(path: &Path, visit: &mut dyn FnMut(Record)) -> Result<()> {
    let broken = |error: zip::result::ZipError| {
        Error::new(ErrorKind::Archive, format!("{}: {error}", path.display())).help("download it again")
    };
    let file = File::open(path).at("opening", path)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        if entry.is_file() && is(Path::new(&name), "json") {
            visit(record(entry, &format!("{name} in {}", path.display()))?);
        }
    }
    Ok(())
}

fn record(from: impl Read, title: &str) -> Result<Record> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Archive, format!("{title} is no record of OSV: {why}"))
            .help("download the database again, or remove what does not belong to it")
    };
    let mut bytes = Vec::new();
    from.take(LARGEST_RECORD + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_RECORD {
        return Err(wrong(format!("it is longer than {LARGEST_RECORD} bytes")));
    }
    Record::parse(&bytes).map_err(wrong)
}
