//! Where parts are made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::progress::Progress;
use crate::store::Store;

/// The folders, the terminal and the notes of one build.
#[derive(Debug)]
pub struct Work<'a> {
    /// For parts that are worth keeping between builds.
    pub store: &'a Store,
    /// A private folder for intermediate files, on the file system of the outputs.
    pub scratch: &'a Path,
    /// Where progress is shown.
    pub progress: &'a Progress,
    tools: Mutex<BTreeMap<&'static str, String>>,
}

impl<'a> Work<'a> {
    /// Without any tool noted.
    pub fn new(store: &'a Store, scratch: &'a Path, progress: &'a Progress) -> Self {
        Self { store, scratch, progress, tools: Mutex::default() }
    }

    /// Programs of the host that wrote bytes of this image, with their versions: for the manifest.
    pub fn tools(&self) -> BTreeMap<&'static str, String> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that bytes of this image come from `version` of the program `name`.
    pub fn record_tool(&self, name: &'static str, version: &str) {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).insert(name, version.to_owned());
    }
}
