//! The writable file system for `/var`: ext4 by `mke2fs`, empty, into its place on the disk file.

use std::fs;
use std::path::Path;

use uuid::Uuid;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};
use crate::size::MIB;

/// The package of the tools.
const PACKAGE: &str = "e2fsprogs";

/// Bytes in a block.
const BLOCK: u64 = 4096;

/// The smallest file system that still has room beside its journal and the room to grow.
pub const MINIMUM: u64 = 32 * MIB;

/// The list in `mke2fs.conf` of e2fsprogs 1.47.0, without metadata_csum_seed and orphan_file: every kernel
/// that an image can have and every host's e2fsprogs understand these. `none` comes first and switches off
/// what the tool would add.
const FEATURES: &str = "none,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr,has_journal,extent,huge_file,flex_bg,\
                        metadata_csum,64bit,dir_nlink,extra_isize";

/// Replaces the host's configuration, which would otherwise decide everything that has no option.
const CONFIGURATION: &str = "[defaults]\n\tbase_features = none\n\tdefault_mntopts = acl,user_xattr\n\tenable_periodic_fsck = 0\n\
                             [fs_types]\n\text4 = {\n\t}\n";

/// How large the file system can become online before its block descriptors have to move: 2 TiB, in blocks.
/// Costs 1 MiB in each copy of the descriptors.
const GROWTH: u64 = (2 << 40) / BLOCK;

/// Where and what.
#[derive(Debug, Clone, Copy)]
pub struct Ext4<'a> {
    /// The file that holds it; longer than `offset + size`, zeros there.
    pub file: &'a Path,
    pub offset: u64,
    pub size: u64,
    /// Label, at most 16 bytes.
    pub label: &'a str,
    pub uuid: Uuid,
    /// Seed of the hashes of folder entries.
    pub hash_seed: Uuid,
    /// The time it was "made", seconds since 1970.
    pub epoch: u64,
}

impl Ext4<'_> {
    /// Writes it. Only metadata in use is written: the file stays sparse, and the kernel fills in the rest
    /// when it mounts.
    ///
    /// # Errors
    /// When e2fsprogs is missing or fails.
    pub fn write(&self, scratch: &Path) -> Result<()> {
        let configuration = scratch.join("mke2fs.conf");
        fs::write(&configuration, CONFIGURATION).at("writing", &configuration)?;
        let extended = format!(
            "offset={},hash_seed={},resize={GROWTH},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            self.offset, self.hash_seed
        );
        let journal = (self.size / MIB / 8).clamp(4, 64);
        let mut command = tool("mke2fs");
        command.args([
            "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-g", "32768", "-G", "16",
            "-m", "0",
        ]);
        command.args([
            "-e",
            "remount-ro",
            "-L",
            self.label,
            "-U",
            &self.uuid.to_string(),
            "-O",
            FEATURES,
            "-E",
            &extended,
        ]);
        command
            .arg("-J")
            .arg(format!("size={journal}"))
            .arg(self.file)
            .arg((self.size / BLOCK).to_string());
        // Before 1.47.1 only the first name is known.
        command
            .env("E2FSPROGS_FAKE_TIME", self.epoch.to_string())
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        command
            .env("MKE2FS_CONFIG", &configuration)
            .env_remove("MKE2FS_SYNC")
            .env_remove("MKE2FS_FIRST_META_BG");
        command.run(PACKAGE).map(drop)
    }
}

/// The version of the installed tool ("1.47.0").
pub fn version() -> Result<String> {
    let output = tool("mke2fs").arg("-V").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.split_whitespace().nth(1);
    version
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Tool, format!("mke2fs does not say its version: {text}")))
}
