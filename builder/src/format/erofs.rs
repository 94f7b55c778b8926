//! Read-only file systems: erofs by `mkfs.erofs`, from a copy of the tree in a folder, because the tool reads
//! tars only since 1.8.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::BufWriter;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::determinism;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::tree::contents::Contents;
use crate::tree::{Entry, Node, Tree};

/// The package of the tools.
const PACKAGE: &str = "erofs-utils";

/// Options that decide the bytes. lz4 is what every kernel with erofs decompresses.
pub const OPTIONS: &[&str] = &["-zlz4hc,9", "-C65536", "-x-1", "--force-uid=0", "--force-gid=0"];

/// The version of the installed tool ("1.5"). It has no option that old releases know, but every release says
/// its version when it writes a file system.
///
/// # Errors
/// [`ErrorKind::Tool`] when it is missing.
pub fn version(scratch: &Path) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("erofs-").tempdir_in(scratch).at("creating", scratch)?;
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).at("creating", &empty)?;
    let output = tool("mkfs.erofs").arg(folder.path().join("image")).arg(&empty).run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default();
    Ok(first.split_whitespace().last().unwrap_or_default().to_owned())
}

/// Writes `tree` as erofs to the new file `path`; every time in it is `epoch`, and its identifier follows
/// from `seed`. A copy of the tree is in `scratch` meanwhile.
///
/// # Errors
/// [`ErrorKind::Definition`] for an owner or an attribute that the copy cannot have; [`ErrorKind::Tool`].
pub fn write(tree: &Tree, epoch: u64, seed: &Digest, scratch: &Path, path: &Path) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("erofs-").tempdir_in(scratch).at("creating", scratch)?;
    copy(tree, folder.path())?;
    let uuid = determinism::uuid(seed, "erofs");
    let mut command = tool("mkfs.erofs");
    command.args(OPTIONS).args([format!("-T{epoch}"), format!("-U{uuid}")]);
    command.arg(path).arg(folder.path()).env_remove("SOURCE_DATE_EPOCH").run(PACKAGE)?;
    Ok(())
}

/// Copies `tree`, which has all its parent folders, into the empty folder `to`.
fn copy(tree: &Tree, to: &Path) -> Result<()> {
    let mut contents = Contents::default();
    let mut folders = BTreeMap::new();
    fs::set_permissions(to, Permissions::from_mode(0o755)).at("changing the mode of", to)?;
    for (name, entry) in &tree.entries {
        check(name, entry)?;
        let path = to.join(name);
        match &entry.node {
            Node::Directory => {
                fs::create_dir(&path).at("creating", &path)?;
                folders.insert(path, entry.mode);
                continue;
            }
            Node::Symlink(target) => {
                symlink(target, &path).at("linking", &path)?;
                continue;
            }
            Node::File(body) => {
                let mut file = BufWriter::new(File::create(&path).at("creating", &path)?);
                contents.copy(body, &mut file, &|| path.display().to_string())?;
                file.into_inner().map_err(|error| Error::io("writing", &path, error.error()))?;
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(entry.mode)).at("changing the mode of", &path)?;
    }
    // Last, because a folder may be without the right to write.
    for (path, mode) in folders {
        fs::set_permissions(&path, Permissions::from_mode(mode)).at("changing the mode of", &path)?;
    }
    Ok(())
}

/// A user who is not root cannot copy owners and most attributes.
fn check(path: &str, entry: &Entry) -> Result<()> {
    let what = match (entry.uid, entry.gid) {
        (0, 0) if entry.xattrs.is_empty() => return Ok(()),
        (0, 0) => "extended attributes".to_owned(),
        (uid, gid) => format!("the owner {uid}:{gid}"),
    };
    let message = format!("/{path} has {what}, which Kiln cannot write to erofs");
    Err(Error::new(ErrorKind::Definition, message).help("choose squashfs"))
}
