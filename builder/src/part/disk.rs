//! The disk: one sparse file, a partition for each row of its [`layout`].
//!
//! Every partition is written straight into its place. Only the root exists as a file of its own before,
//! because the store keeps it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::assembly::{Image, Part};
use crate::definition::plan::DiskPlan;
use crate::determinism;
use crate::error::{IoContext, Result};
use crate::format::ext4::{self, Ext4};
use crate::format::gpt::{Layout, Partition};
use crate::part::bios::Loader;
use crate::part::esp::Esp;
use crate::part::layout::{self, Content, Row};
use crate::part::work::Work;

/// A disk image and its partitions.
#[derive(Debug)]
pub struct Disk {
    /// The sparse raw file.
    pub path: PathBuf,
    /// Its partitions, if Kiln has laid them out.
    pub layout: Option<Layout>,
}

/// A new sparse file in the scratch folder, with the partition table `layout`.
pub(super) fn partitioned(work: &Work<'_>, layout: &Layout) -> Result<(PathBuf, File)> {
    let path = work.scratch.join("disk.raw");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .at("creating", &path)?;
    file.set_len(layout.size).at("enlarging", &path)?;
    layout.write(&mut file)?;
    Ok((path, file))
}

/// Writes the disk with the partitions `rows` into the scratch folder.
///
/// # Errors
/// When a size in the definition does not work, the EFI system partition is too small, or a tool fails.
pub fn make(
    image: &Image<'_>,
    work: &Work<'_>,
    rows: &[Row],
    root: &Path,
    esp: &Esp,
    loader: Option<&Loader>,
) -> Result<Disk> {
    let root_size = root.metadata().at("reading", root)?.len();
    let length = |content| if content == Content::Part(Part::Root) { root_size } else { 0 };
    let bios = if loader.is_some() { image.plan.disk.bios } else { 0 };
    let plan = DiskPlan { bios, ..image.plan.disk };
    let layout = layout::place(rows, image.plan.arch, &plan, &image.identity, length);

    let _step = work.progress.step("writing the disk");
    let (path, mut file) = partitioned(work, &layout)?;
    let places: Vec<(&Row, &Partition)> =
        rows.iter().filter_map(|row| Some((row, layout.get(row.label)?))).collect();
    // File systems first, because mke2fs flushes the whole file before it ends.
    for (row, place) in places.iter().filter(|(row, _)| row.content == Content::EmptyFileSystem) {
        write_ext4(image, work, &path, row.label, place)?;
    }
    for (row, place) in &places {
        match row.content {
            Content::BiosLoader => {
                let esp = layout.get(layout::ESP).map_or(0, |esp| esp.number);
                if let Some(loader) = loader {
                    loader.write(work, &file, place, esp)?;
                }
            }
            Content::Part(Part::Esp) => esp.write(&file, place.offset, place.size, layout.sector_size)?,
            Content::Part(Part::Root) => {
                let mut from = File::open(root).at("opening", root)?;
                copy_into(&mut from, &mut file, place.offset).at("copying the root file system to", &path)?;
            }
            Content::Part(_) | Content::EmptyFileSystem | Content::Reserved => {}
        }
    }
    Ok(Disk { path, layout: Some(layout) })
}

/// Copies all of `from` to the place `offset` of `to`. Between two files the kernel copies by itself, and
/// shares the blocks where the file system can.
pub(super) fn copy_into(from: &mut File, to: &mut File, offset: u64) -> io::Result<()> {
    to.seek(SeekFrom::Start(offset))?;
    io::copy(from, to).map(drop)
}

fn write_ext4(image: &Image<'_>, work: &Work<'_>, file: &Path, label: &str, place: &Partition) -> Result<()> {
    work.record_tool("mke2fs", &ext4::version()?);
    let uuid = determinism::uuid(&image.identity, &format!("{label} file system"));
    let hash_seed = determinism::uuid(&image.identity, &format!("{label} hash seed"));
    let Partition { offset, size, .. } = *place;
    Ext4 { file, offset, size, label, uuid, hash_seed, epoch: image.epoch }.write(work.scratch)
}
