//! `extension-release`: on which hosts systemd merges an extension (os-release(5)).

use crate::definition::plan::Arch;
use crate::tree::TreePath;

/// The hosts that an extension is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// `ID=`: an operating system; any without it.
    pub id: Option<String>,
    /// `VERSION_ID=`: one of its releases.
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL=`: its level of compatibility, instead of a release.
    pub sysext_level: Option<String>,
}

/// The name that the file has in the extension `name`. systemd wants the extension's image to have the same.
pub fn path(name: &str) -> TreePath {
    format!("usr/lib/extension-release.d/extension-release.{name}")
}

/// The text of the file. With `reload`, systemd reads its units anew after it has merged the extension.
///
/// `SYSEXT_SCOPE=` is left out, so that it is `system portable`. An initrd that merges extensions into the
/// root, not into itself, wants that scope: a vendor's sets `SYSTEMD_IN_INITRD=0` for it (bootengine,
/// `initrd-setup-root`), and newer releases of systemd ask the root whether it is an initrd.
pub fn text(hosts: &Hosts, arch: Arch, reload: bool) -> String {
    let lines = [
        Some(("ID", hosts.id.as_deref().unwrap_or("_any"))),
        hosts.version_id.as_deref().map(|value| ("VERSION_ID", value)),
        hosts.sysext_level.as_deref().map(|value| ("SYSEXT_LEVEL", value)),
        Some(("ARCHITECTURE", architecture(arch))),
        reload.then_some(("EXTENSION_RELOAD_MANAGER", "1")),
    ];
    lines.into_iter().flatten().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// systemd's name of an architecture (`ConditionArchitecture=` in systemd.unit(5)).
pub const fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86-64",
        Arch::Arm64 => "arm64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_of_the_architecture_unless_it_is_said() {
        assert_eq!(
            text(&Hosts::default(), Arch::Amd64, true),
            "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n"
        );
        let some = |text: &str| Some(text.to_owned());
        let hosts = Hosts { id: some("ubuntu"), version_id: some("22.04"), sysext_level: None };
        assert_eq!(text(&hosts, Arch::Arm64, false), "ID=ubuntu\nVERSION_ID=22.04\nARCHITECTURE=arm64\n");
    }
}
