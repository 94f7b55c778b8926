//! Proxmox VE. Its machines show nothing but plain QEMU, so NoCloud serves them, by the disk `cidata` that
//! Proxmox makes. A machine with this platform pinned gets the same, and a provider-id: `proxmox://UUID`, as
//! Cluster API's provider writes it. Other cloud controllers write `proxmox://CLUSTER/VMID`, which a template
//! of the image's policy can make of the facts `region` and `vmid`.

use super::{Guarded, Platform, PlatformData, ReadContext, nocloud};
use crate::error::Result;
use crate::evidence::Field;

pub(super) const PLATFORM: Platform = Platform {
    provider_id: Some("proxmox://${uuid}"),
    node_name: Some("${hostname}"),
    guarded: Guarded::Servers(nocloud::servers),
    ..Platform::named("proxmox", read)
};

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = nocloud::read(context)?;
    let uuid = context.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    data.facts.fact("uuid").add_some(uuid, "smbios product_uuid");
    let serial = context.evidence.field(Field::ProductSerial).and_then(vmid);
    data.facts.fact("vmid").add_some(serial, "smbios product_serial");
    Ok(data)
}

/// Proxmox has no field for the VM's number. A serial number that holds `i=VMID` among parts separated by
/// semicolons is a usual way to pass it on.
fn vmid(serial: &str) -> Option<String> {
    let id = serial.split(';').find_map(|part| part.trim().strip_prefix("i="))?;
    (!id.is_empty() && id.len() <= 9 && id.bytes().all(|byte| byte.is_ascii_digit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use crate::host::root::Root;
    use crate::metadata::gather;
    use crate::trust_policy::TrustPolicy;

    #[test]
    fn the_number_of_a_machine_is_read_from_its_serial() {
        for (serial, expected) in [
            ("h=n1;i=101", Some("101")),
            ("ds=nocloud;i=7", Some("7")),
            ("i=x", None),
            ("i=", None),
            ("xi=1", None),
            ("101", None),
        ] {
            assert_eq!(vmid(serial).as_deref(), expected, "{serial}");
        }
    }

    #[test]
    fn a_pin_makes_it_the_platform() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (path, text) in [
            ("/sys/class/dmi/id/product_uuid", "AAAAAAAA-1111-2222-3333-444444444444\n"),
            ("/sys/class/dmi/id/product_serial", "i=101;h=n1\n"),
            ("/var/lib/cloud/seed/nocloud/user-data", "#cloud-config\n"),
        ] {
            files::write(&root.path(path), text.as_bytes(), 0o444).unwrap();
        }
        let facts = gather(
            &root,
            &TrustPolicy { platform: Some("proxmox".to_owned()), ..TrustPolicy::default() },
            &|_, _| panic!("no network"),
        )
        .unwrap()
        .facts;
        let found = ["platform", "uuid", "vmid"].map(|name| facts.text(name));
        assert_eq!(found, [Some("proxmox"), Some("aaaaaaaa-1111-2222-3333-444444444444"), Some("101")]);
        assert_eq!(
            gather(&root, &TrustPolicy::default(), &|_, _| panic!("no network"))
                .unwrap()
                .facts
                .text("platform"),
            Some("nocloud")
        );
    }
}
