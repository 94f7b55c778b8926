//! The file with the machines: one JSON line for each change, of which the last one of a machine counts. A
//! line is with the kernel before an answer leaves the server, so a killed server loses nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::machine::Machine;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::scratch::open_own;

const NAME: &str = "machines.jsonl";

/// How many lines may be out of date before the file is written anew.
const MOST_OLD: usize = 50_000;

type All = BTreeMap<Arc<str>, Machine>;

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    has_failed: bool,
    /// Ends with the process.
    _lock: File,
}

#[derive(Deserialize)]
struct Line {
    key: Arc<str>,
    machine: Machine,
}

/// The folder for what is remembered, which only this user may read: it is made if it is missing.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).at("creating", folder)
}

impl Journal {
    /// The machines that `folder` remembers.
    pub fn open(folder: &Path) -> Result<(All, Self)> {
        make_folder(folder)?;
        let lock = open_own(&folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("{}: another kiln serve uses it", folder.display()))
                .help("end that one, or choose another --state")
        })?;
        let path = folder.join(NAME);
        let file = open_own(&path)?;
        let mut machines = All::new();
        for (number, line) in BufReader::new(&file).lines().enumerate() {
            let line = line.at("reading", &path)?;
            match serde_json::from_str(&line) {
                Ok(Line { key, machine }) => drop(machines.insert(key, machine)),
                // A power cut leaves a line without an end; a line that is whole and wrong is nobody's.
                Err(error) if error.is_eof() => {}
                Err(error) => {
                    let message = format!("{}: line {}: {error}", path.display(), number + 1);
                    return Err(Error::new(ErrorKind::Io, message)
                        .help("repair the line, or move the file away: then no machine is remembered"));
                }
            }
        }
        Ok((machines, Self { path, file, lines: 0, has_failed: false, _lock: lock }))
    }

    /// Replaces the file by one with a line for each machine.
    pub fn rewrite(&mut self, machines: &All) -> Result<()> {
        let new = self.path.with_extension("new");
        let mut options = File::options();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .at("creating", &new)?;
        let mut to = BufWriter::new(&file);
        for (key, machine) in machines {
            writeln!(to, "{}", json!({ "key": key, "machine": machine })).at("writing", &new)?;
        }
        to.flush().at("writing", &new)?;
        drop(to);
        file.sync_all().at("writing", &new)?;
        fs::rename(&new, &self.path).at("renaming", &new)?;
        self.file = file;
        self.lines = machines.len();
        Ok(())
    }

    /// Adds the line of a machine. A disk that is full does not end the service: it is said once.
    pub fn append(&mut self, key: &str, machine: &Machine, all: &All) {
        self.lines += 1;
        let line = format!("{}\n", json!({ "key": key, "machine": machine }));
        let written = match self.lines > MOST_OLD + all.len() {
            true => self.rewrite(all),
            false => self.file.write_all(line.as_bytes()).at("writing", &self.path),
        };
        match written {
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                eprintln!("warning: what machines took is not remembered any more: {error}");
            }
            Err(_) => {}
            Ok(()) => self.has_failed = false,
        }
    }
}
