//! Drivers that Windows must have when it starts.
//!
//! Windows looks up the driver of a device in `DriverDatabase` of its hive `SYSTEM`, and its boot loader
//! loads the services with `Start` 0. Both are written here as virt-v2v writes them for virtio
//! (libguestfs-common `mlcustomize/inject_virtio_win.ml`); what Windows itself leaves there is in
//! lxc/distrobuilder `windows/driver_viostor.go`. The whole package stays in a folder of the search path for
//! drivers, from which Windows installs it when it runs.

use std::path::Path;

use crate::assembly::{Image, WindowsRelease};
use crate::definition::plan::Arch;
use crate::definition::windows::names::{below_drive, folded, shown};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::hive::{Hive, Value};
use crate::format::inf::{self, Package, Setting};
use crate::format::ntfs::Rights;
use crate::tree::{Body, Node, Tree};

/// The folder of drivers.
const FOLDER: &str = "Windows/System32/drivers";
/// Where Windows keeps which driver is for which device.
const DATABASE: &str = "DriverDatabase";

/// The signs of an entry for a device: its own identifier, or one that it is compatible with.
const OWN: [u8; 4] = [1, 0xff, 0, 0];
const COMPATIBLE: [u8; 4] = [2, 0xff, 0, 0];

/// The start of a package's `Version`, before the class of its devices; its date and its version are left
/// empty, so that the package that Windows installs later is the newer one.
const VERSION: [u8; 8] = [0, 0xff, 9, 0, 0, 0, 0, 0];
const LENGTH_OF_VERSION: usize = 48;

/// A package that a layer brings.
#[derive(Debug)]
pub(super) struct Driver {
    /// Its name in the database. It is no file, so it must not be that of one.
    name: String,
    package: Package,
    /// The file of each service of the package.
    files: Vec<Body>,
}

/// Reads the packages of all layers.
///
/// # Errors
/// [`ErrorKind::Definition`] if a layer does not bring a file that it names; [`ErrorKind::Archive`] if an
/// `.inf` file is broken, or for other systems.
pub(super) fn read(image: &Image<'_>, release: &WindowsRelease) -> Result<Vec<Driver>> {
    let arch = image.plan.arch.name();
    let mut drivers: Vec<Driver> = Vec::new();
    for (layer, path) in image
        .plan
        .windows()
        .flat_map(|(layer, windows)| windows.drivers.iter().map(move |driver| (layer, driver)))
    {
        let context = |error: Error| error.context(format!("the layer \"{layer}\": {path}"));
        let driver = read_one(image.tree(), path, (arch, release.build)).map_err(context)?;
        check_once(&driver, &drivers, image.tree()).map_err(context)?;
        drivers.push(driver);
    }
    Ok(drivers)
}

fn read_one(tree: &Tree, path: &str, (arch, build): (&str, u32)) -> Result<Driver> {
    let below = below_drive(path).unwrap_or_default();
    let (folder, name) = below.rsplit_once('/').unwrap_or_default();
    let body = beside(tree, folder, name)?;
    if body.len() > inf::LARGEST {
        return Err(Error::new(ErrorKind::Archive, "it is larger than 4 MiB, and no .inf file"));
    }
    let package = Package::read(&body.read().at("reading", &below)?, arch, build)?;
    let files = package.services.iter().map(|service| beside(tree, folder, &service.file).cloned());
    let files = files.collect::<Result<_>>()?;
    Ok(Driver { name: format!("kiln_{}", name.to_lowercase()), package, files })
}

/// Its file must have no other source, and its name in the database no other package.
fn check_once(driver: &Driver, others: &[Driver], tree: &Tree) -> Result<()> {
    let refuse = |message: String| {
        let help = "keep one of them: the file of a driver goes where Windows has drivers by itself";
        Err(Error::new(ErrorKind::Definition, message).help(help))
    };
    let files = |driver: &Driver| -> Vec<String> {
        let services = driver.package.services.iter();
        services.map(|service| folded(&format!("{FOLDER}/{}", service.file))).collect()
    };
    for file in files(driver) {
        let is_there = tree.entries.keys().any(|path| folded(path) == file);
        if is_there || others.iter().any(|other| files(other).contains(&file)) {
            return refuse(format!("{} has two sources", shown(&file)));
        }
    }
    match others.iter().any(|other| other.name == driver.name) {
        true => refuse("there is another package whose .inf file has this name".to_owned()),
        false => Ok(()),
    }
}

/// A file of the layers, whatever the case of its name is.
fn beside<'a>(tree: &'a Tree, folder: &str, name: &str) -> Result<&'a Body> {
    let wanted = folded(&format!("{folder}/{name}"));
    let mut entries = tree.entries.iter().filter(|(path, _)| folded(path) == wanted);
    match entries.next().map(|(_, entry)| &entry.node) {
        Some(Node::File(body)) => Ok(body),
        _ => Err(Error::new(
            ErrorKind::Definition,
            format!("no layer brings {}", shown(&format!("{folder}/{name}"))),
        )
        .help("put all files of the driver's package into one folder: .inf, .sys and .cat")),
    }
}

/// Writes the programs of boot services into the folder `staging`; what they are in the image.
pub(super) fn stage(drivers: &[Driver], staging: &Path) -> Result<Vec<(String, Rights)>> {
    let mut added = Vec::new();
    for driver in drivers {
        for (service, body) in driver.package.services.iter().zip(&driver.files) {
            let to = staging.join(FOLDER).join(&service.file);
            super::write(body, &to).at("writing", &to)?;
            added.push((format!("{}\\{}", FOLDER.replace('/', "\\"), service.file), Rights::File));
        }
    }
    Ok(added)
}

/// Makes Windows load the boot services, and find them for their devices: in the hive `SYSTEM`.
pub(super) fn register(drivers: &[Driver], arch: Arch, hive: &mut Hive, control_set: &str) -> Result<()> {
    for driver in drivers.iter().filter(|driver| !driver.package.services.is_empty()) {
        if hive.subkeys(DATABASE)?.is_none() {
            let message = format!("the registry has no {DATABASE}, as that of Windows does");
            return Err(
                Error::new(ErrorKind::Archive, message).help("take an image of Windows Server 2019 or later")
            );
        }
        add_services(&driver.package, hive, control_set)?;
        add_package(driver, arch, hive)?;
    }
    Ok(())
}

fn add_services(package: &Package, hive: &mut Hive, control_set: &str) -> Result<()> {
    for service in &package.services {
        let key = format!("{control_set}\\Services\\{}", service.name);
        hive.set(&key, "Type", &Value::Dword(service.kind))?;
        hive.set(&key, "Start", &Value::Dword(0))?;
        hive.set(&key, "ErrorControl", &Value::Dword(service.error_control))?;
        // Relative to Windows' folder, as the boot loader wants it.
        let program = format!("System32\\drivers\\{}", service.file);
        hive.set(&key, "ImagePath", &Value::ExpandString(program))?;
        if let Some(group) = &service.group {
            hive.set(&key, "Group", &Value::String(group.clone()))?;
        }
        for (below, name, setting) in &service.settings {
            let value = match setting {
                Setting::Text(text) => Value::String(text.clone()),
                Setting::Expanded(text) => Value::ExpandString(text.clone()),
                Setting::Number(number) => Value::Dword(*number),
            };
            hive.set(&format!("{key}\\{below}"), name, &value)?;
        }
    }
    Ok(())
}

fn add_package(driver: &Driver, arch: Arch, hive: &mut Hive) -> Result<()> {
    let Driver { name, package, .. } = driver;
    // The digits are those of a package's hash, which this one has not.
    let label = format!("{name}_{}_0000000000000000", arch.name());
    let text = |text: &str| Value::String(text.to_owned());
    let configurations: Vec<String> =
        package.services.iter().map(|service| service.configuration.clone()).collect();
    let file = format!("{DATABASE}\\DriverInfFiles\\{name}");
    hive.set(&file, "", &Value::MultiString(vec![label.clone()]))?;
    hive.set(&file, "Active", &text(&label))?;
    hive.set(&file, "Configurations", &Value::MultiString(configurations))?;
    let key = format!("{DATABASE}\\DriverPackages\\{label}");
    let mut version = [VERSION.as_slice(), &package.class.to_bytes_le()].concat();
    version.resize(LENGTH_OF_VERSION, 0);
    hive.set(&key, "Version", &Value::Binary(version))?;
    for service in &package.services {
        let configuration = format!("{key}\\Configurations\\{}", service.configuration);
        hive.set(&configuration, "ConfigFlags", &Value::Dword(0))?;
        hive.set(&configuration, "Service", &text(&service.name))?;
    }
    for device in &package.devices {
        let sign = if device.is_own { OWN } else { COMPATIBLE };
        hive.set(&format!("{DATABASE}\\DeviceIds\\{}", device.id), name, &Value::Binary(sign.to_vec()))?;
        let descriptor = format!("{key}\\Descriptors\\{}", device.id);
        hive.set(&descriptor, "Configuration", &text(&device.configuration))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_without_a_database_of_drivers_is_refused_if_it_would_need_one() {
        let driver = |services| Driver {
            name: "kiln_x.inf".to_owned(),
            package: Package { class: uuid::Uuid::nil(), services, devices: Vec::new() },
            files: Vec::new(),
        };
        let service = inf::Service {
            name: "x".to_owned(),
            configuration: "install".to_owned(),
            file: "x.sys".to_owned(),
            kind: 1,
            error_control: 1,
            group: None,
            settings: Vec::new(),
        };
        let mut hive = Hive::new("ROOT", 0);
        let mut register = |driver| register(&[driver], Arch::Amd64, &mut hive, "ControlSet001");
        register(driver(Vec::new())).unwrap();
        let error = register(driver(vec![service])).unwrap_err();
        assert!(error.message().contains("no DriverDatabase") && error.hint().is_some(), "{error}");
    }
}
