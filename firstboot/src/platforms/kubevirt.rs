//! KubeVirt: a config drive or a NoCloud disk, whichever its `cloudInitConfigDrive` or `cloudInitNoCloud`
//! volume attaches (<https://kubevirt.io/user-guide/user_workloads/startup_scripts/>).

use super::{Platform, PlatformData, ReadContext, nocloud};
use crate::error::Result;
use crate::evidence::{Field, Sign};
use crate::platforms::format::{config_drive, disk};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Begins(Field::SysVendor, "KubeVirt"),
        Sign::Begins(Field::ProductName, "KubeVirt"),
        Sign::Begins(Field::BoardVendor, "KubeVirt"),
        Sign::Begins(Field::BiosVendor, "KubeVirt"),
    ],
    // The other form in use contains the namespace, which the machine does not know.
    provider_id: Some("kubevirt://${hostname}"),
    node_name: Some("${hostname}"),
    ..Platform::named("kubevirt", read)
};

/// The labels of both volumes.
const LABELS: [&str; 2] = [config_drive::LABEL, nocloud::LABEL];

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    if LABELS.iter().all(|label| context.evidence.disks(label).is_empty()) {
        context.notice("the machine has neither a config drive nor a NoCloud disk");
        return Ok(PlatformData::default());
    }
    let disk = disk::only_disk_of(context, &LABELS)?;
    match disk.label(config_drive::LABEL) {
        Some(_) => config_drive::read(&disk),
        None => nocloud::read_disk(context, &disk),
    }
}
