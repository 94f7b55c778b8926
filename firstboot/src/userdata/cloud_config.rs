//! cloud-init's `#cloud-config` (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html>): reads
//! its files, its commands and the host name. The agent does nothing else in it.

use serde_json::Value;
use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, text, wrong};
use super::commands::Command;
use super::embedded::{HostConfig, count};
use super::files::{ExtraFile, Owner, content, mode_of};
use super::tree::{Fields, Tree};
use super::unpack;
use crate::error::Result;

/// Fields whose names may be shown: those of cloud-init. The agent reads `write_files`, `runcmd` and the host
/// name.
const KNOWN: &[&str] = &[
    "apk_repos",
    "apt",
    "bootcmd",
    "byobu_by_default",
    "ca_certs",
    "chef",
    "chpasswd",
    "device_aliases",
    "disable_root",
    "disk_setup",
    "fs_setup",
    "groups",
    "growpart",
    "keyboard",
    "locale",
    "mounts",
    "network",
    "ntp",
    "output",
    "package_update",
    "package_upgrade",
    "packages",
    "password",
    "phone_home",
    "power_state",
    "resize_rootfs",
    "resolv_conf",
    "rsyslog",
    "snap",
    "ssh",
    "ssh_authorized_keys",
    "ssh_keys",
    "ssh_pwauth",
    "swap",
    "timezone",
    "ubuntu_pro",
    "user",
    "users",
    "yum_repos",
    "zypper",
];
/// Fields that the agent reads, or that only control cloud-init itself.
const READ: &[&str] = &[
    "write_files",
    "runcmd",
    "bootcmd",
    "hostname",
    "fqdn",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "manage_etc_hosts",
    "merge_how",
    "final_message",
];

/// The default mode of a file.
const USUAL_MODE: u32 = 0o644;

/// Reads a cloud-config.
pub fn read(bytes: &[u8], budget: &Budget) -> Result<HostConfig> {
    let text = text(bytes)?;
    if text.contains("!!binary") || text.contains("yaml.org,2002:binary") {
        return Err(wrong("a value is tagged as binary, which is not read")
            .help("write encoding: b64 beside the content instead"));
    }
    let tree = Tree::read(text)?;
    let mut host_config = HostConfig { form: "cloud-config", ..HostConfig::default() };
    let Some(fields) = tree.fields()? else { return Ok(host_config) };
    for file in fields.maps("write_files")? {
        match read_file(&file, budget)? {
            Some(file) => host_config.files.push(file),
            None => host_config
                .notices
                .push(format!("{} comes from elsewhere and is not fetched", file.place())),
        }
    }
    for (index, command) in fields.list("runcmd")?.iter().enumerate() {
        host_config.commands.extend(
            read_command(command)
                .ok_or_else(|| fields.wrong(&format!("runcmd[{index}]"), "a text or a list of texts"))?,
        );
    }
    if let Some((field, name)) = hostname(&fields)? {
        host_config.name_host(field, &name);
    }
    host_config.notices.extend(count(
        fields.list("bootcmd")?.len(),
        "command of bootcmd is",
        "commands of bootcmd are",
        "not executed",
    ));
    host_config.notices.extend(not_used(&fields));
    Ok(host_config)
}

/// `None` if the content would have to be fetched.
fn read_file(file: &Fields, budget: &Budget) -> Result<Option<ExtraFile>> {
    let path = file.text("path")?.ok_or_else(|| file.wrong("path", "there"))?;
    let given = file.text("content")?;
    if given.is_none() && file.value("source").is_some() {
        return Ok(None);
    }
    let bytes = decode(file, given.unwrap_or_default().as_bytes(), budget)
        .map_err(|failure| failure.doing(file.place()))?;
    let owner = Owner::parse(file.text("owner")?.unwrap_or_default());
    let mode = match file.value("permissions") {
        None => Some(USUAL_MODE),
        Some(Value::Number(number)) => number.as_u64().and_then(mode_of),
        Some(Value::String(text)) => {
            u64::from_str_radix(text.trim().trim_start_matches("0o"), 8).ok().and_then(mode_of)
        }
        Some(_) => None,
    };
    let mode = mode.ok_or_else(|| file.wrong("permissions", "a mode such as '0640'"))?;
    let appends = file.flag("append")?;
    ExtraFile::new(path, mode, owner, appends, content(bytes)?)
        .map(Some)
        .map_err(|failure| failure.doing(file.place()))
}

/// cc_write_files: base64, gzip, or gzip within base64.
fn decode(file: &Fields, content: &[u8], budget: &Budget) -> Result<Bytes> {
    let encoding = file.text("encoding")?.unwrap_or_default().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "text/plain" => {
            budget.take(content.len())?;
            Ok(Zeroizing::new(content.to_vec()))
        }
        "b64" | "base64" => unpack::base64(content, budget),
        "gz" | "gzip" => unpack::gzip(content, budget),
        "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => {
            unpack::gzip(&unpack::base64(content, budget)?, budget)
        }
        _ => Err(wrong("its encoding is not known").help("cloud-init has b64, gz and gz+b64")),
    }
}

/// A line for the shell, or a list of words. cloud-init ignores null.
fn read_command(command: &Value) -> Option<Option<Command>> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(Zeroizing::new(text.clone())),
        Value::Number(number) => Some(Zeroizing::new(number.to_string())),
        Value::Bool(flag) => Some(Zeroizing::new(flag.to_string())),
        _ => None,
    };
    match command {
        Value::Null => Some(None),
        Value::Array(words) => {
            words.iter().map(word).collect::<Option<Vec<_>>>().map(Command::Words).map(Some)
        }
        text => word(text).map(Command::Shell).map(Some),
    }
}

/// The host name, and the field that it comes from: as cloud-init's `get_hostname_fqdn` on Debian, which
/// calls a host by its first label if nothing else is asked for.
fn hostname(fields: &Fields) -> Result<Option<(&'static str, String)>> {
    if fields.flag("preserve_hostname")? {
        return Ok(None);
    }
    let name = |field: &'static str| -> Result<_> {
        Ok(fields.text(field)?.filter(|name| !name.is_empty()).map(|name| (field, name.to_owned())))
    };
    let (hostname, fqdn) = (name("hostname")?, name("fqdn")?);
    if fields.flag("prefer_fqdn_over_hostname")? {
        return Ok(fqdn.or(hostname));
    }
    Ok(match (hostname, fqdn) {
        (Some(hostname), Some(_)) => Some(hostname),
        (hostname, fqdn) => hostname
            .or(fqdn)
            .map(|(field, name)| (field, name.split('.').next().unwrap_or_default().to_owned())),
    })
}

fn not_used(fields: &Fields) -> Option<String> {
    let names: Vec<&str> = fields.names().filter(|name| !READ.contains(name)).collect();
    let known: Vec<&str> = names.iter().filter(|name| KNOWN.contains(name)).copied().collect();
    let others = names.len() - known.len();
    let others = (others > 0).then(|| format!("{others} unknown"));
    let all: Vec<String> = known.into_iter().map(str::to_owned).chain(others).collect();
    (!all.is_empty()).then(|| format!("these fields are not used: {}", all.join(", ")))
}

#[cfg(test)]
#[path = "cloud_config_tests.rs"]
mod tests;
