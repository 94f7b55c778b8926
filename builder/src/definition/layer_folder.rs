//! Files of a layer's folder. A layer may come from somebody else: what it brings comes from its own folder,
//! wherever its links lead.

use std::fs;
use std::path::{Path, PathBuf};

/// The largest file that a layer's definition may name, in bytes.
const LARGEST: u64 = 64 << 20;

/// A message, and the help for it.
pub type Refusal = (String, &'static str);

/// The real path of the file `name` of `folder`. Links are followed within the folder.
///
/// # Errors
/// If it is not there, is not a file, or lies elsewhere.
pub fn file(folder: &Path, name: &str) -> Result<PathBuf, Refusal> {
    let missing =
        |error: std::io::Error| (format!("{name}: {error}"), "the path is relative to the layer's folder");
    let path = folder.join(name).canonicalize().map_err(missing)?;
    if !path.starts_with(folder.canonicalize().map_err(missing)?) {
        return Err((
            format!("\"{name}\" leads out of the layer's folder by a link"),
            "put the file itself into the layer's folder",
        ));
    }
    if !path.metadata().map_err(missing)?.is_file() {
        return Err((format!("\"{name}\" is not a file"), "name a regular file of the layer's folder"));
    }
    Ok(path)
}

/// The bytes of the file `name` of `folder`.
///
/// # Errors
/// As [`file`], and if it is too large.
pub fn read(folder: &Path, name: &str) -> Result<Vec<u8>, Refusal> {
    let path = file(folder, name)?;
    let failed = |error: std::io::Error| (format!("{name}: {error}"), "check the file's permissions");
    let length = path.metadata().map_err(failed)?.len();
    if length > LARGEST {
        return Err((
            format!("\"{name}\" has {length} bytes, which is too large"),
            "declare it as an artifact",
        ));
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_within_the_folder_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("layer");
        fs::create_dir_all(folder.join("files")).unwrap();
        fs::write(root.path().join("secret"), "of the build host").unwrap();
        fs::write(folder.join("files/motd"), "hello").unwrap();
        symlink("files/motd", folder.join("inside")).unwrap();
        symlink("../secret", folder.join("outside")).unwrap();
        symlink(root.path(), folder.join("above")).unwrap();
        for name in ["files/motd", "inside"] {
            assert_eq!(read(&folder, name).unwrap(), b"hello");
        }
        for name in ["outside", "above/secret"] {
            assert!(read(&folder, name).unwrap_err().0.contains("leads out of the layer's folder"), "{name}");
        }
        assert!(read(&folder, "files").unwrap_err().0.contains("is not a file"));
        assert!(read(&folder, "absent").unwrap_err().0.contains("No such file"));
        // A folder of layers may itself be behind a link.
        symlink(&folder, root.path().join("linked")).unwrap();
        assert_eq!(read(&root.path().join("linked"), "inside").unwrap(), b"hello");
    }
}
