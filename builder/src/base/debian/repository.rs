//! A private package repository with exactly the locked packages, and Kiln's stand-in for an initramfs generator.

use std::fs;
use std::path::{Path, PathBuf};

use super::at_epoch;
use crate::digest::Digest;
use crate::error::{Class, Error, IoContext, Result};
use crate::lock::LockedPackage;
use crate::process::{Run, tool};

/// The stand-in's name. Kernel packages depend on a `linux-initramfs-tool`; Kiln writes the initrd itself, so this one is empty
/// and keeps dpkg's database consistent.
pub const STAND_IN: &str = "kiln-initrd";

/// The stand-in's control file (Debian policy 5.3).
const STAND_IN_CONTROL: &str = "Package: kiln-initrd
Version: 1
Architecture: all
Maintainer: Kiln <kiln@localhost>
Provides: linux-initramfs-tool
Priority: optional
Section: kernel
Description: stand-in for an initramfs generator
 Kiln writes the initrd of its images itself; this package is empty.
";

/// The stand-in's stanza for an index that is only resolved against.
pub fn stand_in_index() -> String {
    format!("{STAND_IN_CONTROL}Filename: ./{STAND_IN}.deb\nSize: 1\nSHA256: {}\n", Digest::of(b"").hex())
}

/// Fills `folder` with the packages and their index. `blob` is where a verified package lies.
pub fn fill(folder: &Path, packages: &[&LockedPackage], blob: &(dyn Fn(&LockedPackage) -> PathBuf + Sync), epoch: u64) -> Result<()> {
    let mut index = stand_in(folder, epoch)?;
    let half = packages.len().div_ceil(2);
    let stanzas: Vec<Result<String>> = std::thread::scope(|scope| {
        let handles: Vec<_> = packages
            .chunks(half.max(1))
            .map(|part| scope.spawn(move || part.iter().map(|package| add(folder, package, blob)).collect::<Result<String>>()))
            .collect();
        let panicked = || Err(Error::new(Class::Internal, "the thread that indexes packages panicked"));
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| panicked())).collect()
    });
    for stanza in stanzas {
        index.push_str(&stanza?);
    }
    let path = folder.join("Packages");
    fs::write(&path, index).at("writing", &path)
}

/// Links or copies one package into `folder`; returns its stanza.
fn add(folder: &Path, package: &LockedPackage, blob: &(dyn Fn(&LockedPackage) -> PathBuf + Sync)) -> Result<String> {
    let source = blob(package);
    // Not the archive's own names: apt and its methods do not agree on how the %3a of an epoch is quoted.
    let name = format!("{}_{:.16}.deb", package.name, package.sha256.hex());
    let target = folder.join(&name);
    if fs::hard_link(&source, &target).is_err() {
        fs::copy(&source, &target).at("copying", &source)?;
    }
    let control = tool("dpkg-deb").arg("--field").arg(&target).run("dpkg")?.stdout;
    let control = String::from_utf8(control).map_err(|_| Error::new(Class::Archive, format!("{name}: its control file is not text")))?;
    Ok(stanza(control.trim_end(), &name, package.size, &package.sha256))
}

fn stanza(control: &str, name: &str, size: u64, sha256: &Digest) -> String {
    format!("{control}\nFilename: ./{name}\nSize: {size}\nSHA256: {}\n\n", sha256.hex())
}

/// Builds the stand-in; returns its stanza.
fn stand_in(folder: &Path, epoch: u64) -> Result<String> {
    let source = folder.join("stand-in");
    let control = source.join("DEBIAN");
    fs::create_dir_all(&control).at("creating", &control)?;
    fs::write(control.join("control"), STAND_IN_CONTROL).at("writing", &control)?;
    let name = format!("{STAND_IN}.deb");
    let target = folder.join(&name);
    at_epoch(tool("dpkg-deb"), epoch).args(["--build", "--root-owner-group", "-Znone"]).arg(&source).arg(&target).run("dpkg")?;
    fs::remove_dir_all(&source).at("removing", &source)?;
    let size = target.metadata().at("reading", &target)?.len();
    Ok(stanza(STAND_IN_CONTROL.trim_end(), &name, size, &Digest::of_file(&target)?))
}
