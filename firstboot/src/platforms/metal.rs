//! Machines without signs of a platform, booted with a config, usually over the network:
//! `firstboot.config=URL` or `firstboot.config-inline=`. Facts come from the firmware, the config from those
//! locations.

use super::{Platform, PlatformData, ReadContext};
use crate::error::Result;
use crate::evidence::{Evidence, Field, Sign, Strength};
use crate::host::identity;
use crate::locations::{inline, url};

pub(super) const PLATFORM: Platform = Platform {
    signs: &[Sign::Other(Strength::Argument, booted_with_config)],
    ..Platform::named("metal", read)
};

/// Placeholders that vendors leave in fields, in lower case.
const PLACEHOLDERS: &[&str] = &[
    "to be filled by o.e.m.",
    "default string",
    "not specified",
    "not available",
    "none",
    "o.e.m.",
    "system product name",
    "system manufacturer",
    "system serial number",
    "unknown",
    "0123456789",
    "empty",
];

fn booted_with_config(evidence: &Evidence) -> Option<String> {
    let names = [url::URL, inline::ARGUMENT];
    let name = names.iter().find(|name| evidence.command_line.value(name).is_some())?;
    Some(format!("nothing of a platform, and the kernel argument {name}"))
}

fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    let field = |at: Field| {
        context
            .evidence
            .field(at)
            .filter(|text| !PLACEHOLDERS.contains(&text.to_ascii_lowercase().as_str()))
    };
    let uuid = field(Field::ProductUuid)
        .filter(|uuid| identity::doubt(uuid).is_none())
        .map(str::to_ascii_lowercase);
    let facts = &mut data.facts;
    facts.instance_id.add_some(uuid, "smbios product_uuid");
    facts
        .instance_type
        .add_some(field(Field::ProductName).map(str::to_owned), "smbios product_name");
    facts
        .fact("serial")
        .add_some(field(Field::ProductSerial).map(str::to_owned), "smbios product_serial");
    facts
        .fact("vendor")
        .add_some(field(Field::SysVendor).map(str::to_owned), "smbios sys_vendor");
    Ok(data)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::document::Document;
    use crate::host::files;
    use crate::host::root::Root;
    use crate::metadata::{Metadata, gather};
    use crate::trust_policy::TrustPolicy;

    fn gathered(contents: &[(&str, &str)]) -> Result<Metadata> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        contents
            .iter()
            .for_each(|(path, text)| files::write(&root.path(path), text.as_bytes(), 0o444).unwrap());
        gather(&root, &TrustPolicy::default(), &|url, _| {
            Ok(Document::new(Zeroizing::new(url.as_bytes().to_vec())).unwrap())
        })
    }

    const DELL: [(&str, &str); 4] = [
        ("/sys/class/dmi/id/sys_vendor", "Dell Inc.\n"),
        ("/sys/class/dmi/id/product_name", "PowerEdge R650\n"),
        ("/sys/class/dmi/id/product_serial", "ABC1234\n"),
        ("/sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8052-B4C04F4E3232\n"),
    ];

    #[test]
    fn a_machine_that_is_told_its_config_is_metal() {
        let url = ("/proc/cmdline", "quiet firstboot.config=https://boot/${serial}/${uuid}");
        let metadata = gathered(&[&DELL[..], &[url]].concat()).unwrap();
        let found = ["platform", "instance-id", "instance-type", "serial", "vendor"]
            .map(|name| metadata.facts.text(name));
        let uuid = "4c4c4544-0042-3510-8052-b4c04f4e3232";
        assert_eq!(
            found,
            [Some("metal"), Some(uuid), Some("PowerEdge R650"), Some("ABC1234"), Some("Dell Inc.")]
        );
        let (place, user_data) = metadata.user_data.unwrap();
        assert_eq!(
            (place, user_data.document.bytes()),
            ("url", format!("https://boot/ABC1234/{uuid}").as_bytes())
        );
        assert!(gathered(&DELL).unwrap().platform.is_none());
    }

    #[test]
    fn an_inline_config_is_decoded_and_placeholders_are_no_facts() {
        let metadata = gathered(&[
            ("/proc/cmdline", "firstboot.config-inline=I2Nsb3VkLWNvbmZpZwo="),
            ("/sys/class/dmi/id/product_name", "To Be Filled By O.E.M.\n"),
            ("/sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009\n"),
        ])
        .unwrap();
        let (place, user_data) = metadata.user_data.unwrap();
        assert_eq!((place, user_data.document.bytes()), ("inline", &b"#cloud-config\n"[..]));
        assert_eq!(
            ["platform", "instance-id", "instance-type"].map(|name| metadata.facts.text(name)),
            [Some("metal"), None, None]
        );
        let failure = gathered(&[("/proc/cmdline", "firstboot.config-inline=canary!")]).unwrap_err();
        assert!(!failure.message.contains("canary"), "{failure}");
    }
}
