//! `ds=nocloud;s=URL;h=HOSTNAME;i=INSTANCE-ID`: a word of the kernel command line, or of the firmware's
//! serial number, that says where a seed is
//! (<https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>).
//!
//! The URL must be https. Anyone on the path can change plain http: then `firstboot.config-sha256=` must pin
//! the user data, and meta-data, which nothing pins, is not read. In the URL, `__dmi.KEY__` stands for a
//! field of the firmware, by dmidecode's name.

use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::seed::Seed;
use crate::evidence::smbios;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::locations::{url, variables};
use crate::platforms::{PlatformData, ReadContext};

/// dmidecode's keywords, with the kernel's names of the same fields.
const KEYS: &[(&str, &str)] = &[
    ("baseboard-asset-tag", "board_asset_tag"),
    ("baseboard-manufacturer", "board_vendor"),
    ("baseboard-product-name", "board_name"),
    ("baseboard-serial-number", "board_serial"),
    ("baseboard-version", "board_version"),
    ("bios-release-date", "bios_date"),
    ("bios-vendor", "bios_vendor"),
    ("bios-version", "bios_version"),
    ("chassis-asset-tag", "chassis_asset_tag"),
    ("chassis-manufacturer", "chassis_vendor"),
    ("chassis-serial-number", "chassis_serial"),
    ("chassis-version", "chassis_version"),
    ("system-manufacturer", "sys_vendor"),
    ("system-product-name", "product_name"),
    ("system-serial-number", "product_serial"),
    ("system-uuid", "product_uuid"),
    ("system-version", "product_version"),
];

/// Adds the facts in the word itself.
pub(super) fn facts(seed: &Seed, source: &str, facts: &mut Facts) {
    facts.instance_id.add_some(seed.instance_id.clone(), source);
    facts.hostname.add_some(seed.hostname.clone(), source);
}

/// Puts the values in the word itself over those of the seed's meta-data, as cloud-init does.
pub(super) fn over(seed: &Seed, data: InstanceData) -> InstanceData {
    let given = [("instance-id", &seed.instance_id), ("local-hostname", &seed.hostname)];
    given.into_iter().fold(data, |data, (name, value)| match value {
        Some(value) => data.with(name, value.as_str()),
        None => data,
    })
}

/// The URL of the seed at `from`, which `named_by` names, on this machine.
pub(super) fn address(root: &Root, from: &str, named_by: &str) -> Result<String> {
    variables::expand(from, "__dmi.", "__", &|key| field(root, key))
        .map_err(|failure| failure.doing(named_by))
}

/// Reads the seed at `from`, which `named_by` names.
pub(super) fn read(
    context: &mut ReadContext,
    from: &str,
    named_by: &str,
    data: &mut PlatformData,
) -> Result<()> {
    let pinned = url::pinned_digest(&context.evidence.command_line)?;
    url::check_scheme(from, pinned.is_some(), named_by, url::DIGEST, "the file")?;
    let base = address(context.root(), from, named_by)?;
    let base = if base.ends_with('/') || base.contains('?') { base } else { format!("{base}/") };
    if base.to_ascii_lowercase().starts_with("https:") {
        let address = format!("{base}meta-data");
        let shown = crate::net::url::shown(&address);
        let document = (context.fetch)(&address, context.deadline)
            .map_err(|failure| failure.doing(format!("getting {shown}")))?;
        let document = super::facts(document.bytes(), &shown, &mut data.facts)?;
        data.instance_data = InstanceData::new(super::DATA_SOURCE, document);
    } else {
        context.notice("meta-data is not read over plain http: anyone on the way can change it");
    }
    data.user_data = url::get(&format!("{base}user-data"), pinned.as_deref(), &|url| {
        (context.fetch)(url, context.deadline)
    })?;
    Ok(())
}

fn field(root: &Root, key: &str) -> Result<String> {
    let wrong = |why: &str| {
        Failure::new(
            ErrorKind::Source,
            format!("__dmi.{}__: {why}", key.chars().take(40).collect::<String>()),
        )
    };
    let (_, name) = KEYS
        .iter()
        .find(|(each, _)| *each == key)
        .ok_or_else(|| wrong("dmidecode knows no such keyword"))?;
    smbios::text(root, name).ok_or_else(|| wrong("the firmware has no such field"))
}
