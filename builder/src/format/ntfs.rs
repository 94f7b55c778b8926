//! An NTFS volume in a plain file, made by `mkntfs`; and who may do what with its files, by `ntfssecaudit`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::wim::at_time;
use crate::namespaces;
use crate::process::{Run, tool};

const PACKAGE: &str = "ntfs-3g";

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Where the volume's serial number is in the boot sector.
const SERIAL: u64 = 0x48;
/// What Windows' own tools say of disks that have no such thing.
const HEADS: &str = "255";
const TRACK: &str = "63";
/// The smallest volume that is made, in bytes: Windows has its page file there too.
pub const MINIMUM: u64 = 64 << 20;

/// An empty volume.
#[derive(Debug, Clone, Copy)]
pub struct Volume<'a> {
    /// The file; it is made.
    pub path: &'a Path,
    /// Bytes.
    pub size: u64,
    /// The sector of the disk that it will begin at.
    pub start: u64,
    /// Its label.
    pub label: &'a str,
    /// Its serial number.
    pub serial: u64,
    /// The time it was made, seconds since 1970.
    pub epoch: u64,
}

/// Who may do what with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// SYSTEM and administrators everything, users read: a folder, whose content inherits it.
    Folder,
    /// The same of a file.
    File,
    /// SYSTEM and administrators everything.
    Private,
}

impl Volume<'_> {
    /// Makes it. The file is sparse.
    ///
    /// # Errors
    /// When the tool is missing or fails.
    pub fn make(&self) -> Result<()> {
        let file = File::create(self.path).at("creating", self.path)?;
        file.set_len(self.size).at("enlarging", self.path)?;
        version()?;
        let mut command = at_time(self.epoch, "mkntfs");
        command.args(["--force", "--quick", "--quiet", "--sector-size", "512", "--cluster-size", "4096"]);
        command.args(["--sectors-per-track", TRACK, "--heads", HEADS]);
        command.args(["--partition-start", &self.start.to_string(), "--label", self.label]);
        command.arg(self.path).run(PACKAGE)?;
        self.set_serial()
    }

    /// The boot sector is there twice: at the start, and in the last sector.
    fn set_serial(&self) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.path).at("opening", self.path)?;
        for sector in [0, self.size / SECTOR - 1] {
            file.write_all_at(&self.serial.to_le_bytes(), sector * SECTOR + SERIAL)
                .at("writing", self.path)?;
        }
        Ok(())
    }
}

/// The version of the installed tools ("2022.10.3").
///
/// # Errors
/// When they are missing.
pub fn version() -> Result<String> {
    let output = tool("mkntfs").arg("--version").run(PACKAGE)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let version = text.split_whitespace().nth(1).map(|version| version.trim_start_matches('v').to_owned());
    version.ok_or_else(|| Error::new(ErrorKind::Tool, format!("mkntfs does not say its version: {text}")))
}

/// Refuses a volume that is broken, or that Windows has not closed. `title` names it in messages.
///
/// # Errors
/// [`ErrorKind::Archive`].
pub fn check(path: &Path, title: &str) -> Result<()> {
    const DIRTY: u32 = 1;
    version()?;
    let refuse = |why: &str| {
        Error::new(ErrorKind::Archive, format!("{title}: its NTFS volume {why}"))
            .help("shut Windows down cleanly (not by fast startup or hibernation) before its image is taken")
    };
    let output = tool("ntfsinfo").arg("--mft").arg(path).run(PACKAGE).map_err(|error| {
        let said = error.message().lines().nth(1).unwrap_or_default().to_owned();
        refuse(&format!("cannot be read: {said}"))
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let flags = text.lines().find_map(|line| line.trim().strip_prefix("Volume Flags: 0x"));
    let flags = flags.and_then(|flags| flags.split_whitespace().next());
    let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
    match flags {
        None => Err(refuse("does not tell its state")),
        Some(flags) if flags & DIRTY != 0 => Err(refuse("is marked as dirty")),
        Some(_) => Ok(()),
    }
}

/// The paths of everything on the volume `path`, a plain file, with `\` between their parts.
///
/// # Errors
/// When the tool is missing or fails.
pub fn paths(path: &Path) -> Result<Vec<String>> {
    let output = tool("ntfsls").args(["--recursive", "--all", "--path", "/"]).arg(path).run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (mut paths, mut folder) = (Vec::new(), String::new());
    for line in text.lines() {
        match line.strip_prefix('/').and_then(|line| line.strip_suffix(':')) {
            Some(path) => folder = path.replace('/', "\\"),
            None if line.is_empty() || line == "." || line == ".." => {}
            None => paths.push(format!("{folder}\\{line}")),
        }
    }
    Ok(paths)
}

/// Paths and sizes of the files of the volume `path`, a plain file, each with its number: names with the same
/// one are one file.
///
/// # Errors
/// When the tool is missing or fails.
pub fn sizes(path: &Path) -> Result<Vec<(String, u64, u64)>> {
    let mut command = tool("ntfsls");
    command.args(["--recursive", "--all", "--long", "--inode", "--path", "/"]).arg(path);
    let output = command.run(PACKAGE)?;
    Ok(sizes_in(&String::from_utf8_lossy(&output.stdout)))
}

/// Those in what ntfsls prints: a line with each folder, and one for each name in it: number, size, month,
/// day, time, year, name.
fn sizes_in(text: &str) -> Vec<(String, u64, u64)> {
    let (mut files, mut folders, mut folder) = (Vec::new(), BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(path) = line.strip_prefix('/').and_then(|line| line.strip_suffix(':')) {
            folder = path.replace('/', "\\");
            folders.insert(folder.clone());
            continue;
        }
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(word)
        };
        let Some((number, size)) = word().zip(word()) else { continue };
        if (0..4).any(|_| word().is_none()) || [".", ".."].contains(&rest) {
            continue;
        }
        let Some((number, size)) = number.parse().ok().zip(size.parse().ok()) else { continue };
        let path = if folder.is_empty() { rest.to_owned() } else { format!("{folder}\\{rest}") };
        files.push((path, size, number));
    }
    files.retain(|(path, ..)| !folders.contains(path));
    files
}

/// A file of the volume `volume`, a plain file. Its path is as it is on the volume, `\` between its parts.
///
/// # Errors
/// When the tool is missing or fails.
pub fn read(volume: &Path, path: &str) -> Result<Vec<u8>> {
    let path = format!("/{}", path.replace('\\', "/"));
    tool("ntfscat").arg(volume).arg(path).run(PACKAGE).map(|output| output.stdout)
}

/// Sets who may do what with files and folders of the volume `path`, a plain file. Their paths have `\`
/// between their parts.
///
/// # Errors
/// When the tool is missing or fails, or one is not there.
pub fn set_rights(path: &Path, rights: &[(String, Rights)], epoch: u64, scratch: &Path) -> Result<()> {
    let mut text = String::new();
    for (path, rights) in rights {
        let kind = if *rights == Rights::Folder { "Directory" } else { "File" };
        let _ = writeln!(text, "{kind} /{}\nSecurity key : none", path.replace('\\', "/"));
        for (line, bytes) in rights.descriptor().chunks(16).enumerate() {
            let words: Vec<String> = bytes.chunks(4).map(hex::encode).collect();
            let _ = writeln!(text, "        {:06x}  {}", line * 16, words.join(" "));
        }
        text += "Computed hash : 0x00000000\n";
    }
    let list = scratch.join("rights");
    fs::write(&list, text).at("writing", &list)?;
    // It works for root alone, whatever the file's owner is: so as root of a namespace.
    let as_root = namespaces::as_root("ntfssecaudit");
    let mut command = at_time(epoch, "unshare");
    command.args(as_root.get_args()).arg("-s").arg(path).arg(&list);
    let output = command.run(PACKAGE).map_err(namespaces::explain)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let done = said.lines().any(|line| line.trim() == format!("{} ACLs have been applied", rights.len()));
    if done || rights.is_empty() {
        return fs::remove_file(&list).at("removing", &list);
    }
    Err(Error::new(ErrorKind::Tool, format!("ntfssecaudit has not set all rights: {}", said.trim())))
}

impl Rights {
    /// The security descriptor, self-relative (MS-DTYP 2.4.6).
    fn descriptor(self) -> Vec<u8> {
        const ALL: u32 = 0x001f_01ff;
        const READ_AND_EXECUTE: u32 = 0x0012_00a9;
        /// Files and folders below it inherit the entry.
        const INHERITED: u8 = 3;
        /// The list is there; it is not changed by that of the folder above; all of it is in these bytes.
        const CONTROL: u16 = 0x9004;
        let flags = if self == Self::Folder { INHERITED } else { 0 };
        let mut entries = vec![entry(flags, ALL, &system()), entry(flags, ALL, &builtin(544))];
        if self != Self::Private {
            entries.push(entry(flags, READ_AND_EXECUTE, &builtin(545)));
        }
        let list = entries.concat();
        let list_length = 8 + list.len() as u16;
        let owner_at = 20 + u32::from(list_length);
        let (owner, group) = (builtin(544), system());
        let mut bytes = vec![1, 0];
        bytes.extend(CONTROL.to_le_bytes());
        for offset in [owner_at, owner_at + owner.len() as u32, 0, 20] {
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend([2, 0]);
        bytes.extend(list_length.to_le_bytes());
        bytes.extend((entries.len() as u32).to_le_bytes());
        [bytes, list, owner, group].concat()
    }
}

/// An entry of an access list that allows something.
fn entry(flags: u8, mask: u32, who: &[u8]) -> Vec<u8> {
    let length = (8 + who.len()) as u16;
    [&[0, flags], length.to_le_bytes().as_slice(), &mask.to_le_bytes(), who].concat()
}

/// S-1-5-18, the operating system itself.
fn system() -> Vec<u8> {
    [[1, 1, 0, 0, 0, 0, 0, 5].as_slice(), &18_u32.to_le_bytes()].concat()
}

/// S-1-5-32-`group`: 544 are administrators, 545 users.
fn builtin(group: u32) -> Vec<u8> {
    [[1, 2, 0, 0, 0, 0, 0, 5].as_slice(), &32_u32.to_le_bytes(), &group.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_sizes_has_files_alone_with_their_numbers() {
        let text = "/:\n     64           0 Nov 30 17:40 2026 k\n     66          12 Nov 30 17:40 2026 a  b\n\n\
                    /k:\n     64           0 Nov 30 17:40 2026 .\n     66          12 Nov 30 17:40 2026 hard\n";
        assert_eq!(sizes_in(text), [("a  b".to_owned(), 12, 66), (r"k\hard".to_owned(), 12, 66)]);
    }
}
