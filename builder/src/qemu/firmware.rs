//! UEFI firmware of this host, by the descriptions that packages of firmware bring for QEMU: its
//! `docs/interop/firmware.json`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::escaped;
use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, IoContext, Result};

/// Where the descriptions are; those of earlier folders count before those of later ones.
const FOLDERS: &[&str] = &["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

/// The two flash drives of UEFI firmware: the code, and a fresh copy of the variables in `folder`.
pub(super) fn drives(arch: Arch, folder: &Path) -> Result<[OsString; 2]> {
    let (code, variables) =
        FOLDERS.iter().find_map(|place| find(Path::new(place), arch)).ok_or_else(missing)?;
    let own = folder.join("uefi-variables.fd");
    fs::copy(&variables, &own).at("copying the firmware's variables to", &own)?;
    let drive = |options: &str, path: &Path| {
        let mut word = OsString::from(format!("if=pflash,format=raw,{options},file="));
        word.push(escaped(path));
        word
    };
    Ok([drive("unit=0,readonly=on", &code), drive("unit=1", &own)])
}

fn missing() -> Error {
    Error::new(ErrorKind::Tool, "no UEFI firmware for QEMU is installed here")
        .help("install it (packages ovmf, qemu-efi-aarch64, edk2-ovmf), or write --firmware bios")
}

/// Code and variables of the first firmware in `folder` that takes programs without a signature.
fn find(folder: &Path, arch: Arch) -> Option<(PathBuf, PathBuf)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(|file| Some(file.ok()?.path())).collect();
    files.sort();
    files
        .iter()
        .find_map(|path| usable(&serde_json::from_slice(&fs::read(path).ok()?).ok()?, arch))
}

fn usable(description: &Value, arch: Arch) -> Option<(PathBuf, PathBuf)> {
    let has =
        |list: &Value, word: &str| list.as_array().is_some_and(|items| items.iter().any(|item| item == word));
    let architecture = match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    };
    let targets = description["targets"].as_array()?;
    let features = &description["features"];
    let fits = has(&description["interface-types"], "uefi")
        && targets.iter().any(|target| target["architecture"] == architecture)
        && !["secure-boot", "requires-smm", "amd-sev-es", "intel-tdx"]
            .iter()
            .any(|word| has(features, word));
    let mapping = &description["mapping"];
    let file = |part: &str| {
        let path = PathBuf::from(mapping[part]["filename"].as_str()?);
        (mapping[part]["format"] == "raw" && path.is_file()).then_some(path)
    };
    if !fits || mapping["device"] != "flash" {
        return None;
    }
    Some((file("executable")?, file("nvram-template")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn firmware_that_asks_for_signatures_or_is_of_another_machine_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let (code, variables) = (file("code"), file("variables"));
        let description = |arch: &str, feature: &str| {
            json!({
                "interface-types": ["uefi"],
                "mapping": {
                    "device": "flash",
                    "executable": {"filename": code, "format": "raw"},
                    "nvram-template": {"filename": variables, "format": "raw"},
                },
                "targets": [{"architecture": arch, "machines": ["pc-q35-*"]}],
                "features": ["acpi-s3", feature],
            })
        };
        assert_eq!(
            usable(&description("x86_64", "verbose-dynamic"), Arch::Amd64),
            Some((code.clone(), variables.clone()))
        );
        assert_eq!(usable(&description("aarch64", ""), Arch::Amd64), None);
        assert_eq!(usable(&description("x86_64", "secure-boot"), Arch::Amd64), None);
        let place = folder.path().join("descriptions");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("10-broken.json"), "{").unwrap();
        fs::write(place.join("60-other.json"), description("x86_64", "").to_string()).unwrap();
        assert!(find(&place, Arch::Amd64).is_some() && find(&place, Arch::Arm64).is_none());
    }
}
