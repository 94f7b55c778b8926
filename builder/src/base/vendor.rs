//! The pins of a vendor's release whose disk stays as it is.

use serde::{Deserialize, Serialize};

use super::Component;
use crate::definition::plan::{Form, VendorPlan};
use crate::digest::Digest;
use crate::purl;

/// `[base]` of a lock for a vendor's release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedVendor {
    /// Operating system.
    pub distribution: String,
    /// The channel that the release was taken from.
    pub channel: String,
    /// The release.
    pub version: String,
    /// Its files, in the order of their forms.
    #[serde(rename = "file")]
    pub files: Vec<VendorFile>,
}

/// A file of a vendor's release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorFile {
    /// Its name on the vendor's server.
    pub name: String,
    /// The form that it belongs to.
    pub form: Form,
    /// Length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

impl LockedVendor {
    /// Every difference between `plan` and the pins, one line each.
    pub fn differences(&self, plan: &VendorPlan) -> Vec<String> {
        let mut differences = Vec::new();
        if (&plan.distribution, &plan.channel) != (&self.distribution, &self.channel) {
            differences.push(format!(
                "the definition wants {} {}, the lock has {} {}",
                plan.distribution, plan.channel, self.distribution, self.channel
            ));
        }
        if let Some(version) = plan.version.as_ref().filter(|version| **version != self.version) {
            differences.push(format!("the definition wants {version}, the lock has {}", self.version));
        }
        let missing = plan.forms.iter().filter(|form| self.of(**form).next().is_none());
        differences.extend(missing.map(|form| match form {
            Form::Disk => "the lock has no disk image".to_owned(),
            Form::Network => "the lock has no files for the network".to_owned(),
        }));
        differences
    }

    /// The files of a form.
    pub fn of(&self, form: Form) -> impl Iterator<Item = &VendorFile> {
        self.files.iter().filter(move |file| file.form == form)
    }

    /// Its files as components of the SBOM.
    pub fn components(&self) -> Vec<Component> {
        let component = |file: &VendorFile| Component {
            name: file.name.clone(),
            version: self.version.clone(),
            purl: purl::generic(&file.name, &self.version),
            sha256: Some(file.sha256),
            properties: vec![("kiln:channel", self.channel.clone())],
        };
        self.files.iter().map(component).collect()
    }
}
