//! A virtual machine for vSphere: a tar archive of an OVF descriptor, a manifest of digests and the disk, in
//! this order (DSP0243, "Open Virtualization Format Specification" 1.1, sections 5.1 to 5.3).

mod descriptor;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tar::{EntryType, Header};

use super::vmdk;
use crate::assembly::{Image, Part};
use crate::definition::plan::Arch;
use crate::digest::{Digest, DigestWriter};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::tar_file::Member;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use descriptor::{Firmware, Guest, Machine};

pub(super) const OUTPUT: Output = Output::new::<Ova>(
    "ova",
    "a virtual machine for vSphere: OVF descriptor, manifest and VMDK in one file",
    &[Part::Disk],
);

/// `<name>.ova`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Ova {
    /// Processors of a new machine
    #[schemars(range(min = 1, max = 768))]
    #[serde(deserialize_with = "cpus")]
    cpus: u32,
    /// Its memory in MiB
    #[schemars(range(min = 4, max = 25_165_824))]
    #[serde(deserialize_with = "memory")]
    memory: u32,
    /// Version of its virtual hardware, as in vmx-15 (ESXi 6.7 Update 2 and later)
    #[schemars(range(min = 13, max = 99))]
    #[serde(deserialize_with = "hardware_version")]
    hardware_version: u32,
    /// Its firmware
    firmware: Firmware,
}

impl Default for Ova {
    fn default() -> Self {
        Self { cpus: 2, memory: 4096, hardware_version: 15, firmware: Firmware::default() }
    }
}

impl Writer for Ova {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        self.check(&parts.image)?;
        let plan = parts.image.plan;
        let [ovf, manifest, disk, file] =
            ["ovf", "mf", "vmdk", "ova"].map(|extension| format!("{}.{extension}", plan.name));
        let vmdk_path = parts.work.scratch.join("ova.vmdk");
        let made = vmdk::make(parts, &disk, &vmdk_path)?;
        let _step = parts.work.progress.step("writing the OVA");
        let descriptor = descriptor::text(&Machine {
            name: &plan.name,
            disk: &disk,
            size: made.size,
            capacity: made.capacity,
            cpus: self.cpus,
            memory: self.memory,
            hardware_version: self.hardware_version,
            firmware: self.firmware,
            guest: if parts.image.windows().is_some() { Guest::Windows } else { Guest::Linux },
        });
        let digests = manifest_text(&[(&ovf, Digest::of(descriptor.as_bytes())), (&disk, made.digest)]);

        let path = folder.join(&file);
        let to = DigestWriter::new(File::create(&path).at("creating", &path)?);
        let mut archive = tar::Builder::new(to);
        let from = File::open(&vmdk_path).at("opening", &vmdk_path)?;
        let epoch = parts.image.epoch;
        append(&mut archive, &ovf, descriptor.len() as u64, epoch, descriptor.as_bytes())
            .and_then(|()| append(&mut archive, &manifest, digests.len() as u64, epoch, digests.as_bytes()))
            .and_then(|()| append(&mut archive, &disk, made.size, epoch, from))
            .at("writing", &path)?;
        let (_, digest, _) = archive.into_inner().at("writing", &path)?.finish();
        fs::remove_file(&vmdk_path).at("removing", &vmdk_path)?;
        Ok(vec![OutputFile { file, digest: Some(digest) }])
    }
}

/// The most processors and MiB of a machine of vSphere 8 ("VMware Configuration Maximums").
const MOST_CPUS: u32 = 768;
const MOST_MEMORY: u32 = 24 << 20;
/// The oldest hardware of ESXi 6.5, and the newest that is written in two digits.
const HARDWARE: std::ops::RangeInclusive<u32> = 13..=99;

fn cpus<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let cpus = u32::deserialize(from)?;
    if (1..=MOST_CPUS).contains(&cpus) {
        return Ok(cpus);
    }
    // The help follows behind the line feed.
    Err(D::Error::custom(format!("{cpus} processors are no machine\nwrite a number from 1 to {MOST_CPUS}")))
}

fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let memory = u32::deserialize(from)?;
    if (4..=MOST_MEMORY).contains(&memory) && memory.is_multiple_of(4) {
        return Ok(memory);
    }
    let help = format!("write a multiple of 4, up to {MOST_MEMORY}");
    Err(D::Error::custom(format!("{memory} MiB are no machine's memory\n{help}")))
}

fn hardware_version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(from)?;
    if HARDWARE.contains(&version) {
        return Ok(version);
    }
    let help = format!("write a number from {} (ESXi 6.5) to {}", HARDWARE.start(), HARDWARE.end());
    Err(D::Error::custom(format!("hardware version {version} is unknown\n{help}")))
}

impl Ova {
    fn check(&self, image: &Image<'_>) -> Result<()> {
        let error = |message: &str, help: &str| {
            Err(Error::new(ErrorKind::Definition, format!("the output ova: {message}")).help(help))
        };
        if image.plan.arch != Arch::Amd64 {
            return error("vSphere's machines are amd64", "leave out the output ova for this architecture");
        }
        if image.windows().is_some() && self.firmware == Firmware::Bios {
            return error("this Windows boots by UEFI", "leave out output.ova.firmware");
        }
        Ok(())
    }
}

/// The digests of the other files, as section 5.1 writes them.
fn manifest_text(files: &[(&str, Digest)]) -> String {
    files.iter().map(|(file, digest)| format!("SHA256({file})= {}\n", digest.hex())).collect()
}

/// Adds a file in the format that section 5.3 asks for, USTAR.
fn append(
    archive: &mut tar::Builder<impl io::Write>,
    name: &str,
    size: u64,
    epoch: u64,
    content: impl Read,
) -> io::Result<()> {
    let member = Member { kind: EntryType::Regular, name, mode: 0o644, owner: 0, size, epoch };
    archive.append(&member.written_into(Header::new_ustar())?, content)
}
