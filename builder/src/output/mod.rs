//! 7. Files that a user boots or uploads. One file per output; add its row to [`ALL`] and it exists.
//!
//! A row is data: name, summary, the parts that the output needs, and its options. The schema, the help, the
//! table in `docs/reference.md` and the check that a base can give what an output needs all come from this
//! list.

mod containerdisk;
mod gce;
mod iso;
mod oci;
mod oci_artifact;
mod ova;
pub(crate) mod pxe;
mod qcow2;
mod raw;
pub mod sums;
mod sysext;
mod uki;
mod vhd;
mod vhdx;
mod vmdk;
mod wim;
mod windows_layers;

use std::fmt::Debug;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::assembly::Part;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::PackedLayer;
use crate::part::Parts;
use crate::store::Store;

/// All outputs, in the order of the documentation.
pub const ALL: &[&Output] = &[
    &raw::OUTPUT,
    &qcow2::OUTPUT,
    &vhd::OUTPUT,
    &vhdx::OUTPUT,
    &vmdk::OUTPUT,
    &ova::OUTPUT,
    &gce::OUTPUT,
    &containerdisk::OUTPUT,
    &oci_artifact::OUTPUT,
    &oci::OUTPUT,
    &pxe::OUTPUT,
    &uki::OUTPUT,
    &iso::OUTPUT,
    &sysext::OUTPUT,
    &wim::OUTPUT,
    &windows_layers::OUTPUT,
];

/// A kind of output.
#[derive(Debug)]
pub struct Output {
    /// The word in the definition ("raw").
    pub name: &'static str,
    /// One line for the schema and the documentation.
    pub summary: &'static str,
    /// The parts that it is made of. A base that cannot give one of them cannot be written in this form.
    pub needs: &'static [Part],
    /// Whether its disk may have sectors of 4096 bytes. The formats of hypervisors and clouds may not.
    pub large_sectors: bool,
    /// The schema of the table `[output.NAME]`.
    pub options: fn(&mut SchemaGenerator) -> Schema,
    /// Reads that table.
    configure: fn(toml::Table) -> Result<Box<dyn Writer>, toml::de::Error>,
}

/// An output with its options.
pub trait Writer: Debug + Send + Sync {
    /// Makes of a layer what can be made before there is an image, and keeps it in the store: the base is
    /// still being built meanwhile.
    fn prepare(&self, _layer: &PackedLayer, _store: &Store) -> Result<()> {
        Ok(())
    }

    /// Writes the files into the folder `folder`, which becomes visible to the user only when every output is
    /// complete. Other outputs are written there at the same time, under other names.
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>>;
}

/// A file that an output has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Its path below the output folder.
    pub file: String,
    /// Its digest, where that was computed when its bytes were made.
    pub digest: Option<Digest>,
}

impl From<String> for OutputFile {
    fn from(file: String) -> Self {
        Self { file, digest: None }
    }
}

impl Output {
    /// The row of the output whose options are `T`.
    const fn new<T: Writer + DeserializeOwned + JsonSchema + 'static>(
        name: &'static str,
        summary: &'static str,
        needs: &'static [Part],
    ) -> Self {
        Self {
            name,
            summary,
            needs,
            large_sectors: false,
            options: |generator| T::json_schema(generator),
            configure: |table| Ok(Box::new(toml::Value::Table(table).try_into::<T>()?)),
        }
    }

    /// The same row of an output whose disk may have sectors of 4096 bytes.
    const fn with_large_sectors(self) -> Self {
        Self { large_sectors: true, ..self }
    }

    /// This output with the options of a definition's table `[output.NAME]`.
    ///
    /// # Errors
    /// The deserializer's, when the table is wrong.
    pub fn configure(&self, options: &toml::Table) -> Result<Box<dyn Writer>, toml::de::Error> {
        (self.configure)(options.clone())
    }
}

/// The output with this name.
pub fn find(name: &str) -> Option<&'static Output> {
    ALL.iter().find(|output| output.name == name).copied()
}

/// As [`find`] and [`Output::configure`], for names and options that were checked when the definition was
/// read.
///
/// # Errors
/// [`ErrorKind::Internal`].
pub fn configured(name: &str, options: Option<&toml::Table>) -> Result<Box<dyn Writer>> {
    let internal = |why: String| Error::new(ErrorKind::Internal, format!("the output {name}: {why}"));
    let output = find(name).ok_or_else(|| internal("there is none of this name".to_owned()))?;
    output
        .configure(options.unwrap_or(&toml::Table::new()))
        .map_err(|error| internal(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_has_defaults_and_knows_its_options() {
        for output in ALL {
            assert!(output.configure(&toml::Table::new()).is_ok(), "{}", output.name);
            let unknown = toml::Table::from_iter([("no-such-option".to_owned(), true.into())]);
            assert!(output.configure(&unknown).unwrap_err().message().starts_with("unknown field"));
            assert_eq!(find(output.name).unwrap().summary, output.summary);
        }
    }
}
