//! Variables in a URL, so that one URL serves many machines, each with a different document.
//!
//! | variable | value |
//! |---|---|
//! | `${mac}` | `52:54:00:12:34:56`: of the interface that booted (`BOOTIF=`), else of the default route's, else of the first real one |
//! | `${uuid}` | the system's UUID in the firmware, lower case |
//! | `${serial}` | the system's serial number in the firmware |
//! | `${hostname}` | the host's name |
//!
//! Values are percent-encoded, except letters, digits and `-._~:`.

use std::fs;

use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{CommandLine, smbios};
use crate::host::root::Root;
use crate::host::{identity, kernel, machine, network};
use crate::paths;
use crate::text::percent;

/// The kernel argument by which PXELINUX and iPXE name the interface that booted: `01-52-54-00-12-34-56`.
const BOOT_INTERFACE: &str = "BOOTIF";

type Value = fn(&Root, &CommandLine) -> Option<String>;

/// Every variable.
const VARIABLES: &[(&str, Value)] = &[
    ("mac", mac),
    ("uuid", |root, _| {
        smbios::text(root, "product_uuid")
            .filter(|uuid| identity::doubt(uuid).is_none())
            .map(|uuid| uuid.to_ascii_lowercase())
    }),
    ("serial", |root, _| smbios::text(root, "product_serial")),
    ("hostname", |root, _| machine::hostname(root).filter(|name| name != "localhost")),
];

/// Replaces each name between `open` and `close` by its percent-encoded `value`.
pub fn expand(text: &str, open: &str, close: &str, value: &dyn Fn(&str) -> Result<String>) -> Result<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((front, back)) = rest.split_once(open) {
        let Some((name, behind)) = back.split_once(close) else {
            return Err(Failure::new(
                ErrorKind::Source,
                format!("a variable begins with {open} and does not end"),
            ));
        };
        expanded.push_str(front);
        expanded.push_str(&percent::encoded(&value(name)?, b":"));
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The value of the variable `name` of this machine.
pub fn of_machine(root: &Root, line: &CommandLine, name: &str) -> Result<String> {
    let Some((_, value)) = VARIABLES.iter().find(|(each, _)| *each == name) else {
        let names: Vec<String> = VARIABLES.iter().map(|(name, _)| format!("${{{name}}}")).collect();
        let shown: String = name.chars().take(40).filter(|each| !each.is_control()).collect();
        return Err(Failure::new(ErrorKind::Source, format!("no variable is called {shown:?}"))
            .help(format!("there are {}", names.join(", "))));
    };
    value(root, line)
        .ok_or_else(|| Failure::new(ErrorKind::Source, format!("this machine has no value for ${{{name}}}")))
}

fn mac(root: &Root, line: &CommandLine) -> Option<String> {
    if let Some(text) = line.value(BOOT_INTERFACE) {
        return boot_interface(text);
    }
    let names = network::default_interfaces(root);
    let real = || real_interfaces(root);
    names.into_iter().chain(real()).find_map(|name| address(root, &name))
}

/// The first part is the kind of hardware in ARP's numbers; 1 is Ethernet.
fn boot_interface(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase().replace('-', ":");
    let text = if text.len() == 20 { text.strip_prefix("01:")? } else { &text };
    is_mac(text).then(|| text.to_owned())
}

/// Interfaces of real hardware, by name.
fn real_interfaces(root: &Root) -> Vec<String> {
    let entries = fs::read_dir(root.path(paths::NETWORK_CLASS)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| root.path(paths::network_attribute(name, "device")).exists());
    names.sort();
    names
}

fn address(root: &Root, interface: &str) -> Option<String> {
    let text = kernel::text(root, &paths::network_attribute(interface, "address"))?
        .trim()
        .to_ascii_lowercase();
    is_mac(&text).then_some(text)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        && text != "00:00:00:00:00:00"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;

    const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
        eth1\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\n";

    fn expanded(contents: &[(&str, &str)], line: &str, url: &str) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        contents
            .iter()
            .for_each(|(path, text)| files::write(&root.path(path), text.as_bytes(), 0o644).unwrap());
        expand(url, "${", "}", &|name| of_machine(&root, &CommandLine::parse(line), name))
    }

    #[test]
    fn variables_are_the_machines() {
        let machine = [
            ("/sys/class/dmi/id/product_uuid", "4C4C4544-0042-3510-8052-B4C04F4E3232\n"),
            ("/sys/class/dmi/id/product_serial", " a b/../c?\n"),
            ("/proc/sys/kernel/hostname", "n1.example\n"),
            ("/sys/class/net/eth1/address", "52:54:00:AA:00:02\n"),
            ("/sys/class/net/eth0/address", "52:54:00:aa:00:01\n"),
            ("/sys/class/net/eth0/device/x", ""),
            ("/sys/class/net/dummy0/address", "52:54:00:aa:00:09\n"),
        ];
        let with_route = [&machine[..], &[("/proc/net/route", ROUTE)]].concat();
        for (contents, line, url, expected) in [
            (&machine[..], "", "https://h/${uuid}", "https://h/4c4c4544-0042-3510-8052-b4c04f4e3232"),
            (&machine, "", "https://h/${serial}/x", "https://h/a%20b%2F..%2Fc%3F/x"),
            (&machine, "", "https://h/${hostname}-${mac}", "https://h/n1.example-52:54:00:aa:00:01"),
            (&with_route, "", "https://h/${mac}", "https://h/52:54:00:aa:00:02"),
            (&with_route, "BOOTIF=01-52-54-00-AA-00-03", "https://h/${mac}", "https://h/52:54:00:aa:00:03"),
            (&with_route, "BOOTIF=52:54:00:aa:00:04", "https://h/${mac}", "https://h/52:54:00:aa:00:04"),
            (&machine, "", "https://h/$mac/{mac}", "https://h/$mac/{mac}"),
        ] {
            assert_eq!(expanded(contents, line, url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_has_no_value_is_said() {
        let shared = [
            ("/sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009"),
            ("/proc/sys/kernel/hostname", "localhost"),
        ];
        for (line, url, expected) in [
            ("", "https://h/${uuid}", "no value for ${uuid}"),
            ("", "https://h/${hostname}", "no value for ${hostname}"),
            ("", "https://h/${serial}", "no value for ${serial}"),
            ("", "https://h/${mac}", "no value for ${mac}"),
            ("BOOTIF=nonsense", "https://h/${mac}", "no value for ${mac}"),
            ("", "https://h/${token}", "no variable is called \"token\""),
            ("", "https://h/${mac", "does not end"),
        ] {
            let failure = expanded(&shared, line, url).unwrap_err();
            assert!(
                failure.message.contains(expected) && failure.kind == ErrorKind::Source,
                "{url}: {failure}"
            );
        }
    }
}
