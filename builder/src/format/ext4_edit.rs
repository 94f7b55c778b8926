//! Adds entries to an ext4 file system within a disk image, by `debugfs`: without mounting it, without root.
//! What is there keeps its inode, and the file system its identifiers and features.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::tree::contents::Contents;
use crate::tree::{Entry, Node, Tree};

/// The package of the tools.
const PACKAGE: &str = "e2fsprogs";

/// Characters that debugfs would read as something else, even in quotes.
const UNQUOTABLE: [char; 3] = ['"', '\n', '\0'];

/// `s_feature_incompat` of the superblock, and the feature that says that the journal must be replayed.
const INCOMPATIBLE_AT: u64 = 1024 + 0x60;
const RECOVER: u32 = 4;

/// A file system within a file.
#[derive(Debug, Clone, Copy)]
pub struct Ext4Edit<'a> {
    /// The file.
    pub file: &'a Path,
    /// Where the file system begins, in bytes.
    pub offset: u64,
    /// As messages name it.
    pub title: &'a str,
    /// A private folder for intermediate files.
    pub scratch: &'a Path,
}

impl Ext4Edit<'_> {
    /// Adds `tree`, with its folders, all with the time `epoch`.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if the file system is damaged, has features that the host's e2fsprogs does not
    /// know, was not unmounted, has an entry of `tree` already, or is too small; [`ErrorKind::Tool`].
    pub fn add(&self, tree: &Tree, epoch: u64) -> Result<()> {
        self.check_clean()?;
        self.check()?;
        let top = tree.entries.keys().filter(|path| !path.contains('/'));
        let present = self.names()?;
        if let Some(name) = top.into_iter().find(|name| present.contains(name)) {
            return Err(self.refuse(&format!("it has /{name} already, and must be empty")));
        }
        let script = self.script(tree, epoch)?;
        let file = self.scratch.join("debugfs.commands");
        fs::write(&file, script).at("writing", &file)?;
        self.debugfs(&["-w".as_ref(), "-f".as_ref(), file.as_os_str()])?;
        self.check()
    }

    /// e2fsck passes over a journal that must be replayed, and debugfs would write beside it.
    fn check_clean(&self) -> Result<()> {
        let mut features = [0; 4];
        let file = File::open(self.file).at("opening", self.file)?;
        file.read_exact_at(&mut features, self.offset + INCOMPATIBLE_AT)
            .at("reading", self.file)?;
        if u32::from_le_bytes(features) & RECOVER != 0 {
            return Err(self.refuse("it was not unmounted, so its journal must be replayed"));
        }
        Ok(())
    }

    /// The commands that add `tree`.
    fn script(&self, tree: &Tree, epoch: u64) -> Result<String> {
        let mut script = format!("set_current_time @{epoch}\n");
        let mut contents = Contents::default();
        for (number, (path, entry)) in tree.entries.iter().enumerate() {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let (folder, name, full) = (self.quoted(folder)?, self.quoted(name)?, self.quoted(path)?);
            let mut line = |words: &str| writeln!(script, "{words}").expect("a string takes all");
            // `write` makes its file in the current folder only.
            line(&format!("cd \"/{folder}\""));
            match &entry.node {
                Node::Directory => line(&format!("mkdir \"{name}\"")),
                Node::Symlink(target) => line(&format!("symlink \"{name}\" \"{}\"", self.quoted(target)?)),
                Node::File(body) => {
                    let source = self.scratch.join(format!("added-{number}"));
                    let mut to = File::create(&source).at("creating", &source)?;
                    contents.copy(body, &mut to, &|| format!("{path} to {}", self.title))?;
                    let source =
                        source.to_str().ok_or_else(|| self.refuse("the scratch folder has no name"))?;
                    line(&format!("write \"{}\" \"{name}\"", self.quoted(source)?));
                }
            }
            for (field, value) in fields(entry, epoch) {
                line(&format!("set_inode_field \"/{full}\" {field} {value}"));
            }
        }
        Ok(script)
    }

    fn quoted<'t>(&self, text: &'t str) -> Result<&'t str> {
        if text.contains(UNQUOTABLE) {
            return Err(self.refuse(&format!("a file of the name {text:?} cannot be added")));
        }
        Ok(text)
    }

    /// The names in the root folder.
    fn names(&self) -> Result<Vec<String>> {
        let output = self.debugfs(&["-R".as_ref(), "ls -p /".as_ref()])?;
        let text = String::from_utf8_lossy(&output.stdout);
        // /INODE/MODE/UID/GID/NAME/SIZE/
        Ok(text.lines().filter_map(|line| line.split('/').nth(5)).map(str::to_owned).collect())
    }

    /// debugfs ends with success whatever happens; what it says besides its version is an error.
    fn debugfs(&self, words: &[&std::ffi::OsStr]) -> Result<Output> {
        let output = tool("debugfs").args(words).arg(self.place()).run(PACKAGE)?;
        let said = String::from_utf8_lossy(&output.stderr);
        match said.lines().find(|line| !line.starts_with("debugfs ") && !line.trim().is_empty()) {
            Some(wrong) => Err(self.refuse(wrong)),
            None => Ok(output),
        }
    }

    /// The whole file system, as it should be after an orderly shutdown.
    fn check(&self) -> Result<()> {
        let mut command = tool("e2fsck");
        command.args(["-f", "-n"]).arg(self.place());
        command.run(PACKAGE).map(drop).map_err(|error| match error.kind() {
            ErrorKind::Tool if error.hint().is_none() => self.refuse(error.message()),
            _ => error,
        })
    }

    /// The name by which e2fsprogs finds a file system within a file.
    fn place(&self) -> PathBuf {
        let mut place = self.file.as_os_str().to_owned();
        place.push(format!("?offset={}", self.offset));
        place.into()
    }

    fn refuse(&self, why: &str) -> Error {
        Error::new(ErrorKind::Archive, format!("{}: {why}", self.title))
            .help("install e2fsprogs 1.47 or newer, if the file system is sound: it knows more features")
    }
}

/// Fields of an inode that debugfs sets from the host's file, or from the clock.
fn fields(entry: &Entry, epoch: u64) -> Vec<(&'static str, String)> {
    let kind = match entry.node {
        Node::Directory => 0o040_000,
        Node::File(_) => 0o100_000,
        Node::Symlink(_) => 0o120_000,
    };
    let mut fields = vec![
        ("mode", format!("0{:o}", kind | entry.mode)),
        ("uid", entry.uid.to_string()),
        ("gid", entry.gid.to_string()),
    ];
    let times = ["atime", "ctime", "mtime", "crtime"];
    fields.extend(times.map(|field| (field, format!("@{epoch}"))));
    fields
}
