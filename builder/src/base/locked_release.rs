//! The pins of a release of Windows that is elsewhere: there is no file to pin.

use serde::{Deserialize, Serialize};

use crate::definition::plan::WindowsReleasePlan;

/// `[base]` of a lock for a release of Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedWindowsRelease {
    /// The release: "2022".
    pub release: String,
}

impl LockedWindowsRelease {
    /// Every difference between `plan` and the pins, one line each.
    pub fn differences(&self, plan: &WindowsReleasePlan) -> Vec<String> {
        if self.release == plan.release {
            return Vec::new();
        }
        let (wanted, locked) = (&plan.release, &self.release);
        vec![format!("the definition wants Windows Server {wanted}, the lock has {locked}")]
    }
}
