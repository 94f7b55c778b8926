//! On-disk formats, one file each: bytes in their place. A format knows no image and no plan.

pub mod cpio;
pub mod ext4;
pub mod fat32;
mod fat_names;
pub mod gpt;
pub mod squashfs;
