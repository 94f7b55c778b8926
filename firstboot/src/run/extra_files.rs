//! Extra files of a node config. They are written before the join, which may need them (patches, a discovery
//! file). After the join, writes the sentinel file of Cluster API.

use std::path::Path;

use super::Session;
use crate::config::model::{Discovery, NodeConfig};
use crate::document::LIMIT;
use crate::error::{Context, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::userdata::{ExtraFile, Owner};
use crate::{os, paths};

/// Limit on the files of users and groups, in bytes.
const LONGEST: u64 = 4 << 20;

/// Folders of settings for things that the agent does not make.
const FOR_OTHERS: &[(&str, &str)] = &[
    ("/etc/systemd/system/", "units are not started: it may be over a unit of the image"),
    ("/etc/sudoers.d/", "users are not made"),
    ("/etc/ssh/", "users are not made"),
];

/// Writes the files. A file that is already correct stays unchanged, so every run can call this. A file that
/// only commands need, which are not executed, is no reason to end the run.
pub(super) fn write(session: &Session, files: &[ExtraFile], config: &NodeConfig) -> Result<()> {
    for file in files {
        let doing = |failure: Failure| failure.doing(format!("the file {} of the user-data", file.path));
        if files::is_read_only(&session.root.entry(&file.path)) {
            session.warn(format_args!(
                "the file {} of the user-data is not written: its folder is read-only",
                file.path
            ));
            continue;
        }
        let owner = owner(session, file).map_err(doing)?;
        if write_one(session.root, file, mode(session.root, file, config), owner).map_err(doing)? {
            session.print(&format!("wrote {}, as the user-data asks", file.path));
            FOR_OTHERS
                .iter()
                .filter(|(folder, _)| file.path.starts_with(folder))
                .for_each(|(_, why)| session.print(&format!("{}: {why}", file.path)));
        }
    }
    Ok(())
}

/// What a run does with the files, for people: one line each.
pub fn foreseen(root: &Root, files: &[ExtraFile], config: &NodeConfig) -> Vec<String> {
    let line = |file: &ExtraFile| {
        if files::is_read_only(&root.entry(&file.path)) {
            return format!("{}: not written, because its folder is read-only", file.path);
        }
        let owner = match ids(root, &file.owner) {
            Ok(Some(_)) => format!("{}:{}", file.owner.user, file.owner.group),
            _ => "root, because the image does not have its owner".to_owned(),
        };
        let appended = if file.appends { "appended, " } else { "" };
        let removed = match is_secret(root, &file.path, config) {
            true if file.appends => ", taken out after the join",
            true => ", removed after the join",
            false => "",
        };
        format!("{} ({appended}mode {:04o}, of {owner}{removed})", file.path, mode(root, file, config))
    };
    files.iter().map(line).collect()
}

/// A file with a credential is only root's.
fn mode(root: &Root, file: &ExtraFile, config: &NodeConfig) -> u32 {
    if is_secret(root, &file.path, config) { file.mode & files::PRIVATE } else { file.mode }
}

/// Removes the files that the join needed and that hold a credential.
pub(super) fn remove_secrets(session: &Session, files: &[ExtraFile], config: &NodeConfig) {
    for file in files.iter().filter(|file| is_secret(session.root, &file.path, config)) {
        match remove_secret(session.root, file) {
            Ok(true) => session.print(&format!("removed {}: it held a credential", file.path)),
            Ok(false) => session.print(&format!(
                "took out of {} what the user-data had appended: it held a credential",
                file.path
            )),
            Err(failure) => session.warn(format_args!("{failure}: it holds a credential")),
        }
    }
}

/// Removes the file, or what was appended to somebody else's. Returns whether the file is gone.
fn remove_secret(root: &Root, file: &ExtraFile) -> Result<bool> {
    let path = root.entry(&file.path);
    if file.appends
        && let Some(bytes) = files::read_unlinked(&path, LIMIT as u64)?
        && let Some(rest) = without(&bytes, file.content.bytes()).filter(|rest| !rest.trim_ascii().is_empty())
    {
        let about = std::fs::symlink_metadata(&path).doing(format!("reading {}", file.path))?;
        let (owner, mode) = os::owner_and_mode(&about);
        files::write_owned(&path, &rest, mode, owner)?;
        return Ok(false);
    }
    files::remove(&path).map(|()| true)
}

/// The text without the last `part` of it; none if it is not there.
fn without(text: &[u8], part: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let (text, part) = (std::str::from_utf8(text).ok()?, std::str::from_utf8(part).ok()?);
    let (before, after) = text.rsplit_once(part)?;
    Some([before, after].concat().into_bytes().into())
}

/// Whether the discovery reads a credential from the file.
fn is_secret(root: &Root, path: &str, config: &NodeConfig) -> bool {
    matches!(&config.join.discovery, Discovery::File(file) if root.is_same(file, path))
}

/// The owner's numbers; root if the image does not have the owner, as with cloud-init.
fn owner(session: &Session, file: &ExtraFile) -> Result<os::Owner> {
    Ok(ids(session.root, &file.owner)?.unwrap_or_else(|| {
        session.warn(format_args!(
            "the file {} of the user-data belongs to root: the image does not have its owner",
            file.path
        ));
        os::own()
    }))
}

/// Returns whether a file was changed.
fn write_one(root: &Root, file: &ExtraFile, mode: u32, owner: os::Owner) -> Result<bool> {
    let path = root.entry(&file.path);
    let content = file.content.bytes();
    let there = files::read_unlinked(&path, LIMIT as u64)?;
    let is_written = match &there {
        Some(bytes) if file.appends => contains(bytes, content),
        Some(bytes) => bytes == content,
        None => false,
    };
    let is_right = is_written
        && std::fs::symlink_metadata(&path)
            .is_ok_and(|about| about.is_file() && os::owner_and_mode(&about) == (owner, mode));
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
    files::write_owned(&path, &bytes, mode, owner)?;
    Ok(true)
}

/// Whether the content was appended before, even if others appended to the file since then.
fn contains(bytes: &[u8], content: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(String::from_utf8_lossy(content).as_ref())
}

/// Gets the owner's numbers from the files of `root`, because a static program has no name service.
fn ids(root: &Root, owner: &Owner) -> Result<Option<(u32, u32)>> {
    let user = id(root, paths::USERS, &owner.user)?;
    Ok(user.zip(id(root, paths::GROUPS, &owner.group)?))
}

fn id(root: &Root, table: &str, name: &str) -> Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    if name == "root" {
        return Ok(Some(0));
    }
    let bytes = files::read(&root.path(table), LONGEST)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let row = text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|row| row.first() == Some(&name));
    Ok(row.and_then(|row| row.get(2)?.parse().ok()))
}

/// Reports success by Cluster API's contract
/// (<https://cluster-api.sigs.k8s.io/developer/providers/contracts/bootstrap-config>).
pub(super) fn write_sentinel(root: &Root, sentinel: &str) -> Result<()> {
    files::write(&root.entry(Path::new(sentinel)), b"success\n", files::PUBLIC)
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::config::{HostDefaults, parse};
    use crate::document::Document;
    use crate::run::Console;

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
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let write_one = |root: &Root, file: &ExtraFile| write_one(root, file, file.mode, own);
        assert!(write_one(&root, &file("/etc/a/b", false, "one")).unwrap());
        assert!(!write_one(&root, &file("/etc/a/b", false, "one")).unwrap());
        assert!(write_one(&root, &file("/etc/a/b", false, "two")).unwrap());
        assert!(write_one(&root, &file("/etc/a/b", true, "+")).unwrap());
        assert!(!write_one(&root, &file("/etc/a/b", true, "+")).unwrap());
        assert!(!write_one(&root, &file("/etc/a/b", true, "wo")).unwrap(), "it is appended once");
        let victim = root.path("/victim");
        files::write(&victim, b"secret", files::PRIVATE).unwrap();
        std::os::unix::fs::symlink("/victim", root.path("/etc/planted")).unwrap();
        assert!(write_one(&root, &file("/etc/planted", true, "x")).unwrap());
        assert_eq!((read("/etc/planted"), read("/victim")), ("x".to_owned(), "secret".to_owned()));
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.entry("/srv")).unwrap();
        assert!(write_one(&root, &file("/srv/set-uid", false, "x")).unwrap());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "a link led out of the root");
        assert_eq!(
            (read("/etc/a/b").as_str(), std::fs::metadata(root.path("/etc/a/b")).unwrap().mode() & 0o7777),
            ("two+", 0o640)
        );
        write_sentinel(&root, "/run/cluster-api/bootstrap-success.complete").unwrap();
        assert_eq!(read("/run/cluster-api/bootstrap-success.complete"), "success\n");
    }

    const DISCOVERY: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {file: {kubeConfigPath: /etc/discovery.conf}}\n";

    /// Writes the files below `root`.
    fn write_all(root: &Root, files: &[ExtraFile]) {
        let host = HostDefaults { hostname: "n1".to_owned() };
        let config = parse(DISCOVERY.as_bytes(), &host).unwrap();
        write(&Session::new(root, Console { json: false }), files, &config).unwrap();
    }

    #[test]
    fn the_discovery_file_is_private_whatever_its_mode_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        write_all(&root, &[file("/etc/discovery.conf", false, "x"), file("/etc/other.conf", false, "x")]);
        let mode = |path: &str| std::fs::metadata(root.path(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("/etc/discovery.conf"), mode("/etc/other.conf")), (0o600, 0o640));
    }

    /// The file was there before the user data, and its owner needs it further on.
    #[test]
    fn of_a_discovery_file_of_the_image_only_what_was_appended_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let host = HostDefaults { hostname: "n1".to_owned() };
        let config = parse(DISCOVERY.as_bytes(), &host).unwrap();
        let session = Session::new(&root, Console { json: false });
        let path = root.path("/etc/discovery.conf");
        let appended = [file("/etc/discovery.conf", true, "token: hush\n")];
        for (before, appends, expected) in
            [(Some("a: b\n"), true, Some("a: b\n")), (None, true, None), (Some("a: b\n"), false, None)]
        {
            let files = if appends { &appended } else { &[file("/etc/discovery.conf", false, "x")] };
            files::remove(&path).unwrap();
            if let Some(before) = before {
                files::write(&path, before.as_bytes(), 0o640).unwrap();
            }
            write(&session, files, &config).unwrap();
            remove_secrets(&session, files, &config);
            assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), expected, "{before:?} {appends}");
        }
    }

    #[test]
    fn a_read_only_folder_does_not_keep_other_files_from_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let (sealed, other) = (root.path("/usr/share"), root.path("/etc/other"));
        std::fs::create_dir_all(&sealed).unwrap();
        let is_mounted = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).is_err() {
                    return false;
                }
                let none = None::<&str>;
                mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
                mount(Some("tmpfs"), &sealed, Some("tmpfs"), MsFlags::MS_RDONLY, none).unwrap();
                write_all(&root, &[file("/usr/share/a", false, "x"), file("/etc/other", false, "x")]);
                true
            });
            thread.join().unwrap()
        });
        if !is_mounted {
            return testkit::not_run("extra files in a read-only folder", "mounts are for root");
        }
        assert!(other.is_file());
    }

    #[test]
    fn owners_are_found_in_the_images_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        files::write(&root.path("/etc/passwd"), b"root:x:0:0::/:\netcd:x:107:5::/:\nbad\n", 0o644).unwrap();
        for (name, expected) in
            [("root", Some(0)), ("etcd", Some(107)), ("12", Some(12)), ("bad", None), ("none", None)]
        {
            assert_eq!(id(&root, "/etc/passwd", name).unwrap(), expected, "{name}");
        }
    }
}
