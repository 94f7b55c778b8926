//! Signs by which a platform is recognized. Texts of the firmware are compared in any case of letters.

use super::disks::Disk;
use super::gathered::Evidence;
use super::smbios::Field;

/// How much a sign proves, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// A pin: by the image's trust policy or the kernel command line.
    Pin,
    /// The firmware's tables, or an item that the hypervisor made for this machine.
    Firmware,
    /// The hypervisor's name of itself.
    Hypervisor,
    /// The label of a disc in a drive: only the machine's owner puts discs in.
    Disc,
    /// The label of any other disk, which may be a tenant's.
    Label,
    /// A channel of the hypervisor that many kinds of machines have.
    Channel,
    /// No hardware evidence, only a config argument on the kernel command line.
    Argument,
}

impl Strength {
    /// All, the strongest first.
    pub const ALL: [Self; 7] =
        [Self::Pin, Self::Firmware, Self::Hypervisor, Self::Disc, Self::Label, Self::Channel, Self::Argument];
}

/// Something by which a platform is recognized.
#[derive(Debug, Clone, Copy)]
pub enum Sign {
    /// A word of the kernel command line.
    Word(&'static str),
    /// An SMBIOS field is exactly this.
    Is(Field, &'static str),
    /// An SMBIOS field begins with this.
    Begins(Field, &'static str),
    /// An SMBIOS field contains this.
    Contains(Field, &'static str),
    /// A file system with this label, in lower or upper case.
    Label(&'static str),
    /// Such a file exists.
    Exists(&'static str),
    /// Anything else; the function describes the sign, if it is there.
    Other(Strength, fn(&Evidence) -> Option<String>),
}

impl Sign {
    /// A description of the sign, if it is there and proves this much.
    pub fn proves(&self, strength: Strength, evidence: &Evidence) -> Option<String> {
        match *self {
            Self::Label(label) if strength == Strength::Disc => labelled(evidence, label, Disk::is_optical),
            _ if self.strength() == strength => self.seen(evidence),
            _ => None,
        }
    }

    /// How much the sign proves at least.
    fn strength(&self) -> Strength {
        match self {
            Self::Word(_) => Strength::Pin,
            Self::Is(..) | Self::Begins(..) | Self::Contains(..) => Strength::Firmware,
            Self::Label(_) => Strength::Label,
            Self::Exists(_) => Strength::Channel,
            Self::Other(strength, _) => *strength,
        }
    }

    /// A description of the sign, if it is there: `smbios sys_vendor is "Hetzner"`.
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
            Self::Is(at, expected) => field(at, &|text| text.eq_ignore_ascii_case(expected)),
            Self::Begins(at, start) => field(at, &|text| {
                text.get(..start.len()).is_some_and(|front| front.eq_ignore_ascii_case(start))
            }),
            Self::Contains(at, part) => {
                field(at, &|text| text.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
            }
            Self::Label(label) => labelled(evidence, label, |_| true),
            Self::Exists(path) => evidence.root().path(path).exists().then(|| format!("{path} exists")),
            Self::Other(_, look) => look(evidence),
        }
    }
}

/// The first of `which` disks that has the label.
fn labelled(evidence: &Evidence, label: &str, which: fn(&Disk) -> bool) -> Option<String> {
    evidence
        .all_disks()
        .iter()
        .filter(|disk| which(disk))
        .find_map(|disk| Some(format!("{} has the label {}", disk.device.display(), disk.label(label)?)))
}
