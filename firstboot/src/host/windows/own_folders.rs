//! The agent's own folders. By default any user of Windows may make folders and files below `C:\ProgramData`,
//! so what a plain user put there is not trusted: a node config would join the machine to another cluster.

use std::fs;
use std::path::Path;

use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::os::{self, Ownership};
use crate::paths;

/// From the outside to the inside.
const FOLDERS: [&str; 3] = [paths::AGENT_FOLDER, paths::STATE_FOLDER, paths::RUN_FOLDER];

/// Gives the folders to Administrators and SYSTEM, and fails for what somebody else made in them. Missing
/// ones are made.
pub(crate) fn secure(root: &Root) -> Result<()> {
    if !root.is_machine() {
        return Ok(());
    }
    FOLDERS.iter().try_for_each(|folder| secure_folder(&root.entry(folder)))
}

fn secure_folder(folder: &Path) -> Result<()> {
    if fs::symlink_metadata(folder).is_err() {
        files::make_folder(folder, 0o755)?;
    }
    let found = ownership(folder)?;
    if found.is_link || !found.is_folder {
        return Err(refused(folder, "it is no folder of its own"));
    }
    // Who made it may hold it open, and so change it whatever its access list says from now on.
    check_owner(folder, found)?;
    os::take_folder(folder).doing(format!("taking the folder {}", folder.display()))?;
    for entry in fs::read_dir(folder).doing(format!("reading {}", folder.display()))? {
        let path = entry.doing(format!("reading {}", folder.display()))?.path();
        let found = ownership(&path)?;
        if found.is_link {
            return Err(refused(&path, "it is a link"));
        }
        check_owner(&path, found)?;
    }
    Ok(())
}

fn check_owner(path: &Path, found: Ownership) -> Result<()> {
    match found.stranger {
        Some(owner) => Err(refused(path, &format!("it belongs to {owner}"))),
        None => Ok(()),
    }
}

fn ownership(path: &Path) -> Result<Ownership> {
    os::ownership(path).doing(format!("asking who owns {}", path.display()))
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::new(ErrorKind::Host, format!("{} is not trusted: {why}", path.display()))
        .help("remove it, and start the agent again; an administrator may make it anew")
}
