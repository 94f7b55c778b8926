//! Refuses in a layer what its operating system does not have: a layer is for Linux or for Windows.

use super::layer_spec::{DirectorySpec, FileSpec, LayerSpec};
use super::source::{Source, Step};
use super::value::{ImagePath, Spelling};
use super::windows::names;
use crate::at;
use crate::error::Result;

/// Refuses keys that the layer's operating system does not have, and a layer for both kinds.
///
/// # Errors
/// The first of them.
pub(super) fn check(file: &LayerSpec, source: &Source) -> Result<()> {
    if file.is_for_windows() && file.os.len() > 1 {
        let error = source.error_at(&at!["os"], "a layer is for Windows or for Linux, not for both");
        return Err(error.help("make two layers, and have both provide the same"));
    }
    if !file.is_for_windows() {
        check_paths(file, source, Spelling::Unix)?;
        return match first_windows_key(file) {
            None => Ok(()),
            Some(key) => Err(source
                .error_at(&at![key], &format!("\"{key}\" is for Windows, and this layer is for Linux"))
                .help("write os = [\"windows\"], or leave it out")),
        };
    }
    check_paths(file, source, Spelling::Windows)?;
    if let Some(key) = first_linux_key(file) {
        let error =
            source.error_at(&at![key], &format!("\"{key}\" is for Linux, and this layer is for Windows"));
        let help = match key {
            "units" => "describe the service in [[windows-service]]",
            _ => "leave it out: Windows has no packages, and no system extensions",
        };
        return Err(error.help(help));
    }
    first_unix_right(file).map_or(Ok(()), |path| {
        let error = source.error_at(&path, "files on Windows have no mode, uid or gid");
        Err(error.help("leave it out: they take the rights of their folder"))
    })
}

fn first_windows_key(file: &LayerSpec) -> Option<&'static str> {
    let keys = [
        ("registry", file.registry.is_empty()),
        ("windows-service", file.windows_service.is_empty()),
        ("firewall", file.firewall.is_empty()),
        ("environment", file.environment.is_empty()),
        ("path", file.path.is_empty()),
        ("windows-driver", file.windows_driver.is_empty()),
        ("windows-features", file.windows_features.is_empty()),
        ("enables-windows-features", file.enables_windows_features.is_empty()),
    ];
    keys.into_iter().find(|(_, is_empty)| !is_empty).map(|(key, _)| key)
}

fn first_linux_key(file: &LayerSpec) -> Option<&'static str> {
    let keys = [
        ("units", file.units.enable.is_empty() && file.units.mask.is_empty()),
        ("packages", file.packages.is_empty()),
        ("replaces-packages", file.replaces_packages.is_empty()),
        ("extension", file.extension.is_none()),
    ];
    keys.into_iter().find(|(_, is_empty)| !is_empty).map(|(key, _)| key)
}

/// The first mode, owner or group.
fn first_unix_right(file: &LayerSpec) -> Option<Vec<Step>> {
    let artifacts = file.artifact.iter().enumerate().find_map(|(index, step)| {
        let in_archive = step.archive.as_ref().is_some_and(|archive| archive.mode.is_some());
        (step.mode.is_some() || in_archive).then(|| at!["artifact", index].to_vec())
    });
    let files = || {
        let is_set = |step: &FileSpec| step.mode.is_some() || step.uid != 0 || step.gid != 0;
        file.file.iter().position(is_set).map(|index| at!["file", index].to_vec())
    };
    let folders = || {
        let is_set = |step: &DirectorySpec| step.mode.is_some() || step.uid != 0 || step.gid != 0;
        file.directory.iter().position(is_set).map(|index| at!["directory", index].to_vec())
    };
    artifacts.or_else(files).or_else(folders)
}

/// Every path that the layer writes, and where it stands.
fn paths(file: &LayerSpec) -> Vec<(Vec<Step>, &ImagePath)> {
    let artifacts = file.artifact.iter().enumerate().flat_map(|(index, step)| {
        let into = step.archive.as_ref().and_then(|archive| archive.into.as_ref());
        let whole = step.path.as_ref().map(|path| (at!["artifact", index, "path"].to_vec(), path));
        whole
            .into_iter()
            .chain(into.map(|path| (at!["artifact", index, "archive"].to_vec(), path)))
    });
    let files = file.file.iter().map(|step| &step.path).enumerate();
    let files = files.map(|(index, path)| (at!["file", index, "path"].to_vec(), path));
    let folders = file.directory.iter().map(|step| &step.path).enumerate();
    let folders = folders.map(|(index, path)| (at!["directory", index, "path"].to_vec(), path));
    let links = file.link.iter().map(|step| &step.path).enumerate();
    let links = links.map(|(index, path)| (at!["link", index, "path"].to_vec(), path));
    let replaces = file.replaces.iter().enumerate();
    let replaces = replaces.map(|(index, path)| (at!["replaces", index].to_vec(), path));
    artifacts.chain(files).chain(folders).chain(links).chain(replaces).collect()
}

fn check_paths(file: &LayerSpec, source: &Source, wanted: Spelling) -> Result<()> {
    for (place, path) in paths(file) {
        if path.1 != wanted {
            let (message, help) = match wanted {
                Spelling::Unix => (
                    "this is a path of Windows, and the layer is for Linux",
                    "write os = [\"windows\"], or an absolute path such as /etc/hosts",
                ),
                Spelling::Windows => (
                    "this is a path of Linux, and the layer is for Windows",
                    r"write it with the drive, in single quotes: 'C:\k\kubelet.exe'",
                ),
            };
            return Err(source.error_at(&place, message).help(help));
        }
        if wanted == Spelling::Windows {
            names::check_path(&path.0)
                .map_err(|(message, help)| source.error_at(&place, &message).help(help))?;
        }
    }
    Ok(())
}
