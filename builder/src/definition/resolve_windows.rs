//! Resolves what a layer says of Windows besides files.

use std::collections::BTreeMap;

use super::condition::When;
use super::interpolate::Variables;
use super::layer::Layer;
use super::plan::LayerPlan;
use super::source::Step;
use super::windows::firewall::{FirewallRule, is_ports};
use super::windows::names;
use super::windows::registry::{self, Hive, RegistryData, RegistryValue};
use super::windows::service::WindowsService;
use super::windows::spec::{
    FirewallSpec, RegistryType, RegistryValueSpec, WindowsDriverSpec, WindowsServiceSpec,
};
use super::windows::{LONGEST_VARIABLE, WindowsPlan, path_value};
use crate::at;
use crate::error::{Error, Result};

/// Why the search path is not set like other variables, and what to do.
const OF_THE_BASE: &str = "the search path has entries of the base";
const ADD_FOLDERS: &str = r"add folders to the search path by path = ['C:\k']";

/// The largest count of failures that the service control manager knows apart.
const MOST_ACTIONS: usize = 16;

/// What the layer changes on Windows besides files; nothing for a layer that is not for Windows.
///
/// # Errors
/// The first step that is wrong.
pub(super) fn resolve(layer: &Layer, variables: &Variables) -> Result<Option<WindowsPlan>> {
    if !layer.is_for_windows() {
        return Ok(None);
    }
    let resolver = Resolver { layer, variables };
    let file = &layer.file;
    let mut plan = WindowsPlan::default();
    for (index, spec) in file.registry.iter().enumerate() {
        if layer.applies("registry", index, &spec.when, variables)? {
            plan.registry.push(resolver.registry(index, spec)?);
        }
    }
    for (index, spec) in file.windows_service.iter().enumerate() {
        if layer.applies("windows-service", index, &spec.when, variables)? {
            plan.services.push(resolver.service(index, spec)?);
        }
    }
    for (index, spec) in file.firewall.iter().enumerate() {
        if layer.applies("firewall", index, &spec.when, variables)? {
            plan.firewall.push(resolver.firewall(index, spec)?);
        }
    }
    for (name, value) in &file.environment {
        let (name, value) = resolver.environment(name, value)?;
        plan.environment.insert(name, value);
    }
    for (index, entry) in file.path.iter().enumerate() {
        plan.path.push(resolver.path(index, entry)?);
    }
    for (index, spec) in file.windows_driver.iter().enumerate() {
        if layer.applies("windows-driver", index, &spec.when, variables)? {
            plan.drivers.push(resolver.driver(index, spec)?);
        }
    }
    plan.features = resolver.features("windows-features", &file.windows_features)?;
    plan.enables = resolver.features("enables-windows-features", &file.enables_windows_features)?;
    resolver.check_twice(&plan)?;
    Ok(Some(plan))
}

/// What is wrong with single steps, whatever their conditions say.
pub(super) fn check_alone(layer: &Layer, variables: &Variables) -> Vec<Error> {
    let resolver = Resolver { layer, variables };
    let file = &layer.file;
    let applies = |section, index, when: &When| layer.applies(section, index, when, variables);
    let values = file.registry.iter().enumerate().map(|(index, spec)| {
        applies("registry", index, &spec.when).and_then(|_| resolver.registry(index, spec).map(drop))
    });
    let services = file.windows_service.iter().enumerate().map(|(index, spec)| {
        applies("windows-service", index, &spec.when).and_then(|_| resolver.service(index, spec).map(drop))
    });
    let rules = file.firewall.iter().enumerate().map(|(index, spec)| {
        applies("firewall", index, &spec.when).and_then(|_| resolver.firewall(index, spec).map(drop))
    });
    let environment =
        file.environment.iter().map(|(name, value)| resolver.environment(name, value).map(drop));
    let path = file.path.iter().enumerate().map(|(index, entry)| resolver.path(index, entry).map(drop));
    let drivers = file.windows_driver.iter().enumerate().map(|(index, spec)| {
        applies("windows-driver", index, &spec.when).and_then(|_| resolver.driver(index, spec).map(drop))
    });
    let features = [
        ("windows-features", &file.windows_features),
        ("enables-windows-features", &file.enables_windows_features),
    ];
    let features = features.map(|(key, names)| resolver.features(key, names).map(drop));
    let all = values
        .chain(services)
        .chain(rules)
        .chain(environment)
        .chain(path)
        .chain(drivers)
        .chain(features);
    all.filter_map(Result::err).collect()
}

struct Resolver<'a> {
    layer: &'a Layer,
    variables: &'a Variables,
}

impl Resolver<'_> {
    fn error(&self, path: &[Step], message: &str, help: &str) -> Error {
        self.layer.source.error_at(path, message).help(help)
    }

    fn expand(&self, path: &[Step], text: &str) -> Result<String> {
        self.layer.expand(path, text, self.variables)
    }

    fn registry(&self, index: usize, spec: &RegistryValueSpec) -> Result<RegistryValue> {
        let refused = |key: &str, (message, help): (String, String)| {
            self.error(&at!["registry", index, key], &message, &help)
        };
        let written = self.expand(&at!["registry", index, "key"], &spec.key)?;
        let (hive, key) = registry::parse_key(&written).map_err(|why| refused("key", why))?;
        registry::check_name(&spec.name).map_err(|why| refused("name", why))?;
        let data = self.data(&at!["registry", index, "data"], spec)?;
        let value = RegistryValue {
            hive,
            key,
            name: spec.name.clone(),
            data,
            patch: spec.patch.clone(),
            replaces: spec.replaces,
        };
        let (key, name) = path_value();
        if value.place() == RegistryValue::new(Hive::System, key, name, RegistryData::Dword(0)).place() {
            return Err(self.error(&at!["registry", index, "name"], OF_THE_BASE, ADD_FOLDERS));
        }
        Ok(value)
    }

    fn data(&self, place: &[Step], spec: &RegistryValueSpec) -> Result<RegistryData> {
        let text = |text: &str| {
            let text = self.expand(place, text)?;
            match text.contains('\0') {
                true => Err(self.error(place, "a text of the registry has no NUL in it", "remove it")),
                false => Ok(text),
            }
        };
        let refusal = |help| self.error(place, "this is not the data of a value of this type", help);
        let wrong = |help| Err(refusal(help));
        match (spec.kind, &spec.data) {
            (RegistryType::Sz, toml::Value::String(written)) => text(written).map(RegistryData::Sz),
            (RegistryType::ExpandSz, toml::Value::String(written)) => {
                text(written).map(RegistryData::ExpandSz)
            }
            (RegistryType::Sz | RegistryType::ExpandSz, _) => wrong("write it in quotes: \"…\""),
            (RegistryType::MultiSz, toml::Value::Array(list)) => {
                let help = "write a list of texts, none of them empty: [\"…\"]";
                let texts = list.iter().map(|one| match one.as_str() {
                    Some(one) if !one.is_empty() => text(one),
                    _ => Err(refusal(help)),
                });
                texts.collect::<Result<_>>().map(RegistryData::MultiSz)
            }
            (RegistryType::MultiSz, _) => wrong("write a list of texts: [\"…\"]"),
            (RegistryType::Dword, toml::Value::Integer(number)) => match u32::try_from(*number) {
                Ok(number) => Ok(RegistryData::Dword(number)),
                Err(_) => wrong("write a number from 0 to 0xffffffff"),
            },
            (RegistryType::Qword, toml::Value::Integer(number)) => match u64::try_from(*number) {
                Ok(number) => Ok(RegistryData::Qword(number)),
                Err(_) => wrong("write a number of 0 or more"),
            },
            (RegistryType::Dword | RegistryType::Qword, _) => {
                wrong("write a number without quotes: 80, or 0x50")
            }
            (RegistryType::Binary, toml::Value::String(digits)) => match bytes(digits) {
                Some(bytes) => Ok(RegistryData::Binary(bytes)),
                None => wrong("write two hexadecimal digits for each byte: \"01 ff 00 00\""),
            },
            (RegistryType::Binary, _) => wrong("write hexadecimal digits in quotes: \"01 ff 00 00\""),
        }
    }

    fn service(&self, index: usize, spec: &WindowsServiceSpec) -> Result<WindowsService> {
        let at = |key: &str| at!["windows-service", index, key];
        self.check_word(&at("name"), &spec.name, "a service")?;
        for depends in &spec.depends_on {
            self.check_word(&at("depends-on"), depends, "a service")?;
            if names::folded(depends) == names::folded(&spec.name) {
                return Err(self.error(&at("depends-on"), "a service cannot wait for itself", "remove it"));
            }
        }
        let command = self.expand(&at("command"), &spec.command)?;
        if let Some((message, help)) = wrong_command(&command) {
            return Err(self.error(&at("command"), &message, help));
        }
        if spec.restart_after.len() > MOST_ACTIONS {
            let help = "the last one counts for all further failures";
            return Err(self.error(&at("restart-after"), "these are too many failures", help));
        }
        Ok(WindowsService {
            name: spec.name.clone(),
            display_name: spec.display_name.clone().unwrap_or_else(|| spec.name.clone()),
            description: spec.description.clone(),
            command,
            start: spec.start,
            depends_on: spec.depends_on.clone(),
            account: spec.account,
            restart_after: spec.restart_after.clone(),
            reset_failures_after: spec.reset_failures_after,
        })
    }

    fn firewall(&self, index: usize, spec: &FirewallSpec) -> Result<FirewallRule> {
        let at = |key: &str| at!["firewall", index, key];
        self.check_word(&at("name"), &spec.name, "a rule")?;
        if spec.ports.is_empty() || !spec.ports.iter().all(|ports| is_ports(ports)) {
            let help = "write numbers and ranges in quotes: [\"10250\", \"30000-32767\"]";
            return Err(self.error(&at("ports"), "these are not ports", help));
        }
        let display_name = spec.display_name.clone().unwrap_or_else(|| spec.name.clone());
        for (key, text) in [("display-name", Some(&display_name)), ("program", spec.program.as_ref())] {
            if text.is_some_and(|text| text.contains('|') || text.chars().any(char::is_control)) {
                let help = "write it without | and control characters, which end a field of the rule";
                return Err(self.error(&at(key), "the firewall would read this as something else", help));
            }
        }
        if spec.program.as_ref().is_some_and(|program| !is_firewall_program(program)) {
            let help =
                r"write its whole path: 'C:\k\kubelet.exe'; Windows compares it with that of the program";
            return Err(self.error(&at("program"), "a rule for it would never apply", help));
        }
        Ok(FirewallRule {
            name: spec.name.clone(),
            display_name,
            protocol: spec.protocol,
            direction: spec.direction,
            ports: spec.ports.clone(),
            program: spec.program.clone(),
        })
    }

    fn environment(&self, name: &str, value: &str) -> Result<(String, String)> {
        let place = at!["environment", name];
        if name.is_empty() || name.contains(['=', '%']) || name.chars().any(char::is_control) {
            let help = "write a name without = and %";
            return Err(self.error(&place, "this is not the name of a variable", help));
        }
        if names::folded(name) == "PATH" {
            return Err(self.error(&place, OF_THE_BASE, ADD_FOLDERS));
        }
        let value = self.expand(&place, value)?;
        if value.chars().any(char::is_control) {
            return Err(self.error(&place, "a variable has no control characters", "write one line"));
        }
        if value.encode_utf16().count() > LONGEST_VARIABLE {
            let message = format!("a variable has at most {LONGEST_VARIABLE} characters");
            return Err(self.error(&place, &message, "write a shorter value"));
        }
        Ok((name.to_owned(), value))
    }

    fn path(&self, index: usize, entry: &str) -> Result<String> {
        let place = at!["path", index];
        let entry = self.expand(&place, entry)?;
        let Some(below) = names::below_drive(&entry).filter(|_| !entry.contains(';')) else {
            let message = format!("\"{entry}\" is not a folder of the system drive");
            return Err(self.error(&place, &message, r"write one folder with its drive: 'C:\k'"));
        };
        names::check_path(&below).map_err(|(message, help)| self.error(&place, &message, &help))?;
        Ok(names::shown(&below))
    }

    fn driver(&self, index: usize, spec: &WindowsDriverSpec) -> Result<String> {
        let place = at!["windows-driver", index, "inf"];
        let inf = self.expand(&place, &spec.inf)?;
        let is_inf = |path: &String| names::folded(path).ends_with(".INF");
        let Some(below) = names::below_drive(&inf).filter(is_inf) else {
            let message = format!("\"{inf}\" is not the .inf file of a driver");
            let help = r"write its whole path in the image: 'C:\Windows\Drivers\viostor\viostor.inf'";
            return Err(self.error(&place, &message, help));
        };
        names::check_path(&below).map_err(|(message, help)| self.error(&place, &message, &help))?;
        if !below.contains('/') || below.contains(';') {
            let help = "its folder becomes one of those in which Windows looks for drivers";
            return Err(self.error(
                &place,
                "an .inf file has a folder of its own, without ; in its name",
                help,
            ));
        }
        Ok(names::shown(&below))
    }

    fn features(&self, key: &'static str, names: &[String]) -> Result<Vec<String>> {
        for (index, name) in names.iter().enumerate() {
            self.check_word(&at![key, index], name, "a feature")?;
        }
        Ok(names.to_vec())
    }

    /// Names of services, rules and features: they become keys, and go into command lines.
    fn check_word(&self, place: &[Step], name: &str, what: &str) -> Result<()> {
        let plain = |one: char| one.is_ascii_alphanumeric() || "-_.".contains(one);
        if !name.is_empty() && name.len() <= 80 && name.chars().all(plain) {
            return Ok(());
        }
        let message = format!("\"{name}\" is not the name of {what}");
        Err(self.error(place, &message, "use up to 80 letters, digits, dashes, dots and underscores"))
    }

    /// Refuses a value that the layer gives two contents.
    fn check_twice(&self, plan: &WindowsPlan) -> Result<()> {
        let mut seen = BTreeMap::new();
        for value in plan.values() {
            let (place, title) = (value.place(), value.title());
            if seen.insert(place, value).is_some() {
                let message = format!("this layer gives {title} twice");
                return Err(self.error(
                    &at!["registry"],
                    &message,
                    "remove one, or add conditions that exclude each other",
                ));
            }
        }
        Ok(())
    }
}

/// The bytes of hexadecimal digits, with spaces or commas between them.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: String = digits.chars().filter(|one| !one.is_whitespace() && *one != ',').collect();
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// What a rule can name: a whole path, one below a variable, or Windows itself (`[MS-GPFAS]` 2.2.2.19, App).
fn is_firewall_program(program: &str) -> bool {
    let is_path = |below: &str| names::check_path(&below.replace('\\', "/")).is_ok();
    let below_variable = || {
        let (variable, below) = program.strip_prefix('%')?.split_once("%\\")?;
        (!variable.is_empty()).then_some(below)
    };
    program == "System"
        || names::below_drive(program).is_some_and(|below| is_path(&below))
        || below_variable().is_some_and(is_path)
}

/// What is wrong with the command line of a service: a message and the help. A path with spaces and without
/// quotes may run another program (CWE-428).
fn wrong_command(command: &str) -> Option<(String, &'static str)> {
    const HELP: &str = r#"write the program's whole path: '"C:\Program Files\x\x.exe" --flag'"#;
    if command.chars().any(char::is_control) {
        return Some(("a command is one line".to_owned(), "remove what is not text"));
    }
    let (program, quoted) = match command.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((program, _)) => (program, true),
        None => (command.split(' ').next().unwrap_or_default(), false),
    };
    let is_program = names::below_drive(program).is_some_and(|path| names::check_path(&path).is_ok());
    if !is_program {
        return Some((format!("\"{program}\" is not the whole path of a program"), HELP));
    }
    let help = match quoted {
        true => HELP,
        false => r#"a path with spaces stands in quotes: '"C:\Program Files\x\x.exe" --flag'"#,
    };
    (!names::folded(program).ends_with(".EXE"))
        .then(|| (format!("\"{program}\" is not a program: it does not end with .exe"), help))
}

/// Refuses files of two layers that are one name to Windows, and a value that two layers give different
/// contents. The error is about the layer of this number.
pub(super) fn check_together(layers: &[LayerPlan]) -> Result<(), (usize, String, String)> {
    let mut files: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    let mut values: BTreeMap<_, (&str, RegistryValue)> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        let Some(windows) = &layer.windows else { continue };
        for path in layer.single_files() {
            let (first, spelled) = *files.entry(names::folded(path)).or_insert((&layer.name, path));
            if spelled != path {
                let (spelled, path) = (names::shown(spelled), names::shown(path));
                return Err((
                    index,
                    format!("{spelled} of the layer \"{first}\" and {path} differ in case alone"),
                    "they are one name to Windows: write both in the same way".to_owned(),
                ));
            }
        }
        for value in windows.values() {
            if let Some((first, other)) = values.get(&value.place())
                && other.data != value.data
                && !value.replaces
            {
                let title = value.title();
                return Err((
                    index,
                    format!("the layers \"{first}\" and \"{}\" give {title} different contents", layer.name),
                    "keep one of them, or write replaces = true in the upper one".to_owned(),
                ));
            }
            values.insert(value.place(), (&layer.name, value));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "resolve_windows_tests.rs"]
mod tests;
