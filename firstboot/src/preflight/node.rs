//! The agent's own checks of the machine. Several find problems from kubeadm's troubleshooting guide.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use contract::runtime::{self, Config, Runtime};

use super::{Context, NEWEST_MINOR, Problem};
use crate::host::resources::{Space, space};
use crate::host::{files, identity, kernel, machine};
use crate::paths;

/// With less free space, the join itself fails.
const LEAST_BYTES: u64 = 64 << 20;
const LEAST_INODES: u64 = 500;

/// The kubelet's default thresholds of hard eviction, in percent: nodefs.available, imagefs.available.
const NODEFS: u64 = 10;
const IMAGEFS: u64 = 15;

/// Limit on a CNI configuration, in bytes.
const CNI_LIMIT: u64 = 1 << 20;

/// NodeName: names that many machines share.
pub fn name(context: &Context) -> Vec<Problem> {
    if machine::is_placeholder_name(&context.join.node.name) {
        return Problem::new(format!(
            "the node's name is \"{}\", which is no machine's own",
            context.join.node.name.escape_debug()
        ))
        .help("name the host (hostnamectl set-hostname), or set nodeRegistration.name")
        .alone();
    }
    let host = machine::hostname(context.root).unwrap_or_default();
    if !machine::is_placeholder_name(&host) {
        return Vec::new();
    }
    Problem::new(format!("the host's name is \"{}\"", host.escape_debug()))
        .help("name the host (hostnamectl set-hostname): pods on the host's network see this name")
        .warning()
        .alone()
}

/// ProductUUID: Kubernetes requires a product_uuid and a machine-id that are unique to the machine.
pub fn product_uuid(context: &Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(why) = identity::product_uuid(context.root).as_deref().and_then(identity::doubt) {
        let help =
            "set the machine's UUID in its firmware or hypervisor; the machine-id tells it apart until then";
        problems
            .push(Problem::new(format!("the product_uuid does not identify this machine: {why}")).help(help));
    }
    if identity::machine_id(context.root).is_none() {
        let help = "run systemd-machine-id-setup; an image ships /etc/machine-id empty, so that each machine makes its own";
        problems.push(Problem::new("/etc/machine-id holds no identifier").help(help));
    }
    problems
}

/// DiskSpace: for the kubelet's and the runtime's folders.
pub fn disk_space(context: &Context) -> Vec<Problem> {
    let folders = [(paths::KUBELET.to_owned(), NODEFS), (runtime_folder(context), IMAGEFS)];
    folders
        .iter()
        .filter_map(|(folder, threshold)| judge(folder, space(&existing(context, folder))?, *threshold))
        .collect()
}

fn runtime_folder(context: &Context) -> String {
    let runtime = runtime_of(context);
    let Some(config) = &runtime.config else { return runtime.data.to_owned() };
    let text = kernel::text(context.root, config.file).unwrap_or_default();
    // Other tables have their own key `root`.
    let table = table(&text, config.data);
    setting(table, "root").into_iter().next().unwrap_or_else(|| runtime.data.to_owned())
}

/// The runtime behind the socket. The paths of an unknown one are taken for those of the usual one.
fn runtime_of(context: &Context) -> &'static Runtime {
    runtime::of_socket(context.cri_socket).unwrap_or_else(|| runtime::default(NEWEST_MINOR))
}

/// The lines of a table of a TOML file; the one at its top has no name.
fn table<'a>(text: &'a str, name: &str) -> &'a str {
    let mut tables = text.split("\n[");
    let found = match name {
        "" => tables.next(),
        _ => tables.find(|table| table.trim_start_matches('[').split(']').next() == Some(name)),
    };
    found.unwrap_or_default()
}

/// A runtime's configuration and the files that count after it.
fn whole(context: &Context, config: &Config) -> String {
    let main = kernel::text(context.root, config.file).unwrap_or_default();
    let mut parts = context.root.list(config.drop_ins);
    parts.retain(|path| path.extension().is_some_and(|end| end == "toml" || end == "conf"));
    let texts = parts.iter().filter_map(|path| files::read(&context.root.path(path), CNI_LIMIT).ok()?);
    texts.fold(main, |all, text| format!("{all}\n{}", String::from_utf8_lossy(&text)))
}

/// The paths of the last line `key = "path"` or `key = ["path", …]` of a TOML file.
fn setting(text: &str, key: &str) -> Vec<String> {
    let value = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
        .next_back();
    let quoted = value.unwrap_or_default().split(['"', '\'']).skip(1).step_by(2);
    quoted.filter(|path| path.starts_with('/')).map(str::to_owned).collect()
}

fn existing(context: &Context, folder: &str) -> PathBuf {
    let mut path = Path::new(folder).to_owned();
    while !context.root.path(&path).is_dir() && path.pop() {}
    context.root.path(&path)
}

fn judge(folder: &str, space: Space, threshold: u64) -> Option<Problem> {
    let mib = space.free >> 20;
    let help = "make room, or give the machine a larger disk";
    if space.free < LEAST_BYTES {
        return Some(Problem::new(format!("only {mib} MiB are free for {folder}")).help(help));
    }
    if space.inodes > 0 && space.free_inodes < LEAST_INODES {
        return Some(
            Problem::new(format!("only {} inodes are free for {folder}", space.free_inodes)).help(help),
        );
    }
    let percent = space.free.saturating_mul(100) / space.total.max(1);
    (percent < threshold).then(|| {
        let message = format!(
            "{percent} % ({mib} MiB) are free for {folder}: below {threshold} % the kubelet evicts pods"
        );
        Problem::new(message).help(help).warning()
    })
}

/// CNIPlugins: the plugins that the runtime, the network configuration and HostPort need.
pub fn cni_plugins(context: &Context) -> Vec<Problem> {
    let folders = plugin_folders(context);
    let mut wanted: BTreeSet<String> = ["loopback", "host-local", "portmap"].map(str::to_owned).into();
    wanted.extend(configured_plugins(context));
    let is_there =
        |name: &str| folders.iter().any(|folder| context.root.path(Path::new(folder).join(name)).is_file());
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    Problem::new(format!("the CNI plugins {} are not in {}", missing.join(", "), folders.join(", ")))
        .help("install the package of CNI plugins, unless the network add-on brings them; without portmap HostPort does not work")
        .alone()
}

fn plugin_folders(context: &Context) -> Vec<String> {
    let runtime = runtime_of(context);
    let named = runtime.config.iter().flat_map(|config| {
        let text = whole(context, config);
        config.plugins.iter().flat_map(move |key| setting(&text, key))
    });
    let folders: Vec<String> = named.collect();
    if folders.is_empty() { runtime.plugins.iter().map(|&path| path.to_owned()).collect() } else { folders }
}

/// The types in the first configuration of /etc/cni/net.d. The runtime uses only that one.
fn configured_plugins(context: &Context) -> BTreeSet<String> {
    let configs = context.root.list(paths::CNI_CONFIGS);
    let first = configs.iter().find(|path| is_network_config(path));
    let first = first.and_then(|path| files::read(&context.root.path(path), CNI_LIMIT).ok()?);
    first.map(|bytes| plugin_types(&bytes)).unwrap_or_default()
}

fn is_network_config(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["conf", "conflist", "json"].iter().any(|known| extension == *known))
}

/// `type` and `ipam.type` of a network, or of the plugins of a list.
fn plugin_types(bytes: &[u8]) -> BTreeSet<String> {
    let Ok(config) = serde_json::from_slice::<Value>(bytes) else { return BTreeSet::new() };
    let list = config
        .get("plugins")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_else(|| vec![config.clone()]);
    let types = list
        .iter()
        .flat_map(|plugin| [plugin.get("type"), plugin.get("ipam").and_then(|ipam| ipam.get("type"))]);
    // Accepts only a name, because it becomes part of a path.
    types
        .flatten()
        .filter_map(Value::as_str)
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .map(str::to_owned)
        .collect()
}

/// MountPropagation: mounts must propagate from the host to containers and back.
pub fn mount_propagation(context: &Context) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mounts = kernel::mounts(context.root);
    if mounts.iter().rfind(|mount| mount.point == "/").is_some_and(|root| !root.shared) {
        let help = "run mount --make-rshared / before the runtime starts; systemd does so";
        problems.push(
            Problem::new("the root file system is mounted private: volumes do not reach containers")
                .help(help),
        );
    }
    for service in runtime::RUNTIMES.iter().map(|runtime| runtime.name) {
        if is_mounted_as_slave(context, service) {
            let help = format!(
                "remove MountFlags=slave from {service}.service, run systemctl daemon-reload and restart it"
            );
            problems.push(
                Problem::new(format!(
                    "{service}.service has MountFlags=slave: service account files do not reach pods"
                ))
                .help(help),
            );
        }
    }
    problems
}

fn is_mounted_as_slave(context: &Context, service: &str) -> bool {
    let unit = format!("{service}.service");
    let folders = [paths::ETC_UNITS, paths::USR_UNITS, paths::LIB_UNITS];
    let Some(text) =
        folders.iter().find_map(|folder| kernel::text(context.root, &format!("{folder}/{unit}")))
    else {
        return false;
    };
    text.lines()
        .rfind(|line| line.trim().starts_with("MountFlags="))
        .is_some_and(|line| matches!(line.trim(), "MountFlags=slave" | "MountFlags=private"))
}

/// SELinux: in enforcing mode without the rules for containers, CoreDNS and other pods do not start.
pub fn selinux(context: &Context) -> Vec<Problem> {
    let is_enforcing =
        kernel::text(context.root, paths::SELINUX_ENFORCE).is_some_and(|text| text.trim() == "1");
    let rules = ["targeted", "mls", "minimum"].map(paths::selinux_container);
    if !is_enforcing || rules.iter().any(|path| context.root.path(path).exists()) {
        return Vec::new();
    }
    Problem::new("SELinux is enforcing and the policy for containers is not installed: containers cannot read their files")
        .help("install container-selinux and set enable_selinux in the runtime, or set SELinux permissive (setenforce 0)")
        .alone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged() {
        let space = |free: u64, total: u64, free_inodes: u64, inodes: u64| Space {
            free: free << 20,
            total: total << 20,
            free_inodes,
            inodes,
        };
        for (space, threshold, expected) in [
            (space(1000, 2000, 9999, 9999), 10, ""),
            (space(10, 2000, 9999, 9999), 10, "only 10 MiB"),
            (space(1000, 2000, 3, 9999), 10, "only 3 inodes"),
            (space(1000, 2000, 0, 0), 10, ""),
            (space(180, 2000, 9999, 9999), 10, "9 % (180 MiB)"),
            (space(280, 2000, 9999, 9999), 15, "14 %"),
            (space(0, 0, 0, 0), 10, "only 0 MiB"),
        ] {
            let problem = judge("/x", space, threshold);
            assert_eq!(problem.is_none(), expected.is_empty(), "{space:?}");
            assert!(problem.is_none_or(|problem| problem.message.contains(expected)), "{space:?}");
        }
        assert!(super::space(Path::new("/")).unwrap().total > 0);
    }

    #[test]
    fn settings_of_toml_are_found() {
        let text = "version = 2\n# root = \"/no\"\nroot = '/other'\n  root = \"/data/containerd\"\nbin_dir=\"/usr/lib/cni\"\nbroken = x\n\
                    bin_dirs = [\"/a\", '/b', \"relative\"]\nrooted = \"/c\"\n";
        for (key, expected) in [
            ("root", &["/data/containerd"][..]),
            ("bin_dir", &["/usr/lib/cni"]),
            ("bin_dirs", &["/a", "/b"]),
            ("broken", &[]),
            ("none", &[]),
        ] {
            assert_eq!(setting(text, key), expected, "{key}");
        }
        let tables = "a = 1\n[crio]\nroot = \"/data\"\n[crio.image]\nroot = \"/no\"\n";
        for (name, expected) in
            [("", "a = 1"), ("crio", "crio]\nroot = \"/data\""), ("image", ""), ("crio.api", "")]
        {
            assert_eq!(table(tables, name), expected, "{name}");
        }
        assert_eq!(table("[crio]\nb = 1", "crio"), "[crio]\nb = 1");
        assert!(setting("root = \"", "root").is_empty() && setting("root =", "root").is_empty());
    }

    #[test]
    fn plugins_of_networks_are_found() {
        let list = br#"{"plugins":[{"type":"bridge","ipam":{"type":"host-local"}},{"type":"../../bin/sh"},{"type":7}]}"#;
        assert_eq!(plugin_types(list), ["bridge", "host-local"].map(str::to_owned).into());
        assert_eq!(plugin_types(br#"{"type":"ptp"}"#), ["ptp".to_owned()].into());
        for wrong in [&b""[..], b"[]", b"null", b"{\"plugins\":3}", b"\xff"] {
            assert!(plugin_types(wrong).is_empty());
        }
    }
}
