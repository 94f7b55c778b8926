//! On-disk formats, one file each: bytes in their place. A format knows no image and no plan.

pub mod bcd;
pub(crate) mod bmap;
pub(crate) mod cpio;
pub(crate) mod erofs;
pub(crate) mod ext4;
pub(crate) mod ext4_edit;
pub(crate) mod fat32;
mod fat_names;
pub(crate) mod gpt;
pub mod hive;
pub mod inf;
pub mod ntfs;
pub(crate) mod resized;
pub(crate) mod pe;
pub mod squashfs;
pub(crate) mod sparse_tar;
pub(crate) mod tar_file;
pub(crate) mod verity;
pub(crate) mod vhd;
pub(crate) mod vhdx;
pub(crate) mod vmdk;
pub mod wim;
pub mod wim_list;
