//! 6. Tree to bytes: one file per on-disk format.

pub mod cpio;
pub mod initrd;
pub mod modules;
