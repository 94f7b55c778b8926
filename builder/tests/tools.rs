//! The scripts in `tools/` that a user runs, with stand-ins for the programs that they call.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// A folder of stand-ins; each notes its arguments in `called` and does what `script` says.
fn stand_ins(script: &str, names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        let noted = folder.path().join("called");
        fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >> '{}'\n{script}\n", noted.display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn called(folder: &Path) -> String {
    fs::read_to_string(folder.join("called")).unwrap_or_default()
}

/// A script of `tools/` without the variables and the home of this user.
fn tool(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools").join(name));
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        // Programs that they call may write there.
        .env("HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/home"));
    command
}

fn image(programs: &Path, variables: &[(&str, &str)]) -> Output {
    tool("image")
        .env("KILN_PROGRAMS", programs)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// A network that blocks upstream's hosts must not put other versions into an image of the same name.
#[test]
fn an_image_is_made_of_the_lab_s_parts_only_if_the_user_says_so() {
    let programs = stand_ins("exit 5", &["kiln"]);
    let output = image(programs.path(), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5));
    assert!(said.contains("KILN_PARTS=lab"), "{said}");
    assert_eq!(called(programs.path()), "kiln build images/debian-13.toml\n");
    let wrong = image(programs.path(), &[("KILN_PARTS", "labs")]);
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(called(programs.path()).lines().count(), 1, "nothing was built");
}

#[test]
fn an_image_says_at_once_what_is_built() {
    let programs = stand_ins("exit 3", &["kiln"]);
    let output = image(programs.path(), &[]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("image: building images/debian-13.toml"));
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("KILN_PARTS"),
        "another failure has other help"
    );
    let cargo = stand_ins("exit 1", &["cargo"]);
    let path = format!("{}:/usr/bin:/bin", cargo.path().display());
    let output = tool("programs").env("PATH", path).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("programs: building kiln"));
    let call = called(cargo.path());
    assert!(call.starts_with("cargo build ") && !call.contains("quiet"), "{call}");
}

#[test]
fn advisories_are_checked_where_their_list_can_be_fetched_and_counted_elsewhere() {
    for (fetched, count) in [(0, 0), (1, 1)] {
        let programs =
            stand_ins(&format!("case \"$*\" in *'fetch db'*) exit {fetched} ;; esac"), &["cargo", "python3"]);
        let target = tempfile::tempdir().unwrap();
        let path = format!("{}:/usr/bin:/bin", programs.path().display());
        let output = tool("check").env("PATH", path).env("CARGO_TARGET_DIR", target.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let checked = called(programs.path()).lines().filter(|line| line.ends_with("advisories")).count();
        let noted = fs::read_to_string(target.path().join("not-run")).unwrap_or_default();
        // Other tools may be missing as well.
        let noted = noted.lines().filter(|line| line.starts_with("advisories")).count();
        assert_eq!((checked > 0, noted), (fetched == 0, count));
    }
}
