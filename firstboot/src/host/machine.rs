//! The host's name.

use super::root::Root;
use super::services::Services;
pub use super::system::{
    hostname, os_release, running_hostname, set_hostname, set_transient_hostname, static_hostname,
};

/// Placeholders for hosts without a name, besides all names that start with `localhost.`.
const PLACEHOLDERS: &[&str] = &["", "(none)", "localhost", "localhost4", "localhost6"];

/// Whether a name is a placeholder. This is the only rule for whether a host has a name.
pub fn is_placeholder_name(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    PLACEHOLDERS.contains(&name.as_str()) || name.starts_with("localhost.")
}

/// The host's own name; none for a placeholder.
pub fn own_hostname(root: &Root) -> Option<String> {
    hostname(root).filter(|name| !is_placeholder_name(name))
}

/// Whether systemd-resolved runs. Then /etc/resolv.conf may name only it, and pods need the file with its
/// upstream servers.
pub fn resolved_is_active(services: Services) -> bool {
    services.is_active("systemd-resolved").unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use crate::paths;

    #[test]
    fn a_name_that_only_the_running_kernel_has_does_not_last() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let write = |path, text: &str| files::write(&root.path(path), text.as_bytes(), 0o644).unwrap();
        write(paths::KERNEL_HOSTNAME, "from-dhcp\n");
        assert_eq!(static_hostname(&root), None);
        write(paths::HOSTNAME, "# comment\n\n");
        assert_eq!(static_hostname(&root), None);
        write(paths::HOSTNAME, "# comment\nchosen\n");
        assert_eq!(static_hostname(&root).as_deref(), Some("chosen"));
    }

    #[test]
    fn os_release_is_read_by_field() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let text = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\nVARIANT=\n";
        files::write(&root.path(paths::OS_RELEASE), text.as_bytes(), 0o444).unwrap();
        let found = ["ID", "VERSION_ID", "VARIANT", "VERSION"].map(|field| os_release(&root, field));
        assert_eq!(found, [Some("debian".to_owned()), Some("13".to_owned()), None, None]);
    }

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
