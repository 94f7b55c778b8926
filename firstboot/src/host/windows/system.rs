//! Names, memory and addresses, from the system's calls and the registry.

use windows_sys::Win32::System::SystemInformation::{
    ComputerNamePhysicalDnsHostname, GetComputerNameExW, GetTickCount64, GlobalMemoryStatusEx,
    MEMORYSTATUSEX, SetComputerNameExW,
};

use super::registry::Key;
use crate::error::{Context, Result};
use crate::host::root::Root;
use crate::os::wide::{narrow, wide};
use crate::os::{Adapter, adapters};

/// The longest name of a host, with its NUL.
const LONGEST_NAME: usize = 256;

/// The host's name, as it is from the next boot on: its DNS name, of which the computer's name is the first
/// 15 characters.
pub fn hostname(root: &Root) -> Option<String> {
    static_hostname(root)
}

/// The same: names last.
pub fn static_hostname(root: &Root) -> Option<String> {
    let key =
        Key::open(r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters").filter(|_| root.is_machine())?;
    key.text("NV Hostname").or_else(|| key.text("Hostname"))
}

/// The name of the running host, for any root; empty if it has none.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub fn running_hostname() -> String {
    let mut name = [0; LONGEST_NAME];
    let mut length = LONGEST_NAME as u32;
    // SAFETY: the buffer is as long as it says.
    unsafe { GetComputerNameExW(ComputerNamePhysicalDnsHostname, name.as_mut_ptr(), &raw mut length) };
    narrow(&name)
}

/// Names the host from its next boot on.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub fn set_hostname(root: &Root, name: &str) -> Result<()> {
    if !root.is_machine() {
        return Ok(());
    }
    let text = wide(name);
    // SAFETY: the text ends with a NUL.
    let set = match unsafe { SetComputerNameExW(ComputerNamePhysicalDnsHostname, text.as_ptr()) } {
        0 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    };
    set.doing(format!("naming the host {name}"))
}

/// The same: Windows has no names that end with a boot.
pub fn set_transient_hostname(root: &Root, name: &str) -> Result<()> {
    set_hostname(root, name)
}

/// What os-release says on Linux: `ID`, `VERSION_ID` (`10.0.20348`), `PRETTY_NAME`.
pub fn os_release(root: &Root, field: &str) -> Option<String> {
    let key = Key::open(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion").filter(|_| root.is_machine())?;
    match field {
        "ID" => Some("windows".to_owned()),
        "VERSION_ID" => {
            let (major, minor) =
                (key.number("CurrentMajorVersionNumber")?, key.number("CurrentMinorVersionNumber")?);
            Some(format!("{major}.{minor}.{}", key.text("CurrentBuildNumber")?))
        }
        "PRETTY_NAME" | "NAME" => key.text("ProductName"),
        _ => None,
    }
}

/// What Windows made for itself, and makes anew when it is generalized.
pub(in crate::host) fn machine_id(root: &Root) -> Option<String> {
    let key = Key::open(r"SOFTWARE\Microsoft\Cryptography").filter(|_| root.is_machine())?;
    Some(key.text("MachineGuid")?.replace('-', ""))
}

/// Seconds since the start of the system.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub fn uptime() -> f64 {
    // SAFETY: it takes nothing and changes nothing.
    let milliseconds = unsafe { GetTickCount64() };
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

/// All memory, in bytes.
#[allow(unsafe_code)] // a call of the system that std does not offer
pub(in crate::host) fn memory(_: &Root) -> u64 {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
    // SAFETY: the structure says its length and outlives the call.
    if unsafe { GlobalMemoryStatusEx(&raw mut status) } == 0 { 0 } else { status.ullTotalPhys }
}

/// File systems of Windows are on disks.
pub(in crate::host) fn files_in_memory(_: &Root) -> u64 {
    0
}

/// The interfaces of default routes, IPv4 first, each in the order of the metric.
pub fn default_interfaces(_: &Root) -> Vec<String> {
    let all = adapters();
    let mut names: Vec<String> = Vec::new();
    for family in 0..2 {
        let mut routes: Vec<(u32, &str)> = all
            .iter()
            .filter(|adapter| adapter.is_up)
            .filter_map(|adapter| Some((adapter.metrics[family]?, adapter.name.as_str())))
            .collect();
        routes.sort_unstable();
        names.extend(routes.into_iter().map(|(_, name)| name.to_owned()));
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The name servers and search domains of the adapters, in the form of resolv.conf(5).
pub fn resolver(_: &Root) -> Result<String> {
    let all: Vec<Adapter> = adapters().into_iter().filter(|adapter| adapter.is_up).collect();
    let servers = all.iter().flat_map(|adapter| &adapter.name_servers);
    let mut text: String = servers.map(|server| format!("nameserver {server}\n")).collect();
    let key = Key::open(r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters");
    let list = key.and_then(|key| key.text("SearchList")).unwrap_or_default();
    let own = all.iter().map(|adapter| adapter.suffix.as_str());
    let domains: Vec<&str> =
        list.split(',').chain(own).map(str::trim).filter(|name| !name.is_empty()).collect();
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    Ok(text)
}
