//! The identity of the machine and its service manager. `run::Session` reads them once.

use std::time::Duration;

use crate::error::{ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::host::services::Services;
use crate::host::{command, files, identity};
use crate::kubernetes::version::Version;

/// `kubelet --version` takes 160 ms on an idle machine, and seconds during boot.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// Limit on the description of an image, in bytes.
const LONGEST: u64 = 4 << 20;

/// A machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// A hash that no other machine has, see [`identity::of`].
    pub identity: String,
    pub(crate) services: Services,
}

impl Machine {
    /// Reads the machine with its files below `root`. A folder has no service manager.
    pub fn read(root: &Root) -> Result<Self> {
        let identity = identity::of(root).ok_or_else(|| {
            Failure::new(ErrorKind::Host, "this machine has neither a usable SMBIOS system UUID nor a machine-id")
                .help("systemd writes /etc/machine-id at boot; elsewhere run: dbus-uuidgen --ensure=/etc/machine-id")
        })?;
        Ok(Self { identity, services: Services::of(root) })
    }
}

/// The kubelet's version from the image's description, else from this machine's program. No program of a
/// folder is run.
pub fn kubelet_version(root: &Root) -> Result<Version> {
    match described_version(root) {
        Some(version) => Ok(version),
        None if root.is_machine() => version_of("kubelet"),
        None => Err(Failure::new(
            ErrorKind::Host,
            format!("{} does not say the kubelet's version, and no program of a folder is run", described()),
        )
        .help("write it there: {\"variables\": {\"kubernetes\": \"1.36.2\"}}")),
    }
}

/// The image's description.
fn described() -> String {
    format!("/{}/image.json", contract::IMAGE_FOLDER)
}

/// `variables.kubernetes` of the image's description. Reading it takes no time, while the program can take a
/// second.
fn described_version(root: &Root) -> Option<Version> {
    let bytes = files::read(&root.path(described()), LONGEST).ok()??;
    let description: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    description.get("variables")?.get("kubernetes")?.as_str()?.parse().ok()
}

/// Runs the kubelet `program` for its version.
fn version_of(program: &str) -> Result<Version> {
    let output = command::run_checked(program, &["--version"], VERSION_LIMIT)?;
    parse_kubelet_version(&output.stdout).ok_or_else(|| {
        Failure::new(ErrorKind::Host, format!("\"{program} --version\" did not say a version of Kubernetes"))
    })
}

/// Parses `Kubernetes v1.36.2`.
fn parse_kubelet_version(text: &str) -> Option<Version> {
    text.lines().find_map(|line| line.trim().strip_prefix("Kubernetes ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        (folder, root)
    }

    #[test]
    fn the_image_says_which_kubelet_it_carries() {
        let (_folder, root) = root();
        // This machine's kubelet says nothing of a folder.
        let failure = kubelet_version(&root).unwrap_err();
        assert!(failure.message.starts_with("/usr/lib/kiln/image.json does not say"), "{failure}");
        let path = root.path("/usr/lib/kiln/image.json");
        files::write(&path, br#"{"variables": {"kubernetes": "1.36.2"}}"#, files::PUBLIC).unwrap();
        assert_eq!(kubelet_version(&root).unwrap().to_string(), "v1.36.2");
    }

    #[test]
    fn a_machine_without_any_identity_is_an_error() {
        let (_folder, root) = root();
        assert_eq!(Machine::read(&root).unwrap_err().kind, ErrorKind::Host);
        files::write(&root.path("/etc/machine-id"), b"0123456789abcdef0123456789abcdef\n", files::PUBLIC)
            .unwrap();
        let machine = Machine::read(&root).unwrap();
        assert!(!machine.identity.is_empty() && machine.services == Services::None);
    }

    #[test]
    fn the_version_of_a_kubelet_is_read() {
        for (text, expected) in [
            ("Kubernetes v1.20.2\n", Some("v1.20.2")),
            ("I1123 some log\nKubernetes v1.36.2-eks-1\n", Some("v1.36.2")),
            ("kubelet 1.2\n", None),
            ("", None),
        ] {
            assert_eq!(parse_kubelet_version(text).map(|version| version.to_string()).as_deref(), expected);
        }
    }

    #[test]
    fn a_program_that_is_no_kubelet_is_refused() {
        assert!(version_of("true").unwrap_err().message.contains("did not say a version"));
        assert!(version_of("false").is_err());
        assert!(version_of("no-such-kubelet").unwrap_err().message.contains("No such file"));
    }
}
