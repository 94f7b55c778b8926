//! 6. Tree to bytes: one file per on-disk format.
