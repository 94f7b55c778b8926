//! Programs of others.

use std::path::Path;
use std::process::Command;

/// Whether all of these programs are there; if not, the test is noted as not run.
pub fn have(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = programs
        .iter()
        .find(|program| !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if let Some(program) = missing {
        testkit::not_run(test, &format!("{program} is missing"));
    }
    missing.is_none()
}

/// Runs a program that must succeed, and gives what it said.
pub fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{said}\n{error}", output.status);
    said
}
