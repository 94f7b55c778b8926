//! Writes an image to a disk, so that the disk is at every moment either complete or cannot boot.
//!
//! ```text
//! read the first MiB of the image ─► check its table ─► marker in the first block ─► zero both ends
//! ─► every range behind the first MiB, zeros between them ─► flush ─► read all back ─► node config
//! ─► backup table ─► first MiB without its first block ─► first block
//! ```
//!
//! Each arrow behind the marker is a flush. The first block makes a disk bootable: a BIOS starts its code,
//! and UEFI looks at a partition table only behind its protective entry. One write replaces the marker by it.

use std::io::{self, Cursor, Read};

use contract::gpt::{self, Table, Write};

use super::content::{BLOCK, HEAD, begun, is_zero};
use super::map::{Map, Range};
use crate::error::{ErrorKind, Failure, Result, plain};
use crate::host::disks::Device;

/// Bytes that are written before the disk is told to keep them, so that its errors come early.
const FLUSHED_AT_ONCE: u64 = 64 << 20;
/// Bytes that are read at once where nothing is mapped.
const PIECE: usize = 1 << 20;

/// What an image is written to.
pub trait Disk {
    /// Its name, for messages.
    fn name(&self) -> String;
    /// Its bytes.
    fn size(&self) -> u64;
    /// The bytes of a logical sector.
    fn sector(&self) -> u64;
    /// Fills `bytes` from `offset` on.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Writes `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes `length` bytes at `offset` zero.
    fn zero(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Waits until everything that was written is on the disk.
    fn flush(&self) -> io::Result<()>;
    /// Flushes, and drops what the kernel remembers of the disk.
    fn forget(&self) -> io::Result<()>;
}

impl Disk for Device {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn sector(&self) -> u64 {
        self.sector
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        Self::read_at(self, offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        Self::write_at(self, offset, bytes)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        Self::zero(self, offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        Self::flush(self)
    }

    fn forget(&self) -> io::Result<()> {
        Self::forget(self)
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The image is read and written.
    Writing,
    /// The disk is read back.
    Checking,
}

/// Where an image comes from and goes to.
pub struct Writer<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// What the image holds.
    pub map: &'a Map,
    /// Refuses an image by its table, before the disk is changed.
    pub accepts: &'a dyn Fn(&Table) -> Result<()>,
    /// Is told how many of the bytes that hold data a step has done.
    pub progress: &'a mut dyn FnMut(Step, u64),
}

/// Refuses what cannot succeed, before anything is read.
pub fn check_sizes(disk: &dyn Disk, map: &Map) -> Result<()> {
    let size = map.size;
    if size <= 2 * HEAD {
        return Err(Failure::new(
            ErrorKind::Untrusted,
            format!("an image of {size} bytes is none of a disk"),
        ));
    }
    if disk.size() < size {
        let message = format!("{} is too small: it has {} bytes, the image {size}", disk.name(), disk.size());
        return Err(Failure::new(ErrorKind::Preflight, message).help("choose a larger disk"));
    }
    Ok(())
}

/// The first MiB of an image, and the table in it.
struct Head {
    /// As the image has it.
    bytes: Vec<u8>,
    /// Fitted to the disk.
    fitted: Vec<u8>,
    table: Table,
}

impl Writer<'_> {
    /// Writes the image. `complete` changes files in the partitions of the table before the disk can boot.
    /// Returns the table that the disk has in the end.
    pub fn write(
        &mut self,
        image: &mut dyn Read,
        complete: &mut dyn FnMut(&Table) -> Result<()>,
    ) -> Result<Table> {
        check_sizes(self.disk, self.map)?;
        let mut stream = Stream { image, at: 0, size: self.map.size };
        let head = self.ranges(&mut stream)?;
        stream.end()?;
        self.flush()?;
        self.read_back(&head)?;
        complete(&head.table)?;
        self.commit(&head)?;
        Ok(head.table)
    }

    /// Reads every range, checks it, and writes what is behind the first MiB.
    fn ranges(&mut self, stream: &mut Stream<'_>) -> Result<Head> {
        let mut bytes = vec![0; HEAD as usize];
        let mut head = None;
        let (mut buffer, mut written, mut unflushed, mut done) = (Vec::new(), HEAD, 0, 0);
        for range in &self.map.ranges {
            stream.range(range, &mut buffer)?;
            done += range.len();
            let below = HEAD.saturating_sub(range.start).min(range.len());
            if below > 0 {
                let start = range.start as usize;
                bytes[start..start + below as usize].copy_from_slice(&buffer[..below as usize]);
            }
            if range.end <= HEAD {
                continue;
            }
            if head.is_none() {
                head = Some(self.begin(std::mem::take(&mut bytes))?);
            }
            let start = range.start.max(HEAD);
            self.zero(written, start - written)?;
            self.did(self.disk.write_at(start, &buffer[below as usize..]), "writing to")?;
            written = range.end;
            unflushed += range.len();
            if unflushed >= FLUSHED_AT_ONCE {
                self.flush()?;
                unflushed = 0;
            }
            (self.progress)(Step::Writing, done);
        }
        let head = match head {
            Some(head) => head,
            None => self.begin(bytes)?,
        };
        self.zero(written, self.map.size - written)?;
        Ok(head)
    }

    /// Looks at the table of the image, and makes the disk one that cannot boot, with a marker that tells
    /// why.
    fn begin(&mut self, bytes: Vec<u8>) -> Result<Head> {
        let head = self.fitted(bytes)?;
        (self.accepts)(&head.table)?;
        self.did(self.disk.write_at(0, &begun()), "writing to")?;
        self.flush()?;
        self.zero(BLOCK, HEAD - BLOCK)?;
        self.zero(self.disk.size() - HEAD, HEAD)?;
        self.flush()?;
        Ok(head)
    }

    /// Fits the table of the image to the disk.
    fn fitted(&self, bytes: Vec<u8>) -> Result<Head> {
        let (disk, sector) = (self.disk, self.disk.sector());
        let is_with =
            |sector: u64| bytes.get(sector as usize..).is_some_and(|rest| rest.starts_with(b"EFI PART"));
        let refuse = |kind, message: String, help: &str| Err(Failure::new(kind, message).help(help));
        if let Some(other) = [512, 4096]
            .into_iter()
            .find(|other| *other != sector && is_with(*other) && !is_with(sector))
        {
            return refuse(
                ErrorKind::Preflight,
                format!(
                    "the image is for disks with sectors of {other} bytes, and those of {} have {sector} bytes",
                    disk.name()
                ),
                "choose a disk with such sectors, or switch this one to them (nvme format, hdparm --set-sector-size)",
            );
        }
        let apart = |table: Table| match table.overlap() {
            Some((one, other)) => Err(format!("its partitions {one} and {other} overlap")),
            None => Ok(table),
        };
        let read = gpt::read(&mut Cursor::new(&bytes), sector, self.map.size / sector).and_then(apart);
        let mut table = match read {
            Ok(table) => table,
            Err(why) => {
                return refuse(
                    ErrorKind::Untrusted,
                    format!("the image has no sound partition table: {why}"),
                    "install the output raw of kiln",
                );
            }
        };
        let sectors = disk.size() / sector;
        if !table.fit(sectors) {
            let message = format!("{} is too small for the partitions of the image", disk.name());
            return refuse(ErrorKind::Preflight, message, "choose a larger disk");
        }
        let mut fitted = bytes.clone();
        for Write { offset, bytes } in table.primary(sectors).into_iter().chain(table.protection(sectors)) {
            fitted[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        Ok(Head { bytes, fitted, table })
    }

    /// Compares the disk with the map, and with zeros between the ranges.
    fn read_back(&mut self, head: &Head) -> Result<()> {
        self.did(self.disk.forget(), "flushing")?;
        let (mut buffer, mut at, mut done) = (Vec::new(), HEAD, 0);
        for range in &self.map.ranges {
            let below = HEAD.saturating_sub(range.start).min(range.len()) as usize;
            buffer.resize(range.len() as usize, 0);
            if below > 0 {
                buffer[..below].copy_from_slice(&head.bytes[range.start as usize..][..below]);
            }
            let start = range.start.max(HEAD);
            if range.end > HEAD {
                self.check_zeros(at, start)?;
                self.did(self.disk.read_at(start, &mut buffer[below..]), "reading")?;
                at = range.end;
            }
            if !range.is(&buffer) {
                return Err(self.lies(start));
            }
            done += range.len();
            (self.progress)(Step::Checking, done);
        }
        self.check_zeros(at, self.map.size)
    }

    fn check_zeros(&self, mut at: u64, end: u64) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        while at < end {
            let piece = &mut buffer[..(end - at).min(PIECE as u64) as usize];
            self.did(self.disk.read_at(at, piece), "reading")?;
            if !is_zero(piece) {
                return Err(self.lies(at));
            }
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn lies(&self, at: u64) -> Failure {
        let name = self.disk.name();
        let message = format!("{name} gives back other bytes at {at} than were written to it");
        Failure::new(ErrorKind::Host, message).help("replace this disk")
    }

    /// Makes the disk bootable. Each step is on the disk before the next begins; the first block is the one
    /// that counts.
    fn commit(&mut self, head: &Head) -> Result<()> {
        let backup = head.table.backup(self.disk.size() / self.disk.sector());
        for Write { offset, bytes } in &backup {
            self.did(self.disk.write_at(*offset, bytes), "writing to")?;
        }
        self.flush()?;
        let (first, rest) = head.fitted.split_at(BLOCK as usize);
        for (offset, bytes) in [(BLOCK, rest), (0, first)] {
            self.did(self.disk.write_at(offset, bytes), "writing to")?;
            self.flush()?;
        }
        self.did(self.disk.forget(), "flushing")?;
        let first = Write { offset: 0, bytes: head.fitted.clone() };
        for Write { offset, bytes } in backup.iter().chain([&first]) {
            let mut found = vec![0; bytes.len()];
            self.did(self.disk.read_at(*offset, &mut found), "reading")?;
            if found != *bytes {
                return Err(self.lies(*offset));
            }
        }
        Ok(())
    }

    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        self.did(self.disk.zero(offset, length), "writing to")
    }

    fn flush(&self) -> Result<()> {
        self.did(self.disk.flush(), "flushing")
    }

    fn did<T>(&self, done: io::Result<T>, doing: &str) -> Result<T> {
        done.map_err(|error| {
            let name = self.disk.name();
            let message = format!("{doing} {name}: {}", plain(&error));
            Failure::new(ErrorKind::Host, message)
                .help("the disk fails or was taken out; what it holds is not complete")
        })
    }
}

/// The image as it is read, from the first byte to the last.
struct Stream<'a> {
    image: &'a mut dyn Read,
    at: u64,
    size: u64,
}

impl Stream<'_> {
    /// Reads a range into `buffer` and checks it.
    fn range(&mut self, range: &Range, buffer: &mut Vec<u8>) -> Result<()> {
        self.skip_to(range.start)?;
        buffer.resize(range.len() as usize, 0);
        self.fill(buffer)?;
        if range.is(buffer) {
            return Ok(());
        }
        let message =
            format!("the image is not what its map says: bytes {} to {}", range.start, range.end - 1);
        Err(Failure::new(ErrorKind::Untrusted, message)
            .help("take image and map from one build; if they are, something on the way damages them"))
    }

    /// Reads what is not mapped, which must be zeros.
    fn skip_to(&mut self, offset: u64) -> Result<()> {
        let mut buffer = [0; 64 << 10];
        while self.at < offset {
            let at = self.at;
            let length = (offset - at).min(buffer.len() as u64) as usize;
            self.fill(&mut buffer[..length])?;
            if !is_zero(&buffer[..length]) {
                let message = format!("the image has data at {at}, where its map has none");
                return Err(
                    Failure::new(ErrorKind::Untrusted, message).help("take image and map from one build")
                );
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.skip_to(self.size)?;
        let mut byte = [0];
        match self.read(&mut byte)? {
            0 => Ok(()),
            _ => {
                let message = format!("the image is longer than the {} bytes that its map says", self.size);
                Err(Failure::new(ErrorKind::Untrusted, message).help("take image and map from one build"))
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read(&mut buffer[done..])? {
                0 => {
                    let message = format!(
                        "the image ends after {} of the {} bytes that its map says",
                        self.at, self.size
                    );
                    return Err(Failure::new(ErrorKind::Source, message)
                        .help("the file is not complete: build or copy it again"));
                }
                length => (done, self.at) = (done + length, self.at + length as u64),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.image.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let message = format!("reading the image after {} bytes: {}", self.at, plain(&error));
                    return Err(Failure::new(ErrorKind::Source, message)
                        .help("the file is damaged or not complete: build or copy it again"));
                }
                Ok(length) => return Ok(length),
            }
        }
    }
}

#[cfg(test)]
#[path = "writing_tests.rs"]
mod tests;
