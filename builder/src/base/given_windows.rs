//! The pins of an image of Windows.

use serde::{Deserialize, Serialize};

use super::Component;
use crate::definition::plan::{Checksum, WindowsBasePlan};
use crate::digest::Digest;
use crate::purl;

/// `[base]` of a lock for an image of Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedWindows {
    /// Where it is, as the definition says it.
    pub windows: String,
    /// Length in bytes, where it was known when the lock was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its digest.
    pub sha256: Digest,
    /// The file of keys, as the definition says it, of which one has signed the list of digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// The number of the image in the WIM.
    pub image: u32,
    /// The name of that image.
    pub name: String,
    /// The edition ("ServerStandardCore").
    pub edition: String,
    /// What it is ("Windows Server 2022 Standard").
    pub product: String,
    /// Its build.
    pub build: u32,
    /// Its patch level.
    pub revision: u32,
}

impl LockedWindows {
    /// Build and patch level: "20348.2700".
    pub fn version(&self) -> String {
        format!("{}.{}", self.build, self.revision)
    }

    /// What it is, by the names that a finished image has for it, and its file.
    pub fn settings(&self) -> [(String, String); 4] {
        [
            ("system", self.product.clone()),
            ("edition", self.edition.clone()),
            ("build", self.version()),
            ("file", format!("{} {:.19}", self.windows, self.sha256.to_string())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    /// Every difference between `plan` and the pins, one line each.
    pub fn differences(&self, plan: &WindowsBasePlan) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |wanted: &str, locked: &str| {
            differences.push(format!("the definition wants {wanted}, the lock has {locked}"));
        };
        if plan.windows.written != self.windows {
            differ(&plan.windows.written, &self.windows);
        }
        if matches!(&plan.checksum, Some(Checksum::Pinned(digest)) if *digest != self.sha256) {
            differ("another digest of it", &self.sha256.to_string());
        }
        let keyring = plan.signature.as_ref().map(|signature| &signature.keyring.written);
        if keyring != self.keyring.as_ref() {
            differ("other keys to have signed its digest", self.keyring.as_deref().unwrap_or("none"));
        }
        if let Some(wanted) = plan.edition.as_ref().filter(|wanted| !self.is_edition(wanted)) {
            differ(wanted, &self.edition);
        }
        if let Some(build) = plan.build.filter(|build| *build != self.build) {
            differ(&format!("build {build}"), &self.version());
        }
        if let Some(least) = plan.minimum_revision.filter(|least| *least > self.revision) {
            differ(&format!("at least patch level {least}"), &self.version());
        }
        differences
    }

    fn is_edition(&self, wanted: &str) -> bool {
        let names = [&self.edition, &self.name];
        names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) || self.image.to_string() == wanted
    }

    /// For the SBOM.
    pub(super) fn component(&self) -> Component {
        let version = format!("10.0.{}", self.version());
        Component {
            purl: purl::generic("windows", &version),
            name: self.product.clone(),
            version,
            sha256: Some(self.sha256),
            properties: vec![("kiln:edition", self.edition.clone())],
        }
    }
}
