//! A unified kernel image: one program for UEFI with kernel, initrd and command line, which firmware starts
//! from a disk, by HTTP or by TFTP. Its parts and their order: the UAPI group's "Unified Kernel Image".
//!
//! It is not signed. systemd's stub is the image's own, from the layer `boot`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::pe::{self, Section};
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;

pub(super) const OUTPUT: Output = Output::new::<Uki>(
    "uki",
    "a unified kernel image (.efi) for UEFI: from the network by HTTP, with the root inside; or for a disk's ESP",
    &[Part::Network, Part::Kernel],
);

/// `<name>.efi`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Uki {
    /// Where its root file system is
    #[serde(default)]
    root: Root,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Root {
    /// Inside: the machine runs from memory
    #[default]
    Memory,
    /// On a disk of this image
    Disk,
}

impl Writer for Uki {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let plan = parts.image.plan;
        let name = format!("{}.efi", plan.name);
        let tree = parts.image.tree();
        let stub = match plan.arch {
            Arch::Amd64 => "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
            Arch::Arm64 => "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
        };
        let stub = tree.file(stub).ok_or_else(|| {
            Error::new(ErrorKind::Definition, format!("the image has no {stub}"))
                .help("add the layer boot, which takes it from the package systemd-boot-efi")
        })?;
        let stub = stub.read().at("reading", "systemd's stub")?;
        let release = tree.file("usr/lib/os-release").map(|body| body.read().at("reading", "os-release"));
        let release = release.transpose()?.unwrap_or_default();
        let (initrd, command_line) = match self.root {
            Root::Memory => (parts.network_initrd()?, plan.kernel_arguments.join(" ")),
            Root::Disk => (parts.initrd()?, parts.command_line()?.to_owned()),
        };
        let kernel = parts.kernel()?;
        let _step = parts.work.progress.step("writing the unified kernel image");
        let file = File::open(initrd).at("opening", initrd)?;
        let length = file.metadata().at("reading", initrd)?.len();
        let linux = kernel.body.open().at("reading", "the kernel")?;
        let sections = vec![
            text(".osrel", &release),
            text(".cmdline", command_line.as_bytes()),
            text(".uname", kernel.version.as_bytes()),
            Section { name: ".initrd", length, content: Box::new(file) },
            Section { name: ".linux", length: kernel.body.len(), content: linux },
        ];
        let path = folder.join(&name);
        let mut to = File::create(&path).at("creating", &path)?;
        pe::extend(&stub, sections, &mut to).at("writing", &path)?;
        Ok(vec![name.into()])
    }
}

fn text<'a>(name: &'static str, bytes: &'a [u8]) -> Section<'a> {
    let content: Box<dyn Read + 'a> = Box::new(bytes);
    Section { name, length: bytes.len() as u64, content }
}
