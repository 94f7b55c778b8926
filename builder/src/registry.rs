//! The lists of bases and outputs, as definitions see them.

use std::path::Path;

use crate::base;
use crate::definition::registry::Registry;
use crate::definition::{self, Resolved};
use crate::error::Result;
use crate::output;

/// All bases and outputs of this release.
#[derive(Debug, Clone, Copy)]
pub struct Release;

impl Registry for Release {
    fn distributions(&self) -> Vec<&'static str> {
        base::ALL.iter().map(|base| base.name()).collect()
    }

    fn outputs(&self) -> Vec<&'static str> {
        output::ALL.iter().map(|output| output.name).collect()
    }

    fn missing_part(&self, distribution: &str, output: &str) -> Option<&'static str> {
        let gives = base::find(distribution)?.gives();
        let missing = output::find(output)?.needs.iter().find(|part| !gives.contains(part));
        missing.map(|part| part.title())
    }

    fn check_options(&self, output: &str, options: &toml::Table) -> Result<(), String> {
        let Some(output) = output::find(output) else { return Ok(()) };
        output.configure(options).map(drop).map_err(|error| error.message().to_owned())
    }
}

/// Reads and resolves a definition: [`definition::load`] with everything that this release knows.
///
/// # Errors
/// Those of [`definition::load`].
pub fn load(path: &Path, sets: &[String], layers: Option<&Path>) -> Result<Resolved> {
    definition::load(path, sets, layers, &Release)
}
