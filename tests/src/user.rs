//! Builds as another user: an ordinary user with subordinate ids, created for a test and removed after it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kiln::programs;
use crate::lab::lab;
use crate::workspace;

/// The account's name.
const NAME: &str = "kiln-rootless";

/// The folder for files that another user must read, because the checkout and the target folder may be in a
/// private home.
const OPEN_FOLDER: &str = "/var/tmp";

/// An ordinary user with a folder that holds the programs, the definitions and the parts.
#[derive(Debug)]
pub struct OrdinaryUser {
    folder: tempfile::TempDir,
    /// The account was made here, and the test runs as root.
    switch: bool,
}

impl OrdinaryUser {
    /// The test's own user if that is an ordinary one, else an account made for the test.
    pub fn new() -> Result<Self, String> {
        let switch = workspace::is_root();
        if switch {
            make_account()?;
        }
        let folder = tempfile::Builder::new()
            .prefix("kiln-rootless-")
            .tempdir_in(OPEN_FOLDER)
            .map_err(|error| format!("{OPEN_FOLDER}: {error}"))?;
        let user = Self { folder, switch };
        user.set_up();
        Ok(user)
    }

    /// The folder; everything in it belongs to the user.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of `kiln` and `firstboot` that the user can reach.
    pub fn programs(&self) -> PathBuf {
        self.folder().join("programs")
    }

    /// A path of the checkout (below `images/` or `layers/`) as the user can reach it.
    pub fn path_of(&self, relative: &str) -> PathBuf {
        self.folder().join(relative)
    }

    /// The mirror as the user can reach it.
    pub fn mirror(&self) -> PathBuf {
        self.folder().join("mirror")
    }

    /// A command that runs `program` as the user in the folder. Its environment has only `variables`.
    pub fn command<P: AsRef<OsStr>>(&self, program: P, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(if self.switch { "runuser" } else { "env" });
        if self.switch {
            command.args(["-u", NAME, "--", "env"]);
        }
        command
            .arg("-i")
            .arg(format!("HOME={}/home", self.folder().display()))
            .arg("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
        command
            .arg(program.as_ref())
            .current_dir(self.folder())
            .stdin(std::process::Stdio::null());
        command
    }

    fn set_up(&self) {
        let copies = [
            (programs().to_owned(), "programs"),
            (workspace::root().join("images"), "images"),
            (workspace::root().join("layers"), "layers"),
            (lab().mirror.clone(), "mirror"),
        ];
        for (from, to) in copies {
            let to = self.folder().join(to);
            workspace::output(
                "cp",
                ["-rL".as_ref(), "--reflink=auto".as_ref(), from.as_os_str(), to.as_os_str()],
            );
        }
        std::fs::create_dir(self.folder().join("home")).expect("the folder is the test's");
        workspace::output("chmod", ["-R".as_ref(), "a+rX".as_ref(), self.folder().as_os_str()]);
        if self.switch {
            workspace::output("chown", ["-R".as_ref(), OsStr::new(NAME), self.folder().as_os_str()]);
        }
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        if self.switch {
            // The account may still run a program that the test gave up on; the next test takes it over.
            let _ = Command::new("userdel").arg(NAME).output();
        }
    }
}

/// `useradd` gives a new account its subordinate IDs if /etc/login.defs enables that, as in Debian and
/// Ubuntu.
fn make_account() -> Result<(), String> {
    if Command::new("id").arg(NAME).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let made = Command::new("useradd").args(["--no-create-home", "--shell", "/bin/sh", NAME]).output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("useradd failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("useradd: {error}")),
    }
}
