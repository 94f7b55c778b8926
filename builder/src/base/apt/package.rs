//! Control files of packages (deb(5), deb-control(5)), and which packages must be unpacked before dpkg can
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::archive::{self, Unpacked, deb};
use crate::base::stanza::Stanza;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::kernel_module::in_file;

/// The largest control file that is read. Real ones have a few hundred bytes, the largest some ten thousand.
const CONTROL_LIMIT: u64 = 1 << 20;

/// The largest list of built-in modules that is read. Real ones have about 10 kB.
const LIST_LIMIT: u64 = 1 << 20;

/// The names of the packages that must lie in the root before dpkg can run there: those that are essential,
/// and all that they need. Of alternatives, all that are there.
pub(super) fn bootstrap(packages: &[Stanza]) -> BTreeSet<String> {
    let mut providers: BTreeMap<&str, Vec<&Stanza>> = BTreeMap::new();
    for package in packages {
        providers.entry(package.get("package")).or_default().push(package);
        for name in package.names("provides") {
            providers.entry(name).or_default().push(package);
        }
    }
    let mut found = BTreeSet::new();
    let mut todo: Vec<&Stanza> =
        packages.iter().filter(|package| package.get("essential") == "yes").collect();
    while let Some(package) = todo.pop() {
        if found.insert(package.get("package").to_owned()) {
            let needed = package.names("pre-depends").chain(package.names("depends"));
            todo.extend(needed.filter_map(|name| providers.get(name)).flatten());
        }
    }
    found
}

/// Reads the control file of a package.
///
/// # Errors
/// [`ErrorKind::Archive`] when the file is not a Debian package.
pub(super) fn control(path: &Path) -> Result<Stanza> {
    let text = read_control(member(path, "control.tar")?)
        .map_err(|error| broken(path, &error.to_string()))?
        .ok_or_else(|| broken(path, "it has no control file"))?;
    Ok(Stanza::parse(&text))
}

/// The kernel modules that a package brings, as files or built into its kernel.
///
/// # Errors
/// [`ErrorKind::Archive`] when the file is not a Debian package.
pub(super) fn kernel_modules(path: &Path) -> Result<BTreeSet<String>> {
    read_modules(member(path, "data.tar")?).map_err(|error| broken(path, &error.to_string()))
}

/// A package whose files are not compressed: dpkg-deb and dpkg, which both unpack the packages of the
/// bootstrap, then have nothing to decompress.
pub(super) struct Plain {
    /// The package up to its files.
    head: Vec<u8>,
    files: Unpacked,
}

impl Plain {
    /// Decompresses the files of the package `path` into `scratch`.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] when the file is not a Debian package.
    pub(super) fn of(path: &Path, name: &str, scratch: &Path) -> Result<Self> {
        let files = archive::package_files(path, name, scratch)?;
        let mut head = deb::MAGIC.to_vec();
        let file = File::open(path).at("opening", path)?;
        for (name, body) in deb::members(&file).take_while(|(name, _)| !name.starts_with("data.tar")) {
            let length = body.end - body.start;
            head.extend_from_slice(deb::member_header(&name, length).as_bytes());
            let mut reader = &file;
            reader.seek(SeekFrom::Start(body.start)).at("reading", path)?;
            reader.take(length).read_to_end(&mut head).at("reading", path)?;
            head.resize(head.len().next_multiple_of(2), b'\n');
        }
        head.extend_from_slice(deb::member_header("data.tar", files.length()).as_bytes());
        Ok(Self { head, files })
    }

    /// The length of the package. A tar has an even one, so nothing follows its end.
    pub(super) fn size(&self) -> u64 {
        self.head.len() as u64 + self.files.length()
    }

    /// Reads the package from its start.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the files are gone.
    pub(super) fn reader(&self) -> Result<impl Read> {
        Ok(self.head.as_slice().chain(self.files.reader()?))
    }
}

fn broken(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Archive, format!("{} is not a Debian package: {reason}", path.display()))
}

/// The decompressed content of `control.tar` or `data.tar`.
fn member(path: &Path, tar: &str) -> Result<Box<dyn Read>> {
    let mut file = File::open(path).at("opening", path)?;
    let (member, body) = deb::members(&file)
        .find(|(name, _)| name.starts_with(tar))
        .ok_or_else(|| broken(path, &format!("it has no {tar}")))?;
    file.seek(SeekFrom::Start(body.start)).at("reading", path)?;
    let body = file.take(body.end - body.start);
    Ok(match member.strip_prefix(tar).unwrap_or_default() {
        "" => Box::new(body),
        ".gz" => Box::new(flate2::read::GzDecoder::new(body)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(body)),
        ".zst" => Box::new(zstd::Decoder::new(body).map_err(|error| broken(path, &error.to_string()))?),
        _ => return Err(broken(path, &format!("the compression of {member} is not known"))),
    })
}

fn read_modules(reader: impl Read) -> std::io::Result<BTreeSet<String>> {
    let mut modules = BTreeSet::new();
    for entry in tar::Archive::new(reader).entries()? {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !path.contains("lib/modules/") {
            continue;
        }
        if path.ends_with("/modules.builtin") {
            let mut text = String::new();
            entry.take(LIST_LIMIT).read_to_string(&mut text)?;
            modules.extend(text.lines().filter_map(in_file));
        } else {
            modules.extend(in_file(&path));
        }
    }
    Ok(modules)
}

fn read_control(reader: impl Read) -> std::io::Result<Option<String>> {
    for entry in tar::Archive::new(reader).entries()? {
        let entry = entry?;
        if entry.path_bytes().as_ref() == b"./control" || entry.path_bytes().as_ref() == b"control" {
            let mut text = String::new();
            entry.take(CONTROL_LIMIT).read_to_string(&mut text)?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_continuations() {
        let stanza = Stanza::parse(
            "Package: a\nDescription: one\n two\n .\nDepends: b (>= 1), c:any [amd64] | d <!x>,\n e\n",
        );
        assert_eq!(stanza.get("description"), "one\ntwo\n.");
        assert_eq!(stanza.names("depends").collect::<Vec<_>>(), ["b", "c", "d", "e"]);
        assert_eq!(stanza.get("absent"), "");
    }

    #[test]
    fn bootstrap_follows_dependencies_and_provides() {
        let text = "Package: dpkg\nEssential: yes\nPre-Depends: libc (>= 2)\nDepends: tar\n\n\
                    Package: libc6\nProvides: libc (= 2)\nDepends: libgcc\n\n\
                    Package: libgcc\nDepends: libc\n\n\
                    Package: tar\n\n\
                    Package: systemd\nDepends: libc\n";
        let packages: Vec<_> = crate::base::stanza::stanzas(text).collect();
        assert_eq!(packages.len(), 5);
        assert_eq!(bootstrap(&packages).into_iter().collect::<Vec<_>>(), ["dpkg", "libc6", "libgcc", "tar"]);
    }

    #[test]
    fn kernel_modules_are_files_or_built_in() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, body) in [
            (
                "./lib/modules/6.8/modules.builtin",
                "kernel/fs/ext4/ext4.ko\nkernel/drivers/block/virtio_blk.ko\n",
            ),
            ("./usr/lib/modules/6.8/kernel/drivers/mmc/host/sdhci-pci.ko.zst", ""),
            ("./lib/modules/6.8/kernel/drivers/nvme/host/nvme.ko", ""),
            ("./lib/modules/6.8/modules.order", "kernel/other.ko\n"),
            ("./usr/share/doc/notes.ko", ""),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(body.len() as u64);
            tar.append_data(&mut header, path, body.as_bytes()).unwrap();
        }
        let found = read_modules(&*tar.into_inner().unwrap()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["ext4", "nvme", "sdhci_pci", "virtio_blk"]);
    }

    #[test]
    fn reads_the_control_file_of_a_package() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("x.deb");
        std::fs::write(&path, super::super::dummy_package::package().unwrap()).unwrap();
        assert_eq!(control(&path).unwrap(), Stanza::parse(super::super::dummy_package::CONTROL));
        std::fs::write(&path, b"!<arch>\nnothing").unwrap();
        assert!(control(&path).unwrap_err().message().contains("not a Debian package"));
    }
}
