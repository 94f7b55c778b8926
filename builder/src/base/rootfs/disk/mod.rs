//! A vendor's disk image: the ext4 root in it, and its boot partition, are read as one tree. Nothing is
//! mounted, and no root is needed.
//!
//! ```text
//! [qcow2 ─► raw] ─► partition table ─► file systems ─► ext4: root, /boot ─► tree
//! ```

mod attributes;
mod ext4;
mod filesystem;
mod kiln;
mod qcow2;

use std::fs::File;
use std::os::unix::fs::FileExt;

use contract::gpt::{self, Partition, Table};

use super::{Container, Source};
use crate::archive;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::{Entry, Tree};
use ext4::Volume;
use filesystem::FileSystem;
pub(super) use kiln::read_installed;
pub use qcow2::check_header as check_qcow2_header;

pub(super) const CONTAINER: Container =
    Container { name: "a disk image (raw or qcow2) or a file system of ext4", is, read };

/// Where a sector of a partition table's header may begin, by its length.
const SECTORS: [u64; 2] = [512, 4096];

/// Where the folder of the kernel is, and what a kernel's name begins with.
const BOOT: &str = "boot";
const KERNEL: &str = "vmlinuz-";

fn is(head: &[u8]) -> bool {
    let partitioned = head.get(510..512) == Some(&[0x55, 0xaa]) || head.get(512..520) == Some(b"EFI PART");
    qcow2::is(head) || partitioned || filesystem::of(head) == Some(FileSystem::Ext)
}

fn read(source: &Source<'_>) -> Result<Tree> {
    let path = raw(source)?;
    let mut file = File::open(&path).at("opening", &path)?;
    let length = file.metadata().at("reading", &path)?.len();
    let whole = Place { number: 0, offset: 0, length };
    if filesystem::at(&file, &whole).at("reading", &path)? == Some(FileSystem::Ext) {
        let mut tree = Volume::open(&path, whole, source)?.tree()?;
        tree.complete();
        return Ok(tree);
    }
    let table = table(&mut file, length, source.title)?;
    let found = Found::of(&file, &table).at("reading", &path)?;
    let volumes = found.open_all(&path, source)?;
    let root = root(&volumes, &found, source.title)?;
    let mut tree = root.tree()?;
    if !tree.below(BOOT).any(|(path, _)| is_kernel(path)) {
        add_boot(&mut tree, &volumes, source.title)?;
    }
    tree.complete();
    archive::check_root(&tree, source.title)?;
    Ok(tree)
}

/// The disk's bytes: the file itself, or one that it is unpacked into.
fn raw(source: &Source<'_>) -> Result<std::path::PathBuf> {
    let mut head = vec![0; super::HEAD as usize];
    let file = File::open(source.path).at("opening", source.path)?;
    let count = file.read_at(&mut head, 0).at("reading", source.path)?;
    if qcow2::is(&head[..count]) { qcow2::to_raw(source) } else { Ok(source.path.to_owned()) }
}

/// Where something is on a disk, in bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The partition's number.
    number: u32,
    offset: u64,
    length: u64,
}

/// What the partitions of a disk hold.
struct Found {
    partitions: Vec<(Place, Option<FileSystem>)>,
}

impl Found {
    fn of(file: &File, table: &Disk) -> std::io::Result<Self> {
        let place = |partition: &Partition| kiln::place_of(table, partition);
        let partitions = table.table.partitions.iter().map(place);
        let partitions = partitions.map(|place| Ok((place, filesystem::at(file, &place)?)));
        Ok(Self { partitions: partitions.collect::<std::io::Result<_>>()? })
    }

    fn open_all<'a>(&self, path: &'a std::path::Path, source: &'a Source<'a>) -> Result<Vec<Volume<'a>>> {
        let ext = self.partitions.iter().filter(|(_, held)| *held == Some(FileSystem::Ext));
        ext.map(|(place, _)| Volume::open(path, *place, source)).collect()
    }

    /// "1 FAT, 3 btrfs"
    fn list(&self) -> String {
        let one = |(place, held): &(Place, Option<FileSystem>)| {
            format!("{} {}", place.number, held.map_or("unknown", FileSystem::name))
        };
        self.partitions.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// A partition table, and the length of its sectors.
struct Disk {
    table: Table,
    sector: u64,
}

fn table(file: &mut File, length: u64, title: &str) -> Result<Disk> {
    let is_header = |sector: &u64| {
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, *sector).is_ok() && &magic == b"EFI PART"
    };
    let sector = SECTORS.into_iter().find(is_header).unwrap_or(SECTORS[0]);
    let fail = |why: &str| {
        Error::new(ErrorKind::Archive, format!("{title}: the partition table: {why}"))
            .help("a disk needs a sound GPT; sgdisk --verify shows what is wrong, sgdisk --mbrtogpt converts an old one")
    };
    let table = gpt::read(file, sector, length / sector).map_err(|why| fail(&why))?;
    if table.side == gpt::Side::Backup {
        return Err(fail("the primary one is damaged"));
    }
    match table.overlap() {
        Some((one, other)) => Err(fail(&format!("the partitions {one} and {other} overlap"))),
        None => Ok(Disk { table, sector }),
    }
}

/// The volume with the operating system.
fn root<'a>(volumes: &'a [Volume<'a>], found: &Found, title: &str) -> Result<&'a Volume<'a>> {
    let roots: Vec<&Volume<'_>> =
        volumes.iter().filter(|volume| volume.has("usr") && volume.has("etc")).collect();
    let error =
        |why: String, help: &str| Err(Error::new(ErrorKind::Archive, format!("{title}: {why}")).help(help));
    match roots.as_slice() {
        [root] => Ok(root),
        [] => error(
            format!("no partition has a root file system of ext4 ({})", found.list()),
            "roots on btrfs, XFS, LVM and LUKS are not read: mount the disk and make a tar archive of it",
        ),
        [one, other, ..] => error(
            format!(
                "the partitions {} and {} both have a root file system",
                one.place.number, other.place.number
            ),
            "make a tar archive of the one that you want",
        ),
    }
}

/// Puts the boot partition, where the kernel is, into its folder.
fn add_boot(tree: &mut Tree, volumes: &[Volume<'_>], title: &str) -> Result<()> {
    let mut with_kernel =
        volumes.iter().filter(|volume| volume.names().iter().any(|name| name.starts_with(KERNEL)));
    let (Some(boot), other) = (with_kernel.next(), with_kernel.next()) else { return Ok(()) };
    if let Some(other) = other {
        let (one, other) = (boot.place.number, other.place.number);
        return Err(Error::new(
            ErrorKind::Archive,
            format!("{title}: the partitions {one} and {other} both have kernels"),
        )
        .help("make a tar archive of the system, with the /boot that it uses"));
    }
    tree.remove(BOOT);
    tree.insert(BOOT, Entry::directory(0o755));
    for (path, entry) in boot.tree()?.entries {
        tree.insert(format!("{BOOT}/{path}"), entry);
    }
    Ok(())
}

fn is_kernel(path: &str) -> bool {
    path.strip_prefix("boot/").is_some_and(|name| name.starts_with(KERNEL))
}
