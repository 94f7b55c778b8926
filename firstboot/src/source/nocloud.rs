//! A disk or disc with the label `cidata` (cloud-init's NoCloud: <https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>)
//! with `user-data` and, usually, `meta-data` on it.

use serde_json::Value;

use super::drive::{the_disk, user_data};
use super::{Document, Reader, Reading, Source};
use crate::error::{Class, Failure, Result};
use crate::facts::Facts;
use crate::platform::Sign;
use crate::platform::disks::Disk;

/// The label of a NoCloud disk.
pub(super) const LABEL: &str = "cidata";

pub(super) const SOURCE: Source = Source { signs: &[Sign::Label(LABEL)], node_name: Some("${hostname}"), ..Source::named("nocloud", read) };

fn read(reader: &mut Reader) -> Result<Reading> {
    let disk = the_disk(reader, LABEL)?;
    let reading = read_disk(&disk)?;
    if reading.user_data.is_none() {
        reader.remark(format!("{} has the label {}, but no user-data on it", disk.device.display(), disk.label));
    }
    Ok(reading)
}

/// Reads a NoCloud disk, whichever platform attached it.
pub(super) fn read_disk(disk: &Disk) -> Result<Reading> {
    let device = disk.device.display().to_string();
    disk.with_files(|folder| {
        let mut reading = Reading::default();
        if let Some(bytes) = Document::read_file(&folder.join("meta-data"))? {
            facts(bytes.bytes(), &format!("{device}: meta-data"), &mut reading.facts)?;
        }
        reading.user_data = user_data(folder, "user-data", &device)?;
        Ok(reading)
    })
}

/// meta-data is YAML; beside cloud-init's own fields it may have those that a cloud would know.
fn facts(bytes: &[u8], source: &str, facts: &mut Facts) -> Result<()> {
    let wrong = |why: String| Failure::new(Class::Source, format!("{source}: {why}"));
    let value: Value = serde_yaml_ng::from_slice(bytes).map_err(|error| wrong(format!("no YAML: {}", place(&error))))?;
    let Value::Object(fields) = value else {
        return if value.is_null() { Ok(()) } else { Err(wrong("no mapping".to_owned())) };
    };
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    facts.instance_id.say_some(text("instance-id"), source);
    facts.hostname.say_some(text("local-hostname").or_else(|| text("hostname")), source);
    facts.region.say_some(text("region"), source);
    facts.zone.say_some(text("zone").or_else(|| text("availability-zone")), source);
    facts.instance_type.say_some(text("instance-type"), source);
    facts.provider_id.say_some(text("provider-id"), source);
    Ok(())
}

/// Where an error is; what is there is not repeated.
fn place(error: &serde_yaml_ng::Error) -> String {
    error.location().map_or_else(|| "unreadable".to_owned(), |at| format!("line {}, column {}", at.line(), at.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_data_becomes_facts() {
        let mut found = Facts::default();
        facts(b"instance-id: 42\nlocal-hostname: n1\nregion: r\nprovider-id: x://42\nzone: ''\n", "here", &mut found).unwrap();
        let all = ["instance-id", "hostname", "region", "zone", "provider-id"].map(|name| found.text(name));
        assert_eq!(all, [Some("42"), Some("n1"), Some("r"), None, Some("x://42")]);
        facts(b"", "here", &mut found).unwrap();
        for wrong in [&b"- a"[..], b"a: [", b"\xff", b"text"] {
            let failure = facts(wrong, "here", &mut Facts::default()).unwrap_err();
            assert!(failure.class == Class::Source && failure.message.starts_with("here: no "), "{failure}");
        }
    }
}
