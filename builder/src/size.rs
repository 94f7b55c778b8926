//! Units of sizes.

/// One mebibyte in bytes: sizes and offsets on a disk are whole multiples.
pub const MIB: u64 = 1 << 20;
