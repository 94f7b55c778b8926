//! Machines of simulated platforms, each in a network namespace of one thread.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_simulator::{Running, Simulation, namespace};
use testkit::not_run;

/// Set for the copy of a test that runs as root in a user namespace.
const IS_COPY: &str = "KILN_TEST_IN_USER_NAMESPACE";

/// A machine: a folder with its evidence, and the services of its platform at their own addresses.
#[derive(Debug)]
pub struct Machine {
    folder: tempfile::TempDir,
    /// The services.
    pub running: Running,
}

impl Machine {
    /// Moves the calling thread into a new network namespace, where it stays until it makes the next machine.
    pub fn start(simulation: Simulation) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let machine = simulation.build().unwrap_or_else(|error| panic!("{error}"));
        machine.write_root(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        namespace::enter_thread().unwrap_or_else(|error| panic!("{error}"));
        namespace::set_up(&machine).unwrap_or_else(|error| panic!("{error}"));
        Self { running: machine.serve_here().unwrap_or_else(|error| panic!("{error}")), folder }
    }

    /// The root of its file system.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Adds arguments to its kernel command line.
    pub fn append(&self, words: &str) {
        let path: PathBuf = self.root().join("proc/cmdline");
        let line = std::fs::read_to_string(&path).expect("every machine has a command line");
        std::fs::write(&path, format!("{} {words}\n", line.trim_end())).expect("the folder is the test's");
    }
}

/// Whether the threads of this process can make network namespaces. If not, the test `name` has run in a
/// process that can, or is noted as not run, and the caller returns.
pub fn can_start(name: &str) -> bool {
    if std::thread::spawn(|| namespace::enter_thread().is_ok()).join().unwrap_or(false) {
        return true;
    }
    let is_copy = std::env::var_os(IS_COPY).is_some();
    let can_unshare = Command::new("unshare")
        .args(["-Urn", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if is_copy || !can_unshare {
        not_run(name, "this user may make no namespaces");
        return false;
    }
    let test = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("unshare");
    command.arg("-Ur").arg(test).args(["--exact", name, "--nocapture"]).env(IS_COPY, "1");
    assert!(command.status().expect("unshare was there a moment ago").success(), "see above");
    false
}
