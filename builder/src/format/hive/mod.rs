//! Windows registry hives: read, edited in place, or made new.
//!
//! The format is that of M. Suhanov, "Windows registry file format specification"
//! (<https://github.com/msuhanov/regf>). An edit frees the cells that it replaces and takes new ones at the
//! end of the file, so everything else keeps its bytes and its place. Times of changed keys are the image's.
//!
//! A hive comes from outside: [`Hive::read`] walks every cell once, and later a cell is only followed to
//! where such a walk has found one. No walk is longer than the file.

mod cells;
mod edit;
mod keys;
mod log;
mod value;
mod walk;

use cells::Cells;
pub use cells::seal;
pub use log::seal_entry;
pub use value::Value;
pub use walk::{Branch, Folded, Walk};

use crate::error::Result;

/// A hive in memory.
#[derive(Debug, Clone)]
pub struct Hive {
    cells: Cells,
    /// Offset of the root key's cell.
    root: u32,
    /// The time of changed keys, in 100 ns since 1601.
    time: u64,
}

impl Hive {
    /// The hive in `bytes`; changed keys will carry the time `epoch`, in seconds since 1970.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Archive`] if it is none, is broken, or was not written to its end.
    pub fn read(bytes: Vec<u8>, epoch: u64) -> Result<Self> {
        let (cells, root) = Cells::read(bytes)?;
        let hive = Self { cells, root, time: file_time(epoch) };
        hive.key(root)?;
        Ok(hive)
    }

    /// Whether a file is a hive that lacks changes which its log files may have.
    pub fn is_dirty(bytes: &[u8]) -> bool {
        log::last_written(bytes).is_some()
    }

    /// The same, with the changes that Windows has written into the hive's log files alone.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn recover(bytes: Vec<u8>, logs: &[Vec<u8>], epoch: u64) -> Result<Self> {
        Self::read(log::replayed(bytes, logs), epoch)
    }

    /// A hive without values, whose root key is named `name`.
    pub fn new(name: &str, epoch: u64) -> Self {
        let time = file_time(epoch);
        let mut cells = Cells::new(time);
        let root = edit::first_key(&mut cells, name, time);
        cells.set_root(root);
        Self { cells, root, time }
    }

    /// The file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.cells.finish(self.time)
    }
}

/// A time as Windows counts it: in 100 ns since 1601.
pub(crate) const fn file_time(epoch: u64) -> u64 {
    const SECONDS_TO_1970: u64 = 11_644_473_600;
    (SECONDS_TO_1970.saturating_add(epoch)).saturating_mul(10_000_000)
}

#[cfg(test)]
mod tests;
