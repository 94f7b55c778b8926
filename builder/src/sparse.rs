//! Files with holes: where their data is, and copies that leave out blocks of zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

/// Bytes that are looked at and left out as one.
pub const BLOCK: usize = 1 << 16;

/// The ranges of a regular file that are not holes, in order. The file system chooses their borders.
pub fn data(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut position = 0;
    while position < length {
        let Some(start) = next(file, position, Whence::SeekData)? else { break };
        position = next(file, start, Whence::SeekHole)?.unwrap_or(length).min(length);
        ranges.push(start..position);
    }
    Ok(ranges)
}

/// The start of the next data or hole at or after `position` (lseek(2)).
fn next(file: &File, position: u64, whence: Whence) -> io::Result<Option<u64>> {
    match lseek64(file, position.cast_signed(), whence) {
        Ok(found) => Ok(Some(found.cast_unsigned())),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is nothing but zeros.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Copies everything that `from` yields to the place of `to` at which it stands, where zeros are already, and
/// returns how much that was. The file may end before: the caller sets its length.
pub fn copy(from: &mut dyn Read, to: &mut File) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        let count = fill(from, &mut block)?;
        length += count as u64;
        match &block[..count] {
            [] => return Ok(length),
            zeros if is_zero(zeros) => to.seek(SeekFrom::Current(count as i64)).map(drop)?,
            bytes => to.write_all(bytes)?,
        }
    }
}

/// As much as there is: a decoder yields pieces of any length.
fn fill(from: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < block.len() {
        match from.read(&mut block[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let mut bytes = vec![0; 64 << 20];
        bytes[32 << 20] = 7;
        // A source that yields odd pieces.
        let mut from = (&bytes[..1000]).chain(&bytes[1000..]);
        let mut to = tempfile::tempfile().unwrap();
        assert_eq!(copy(&mut from, &mut to).unwrap(), 64 << 20);
        to.set_len(64 << 20).unwrap();
        to.rewind().unwrap();
        let mut read = Vec::new();
        to.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
