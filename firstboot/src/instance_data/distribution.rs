//! The distribution of this machine, by the names that cloud-init gives (`get_linux_distro`, `_get_variant`).

use std::env::consts::ARCH;

use crate::host::machine;
use crate::host::root::Root;

/// Distributions whose variant has the same name.
const VARIANTS: &[&str] = &[
    "almalinux",
    "alpine",
    "aosc",
    "arch",
    "azurelinux",
    "centos",
    "cloudlinux",
    "debian",
    "eurolinux",
    "fedora",
    "mariner",
    "miraclelinux",
    "openeuler",
    "opencloudos",
    "openmandriva",
    "photon",
    "rocky",
    "suse",
    "tencentos",
    "ubuntu",
    "virtuozzo",
];
/// Other distributions: how their identifier begins, and their variant.
const RELATED: &[(&str, &str)] =
    &[("linuxmint", "ubuntu"), ("mint", "ubuntu"), ("redhat", "rhel"), ("opensuse", "suse"), ("sle", "suse")];
const OTHER: &str = "linux";
/// Distributions whose release is their full name.
const NAMED: &[&str] = &["alpine", "photon", "virtuozzo"];

/// `distro`.
pub(super) fn id(root: &Root) -> Option<String> {
    let id = machine::os_release(root, "ID")?;
    Some(if id == "rhel" { "redhat".to_owned() } else { id })
}

/// `distro_version`.
pub(super) fn version(root: &Root) -> Option<String> {
    machine::os_release(root, "VERSION_ID")
}

/// `distro_release`: the code name, for most.
pub(super) fn release(root: &Root) -> Option<String> {
    let id = id(root)?;
    if id.contains("sles") || id.contains("suse") {
        return Some(ARCH.to_owned());
    }
    if NAMED.contains(&id.as_str()) {
        return machine::os_release(root, "PRETTY_NAME");
    }
    machine::os_release(root, "VERSION_CODENAME").or_else(|| {
        let version = machine::os_release(root, "VERSION")?;
        let (_, behind) = version.split_once(" (")?;
        Some(behind.split_once(')')?.0.to_owned())
    })
}

/// `variant`: the family of the distribution.
pub(super) fn variant(root: &Root) -> Option<String> {
    let id = id(root)?.to_lowercase();
    let related = || RELATED.iter().find(|(begin, _)| id.starts_with(begin)).map(|(_, variant)| *variant);
    let same = VARIANTS.iter().find(|variant| **variant == id).copied();
    Some(same.or_else(related).unwrap_or(OTHER).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use crate::paths;

    #[test]
    fn distributions_have_cloud_inits_names() {
        for (text, expected) in [
            (
                "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm",
                ["debian", "12", "bookworm", "debian"],
            ),
            ("ID=linuxmint\nVERSION_ID=\"21\"\nVERSION_CODENAME=vera", ["linuxmint", "21", "vera", "ubuntu"]),
            ("ID=\"rhel\"\nVERSION_ID=\"9.4\"\nVERSION=\"9.4 (Plow)\"", ["redhat", "9.4", "Plow", "rhel"]),
            (
                "ID=alpine\nVERSION_ID=3.20.1\nPRETTY_NAME=\"Alpine Linux v3.20\"",
                ["alpine", "3.20.1", "Alpine Linux v3.20", "alpine"],
            ),
            ("ID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"", ["opensuse-leap", "15.6", ARCH, "suse"]),
            ("ID=flatcar\nVERSION_ID=4081.2.0\nVERSION=4081.2.0", ["flatcar", "4081.2.0", "", "linux"]),
            ("", ["", "", "", ""]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::at(folder.path());
            files::write(&root.path(paths::OS_RELEASE), text.as_bytes(), 0o444).unwrap();
            let found = [id(&root), version(&root), release(&root), variant(&root)];
            assert_eq!(found.map(Option::unwrap_or_default), expected, "{text}");
        }
    }
}
