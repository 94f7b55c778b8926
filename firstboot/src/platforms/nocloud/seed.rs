//! `ds=nocloud;s=URL;h=HOSTNAME;i=INSTANCE-ID`: a word of the kernel command line, or of the firmware's serial number, that says where a
//! seed is (<https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>).
//!
//! The URL must be https. Over plain http anyone on the way can change what comes: then `firstboot.config-sha256=` must pin the user-data,
//! and meta-data, which nothing pins, is not read. In the URL, `__dmi.KEY__` stands for a field of the firmware, by dmidecode's name.

use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::smbios;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::platforms::{Reader, Reading, url, variables};

/// Longest part that is taken.
const LONGEST: usize = 2048;

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

/// What such a word says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seed {
    /// `s=`: a folder with `meta-data` and `user-data` in it.
    pub url: Option<String>,
    /// `h=`
    pub hostname: Option<String>,
    /// `i=`
    pub instance_id: Option<String>,
}

/// The seed that the firmware's serial number names among its words.
pub fn in_serial(serial: &str) -> Option<Seed> {
    serial.split_whitespace().find_map(parse)
}

/// Reads one word; none when it is no such word. Keys that are not known are left out, of several the first counts.
pub fn parse(word: &str) -> Option<Seed> {
    let mut parts = word.split(';');
    if !matches!(parts.next()?, "ds=nocloud" | "ds=nocloud-net") {
        return None;
    }
    let mut seed = Seed::default();
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let place = match key {
            "s" | "seedfrom" => &mut seed.url,
            "h" | "local-hostname" => &mut seed.hostname,
            "i" | "instance-id" => &mut seed.instance_id,
            _ => continue,
        };
        let value = Some(value)
            .filter(|value| !value.is_empty() && value.len() <= LONGEST && !value.contains(char::is_control));
        *place = place.take().or(value.map(str::to_owned));
    }
    Some(seed)
}

/// Takes the facts that the word itself has.
pub(super) fn facts(seed: &Seed, source: &str, facts: &mut Facts) {
    facts.instance_id.say_some(seed.instance_id.clone(), source);
    facts.hostname.say_some(seed.hostname.clone(), source);
}

/// Reads the seed at `from`, which `named_by` names.
pub(super) fn read(reader: &mut Reader, from: &str, named_by: &str, reading: &mut Reading) -> Result<()> {
    let pinned = url::pin(&reader.evidence.command_line)?;
    url::check_scheme(from, pinned.is_some(), named_by)?;
    let base = variables::expand(from, "__dmi.", "__", &|key| field(reader.root(), key))
        .map_err(|failure| failure.doing(named_by))?;
    let base = if base.ends_with('/') || base.contains('?') { base } else { format!("{base}/") };
    if base.to_ascii_lowercase().starts_with("https:") {
        let address = format!("{base}meta-data");
        let shown = url::shown(&address);
        let document =
            (reader.fetch)(&address).map_err(|failure| failure.doing(format!("getting {shown}")))?;
        super::facts(document.bytes(), &shown, &mut reading.facts)?;
    } else {
        reader.remark("meta-data is not read over plain http: anyone on the way can change it");
    }
    reading.user_data = url::get(&format!("{base}user-data"), pinned.as_deref(), reader.fetch)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let seed = |url: &str, hostname: &str, id: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Some(Seed { url: some(url), hostname: some(hostname), instance_id: some(id) })
        };
        for (word, expected) in [
            ("ds=nocloud", seed("", "", "")),
            ("ds=nocloud-net;s=https://h/a/", seed("https://h/a/", "", "")),
            ("ds=nocloud;s=https://h/?a=b;h=n1;i=7;x=y;;z", seed("https://h/?a=b", "n1", "7")),
            ("ds=nocloud;seedfrom=https://h;local-hostname=n1;instance-id=7", seed("https://h", "n1", "7")),
            ("ds=nocloud;h=;h=a;h=b", seed("", "a", "")),
            ("ds=nocloud;i=a\u{1b}b", seed("", "", "")),
            ("ds=nocloudy", None),
            ("xds=nocloud", None),
            ("ds=nocloud,s=x", None),
            ("ds=ec2;s=nocloud", None),
            ("", None),
        ] {
            assert_eq!(parse(word), expected, "{word}");
        }
    }
}
