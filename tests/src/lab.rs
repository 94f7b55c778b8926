//! The lab: real parts in the shape of upstream's release hosts (`tests/lab/mirror`), the same on every
//! machine that can run these tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::workspace;

/// Of which architecture the parts of a lab are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// This machine's.
    Host,
    /// arm64, of which this machine is not.
    Arm64,
}

/// A filled mirror.
#[derive(Debug)]
pub struct Lab {
    /// Of which architecture its parts are.
    pub arch: Arch,
    /// The folder to pass as `--mirror https://=`.
    pub mirror: PathBuf,
    /// Version of each part: `kubernetes`, `containerd`, `runc`, `cni-plugins`, and `crictl` where one can be
    /// had.
    pub versions: BTreeMap<String, String>,
}

/// The lab of this machine, filled on first use.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let _alone = workspace::exclusive("lab");
        Lab::filled(Arch::Host, &workspace::output::<&str>(&script("mirror"), []))
    })
}

/// The lab with parts for arm64, of the Kubernetes version of [`lab`]; why there is none otherwise.
pub fn lab_of_arm64() -> Result<&'static Lab, &'static str> {
    static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();
    let fill = || {
        let version = &lab().versions["kubernetes"];
        let _alone = workspace::exclusive("lab");
        let filled = command("mirror", Arch::Arm64)
            .env("KILN_LAB_VERSION", version)
            .env_remove("KILN_LAB_KUBERNETES")
            .output()
            .expect("the script starts");
        if filled.status.success() {
            Ok(Lab::filled(Arch::Arm64, &String::from_utf8_lossy(&filled.stdout)))
        } else {
            Err(String::from_utf8_lossy(&filled.stderr).trim().to_owned())
        }
    };
    LAB.get_or_init(fill).as_ref().map_err(String::as_str)
}

/// The parts of other container runtimes, as a second mirror (`tests/lab/runtimes`).
pub fn runtimes() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let _alone = workspace::exclusive("lab");
        Lab::filled(Arch::Host, &workspace::output::<&str>(&script("runtimes"), []))
    })
}

impl Lab {
    /// The lab in the folder that its script printed.
    fn filled(arch: Arch, printed: &str) -> Self {
        let mirror = PathBuf::from(printed.trim());
        let text = std::fs::read_to_string(mirror.join("versions")).expect("the mirror lists its versions");
        let versions = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(part, version)| (part.to_owned(), version.to_owned()));
        Self { arch, versions: versions.collect(), mirror }
    }

    /// The line of a JoinConfiguration's `nodeRegistration` that ignores the check of a program which the lab
    /// does not have: `crictl` comes from upstream only, and kubeadm's check asks for it in the image.
    pub fn ignored_checks(&self) -> &'static str {
        if self.versions.contains_key("crictl") {
            ""
        } else {
            "  ignorePreflightErrors: [FileExisting-crictl]\n"
        }
    }

    /// The `--set` values that fit `definition` to the versions in the mirror.
    pub fn sets(&self, definition: &Path) -> Vec<String> {
        workspace::output(&script("sets"), [&self.mirror, definition])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// The `--set` value that puts the container images of `tests/lab/preload` into the image of
    /// `definition`.
    pub fn preload(&self, definition: &Path) -> String {
        self.preloaded(&[definition.as_os_str()])
    }

    /// The same with the images that a control plane needs.
    pub fn preload_control_plane(&self, definition: &Path) -> String {
        self.preloaded(&[definition.as_os_str(), "control-plane".as_ref()])
    }

    fn preloaded(&self, words: &[&OsStr]) -> String {
        let _alone = workspace::exclusive("lab");
        let output = command("preload", self.arch).args(words).output().expect("the script starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "preload: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The words that take these parts from this mirror, besides another one.
    pub fn words(&self, parts: &[&str]) -> Vec<String> {
        let mirror = format!("--mirror=https://={}", self.mirror.display());
        let versions = parts.iter().map(|part| format!("--set=versions.{part}={}", self.versions[*part]));
        std::iter::once(mirror).chain(versions).collect()
    }

    /// Changes whenever the mirror's content does.
    pub fn key(&self) -> String {
        std::fs::read_to_string(self.mirror.join(".key")).expect("the mirror has a key")
    }

    /// The minor version of its Kubernetes: 36 of 1.36.2.
    pub fn kubernetes_minor(&self) -> u32 {
        self.minor("kubernetes")
    }

    /// The minor version of a part.
    pub fn minor(&self, part: &str) -> u32 {
        let minor = self.versions[part].split('.').nth(1).and_then(|minor| minor.parse().ok());
        minor.expect("a version has a minor")
    }
}

/// A script of the lab for parts of `arch`.
fn command(name: &str, arch: Arch) -> Command {
    let mut command = Command::new(script(name));
    if arch == Arch::Arm64 {
        command.env("KILN_LAB_ARCH", "arm64");
    }
    command
}

fn script(name: &str) -> String {
    workspace::root().join("tests/lab").join(name).display().to_string()
}
