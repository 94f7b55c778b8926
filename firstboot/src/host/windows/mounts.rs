//! Windows has no mounts that a reset would have to end.

use std::path::{Path, PathBuf};

use crate::error::Result;

/// How Linux unmounts a file system: a reset's configuration may name these flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnmountFlags(u8);

impl UnmountFlags {
    /// MNT_FORCE
    pub const MNT_FORCE: Self = Self(1);
    /// MNT_DETACH
    pub const MNT_DETACH: Self = Self(2);
    /// MNT_EXPIRE
    pub const MNT_EXPIRE: Self = Self(4);
    /// UMOUNT_NOFOLLOW
    pub const UMOUNT_NOFOLLOW: Self = Self(8);

    /// None of them.
    pub fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `other` are in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in it.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for UnmountFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for UnmountFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// No mounts.
pub fn table() -> Result<String> {
    Ok(String::new())
}

/// Nothing is mounted.
pub fn unmount(_: &Path, _: UnmountFlags) -> Result<()> {
    Ok(())
}

/// Nothing is mounted.
pub fn mounts_below(_: &str, _: &Path) -> Vec<PathBuf> {
    Vec::new()
}

/// Nothing is mounted.
pub fn is_mount_point(_: &str, _: &Path) -> bool {
    false
}
