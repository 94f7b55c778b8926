//! The root of the machine's file system.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{ErrorKind, Failure, Result, plain};
use crate::os;

/// The most links on the way to one file, as in the kernel.
const MOST_LINKS: usize = 40;
/// Where a path with more links leads. Nothing can be below a device, so every use of it is an error.
const NOWHERE: &str = "/dev/null/too many links";

/// The root: `/` on a node, another folder in tests and with `--rootfs`. Links below another folder are
/// followed as if that folder were `/`, so no path leaves it. A program that changes links there at the same
/// time can still lead a path out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The file system below `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The real path of what the node's absolute path `path` leads to: to read it, or to look at it.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.resolve(path.as_ref(), true)
    }

    /// The real path of the entry `path` itself, which may be a link: to replace or remove it.
    pub fn entry(&self, path: impl AsRef<Path>) -> PathBuf {
        self.resolve(path.as_ref(), false)
    }

    /// The node's paths of what is in the folder `path`, sorted; none if it cannot be read.
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(&path)).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| path.as_ref().join(entry.file_name())).collect();
        paths.sort();
        paths
    }

    /// Whether two paths of the node lead to the same file, whatever links and `..` are in them.
    pub fn is_same(&self, one: impl AsRef<Path>, other: impl AsRef<Path>) -> bool {
        self.follow(one.as_ref(), true) == self.follow(other.as_ref(), true)
    }

    /// Whether this is the machine's own file system.
    pub fn is_machine(&self) -> bool {
        self.0 == os::root()
    }

    /// Fails if the folder is not there: then nothing that is found or done below it means anything.
    pub fn check(&self) -> Result<()> {
        let why = match fs::metadata(&self.0) {
            Ok(about) if about.is_dir() => return Ok(()),
            Ok(_) => "it is no folder".to_owned(),
            Err(error) => plain(&error),
        };
        let message = format!("the root {} cannot be used: {why}", self.0.display());
        Err(Failure::new(ErrorKind::Usage, message).help("name the folder in which the machine's /etc is"))
    }

    /// The node's path of `path` without links in it, where it is; none if it leads to nothing, or out.
    pub fn without_links(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let real = fs::canonicalize(self.path(path)).ok()?;
        Some(Path::new("/").join(real.strip_prefix(fs::canonicalize(&self.0).ok()?).ok()?))
    }

    fn resolve(&self, path: &Path, follows_last: bool) -> PathBuf {
        if self.is_machine() {
            return self.0.join(path);
        }
        self.follow(path, follows_last)
    }

    fn follow(&self, path: &Path, follows_last: bool) -> PathBuf {
        let (mut real, mut ahead, mut links) = (self.0.clone(), parts(path), 0);
        while let Some(part) = ahead.pop() {
            if part == ".." {
                if real != self.0 {
                    real.pop();
                }
                continue;
            }
            real.push(part);
            let follows = follows_last || !ahead.is_empty();
            let Some(target) = follows.then(|| fs::read_link(&real).ok()).flatten() else { continue };
            links += 1;
            if links > MOST_LINKS {
                return Path::new(NOWHERE).join(path.strip_prefix("/").unwrap_or(path));
            }
            real.pop();
            if target.has_root() {
                real.clone_from(&self.0);
            }
            ahead.extend(parts(&target));
        }
        real
    }
}

/// The names in a path and its `..`, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

impl Default for Root {
    fn default() -> Self {
        Self::at(os::root())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with links of every kind; what they must not reach lies beside it.
    fn with_links() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("root");
        fs::create_dir_all(base.join("real/deep")).unwrap();
        fs::create_dir_all(folder.path().join("outside")).unwrap();
        for (target, link) in [
            ("/real", "absolute"),
            ("real/deep", "relative"),
            ("../../../../outside", "climbing"),
            ("/../outside", "absolute-climbing"),
            ("absolute/deep", "chain"),
            ("loop-b", "loop-a"),
            ("/loop-a", "loop-b"),
            ("/nothing/here", "dangling"),
        ] {
            symlink(target, base.join(link)).unwrap();
        }
        symlink(folder.path().join("outside"), base.join("host")).unwrap();
        (folder, Root::at(base))
    }

    #[test]
    fn links_below_another_root_never_leave_it() {
        let (folder, root) = with_links();
        let base = folder.path().join("root");
        for (path, expected) in [
            ("/real/x", "real/x"),
            ("/absolute/x", "real/x"),
            ("/relative/../x", "real/x"),
            ("/chain/./x/", "real/deep/x"),
            ("/climbing/x", "outside/x"),
            ("/absolute-climbing/x", "outside/x"),
            ("/../../outside/x", "outside/x"),
            ("/dangling", "nothing/here"),
            ("/new/../../x", "x"),
            ("relative/x", "real/deep/x"),
        ] {
            assert_eq!(root.path(path), base.join(expected), "{path}");
        }
        let host = root.path("/host/x");
        assert!(host.starts_with(&base) && host.ends_with("outside/x"), "{}", host.display());
        assert_eq!(root.path("/"), base);
    }

    #[test]
    fn an_entry_is_the_link_itself_and_its_folders_are_followed() {
        let (folder, root) = with_links();
        let base = folder.path().join("root");
        symlink("/real", base.join("real/deep/again")).unwrap();
        assert_eq!(root.entry("/climbing"), base.join("climbing"));
        assert_eq!(root.entry("/chain/again"), base.join("real/deep/again"));
        assert_eq!(root.path("/chain/again"), base.join("real"));
        assert_eq!(root.list("/chain"), [Path::new("/chain/again")]);
        assert!(root.list("/none").is_empty());
    }

    #[test]
    fn paths_of_one_file_are_the_same_on_every_root() {
        let (folder, root) = with_links();
        let base = folder.path().join("root").canonicalize().unwrap();
        for (prefix, root) in [(Path::new("/"), &root), (&base, &Root::default())] {
            let at = |path: &str| prefix.join(path.trim_start_matches('/'));
            for (one, other) in [
                ("/real/x", "/real/../real//./x"),
                ("/relative/x", "/real/deep/x"),
                ("/new/../real", "/real"),
            ] {
                assert!(root.is_same(at(one), at(other)), "{one} {other}");
            }
            assert!(!root.is_same(at("/real/x"), at("/real/y")));
        }
    }

    #[test]
    fn only_a_folder_is_a_root() {
        let (folder, root) = with_links();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        assert!(root.check().is_ok() && Root::default().check().is_ok());
        for (name, why) in [("none", "No such file or directory"), ("file", "it is no folder")] {
            let failure = Root::at(folder.path().join(name)).check().unwrap_err();
            assert!(failure.kind == ErrorKind::Usage && failure.message.ends_with(why), "{failure}");
            assert!(failure.message.contains(name), "{failure}");
        }
        assert_eq!(root.without_links("/chain/..//deep"), Some("/real/deep".into()));
        assert_eq!(root.without_links("/dangling"), None);
    }

    #[test]
    fn a_loop_of_links_leads_nowhere() {
        let (_folder, root) = with_links();
        for path in ["/loop-a", "/loop-b/x"] {
            let nowhere = root.path(path);
            assert!(nowhere.starts_with("/dev/null"), "{}", nowhere.display());
            assert!(!nowhere.exists() && fs::write(&nowhere, "x").is_err());
            assert!(crate::host::files::write(&nowhere, b"x", 0o600).is_err());
            assert!(crate::host::files::read(&nowhere, 1).is_err());
        }
    }
}
