//! The rule by which an installation chooses a disk. The agent reads it (docs/install.md); a mistake in it
//! shows here, before a machine has booted.

use contract::suggest;

use crate::error::{Error, ErrorKind, Result};

/// The words of conditions.
const WORDS: &[&str] = &["id", "serial", "wwn", "model", "path", "bus", "size", "smallest", "largest"];

const BUSES: &[&str] = &["nvme", "scsi", "ata", "virtio", "usb"];

const UNITS: &[&str] = &["", "K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];

/// Checks a rule that the agent reads and that can stand in a script: one word, on which neither a boot
/// loader nor the kernel acts. `named` is where it is written, and of which kind a mistake is.
///
/// # Errors
/// Of that kind.
pub fn check(rule: &str, named: (&str, ErrorKind)) -> Result<()> {
    let (place, kind) = named;
    let wrong = |why: &str| Error::new(kind, format!("{place} {rule}: {why}"));
    let is_word = rule.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'$\\#".contains(&byte));
    if !is_word {
        return Err(
            wrong("it is no word of plain letters and marks").help("write ? for a blank in a pattern")
        );
    }
    for each in rule.split(',') {
        condition(each).map_err(|why| {
            wrong(&why)
                .help("write conditions with commas between them, such as bus=nvme,size>=100G,smallest")
        })?;
    }
    let has = |word: &str| rule.split(',').any(|each| each == word);
    if has("smallest") && has("largest") {
        return Err(wrong("smallest and largest exclude each other").help("leave one out"));
    }
    Ok(())
}

fn condition(word: &str) -> Result<(), String> {
    if let Some(limit) = word.strip_prefix("size>=").or_else(|| word.strip_prefix("size<=")) {
        return size(limit).ok_or_else(|| {
            format!("{word}: a size is a number with K, M, G, T, Ki, Mi, Gi or Ti behind it")
        });
    }
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    match name {
        "" => Err("a condition is missing".to_owned()),
        "smallest" | "largest" if word == name => Ok(()),
        "size" => Err("size wants a comparison, such as size>=100G".to_owned()),
        "path" if !value.starts_with('/') => {
            Err("path wants an absolute path, such as path=/dev/sda".to_owned())
        }
        "bus" if !BUSES.contains(&value) => Err(format!("bus is one of {}", BUSES.join(", "))),
        "id" | "serial" | "wwn" | "model" if value.is_empty() => {
            Err(format!("{name} wants a value: {name}=…"))
        }
        "path" | "bus" | "id" | "serial" | "wwn" | "model" => Ok(()),
        other => {
            let meant = suggest::did_you_mean(other, WORDS.iter().copied());
            Err(format!("there is no condition {other:?}{meant}"))
        }
    }
}

fn size(text: &str) -> Option<()> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let is_unit = UNITS.contains(&unit.trim_end_matches('B'));
    number.parse::<u64>().ok().filter(|_| is_unit).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (&str, ErrorKind) = ("--install", ErrorKind::Usage);

    #[test]
    fn rules_that_the_agent_reads_are_taken_and_others_named() {
        for rule in [
            "size>=100G,smallest",
            "id=nvme-*",
            "serial=S?1",
            "wwn=0x5000*",
            "model=Samsung?SSD*",
            "path=/dev/vda",
            "bus=virtio,size<=2TiB,largest",
        ] {
            check(rule, PLACE).unwrap();
        }
        for (rule, why) in [
            ("", "a condition is missing"),
            ("smallest,", "a condition is missing"),
            ("smalest", "smallest"),
            ("smallest=1", "no condition"),
            ("smallest,largest", "exclude each other"),
            ("||", "no condition"),
            ("&&", "no condition"),
            ("size=100G", "a comparison"),
            ("size>=much", "a size is a number"),
            ("size>=10X", "a size is a number"),
            ("bus=sata", "bus is one of"),
            ("path=vda", "absolute path"),
            ("serial=", "wants a value"),
            ("disk=vda", "no condition \"disk\""),
            ("model=a b", "plain letters"),
            ("id=${x}", "plain letters"),
            ("id=a\nb", "plain letters"),
            ("id=\"x\"", "plain letters"),
            ("größte", "plain letters"),
        ] {
            let error = check(rule, PLACE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(why), "{rule}: {error}");
        }
    }
}
