//! Signs by which a platform is recognized. Texts of the firmware are compared in any case of letters.

use super::gathered::Evidence;
use super::smbios::Field;

/// How much a sign proves, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// A pin: by the image's trust policy or the kernel command line.
    Pin,
    /// The firmware's tables.
    Smbios,
    /// The label of a file system.
    Label,
    /// A channel of the hypervisor.
    Channel,
    /// No hardware evidence, only a config argument on the kernel command line.
    Argument,
}

impl Strength {
    /// All, the strongest first.
    pub const ALL: [Self; 5] = [Self::Pin, Self::Smbios, Self::Label, Self::Channel, Self::Argument];
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
    /// How much the sign proves.
    pub fn strength(&self) -> Strength {
        match self {
            Self::Word(_) => Strength::Pin,
            Self::Is(..) | Self::Begins(..) | Self::Contains(..) => Strength::Smbios,
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
            Self::Label(label) => evidence.all_disks().iter().find_map(|disk| {
                Some(format!("{} has the label {}", disk.device.display(), disk.label(label)?))
            }),
            Self::Exists(path) => evidence.root().path(path).exists().then(|| format!("{path} exists")),
            Self::Other(_, look) => look(evidence),
        }
    }
}
