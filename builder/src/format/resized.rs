//! A disk of another size: the same partitions, and the partition tables where that size wants them.
//!
//! Nothing is copied: the bytes come from the disk's file, and a few of them are written over on the way.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use contract::gpt::{self, SECTOR, Write};

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::sparse::{self, BLOCK};

/// Bytes that are copied at a time.
const PIECE: usize = 4 * BLOCK;

/// The partition table's place in the old way, of which a GPT needs one entry (UEFI 2.10, §5.2.3).
mod mbr {
    pub const ENTRIES: [usize; 4] = [446, 462, 478, 494];
    /// The type of the entry that protects a GPT.
    pub const PROTECTIVE: u8 = 0xee;
    /// In an entry: type, first sector, number of sectors.
    pub const KIND: usize = 4;
    pub const FIRST: usize = 8;
    pub const COUNT: usize = 12;
}

/// A disk's file, read as a disk of another size.
#[derive(Debug)]
pub struct Resized {
    file: File,
    /// Length of the file.
    length: u64,
    /// Length of the disk in bytes.
    pub size: u64,
    /// What differs from the file.
    writes: Vec<Write>,
}

impl Resized {
    /// The disk `path`, enlarged to whole multiples of `unit` bytes, which is a multiple of a sector.
    ///
    /// # Errors
    /// When it has to grow and its partition table cannot be read.
    pub fn whole(path: &Path, unit: u64) -> Result<Self> {
        let mut file = File::open(path).at("opening", path)?;
        let length = file.metadata().at("reading", path)?.len();
        let size = length.next_multiple_of(unit).max(unit);
        let writes = if size == length { Vec::new() } else { moved(&mut file, length, size)? };
        Ok(Self { file, length, size, writes })
    }

    /// The runs of blocks that have something else than zeros, in order. They depend on the disk's bytes
    /// alone, not on the holes that a file system has made.
    pub fn data(&self) -> io::Result<Vec<Range<u64>>> {
        let mut candidates = sparse::data(&self.file)?;
        candidates.extend(self.writes.iter().map(|write| write.offset..end(write)));
        candidates.sort_by_key(|range| range.start);
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut block = vec![0; BLOCK];
        let mut position = 0;
        for candidate in candidates {
            position = position.max(candidate.start / BLOCK as u64 * BLOCK as u64);
            while position < candidate.end {
                let end = self.size.min(position + BLOCK as u64);
                let bytes = &mut block[..(end - position) as usize];
                self.read_at(bytes, position)?;
                if !sparse::is_zero(bytes) {
                    match runs.last_mut().filter(|last| last.end == position) {
                        Some(last) => last.end = end,
                        None => runs.push(position..end),
                    }
                }
                position = end;
            }
        }
        Ok(runs)
    }

    /// Fills `bytes` from the place `offset`. There are zeros behind the end.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let of_file = self.length.saturating_sub(offset).min(bytes.len() as u64) as usize;
        self.file.read_exact_at(&mut bytes[..of_file], offset)?;
        bytes[of_file..].fill(0);
        for write in &self.writes {
            let (start, end) = (write.offset.max(offset), end(write).min(offset + bytes.len() as u64));
            if start < end {
                bytes[(start - offset) as usize..(end - offset) as usize].copy_from_slice(
                    &write.bytes[(start - write.offset) as usize..(end - write.offset) as usize],
                );
            }
        }
        Ok(())
    }

    /// The bytes of these ranges, one after the other.
    pub fn bytes<'a>(&'a self, ranges: &'a [Range<u64>]) -> impl Read + 'a {
        Bytes { disk: self, position: 0, ranges }
    }

    /// Writes the disk into an empty file, and leaves holes where zeros are.
    pub fn write_to(&self, file: &File) -> io::Result<()> {
        file.set_len(self.size)?;
        let mut piece = vec![0; PIECE];
        for run in self.data()? {
            let mut position = run.start;
            while position < run.end {
                let count = (run.end - position).min(PIECE as u64) as usize;
                self.read_at(&mut piece[..count], position)?;
                file.write_all_at(&piece[..count], position)?;
                position += count as u64;
            }
        }
        Ok(())
    }
}

/// What has to be written when a disk grows from `length` to `size` bytes.
fn moved(file: &mut File, length: u64, size: u64) -> Result<Vec<Write>> {
    let refuse = |why: &str| {
        Error::new(ErrorKind::Archive, format!("the disk cannot be made {size} bytes long: {why}"))
    };
    let (old, new) = (length / SECTOR, size / SECTOR);
    let mut table = gpt::read(file, SECTOR, old).map_err(|why| refuse(&why))?;
    if !length.is_multiple_of(SECTOR) || !table.fit(new) {
        return Err(refuse("its partitions do not fit"));
    }
    // The old backup would lie between the partitions and the new one.
    let mut writes: Vec<Write> = table
        .backup(old)
        .into_iter()
        .map(|stale| Write { bytes: vec![0; stale.bytes.len()], ..stale })
        .collect();
    writes.extend(table.primary(new));
    writes.extend(table.backup(new));
    let mut sector = [0; SECTOR as usize];
    file.read_exact_at(&mut sector, 0)
        .map_err(|error| refuse(&format!("its first sector: {error}")))?;
    protect(&mut sector, old, new);
    writes.push(Write { offset: 0, bytes: sector.to_vec() });
    Ok(writes)
}

/// The entry that protects the whole disk protects the whole new disk. Boot code and other entries stay.
fn protect(sector: &mut [u8; SECTOR as usize], old: u64, new: u64) {
    let count = |sectors: u64| u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    for entry in mbr::ENTRIES {
        let whole = sector[entry + mbr::KIND] == mbr::PROTECTIVE
            && sector[entry + mbr::FIRST..][..4] == 1_u32.to_le_bytes()
            && sector[entry + mbr::COUNT..][..4] == count(old);
        if whole {
            sector[entry + mbr::COUNT..][..4].copy_from_slice(&count(new));
        }
    }
}

fn end(write: &Write) -> u64 {
    write.offset + write.bytes.len() as u64
}

struct Bytes<'a> {
    disk: &'a Resized,
    /// In the first range.
    position: u64,
    ranges: &'a [Range<u64>],
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((first, rest)) = self.ranges.split_first() {
            let at = first.start + self.position;
            let count = (first.end - at).min(buffer.len() as u64) as usize;
            if at < first.end {
                self.disk.read_at(&mut buffer[..count], at)?;
                self.position += count as u64;
                return Ok(count);
            }
            (self.position, self.ranges) = (0, rest);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::MIB;

    /// A file of this length with data in two blocks, and zeros that are no hole.
    fn disk(length: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let file = File::create(&path).unwrap();
        file.set_len(length).unwrap();
        file.write_all_at(&[0; 300_000], MIB).unwrap();
        for place in [5, 2 * MIB - 3] {
            file.write_all_at(b"bytes", place).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn data_is_where_bytes_are_and_not_where_a_file_system_has_blocks() {
        let (_folder, path) = disk(8 * MIB);
        let disk = Resized::whole(&path, MIB).unwrap();
        let block = BLOCK as u64;
        assert_eq!(disk.data().unwrap(), [0..block, 2 * MIB - block..2 * MIB + block]);
        let mut read = Vec::new();
        disk.bytes(&disk.data().unwrap()).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 3 * BLOCK);
        assert_eq!((&read[5..10], &read[2 * BLOCK - 3..2 * BLOCK + 2]), (&b"bytes"[..], &b"bytes"[..]));
    }

    #[test]
    fn a_disk_of_the_right_size_stays_as_it_is() {
        let (folder, path) = disk(8 * MIB);
        let copy = folder.path().join("copy");
        Resized::whole(&path, MIB).unwrap().write_to(&File::create(&copy).unwrap()).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&copy).unwrap());
    }

    #[test]
    fn a_disk_that_must_grow_and_has_no_table_is_refused() {
        let (_folder, path) = disk(8 * MIB);
        let error = Resized::whole(&path, 3 * MIB).unwrap_err();
        assert!(error.message().contains("cannot be made 9437184 bytes long: "), "{error}");
    }

    #[test]
    fn only_the_entry_of_the_whole_disk_grows_with_it() {
        let mut sector = [7; SECTOR as usize];
        sector[446..510].fill(0);
        for (entry, first, count) in [(446, 1, 99), (462, 1, 50)] {
            sector[entry + mbr::KIND] = mbr::PROTECTIVE;
            sector[entry + mbr::FIRST] = first;
            sector[entry + mbr::COUNT] = count;
        }
        let mut expected = sector;
        expected[446 + mbr::COUNT] = 199;
        protect(&mut sector, 100, 200);
        assert!(sector == expected);
    }
}
