//! Files with holes: where their data is, and copies that leave out blocks of zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

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

/// Copies a range of a file to the place of `to` at which it stands, as [`copy`] does, without reading holes:
/// a disk may have more of them than can be read in minutes.
pub fn copy_range(from: &File, range: Range<u64>, to: &mut File) -> io::Result<()> {
    let begin = to.stream_position()?;
    for data in data(from)? {
        let (start, end) = (data.start.max(range.start), data.end.min(range.end));
        if start < end {
            (&mut &*from).seek(SeekFrom::Start(start))?;
            to.seek(SeekFrom::Start(begin + start - range.start))?;
            copy(&mut from.take(end - start), to)?;
        }
    }
    Ok(())
}

/// Makes the file `to` of a range of another one, without reading its holes.
pub fn cut(from: &File, range: Range<u64>, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    let length = range.end.saturating_sub(range.start);
    copy_range(from, range, &mut file)?;
    file.set_len(length)
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

    #[test]
    fn a_cut_has_the_bytes_of_its_range_and_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, cut_off) = (tempfile::tempfile().unwrap(), folder.path().join("cut"));
        disk.set_len(1 << 40).unwrap();
        for place in [0, 1 << 20, (1 << 30) + 5] {
            std::os::unix::fs::FileExt::write_at(&disk, b"data", place).unwrap();
        }
        cut(&disk, 2..(1 << 20) + 3, &cut_off).unwrap();
        let mut expected = vec![0; (1 << 20) + 1];
        expected[..2].copy_from_slice(b"ta");
        expected[(1 << 20) - 2..].copy_from_slice(b"dat");
        assert!(std::fs::read(&cut_off).unwrap() == expected);
        cut(&disk, 1..1 << 40, &cut_off).unwrap();
        let found = cut_off.metadata().unwrap();
        assert_eq!(found.len(), (1 << 40) - 1);
        assert!(found.blocks() * 512 < 1 << 20);
    }
}
