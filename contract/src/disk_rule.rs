//! The rule by which an installation chooses a disk: the operator writes it, `kiln` checks it, and the agent
//! goes by it.

use std::path::PathBuf;

use crate::{suggest, text};

/// What must hold for the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `id=GLOB`: a name in /dev/disk/by-id.
    Id(String),
    /// `serial=GLOB`
    Serial(String),
    /// `wwn=GLOB`
    Wwn(String),
    /// `model=GLOB`
    Model(String),
    /// `path=/dev/…`
    Path(PathBuf),
    /// `bus=nvme`
    Bus(&'static str),
    /// `size>=100G`
    AtLeast(u64),
    /// `size<=2T`
    AtMost(u64),
    /// The smallest of those for which the others hold.
    Smallest,
    /// The largest of them.
    Largest,
}

/// The buses that a rule can name.
pub const BUSES: &[&str] = &["nvme", "scsi", "ata", "virtio", "usb"];

/// The words of conditions.
const WORDS: &[&str] = &["id", "serial", "wwn", "model", "path", "bus", "size", "smallest", "largest"];

/// Units of sizes: those of vendors of disks, and powers of 1024.
const UNITS: &[(&str, u64)] = &[
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

/// Reads the conditions of a rule, which have commas between them.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(rule: &str) -> Result<Vec<Condition>, String> {
    let conditions = rule.split(',').map(|word| condition(word.trim())).collect::<Result<Vec<_>, _>>()?;
    if conditions.contains(&Condition::Smallest) && conditions.contains(&Condition::Largest) {
        return Err("smallest and largest exclude each other".to_owned());
    }
    Ok(conditions)
}

fn condition(word: &str) -> Result<Condition, String> {
    let compared =
        |sign: &str| word.strip_prefix("size").and_then(|rest| rest.trim_start().strip_prefix(sign));
    if let Some(limit) = compared(">=") {
        return size(limit).map(Condition::AtLeast);
    }
    if let Some(limit) = compared("<=") {
        return size(limit).map(Condition::AtMost);
    }
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let given = || match value {
        "" => Err(format!("{name} wants a value: {name}=…")),
        value => Ok(value.to_owned()),
    };
    match name {
        "id" => given().map(Condition::Id),
        "serial" => given().map(Condition::Serial),
        "wwn" => given().map(Condition::Wwn),
        "model" => given().map(Condition::Model),
        "path" if value.starts_with('/') => Ok(Condition::Path(value.into())),
        "path" => Err("path wants an absolute path, such as path=/dev/sda".to_owned()),
        "bus" => match BUSES.iter().find(|bus| **bus == value) {
            Some(bus) => Ok(Condition::Bus(bus)),
            None => Err(format!("bus is one of {}", BUSES.join(", "))),
        },
        "size" => Err("size wants a comparison, such as size>=100G".to_owned()),
        "smallest" if word == name => Ok(Condition::Smallest),
        "largest" if word == name => Ok(Condition::Largest),
        "" => Err("a condition is missing".to_owned()),
        other => {
            let meant = suggest::did_you_mean(other, WORDS.iter().copied());
            Err(format!("there is no condition {:?}{meant}", text::visible(other, &[])))
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_end_matches('B'));
    let bytes = unit.and_then(|(_, bytes)| times(number, *bytes));
    bytes.ok_or_else(|| {
        "a size is a number such as 500 or 1.92 with K, M, G, T, Ki, Mi, Gi or Ti behind it".to_owned()
    })
}

/// Whole bytes of a number such as `1.92` times `unit`; what is less than a byte is left out.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // More digits than these say nothing of a disk.
    let is_number =
        |digits: &str| (1..=18).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()?.checked_mul(unit.into())? / scale;
    let bytes = whole.parse::<u128>().ok()?.checked_mul(unit.into())? + part;
    u64::try_from(bytes).ok()
}
