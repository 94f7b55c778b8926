//! KubeVirt: a config drive or a NoCloud disk, whichever its `cloudInitConfigDrive` or `cloudInitNoCloud` volume attaches
//! (<https://kubevirt.io/user-guide/user_workloads/startup_scripts/>).

use super::{Platform, PlatformData, ReadContext, drive, nocloud};
use crate::error::Result;
use crate::evidence::{Field, Sign};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[
        Sign::Begins(Field::SysVendor, "KubeVirt"),
        Sign::Begins(Field::ProductName, "KubeVirt"),
        Sign::Begins(Field::BoardVendor, "KubeVirt"),
        Sign::Begins(Field::BiosVendor, "KubeVirt"),
    ],
    // The other form in use has the namespace too, which the machine does not know.
    provider_id: Some("kubevirt://${hostname}"),
    node_name: Some("${hostname}"),
    ..Platform::named("kubevirt", read)
};

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    if !context.evidence.disks(drive::LABEL).is_empty() {
        return drive::read_config_drive(&drive::the_disk(context, drive::LABEL)?);
    }
    if !context.evidence.disks(nocloud::LABEL).is_empty() {
        let disk = drive::the_disk(context, nocloud::LABEL)?;
        return nocloud::read_disk(context, &disk);
    }
    context.notice("the machine has neither a config drive nor a NoCloud disk");
    Ok(PlatformData::default())
}
