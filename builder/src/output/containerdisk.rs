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

use super::oci::layout::{Layout, annotated};
use super::oci::{self as images, Layer};
use super::qcow2;
use crate::assembly::Part;
use crate::digest::DigestReader;
use crate::error::{IoContext, Result};
use crate::format::tar_file::{self, Member};
use crate::layer::compress::Compression;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::part::compressed;

pub(super) const OUTPUT: Output = Output::new::<ContainerDisk>(
    "containerdisk",
    "OCI image layout of a container image for KubeVirt, with the disk as qcow2 inside",
    &[Part::Disk],
);

/// The user and the group of qemu in KubeVirt's pods.
const QEMU: u64 = 107;

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
    let kind = EntryType::Directory;
    let folder = Member { kind, name: "disk/", mode: 0o755, owner: 0, size: 0, epoch };
    let file = Member { kind: EntryType::Regular, name, mode: 0o440, owner: QEMU, size, epoch };
    let header = |member: Member<'_>| member.written_into(Header::new_gnu());
    let heads = [header(folder)?.as_bytes().as_slice(), header(file)?.as_bytes()].concat();
    Ok(io::Cursor::new(heads).chain(from).chain(tar_file::end(size)))
}
