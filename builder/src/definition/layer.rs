//! A layer as it was read, before its variables have values.

use std::path::PathBuf;

use super::check_system;
use super::compose;
use super::condition::{self, When};
use super::interpolate::{Variables, interpolate};
use super::layer_spec::LayerSpec;
use super::registry::Registry;
use super::source::{Source, Step, suggestion};
use super::windows::WINDOWS;
use crate::at;
use crate::error::Result;

/// A parsed layer with the text and folder it came from.
pub(super) struct Layer {
    pub name: String,
    pub file: LayerSpec,
    pub source: Source,
    pub folder: PathBuf,
}

impl Layer {
    /// Reads the layer in `folder`.
    pub(super) fn read(folder: PathBuf, registry: &dyn Registry) -> Result<Self> {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let source = compose::read(&folder.join("layer.toml"))?;
        let file: LayerSpec = source.parse()?;
        let known = operating_systems(registry);
        if let Some(index) = file.os.iter().position(|os| !known.contains(&os.as_str())) {
            let os = &file.os[index];
            let error = source.error_at(&at!["os", index], &format!("unknown value \"{os}\""));
            return Err(error.help(suggestion(os, known)));
        }
        let layer = Self { name, file, source, folder };
        check_system::check(&layer.file, &layer.source)?;
        Ok(layer)
    }

    /// Whether it is for Windows; all others are for Linux.
    pub(super) fn is_for_windows(&self) -> bool {
        self.file.is_for_windows()
    }

    /// Everything that other layers can require of this one.
    pub(super) fn capabilities(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.file.provides.iter().map(|name| name.0.as_str()))
    }

    pub(super) fn expand(&self, path: &[Step], text: &str, variables: &Variables) -> Result<String> {
        interpolate(text, variables).map_err(|(why, help)| self.source.error_at(path, &why).help(help))
    }

    pub(super) fn applies(
        &self,
        section: &str,
        index: usize,
        when: &When,
        variables: &Variables,
    ) -> Result<bool> {
        condition::holds(when, variables).map_err(|(variable, why, help)| {
            self.source.error_at(&at![section, index, "when", variable.as_str()], &why).help(help)
        })
    }
}

/// The operating systems that a layer can be for.
pub(crate) fn operating_systems(registry: &dyn Registry) -> Vec<&'static str> {
    let mut known = registry.distributions();
    if !known.contains(&WINDOWS) {
        known.push(WINDOWS);
    }
    known
}
