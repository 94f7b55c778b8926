//! The lab: real parts in the shape of upstream's release hosts (`tests/lab/mirror`), the same on every
//! machine that can run these tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::workspace;

/// A filled mirror.
#[derive(Debug)]
pub struct Lab {
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
        let printed = workspace::output::<&str>(&script("mirror"), []);
        let mirror = PathBuf::from(printed.trim());
        let text = std::fs::read_to_string(mirror.join("versions")).expect("the mirror lists its versions");
        let versions = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(part, version)| (part.to_owned(), version.to_owned()));
        Lab { versions: versions.collect(), mirror }
    })
}

impl Lab {
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
        let _alone = workspace::exclusive("lab");
        workspace::output(&script("preload"), [definition]).trim().to_owned()
    }

    /// Changes whenever the mirror's content does.
    pub fn key(&self) -> String {
        std::fs::read_to_string(self.mirror.join(".key")).expect("the mirror has a key")
    }

    /// The minor version of its Kubernetes: 36 of 1.36.2.
    pub fn kubernetes_minor(&self) -> u32 {
        let minor = self.versions["kubernetes"].split('.').nth(1).and_then(|minor| minor.parse().ok());
        minor.expect("a Kubernetes version has a minor")
    }
}

fn script(name: &str) -> String {
    workspace::root().join("tests/lab").join(name).display().to_string()
}
