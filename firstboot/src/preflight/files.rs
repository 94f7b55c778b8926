//! Checks of files, folders and programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Context, Problem};
use crate::config::role::Role;
use crate::host::{command, files};
use crate::paths;

/// The packages of programs with another name.
const PACKAGES: &[(&str, &str)] = &[
    ("crictl", "cri-tools"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nsenter", "util-linux"),
    ("losetup", "mount (or util-linux)"),
    ("cp", "coreutils"),
    ("touch", "coreutils"),
    ("mount", "mount (or util-linux)"),
];

/// DirAvailable: old static pods would start with the kubelet.
pub fn manifests(context: &Context) -> Vec<Problem> {
    let is_used =
        fs::read_dir(context.root.path(paths::MANIFESTS)).is_ok_and(|mut entries| entries.next().is_some());
    let problem = || {
        Problem::new("/etc/kubernetes/manifests is not empty")
            .help("run firstboot reset, or remove what lies there")
    };
    is_used.then(problem).into_iter().collect()
}

/// FileAvailable for the kubelet's credentials.
pub fn kubelet_conf(context: &Context) -> Vec<Problem> {
    available(context, Path::new(paths::KUBELET_CONF))
}

/// FileAvailable for the credentials of the bootstrap.
pub fn bootstrap_conf(context: &Context) -> Vec<Problem> {
    available(context, Path::new(paths::BOOTSTRAP_CONF))
}

/// FileAvailable for the cluster's CA, at the path in the node config. A control plane may bring its CA.
pub fn ca_certificate(context: &Context) -> Vec<Problem> {
    if context.join.role != Role::Worker {
        return Vec::new();
    }
    available(context, &context.join.ca_cert_path)
}

/// kubeadm's name of the check: the path with `-` for every `/`.
pub fn ca_certificate_name(context: &Context) -> String {
    format!("FileAvailable-{}", context.join.ca_cert_path.display().to_string().replace('/', "-"))
}

fn available(context: &Context, path: &Path) -> Vec<Problem> {
    if context.is_resumed || !context.root.path(path).exists() {
        return Vec::new();
    }
    Problem::new(format!("{} exists already: this machine has joined a cluster", path.display()))
        .help("run firstboot reset first, if it is to join another one")
        .alone()
}

/// FileExisting for a program that the kubelet, the runtime or a network add-on runs.
pub fn program(context: &Context, name: &str) -> Vec<Problem> {
    if command::find(context.root, context.path, name).is_some() {
        return Vec::new();
    }
    let package = PACKAGES.iter().find(|row| row.0 == name).map_or(name, |row| row.1);
    Problem::new(format!("the program {name} is not in PATH"))
        .help(format!("install the package {package}"))
        .alone()
}

/// WritableFolders: finds a read-only file system before any file is written.
pub fn writable(context: &Context) -> Vec<Problem> {
    let folders = [paths::KUBERNETES, paths::KUBELET];
    let problem =
        |folder: &str| Some(unwritable(folder, &files::probe(&existing(context, Path::new(folder))).err()?));
    folders.into_iter().filter_map(problem).collect()
}

fn unwritable(folder: &str, error: &io::Error) -> Problem {
    let help = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable; a Kiln image lays a writable file system over /etc and /var"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on this file system, or a larger disk"
        }
        _ => "look at the file system and its mount options",
    };
    Problem::new(format!("{folder} cannot be written: {}", error.kind())).help(help)
}

/// VolumePluginFolder: if /usr is read-only, the kubelet cannot make the folder of FlexVolume drivers at its
/// default path.
pub fn volume_plugins(context: &Context) -> Vec<Problem> {
    let configured = context.kubelet_field("volumePluginDir").and_then(|value| value.as_str());
    let folder = context.argument("volume-plugin-dir").or(configured).unwrap_or(paths::VOLUME_PLUGINS);
    let Err(error) = files::probe(&existing(context, Path::new(folder))) else { return Vec::new() };
    if error.kind() != io::ErrorKind::ReadOnlyFilesystem {
        return Vec::new();
    }
    Problem::new(format!("the folder of volume plugins {folder} lies on a read-only file system: FlexVolume drivers cannot be installed"))
        .help("set nodeRegistration.kubeletExtraArgs volume-plugin-dir to a writable folder such as /var/lib/kubelet/volume-plugins")
        .alone()
}

/// The folder itself, or its nearest parent that exists. Follows absolute links below the root.
fn existing(context: &Context, folder: &Path) -> PathBuf {
    let mut folder = folder.to_owned();
    if let Ok(target) = fs::read_link(context.root.entry(&folder)) {
        folder = folder.parent().unwrap_or(Path::new("/")).join(target);
    }
    while !context.root.path(&folder).is_dir() && folder.pop() {}
    context.root.path(&folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_and_full_file_systems_have_advice_of_their_own() {
        for (code, message, help) in [
            (
                nix::Error::EROFS,
                "/x cannot be written: read-only filesystem or storage medium",
                "mount it writable",
            ),
            (nix::Error::ENOSPC, "/x cannot be written: no storage space", "make room"),
            (nix::Error::EIO, "/x cannot be written: ", "look at the file system"),
        ] {
            let problem = unwritable("/x", &io::Error::from(code));
            assert!(problem.message.starts_with(message), "{problem:?}");
            assert!(problem.help.unwrap().starts_with(help));
        }
    }
}
