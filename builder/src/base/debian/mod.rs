//! Debian, from its packages.
//!
//! ```text
//! mirrors ─► resolve (network: apt in a private folder) ─► LockedPackage … ─► fetch ─► build (offline: mmdebstrap) ─► tar
//! ```
//!
//! The lock decides: [`build`] installs exactly the locked packages, from verified bytes, and fails when dpkg's database says anything else.
//! The only package that is not in the lock is [`standin`]'s, which Kiln makes itself.

mod build;
mod diagnosis;
mod mirrors;
mod package;
mod resolve;
mod standin;
mod workspace;

use std::path::Path;

pub use build::{Build, build};
pub use mirrors::{MIRROR_VARIABLE, Mirrors, gone, mirrors, url};
pub use resolve::{ALLOW_EXPIRED_FLAG, Resolve, resolve};

use crate::definition::plan::{Arch, BasePlan};
use crate::digest::Digest;
use crate::lock::LockedPackage;
use crate::tree::{Entry, Tree};

/// Changes whenever [`build`] makes another tree of the same packages. Part of every cache key.
const GENERATION: &str = "debian-base-4";

/// The hash of everything that decides what [`build`] writes: names a base in the store.
pub fn key(base: &BasePlan, arch: Arch, packages: &[LockedPackage], epoch: u64) -> Digest {
    let mut text =
        format!("{GENERATION}\n{}\n{}\n{epoch}\n{}{}", base.suite, name(arch), build::SETUP, build::INSTALL);
    for package in packages.iter().filter(|package| package.install) {
        text.push_str(&format!(
            "{} {} {} {}\n",
            package.name, package.version, package.architecture, package.sha256
        ));
    }
    Digest::of(text.as_bytes())
}

/// Debian's name of an architecture (<https://www.debian.org/ports/>).
const fn name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
    }
}

/// A path as text, for the configuration files of apt, which have no way to write anything else.
fn text(path: &Path) -> crate::error::Result<&str> {
    path.to_str().filter(|path| !path.contains(['"', '\n'])).ok_or_else(|| {
        crate::error::Error::new(
            crate::error::ErrorKind::Usage,
            format!("apt cannot work in the folder {}", path.display()),
        )
        .help("choose a cache folder whose path has no quotes or line breaks, with --cache-dir")
    })
}

/// Where the kernel's file systems are mounted, with their permission bits.
const MOUNT_POINTS: [(&str, u32); 4] = [("dev", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555)];

/// Makes the tree of a finished root an image's: with the kernel's mount points, and without access control lists, which a read-only root
/// cannot keep. The only ones are those that systemd-tmpfiles sets on the journal's folder, and it sets them again at every boot.
pub fn finish(mut tree: Tree) -> Tree {
    for (path, mode) in MOUNT_POINTS {
        tree.insert(path, Entry::directory(mode));
    }
    for entry in tree.entries.values_mut() {
        entry.xattrs.retain(|name, _| !name.starts_with("system.posix_acl_"));
    }
    tree
}
