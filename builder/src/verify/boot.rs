//! Kernel command lines of the boot partition, and of `/boot`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::{LARGEST_TEXT, Subject};
use crate::archive::pattern;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::pe;
use crate::process::{self, Run, tool};
use crate::tree::Body;

/// Names of boot loaders' configurations, in lower case: the Boot Loader Specification, GRUB, SYSLINUX.
const CONFIGURATIONS: &[&str] =
    &["**/loader/entries/*.conf", "**/grub.cfg", "**/custom.cfg", "**/syslinux/*.cfg", "**/*linux.c*f*"];
/// The part of a program for UEFI that is a kernel's command line, and the most bytes of it.
const COMMAND_LINE: &str = ".cmdline";
const LONGEST: u64 = 64 << 10;
/// How such a program begins. Unified kernel images, their add-ons and plain kernels are some, whatever their
/// names are.
const PROGRAM: &[u8] = b"MZ";
/// The most bytes of all programs, and the most files. A broken file system may give bytes without an end.
const ALL_PROGRAMS: u64 = 4 << 30;
const MOST_FILES: usize = 2000;

/// What was found on a boot partition.
#[derive(Debug, Default)]
pub(super) struct Boot {
    pub(super) command_lines: Vec<String>,
    /// Files that were not read, and why.
    pub(super) unread: Vec<(String, String)>,
}

const UNREADABLE: &str = "it cannot be read";

impl Boot {
    fn unread(&mut self, what: &str, why: &str) {
        self.unread.push((what.to_owned(), why.to_owned()));
    }
}

/// A FAT file system, read by mtools.
struct Fat<'a> {
    /// As mtools name it.
    image: String,
    spool: &'a Path,
}

/// What the FAT file systems at `offsets` of the file `disk` have.
///
/// # Errors
/// [`ErrorKind::Tool`] if mtools are missing; [`ErrorKind::Archive`] if files have no end.
pub(super) fn of_partitions(disk: &Path, offsets: &[u64], spool: &Path) -> Result<Boot> {
    let mut boot = Boot::default();
    for offset in offsets {
        let fat = Fat { image: format!("{}@@{offset}", disk.display()), spool };
        fat.read(&mut boot)?;
    }
    Ok(boot)
}

impl Fat<'_> {
    fn read(&self, boot: &mut Boot) -> Result<()> {
        let list = self.list(boot)?;
        let paths = || list.lines().filter_map(|line| line.strip_prefix("::"));
        let files = || paths().filter(|path| !path.ends_with('/'));
        if let Some(path) = files().nth(MOST_FILES) {
            boot.unread(path, "the boot partition has too many files");
        }
        let mut left = ALL_PROGRAMS;
        for path in files().take(MOST_FILES) {
            if is_configuration(path) {
                self.configuration(path, boot)?;
                continue;
            }
            match self.head(path)? {
                Some(head) if head == PROGRAM => left -= self.program(path, left, boot)?,
                Some(_) => {}
                None => boot.unread(path, UNREADABLE),
            }
        }
        Ok(())
    }

    /// The paths of all files and folders, one a line.
    fn list(&self, boot: &mut Boot) -> Result<String> {
        let (mut top, mut all) = (Vec::new(), Vec::new());
        // mdir fails at the folders in an empty one.
        for (options, list) in [(&["-a", "-b"][..], &mut top), (&["-a", "-b", "-/"], &mut all)] {
            let ended = copy(self.mtools("mdir", options, "/"), LARGEST_TEXT, list)?;
            if let Err(error) = ended.check() {
                boot.unread("boot partition", &error.to_string());
                break;
            }
            if list.is_empty() {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    fn configuration(&self, path: &str, boot: &mut Boot) -> Result<()> {
        let mut text = Vec::new();
        if copy(self.mtools("mtype", &[], path), LARGEST_TEXT, &mut text)?.check().is_err() {
            boot.unread(path, UNREADABLE);
        }
        boot.command_lines.extend(of_configuration(&String::from_utf8_lossy(&text)));
        Ok(())
    }

    /// Reads a program of at most `most` bytes; tells how many it has.
    fn program(&self, path: &str, most: u64, boot: &mut Boot) -> Result<u64> {
        let own = self.spool.join("boot.efi");
        let mut file = File::create(&own).at("creating", &own)?;
        if copy(self.mtools("mtype", &[], path), most, &mut file)?.check().is_err() {
            boot.unread(path, UNREADABLE);
        }
        let body = Body::whole(&own).at("reading", &own)?;
        match of_program(&body) {
            Ok(lines) => boot.command_lines.extend(lines),
            Err(error) => boot.unread(path, &error.to_string()),
        }
        Ok(body.len())
    }

    fn mtools(&self, program: &str, more: &[&str], path: &str) -> Command {
        let mut command = tool(program);
        command.args(more).args(["-i", &self.image, &format!("::{path}")]);
        command
    }

    /// The first bytes of a file; nothing if it cannot be read.
    fn head(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let mut command = self.mtools("mtype", &[], path);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.start("mtools")?;
        let mut head = Vec::new();
        let read = child.stdout.take().map(|from| from.take(PROGRAM.len() as u64).read_to_end(&mut head));
        let is_full = head.len() == PROGRAM.len();
        if is_full {
            // It may have ended by itself.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| failed(&error))?;
        read.transpose().map_err(|error| failed(&error))?;
        Ok((is_full || status.success()).then_some(head))
    }
}

fn failed(error: &io::Error) -> Error {
    Error::new(ErrorKind::Tool, format!("reading what mtools prints: {error}"))
}

/// The names of files on FAT are alike in capital and small letters.
fn is_configuration(path: &str) -> bool {
    let path = path.trim_start_matches('/').to_ascii_lowercase();
    CONFIGURATIONS.iter().any(|wanted| pattern::matches(wanted, &path))
}

/// The kernel command lines in a program for UEFI.
fn of_program(body: &Body) -> io::Result<Vec<String>> {
    let read = |from, length| body.part(from, length).read();
    let found = pe::sections(read, COMMAND_LINE, LONGEST)?;
    Ok(found.iter().map(|bytes| text_of(bytes)).collect())
}

/// A program that has ended.
struct Ended {
    command: Command,
    status: ExitStatus,
    said: Vec<u8>,
}

impl Ended {
    fn check(&self) -> Result<()> {
        process::check(&self.command, self.status, &self.said)
    }
}

/// Copies at most `most` bytes of what a program prints. One that prints more is ended.
fn copy(mut command: Command, most: u64, to: &mut dyn Write) -> Result<Ended> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.start("mtools")?;
    let copied = child.stdout.take().map_or(Ok(0), |from| io::copy(&mut from.take(most + 1), to));
    let is_endless = copied.as_ref().map_or(true, |count| *count > most);
    if is_endless {
        child.kill().map_err(|error| failed(&error))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    copied.map_err(|error| failed(&error))?;
    if is_endless {
        let message = format!("the boot partition has a file of more than {most} bytes");
        return Err(Error::new(ErrorKind::Archive, message).help("fsck.fat -n shows what is wrong with it"));
    }
    Ok(Ended { command, status: output.status, said: output.stderr })
}

/// What the root file system has of a boot partition.
pub(super) fn of_tree(subject: &Subject) -> Vec<String> {
    let mut lines = Vec::new();
    for folder in ["boot", "efi"] {
        for (_, text) in subject.texts_of(folder, is_configuration) {
            lines.extend(of_configuration(&text));
        }
        for (path, _) in subject.below(folder) {
            let Some((_, body)) = subject.file(path) else { continue };
            if body.part(0, PROGRAM.len() as u64).read().is_ok_and(|head| head == PROGRAM) {
                match of_program(body) {
                    Ok(found) => lines.extend(found),
                    Err(error) => subject.not_read(format!("/{path}"), error.to_string()),
                }
            }
        }
    }
    lines
}

/// What follows `options`, `append`, or the kernel behind `linux`.
fn of_configuration(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let (key, rest) = line.trim_start().split_once(char::is_whitespace)?;
        match key.to_ascii_lowercase().as_str() {
            "options" | "append" => Some(rest.trim().to_owned()),
            "linux" | "linux16" | "linuxefi" | "kernel" => rest
                .trim_start()
                .split_once(char::is_whitespace)
                .map(|(_, words)| words.trim().to_owned()),
            _ => None,
        }
    };
    text.lines().filter_map(line).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches(['\0', '\n', ' ']).to_owned()
}
