//! 6. Tree to bytes: one file per on-disk format.

pub mod cpio;
pub mod disk;
pub mod esp;
pub mod ext4;
pub mod fat32;
mod fat_names;
pub mod gpt;
pub mod initrd;
pub mod modules;
pub mod squashfs;

/// One mebibyte in bytes: sizes and offsets on a disk are whole multiples.
pub const MIB: u64 = 1 << 20;
