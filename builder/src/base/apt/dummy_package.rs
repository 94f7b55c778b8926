//! The dummy package `kiln-initrd`, as equivs(1) makes them: dpkg's database then knows of the initrd that
//! Kiln writes.
//!
//! Debian's kernels depend on `initramfs-tools | linux-initramfs-tool`. With this package, which provides the
//! second name, no generator is installed and none runs, and dpkg's database stays consistent. It holds no
//! files.

use tar::{Builder, EntryType, Header};

use crate::archive::deb;
use crate::base::packages::OWN_PACKAGE;
use crate::error::{Error, ErrorKind, Result};

pub(super) const NAME: &str = OWN_PACKAGE;
/// It never changes as long as its content does not.
pub(super) const VERSION: &str = "1";
pub(super) const ARCHITECTURE: &str = "all";

/// deb-control(5)
pub(super) const CONTROL: &str = "Package: kiln-initrd
Version: 1
Architecture: all
Maintainer: Kiln <kiln@localhost>
Provides: linux-initramfs-tool
Section: kernel
Priority: optional
Description: the initrd of this image was written by Kiln
 No generator is installed: the initrd is built together with the image.
";

/// How dpkg's database describes it once installed; with it in an empty database, apt does not look for a
/// generator.
pub(super) fn status() -> String {
    CONTROL.replacen('\n', "\nStatus: install ok installed\n", 1)
}

/// The package file (deb(5)): always the same bytes.
///
/// # Errors
/// Never in practice: everything is written to memory.
pub(super) fn package() -> Result<Vec<u8>> {
    let control = tar_of(Some(("./control", CONTROL.as_bytes())))?;
    let data = tar_of(None)?;
    let mut package = deb::MAGIC.to_vec();
    for (name, body) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data)] {
        package.extend_from_slice(deb::member_header(name, body.len() as u64).as_bytes());
        package.extend_from_slice(body);
        package.resize(package.len().next_multiple_of(2), b'\n');
    }
    Ok(package)
}

fn tar_of(file: Option<(&str, &[u8])>) -> Result<Vec<u8>> {
    let fail = |error: std::io::Error| {
        Error::new(ErrorKind::Internal, format!("writing the package {NAME}: {error}"))
    };
    let mut tar = Builder::new(Vec::new());
    let mut append = |path: &str, kind: EntryType, mode: u32, body: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(body.len() as u64);
        // The tar crate's own setter drops "./", which dpkg-deb(1) asks for.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, body)
    };
    append("./", EntryType::Directory, 0o755, b"").map_err(fail)?;
    if let Some((path, body)) = file {
        append(path, EntryType::Regular, 0o644, body).map_err(fail)?;
    }
    tar.into_inner().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Run, tool};

    #[test]
    fn dpkg_reads_the_package() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("kiln-initrd.deb");
        std::fs::write(&path, package().unwrap()).unwrap();
        let Ok(fields) = tool("dpkg-deb").arg("-f").arg(&path).run("dpkg") else {
            assert!(tool("dpkg-deb").arg("--version").run("dpkg").is_err(), "dpkg-deb refuses the package");
            return testkit::not_run("dpkg_reads_the_package", "no dpkg-deb");
        };
        assert_eq!(String::from_utf8(fields.stdout).unwrap(), CONTROL);
        let listed = tool("dpkg-deb").arg("-c").arg(&path).run("dpkg").unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 1);
    }

    #[test]
    fn the_constants_are_those_of_the_control_file() {
        for (field, value) in [("Package", NAME), ("Version", VERSION), ("Architecture", ARCHITECTURE)] {
            assert!(CONTROL.contains(&format!("{field}: {value}\n")));
        }
        assert!(status().starts_with("Package: kiln-initrd\nStatus: install ok installed\nVersion: 1\n"));
    }
}
