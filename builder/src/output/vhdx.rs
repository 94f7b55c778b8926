//! The disk for Hyper-V.

use std::fs::File;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::determinism;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::resized::Resized;
use crate::format::vhdx::{self, Ids};
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::size::MIB;

pub(super) const OUTPUT: Output = Output::new::<Vhdx>("vhdx", "a dynamic VHDX for Hyper-V", &[Part::Disk]);

/// `<name>.vhdx`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Vhdx {}

impl Writer for Vhdx {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let name = format!("{}.vhdx", parts.image.plan.name);
        let disk = Resized::whole(&parts.disk()?.path, MIB)?;
        if disk.size > vhdx::LONGEST {
            let message = format!("a VHDX of {} GiB is longer than the format allows", disk.size >> 30);
            return Err(Error::new(ErrorKind::Definition, message).help("set disk.var to less, below 64 TiB"));
        }
        let _step = parts.work.progress.step("writing the VHDX");
        let id = |of: &str| determinism::uuid(&parts.image.identity, &format!("vhdx {of}"));
        let ids = Ids { file: id("file"), data: id("data"), disk: id("disk") };
        let path = folder.join(&name);
        let file = File::create(&path).at("creating", &path)?;
        vhdx::write(&disk, ids, &file).at("writing", &path)?;
        Ok(vec![name.into()])
    }
}
