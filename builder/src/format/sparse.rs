//! Copies that leave out blocks of zeros, so that the file stays sparse.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes that are looked at and left out as one.
const BLOCK: usize = 1 << 16;

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
            zeros if zeros.iter().all(|byte| *byte == 0) => {
                to.seek(SeekFrom::Current(count as i64)).map(drop)?
            }
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
