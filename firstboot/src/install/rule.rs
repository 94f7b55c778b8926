//! Which disk: conditions joined by commas, all of which must hold, for exactly one disk.

use std::path::{Path, PathBuf};

use super::content::Content;
use crate::host::disks::Disk;
use crate::initrd::glob;
use contract::suggest;

/// The conditions of an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    /// `id=GLOB`: a name in /dev/disk/by-id.
    Id(String),
    Serial(String),
    Wwn(String),
    Model(String),
    /// `path=/dev/…`
    Path(PathBuf),
    Bus(&'static str),
    /// `size>=100G`
    AtLeast(u64),
    /// `size<=2T`
    AtMost(u64),
    Smallest,
    Largest,
}

/// The buses that a rule can name.
pub const BUSES: &[&str] = &["nvme", "scsi", "ata", "virtio", "usb"];

/// The words of conditions.
const WORDS: &[&str] = &["id", "serial", "wwn", "model", "path", "bus", "size", "smallest", "largest"];

/// Why a disk with data is left out that no rule names.
pub const HOLDS_DATA: &str = "it holds data";

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

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let conditions = text.split(',').map(|word| condition(word.trim())).collect::<Result<Vec<_>, _>>()?;
        if conditions.contains(&Condition::Smallest) && conditions.contains(&Condition::Largest) {
            return Err("smallest and largest exclude each other".to_owned());
        }
        Ok(Self(conditions))
    }

    /// Whether it names a disk, so that a removable one is meant.
    fn names_one(&self) -> bool {
        let names = |condition: &Condition| {
            use Condition::{Id, Path, Serial, Wwn};
            matches!(condition, Id(_) | Serial(_) | Wwn(_) | Path(_))
        };
        self.0.iter().any(names)
    }

    /// Whether it has one condition.
    pub fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// The file that it names as the disk: only a path that leads to a file does.
    pub fn path(&self) -> Option<&Path> {
        self.0.iter().find_map(|condition| match condition {
            Condition::Path(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Why a disk does not meet a condition; none if it meets all.
    fn misses(&self, disk: &Disk) -> Option<String> {
        self.0.iter().find_map(|condition| condition.misses(disk))
    }
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
    let text = || match value {
        "" => Err(format!("{name} wants a value: {name}=…")),
        value => Ok(value.to_owned()),
    };
    match name {
        "id" => text().map(Condition::Id),
        "serial" => text().map(Condition::Serial),
        "wwn" => text().map(Condition::Wwn),
        "model" => text().map(Condition::Model),
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
            Err(format!("there is no condition {:?}{meant}", crate::text::one_line(other)))
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim_end_matches('B'));
    let bytes = unit.and_then(|(_, bytes)| number.parse::<u64>().ok()?.checked_mul(*bytes));
    bytes.ok_or_else(|| "a size is a number with K, M, G, T, Ki, Mi, Gi or Ti behind it".to_owned())
}

impl Condition {
    fn misses(&self, disk: &Disk) -> Option<String> {
        let any = |names: &[String], glob: &str| names.iter().any(|name| glob::matches(glob, name));
        let (holds, why) = match self {
            Self::Id(glob) => (any(&disk.ids(), glob), format!("none of its names is {glob}")),
            Self::Serial(glob) => (any(&disk.serials, glob), format!("its serial number is not {glob}")),
            Self::Wwn(glob) => (any(&disk.wwns, glob), format!("its WWN is not {glob}")),
            Self::Model(glob) => (glob::matches(glob, &disk.model), format!("its model is not {glob}")),
            Self::Path(path) => (disk.is_at(path), format!("it is not {}", path.display())),
            Self::Bus(bus) => (disk.bus == *bus, format!("its bus is not {bus}")),
            Self::AtLeast(size) => (disk.size >= *size, format!("it is smaller than {}", shown(*size))),
            Self::AtMost(size) => (disk.size <= *size, format!("it is larger than {}", shown(*size))),
            Self::Smallest | Self::Largest => return None,
        };
        (!holds).then_some(why)
    }
}

/// A size as vendors write it: `100.0 GB`.
pub fn shown(bytes: u64) -> String {
    let (unit, size) = match bytes {
        0..1_000_000 => return format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => ("MB", 1e6),
        1_000_000_000..1_000_000_000_000 => ("GB", 1e9),
        _ => ("TB", 1e12),
    };
    format!("{:.1} {unit}", bytes as f64 / size)
}

/// A disk, and what is on it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The disk.
    pub disk: Disk,
    /// What is on it.
    pub content: Content,
    /// Whether it is a file that stands for a disk, to try an installation.
    pub is_file: bool,
}

impl Candidate {
    /// One line about it, as rules see it.
    pub fn line(&self) -> String {
        let Disk { path, size, bus, model, serials, wwns, sector, .. } = &self.disk;
        let mut line = format!("{}: {}, {bus}", path.display(), shown(*size));
        if *sector != 512 {
            line += &format!(", sectors of {sector} bytes");
        }
        for (name, value) in [("model", Some(model)), ("serial", serials.first()), ("wwn", wwns.first())] {
            line.extend(value.filter(|value| !value.is_empty()).map(|value| format!(", {name} {value}")));
        }
        line.extend(self.disk.ids().first().map(|id| format!(", id {id}")));
        format!("{line}, {}", self.content)
    }
}

/// The one disk that a rule leaves.
///
/// # Errors
/// Each disk with why it was left out, in their order; none where it was left over.
pub fn choose<'a>(
    disks: &'a [Candidate],
    rule: Option<&Rule>,
    may_overwrite: bool,
) -> Result<&'a Candidate, Vec<Option<String>>> {
    let mut out: Vec<Option<String>> =
        disks.iter().map(|candidate| left_out(candidate, rule, may_overwrite)).collect();
    let sizes = |out: &[Option<String>]| {
        let left = disks.iter().zip(out).filter(|(_, why)| why.is_none());
        left.map(|(candidate, _)| candidate.disk.size).collect::<Vec<_>>()
    };
    for condition in rule.iter().flat_map(|rule| &rule.0) {
        let (wanted, why) = match condition {
            Condition::Smallest => (sizes(&out).into_iter().min(), "another one is smaller"),
            Condition::Largest => (sizes(&out).into_iter().max(), "another one is larger"),
            _ => continue,
        };
        for (candidate, out) in disks.iter().zip(&mut out) {
            if out.is_none() && Some(candidate.disk.size) != wanted {
                *out = Some(why.to_owned());
            }
        }
    }
    let mut left = disks.iter().zip(&out).filter(|(_, why)| why.is_none()).map(|(candidate, _)| candidate);
    match (left.next(), left.next()) {
        (Some(chosen), None) => Ok(chosen),
        _ => Err(out),
    }
}

/// Why a disk is none to install on; none if it may be.
fn left_out(candidate: &Candidate, rule: Option<&Rule>, may_overwrite: bool) -> Option<String> {
    let Candidate { disk, content, .. } = candidate;
    if let Some(why) = disk.unusable.clone().or_else(|| rule.and_then(|rule| rule.misses(disk))) {
        return Some(why);
    }
    if (disk.is_removable || disk.bus == "usb") && !rule.is_some_and(Rule::names_one) {
        return Some("it is removable, and no id, serial, wwn or path names it".to_owned());
    }
    match content {
        Content::Unreadable(why) => Some(format!("it cannot be read: {why}")),
        Content::Data(_) if rule.is_none() && !may_overwrite => Some(HOLDS_DATA.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
