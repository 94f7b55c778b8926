//! System extensions (systemd-sysext(8)): the image's layers for hosts that are no images of Kiln.

mod options;
mod sysupdate;

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::{IoContext, Result};
use crate::output::{Output, OutputFile, Writer, sums};
use crate::part::Parts;
use crate::part::extensions::{self, Extension};
use options::Table;

pub(super) const OUTPUT: Output = Output::new::<Sysext>(
    "sysext",
    "a folder of system extensions, one for each layer: Kubernetes, runtime and agent for any host with systemd",
    &[Part::Extensions],
);

/// The list that systemd-sysupdate asks a server for.
const SUMS: &str = "SHA256SUMS";

/// `<name>-sysext/`
#[derive(Debug, Deserialize)]
#[serde(try_from = "Table")]
struct Sysext {
    extensions: extensions::Options,
    /// Where hosts find newer ones.
    url: Option<String>,
}

impl JsonSchema for Sysext {
    fn schema_name() -> Cow<'static, str> {
        Table::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Table::json_schema(generator)
    }
}

impl Writer for Sysext {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let plan = parts.image.plan;
        let name = format!("{}-sysext", plan.name);
        let target = folder.join(&name);
        fs::create_dir(&target).at("creating", &target)?;
        let made = extensions::make(&parts.image, &parts.work, &self.extensions)?;
        let mut files = made.iter().map(|made| copy(made, &target)).collect::<Result<Vec<_>>>()?;
        let path = target.join(SUMS);
        fs::write(&path, sums::list(&sums::of(&files, &target)?)).at("writing", &path)?;
        files.push(SUMS.to_owned().into());
        if let Some(url) = &self.url {
            let kubernetes = plan.variables.get("kubernetes");
            for made in &made {
                files.push(transfer(made, url, kubernetes, &target)?);
            }
        }
        files.iter_mut().for_each(|written| written.file = format!("{name}/{}", written.file));
        Ok(files)
    }
}

fn copy(made: &Extension, target: &Path) -> Result<OutputFile> {
    let path = target.join(&made.file_name);
    fs::copy(&made.path, &path).at("writing", &path)?;
    Ok(OutputFile { file: made.file_name.clone(), digest: Some(made.sha256) })
}

fn transfer(made: &Extension, url: &str, kubernetes: Option<&String>, target: &Path) -> Result<OutputFile> {
    let file = sysupdate::file(&made.name);
    let path = target.join(&file);
    let folder = path.parent().unwrap_or(target);
    fs::create_dir_all(folder).at("creating", folder)?;
    let series = kubernetes.filter(|version| **version == made.version);
    fs::write(&path, sysupdate::text(&made.name, url, series.map(String::as_str))).at("writing", &path)?;
    Ok(file.into())
}
