//! The image in Windows' own format, for `dism /apply-image`, Windows Deployment Services and other tools.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::Result;
use crate::output::raw::link_or_copy;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;

pub(super) const OUTPUT: Output =
    Output::new::<WimFile>("wim", "an image in Windows' own format, where the base is Windows", &[Part::Wim]);

/// `<name>.wim`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WimFile {}

impl Writer for WimFile {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let name = format!("{}.wim", parts.image.plan.name);
        link_or_copy(&parts.windows()?.wim, &folder.join(&name))?;
        Ok(vec![name.into()])
    }
}
