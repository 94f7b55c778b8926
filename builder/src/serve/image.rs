//! What a build's output folder has for machines that boot from the network. The files are opened once: a
//! build that replaces them meanwhile does not mix two images, and no request can name another path.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use hyper::body::Bytes;
use nix::fcntl::OFlag;

use super::identity::is_plain;
use crate::definition::plan::Arch;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::pxe;
use crate::provenance::{Finished, MANIFEST};

/// The ends of the names of other files that belong to a boot or an installation.
const ENDINGS: &[&str] = &[".raw", ".raw.zst", ".raw.gz", ".raw.bmap", ".iso", ".efi"];

/// The ends of a disk's name, the best for an installation first.
const DISKS: &[&str] = &[".raw.zst", ".raw.gz", ".raw"];

/// The longest script that is read.
const LONGEST_SCRIPT: u64 = 64 << 10;

/// The files of an image.
#[derive(Debug)]
pub(super) struct Image {
    /// Its name, without `-pxe`.
    pub name: String,
    /// The folder with kernel and initrd.
    pub folder: String,
    /// The kernel arguments.
    pub arguments: String,
    /// What the manifest says.
    pub arch: Option<Arch>,
    /// All files, by their path below `files/`.
    pub files: BTreeMap<String, Arc<Served>>,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Served {
    file: File,
    /// Its length in bytes.
    pub length: u64,
    /// Changes with the file (RFC 9110, 8.8.3).
    pub etag: String,
}

/// What an installation writes to a disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// The path below `files/`.
    pub file: String,
    /// The digest of the block map beside it.
    pub map: Digest,
}

impl Served {
    /// Opens a regular file; links are not followed.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path).at("opening", path)?;
        let metadata = file.metadata().at("reading", path)?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Usage, format!("{} is no file", path.display()))
                .help("name the output folder of a build"));
        }
        let changed = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        let etag = format!("\"{:x}-{:x}-{changed:x}\"", metadata.ino(), metadata.len());
        Ok(Self { file, length: metadata.len(), etag })
    }

    /// At most `length` bytes from `position` on. A file that has become shorter is an error.
    pub fn read(&self, position: u64, length: usize) -> std::io::Result<Bytes> {
        let mut piece = vec![0; length];
        self.file.read_exact_at(&mut piece, position)?;
        Ok(piece.into())
    }
}

impl Image {
    /// The image in the output folder `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let (mut files, mut sets) = (BTreeMap::new(), Vec::new());
        for entry in folder.read_dir().at("reading", folder)? {
            let entry = entry.at("reading", folder)?;
            let kind = entry.file_type().at("reading", entry.path())?;
            let Some(name) = entry.file_name().to_str().filter(|name| is_plain(name)).map(str::to_owned)
            else {
                continue;
            };
            if kind.is_dir() && name.ends_with("-pxe") {
                sets.push(name);
            } else if kind.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                files.insert(name, Arc::new(Served::open(&entry.path())?));
            }
        }
        sets.sort();
        let [set] = <[String; 1]>::try_from(sets).map_err(|sets| wrong_number(folder, &sets))?;
        for file in [pxe::KERNEL, pxe::INITRD] {
            files.insert(format!("{set}/{file}"), Arc::new(Served::open(&folder.join(&set).join(file))?));
        }
        let path = folder.join(&set).join(pxe::SCRIPT);
        let script = Served::open(&path)?;
        let bytes = script.read(0, script.length.min(LONGEST_SCRIPT) as usize).at("reading", &path)?;
        let arguments =
            pxe::arguments(&String::from_utf8_lossy(&bytes)).map(str::to_owned).ok_or_else(|| {
                Error::new(ErrorKind::Usage, format!("{} is no script of kiln's", path.display()))
                    .help("build the image again, with the output pxe")
            })?;
        let name = set.strip_suffix("-pxe").unwrap_or(&set).to_owned();
        let manifest = folder.join(MANIFEST);
        // Whoever copies the folder may leave it out.
        let arch = match manifest.exists() {
            true => Some(Finished::read(&manifest)?.arch),
            false => None,
        };
        Ok(Self { name, folder: set, arguments, arch, files })
    }

    /// The disk that an installation writes, and its block map.
    pub fn disk(&self, folder: &Path) -> Result<Disk> {
        let named = |ending: &&str| {
            Some(format!("{}{ending}", self.name)).filter(|name| self.files.contains_key(name))
        };
        let file = DISKS.iter().find_map(named);
        let map = folder.join(format!("{}.raw.bmap", self.name));
        match file {
            Some(file) if map.exists() => Ok(Disk { file, map: Digest::of_file(&map)? }),
            _ => {
                let message =
                    format!("{} has no disk {}.raw with a block map beside it", folder.display(), self.name);
                Err(Error::new(ErrorKind::Usage, message)
                    .help("build the output raw with compression = \"zstd\" and block-map = true"))
            }
        }
    }

    /// The unified kernel image, if there is one.
    pub fn uki(&self) -> Option<&Arc<Served>> {
        self.files.get(&format!("{}.efi", self.name))
    }
}

fn wrong_number(folder: &Path, sets: &[String]) -> Error {
    let (message, help) = match sets {
        [] => ("it has no folder NAME-pxe".to_owned(), "build the image with the output pxe"),
        sets => {
            (format!("it has several images: {}", sets.join(", ")), "give each image a folder of its own")
        }
    };
    Error::new(ErrorKind::Usage, format!("{}: {message}", folder.display())).help(help)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_belongs_to_a_boot_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(Image::open(folder.path()).unwrap_err().to_string().contains("output pxe"));
        fs::create_dir(path("a-pxe")).unwrap();
        for (name, text) in [
            ("a-pxe/vmlinuz", "k"),
            ("a-pxe/initrd", "i"),
            ("a-pxe/boot.ipxe", "#!ipxe\nkernel vmlinuz initrd=initrd quiet\ninitrd initrd\nboot\n"),
            ("a.raw", "disk"),
            ("a.efi", "uki"),
            ("secret.key", "x"),
            (".a.raw", "x"),
        ] {
            fs::write(path(name), text).unwrap();
        }
        symlink("/etc/hostname", path("b.raw")).unwrap();
        let image = Image::open(folder.path()).unwrap();
        let names: Vec<&str> = image.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["a-pxe/initrd", "a-pxe/vmlinuz", "a.efi", "a.raw"]);
        assert_eq!((image.name.as_str(), image.arguments.as_str()), ("a", "quiet"));
        assert_eq!(image.uki().unwrap().read(1, 2).unwrap(), "ki");
        assert!(image.uki().unwrap().read(2, 2).is_err());
        assert!(image.disk(folder.path()).unwrap_err().to_string().contains("block-map"));
        for name in ["a.raw.bmap", "a.raw.gz"] {
            fs::write(path(name), "map").unwrap();
        }
        let image = Image::open(folder.path()).unwrap();
        let disk = image.disk(folder.path()).unwrap();
        assert_eq!((disk.file.as_str(), disk.map), ("a.raw.gz", Digest::of(b"map")));
        fs::create_dir(path("b-pxe")).unwrap();
        assert!(Image::open(folder.path()).unwrap_err().to_string().contains("several"));
    }
}
