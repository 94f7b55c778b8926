//! Extra files of a node config. They are written before the join, which may need them (patches, a discovery
//! file). After the join, writes the sentinel file of Cluster API.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Session;
use crate::document::LIMIT;
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;
use crate::userdata::{ExtraFile, Owner};

/// Limit on the files of users and groups, in bytes.
const LONGEST: u64 = 4 << 20;

/// Writes the files. A file that is already correct stays unchanged, so every run can call this.
pub(super) fn write(session: &Session, files: &[ExtraFile]) -> Result<()> {
    for file in files {
        if write_one(session.root, file)
            .map_err(|failure| failure.doing(format!("the file {} of the user-data", file.path)))?
        {
            session.print(&format!("wrote {}, as the user-data asks", file.path));
        }
    }
    Ok(())
}

/// Returns whether a file was changed.
fn write_one(root: &Root, file: &ExtraFile) -> Result<bool> {
    let path = root.path(&file.path);
    let content = file.content.bytes();
    let there = files::read(&path, LIMIT as u64)?;
    let (user, group) = ids(root, &file.owner)?;
    let is_written = match &there {
        Some(bytes) if file.appends => bytes.ends_with(content),
        Some(bytes) => bytes == content,
        None => false,
    };
    let is_right = is_written
        && std::fs::metadata(&path).is_ok_and(|about| {
            about.mode() & 0o7777 == file.mode && (about.uid(), about.gid()) == (user, group)
        });
    if is_right {
        return Ok(false);
    }
    let bytes = match there {
        Some(before) if file.appends && !is_written => {
            zeroize::Zeroizing::new([before.as_slice(), content].concat())
        }
        Some(before) if file.appends => before.into(),
        _ => content.to_vec().into(),
    };
    // Readable by root only until it has its owner.
    files::write(&path, &bytes, files::PRIVATE)?;
    files::set_owner(&path, (user, group), file.mode)?;
    Ok(true)
}

/// Gets the owner's numbers from the files of `root`, because a static program has no name service.
fn ids(root: &Root, owner: &Owner) -> Result<(u32, u32)> {
    Ok((id(root, paths::USERS, &owner.user)?, id(root, paths::GROUPS, &owner.group)?))
}

fn id(root: &Root, table: &str, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    if name == "root" {
        return Ok(0);
    }
    let bytes = files::read(&root.path(table), LONGEST)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let row = text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|row| row.first() == Some(&name));
    let number = row.and_then(|row| row.get(2)?.parse().ok());
    number.ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("its owner is not in {table}"))
            .help("name a user and a group of the image, or numbers")
    })
}

/// Reports success by Cluster API's contract
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>).
pub(super) fn write_sentinel(root: &Root, sentinel: &str) -> Result<()> {
    files::write(&root.path(Path::new(sentinel)), b"success\n", files::PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn file(path: &str, appends: bool, content: &str) -> ExtraFile {
        let (user, group) = (nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string());
        let document = Document::new(content.as_bytes().to_vec().into()).unwrap();
        ExtraFile::new(path, 0o640, Owner { user, group }, appends, document).unwrap()
    }

    #[test]
    fn files_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let read = |path: &str| std::fs::read_to_string(root.path(path)).unwrap();
        assert!(write_one(&root, &file("/etc/a/b", false, "one")).unwrap());
        assert!(!write_one(&root, &file("/etc/a/b", false, "one")).unwrap());
        assert!(write_one(&root, &file("/etc/a/b", false, "two")).unwrap());
        assert!(write_one(&root, &file("/etc/a/b", true, "+")).unwrap());
        assert!(!write_one(&root, &file("/etc/a/b", true, "+")).unwrap());
        assert_eq!(
            (read("/etc/a/b").as_str(), std::fs::metadata(root.path("/etc/a/b")).unwrap().mode() & 0o7777),
            ("two+", 0o640)
        );
        write_sentinel(&root, "/run/cluster-api/bootstrap-success.complete").unwrap();
        assert_eq!(read("/run/cluster-api/bootstrap-success.complete"), "success\n");
    }

    #[test]
    fn owners_are_found_in_the_images_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        files::write(&root.path("/etc/passwd"), b"root:x:0:0::/:\netcd:x:107:5::/:\nbad\n", 0o644).unwrap();
        for (name, expected) in
            [("root", Some(0)), ("etcd", Some(107)), ("12", Some(12)), ("bad", None), ("none", None)]
        {
            assert_eq!(id(&root, "/etc/passwd", name).ok(), expected, "{name}");
        }
    }
}
