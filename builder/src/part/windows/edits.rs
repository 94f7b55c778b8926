//! What the layers change in the registry.

use crate::base::windows::control_set;
use crate::definition::plan::ImagePlan;
use crate::definition::windows::names::{below_drive, shown};
use crate::definition::windows::registry::{CURRENT_CONTROL_SET, Hive as Name, RegistryData};
use crate::definition::windows::{LONGEST_VARIABLE, path_value};
use crate::error::{Error, ErrorKind, Result};
use crate::format::hive::{Hive, Value};
use crate::part::windows::drivers::{self, Driver};

/// The hives that are edited.
pub(super) const HIVES: [Name; 2] = Name::ALL;

/// The folders in which Windows looks for drivers.
const DEVICE_PATH: (&str, &str) = (r"Microsoft\Windows\CurrentVersion", "DevicePath");

/// Between the folders of a search path.
const SEPARATOR: char = ';';

/// Sets every value that the layers have for the hive `name`; those of upper layers last.
pub(super) fn apply(plan: &ImagePlan, drivers: &[Driver], name: Name, hive: &mut Hive) -> Result<()> {
    let control_set = if name == Name::System { control_set(hive)? } else { String::new() };
    let key = |key: &str| match key.split_once('\\').unwrap_or((key, "")) {
        (CURRENT_CONTROL_SET, below) if name == Name::System => format!("{control_set}\\{below}"),
        _ => key.to_owned(),
    };
    if name == Name::System {
        check_services(plan, hive, &control_set)?;
        drivers::register(drivers, plan.arch, hive, &control_set)?;
    }
    for (_, layer) in plan.windows() {
        for value in layer.values().iter().filter(|value| value.hive == name) {
            hive.set(&key(&value.key), &value.name, &data(&value.data))?;
        }
        if name == Name::System && !layer.path.is_empty() {
            let (path, value) = path_value();
            extend_path(hive, &key(&path), value, &layer.path)?;
        }
        if name == Name::Software && !layer.drivers.is_empty() {
            extend_path(hive, DEVICE_PATH.0, DEVICE_PATH.1, &folders(&layer.drivers))?;
        }
    }
    Ok(())
}

/// A service of the base would keep what a layer does not say of it: its account, its privileges, what runs
/// when it fails. And one that waits for a service that is not there never starts.
fn check_services(plan: &ImagePlan, hive: &Hive, control_set: &str) -> Result<()> {
    let of_base = |service: &str, value: &str| {
        hive.value(&format!("{control_set}\\Services\\{service}"), value)
            .map(|value| value.is_some())
    };
    let all = || {
        plan.windows()
            .flat_map(|(layer, windows)| windows.services.iter().map(move |it| (layer, it)))
    };
    for (layer, service) in all() {
        let refused = |why: String, help: &str| {
            let message = format!("the layer \"{layer}\" makes the service {}: {why}", service.name);
            Err(Error::new(ErrorKind::Definition, message).help(help))
        };
        if of_base(&service.name, "ImagePath")? || of_base(&service.name, "Start")? {
            return refused(
                "the base has it already".to_owned(),
                "remove the service from the base, or leave the layer out; a layer's [[registry]] changes single values of it",
            );
        }
        for needed in &service.depends_on {
            let is_of_layer = all().any(|(_, other)| other.name.eq_ignore_ascii_case(needed));
            // Every service has a start.
            if !is_of_layer && !of_base(needed, "Start")? {
                return refused(
                    format!("it depends on {needed}, which neither the base nor a layer has"),
                    "add the layer that has that service, or correct depends-on",
                );
            }
        }
    }
    Ok(())
}

/// Puts folders behind those that the base has, each once.
fn extend_path(hive: &mut Hive, key: &str, name: &str, folders: &[String]) -> Result<()> {
    let old = hive.value(key, name)?;
    let old = old.as_ref().and_then(Value::text).ok_or_else(|| {
        Error::new(
            ErrorKind::Archive,
            format!("the registry has no search path {name}, as that of Windows does"),
        )
        .help("take an image of Windows Server")
    })?;
    let mut all: Vec<&str> = old.split(SEPARATOR).filter(|folder| !folder.is_empty()).collect();
    for folder in folders {
        let same =
            |other: &&str| other.trim_end_matches('\\').eq_ignore_ascii_case(folder.trim_end_matches('\\'));
        if !all.iter().any(same) {
            all.push(folder);
        }
    }
    let joined = all.join(&SEPARATOR.to_string());
    if joined.encode_utf16().count() > LONGEST_VARIABLE {
        return Err(Error::new(
            ErrorKind::Definition,
            format!("the search path {name} has more than {LONGEST_VARIABLE} characters"),
        )
        .help("put programs into fewer folders: Windows reads no longer variable"));
    }
    hive.set(key, name, &Value::ExpandString(joined))
}

/// The folders of files.
fn folders(files: &[String]) -> Vec<String> {
    let folder = |file: &String| {
        let below = below_drive(file)?;
        Some(shown(below.rsplit_once('/')?.0))
    };
    files.iter().filter_map(folder).collect()
}

fn data(data: &RegistryData) -> Value {
    match data {
        RegistryData::Sz(text) => Value::String(text.clone()),
        RegistryData::ExpandSz(text) => Value::ExpandString(text.clone()),
        RegistryData::MultiSz(texts) => Value::MultiString(texts.clone()),
        RegistryData::Dword(number) => Value::Dword(*number),
        RegistryData::Qword(number) => Value::Qword(*number),
        RegistryData::Binary(bytes) => Value::Binary(bytes.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_behind_those_of_the_base_each_once() {
        let mut hive = Hive::new("ROOT", 0);
        let folders = [r"C:\k", r"c:\windows\system32", r"C:\Program Files\containerd"].map(str::to_owned);
        let error = extend_path(&mut hive, "Environment", "Path", &folders).unwrap_err();
        assert!(error.message().contains("no search path"), "{error}");
        let old = Value::ExpandString(r"%SystemRoot%;C:\Windows\System32\;".to_owned());
        hive.set("Environment", "Path", &old).unwrap();
        for _ in 0..2 {
            extend_path(&mut hive, "Environment", "Path", &folders).unwrap();
        }
        let new = r"%SystemRoot%;C:\Windows\System32\;C:\k;C:\Program Files\containerd";
        assert_eq!(hive.value("Environment", "Path").unwrap(), Some(Value::ExpandString(new.to_owned())));
    }
}
