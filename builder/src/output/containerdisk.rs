//! The disk for KubeVirt: a container image with nothing but a qcow2 in `/disk`, which belongs to the user
//! qemu (kubevirt.io, "User guide", "containerDisk").

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use oci_spec::image as oci;
use schemars::JsonSchema;
use serde::Deserialize;
use tar::{EntryType, Header};

use super::compressed;
use super::oci::layout::{Layout, annotated};
use super::oci::{self as images, Layer};
use super::qcow2;
use crate::assembly::Part;
use crate::digest::DigestReader;
use crate::error::{IoContext, Result};
use crate::layer::compress::Compression;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;

pub(super) const OUTPUT: Output = Output::new::<ContainerDisk>(
    "containerdisk",
    "OCI image layout of a container image for KubeVirt, with the disk as qcow2 inside",
    &[Part::Disk],
);

/// The user and the group of qemu in KubeVirt's pods.
const QEMU: u64 = 107;

/// The unit of tar archives, in bytes.
const RECORD: u64 = 512;

/// `<name>-containerdisk/`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "Containerdisk")]
struct ContainerDisk {
    /// How the layer is compressed
    #[serde(default)]
    compression: Compression,
}

impl Writer for ContainerDisk {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let image = &parts.image;
        let name = format!("{}-containerdisk", image.plan.name);
        let qcow2 = parts.work.scratch.join("containerdisk.qcow2");
        qcow2::make(parts, qcow2::Compression::None, &qcow2)?;
        let _step = parts.work.progress.step("compressing the disk for KubeVirt");
        let file = format!("disk/{}.qcow2", image.plan.name);
        let tar = archive(&qcow2, &file, image.epoch).at("reading", &qcow2)?;
        let mut tar = DigestReader::new(tar);
        let mut layout = Layout::create(folder, &name)?;
        let descriptor = layout.blob(images::media_type(self.compression), |path| {
            compressed::stream(&mut tar, self.compression, path)
        })?;
        fs::remove_file(&qcow2).at("removing", &qcow2)?;
        let title = HashMap::from([(oci::ANNOTATION_TITLE.to_owned(), file)]);
        let layer = Layer {
            name: "disk".to_owned(),
            diff_id: tar.finish(),
            descriptor: annotated(descriptor, title),
        };
        images::finish(image, layout, vec![layer])
    }
}

/// A tar archive of the folder and of the file, which `name` says.
fn archive(from: &Path, name: &str, epoch: u64) -> io::Result<impl Read + use<>> {
    let from = File::open(from)?;
    let size = from.metadata()?.len();
    let folder = header(EntryType::Directory, "disk/", 0o755, 0, epoch, 0)?;
    let file = header(EntryType::Regular, name, 0o440, QEMU, epoch, size)?;
    let heads = [folder.as_bytes().as_slice(), file.as_bytes()].concat();
    // Two records of zeros end an archive.
    let end = io::repeat(0).take(size.next_multiple_of(RECORD) - size + 2 * RECORD);
    Ok(io::Cursor::new(heads).chain(from).chain(end))
}

fn header(kind: EntryType, name: &str, mode: u32, owner: u64, epoch: u64, size: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(epoch);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}
