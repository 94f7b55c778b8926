//! KubeVirt: a config drive or a NoCloud disk, whichever its `cloudInitConfigDrive` or `cloudInitNoCloud` volume attaches
//! (<https://kubevirt.io/user-guide/user_workloads/startup_scripts/>).

use super::{Reader, Reading, Source, drive, nocloud};
use crate::error::Result;
use crate::evidence::{Field, Sign};

pub(super) const SOURCE: Source = Source {
    signs: &[
        Sign::Begins(Field::SysVendor, "KubeVirt"),
        Sign::Begins(Field::ProductName, "KubeVirt"),
        Sign::Begins(Field::BoardVendor, "KubeVirt"),
        Sign::Begins(Field::BiosVendor, "KubeVirt"),
    ],
    // The other form in use has the namespace too, which the machine does not know.
    provider_id: Some("kubevirt://${hostname}"),
    node_name: Some("${hostname}"),
    ..Source::named("kubevirt", read)
};

fn read(reader: &mut Reader) -> Result<Reading> {
    if !reader.evidence.disks(drive::LABEL).is_empty() {
        return drive::read_config_drive(&drive::the_disk(reader, drive::LABEL)?);
    }
    if !reader.evidence.disks(nocloud::LABEL).is_empty() {
        let disk = drive::the_disk(reader, nocloud::LABEL)?;
        return nocloud::read_disk(reader, &disk);
    }
    reader.remark("the machine has neither a config drive nor a NoCloud disk");
    Ok(Reading::default())
}
