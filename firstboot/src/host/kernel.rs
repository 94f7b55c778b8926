//! Data from the kernel: version, control groups, swap, parameters, modules, mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command;
use super::files;
pub use super::files::text;
use super::root::Root;
use crate::error::{Context, Result};
use crate::paths;

/// Limit on the value of a parameter, in bytes.
const LIMIT: u64 = 1 << 20;

/// Time limit for loading a module; some look for hardware.
const MODULE_LIMIT: Duration = Duration::from_secs(10);

/// The layout of the machine's control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// Version 1: one hierarchy per controller.
    V1,
    /// Version 1, with a hierarchy of version 2 for processes only.
    Hybrid,
    /// Version 2, unified.
    V2,
    /// None are mounted.
    Absent,
}

/// `6.1.0-18-cloud-amd64`.
pub fn release(root: &Root) -> Option<String> {
    text(root, paths::KERNEL_RELEASE)
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

/// The first two numbers of a kernel release.
pub fn release_numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split(['.', '-', '+']).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// How control groups are mounted.
pub fn cgroups(root: &Root) -> Cgroups {
    let is_there = |path: &str| root.path(path).exists();
    if is_there(paths::CGROUP_CONTROLLERS) {
        Cgroups::V2
    } else if is_there(paths::UNIFIED_CONTROLLERS) {
        Cgroups::Hybrid
    } else if ["memory", "cpu", "cpu,cpuacct", "pids"].iter().any(|name| is_there(&paths::cgroup(name))) {
        Cgroups::V1
    } else {
        Cgroups::Absent
    }
}

/// The controllers that are enabled.
pub fn cgroup_controllers(root: &Root) -> Vec<String> {
    if let Some(list) = text(root, paths::CGROUP_CONTROLLERS) {
        return list.split_whitespace().map(str::to_owned).collect();
    }
    parse_cgroups(&text(root, paths::CGROUPS).unwrap_or_default())
}

/// Reads /proc/cgroups, cgroups(7): name, hierarchy, number of groups, enabled.
fn parse_cgroups(table: &str) -> Vec<String> {
    let rows = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&"1")).map(|row| row[0].to_owned()).collect()
}

/// The machine's swap devices and files, from /proc/swaps.
pub fn swaps(root: &Root) -> Vec<String> {
    let table = text(root, paths::SWAPS).unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The value of the parameter `name` (`net.ipv4.ip_forward`), trimmed; none if the kernel has no such
/// parameter.
pub fn sysctl(root: &Root, name: &str) -> Option<String> {
    let bytes = files::read(&sysctl_path(root, name), LIMIT).ok()??;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Sets the parameter `name`, until the next boot.
pub fn set_sysctl(root: &Root, name: &str, value: &str) -> Result<()> {
    let path = sysctl_path(root, name);
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .doing(format!("setting the kernel parameter {name} to {value}"))
}

/// Dots separate folders; a slash means a dot in a name, as in sysctl.d(5).
fn sysctl_path(root: &Root, name: &str) -> PathBuf {
    let parts = name.split('.').map(|part| part.replace('/', "."));
    root.path(Path::new(paths::SYSCTL).join(parts.filter(|part| part != "..").collect::<PathBuf>()))
}

/// Whether the kernel has the module `name`, loaded or built in.
pub fn has_module(root: &Root, name: &str) -> bool {
    let name = name.replace('-', "_");
    let loaded = text(root, paths::LOADED_MODULES).unwrap_or_default();
    if loaded.lines().any(|line| line.split(' ').next() == Some(&name))
        || root.path(paths::module(&name)).exists()
    {
        return true;
    }
    let built_in = release(root)
        .and_then(|release| text(root, &paths::builtin_modules(&release)))
        .unwrap_or_default();
    built_in.lines().any(|line| module_name(line) == name)
}

/// `kernel/net/bridge/br_netfilter.ko` → `br_netfilter`.
fn module_name(path: &str) -> String {
    path.rsplit('/')
        .next()
        .unwrap_or(path)
        .split(".ko")
        .next()
        .unwrap_or_default()
        .replace('-', "_")
}

/// Loads the module `name` with its dependencies, unless the kernel has it already. Only on the machine
/// itself.
pub fn load_module(root: &Root, name: &str) -> Result<()> {
    if has_module(root, name) || !root.is_machine() {
        return Ok(());
    }
    command::run_checked("modprobe", &[name], MODULE_LIMIT).map(|_| ())
}

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its mount point.
    pub point: String,
    /// Whether mounts below it propagate to other namespaces.
    pub shared: bool,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// The mounts, in the order of mounting.
pub fn mounts(root: &Root) -> Vec<Mount> {
    text(root, paths::MOUNTS).unwrap_or_default().lines().filter_map(parse_mount).collect()
}

/// A line of proc_pid_mountinfo(5): id, parent, device, root, point, options, optional fields, `-`, type,
/// source, options.
fn parse_mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let fields: Vec<&str> = front.split(' ').collect();
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        point: (*fields.get(4)?).to_owned(),
        shared: fields.iter().skip(6).any(|field| field.starts_with("shared:")),
        read_only: is_read_only(fields.get(5)?) || back.rsplit(' ').next().is_some_and(is_read_only),
    })
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
