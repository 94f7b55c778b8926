//! Where this machine runs, by local evidence alone.
//!
//! ```text
//! evidence (SMBIOS, command line, labels, channels of the hypervisor) ─► signs of every source ─► the one platform
//! ```
//!
//! The strongest sign wins: a pin, then the firmware's tables, then a file system's label, then a channel of the hypervisor. Weaker ones are not
//! even looked for. No request leaves a machine that gave no evidence: on foreign hardware, whoever answers on a link-local address
//! could own it (CVE-2024-6174).

pub mod command_line;
pub mod disks;
pub mod evidence;
pub mod labels;
pub mod smbios;

pub use command_line::CommandLine;
pub use evidence::Evidence;
pub use smbios::Field;

use crate::error::{ErrorKind, Failure, Result};
use crate::platforms::{SOURCES, Source};
use contract::suggest;

/// The kernel argument that pins the platform.
pub const PIN: &str = "firstboot.platform";

/// How much a sign proves, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Someone who may say so has said so: the image's policy, the kernel command line.
    Pin,
    /// The firmware's tables.
    Smbios,
    /// The label of a file system.
    Label,
    /// A channel of the hypervisor.
    Channel,
    /// Nothing of the machine: only that whoever booted it told it something.
    Told,
}

impl Strength {
    /// All, the strongest first.
    pub const ALL: [Self; 5] = [Self::Pin, Self::Smbios, Self::Label, Self::Channel, Self::Told];
}

/// Something by which a platform is recognised.
#[derive(Debug, Clone, Copy)]
pub enum Sign {
    /// A word of the kernel command line.
    Word(&'static str),
    /// An SMBIOS field is exactly this.
    Is(Field, &'static str),
    /// An SMBIOS field begins with this.
    Begins(Field, &'static str),
    /// An SMBIOS field contains this, in any case of letters.
    Contains(Field, &'static str),
    /// A file system with this label, in lower or upper case.
    Label(&'static str),
    /// Such a file exists.
    Exists(&'static str),
    /// Something else; says what it saw.
    Other(Strength, fn(&Evidence) -> Option<String>),
}

impl Sign {
    /// How much it proves.
    pub fn strength(&self) -> Strength {
        match self {
            Self::Word(_) => Strength::Pin,
            Self::Is(..) | Self::Begins(..) | Self::Contains(..) => Strength::Smbios,
            Self::Label(_) => Strength::Label,
            Self::Exists(_) => Strength::Channel,
            Self::Other(strength, _) => *strength,
        }
    }

    /// What was seen, if it is there: `smbios sys_vendor is "Hetzner"`.
    pub fn seen(&self, evidence: &Evidence) -> Option<String> {
        let field = |field: Field, does: &dyn Fn(&str) -> bool| {
            let text = evidence.field(field).filter(|text| does(text))?;
            Some(format!("smbios {} is {text:?}", field.name()))
        };
        match *self {
            Self::Word(word) => evidence
                .command_line
                .has(word)
                .then(|| format!("the kernel command line has the word {word}")),
            Self::Is(at, expected) => field(at, &|text| text == expected),
            Self::Begins(at, start) => field(at, &|text| text.starts_with(start)),
            Self::Contains(at, part) => {
                field(at, &|text| text.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
            }
            Self::Label(label) => evidence
                .disks(label)
                .first()
                .map(|disk| format!("{} has the label {}", disk.device.display(), disk.label)),
            Self::Exists(path) => evidence.root().path(path).exists().then(|| format!("{path} exists")),
            Self::Other(_, look) => look(evidence),
        }
    }
}

/// A platform and how it was recognised.
#[derive(Debug, Clone, Copy)]
pub struct Platform {
    /// Its source.
    pub source: &'static Source,
    /// How much the sign proves.
    pub strength: Strength,
}

/// What detection came to.
#[derive(Debug, Default)]
pub struct Detection {
    /// The platform; none when there is no evidence of any.
    pub platform: Option<Platform>,
    /// What was seen of it.
    pub seen: String,
    /// Sources of the same strength that are not believed, with what was seen of them.
    pub others: Vec<(&'static str, String)>,
}

/// Recognises the platform. `pinned` is the name that the image's policy pins; the kernel argument comes after it.
pub fn detect(evidence: &Evidence, pinned: Option<&str>) -> Result<Detection> {
    let by_argument =
        evidence.command_line.value(PIN).map(|name| (name, format!("the kernel argument {PIN}")));
    let by_policy = pinned.map(|name| (name, "the image's policy".to_owned()));
    if let Some((name, by)) = by_policy.or(by_argument) {
        return pin(name, &by);
    }
    for strength in Strength::ALL {
        let mut seen = SOURCES
            .iter()
            .filter_map(|source| Some((*source, recognise(source, strength, evidence)?)));
        if let Some((source, first)) = seen.next() {
            let others = seen.map(|(source, seen)| (source.name, seen)).collect();
            return Ok(Detection { platform: Some(Platform { source, strength }), seen: first, others });
        }
    }
    Ok(Detection::default())
}

/// `none` pins that there is no platform.
fn pin(name: &str, by: &str) -> Result<Detection> {
    let seen = format!("{by} pins it");
    if name == "none" {
        return Ok(Detection { seen, ..Detection::default() });
    }
    match SOURCES.iter().find(|source| source.name == name) {
        Some(source) => Ok(Detection {
            platform: Some(Platform { source, strength: Strength::Pin }),
            seen,
            others: Vec::new(),
        }),
        None => {
            let names = SOURCES.iter().map(|source| source.name);
            let meant = suggest::did_you_mean(name, names.clone());
            Err(Failure::new(
                ErrorKind::Source,
                format!("{by} pins a platform that is not known: {name:?}{meant}"),
            )
            .help(format!("known are {}, and none", names.collect::<Vec<_>>().join(", "))))
        }
    }
}

/// What is seen of a source at one strength; nothing when something proves a look-alike.
fn recognise(source: &Source, strength: Strength, evidence: &Evidence) -> Option<String> {
    let sign = source
        .signs
        .iter()
        .filter(|sign| sign.strength() == strength)
        .find_map(|sign| sign.seen(evidence))?;
    source.look_alikes.iter().all(|sign| sign.seen(evidence).is_none()).then_some(sign)
}
