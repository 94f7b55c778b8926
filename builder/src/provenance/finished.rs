//! The manifest of a finished image, as it is read again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::{LockedPackage, LockedWindows};
use crate::definition::plan::{Arch, TestPlan};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::LockedArtifact;
use crate::output::sums::Sum;

/// What commands on finished images need of a manifest.
#[derive(Debug, Deserialize, Serialize)]
pub struct Finished {
    /// The image's name.
    pub name: String,
    /// For which architecture it is.
    pub arch: Arch,
    /// Hash of all layers and of the plan.
    pub identity: Digest,
    /// The variables of the definition, versions among them.
    pub variables: BTreeMap<String, String>,
    /// The kernel, where it has one.
    pub kernel: Option<FinishedKernel>,
    /// Layers, the base first.
    pub layers: Vec<FinishedLayer>,
    /// Files that layers fetched.
    pub artifacts: Vec<LockedArtifact>,
    /// Packages of the distribution.
    pub packages: Vec<LockedPackage>,
    /// The image of Windows below the layers, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<LockedWindows>,
    /// Programs of the build host that wrote parts of the outputs.
    pub tools: BTreeMap<String, String>,
    /// The files of its outputs.
    pub outputs: Vec<Sum>,
    /// What `kiln test` runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestPlan>,
}

/// The kernel of a finished image.
#[derive(Debug, Deserialize, Serialize)]
pub struct FinishedKernel {
    /// Its version.
    pub version: String,
    /// The whole command line when it boots from the disk.
    pub command_line: String,
}

/// A layer of a finished image.
#[derive(Debug, Deserialize, Serialize)]
pub struct FinishedLayer {
    /// Its name.
    pub name: String,
    /// SHA-256 of its uncompressed tar.
    #[serde(rename = "diffID")]
    pub diff_id: Digest,
    /// Length of that tar.
    pub size: u64,
}

impl Finished {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is none; [`ErrorKind::Verification`] if the file is none.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| {
            Error::io("opening", path, &error).help("name the output folder of a build, such as out")
        })?;
        serde_json::from_reader(BufReader::new(file)).map_err(|error| {
            Error::new(ErrorKind::Verification, format!("{} is not a manifest: {error}", path.display()))
                .help("name a manifest.json that kiln build wrote")
        })
    }
}
