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

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    if !context.evidence.disks(config_drive::LABEL).is_empty() {
        return config_drive::read(&disk::only_disk(context, config_drive::LABEL)?);
    }
    if !context.evidence.disks(nocloud::LABEL).is_empty() {
        let disk = disk::only_disk(context, nocloud::LABEL)?;
        return nocloud::read_disk(context, &disk);
    }
    context.notice("the machine has neither a config drive nor a NoCloud disk");
    Ok(PlatformData::default())
}
