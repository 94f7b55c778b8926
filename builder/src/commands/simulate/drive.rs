//! `kiln simulate --drive`: a configuration drive as a FAT file system, as a virtual machine can have it.

use std::fs::File;
use std::path::Path;

use kiln_simulator::simulation::Machine;

use super::{absent, failed};
use crate::error::{IoContext, Result};
use crate::format::fat32::{Item, Volume};
use crate::tree::Body;

/// 2020-01-01, the time of everything that Kiln writes unless it is told otherwise.
const EPOCH: u64 = 1_577_836_800;

/// Letters of a label.
const LABEL: usize = 11;

/// Writes the drive into `path`.
pub fn write(machine: &Machine, path: &Path) -> Result<()> {
    let drive = machine.drive().map_err(failed)?.ok_or_else(|| absent(machine, "configuration drive"))?;
    let mut label = [b' '; LABEL];
    drive.label.bytes().take(LABEL).enumerate().for_each(|(at, byte)| label[at] = byte);
    let items: Vec<Item> = drive
        .files
        .into_iter()
        .map(|(path, bytes)| Item { path, body: Body::Inline(bytes.into()) })
        .collect();
    let volume =
        Volume { offset: 0, size: Volume::MINIMUM, sector: 512, id: 0x4b49_4c4e, label, epoch: EPOCH };
    let file = File::create(path).at("creating", path)?;
    file.set_len(volume.size).at("writing", path)?;
    volume.write(&file, &items).at("writing", path)
}
