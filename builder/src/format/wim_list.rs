//! The files of an image, as `wimlib-imagex dir --detailed` tells them: what each is, and the digest that the
//! WIM has of its content. No content is read.

use std::collections::BTreeSet;
use std::io::{BufRead, Read};

use crate::digest::Digest;

/// The longest line: a security descriptor of 64 KiB in hexadecimal digits.
const LONGEST_LINE: u64 = 256 << 10;
/// The most files and folders.
const MOST: usize = 8 << 20;

const FOLDER: u32 = 0x10;
const REPARSE_POINT: u32 = 0x400;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, or a stream of one.
    File,
    /// A folder.
    Folder,
    /// A reparse point: a link, or a file that another program fills.
    Link,
}

/// A file, a folder, or a named stream of one, whose path is that of the file, `:` and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, with `\` between the parts and none in front.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of its content.
    pub size: u64,
    /// SHA-1 of its content, in hexadecimal digits; nothing if that is empty.
    pub sha1: Option<String>,
    /// A digest of its security descriptor, if it has one.
    pub rights: Option<Digest>,
    /// Its attributes ("File Attribute Constants", Microsoft).
    pub attributes: u32,
    /// What kind of reparse point it is; 0 if it is none.
    pub tag: u32,
    /// Other than 0 if it has several names (hard links): all of them have this number.
    pub link_group: u64,
}

/// Whether a path is that of a named stream: Windows has no other with `:`.
pub fn is_stream(path: &str) -> bool {
    path.contains(':')
}

/// The files of which a name was seen.
#[derive(Debug, Default)]
pub struct Names(BTreeSet<u64>);

impl Names {
    /// Whether this is the first name of a file, whose number (0 for none) all its names have; or one of its
    /// streams, which are told once.
    pub fn is_first(&mut self, path: &str, number: u64) -> bool {
        number == 0 || is_stream(path) || self.0.insert(number)
    }
}

/// All entries; the root's path is empty.
///
/// # Errors
/// Why the list is none, in words.
pub fn read(mut text: impl BufRead) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut text).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if count.map_err(|error| error.to_string())? == 0 {
            break;
        }
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            return Err("a line of its list is too long".to_owned());
        }
        let line = std::str::from_utf8(&line).map_err(|_| "a name in its list is no Unicode".to_owned())?;
        take(line, &mut entries)?;
        if entries.len() > MOST {
            return Err(format!("it has more than {MOST} files"));
        }
    }
    let mut paths = BTreeSet::new();
    match entries.iter().find(|entry| !paths.insert(entry.path.as_str())) {
        Some(twice) => Err(format!("{} is in its list twice", twice.path)),
        None => Ok(entries),
    }
}

/// Takes over what a line tells.
fn take(line: &str, entries: &mut Vec<Entry>) -> Result<(), String> {
    if let Some(stream) = line.strip_prefix("\tNamed data stream \"") {
        let name = stream.strip_suffix("\":").ok_or_else(|| strange(line))?;
        let of = entries.last().ok_or_else(|| strange(line))?;
        let file = of.path.split(':').next().unwrap_or_default();
        entries.push(Entry { path: format!("{file}:{name}"), ..empty(of.link_group) });
        return Ok(());
    }
    let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim_end(), value.trim()))
    else {
        return Ok(());
    };
    if name == "Full Path" {
        let path = value.strip_prefix("\"/").and_then(|path| path.strip_suffix('"'));
        let path = path.ok_or_else(|| strange(line))?.replace('/', "\\");
        entries.push(Entry { path, ..empty(0) });
        return Ok(());
    }
    let Some(entry) = entries.last_mut() else { return Ok(()) };
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
    match name {
        "Attributes" => {
            let attributes = number(value).map_err(|_| strange(line))? as u32;
            entry.attributes = attributes;
            entry.kind = match attributes {
                _ if attributes & REPARSE_POINT != 0 => Kind::Link,
                _ if attributes & FOLDER != 0 => Kind::Folder,
                _ => Kind::File,
            };
        }
        "Reparse Tag" => entry.tag = number(value).map_err(|_| strange(line))? as u32,
        // Room that is left behind a descriptor is zeros.
        "Security Descriptor" => entry.rights = Some(Digest::of(value.trim_end_matches('0').as_bytes())),
        "Link Group ID" => entry.link_group = number(value).map_err(|_| strange(line))?,
        "Hash" => {
            let digits = value.trim_start_matches("0x");
            entry.sha1 = digits.bytes().any(|digit| digit != b'0').then(|| digits.to_owned());
        }
        "Uncompressed size" => {
            let size = value.split(' ').next().unwrap_or_default();
            entry.size = size.parse().map_err(|_| strange(line))?;
        }
        _ => {}
    }
    Ok(())
}

fn strange(line: &str) -> String {
    format!("its list has the line {:?}", line.chars().take(80).collect::<String>())
}

const fn empty(link_group: u64) -> Entry {
    Entry {
        path: String::new(),
        kind: Kind::File,
        size: 0,
        sha1: None,
        rights: None,
        attributes: 0,
        tag: 0,
        link_group,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Full Path           = \"/\"\nAttributes          = 0x00000010\n";
    const FILE: &str = "Full Path           = \"/k/a b.txt\"\nShort Name          = \"\"\n\
        Attributes          = 0x00000020\n    FILE_ATTRIBUTE_ARCHIVE is set\nSecurity Descriptor = 01020000\n\
        Link Group ID       = 0x0000000000000008\nLink Count          = 2\n\tUnnamed data stream:\n\
        Hash              = 0x55ca6286e3e4f4fba5d0448333fa99fc5a404a73\nUncompressed size = 3 bytes\n\
        \tNamed data stream \"zone\":\nHash              = 0x0000000000000000000000000000000000000000\n\
        Uncompressed size = 0 bytes\n";

    #[test]
    fn a_file_has_its_digest_and_its_streams_beside_it() {
        let entries = read(format!("{ROOT}{FILE}").as_bytes()).unwrap();
        let [_, file, stream] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(
            (file.path.as_str(), file.kind, file.size, file.link_group),
            (r"k\a b.txt", Kind::File, 3, 8)
        );
        assert_eq!(file.sha1.as_deref(), Some("55ca6286e3e4f4fba5d0448333fa99fc5a404a73"));
        assert_eq!(file.rights, Some(Digest::of(b"0102")));
        assert_eq!((stream.path.as_str(), stream.sha1.as_ref(), stream.size), (r"k\a b.txt:zone", None, 0));
    }

    #[test]
    fn a_list_that_a_name_has_torn_is_refused() {
        for (text, says) in [
            ("Full Path           = \"/a\n".to_owned(), "has the line"),
            (format!("{FILE}{FILE}"), "twice"),
            (format!("{ROOT}Attributes          = x\n"), "has the line"),
            ("Full Path           = \"/a\"".to_owned(), "too long"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
    }
}
