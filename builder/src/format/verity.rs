//! dm-verity: the tree of hashes over a read-only file system, by `veritysetup`, as the Discoverable
//! Partitions Specification and systemd expect it
//! (<https://docs.kernel.org/admin-guide/device-mapper/verity.html>).

use std::path::Path;

use uuid::Uuid;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Run, tool};

/// The package of the tool.
const PACKAGE: &str = "cryptsetup-bin";

/// Options that decide the bytes, besides salt and identifier.
const OPTIONS: [&str; 4] =
    ["--hash=sha256", "--format=1", "--data-block-size=4096", "--hash-block-size=4096"];

/// The version of the installed tool ("2.6.1").
///
/// # Errors
/// [`ErrorKind::Tool`] when it is missing.
pub fn version() -> Result<String> {
    let output = tool("veritysetup").arg("--version").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

/// Writes the hashes of the file `data`, whole blocks of 4096 bytes, to the new file `hashes`, with a
/// superblock that holds `salt` and `uuid`. Returns the root hash.
///
/// # Errors
/// [`ErrorKind::Tool`] when the tool is missing or fails.
pub fn format(data: &Path, hashes: &Path, salt: &Digest, uuid: Uuid) -> Result<Digest> {
    let mut command = tool("veritysetup");
    command.arg("format").args(OPTIONS);
    command.arg(format!("--salt={}", salt.hex())).arg(format!("--uuid={uuid}"));
    let output = command.arg(data).arg(hashes).run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let root = text.lines().find_map(|line| line.strip_prefix("Root hash:"));
    root.and_then(|hash| format!("sha256:{}", hash.trim()).parse().ok())
        .ok_or_else(|| Error::new(ErrorKind::Tool, format!("veritysetup told no root hash:\n{text}")))
}
