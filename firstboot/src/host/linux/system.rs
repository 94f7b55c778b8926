//! Names, memory and addresses, from the kernel and files below /etc.

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::error::{Context, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// Limit on `/etc/resolv.conf`, in bytes.
const LONGEST_RESOLVER: u64 = 1 << 20;

/// The host's name: from the kernel (uname(2)), else from /etc/hostname; none if it has no name yet.
pub fn hostname(root: &Root) -> Option<String> {
    let kernel = files::text(root, paths::KERNEL_HOSTNAME).map(|text| text.trim().to_owned());
    kernel
        .filter(|name| !name.is_empty() && name != "(none)")
        .or_else(|| static_hostname(root))
}

/// The name in /etc/hostname. Without one, DHCP may give the host another name at each boot.
pub fn static_hostname(root: &Root) -> Option<String> {
    let file = files::text(root, paths::HOSTNAME)?;
    file.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
}

/// The name of the running host, for any root; empty if it has none.
pub fn running_hostname() -> String {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
}

/// A field of os-release, such as `VERSION_ID`, without its quotes.
pub fn os_release(root: &Root, field: &str) -> Option<String> {
    let text = files::text(root, paths::OS_RELEASE)?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
}

/// Sets the host's name, now and for later boots.
pub fn set_hostname(root: &Root, name: &str) -> Result<()> {
    files::write(&root.entry(paths::HOSTNAME), format!("{name}\n").as_bytes(), files::PUBLIC)?;
    if root.is_machine() {
        nix::unistd::sethostname(name).doing(format!("naming the host {name}"))?;
    }
    Ok(())
}

/// Sets the host's name until the next boot.
pub fn set_transient_hostname(root: &Root, name: &str) -> Result<()> {
    let set = std::fs::write(root.path(paths::KERNEL_HOSTNAME), name);
    set.doing(format!("setting the kernel parameter kernel.hostname to {name}"))
}

/// The part of the memory that file systems may take: where `/var` is in memory, the root is too.
pub(in crate::host) fn files_in_memory(root: &Root) -> u64 {
    let Ok(var) = statfs(&root.path(paths::VAR)) else { return 0 };
    if !root.is_machine() || var.filesystem_type() != TMPFS_MAGIC {
        return 0;
    }
    let bytes = |about: nix::sys::statfs::Statfs| about.blocks().saturating_mul(about.block_size() as u64);
    bytes(var).saturating_add(statfs("/").map_or(0, bytes))
}

/// machine-id(5); none before the first boot has set it.
pub(in crate::host) fn machine_id(root: &Root) -> Option<String> {
    files::text(root, paths::MACHINE_ID).map(|text| text.trim().to_owned())
}

/// All memory, in bytes; 0 if the kernel does not say.
pub(in crate::host) fn memory(root: &Root) -> u64 {
    files::text(root, paths::MEMORY).as_deref().and_then(total).unwrap_or(0)
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The interfaces of default routes, IPv4 first, each in the order of the metric.
pub fn default_interfaces(root: &Root) -> Vec<String> {
    let mut names = parse_routes(&files::text(root, paths::ROUTES).unwrap_or_default());
    for name in parse_routes6(&files::text(root, paths::ROUTES_6).unwrap_or_default()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Reads /proc/net/route: interface, destination, gateway, flags, counters, metric, mask. Numbers are hex,
/// except the metric.
fn parse_routes(table: &str) -> Vec<String> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let routes =
        rows.filter(|row| row.len() >= 8 && row[1] == "00000000" && row[7] == "00000000" && is_up(row[3]));
    by_metric(routes.map(|row| (row[6].parse().unwrap_or(u32::MAX), row[0].to_owned())))
}

/// Reads /proc/net/ipv6_route: destination, its prefix, source, its prefix, next hop, metric, counters,
/// flags, interface; all in hex.
fn parse_routes6(table: &str) -> Vec<String> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let any = "0".repeat(32);
    let routes = rows
        .filter(|row| row.len() >= 10 && row[0] == any && row[1] == "00" && is_up(row[8]) && row[9] != "lo");
    by_metric(routes.map(|row| (u32::from_str_radix(row[5], 16).unwrap_or(u32::MAX), row[9].to_owned())))
}

/// RTF_UP is set and RTF_REJECT is not (linux/route.h).
fn is_up(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1 && flags & 0x200 == 0)
}

fn by_metric(routes: impl Iterator<Item = (u32, String)>) -> Vec<String> {
    let mut routes: Vec<(u32, String)> = routes.collect();
    routes.sort_by_key(|route| route.0);
    let mut names: Vec<String> = Vec::new();
    for (_, name) in routes {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The settings of the resolver, in the form of resolv.conf(5).
pub fn resolver(root: &Root) -> Result<String> {
    let bytes = files::read(&root.path(paths::RESOLV_CONF), LONGEST_RESOLVER)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Seconds since the kernel started (proc(5), uptime); 0 if that is unknown.
pub fn uptime() -> f64 {
    let text = std::fs::read_to_string(paths::UPTIME).unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth1\t0000A8C0\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0\n\
        bad\t00000000\n";
    const ROUTES6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     ens5\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:        2048 kB\n"), Some(2 << 20));
        for wrong in ["", "MemTotal: x kB", "MemTotal: 2048", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(total(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn default_routes_come_by_metric() {
        assert_eq!(parse_routes(ROUTES), ["eth0", "wlan0"]);
        assert_eq!(parse_routes6(ROUTES6), ["ens5"]);
        for table in ["", "x", "a b c d e f g h i j k", "\0\u{fffd}\n\n"] {
            assert!(parse_routes(table).is_empty() && parse_routes6(table).is_empty());
        }
    }
}
