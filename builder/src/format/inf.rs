//! What a driver's `.inf` file says of a driver that Windows needs to start: which devices it is for, and the
//! service that it is.
//!
//! Grammar: "General Syntax Rules for INF Files", "INF Manufacturer Section", "INF Models Section", "INF
//! AddService Directive" and "INF AddReg Directive"
//! (<https://learn.microsoft.com/windows-hardware/drivers/install/>). Everything else in such a file is
//! Windows' to do, when it installs the driver for a device.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 4 << 20;
/// The longest line, as Windows has it.
const LONGEST_LINE: usize = 4096;
/// The longest identifier of a device (`MAX_DEVICE_ID_LEN`).
const LONGEST_ID: usize = 200;
/// The longest name of a service, a program or a section that is taken.
const LONGEST_NAME: usize = 80;
/// The largest number of devices whose drivers the boot loader loads.
const MOST_DEVICES: usize = 1000;
/// The largest number of values of a service.
const MOST_SETTINGS: usize = 200;

/// A service that drives the device for which it is installed (`SPSVCINST_ASSOCSERVICE`).
const OF_THE_DEVICE: u32 = 2;
/// A service that the boot loader loads (`SERVICE_BOOT_START`).
const BOOT_START: u32 = 0;

/// Flags of `AddReg`: a value is deleted or appended to; only the key is made; and the bits of the type.
const NO_PLAIN_VALUE: u32 = 0x4 | 0x8 | 0x10;
const TYPE: u32 = 0xffff_0001;

/// The drivers of a file that the boot loader has to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The class of its devices.
    pub class: Uuid,
    /// Each once, in the order of their names.
    pub services: Vec<Service>,
    /// The devices.
    pub devices: Vec<Device>,
}

/// A service of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The section of the file that installs it.
    pub configuration: String,
    /// Its file, beside the `.inf` and later in `System32\drivers`.
    pub file: String,
    /// Its type.
    pub kind: u32,
    /// What happens if it does not start.
    pub error_control: u32,
    /// The group in whose turn it is loaded.
    pub group: Option<String>,
    /// Values below its key: the key, the name, and the content.
    pub settings: Vec<(String, String, Setting)>,
}

/// The content of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// Text.
    Text(String),
    /// Text with `%VARIABLES%`.
    Expanded(String),
    /// A number.
    Number(u32),
}

/// A device that a package is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its identifier: `PCI\VEN_1AF4&DEV_1001`.
    pub id: String,
    /// Whether this is the hardware's own identifier, and not one that it is compatible with.
    pub is_own: bool,
    /// The section that installs it.
    pub configuration: String,
}

impl Package {
    /// Reads a file for the processors `arch` ("amd64") and a Windows of this build. It has no services if
    /// the boot loader needs none of its drivers.
    ///
    /// # Errors
    /// [`ErrorKind::Archive`] if it is not such a file, or is for other systems alone.
    pub fn read(bytes: &[u8], arch: &str, build: u32) -> Result<Self> {
        let file = File::read(bytes)?;
        let class = file.entry("version", "classguid")?.first().cloned().unwrap_or_default();
        let class = Uuid::parse_str(class.trim_matches(['{', '}']))
            .map_err(|_| refuse("its [Version] has no ClassGuid, as a device's driver has"))?;
        let mut package = Self { class, services: Vec::new(), devices: Vec::new() };
        let mut services: BTreeMap<String, Service> = BTreeMap::new();
        let mut installed: BTreeMap<String, bool> = BTreeMap::new();
        for model in file.models(arch, build)? {
            if !installed.contains_key(&model.configuration) {
                let service = file.service(&model.configuration, arch)?;
                installed.insert(model.configuration.clone(), service.is_some());
                if let Some(service) = service {
                    services.entry(service.name.to_ascii_lowercase()).or_insert(service);
                }
            }
            if installed[&model.configuration] {
                package.devices.extend(model.devices()?);
            }
            if package.devices.len() > MOST_DEVICES {
                return Err(refuse(format!("it has more than {MOST_DEVICES} devices")));
            }
        }
        package.services = services.into_values().collect();
        Ok(package)
    }
}

fn refuse(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Archive, why.into())
        .help("take the driver's package for this release of Windows, as its maker gives it")
}

/// A line of a section: what is before `=`, if it has one, and the fields behind.
#[derive(Debug, Default)]
struct Line {
    key: String,
    fields: Vec<String>,
}

/// A line of a models section.
struct Model {
    configuration: String,
    ids: Vec<String>,
}

impl Model {
    fn devices(&self) -> Result<Vec<Device>> {
        let ids = self.ids.iter().enumerate().filter(|(_, id)| !id.is_empty());
        ids.map(|(place, id)| {
            // Without spaces, commas and what is not ASCII, as Windows wants it.
            let parts: Vec<&str> = id.split('\\').collect();
            let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
            if !plain || id.len() > LONGEST_ID || parts.len() > 2 || parts.iter().any(|part| part.is_empty())
            {
                return Err(refuse(format!("{id:?} cannot identify a device")));
            }
            let configuration = self.configuration.clone();
            Ok(Device { id: id.clone(), is_own: place == 0, configuration })
        })
        .collect()
    }
}

/// The sections by their names in lower case, and the texts that `%tokens%` stand for.
#[derive(Debug)]
struct File {
    sections: BTreeMap<String, Vec<Line>>,
    strings: BTreeMap<String, String>,
}

impl File {
    fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > LARGEST {
            return Err(refuse("it is larger than 4 MiB"));
        }
        let mut file = Self { sections: BTreeMap::new(), strings: BTreeMap::new() };
        let mut section = None;
        for line in lines(&text(bytes)?)? {
            if let Some(name) = line.strip_prefix('[') {
                let name = name.split(']').next().unwrap_or_default().trim().to_lowercase();
                section = Some(file.sections.entry(name).or_default());
            } else if let Some(section) = &mut section {
                let (key, rest) = split_key(&line);
                section.push(Line { key: unquoted(key), fields: fields(rest) });
            }
        }
        if let Some(lines) = file.sections.get("strings") {
            let texts = lines.iter().map(|line| (line.key.to_lowercase(), line.fields.join(",")));
            file.strings = texts.collect();
        }
        let signature = file.entry("version", "signature")?;
        if !signature
            .first()
            .is_some_and(|sign| ["$WINDOWS NT$", "$CHICAGO$"].contains(&sign.to_uppercase().as_str()))
        {
            return Err(refuse("it has no [Version] with the signature of an .inf file"));
        }
        Ok(file)
    }

    fn lines(&self, section: &str) -> &[Line] {
        self.sections.get(&section.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The fields of the first entry `key`, its tokens replaced; none if it is not there.
    fn entry(&self, section: &str, key: &str) -> Result<Vec<String>> {
        let line = self.lines(section).iter().find(|line| line.key.eq_ignore_ascii_case(key));
        line.map_or(Ok(Vec::new()), |line| line.fields.iter().map(|field| self.expand(field)).collect())
    }

    /// One text of a section.
    fn text(&self, section: &str, key: &str) -> Result<Option<String>> {
        Ok(self.entry(section, key)?.into_iter().next().filter(|text| !text.is_empty()))
    }

    /// One number of a section.
    fn number(&self, section: &str, key: &str) -> Result<u32> {
        let text = self.text(section, key)?.unwrap_or_default();
        number(&text).ok_or_else(|| refuse(format!("[{section}] {key} is no number: {text:?}")))
    }

    /// Replaces `%tokens%` that the file gives a text. Numbers of folders (`%12%`) stay.
    fn expand(&self, written: &str) -> Result<String> {
        let mut parts = written.split('%');
        let mut text = parts.next().unwrap_or_default().to_owned();
        while let Some(token) = parts.next() {
            let Some(after) = parts.next() else {
                text = format!("{text}%{token}");
                break;
            };
            match self.strings.get(&token.to_lowercase()) {
                Some(string) => text += string,
                None if token.is_empty() => text.push('%'),
                None => text += &format!("%{token}%"),
            }
            text += after;
            if text.len() > LONGEST_LINE {
                return Err(refuse("a line is longer than 4096 characters, its tokens replaced"));
            }
        }
        Ok(text)
    }

    /// The lines of the models sections for a system, of those that fit it best.
    fn models(&self, arch: &str, build: u32) -> Result<Vec<Model>> {
        let (mut models, mut sections) = (Vec::new(), BTreeSet::new());
        for manufacturer in self.lines("manufacturer") {
            let Some((name, decorations)) = manufacturer.fields.split_first() else { continue };
            let fits = decorations.iter().filter_map(|one| Some((fit(one, arch, build)?, one)));
            let Some((_, best)) = fits.max_by_key(|(fit, _)| *fit) else { continue };
            let section = format!("{name}.{best}").to_lowercase();
            // Two makers may share a section.
            if !sections.insert(section.clone()) {
                continue;
            }
            for line in self.lines(&section) {
                let mut fields = line.fields.iter().map(|field| self.expand(field));
                let Some(configuration) = fields.next().transpose()? else { continue };
                checked(&configuration, "section")?;
                models.push(Model { configuration, ids: fields.collect::<Result<_>>()? });
            }
        }
        if models.is_empty() {
            return Err(refuse(format!("it has no device for Windows on {arch}, build {build}")));
        }
        Ok(models)
    }

    /// The boot service that a section installs for its device, if it installs one.
    fn service(&self, configuration: &str, arch: &str) -> Result<Option<Service>> {
        let endings = [format!(".nt{arch}"), ".nt".to_owned(), String::new()];
        let names = endings.map(|ending| format!("{configuration}{ending}.services"));
        let lines = names.iter().map(|name| self.lines(name)).find(|lines| !lines.is_empty());
        for line in lines
            .unwrap_or_default()
            .iter()
            .filter(|line| line.key.eq_ignore_ascii_case("addservice"))
        {
            let fields: Vec<String> =
                line.fields.iter().map(|field| self.expand(field)).collect::<Result<_>>()?;
            let field = |index: usize| fields.get(index).map_or("", String::as_str);
            let flags = number(field(1)).unwrap_or_default();
            if flags & OF_THE_DEVICE == 0 || field(0).is_empty() {
                continue;
            }
            let (name, section) = (field(0), field(2));
            if self.number(section, "StartType")? != BOOT_START {
                return Ok(None);
            }
            checked(name, "service")?;
            return Ok(Some(Service {
                name: name.to_owned(),
                configuration: configuration.to_owned(),
                file: self.program(section)?,
                kind: self.number(section, "ServiceType")?,
                error_control: self.number(section, "ErrorControl")?,
                group: self.text(section, "LoadOrderGroup")?,
                settings: self.settings(section)?,
            }));
        }
        Ok(None)
    }

    /// The name of the file of a service. Its folder is that of drivers (12), or of the package (13).
    fn program(&self, section: &str) -> Result<String> {
        let written = self.text(section, "ServiceBinary")?.unwrap_or_default();
        let lower = written.to_lowercase();
        let folder = [r"%12%\", r"%13%\", r"%11%\drivers\", r"%10%\system32\drivers\"]
            .into_iter()
            .find(|folder| lower.starts_with(folder));
        let name = folder.map_or("", |folder| &written[folder.len()..]);
        if name.is_empty() || !name.to_ascii_lowercase().ends_with(".sys") {
            return Err(refuse(format!("{written:?} is no driver in the folder of drivers")));
        }
        checked(name, "file")?;
        Ok(name.to_owned())
    }

    /// The texts and numbers below the key of a service. Other types are Windows' to set.
    fn settings(&self, section: &str) -> Result<Vec<(String, String, Setting)>> {
        let lines = self.lines(section).iter().filter(|line| line.key.eq_ignore_ascii_case("addreg"));
        let sections: Vec<&String> = lines.flat_map(|line| &line.fields).collect();
        let mut settings = Vec::new();
        for line in sections.iter().flat_map(|section| self.lines(section)) {
            let fields: Vec<String> =
                line.fields.iter().map(|field| self.expand(field)).collect::<Result<_>>()?;
            let field = |index: usize| fields.get(index).cloned().unwrap_or_default();
            let flags = number(&field(3)).unwrap_or_default();
            if !field(0).eq_ignore_ascii_case("HKR") || flags & NO_PLAIN_VALUE != 0 {
                continue;
            }
            let value = match flags & TYPE {
                0 => Setting::Text(field(4)),
                0x0002_0000 => Setting::Expanded(field(4)),
                0x0001_0001 => match number(&field(4)) {
                    Some(number) => Setting::Number(number),
                    None => return Err(refuse(format!("a value of {section} is no number: {:?}", field(4)))),
                },
                _ => continue,
            };
            if settings.len() == MOST_SETTINGS {
                return Err(refuse(format!("[{section}] has more than {MOST_SETTINGS} values")));
            }
            settings.push((field(1), field(2), value));
        }
        Ok(settings)
    }
}

/// A name that becomes a key, a file or part of a path.
fn checked(name: &str, what: &str) -> Result<()> {
    let plain = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
    let is_name = !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain);
    if is_name && !name.starts_with('.') && !name.ends_with('.') {
        return Ok(());
    }
    let shown: String = name.chars().take(LONGEST_NAME).collect();
    Err(refuse(format!("{shown:?} cannot name a {what}")))
}

/// How well a models section with this decoration fits: `NTamd64.10.0...17763` is for Windows 10.0 from build
/// 17763 on. The higher the better; none if it is for other systems.
fn fit(decoration: &str, arch: &str, build: u32) -> Option<(u32, u32, u32)> {
    let lower = decoration.to_lowercase();
    let mut parts = lower.strip_prefix("nt")?.split('.');
    if parts.next() != Some(arch) {
        return None;
    }
    let mut next = || match parts.next().unwrap_or_default() {
        "" => Some(0),
        text => number(text),
    };
    let (major, minor, product, _, from) = (next()?, next()?, next()?, next()?, next()?);
    // A product of type 1 is no server.
    ((major, minor) <= (10, 0) && product != 1 && from <= build).then_some((major, minor, from))
}

fn number(text: &str) -> Option<u32> {
    let lower = text.trim().to_lowercase();
    match lower.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => lower.parse().ok(),
    }
}

/// The text of a file: UTF-16 with its mark, else bytes of which all that counts is ASCII.
fn text(bytes: &[u8]) -> Result<String> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| -> Vec<u16> {
        rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect()
    };
    let units = match bytes {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => return Ok(String::from_utf8_lossy(rest).into_owned()),
        _ => return Ok(String::from_utf8_lossy(bytes).into_owned()),
    };
    String::from_utf16(&units).map_err(|_| refuse("it is neither text nor UTF-16"))
}

/// Lines without comments and blanks; one that ends with `\` goes on in the next.
fn lines(text: &str) -> Result<Vec<String>> {
    let (mut all, mut open) = (Vec::new(), String::new());
    for line in text.lines() {
        open += without_comment(line).trim();
        if open.len() > LONGEST_LINE {
            return Err(refuse("a line is longer than 4096 characters"));
        }
        if open.ends_with('\\') && !open.starts_with('[') {
            open.pop();
            continue;
        }
        all.extend(Some(std::mem::take(&mut open)).filter(|line| !line.is_empty()));
    }
    all.extend(Some(open).filter(|line| !line.is_empty()));
    Ok(all)
}

/// Where the first of these characters stands that is not in quotes.
fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, one)| {
        quoted ^= one == '"';
        (one == wanted && !quoted).then_some(at)
    })
}

fn without_comment(line: &str) -> &str {
    outside_quotes(line, ';').map_or(line, |at| &line[..at])
}

/// What is before the first `=`, and behind it.
fn split_key(line: &str) -> (&str, &str) {
    outside_quotes(line, '=').map_or(("", line), |at| (&line[..at], &line[at + 1..]))
}

fn fields(mut text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    while let Some(comma) = outside_quotes(text, ',') {
        fields.push(unquoted(&text[..comma]));
        text = &text[comma + 1..];
    }
    fields.push(unquoted(text));
    fields
}

/// A text without the quotes around it; two quotes inside are one.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "inf_tests.rs"]
mod tests;
