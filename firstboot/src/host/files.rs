//! Writes files atomically: writes a temporary file in the same folder, flushes it, renames it, and flushes
//! the folder.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::root::Root;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::os::{self, Owner};

/// Mode of files with secrets.
pub const PRIVATE: u32 = 0o600;
/// Limit on a text, in bytes. The longest is /proc/self/mountinfo on a machine with many pods.
const LONGEST_TEXT: u64 = 4 << 20;
/// The suffix of temporary files. Their names begin with a dot.
const SCRATCH: &str = ".firstboot-new";
/// Mode of files that all users may read.
pub const PUBLIC: u32 = 0o644;

/// Writes `bytes` to `path` with `mode`, which the umask does not change. Makes missing parent folders with
/// mode 0755. Readers see the old file or the new one, even after a power cut.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_for(path, bytes, mode, None)
}

/// The same for an owner, by numbers: the file has its owner and its mode before anybody can see it.
pub fn write_owned(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<()> {
    write_for(path, bytes, mode, Some(owner))
}

fn write_for(path: &Path, bytes: &[u8], mode: u32, owner: Option<Owner>) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    make_folder(folder, 0o755)?;
    let scratch = scratch_beside(path);
    let written = write_flushed(&scratch, bytes, mode, owner)
        .and_then(|()| fs::rename(&scratch, path))
        .and_then(|()| os::flush_folder(folder));
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written.doing(format!("writing {}", path.display()))
}

/// Points the symbolic link `path` at `target`, replacing an existing one in one step.
pub fn link(path: &Path, target: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let scratch = scratch_beside(path);
    let _ = fs::remove_file(&scratch);
    let linked = os::link(target, &scratch)
        .and_then(|()| fs::rename(&scratch, path))
        .and_then(|()| os::flush_folder(folder));
    linked.doing(format!("linking {} to {}", path.display(), target.display()))
}

/// Makes a folder with `mode`, and its parents with 0755. An existing one stays unchanged.
pub fn make_folder(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above, 0o755)?;
    }
    os::make_folder(path, mode).doing(format!("making the folder {}", path.display()))
}

/// Removes a file. A missing file is not an error. The folder is flushed, so that the file does not return
/// after a power cut.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed,
    };
    removed
        .and_then(|()| os::flush_folder(path.parent().unwrap_or(Path::new("/"))))
        .doing(format!("removing {}", path.display()))
}

/// Removes an entry of a folder with its content. Links are removed, not followed.
pub fn remove_all(entry: &fs::DirEntry) -> io::Result<()> {
    // Both functions look at the entry itself again and never follow a link, even one that was made in
    // between.
    if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
}

/// Takes a file away from all users but its owner. A link is not followed.
pub fn make_private(path: &Path) -> Result<()> {
    os::make_private(path).doing(format!("making {} private", path.display()))
}

/// Whether `path` is on a file system that is mounted read-only.
pub fn is_read_only(path: &Path) -> bool {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    folder.is_some_and(|folder| {
        probe(folder).is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
    })
}

/// Whether files can be written below `folder`. Writes one byte to a file without a name or, if that is not
/// possible, to one that is removed at once.
pub fn probe(folder: &Path) -> io::Result<()> {
    os::probe_nameless(folder).unwrap_or_else(|| {
        let path = folder.join(format!(".firstboot-{}", std::process::id()));
        let written = os::create(&path, PRIVATE).and_then(|mut file| file.write_all(b"x"));
        let _ = fs::remove_file(&path);
        written
    })
}

/// Reads a file of at most `limit` bytes; none if there is no such file. Does not wait for the other end of a
/// pipe.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    read_with(path, limit, true)
}

/// The same, but a link is as good as no file: another user may have planted it.
pub fn read_unlinked(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_symlink() => Ok(None),
        _ => read_with(path, limit, false),
    }
}

fn read_with(path: &Path, limit: u64, follows_links: bool) -> Result<Option<Vec<u8>>> {
    let doing = || format!("reading {}", path.display());
    let file = match os::open(path, follows_links) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.doing(doing())?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).doing(doing())?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(
            ErrorKind::Host,
            format!("{} is longer than {limit} bytes", path.display()),
        ));
    }
    Ok(Some(bytes))
}

/// The text of a file of the machine, if it exists and can be read.
pub fn text(root: &Root, path: &str) -> Option<String> {
    let bytes = read(&root.path(path), LONGEST_TEXT).ok()??;
    Some(decoded(&bytes))
}

/// Text in UTF-8, or in UTF-16 as PowerShell writes it, without the mark in front.
fn decoded(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, text @ ..] => {
            let units: Vec<u16> = text.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16_lossy(&units)
        }
        _ => String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned(),
    }
}

/// Removes temporary files that a killed write left in `folder`.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_scratch = name.to_string_lossy().strip_prefix('.').is_some_and(|name| name.ends_with(SCRATCH));
        if is_scratch && entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn scratch_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{SCRATCH}"))
}

fn write_flushed(path: &Path, bytes: &[u8], mode: u32, owner: Option<Owner>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = os::create(path, mode)?;
    file.write_all(bytes)?;
    os::settle(&file, mode, owner)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn writes_whole_files_with_their_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        for text in ["one", "two"] {
            write(&path, text.as_bytes(), PRIVATE).unwrap();
            assert_eq!(read(&path, 100).unwrap().unwrap(), text.as_bytes());
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something was left behind");
    }

    #[test]
    fn text_of_powershell_is_text() {
        for bytes in [&b"\xff\xfea\0 \0b\0"[..], b"\xef\xbb\xbfa b", b"a b"] {
            assert_eq!(decoded(bytes), "a b", "{bytes:?}");
        }
    }

    #[test]
    fn a_planted_link_or_pipe_is_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, path, pipe) =
            (folder.path().join("victim"), folder.path().join("file"), folder.path().join("pipe"));
        write(&victim, b"secret", PRIVATE).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_unlinked(&path, 100).unwrap(), None);
        assert!(make_private(&path).is_err());
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        write_owned(&path, b"new", 0o666, own).unwrap();
        assert_eq!(read_unlinked(&path, 100).unwrap().unwrap(), b"new");
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&victim, 100).unwrap().unwrap(), b"secret");
        for read in [read, read_unlinked] {
            assert!(read(&pipe, 100).is_ok_and(|bytes| bytes.is_none_or(|bytes| bytes.is_empty())));
        }
        make_private(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(
            is_read_only(Path::new("/proc/x"))
                == probe(Path::new("/proc"))
                    .is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
        );
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("taken")).unwrap();
        let failure = write(&folder.path().join("taken"), b"x", PUBLIC).unwrap_err();
        assert!(failure.message.starts_with("writing ") && failure.kind == ErrorKind::Host, "{failure}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_write_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".pem.firstboot-new", "pem.firstboot-new", ".other.new", "pem"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        sweep(folder.path());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".other.new", "pem", "pem.firstboot-new"]);
        sweep(&folder.path().join("missing"));
    }

    #[test]
    fn a_probe_leaves_nothing_and_fails_where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        probe(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe(Path::new("/proc")).is_err());
        assert!(probe(&folder.path().join("none")).is_err());
    }

    #[test]
    fn links_are_replaced_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("current");
        for target in ["/a", "/b"] {
            link(&path, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(target));
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_and_a_missing_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("file"), b"12345", PUBLIC).unwrap();
        assert!(read(&folder.path().join("file"), 4).unwrap_err().message.contains("longer than 4 bytes"));
        assert_eq!(read(&folder.path().join("missing"), 4).unwrap(), None);
        remove(&folder.path().join("missing")).unwrap();
    }
}
