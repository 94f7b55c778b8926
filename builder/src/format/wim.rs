//! Images in Windows' own format (WIM), read and changed by `wimlib-imagex`. It needs neither root nor a
//! mount, and it writes an image into an NTFS volume that is a plain file.
//!
//! It runs under a clock that stands still (`faketime`), because a WIM says when it was changed. Its random
//! identifier is replaced afterwards ("Windows Imaging File Format", Microsoft, 2007: the header).

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uuid::Uuid;

use crate::determinism::Calendar;
use crate::disk_space;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::wim_list::{self, Entry};
use crate::process::{self, Run, tool};

const PACKAGE: &str = "wimtools";
const CLOCK_PACKAGE: &str = "faketime";

/// Signs at the start of a file, also of one that was made for a pipe.
const SIGNS: [&[u8; 8]; 2] = [b"MSWIM\0\0\0", b"WLPWM\0\0\0"];
/// Where the identifier is in the header.
const IDENTIFIER: u64 = 24;
/// The longest file that is read out of an image, in bytes: the registry's hives, and configuration.
const LARGEST_CONTENT: u64 = 512 << 20;
/// The longest description of images that is read, in bytes.
const LONGEST_XML: u64 = 16 << 20;
/// The most attributes of one of its elements.
const MOST_ATTRIBUTES: usize = 200;

/// A file with images.
#[derive(Debug, Clone, Copy)]
pub struct Wim<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its name in messages.
    pub title: &'a str,
}

/// What a file says of one of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its number, from 1 on.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The edition of Windows ("ServerStandardCore").
    pub edition: Option<String>,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Whether a file that begins with these bytes is one.
pub fn is_wim(head: &[u8]) -> bool {
    SIGNS.iter().any(|sign| head.starts_with(*sign))
}

/// The version of the installed tool ("1.13.6").
///
/// # Errors
/// When it is missing, or the clock that it needs.
pub fn version() -> Result<String> {
    tool("faketime").arg("--version").run(CLOCK_PACKAGE)?;
    let output = tool("wimlib-imagex").arg("--version").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(1);
    version
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Tool, format!("wimlib-imagex does not say its version: {text}")))
}

/// A command for the program `name`, for which it is always `epoch`.
pub(crate) fn at_time(epoch: u64, name: &str) -> Command {
    let time = Calendar::at(epoch).to_string().replace('T', " ");
    let mut command = tool("faketime");
    command.args(["-f", time.trim_end_matches('Z'), name]);
    command
}

impl Wim<'_> {
    fn tool(&self, epoch: u64, action: &str) -> Command {
        let mut command = at_time(epoch, "wimlib-imagex");
        // Names have no case on Windows, and a layer's folder is the base's.
        command.env("WIMLIB_IMAGEX_IGNORE_CASE", "1").arg(action);
        command
    }

    /// Runs it; what it complains of is said of the file.
    fn run(&self, mut command: Command) -> Result<()> {
        version()?;
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.start(CLOCK_PACKAGE)?;
        let said = child.stderr.take().map(process::tail).unwrap_or_default();
        let status = child
            .wait()
            .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for wimlib-imagex: {error}")))?;
        if status.success() { Ok(()) } else { Err(self.refused(&said)) }
    }

    fn refused(&self, said: &str) -> Error {
        let lines: Vec<&str> = said
            .lines()
            .map(|line| line.trim().trim_start_matches("[ERROR]").trim_start_matches("[WARNING]").trim())
            .take_while(|line| !line.starts_with("Note:"))
            .filter(|line| !line.is_empty() && !line.starts_with("ERROR: Exiting"))
            .collect();
        let said = lines.join("; ");
        match disk_space::is_missed_in(&said) {
            true => Error::new(ErrorKind::Io, format!("{}: wimlib-imagex: {said}", self.title))
                .help(disk_space::HELP),
            false => {
                Error::new(ErrorKind::Archive, format!("{}: wimlib-imagex refuses it: {said}", self.title))
            }
        }
    }

    /// Its images. `scratch` is a folder for an intermediate file.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is broken, has no image, or is one part of several.
    pub fn images(&self, scratch: &Path) -> Result<Vec<Image>> {
        let path = scratch.join("wim.xml");
        let mut command = self.tool(0, "info");
        command.arg(self.path).arg("--extract-xml").arg(&path);
        self.run(command)?;
        let mut bytes = Vec::new();
        let file = File::open(&path).at("opening", &path)?;
        file.take(LONGEST_XML + 1).read_to_end(&mut bytes).at("reading", &path)?;
        fs::remove_file(&path).at("removing", &path)?;
        let images = images_in(&bytes).map_err(|why| {
            Error::new(ErrorKind::Archive, format!("{}: its description is broken: {why}", self.title))
        })?;
        if images.is_empty() {
            return Err(Error::new(ErrorKind::Archive, format!("{} holds no image", self.title)));
        }
        Ok(images)
    }

    /// The content of a file; its path has `\` between its parts. `scratch` is a folder for a while.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is missing, broken, a link, or longer than what is read of an image.
    pub fn read(&self, index: u32, path: &str, scratch: &Path) -> Result<Option<Vec<u8>>> {
        let folder = scratch.join("file");
        fs::create_dir(&folder).at("creating", &folder)?;
        self.extract(index, &[&inside(path)], &folder)?;
        let name = path.rsplit('\\').next().unwrap_or(path);
        let bytes = find_in(&folder, name).map(|file| content(&file, self.title)).transpose()?;
        fs::remove_dir_all(&folder).at("removing", &folder)?;
        Ok(bytes)
    }

    /// Copies files and folders of an image into the folder `to`, by their own names. Nothing there is a
    /// link afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if one is missing, broken or a link.
    pub fn extract(&self, index: u32, paths: &[&str], to: &Path) -> Result<()> {
        let mut command = self.tool(0, "extract");
        command.arg(self.path).arg(index.to_string()).args(paths).arg("--dest-dir").arg(to);
        command.args(["--no-acls", "--no-attributes", "--no-globs"]);
        self.run(command)?;
        self.check_plain(to)
    }

    /// A reparse point becomes a symbolic link, which could lead to a file of this machine.
    fn check_plain(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).at("reading", folder)? {
            let entry = entry.at("reading", folder)?;
            let kind = entry.file_type().at("reading", entry.path())?;
            if kind.is_dir() {
                self.check_plain(&entry.path())?;
            } else if !kind.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let message = format!("{}: \"{name}\" is a link where a file must be", self.title);
                return Err(Error::new(ErrorKind::Archive, message));
            }
        }
        Ok(())
    }

    /// Writes one image into the new file `to`, which has no other. Compressed data are copied as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn export(&self, index: u32, to: &Path, epoch: u64) -> Result<()> {
        let mut command = self.tool(epoch, "export");
        command.arg(self.path).arg(index.to_string()).arg(to);
        self.run(command)
    }

    /// Changes the first image by commands, one a line, as wimupdate(1) has them.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn update(&self, commands: &str, epoch: u64) -> Result<()> {
        let mut input = tempfile::tempfile().at("creating a file in", std::env::temp_dir())?;
        input.write_all(commands.as_bytes()).at("writing", "commands")?;
        input.rewind().at("writing", "commands")?;
        let mut command = self.tool(epoch, "update");
        command.arg(self.path).arg("1").stdin(input);
        self.run(command)
    }

    /// Compares the bytes of every file with their digest.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn verify(&self) -> Result<()> {
        let mut command = self.tool(0, "verify");
        command.arg(self.path);
        self.run(command)
    }

    /// Writes the first image into the empty NTFS volume `volume`, a plain file.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`]; [`ErrorKind::Io`] if it does not fit.
    pub fn apply(&self, volume: &Path, epoch: u64) -> Result<()> {
        let mut command = self.tool(epoch, "apply");
        command.arg(self.path).arg("1").arg(volume);
        self.run(command)
    }

    /// Makes this file, with one image: what is on the NTFS volume `volume`, a plain file.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if the volume is broken.
    pub fn capture(&self, volume: &Path, name: &str, epoch: u64) -> Result<()> {
        let mut command = self.tool(epoch, "capture");
        command.arg(volume).arg(self.path).arg(name).arg("--compress=LZX");
        self.run(command)
    }

    /// Makes this file for a while, with everything on the NTFS volume `volume`, also what is left out of
    /// images. Nothing is compressed: it is there for its list.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if the volume is broken.
    pub fn capture_all(&self, volume: &Path, scratch: &Path) -> Result<()> {
        let config = scratch.join("wim.config");
        fs::write(&config, "[ExclusionList]\n").at("writing", &config)?;
        let mut command = self.tool(0, "capture");
        command
            .arg(volume)
            .arg(self.path)
            .args(["all", "--compress=none", "--config"])
            .arg(&config);
        self.run(command)
    }

    /// The paths of everything in an image, with `\` between their parts.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn paths(&self, index: u32) -> Result<Vec<String>> {
        let mut command = self.tool(0, "dir");
        command.arg(self.path).arg(index.to_string());
        let output = command.run(CLOCK_PACKAGE).map_err(|error| self.refused(error.message()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("[WARNING]") {
            return Err(self.refused(&said));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        if lines.iter().any(|line| !line.starts_with('/')) {
            return Err(self.torn());
        }
        Ok(lines.iter().map(|line| line.replace('/', "\\")).collect())
    }

    /// The error for a name that is no line: what follows it may be forged.
    pub fn torn(&self) -> Error {
        let message = format!("{}: a name in it has a line end", self.title);
        Error::new(ErrorKind::Archive, message).help("take an intact image: Windows has no such names")
    }

    /// Everything in an image, with the digests that the file has of it. No content is read.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`].
    pub fn list(&self, index: u32) -> Result<Vec<Entry>> {
        let mut said = tempfile::tempfile().at("creating a file in", std::env::temp_dir())?;
        let mut command = self.tool(0, "dir");
        command.arg(self.path).arg(index.to_string()).arg("--detailed").stdout(Stdio::piped());
        command.stderr(said.try_clone().at("writing", "messages")?);
        let mut child = command.start(CLOCK_PACKAGE)?;
        let entries = child.stdout.take().map(|text| wim_list::read(BufReader::new(text)));
        let status = child
            .wait()
            .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for wimlib-imagex: {error}")))?;
        match entries.unwrap_or_else(|| Ok(Vec::new())) {
            Err(why) => Err(Error::new(ErrorKind::Archive, format!("{}: {why}", self.title))
                .help("take an intact image: wimlib-imagex dir --detailed lists it")),
            Ok(entries) => {
                said.rewind().at("reading", "messages")?;
                let said = process::tail(said);
                // What it leaves out would be compared as if it were not there.
                let is_whole = status.success() && !said.contains("[WARNING]");
                is_whole.then_some(entries).ok_or_else(|| self.refused(&said))
            }
        }
    }

    /// Gives the file another identifier.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn set_identifier(&self, id: Uuid) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.path).at("opening", self.path)?;
        file.write_all_at(id.as_bytes(), IDENTIFIER).at("writing", self.path)
    }
}

/// A path as commands and arguments of wimlib-imagex take it: `Windows\System32` is `/Windows/System32`.
pub fn inside(path: &str) -> String {
    format!("/{}", path.replace('\\', "/"))
}

/// An argument of a command of wimupdate(1): in quotes, for which there is no escape.
///
/// # Errors
/// [`ErrorKind::Definition`].
pub fn quoted(path: &str) -> Result<String> {
    match path.contains(['\'', '\n']) {
        false => Ok(format!("'{path}'")),
        true if !path.contains(['"', '\n']) => Ok(format!("\"{path}\"")),
        true => Err(Error::new(ErrorKind::Definition, format!("no path can be {path:?}"))),
    }
}

/// The images in the description of a file, which is XML in UTF-16.
///
/// # Errors
/// Why it is broken, in words.
pub fn images_in(bytes: &[u8]) -> Result<Vec<Image>, String> {
    if bytes.len() as u64 > LONGEST_XML {
        return Err("it is longer than 16 MiB".to_owned());
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    let text = String::from_utf16(&units).map_err(|_| "it is not UTF-16")?;
    if !contract::xml::is_bounded(&text, MOST_ATTRIBUTES) {
        return Err("an element has too many attributes".to_owned());
    }
    let document =
        roxmltree::Document::parse(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
    let images = document.root_element().children().filter(|node| node.has_tag_name("IMAGE"));
    images
        .map(|node| {
            let text = |path: &[&str]| {
                let mut node = node;
                for name in path {
                    node = node.children().find(|child| child.has_tag_name(*name))?;
                }
                node.text().map(str::to_owned)
            };
            let index = node.attribute("INDEX").and_then(|index| index.parse().ok());
            Ok(Image {
                index: index.ok_or("an image has no number")?,
                name: text(&["NAME"]).unwrap_or_default(),
                edition: text(&["WINDOWS", "EDITIONID"]),
                bytes: text(&["TOTALBYTES"]).and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
            })
        })
        .collect()
}

/// The content of a file that was read out of an image whose name for messages is `title`.
fn content(path: &Path, title: &str) -> Result<Vec<u8>> {
    let length = path.metadata().at("reading", path)?.len();
    if length > LARGEST_CONTENT {
        let name = path.file_name().unwrap_or_default().display();
        let message =
            format!("{title}: {name} has {length} bytes, and no more than {LARGEST_CONTENT} are read");
        return Err(Error::new(ErrorKind::Archive, message).help("take an intact image of Windows"));
    }
    fs::read(path).at("reading", path)
}

/// A file in the folder `folder`, by its name in any case.
pub fn find_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let mut named = entries.filter(|entry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(name));
    named.next().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn a_description_tells_the_images() {
        let text = "\u{feff}<WIM><TOTALBYTES>9</TOTALBYTES><IMAGE INDEX=\"2\"><NAME>Server &amp; Core</NAME>\
                    <TOTALBYTES>70</TOTALBYTES><WINDOWS><EDITIONID>ServerStandardCore</EDITIONID></WINDOWS></IMAGE></WIM>";
        let image = Image {
            index: 2,
            name: "Server & Core".to_owned(),
            edition: Some("ServerStandardCore".to_owned()),
            bytes: 70,
        };
        assert_eq!(images_in(&utf16(text)), Ok(vec![image]));
        for (text, why) in [
            ("<WIM>", "root node"),
            ("<WIM><IMAGE/></WIM>", "no number"),
            ("<!DOCTYPE x [<!ENTITY a \"b\">]><WIM/>", "DTD"),
        ] {
            let error = images_in(&utf16(text)).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(images_in(&[0, 0xd8]), Err("it is not UTF-16".to_owned()));
    }

    #[test]
    fn a_path_that_no_quotes_can_hold_is_refused() {
        assert_eq!(quoted("/Program Files/x").unwrap(), "'/Program Files/x'");
        assert_eq!(quoted("/it's").unwrap(), "\"/it's\"");
        assert!(quoted("/it's \"this\"").is_err() && quoted("/a\nb").is_err());
    }
}
