//! The host's name.

use super::files;
use super::kernel;
use super::root::Root;
use super::services::Services;
use crate::error::{Context, Result};

/// The host's name: the kernel's (which uname(2) gives), else that of /etc/hostname; none when it has no name
/// yet.
pub fn hostname(root: &Root) -> Option<String> {
    let kernel = kernel::text(root, "/proc/sys/kernel/hostname").map(|text| text.trim().to_owned());
    kernel.filter(|name| !name.is_empty() && name != "(none)").or_else(|| {
        let file = kernel::text(root, "/etc/hostname")?;
        file.lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
    })
}

/// The name of the running host, whatever root is given; empty when it has none.
pub fn running_hostname() -> String {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
}

/// Names of hosts that have no name of their own; so has every name below `localhost.`.
const PLACEHOLDERS: &[&str] = &["", "(none)", "localhost", "localhost4", "localhost6"];

/// Whether a name does not tell one host from another. This is the one rule for whether a host has a name.
pub fn is_placeholder_name(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    PLACEHOLDERS.contains(&name.as_str()) || name.starts_with("localhost.")
}

/// The host's own name; none for a placeholder.
pub fn own_hostname(root: &Root) -> Option<String> {
    hostname(root).filter(|name| !is_placeholder_name(name))
}

/// Names the host: now, and for the next boots.
pub fn set_hostname(root: &Root, name: &str) -> Result<()> {
    files::write(&root.path("/etc/hostname"), format!("{name}\n").as_bytes(), files::PUBLIC)?;
    if root.is_machine() {
        nix::unistd::sethostname(name).doing(format!("naming the host {name}"))?;
    }
    Ok(())
}

/// Whether systemd-resolved runs: then /etc/resolv.conf may name it, and pods need the file with the servers
/// behind it.
pub fn resolved_is_active(services: Services) -> bool {
    services.is_active("systemd-resolved").unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_name_is_taken_before_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(hostname(&root), None);
        set_hostname(&root, "node-7").unwrap();
        assert_eq!(hostname(&root).as_deref(), Some("node-7"));
        for (kernel, expected) in [("n1.example\n", "n1.example"), ("(none)\n", "node-7"), ("\n", "node-7")] {
            files::write(&root.path("/proc/sys/kernel/hostname"), kernel.as_bytes(), 0o644).unwrap();
            assert_eq!(hostname(&root).as_deref(), Some(expected));
        }
    }

    #[test]
    fn placeholders_are_no_names() {
        let placeholders = [
            "",
            " ",
            "(none)",
            "LocalHost",
            "localhost.localdomain",
            "localhost.x",
            "localhost4",
            "localhost6",
        ];
        for name in placeholders {
            assert!(is_placeholder_name(name), "{name}");
        }
        for name in ["n1", "localhost5", "mylocalhost", "n1.localhost"] {
            assert!(!is_placeholder_name(name), "{name}");
        }
    }
}
