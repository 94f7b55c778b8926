//! The whole default image, built twice from empty caches: by this user, and by an ordinary user without any
//! privilege, at another time, in other folders, with another zone, locale and umask. Both succeed, and every
//! output is the same to the last bit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kiln_tests::kiln::{Build, DEFAULT, programs, succeed};
use kiln_tests::lab::lab;
use kiln_tests::user::OrdinaryUser;
use kiln_tests::workspace;
use testkit::not_run;

/// The agent is in every initrd, twice in an image: its size is a promise (CONTRIBUTING.md), in bytes.
const LARGEST_AGENT: u64 = 4_600_000;

/// Limit on the shown output of diffoscope, in bytes.
const EXPLANATION: usize = 8000;

/// The ordinary user's build, shared by the tests below; `Err` says why there is none.
fn rootless() -> Result<&'static (OrdinaryUser, PathBuf), &'static str> {
    static BUILD: OnceLock<Result<(OrdinaryUser, PathBuf), String>> = OnceLock::new();
    BUILD.get_or_init(build_rootless).as_ref().map_err(String::as_str)
}

fn build_rootless() -> Result<(OrdinaryUser, PathBuf), String> {
    let user = OrdinaryUser::new()?;
    let output = user.folder().join("a longer place/out");
    let mut command = user.command(
        "sh",
        &[("TZ", "Asia/Kathmandu"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "somebody")],
    );
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    if workspace::missing(&["faketime"]).is_none() {
        // A day and a half: further away, package lists and their signatures would not be valid.
        command.args(["faketime", "-f", "+36h"]);
    } else {
        not_run("the second build a day and a half later", "faketime is not installed");
    }
    command
        .arg(user.programs().join("kiln"))
        .arg("build")
        .arg(user.path_of(DEFAULT))
        .arg("--output-dir")
        .arg(&output);
    command
        .arg("--cache-dir")
        .arg(user.folder().join("cache"))
        .arg("--mirror")
        .arg(format!("https://={}", user.mirror().display()));
    command.arg("--allow-expired-release").arg("--lock").arg(user.folder().join("lab.lock"));
    for set in lab().sets(&workspace::root().join(DEFAULT)) {
        command.arg("--set").arg(set);
    }
    succeed(&mut command);
    Ok((user, output))
}

#[test]
fn the_agent_stays_within_its_size_limit() {
    let size = fs::metadata(programs().join("firstboot")).expect("the agent is built").len();
    assert!(size <= LARGEST_AGENT, "firstboot has {size} bytes; {LARGEST_AGENT} are the limit");
}

#[test]
fn an_ordinary_user_builds_the_whole_default_image() {
    let output = match rootless() {
        Ok((_, output)) => output,
        Err(why) => return not_run("an_ordinary_user_builds_the_whole_default_image", why),
    };
    let files = digests(output);
    for ending in [".raw", ".qcow2", "-oci/index.json", "-pxe/boot.ipxe"] {
        assert!(files.keys().any(|name| name.ends_with(ending)), "no {ending} among {:?}", files.keys());
    }
    succeed(
        Command::new("sha256sum")
            .args(["--check", "--quiet", "--strict", "SHA256SUMS"])
            .current_dir(output),
    );
}

#[test]
fn two_builds_from_empty_caches_are_identical() {
    let theirs = match rootless() {
        Ok((_, output)) => output,
        Err(why) => return not_run("two_builds_from_empty_caches_are_identical", why),
    };
    let folder = workspace::scratch();
    let ours = folder.path().join("out");
    let build = Build::new(DEFAULT, &ours).cache(&folder.path().join("cache"));
    succeed(
        build
            .command()
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .env("HOME", folder.path())
            .current_dir(folder.path()),
    );
    let (one, other) = (digests(&ours), digests(theirs));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ: Vec<&String> = names.into_iter().filter(|name| one.get(*name) != other.get(*name)).collect();
    assert!(differ.is_empty(), "these outputs differ: {differ:?}\n{}", explain(&ours, theirs, &differ));
}

/// Every file below `folder` with its digest.
fn digests(folder: &Path) -> BTreeMap<String, String> {
    let listing =
        workspace::output("find", [folder.as_os_str(), "-type".as_ref(), "f".as_ref(), "-print0".as_ref()]);
    let files = listing.split('\0').filter(|path| !path.is_empty());
    let digest = |path: &str| {
        workspace::output("sha256sum", ["--", path])
            .split(' ')
            .next()
            .unwrap_or_default()
            .trim_start_matches('\\')
            .to_owned()
    };
    files
        .map(|path| (path[folder.as_os_str().len() + 1..].to_owned(), digest(path)))
        .collect()
}

/// Outputs that differ if any other output differs.
const EFFECTS: &[&str] = &["SHA256SUMS", "manifest.json"];

/// The output of diffoscope for the smallest file that differs, because small files show a cause better than
/// disks.
fn explain(ours: &Path, theirs: &Path, differ: &[&String]) -> String {
    let size = |name: &String| fs::metadata(ours.join(name)).map_or(u64::MAX, |metadata| metadata.len());
    let in_both = differ.iter().filter(|name| ours.join(name).exists() && theirs.join(name).exists());
    let Some(name) = in_both.min_by_key(|name| (EFFECTS.contains(&name.as_str()), size(name))) else {
        return "one build has files that the other has not".to_owned();
    };
    let Ok(output) = Command::new("diffoscope").arg(ours.join(name)).arg(theirs.join(name)).output() else {
        return format!("install diffoscope to see how {name} differs");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.chars().take(EXPLANATION).collect()
}
