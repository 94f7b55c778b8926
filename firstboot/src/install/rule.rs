//! Which disk: conditions joined by commas, all of which must hold, for exactly one disk.

use std::path::Path;

use super::content::Content;
use crate::host::disks::Disk;
use crate::initrd::glob;
use crate::text::one_line;
use contract::disk_rule::{self, Condition};

/// The conditions of an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule(Vec<Condition>);

/// Why a disk with data is left out that no rule names.
pub const HOLDS_DATA: &str = "it holds data";

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        disk_rule::parse(text).map(Self).map_err(|why| one_line(&why))
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
        self.0.iter().find_map(|condition| missed(condition, disk))
    }
}

/// Why a disk does not meet a condition; none if it does.
fn missed(condition: &Condition, disk: &Disk) -> Option<String> {
    let any = |names: &[String], glob: &str| names.iter().any(|name| glob::matches(glob, name));
    let (holds, why) = match condition {
        Condition::Id(glob) => (any(&disk.ids(), glob), format!("none of its names is {glob}")),
        Condition::Serial(glob) => (any(&disk.serials, glob), format!("its serial number is not {glob}")),
        Condition::Wwn(glob) => (any(&disk.wwns, glob), format!("its WWN is not {glob}")),
        Condition::Model(glob) => (glob::matches(glob, &disk.model), format!("its model is not {glob}")),
        Condition::Path(path) => (disk.is_at(path), format!("it is not {}", path.display())),
        Condition::Bus(bus) => (disk.bus == *bus, format!("its bus is not {bus}")),
        Condition::AtLeast(size) => (disk.size >= *size, format!("it is smaller than {}", shown(*size))),
        Condition::AtMost(size) => (disk.size <= *size, format!("it is larger than {}", shown(*size))),
        Condition::Smallest | Condition::Largest => return None,
    };
    (!holds).then_some(why)
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
