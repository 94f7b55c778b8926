//! What is compared of an image of Windows: its release, its files, and its registry.

mod files;
mod registry;
mod secret;
mod views;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{FileChange, FolderSize, NotCompared};
use crate::error::Result;
use crate::format::wim_list::Entry;
use crate::lock::diff::{Change, counts_of};
use crate::verify::Windows;

pub use registry::{RegistryChange, WholeKey};

/// What is known of an image of Windows.
#[derive(Debug)]
pub(super) struct Side {
    image: Windows,
    files: Vec<Entry>,
}

/// In what two images of Windows differ.
#[derive(Debug, Default, Serialize)]
pub struct WindowsComparison {
    /// Services and drivers: how each starts, as whom, and its command.
    pub services: Vec<Change>,
    /// Rules of the firewall.
    pub firewall: Vec<Change>,
    /// Variables of the machine.
    pub environment: Vec<Change>,
    /// Values and whole keys of `HKLM\SYSTEM` and `HKLM\SOFTWARE`; rules and variables have their own lists.
    pub registry: Vec<RegistryChange>,
    /// How many more of them there are than are told.
    pub registry_left_out: usize,
}

impl Side {
    /// Lists the files of the image.
    ///
    /// # Errors
    /// When it is broken.
    pub fn of(image: Windows) -> Result<Self> {
        let files = image.files.list()?;
        Ok(Self { image, files })
    }

    /// What it is.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let release = &self.image.release;
        let mut settings = BTreeMap::from([
            ("system".to_owned(), release.product.clone()),
            ("edition".to_owned(), release.edition.clone()),
            ("build".to_owned(), format!("{}.{}", release.build, release.revision)),
        ]);
        settings.extend(release.state.clone().map(|state| ("state".to_owned(), state)));
        settings
    }
}

/// Files that are not the same in both, and folders of another size.
pub(super) fn files(old: &Side, new: &Side) -> (Vec<FileChange>, Vec<FolderSize>) {
    (files::changes(&old.files, &new.files), files::folders(&old.files, &new.files))
}

/// What is not compared of the files.
pub(super) fn not_compared(old: &Side, new: &Side, titles: [&str; 2]) -> Option<NotCompared> {
    files::without_rights(&old.files, &new.files, titles)
        .map(|why| NotCompared { what: "rights of files", why })
}

/// Everything else in which they differ.
///
/// # Errors
/// When a hive is broken.
pub(super) fn registry(old: &Side, new: &Side) -> Result<WindowsComparison> {
    let (old, new) = (&old.image, &new.image);
    let (registry, registry_left_out) = registry::changes(old, new)?;
    Ok(WindowsComparison {
        services: views::changed(views::services(old)?, views::services(new)?),
        firewall: views::changed(views::firewall(old)?, views::firewall(new)?),
        environment: views::changed(views::environment(old)?, views::environment(new)?),
        registry,
        registry_left_out,
    })
}

impl WindowsComparison {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.registry.is_empty() && self.lists().iter().all(|(_, changes)| changes.is_empty())
    }

    /// "2 added, 1 changed", and how many more the registry's list leaves out.
    pub fn registry_counts(&self) -> String {
        let counts = counts_of(self.registry.iter().map(|change| change.what));
        match self.registry_left_out {
            0 => counts,
            more => format!("{counts}, and {more} that are not listed"),
        }
    }

    /// Lists of values, with their titles.
    pub fn lists(&self) -> [(&'static str, &[Change]); 3] {
        [("services", &self.services), ("firewall rules", &self.firewall), ("environment", &self.environment)]
    }
}

#[cfg(test)]
mod tests;
