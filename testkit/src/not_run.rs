//! A test that could not run is neither passed nor failed: it is counted.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Says that a test, or a part of it, could not run here, and why. The caller returns.
///
/// Each is a line of `target/not-run`; `make test` lists them at its end, and `tools/not-run` decides which
/// of them a machine may be without.
pub fn not_run(test: &str, why: &str) {
    let line = format!("{test}: {}\n", why.trim().replace('\n', " "));
    // Past the capture of the test harness, which shows nothing of tests that pass.
    let _ = std::io::stderr().write_all(format!("not run: {line}").as_bytes());
    // A relative CARGO_TARGET_DIR starts at the workspace.
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let target = workspace.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    // One write each, so that lines of several processes do not mix.
    let file = OpenOptions::new().create(true).append(true).open(target.join("not-run"));
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        panic!("{test} could not run ({why}), and that could not be noted: {error}");
    }
}
