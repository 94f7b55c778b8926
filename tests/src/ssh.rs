//! Logins by SSH to a machine of a test, with keys and grants of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::control_plane::ControlPlane;
use crate::join_support::eventually;
use crate::workspace;

/// The programs that this needs.
pub const PROGRAMS: [&str; 2] = ["ssh", "ssh-keygen"];

/// A key pair. A grant that somebody signed for it lies beside it, where `ssh` looks for it.
#[derive(Debug, Clone)]
pub struct Key {
    file: PathBuf,
}

impl Key {
    /// A new one in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let file = folder.join(name);
        let words = ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"].map(AsRef::as_ref);
        workspace::output("ssh-keygen", words.into_iter().chain([file.as_os_str()]));
        Self { file }
    }

    /// The line of its public half.
    pub fn public(&self) -> String {
        let text = fs::read_to_string(self.file.with_extension("pub")).expect("ssh-keygen wrote it");
        text.trim().to_owned()
    }

    /// The file of the private half.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Signs a grant for `holder`: who may log in as `user` during `validity`, as `ssh-keygen -V` takes it.
    pub fn grant(&self, holder: &Self, identity: &str, user: &str, validity: &str) {
        let public = holder.file.with_extension("pub");
        let words = [
            "-q".as_ref(),
            "-s".as_ref(),
            self.file.as_os_str(),
            "-I".as_ref(),
            identity.as_ref(),
            "-n".as_ref(),
            user.as_ref(),
            "-V".as_ref(),
            validity.as_ref(),
            public.as_os_str(),
        ];
        workspace::output("ssh-keygen", words);
    }
}

/// The words before a command of ssh: nothing of this machine's user, and the machine's own key as it comes.
pub fn options(key: &Key) -> Vec<String> {
    let file = key.file.display().to_string();
    let words = ["-F", "none", "-T", "-i", &file];
    let settings = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "ConnectTimeout=60",
    ];
    let settings = settings.iter().flat_map(|setting| ["-o".to_owned(), (*setting).to_owned()]);
    words.map(str::to_owned).into_iter().chain(settings).collect()
}

/// A machine that the control plane's network reaches.
#[derive(Debug)]
pub struct Host<'a> {
    /// In whose network it is.
    pub control_plane: &'a ControlPlane,
    /// Where it is there.
    pub address: Ipv4Addr,
}

impl Host<'_> {
    /// Runs a line of shell as root there.
    pub fn try_run(&self, key: &Key, line: &str) -> Output {
        let mut command = self.control_plane.command("ssh");
        command.args(options(key)).arg(format!("root@{}", self.address)).arg(line);
        command.output().expect("ssh starts")
    }

    /// What a line of shell says there; panics if it fails.
    pub fn said(&self, key: &Key, line: &str) -> String {
        let output = self.try_run(key, line);
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line} ({}): {said}\n{why}", output.status);
        said
    }

    /// Asserts that the server refuses this key, and offers no other way in. For a while after refusals it
    /// lets nobody try (sshd_config(5), PerSourcePenalties).
    pub fn refuses(&self, key: &Key, what: &str) {
        eventually("a refusal", || {
            let output = self.try_run(key, "true");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(255), "{what}: {said}");
            let is_refusal = said.contains("Permission denied (publickey).");
            is_refusal.then_some(()).ok_or_else(|| format!("{what}: {said}").into())
        });
    }
}
