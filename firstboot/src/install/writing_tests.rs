use std::cell::{Cell, RefCell};

use contract::gpt::Partition;
use contract::partition_type;
use nix::libc;

use super::super::content::{self, Content};
use super::*;

const MIB: usize = 1 << 20;
/// The image of the tests: 8 MiB.
const SIZE: usize = 8 * MIB;

/// An image with a root and a var partition, boot code, and two stretches without data.
fn image(sector: usize) -> Vec<u8> {
    image_with(sector, 8192)
}

/// The same, with the var partition from this sector on.
fn image_with(sector: usize, var: u64) -> Vec<u8> {
    let partition = |number: u32, kind: &str, first: u64, last: u64| Partition {
        number,
        kind: kind.to_owned(),
        id: format!("0000000{number}-0000-4000-8000-000000000000"),
        first,
        last,
    };
    let mut table = Table::of(vec![
        partition(1, partition_type::ROOT, 2048, 8191),
        partition(2, partition_type::VAR, var, 14335),
    ]);
    let sectors = (SIZE / 512) as u64;
    assert!(table.fit(sectors));
    let mut image = vec![0; SIZE];
    for Write { offset, bytes } in
        [table.primary(sectors), table.backup(sectors), table.protection(sectors).into_iter().collect()]
            .concat()
    {
        // A table for other sectors: it is enough that its header is at its place.
        let offset = if offset == 512 { sector as u64 } else { offset };
        image[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    image[..440].fill(0x90);
    for (from, to) in [(MIB, 2 * MIB + 5000), (3 * MIB, 5 * MIB), (7 * MIB, 7 * MIB + 512)] {
        for (at, byte) in image[from..to].iter_mut().enumerate() {
            *byte = (at / 4096 * 7 + at) as u8 | 1;
        }
    }
    image
}

fn map(image: &[u8]) -> Map {
    Map::parse(&super::super::map::written(image, 256 << 10)).unwrap()
}

/// A disk in memory that can fail, lie, and lose what was not flushed.
struct Memory {
    /// What is on the disk, and what the kernel remembers of it.
    kept: RefCell<Vec<u8>>,
    seen: RefCell<Vec<u8>>,
    sector: u64,
    /// Writes and flushes until the power goes; then nothing more is written.
    left: Cell<usize>,
    /// Writes that are not flushed: offset, length.
    unflushed: RefCell<Vec<(usize, usize)>>,
    /// A place that takes nothing new.
    stuck: Option<usize>,
    /// A place that cannot be written, and the error there.
    broken: Option<(usize, i32)>,
    /// The error of every flush.
    unflushable: Option<i32>,
}

impl Memory {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            seen: RefCell::new(bytes.clone()),
            kept: RefCell::new(bytes),
            sector: 512,
            left: Cell::new(usize::MAX),
            unflushed: RefCell::default(),
            stuck: None,
            broken: None,
            unflushable: None,
        }
    }

    /// Takes one write or flush off what is left of the power.
    fn power(&self) -> io::Result<()> {
        match self.left.get() {
            0 => Err(io::Error::other("no power")),
            left => {
                self.left.set(left - 1);
                Ok(())
            }
        }
    }

    /// The disk after the power came back: of what was not flushed every other write is lost, if `odd` is
    /// set those that the other half keeps.
    fn after_power_cut(&self, odd: bool) -> Self {
        let mut kept = self.kept.borrow().clone();
        let seen = self.seen.borrow();
        for (number, (at, length)) in self.unflushed.borrow().iter().enumerate() {
            if (number % 2 == 1) == odd {
                kept[*at..at + length].copy_from_slice(&seen[*at..at + length]);
            }
        }
        Self::new(kept)
    }

    fn change(&self, offset: u64, length: usize, change: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.power()?;
        let range = offset as usize..offset as usize + length;
        if let Some((_, error)) = self.broken.filter(|(broken, _)| range.contains(broken)) {
            return Err(io::Error::from_raw_os_error(error));
        }
        let mut seen = self.seen.borrow_mut();
        let old = self.stuck.filter(|stuck| range.contains(stuck)).map(|stuck| (stuck, seen[stuck]));
        change(&mut seen[range]);
        if let Some((stuck, byte)) = old {
            seen[stuck] = byte;
        }
        self.unflushed.borrow_mut().push((offset as usize, length));
        Ok(())
    }

    fn content(&self) -> Content {
        content::look(&|at, bytes| self.read_at(at, bytes), self.size(), self.sector)
    }
}

impl Disk for Memory {
    fn name(&self) -> String {
        "/dev/test".to_owned()
    }

    fn size(&self) -> u64 {
        self.seen.borrow().len() as u64
    }

    fn sector(&self) -> u64 {
        self.sector
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.seen.borrow()[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(offset, bytes.len(), |place| place.copy_from_slice(bytes))
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change(offset, length as usize, |place| place.fill(0))
    }

    fn flush(&self) -> io::Result<()> {
        self.power()?;
        if let Some(error) = self.unflushable {
            return Err(io::Error::from_raw_os_error(error));
        }
        self.kept.borrow_mut().copy_from_slice(&self.seen.borrow());
        self.unflushed.borrow_mut().clear();
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        self.flush()
    }
}

fn write(disk: &Memory, map: &Map, image: &[u8]) -> Result<Table> {
    let mut image = image;
    Writer { disk, map, accepts: &|_| Ok(()), progress: &mut |_, _| () }.write(&mut image, &mut |_| Ok(()))
}

/// What a disk must hold in the end: the image, its table fitted to the disk.
fn complete(disk: &Memory, image: &[u8]) -> bool {
    let seen = disk.seen.borrow();
    let table = gpt::read(&mut Cursor::new(&*seen), 512, disk.size() / 512);
    let backup_only = {
        let mut damaged = seen.clone();
        damaged[512..1024].fill(0);
        gpt::read(&mut Cursor::new(damaged), 512, disk.size() / 512).is_ok()
    };
    let same = |from: usize, to: usize| seen[from..to] == image[from..to];
    backup_only
        && table.is_ok_and(|table| table.side == gpt::Side::Primary && table.partitions.len() == 2)
        && same(0, 440)
        && same(34 * 512, SIZE - 34 * 512)
        && seen
            .get(SIZE..seen.len() - 33 * 512)
            .is_none_or(|rest| rest.iter().all(|byte| [0, 0xaa].contains(byte)))
}

#[test]
fn an_image_is_written_whole_and_its_table_fits_the_disk() {
    let image = image(512);
    for size in [SIZE, SIZE + 512, 20 * MIB] {
        let disk = Memory::new(vec![0xaa; size]);
        write(&disk, &map(&image), &image).unwrap();
        assert!(complete(&disk, &image), "{size}");
        assert!(matches!(disk.content(), Content::Data(_)), "no marker is left");
        assert!(
            disk.seen.borrow()[size - MIB..size - 33 * 512].iter().all(|byte| *byte == 0) || size < 9 * MIB
        );
    }
}

#[test]
fn an_image_that_is_not_accepted_changes_nothing() {
    let image = image(512);
    let (map, disk) = (map(&image), Memory::new(vec![0xaa; 10 * MIB]));
    let refused = |_: &Table| Err(Failure::new(ErrorKind::Untrusted, "no var partition"));
    let mut writer = Writer { disk: &disk, map: &map, accepts: &refused, progress: &mut |_, _| () };
    writer.write(&mut &image[..], &mut |_| Ok(())).unwrap_err();
    assert!(disk.seen.borrow().iter().all(|byte| *byte == 0xaa));
}

#[test]
fn wherever_the_power_goes_the_disk_is_complete_or_cannot_boot() {
    let image = image(512);
    let map = map(&image);
    let whole = Memory::new(vec![0xaa; 10 * MIB]);
    whole.left.set(100_000);
    write(&whole, &map, &image).unwrap();
    let steps = 100_000 - whole.left.get();
    let mut begun = 0;
    for left in 0..steps {
        for odd in [false, true] {
            let disk = Memory::new(vec![0xaa; 10 * MIB]);
            disk.left.set(left);
            write(&disk, &map, &image).unwrap_err();
            let disk = disk.after_power_cut(odd);
            let boots = disk.seen.borrow()[510..512] == [0x55, 0xaa];
            match disk.content() {
                Content::Begun => {
                    assert!(!boots, "{left}");
                    begun += 1;
                    if left % 7 == 0 {
                        write(&disk, &map, &image).unwrap();
                        assert!(complete(&disk, &image), "a second try after {left}");
                    }
                }
                Content::Data(_) if boots => assert!(complete(&disk, &image), "{left}"),
                Content::Data(_) => {
                    assert!(disk.seen.borrow().iter().all(|byte| *byte == 0xaa), "{left}: no marker yet");
                }
                content => panic!("{left}: {content}"),
            }
        }
    }
    assert!(begun > steps, "{begun} of {steps}");
}

#[test]
fn what_is_wrong_with_an_image_is_said() {
    let image = image(512);
    let map = map(&image);
    let with = |at: usize, byte: u8| {
        let mut changed = image.clone();
        changed[at] = byte;
        changed
    };
    for (changed, expected, kind) in [
        (with(4 * MIB, 0), "not what its map says: bytes 4194304 to 4456447", ErrorKind::Untrusted),
        (with(100, 0), "not what its map says: bytes 0 to", ErrorKind::Untrusted),
        (with(6 * MIB, 1), "data at 6291456, where its map has none", ErrorKind::Untrusted),
        (image[..5 * MIB].to_vec(), "ends after 5242880 of the 8388608 bytes", ErrorKind::Source),
        ([&image[..], &[0]].concat(), "is longer than the 8388608 bytes", ErrorKind::Untrusted),
    ] {
        let disk = Memory::new(vec![0xaa; 10 * MIB]);
        let failure = write(&disk, &map, &changed).unwrap_err();
        assert!(failure.message.contains(expected) && failure.kind == kind, "{expected}: {failure:?}");
        assert_ne!(disk.seen.borrow()[510..512], [0x55, 0xaa], "{expected}");
        let is_untouched = disk.seen.borrow().iter().all(|byte| *byte == 0xaa);
        assert_eq!(is_untouched, expected.contains("bytes 0 to"), "{expected}");
    }
}

#[test]
fn what_is_wrong_with_a_disk_is_said_and_it_stays_as_it_was() {
    let (image_512, shared) = (image(512), image_with(512, 8000));
    let image_4096 = image(4096);
    let mut empty = vec![0; SIZE];
    empty[5 * MIB] = 1;
    let mut large = Memory::new(vec![0xaa; 10 * MIB]);
    large.sector = 4096;
    for (disk, image, expected, kind) in [
        (Memory::new(vec![0xaa; SIZE - 512]), &image_512, "is too small", ErrorKind::Preflight),
        (large, &image_512, "sectors of 512 bytes, and those of /dev/test have 4096", ErrorKind::Preflight),
        (Memory::new(vec![0xaa; 10 * MIB]), &image_4096, "sectors of 4096 bytes", ErrorKind::Preflight),
        (Memory::new(vec![0xaa; 10 * MIB]), &empty, "no sound partition table", ErrorKind::Untrusted),
        (Memory::new(vec![0xaa; 10 * MIB]), &shared, "partitions 1 and 2 overlap", ErrorKind::Untrusted),
        (
            Memory::new(vec![0xaa; 10 * MIB]),
            &image_512[..2 * MIB].to_vec(),
            "is none of a disk",
            ErrorKind::Untrusted,
        ),
    ] {
        let failure = write(&disk, &map(image), image).unwrap_err();
        assert!(failure.message.contains(expected) && failure.kind == kind, "{expected}: {failure:?}");
        assert!(disk.seen.borrow().iter().all(|byte| *byte == 0xaa), "{expected}");
    }
}

#[test]
fn a_disk_that_fails_or_lies_is_named() {
    let image = image(512);
    let map = map(&image);
    for at in [100, MIB + 1, 6 * MIB, 9 * MIB + 5, 10 * MIB - 1] {
        let disk = Memory { broken: Some((at, libc::EIO)), ..Memory::new(vec![0xaa; 10 * MIB]) };
        let failure = write(&disk, &map, &image).unwrap_err();
        assert!(failure.message.contains("writing to /dev/test: Input/output error"), "{at}: {failure}");
        assert_eq!(failure.kind, ErrorKind::Host);
        let disk = Memory { stuck: Some(at), ..Memory::new(vec![0xaa; 10 * MIB]) };
        let written = write(&disk, &map, &image);
        // Behind the image nothing is looked at but the backup table.
        if at == 9 * MIB + 5 {
            written.unwrap();
        } else {
            let failure = written.unwrap_err();
            assert!(failure.message.contains("/dev/test gives back other bytes"), "{at}: {failure}");
        }
    }
}

#[test]
fn a_disk_that_vanishes_is_named() {
    let image = image(512);
    let gone = Memory { broken: Some((5 * MIB, libc::ENODEV)), ..Memory::new(vec![0; 10 * MIB]) };
    let failure = write(&gone, &map(&image), &image).unwrap_err();
    assert_eq!(failure.message, "writing to /dev/test: No such device");
    assert!(failure.help.unwrap().contains("was taken out"));
    let gone = Memory { unflushable: Some(libc::EIO), ..Memory::new(vec![0; 10 * MIB]) };
    let failure = write(&gone, &map(&image), &image).unwrap_err();
    assert_eq!(failure.message, "flushing /dev/test: Input/output error");
}

#[test]
fn the_node_config_is_put_before_the_disk_can_boot() {
    let image = image(512);
    let map = map(&image);
    let disk = Memory::new(vec![0; 10 * MIB]);
    let mut steps = Vec::new();
    let mut progress = |step, _| steps.push(step);
    let mut writer = Writer { disk: &disk, map: &map, accepts: &|_| Ok(()), progress: &mut progress };
    let mut complete = |table: &Table| {
        assert_eq!(table.partitions[1].kind, partition_type::VAR);
        assert_eq!(disk.content(), Content::Begun);
        Err(Failure::new(ErrorKind::Source, "no config"))
    };
    let failure = writer.write(&mut &image[..], &mut complete).unwrap_err();
    assert_eq!((failure.message.as_str(), disk.content()), ("no config", Content::Begun));
    assert_eq!((steps.first(), steps.last()), (Some(&Step::Writing), Some(&Step::Checking)));
}
