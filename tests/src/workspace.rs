//! Paths, the tools of this machine, and how patient tests are.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// Cargo's target folder: the parent of the profile folder of the running test.
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test
        .ancestors()
        .find(|folder| folder.join("deps").is_dir())
        .expect("tests run from cargo's target folder");
    profile.parent().expect("the profile folder lies in the target folder").to_owned()
}

/// A folder for files to keep between tests and runs.
pub fn kept() -> PathBuf {
    let folder = target().join("kiln-tests");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}

/// The folder `name` among [`kept`], filled by `fill` unless it is there already, made from the same `key`.
pub fn kept_as_made(name: &str, key: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let _alone = exclusive(&name.replace('/', "-"));
    let folder = kept().join(name);
    let stamp = folder.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == key) {
        return folder;
    }
    // Usually it is not there.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder is writable");
    fill(&folder);
    fs::write(stamp, key).expect("the target folder is writable");
    folder
}

/// A temporary folder on the target folder's file system (/tmp may be small), deleted when dropped.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("scratch-")
        .tempdir_in(kept())
        .expect("the target folder is writable")
}

/// Holds the machine-wide lock `name` until dropped, because two heavy tests at a time would exceed their
/// deadlines.
pub fn exclusive(name: &str) -> File {
    let file = File::create(kept().join(format!("{name}.lock"))).expect("the target folder is writable");
    file.lock().expect("a lock file can be locked");
    file
}

/// Prints a line for the reader of a test run even if the test passes, because it bypasses the capture of
/// `eprintln!`.
pub fn say(text: &str) {
    // Without a terminal, nothing is printed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The first of `programs` that is not in PATH.
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    programs.iter().find(|program| find_program(program).is_none()).copied()
}

/// The path of a program in PATH or in the administrator's folders, which an ordinary user's PATH lacks.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    output("id", ["-u"]).trim() == "0"
}

/// The output of a program. On failure, panics with its standard error.
pub fn output<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("starting {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `duration`, stretched by `KILN_TEST_PATIENCE` (a factor) for slow machines.
pub fn patience(duration: Duration) -> Duration {
    let factor = std::env::var("KILN_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    duration.mul_f64(factor)
}
