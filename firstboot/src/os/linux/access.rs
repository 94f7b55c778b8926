//! How files are made and opened: modes, owners, links.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::super::Owner;
use super::{open, own};

/// Makes a new file, which only its owner can open until [`settle`].
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode & 0o600).open(path)
}

/// Gives a written file its owner and its mode, which the umask does not change.
pub fn settle(file: &File, mode: u32, owner: Option<Owner>) -> io::Result<()> {
    if let Some((user, group)) = owner.filter(|owner| *owner != own()) {
        fchown(file, Some(user), Some(group))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Makes a folder with `mode`.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    let made = fs::DirBuilder::new()
        .mode(mode)
        .create(path)
        .or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) });
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
}

/// After a power cut, the entries of the folder are what they are now.
pub fn flush_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the symbolic link `path` to `target`.
pub fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Takes a file away from all users but its owner. A link is not followed.
pub fn make_private(path: &Path) -> io::Result<()> {
    open(path, false)?.set_permissions(fs::Permissions::from_mode(0o600))
}

/// Writes one byte to a file without a name; none if there cannot be such files.
pub fn probe_nameless(folder: &Path) -> Option<io::Result<()>> {
    const TMPFILE: i32 = nix::fcntl::OFlag::O_TMPFILE.bits();
    let nameless = OpenOptions::new().write(true).mode(0o600).custom_flags(TMPFILE).open(folder);
    match nameless {
        Ok(mut file) => Some(file.write_all(b"x")),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Some(Err(error)),
        Err(_) => None,
    }
}
