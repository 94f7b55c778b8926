//! Read-only file systems: squashfs, straight from the tree through a tar on `mksquashfs`'s standard input.
//!
//! Why squashfs and not erofs: every supported host's squashfs-tools (4.5 and later) reads a tar, so neither
//! root nor a staging folder is needed, and their output does not depend on the number of processors;
//! erofs-utils reads tars and writes zstd only since 1.8. Every kernel that an image can have mounts both.
//!
//! A root is compressed by zstd in blocks of 256 KiB at level 1: within two percent of the size of 128 KiB at
//! level 3, for two thirds of the processor time.

use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::write::write_tar_for_squashfs;
use crate::namespaces;
use crate::process::{self, Run, tool};
use crate::tree::Tree;

/// The package of the tools.
const PACKAGE: &str = "squashfs-tools";

/// How the contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// For kernels that come with the image.
    Zstd,
    /// For the kernel of any host: every build of squashfs has it.
    Gzip,
}

impl Compressor {
    /// Its options, after those of the file system. Its own level comes last (squashfs-tools issue 191).
    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Zstd => &["-comp", "zstd", "-b", "262144", "-Xcompression-level", "1"],
            Self::Gzip => &["-comp", "gzip", "-b", "131072", "-Xcompression-level", "6"],
        }
    }
}

/// Options that decide the bytes. The memory limit does not (measured); it keeps the peak at about 100 MB for
/// any size of image.
const OPTIONS: &[&str] =
    &["-root-mode", "755", "-root-uid", "0", "-root-gid", "0", "-xattrs", "-mem", "128M"];

/// Everything besides the tree and the tool that decides the bytes.
pub fn options(compressor: Compressor) -> Vec<&'static str> {
    [OPTIONS, compressor.options()].concat()
}

/// Writes `tree` as squashfs to the new file `path`; every time in it is `epoch`.
///
/// # Errors
/// When squashfs-tools is missing or older than 4.5, fails, or loses an entry.
pub fn write(tree: &Tree, epoch: u64, compressor: Compressor, path: &Path) -> Result<()> {
    let time = u32::try_from(epoch)
        .map_err(|_| {
            Error::new(ErrorKind::Usage, format!("squashfs cannot express the time {epoch}"))
                .help("choose a SOURCE_DATE_EPOCH before 2106")
        })?
        .to_string();
    let mut command = mksquashfs();
    command
        .arg("-")
        .arg(path)
        .args(["-tar", "-noappend", "-no-progress", "-quiet", "-exit-on-error"]);
    command.args(["-mkfs-time", &time, "-all-time", &time]).args(options(compressor));
    check_attributes(tree)?;
    // The tool refuses the variable beside the options that say the same.
    command
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.start(PACKAGE)?;
    feed(&command, child, tree, epoch, path)?;
    check_inodes(tree, path)
}

/// The tool, as root of a user namespace. When it reads a tar, it gives the root folder the user that it runs
/// as, whatever `-root-uid` says (seen with 4.5.1), and the image must not depend on the user.
fn mksquashfs() -> Command {
    if nix::unistd::geteuid().is_root() {
        return tool("mksquashfs");
    }
    namespaces::as_root("mksquashfs")
}

/// The version of the installed tool ("4.5.1"), or an error if it is too old.
pub fn version() -> Result<String> {
    let output = tool("mksquashfs").arg("-version").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(4), Some(5)) {
        return Err(Error::new(ErrorKind::Tool, format!("mksquashfs {version} cannot read a tar"))
            .help("install squashfs-tools 4.5 or later"));
    }
    Ok(version.to_owned())
}

/// Writes the tar into the tool while reading its messages. The tool's error is shown rather than the broken
/// pipe.
fn feed(command: &Command, mut child: Child, tree: &Tree, epoch: u64, path: &Path) -> Result<()> {
    let input = child.stdin.take().expect("its standard input is a pipe");
    let (written, output) = std::thread::scope(|scope| {
        let writer = scope
            .spawn(move || write_tar_for_squashfs(tree, epoch, BufWriter::with_capacity(1 << 18, input)));
        let output = child.wait_with_output();
        (writer.join().expect("writing a tar does not panic"), output)
    });
    let output =
        output.map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for mksquashfs: {error}")))?;
    process::check(command, output.status, &output.stderr).map_err(namespaces::explain)?;
    written.map_err(|error| error.context(format!("writing {}", path.display())))
}

/// The format keeps only these kinds of extended attributes; the tool drops any other with a warning.
fn check_attributes(tree: &Tree) -> Result<()> {
    let kept = |name: &str| ["security.", "trusted.", "user."].iter().any(|kind| name.starts_with(kind));
    let lost = tree
        .entries
        .iter()
        .find_map(|(path, entry)| Some((path, entry.xattrs.keys().find(|name| !kept(name))?)));
    match lost {
        None => Ok(()),
        Some((path, name)) => Err(Error::new(
            ErrorKind::Definition,
            format!("{path} has the extended attribute {name}, which squashfs cannot keep"),
        )
        .help("remove it from the layer, or set it at boot with systemd-tmpfiles")),
    }
}

/// Fails when the tool dropped an entry in silence: the superblock counts inodes at byte 4
/// (<https://docs.kernel.org/filesystems/squashfs.html>).
fn check_inodes(tree: &Tree, path: &Path) -> Result<()> {
    let mut head = [0; 8];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).at("reading", path)?;
    let found = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let expected = tree.entries.len() as u64 + 1;
    if &head[..4] == b"hsqs" && u64::from(found) == expected {
        return Ok(());
    }
    fs::remove_file(path).at("removing", path)?;
    let message = format!("mksquashfs wrote {found} of {expected} files and folders");
    Err(Error::new(ErrorKind::Tool, message)
        .help("a parent folder missing in the tree, or a file system without support for what it holds"))
}
