//! cloud-init's `#cloud-config` (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html>): reads
//! its files, its commands and the host name. The agent does nothing else in it.

use serde_json::{Map, Number, Value};
use zeroize::Zeroizing;

use super::bounds::{Budget, Bytes, text, wrong};
use super::cloud_merge::Mergers;
use super::embedded::{HostConfig, may_join};
use super::files::{ExtraFile, Owner, content, mode_of};
use super::mentions::{names_a_join, texts, unread};
use super::shell::{self, Script};
use super::tree::{Fields, Tree};
use super::unpack;
use crate::error::Result;
use crate::text::yaml::{python_text, written_otherwise};

/// The most that the copies of a JSON patch may add, in bytes as JSON.
const MOST_COPIED: usize = 1 << 20;

/// Fields whose names may be shown: those of cloud-init, besides those that the agent reads.
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
    "snap",
    "coreos",
];
/// Fields of which the agent reads one field alone.
const PARTLY_READ: &[(&str, &str)] = &[("snap", "commands"), ("coreos", "units")];
/// The folders of scripts that cloud-init runs before those of the user, in its order.
const SCRIPTS: &[&str] = &[
    "/var/lib/cloud/scripts/per-once/",
    "/var/lib/cloud/scripts/per-boot/",
    "/var/lib/cloud/scripts/per-instance/",
];
/// Commands of a unit of CoreOS's old cloud-config that start it.
const STARTS: &[&str] = &["start", "restart", "reload-or-restart"];

/// The default mode of a file.
const USUAL_MODE: u32 = 0o644;

/// The cloud-configs of all parts, merged in their order.
#[derive(Default)]
pub struct Merged {
    fields: Map<String, Value>,
    /// Whether the text of a part may be meant to join.
    may_join: bool,
    /// Whether a field that named a join is not there any more.
    is_join_lost: bool,
}

impl Merged {
    /// Merges one more part. `merge_type` is the header of the part that says how.
    pub fn add(&mut self, bytes: &[u8], merge_type: Option<&str>) -> Result<()> {
        let text = text(bytes)?;
        if text.contains("!!binary") || text.contains("yaml.org,2002:binary") {
            return Err(wrong("a value is tagged as binary, which is not read")
                .help("write encoding: b64 beside the content instead"));
        }
        let tree = Tree::of_cloud_init(text)?;
        let has_duplicates = tree.has_duplicates;
        let mut part = tree.into_fields()?.unwrap_or_default();
        let mergers = Mergers::of(&mut part, merge_type)?;
        // The last one of several fields with the same name counts, in a part and in a message.
        let joining = joining_fields(&self.fields);
        self.is_join_lost |= has_duplicates && names_a_join(bytes) && joining_fields(&part).is_empty();
        self.fields = mergers.merge(std::mem::take(&mut self.fields), part);
        let left = joining_fields(&self.fields);
        self.is_join_lost |= joining.iter().any(|field| !left.contains(field));
        self.may_join |= may_join(bytes);
        Ok(())
    }

    /// Changes the merged config by a JSON patch, `#cloud-config-jsonp`.
    pub fn patch(&mut self, bytes: &[u8]) -> Result<()> {
        let malformed = || wrong("it is not a JSON patch that fits the parts before it");
        let (_, patch) = text(bytes)?.trim_start().split_once('\n').ok_or_else(malformed)?;
        let patch: json_patch::Patch = serde_json::from_str(patch).map_err(|_| malformed())?;
        let mut document = Value::Object(std::mem::take(&mut self.fields));
        let patched = patched(&mut document, patch);
        if let Value::Object(fields) = document {
            self.fields = fields;
        }
        self.may_join |= may_join(bytes);
        patched.map_err(|()| malformed())
    }

    /// Reads the merged config.
    pub fn read(self, budget: &Budget) -> HostConfig {
        let mut host_config =
            HostConfig { form: "cloud-config", may_join: self.may_join, ..HostConfig::default() };
        if self.is_join_lost {
            host_config.unclear = Some(
                wrong("a field that names kubeadm join is replaced by a later one of the same name").help(
                    "write one such field, or append to it: Merge-Type: list(append)+dict(recurse_list)",
                ),
            );
        }
        let tree = Tree::of(self.fields);
        if let Ok(Some(fields)) = tree.fields() {
            read_fields(&mut host_config, &fields, budget);
        }
        host_config
    }
}

/// The names of the fields that name a join.
fn joining_fields(fields: &Map<String, Value>) -> Vec<String> {
    let names_it = |(_, value): &(&String, &Value)| names_a_join(texts(value).as_bytes());
    fields.iter().filter(names_it).map(|(name, _)| name.clone()).collect()
}

/// Applies a patch, of which copies may not make the document grow without end.
fn patched(document: &mut Value, patch: json_patch::Patch) -> std::result::Result<(), ()> {
    let mut copied = 0;
    for operation in patch.0 {
        if let json_patch::PatchOperation::Copy(copy) = &operation {
            copied += document.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
        }
        if copied > MOST_COPIED {
            return Err(());
        }
        json_patch::patch(document, &[operation]).map_err(|_| ())?;
    }
    Ok(())
}

/// Reads a cloud-config that stands alone.
pub fn read(bytes: &[u8], budget: &Budget) -> Result<HostConfig> {
    let mut merged = Merged::default();
    merged.add(bytes, None)?;
    Ok(merged.read(budget))
}

/// A mistake is noted, because it is not known yet whether the config counts.
fn read_fields(host_config: &mut HostConfig, fields: &Fields, budget: &Budget) {
    for file in host_config.noted(fields.maps("write_files")).unwrap_or_default() {
        match host_config.noted(read_file(&file, budget)) {
            Some(Written::Here { file: read, is_copy }) => {
                host_config.files.push(read);
                if is_copy {
                    host_config.notices.push(format!(
                        "{} names a source, which is not fetched: its content is written",
                        file.place()
                    ));
                }
            }
            Some(Written::Elsewhere) => host_config
                .notices
                .push(format!("{} comes from elsewhere and is not fetched", file.place())),
            // Nobody knows what is in it.
            None => host_config.may_join |= file.value("encoding").is_some(),
        }
    }
    host_config.before_files = host_config.noted(one_script(fields, "bootcmd")).flatten();
    let script = host_config.noted(one_script(fields, "runcmd")).flatten();
    host_config.scripts.extend(script);
    let snaps = host_config.noted(snap_commands(fields)).unwrap_or_default();
    host_config.early = snaps.into_iter().chain(script_files(&host_config.files)).collect();
    let read = coreos_units(host_config, fields);
    host_config.noted(read);
    unread_fields(host_config, fields);
    match host_config.noted(hostname(fields)) {
        Some(HostName::Named(field, name)) => host_config.name_host(field, &name),
        Some(HostName::OfPlatform) => host_config.notices.push(
            "hostname is not used: with prefer_fqdn_over_hostname, the platform's whole name counts before it"
                .to_owned(),
        ),
        Some(HostName::Unsaid) | None => {}
    }
    host_config.notices.extend(not_used(fields));
}

/// A file of `write_files`.
enum Written {
    Here {
        file: ExtraFile,
        /// Whether a `source` stands beside the content.
        is_copy: bool,
    },
    /// The content would have to be fetched.
    Elsewhere,
}

fn read_file(file: &Fields, budget: &Budget) -> Result<Written> {
    let path = file.text("path")?.ok_or_else(|| file.wrong("path", "there"))?;
    let given = file.scalar("content")?;
    let has_source = file.value("source").is_some();
    if given.is_none() && has_source {
        return Ok(Written::Elsewhere);
    }
    let bytes = decode(file, given.unwrap_or_default().as_bytes(), budget)
        .map_err(|failure| failure.doing(file.place()))?;
    let owner = Owner::parse(&file.scalar("owner")?.unwrap_or_default());
    let permissions = file.value("permissions");
    let mode = match permissions.map(|value| written_otherwise(value).unwrap_or(value)) {
        None => Some(USUAL_MODE),
        Some(Value::Number(number)) => whole_part(number).and_then(mode_of),
        Some(Value::String(text)) => {
            u64::from_str_radix(text.trim().trim_start_matches("0o"), 8).ok().and_then(mode_of)
        }
        Some(_) => None,
    };
    let mode = mode.ok_or_else(|| file.wrong("permissions", "a mode such as '0640'"))?;
    let appends = file.flag("append")?;
    ExtraFile::new(path, mode, owner, appends, content(bytes)?)
        .map(|file| Written::Here { file, is_copy: has_source })
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

/// cloud-init takes a number as it is, and of a fraction what is in front of the point.
fn whole_part(number: &Number) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "too large ones are no mode")]
    let of_float = |float: f64| (float >= 0.0).then_some(float as u64);
    number.as_u64().or_else(|| number.as_f64().and_then(of_float))
}

/// The one script that cloud-init makes of all commands of `runcmd` or of `bootcmd` (util.shellify): what
/// ends the shell in one of them ends all.
fn one_script(fields: &Fields, name: &str) -> Result<Option<Script>> {
    let mut script = Script::default();
    for (index, command) in fields.list(name)?.iter().enumerate() {
        let line = match command {
            Value::Null => continue,
            Value::String(line) => Some(Zeroizing::new(line.clone())),
            Value::Array(list) => words(list).map(|words| shell::quoted(&words)),
            _ => None,
        };
        let wrong = || fields.wrong(&format!("{name}[{index}]"), "a text or a list of texts");
        script.push_str(&line.ok_or_else(wrong)?);
        script.push('\n');
    }
    Ok(Some(script).filter(|script| !script.is_empty()))
}

/// The words of a command, as Python writes them.
fn words(list: &[Value]) -> Option<Vec<Zeroizing<String>>> {
    list.iter().map(|word| python_text(word).map(Zeroizing::new)).collect()
}

/// cc_snap: texts for the shell, and lists of words to which it adds `snap` if that is missing. Each has a
/// process of its own.
fn snap_commands(fields: &Fields) -> Result<Vec<Script>> {
    let Some(snap) = fields.fields("snap")? else { return Ok(Vec::new()) };
    let mut commands: Vec<&Value> = Vec::new();
    match snap.value("commands") {
        Some(Value::Array(list)) => commands.extend(list),
        // The parser keeps them in the order of their names.
        Some(Value::Object(named)) => commands.extend(named.values()),
        Some(_) => return Err(snap.wrong("commands", "a list or a map of commands")),
        None => {}
    }
    let script = |command: &Value| match command {
        Value::String(line) => Some(Zeroizing::new(line.clone())),
        Value::Array(list) => {
            // A null as the first word says that nothing is to be added.
            let has_program =
                matches!(list.first(), Some(Value::Null)) || list.first() == Some(&"snap".into());
            let program = if has_program { None } else { Some(Zeroizing::new("snap".to_owned())) };
            let list = words(list.strip_prefix(&[Value::Null]).unwrap_or(list))?;
            Some(shell::quoted(&program.into_iter().chain(list).collect::<Vec<_>>()))
        }
        _ => None,
    };
    let scripts = commands.into_iter().filter(|command| !command.is_null()).map(script);
    let scripts: Option<Vec<_>> = scripts.collect();
    scripts.ok_or_else(|| snap.wrong("commands", "of texts or lists of texts"))
}

/// The scripts among the files that cloud-init runs by itself.
fn script_files(files: &[ExtraFile]) -> Vec<Script> {
    let folder = |file: &ExtraFile| SCRIPTS.iter().position(|folder| file.path.starts_with(folder));
    let mut scripts: Vec<(usize, &str)> = files
        .iter()
        .filter(|file| file.mode & 0o111 != 0)
        .filter_map(|file| Some((folder(file)?, file.path.as_str())))
        .collect();
    scripts.sort_unstable();
    scripts.dedup();
    scripts
        .iter()
        .map(|(_, path)| shell::quoted(&[Zeroizing::new((*path).to_owned())]))
        .collect()
}

/// The units of CoreOS's old cloud-config
/// (<https://github.com/coreos/coreos-cloudinit/blob/master/Documentation/cloud-config.md>).
fn coreos_units(host_config: &mut HostConfig, fields: &Fields) -> Result<()> {
    let Some(coreos) = fields.fields("coreos")? else { return Ok(()) };
    for unit in coreos.maps("units")? {
        let name = unit.text("name")?.unwrap_or_default();
        if let Some(content) = unit.text("content")? {
            host_config.units.add(name, None, content)?;
        }
        for drop_in in unit.maps("drop-ins")? {
            let content = drop_in.text("content")?.unwrap_or_default();
            host_config.units.add(name, Some(drop_in.text("name")?.unwrap_or_default()), content)?;
        }
        let starts = unit.text("command")?.is_some_and(|command| STARTS.contains(&command));
        if (starts || unit.flag("enable")?) && !unit.flag("mask")? {
            host_config.units.started.push(name.to_owned());
        }
    }
    Ok(())
}

/// Notes a field that is not read and names a join.
fn unread_fields(host_config: &mut HostConfig, fields: &Fields) {
    let joins = |value: &Value| names_a_join(texts(value).as_bytes());
    for name in fields.names() {
        let Some(value) = fields.value(name) else { continue };
        let read = PARTLY_READ.iter().find(|(field, _)| *field == name).map(|(_, read)| *read);
        let names_it = match (value, read) {
            (Value::Object(inner), Some(read)) => {
                inner.iter().any(|(name, value)| name != read && joins(value))
            }
            (value, _) => !READ.contains(&name) && joins(value),
        };
        if names_it {
            let is_shown = KNOWN.contains(&name) || read.is_some();
            let field = if is_shown { name } else { "a field that is not cloud-init's" };
            host_config.unclear.get_or_insert_with(|| unread(field));
        }
    }
}

/// What a cloud-config says about the host name.
enum HostName {
    Unsaid,
    /// The platform's own name is preferred to the one that is given.
    OfPlatform,
    /// The field, and the name.
    Named(&'static str, String),
}

/// The host name, as cloud-init's cc_set_hostname has it on Debian: `get_hostname_fqdn`, of which the first
/// label counts if nothing else is asked for.
fn hostname(fields: &Fields) -> Result<HostName> {
    if fields.flag("preserve_hostname")? {
        return Ok(HostName::Unsaid);
    }
    let name = |field: &'static str| -> Result<_> {
        Ok(fields.scalar(field)?.map(|name| (field, name.into_owned())))
    };
    let prefers_whole = fields.flag("prefer_fqdn_over_hostname")?;
    let (hostname, fqdn) = (name("hostname")?, name("fqdn")?);
    // A host name with dots is the whole name too, if there is no other.
    let (short, whole) = match (hostname, fqdn) {
        (Some((field, name)), None) if name.find('.').is_some_and(|dot| dot > 0) => {
            (None, Some((field, name)))
        }
        other => other,
    };
    let named = match (short, whole) {
        (_, Some(whole)) if prefers_whole && !whole.1.is_empty() => Some(whole),
        (Some(short), Some(whole)) => Some(if short.1.is_empty() { whole } else { short }),
        (None, Some((field, name))) => Some((field, name.split('.').next().unwrap_or_default().to_owned())),
        (Some(_), None) if prefers_whole => return Ok(HostName::OfPlatform),
        (short, None) => short,
    };
    let named = named.filter(|(_, name)| !name.is_empty());
    Ok(named.map_or(HostName::Unsaid, |(field, name)| HostName::Named(field, name)))
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
