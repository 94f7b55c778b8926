//! Plain QEMU: its firmware configuration device, `-fw_cfg name=opt/org.kiln.firstboot/config,file=join.yaml`
//! (<https://www.qemu.org/docs/master/specs/fw_cfg.html>; in sysfs by the kernel's qemu_fw_cfg).

use super::{Platform, PlatformData, ReadContext};
use crate::document::UserData;
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength, fw_cfg};

/// The item's name. QEMU wants names of users below `opt/`, with a reversed domain.
pub const ITEM: &str = "opt/org.kiln.firstboot/config";

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Firmware, item), Sign::Other(Strength::Channel, device)],
    ..Platform::named("qemu", read)
};

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let uuid = context.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    data.facts.instance_id.add_some(uuid, "smbios product_uuid");
    let root = context.root().clone();
    let Some(document) = fw_cfg::item(&root, ITEM, &mut context.notices)? else { return Ok(data) };
    data.user_data = UserData::new(document, ITEM);
    if data.user_data.is_none() {
        context.notice(format!("the fw_cfg item {ITEM} is empty and is ignored"));
    }
    Ok(data)
}

/// The hypervisor's own word, which a label on some disk must not outweigh.
fn item(evidence: &Evidence) -> Option<String> {
    fw_cfg::has_item(evidence.root(), ITEM).then(|| format!("fw_cfg has the item {ITEM}"))
}

fn device(evidence: &Evidence) -> Option<String> {
    fw_cfg::is_there(evidence.root()).then(|| "QEMU's firmware configuration device is there".to_owned())
}
