//! Mistakes on the command line: the exit code, the message and the advice of each must be true.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn kiln(folder: &Path, arguments: &[&str]) -> Output {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["images", "layers"] {
        let link = folder.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(repository.join(name), link).unwrap();
        }
    }
    Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(arguments)
        .current_dir(folder)
        .env("KILN_CACHE", folder.join("cache"))
        .output()
        .unwrap()
}

#[test]
fn advice_is_about_what_the_user_named() {
    let folder = tempfile::tempdir().unwrap();
    let lock = |change: &dyn Fn(&str) -> String| {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/debian-13.lock");
        change(&fs::read_to_string(lock).unwrap())
    };
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("newer.lock", &lock(&|text| text.replacen("schema = 1", "schema = 9", 1)));
    write("broken.lock", &lock(&|text| text.replacen("sha256 =", "sha265 =", 1)));
    for (arguments, code, message, help) in [
        ("plan --layers-dir nowhere", 3, "the folder of the layers, nowhere, does not exist", "--layers-dir"),
        (
            "plan --layers-dir newer.lock",
            3,
            "the folder of the layers, newer.lock, is no folder",
            "--layers-dir",
        ),
        ("plan --lock images", 4, "images: not a file", "name a file that kiln lock wrote"),
        ("build --locked --lock newer.lock", 4, "schema 9 is not known", "use the Kiln that wrote it"),
        (
            "build --locked --lock broken.lock",
            4,
            "unknown key \"sha265\"",
            "if this is a lock file, remove it and run kiln lock",
        ),
        ("lock --digests nowhere", 4, "nowhere: No such file", "name a table of digests"),
        (
            "lock --accept runk/runc",
            2,
            "--accept runk/runc: this image has no such artifact",
            "did you mean \"runc/runc\"?",
        ),
        ("fetch --offline --cache-dir newer.lock", 9, "creating ", "choose another with --cache-dir"),
        ("fetch --offline --cache-dir /proc/nowhere", 9, "creating /proc/nowhere", "--cache-dir"),
        ("lock --offline --set name=x", 5, "and --offline forbids the network", "leave --offline out"),
        ("fetch --offline", 5, "and --offline forbids the network", "run `kiln fetch` with a network first"),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let output = kiln(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        let (about, advice) = said.rsplit_once("help: ").unwrap_or_default();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(about.contains(message) && advice.contains(help), "{arguments:?}: {said}");
    }
}

#[test]
fn a_wrong_command_line_is_json_too() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&["--json", "bild"][..], &["plan", "--json", "--ofline"], &["--json", "lock", "--snapshot", "x"]]
    {
        let output = kiln(folder.path(), arguments);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(said["error"]["class"], "usage");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = said["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && stderr.contains(message), "{message}: {stderr}");
    }
    let help = kiln(folder.path(), &["--json", "--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).starts_with("Builds"));
}
