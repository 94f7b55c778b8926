//! The disk for Azure: a fixed VHD of whole MiB (learn.microsoft.com, "Prepare a Windows VHD or VHDX to
//! upload to Azure", "Information for community supported and non-endorsed distributions").

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::determinism;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::resized::Resized;
use crate::format::vhd;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::size::MIB;

pub(super) const OUTPUT: Output =
    Output::new::<Vhd>("vhd", "a fixed VHD for Azure, and for Hyper-V's first generation", &[Part::Disk]);

/// `<name>.vhd`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Vhd {}

impl Writer for Vhd {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let image = &parts.image;
        let name = format!("{}.vhd", image.plan.name);
        // Azure refuses other sizes.
        let disk = Resized::whole(&parts.disk()?.path, MIB)?;
        if disk.size > vhd::LONGEST {
            let message = format!("a VHD of {} GiB is longer than the format allows", disk.size >> 30);
            return Err(
                Error::new(ErrorKind::Definition, message).help("set disk.var to less, below 2040 GiB")
            );
        }
        let _step = parts.work.progress.step("writing the VHD");
        let footer = vhd::footer(disk.size, determinism::uuid(&image.identity, "vhd"), image.epoch);
        let path = folder.join(&name);
        let file = File::create(&path).at("creating", &path)?;
        disk.write_to(&file)
            .and_then(|()| file.write_all_at(&footer, disk.size))
            .at("writing", &path)?;
        Ok(vec![name.into()])
    }
}
