//! The file with the machines: one JSON line for each change, of which the last one of a machine counts. A
//! line is with the kernel before an answer leaves the server, so a killed server loses nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::machine::Machine;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::scratch::open_own;

const NAME: &str = "machines.jsonl";

/// How many lines may be out of date before the file is written anew.
const MOST_OLD: usize = 50_000;

/// How long after a write that failed the whole file is tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// What to do when the folder cannot be used.
const HELP: &str =
    "check who owns that place and whether it has space, or choose another folder with --state";

/// The rights to write of the group and of others.
const OF_OTHERS: u32 = 0o022;

type All = BTreeMap<Arc<str>, Machine>;

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    /// Of all whole lines, in bytes.
    length: u64,
    /// When the file is to be written anew, as lines may be missing in it; none if it has all.
    mend_at: Option<Instant>,
    /// Whether that was said.
    has_failed: bool,
    /// What the user should know about the file as it was found.
    pub notices: Vec<String>,
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
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.at("creating", folder).map_err(|error| error.other_help(HELP))?;
    let mode = folder.metadata().at("reading", folder)?.permissions().mode();
    if mode & OF_OTHERS == 0 {
        return Ok(());
    }
    let message = format!("{}: other users can write to this folder", folder.display());
    let help = format!("chmod go-w {}, or choose another folder with --state", folder.display());
    Err(Error::new(ErrorKind::Io, message).help(help))
}

impl Journal {
    /// The machines that `folder` remembers.
    pub fn open(folder: &Path) -> Result<(All, Self)> {
        make_folder(folder)?;
        let lock = open_own(&folder.join("lock")).map_err(|error| error.other_help(HELP))?;
        lock.try_lock().map_err(|_| {
            Error::new(ErrorKind::Usage, format!("{}: another kiln serve uses it", folder.display()))
                .help("end that one, or choose another --state")
        })?;
        let path = folder.join(NAME);
        let file = open_own(&path).map_err(|error| error.other_help(HELP))?;
        let Found { machines, lines, length, notice } = read(&file, &path)?;
        let notices = notice.into_iter().collect();
        Ok((
            machines,
            Self { path, file, lines, length, mend_at: None, has_failed: false, notices, _lock: lock },
        ))
    }

    /// Writes the file anew at the start. A disk that is full has the old one still: that is enough to begin.
    pub fn begin(&mut self, machines: &All) {
        if let Err(error) = self.rewrite(machines) {
            self.mend_at = Some(Instant::now());
            self.notices
                .push(format!("what machines take may not be remembered: {}", error.message()));
        }
    }

    /// Replaces the file by one with a line for each machine.
    pub fn rewrite(&mut self, machines: &All) -> Result<()> {
        let new = self.path.with_extension("new");
        let written = write(&new, machines).and_then(|written| {
            fs::rename(&new, &self.path).at("renaming", &new)?;
            Ok(written)
        });
        match written {
            Ok((file, length)) => {
                (self.file, self.length, self.lines) = (file, length, machines.len());
                (self.mend_at, self.has_failed) = (None, false);
                Ok(())
            }
            Err(error) => {
                // Half of it would take the space that the next line needs.
                let _ = fs::remove_file(&new);
                Err(error.other_help(HELP))
            }
        }
    }

    /// Adds the line of a machine. A disk that is full does not end the service: it is said once, and when
    /// there is space again, all is written that is missing.
    pub fn append(&mut self, key: &str, machine: &Machine, all: &All) {
        self.lines += 1;
        let is_due = match self.mend_at {
            Some(time) => time <= Instant::now(),
            None => self.lines > MOST_OLD + all.len(),
        };
        let line = format!("{}\n", json!({ "key": key, "machine": machine }));
        if is_due {
            if self.rewrite(all).is_ok() {
                return;
            }
            self.mend_at = Some(Instant::now() + PAUSE);
        }
        if let Err(error) = self.add(line.as_bytes()) {
            self.mend_at.get_or_insert_with(|| Instant::now() + PAUSE);
            if !std::mem::replace(&mut self.has_failed, true) {
                super::warn(&format!("what machines took is not remembered any more: {error}"));
            }
        }
    }

    /// Adds a line behind the last whole one, or nothing.
    fn add(&mut self, line: &[u8]) -> Result<()> {
        if self.mend_at.is_some() {
            self.file
                .set_len(self.length)
                .at("cutting", &self.path)
                .map_err(|error| error.other_help(HELP))?;
        }
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(line));
        match written {
            Ok(()) => self.length += line.len() as u64,
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written.at("writing", &self.path).map_err(|error| error.other_help(HELP))
    }
}

/// What is in the file.
struct Found {
    machines: All,
    lines: usize,
    /// Of all whole lines, in bytes.
    length: u64,
    notice: Option<String>,
}

/// The machines in the file, and what the user should know. A write that was cut off leaves a last line
/// without an end; any other line that is wrong is nobody's work here.
fn read(file: &File, path: &Path) -> Result<Found> {
    let mut found = Found { machines: All::new(), lines: 0, length: 0, notice: None };
    let (mut reader, mut bytes) = (BufReader::new(file), Vec::new());
    while reader.read_until(b'\n', &mut bytes).at("reading", path)? > 0 {
        let (number, is_whole) = (found.lines + 1, bytes.ends_with(b"\n"));
        match serde_json::from_slice(&bytes) {
            Ok(Line { key, machine }) => drop(found.machines.insert(key, machine)),
            Err(_) if !is_whole => {
                found.notice = Some(format!("{}: line {number} has no end and is left out", path.display()));
            }
            Err(error) => {
                let message = format!("{}: line {number}: {error}", path.display());
                return Err(Error::new(ErrorKind::Io, message).help(
                    "repair or remove the line; or move the file away, or choose another --state: then no \
                     machine is remembered, and an installed one is installed again",
                ));
            }
        }
        if is_whole {
            (found.lines, found.length) = (number, found.length + bytes.len() as u64);
        }
        bytes.clear();
    }
    Ok(found)
}

/// A new file with these rights. What is there is replaced, and no link is followed.
pub(super) fn create(path: &Path, mode: u32) -> Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("removing", path, &error));
        }
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true).mode(mode);
    options.open(path).at("creating", path)
}

/// A new file with a line for each machine, and its length.
fn write(path: &Path, machines: &All) -> Result<(File, u64)> {
    let file = create(path, 0o600)?;
    let mut to = BufWriter::new(&file);
    for (key, machine) in machines {
        writeln!(to, "{}", json!({ "key": key, "machine": machine })).at("writing", path)?;
    }
    to.flush().at("writing", path)?;
    drop(to);
    file.sync_all().at("writing", path)?;
    let length = file.metadata().at("reading", path)?.len();
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::serve::Identity;

    fn machine() -> Machine {
        Machine::new(&Identity::default(), IpAddr::from([10, 0, 0, 1]))
    }

    fn all(names: &[&str]) -> All {
        names.iter().map(|name| ((*name).into(), machine())).collect()
    }

    fn names(folder: &Path) -> (Vec<String>, Option<String>) {
        let (machines, mut journal) = Journal::open(folder).unwrap();
        (machines.keys().map(|key| key.to_string()).collect(), journal.notices.pop())
    }

    #[test]
    fn what_others_may_have_put_into_the_folder_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut journal) = Journal::open(folder.path()).unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "of another program").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("machines.new")).unwrap();
        journal.rewrite(&all(&["a"])).unwrap();
        drop(journal);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of another program");
        assert_eq!(names(folder.path()).0, ["a"]);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Journal::open(folder.path()).unwrap_err();
        assert!(error.hint().unwrap().contains("chmod go-w"), "{error}");
    }

    #[test]
    fn a_disk_that_is_full_at_the_start_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let (_, mut journal) = Journal::open(folder.path()).unwrap();
        journal.begin(&all(&["a"]));
        assert!(journal.notices.is_empty());
        drop(journal);
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{good}{{\"key\"")).unwrap();
        // Nothing can be written there.
        let new = path.with_extension("new");
        fs::create_dir(&new).unwrap();
        let (machines, mut journal) = Journal::open(folder.path()).unwrap();
        journal.begin(&machines);
        assert_eq!((journal.notices.len(), journal.length), (2, good.len() as u64));
        journal.append("b", &machine(), &all(&["a", "b"]));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&good) && text.ends_with("}\n") && text.lines().count() == 2, "{text}");
        journal.append("c", &machine(), &all(&["a", "b", "c"]));
        fs::remove_dir(&new).unwrap();
        journal.mend_at = Some(Instant::now());
        journal.append("d", &machine(), &all(&["a", "b", "c", "d"]));
        drop(journal);
        assert_eq!(names(folder.path()).0, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_full_disk_leaves_no_half_line_and_what_is_missing_is_written_when_there_is_space() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut journal) = Journal::open(folder.path()).unwrap();
        journal.rewrite(&all(&["a"])).unwrap();
        let file =
            std::mem::replace(&mut journal.file, File::options().write(true).open("/dev/full").unwrap());
        journal.append("b", &machine(), &all(&["a", "b"]));
        assert!(journal.mend_at.is_some());
        // Half of the line is there.
        journal.file = file;
        journal.file.seek(SeekFrom::End(0)).unwrap();
        journal.file.write_all(b"{\"key\": \"b\", \"mach").unwrap();
        journal.append("c", &machine(), &all(&["a", "b", "c"]));
        assert!(journal.mend_at.is_some(), "b is still missing");
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!((text.lines().count(), text.ends_with('\n')), (2, true), "{text}");
        journal.mend_at = Some(Instant::now());
        journal.append("d", &machine(), &all(&["a", "b", "c", "d"]));
        assert!(journal.mend_at.is_none());
        journal.append("e", &machine(), &all(&["a", "b", "c", "d", "e"]));
        drop(journal);
        assert_eq!(names(folder.path()), (["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn a_last_line_without_an_end_is_left_out_and_any_other_wrong_line_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let (_, mut journal) = Journal::open(folder.path()).unwrap();
        journal.rewrite(&all(&["a", "b"])).unwrap();
        drop(journal);
        let good = fs::read_to_string(&path).unwrap();
        for (end, notice) in [("", None), ("{\"key\": \"c", Some("line 3")), ("\0\0\0", Some("line 3"))] {
            fs::write(&path, format!("{good}{end}")).unwrap();
            let (names, found) = names(folder.path());
            assert_eq!(names, ["a", "b"], "{end:?}");
            assert_eq!(found.is_some(), notice.is_some(), "{end:?}");
            assert!(found.unwrap_or_default().contains(notice.unwrap_or_default()), "{end:?}");
        }
        // Only the end of its line was cut off.
        fs::write(&path, good.trim_end()).unwrap();
        assert_eq!(names(folder.path()), (["a", "b"].map(str::to_owned).to_vec(), None));
        for bad in ["{\"key\": \"c{\"key\": 7}\n", "\u{0}\n"] {
            fs::write(&path, format!("{bad}{good}")).unwrap();
            let error = Journal::open(folder.path()).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{error}");
            let help = error.hint().unwrap();
            assert!(help.contains("--state") && !help.contains("--cache-dir"), "{help}");
        }
    }
}
