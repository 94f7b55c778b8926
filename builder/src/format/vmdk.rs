//! A VMDK in the form streamOptimized ("Virtual Disk Format 5.0", VMware, 2011), written front to back:
//!
//! ```text
//! header │ descriptor │ grain, grain, … table of 512 grains │ … │ directory of tables │ footer │ end
//! ```
//!
//! Each grain is 64 KiB of the disk, deflated. Grains and tables of zeros are left out. All numbers are
//! little-endian, all places are counted in sectors.

use std::io::{self, Write};
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};
use uuid::Uuid;

use crate::format::resized::Resized;
use crate::sparse::BLOCK;

const SECTOR: usize = 512;

/// Bytes of a grain. [`Resized::data`] counts in the same blocks.
const GRAIN: usize = BLOCK;
const GRAIN_SECTORS: u64 = (GRAIN / SECTOR) as u64;

/// Entries of a grain table.
const TABLE: usize = 512;

/// Where the descriptor is, how much room it has, and where grains begin.
const DESCRIPTOR: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
const OVERHEAD: u64 = 128;

/// The version of the header that goes with compressed grains.
const VERSION: u32 = 3;

/// A line feed test follows; grains are compressed; markers are in the stream.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;

/// The directory's place is in the footer.
const AT_END: u64 = u64::MAX;

/// zlib's usual level.
const LEVEL: u32 = 6;

/// Grains that a thread compresses in one go.
const BATCH: usize = 64;

/// Markers in front of what is no grain.
#[derive(Debug, Clone, Copy)]
enum Marker {
    End = 0,
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// Writes `disk`, which is whole MiB long. `file` is the name by which the descriptor calls the file. The
/// bytes do not depend on the number of `threads`.
pub fn write(disk: &Resized, file: &str, id: Uuid, threads: usize, to: impl Write) -> io::Result<()> {
    let sectors = disk.size / SECTOR as u64;
    let grains: Vec<u64> = disk
        .data()?
        .iter()
        .flat_map(|run| run.start / GRAIN as u64..run.end.div_ceil(GRAIN as u64))
        .collect();
    let mut stream = Stream { to, sector: 0 };
    stream.write(&header(sectors, AT_END))?;
    let mut descriptor = descriptor(sectors, file, id).into_bytes();
    descriptor.resize(DESCRIPTOR_SECTORS as usize * SECTOR, 0);
    stream.write(&descriptor)?;
    stream.write(&vec![0; (OVERHEAD - stream.sector) as usize * SECTOR])?;

    let mut directory = vec![0_u32; sectors.div_ceil(GRAIN_SECTORS * TABLE as u64) as usize];
    let mut table = Table::default();
    for batch in grains.chunks(BATCH * threads.max(1)) {
        for (grain, deflated) in batch.iter().zip(deflate_all(disk, batch, threads)?) {
            if table.number != *grain as usize / TABLE {
                table.finish(&mut stream, &mut directory)?;
                table = Table { number: *grain as usize / TABLE, ..Table::default() };
            }
            table.entries[*grain as usize % TABLE] = stream.place()?;
            stream.grain(grain * GRAIN_SECTORS, &deflated)?;
        }
    }
    table.finish(&mut stream, &mut directory)?;
    let place = stream.entries(Marker::Directory, &directory)?;
    stream.marker(Marker::Footer, 1)?;
    stream.write(&header(sectors, u64::from(place)))?;
    stream.marker(Marker::End, 0)?;
    stream.to.flush()
}

/// A table that is being filled.
struct Table {
    number: usize,
    entries: [u32; TABLE],
}

impl Default for Table {
    fn default() -> Self {
        Self { number: 0, entries: [0; TABLE] }
    }
}

impl Table {
    fn finish(&self, stream: &mut Stream<impl Write>, directory: &mut [u32]) -> io::Result<()> {
        if self.entries != [0; TABLE] {
            directory[self.number] = stream.entries(Marker::Table, &self.entries)?;
        }
        Ok(())
    }
}

/// What is written, in whole sectors.
struct Stream<W> {
    to: W,
    sector: u64,
}

impl<W: Write> Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let padding = bytes.len().next_multiple_of(SECTOR) - bytes.len();
        self.to.write_all(bytes)?;
        self.to.write_all(&[0; SECTOR][..padding])?;
        self.sector += ((bytes.len() + padding) / SECTOR) as u64;
        Ok(())
    }

    /// The next sector, as tables name it.
    fn place(&self) -> io::Result<u32> {
        u32::try_from(self.sector).map_err(|_| io::Error::other("a VMDK cannot be longer than 2 TiB"))
    }

    fn grain(&mut self, first: u64, deflated: &[u8]) -> io::Result<()> {
        let mut bytes = first.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(deflated.len() as u32).to_le_bytes());
        bytes.extend_from_slice(deflated);
        self.write(&bytes)
    }

    fn marker(&mut self, kind: Marker, sectors: u64) -> io::Result<()> {
        let mut bytes = sectors.to_le_bytes().to_vec();
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&(kind as u32).to_le_bytes());
        self.write(&bytes)
    }

    /// A table or the directory; where it is.
    fn entries(&mut self, kind: Marker, entries: &[u32]) -> io::Result<u32> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.marker(kind, bytes.len().div_ceil(SECTOR) as u64)?;
        let place = self.place()?;
        self.write(&bytes)?;
        Ok(place)
    }
}

fn header(sectors: u64, directory: u64) -> Vec<u8> {
    let mut header = b"KDMV".to_vec();
    let mut put = |bytes: &[u8]| header.extend_from_slice(bytes);
    put(&VERSION.to_le_bytes());
    put(&FLAGS.to_le_bytes());
    put(&sectors.to_le_bytes());
    put(&GRAIN_SECTORS.to_le_bytes());
    put(&DESCRIPTOR.to_le_bytes());
    put(&DESCRIPTOR_SECTORS.to_le_bytes());
    put(&(TABLE as u32).to_le_bytes());
    put(&0_u64.to_le_bytes()); // There is no second directory.
    put(&directory.to_le_bytes());
    put(&OVERHEAD.to_le_bytes());
    put(&[0]); // It was closed.
    put(b"\n \r\n"); // A transfer as text would change these.
    put(&1_u16.to_le_bytes()); // Deflate.
    header
}

fn descriptor(sectors: u64, file: &str, id: Uuid) -> String {
    // Content identifiers that mean "none" end in f.
    let content = id.simple().to_string();
    let cid = format!("{}0", &content[..7]);
    let cylinders = (sectors / (255 * 63)).clamp(1, 65_535);
    // The last line says that what is inside of the guest is not VMware's business; without it vSphere asks
    // for an upgrade of its tools.
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={cid}\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n\
         # Extent description\nRDONLY {sectors} SPARSE \"{file}\"\n\n\
         # The Disk Data Base\n#DDB\n\n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\n\
         ddb.longContentID = \"{content}\"\n\
         ddb.virtualHWVersion = \"10\"\n\
         ddb.toolsVersion = \"2147483647\"\n"
    )
}

/// The grains of `batch`, deflated, in their order.
fn deflate_all(disk: &Resized, batch: &[u64], threads: usize) -> io::Result<Vec<Vec<u8>>> {
    let share = batch.len().div_ceil(threads.max(1)).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = batch
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().map(|grain| deflate(disk, *grain)).collect()))
            .collect();
        let mut all = Vec::with_capacity(batch.len());
        for worker in workers {
            let done: io::Result<Vec<Vec<u8>>> =
                worker.join().unwrap_or_else(|_| Err(io::Error::other("a compression thread stopped")));
            all.extend(done?);
        }
        Ok(all)
    })
}

fn deflate(disk: &Resized, grain: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; GRAIN];
    disk.read_at(&mut bytes, grain * GRAIN as u64)?;
    // zlib's bound for what does not compress.
    let mut deflated = Vec::with_capacity(GRAIN + GRAIN / 1000 + 64);
    let status = Compress::new(Compression::new(LEVEL), true)
        .compress_vec(&bytes, &mut deflated, FlushCompress::Finish)
        .map_err(io::Error::other)?;
    match status {
        Status::StreamEnd => Ok(deflated),
        _ => Err(io::Error::other("a grain did not fit when it was compressed")),
    }
}
