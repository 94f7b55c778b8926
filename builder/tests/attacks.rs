//! Commands of `kiln` against changed stores, changed outputs and servers that nobody vouches for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kiln::digest::Digest;
use kiln::output::sums::{self, Sum};

#[path = "support/faulty_server.rs"]
#[allow(dead_code)]
mod faulty_server;

use faulty_server::{serve, start};

const TOOL: &[u8] = b"a program";

/// A checkout with one layer; `rest` says where its artifact comes from. Its lock pins a base without
/// packages, and `pins`.
fn lay_out(root: &Path, rest: &str, pins: &str) {
    for folder in ["images", "layers/tool"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let image = "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'tool'\nlayers = ['tool']\n\
         outputs = ['raw']\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n";
    let layer = format!(
        "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n[[artifact]]\nname = 'tool'\nversion = '1'\n\
         path = '/usr/bin/tool'\n{rest}"
    );
    let lock = format!(
        "schema = 1\nimage = 'x'\narch = 'amd64'\n{pins}\n[base]\ndistribution = 'debian'\nsuite = 'trixie'\n\
         install = []\nextract = []\n"
    );
    fs::write(root.join("images/x.toml"), image).unwrap();
    fs::write(root.join("layers/tool/layer.toml"), layer).unwrap();
    fs::write(root.join("images/x.lock"), lock).unwrap();
}

fn kiln(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(arguments)
        .env("KILN_CACHE", root.join("store"))
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn no_secret_of_an_address_is_said_in_any_message() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("images")).unwrap();
    fs::write(root.path().join("images/x.toml"), "nmae = \"HTTPS://me:s3cr3t@a/x\"\n").unwrap();
    for arguments in [
        &["plan", "images/x.toml"] as &[&str],
        &["--json", "plan", "images/x.toml"],
        &["plan", "https:/me:s3cr3t@a/x"],
        &["plan", "images/x.toml", "https://me%3As3cr3t@a"],
        &["plan", "--miror=https://me:s3cr3t@a", "images/x.toml"],
        &["plan", "images/x.toml", "--set", "nmae=\"https://a/x#token=s3cr3t\""],
    ] {
        let output = kiln(root.path(), arguments);
        let all = said(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && all.contains("error"), "{arguments:?}: {all}");
        assert!(!all.contains("s3cr3t"), "{arguments:?}: {all}");
    }
}

#[test]
fn fetch_finds_what_was_changed_in_the_store() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("tool"), TOOL).unwrap();
    let (url, digest) = (format!("file://{}/tool", root.path().display()), Digest::of(TOOL));
    let pin = format!(
        "artifact = [{{ layer = 'tool', name = 'tool', version = '1', url = '{url}', sha256 = '{digest}' }}]"
    );
    lay_out(root.path(), &format!("url = '{url}'\nsha256 = '{digest}'\n"), &pin);
    let fetch = || kiln(root.path(), &["fetch", "images/x.toml"]);
    assert!(fetch().status.success(), "{}", said(&fetch()));
    let blob = root.path().join("store/blobs").join(digest.hex());
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"A PROGRAM").unwrap();
    let output = fetch();
    assert_eq!(output.status.code(), Some(6));
    assert!(said(&output).contains(&blob.display().to_string()), "{}", said(&output));
    fs::remove_file(&blob).unwrap();
    assert!(fetch().status.success(), "the help of the error is right");
}

#[test]
fn fetch_makes_no_pin_of_a_checksum_that_nobody_vouches_for() {
    let root = tempfile::tempdir().unwrap();
    let sum = format!("{}  tool\n", Digest::of(b"EVIL").hex());
    let server = start(move |seen, stream| match seen.path.as_str() {
        "/tool" => serve(stream, seen, b"EVIL"),
        _ => serve(stream, seen, sum.as_bytes()),
    });
    let url = "http://upstream.invalid/tool";
    lay_out(root.path(), &format!("url = '{url}'\nchecksum = '${{url}}.sha256'\n"), "");
    let before = fs::read(root.path().join("images/x.lock")).unwrap();
    let mirror = format!("http://upstream.invalid={}", server.url(""));
    let fetch = |more: &[&str]| {
        kiln(root.path(), &[&["fetch", "images/x.toml", "--mirror", mirror.as_str()], more].concat())
    };
    let output = fetch(&[]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("--allow-unauthenticated-checksums"), "{}", said(&output));
    assert!(server.requests().is_empty() && fs::read(root.path().join("images/x.lock")).unwrap() == before);
    let output = fetch(&["--allow-unauthenticated-checksums"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("the lock trusts mirrors as it trusts upstream"), "{}", said(&output));
}

#[test]
fn an_artifact_without_a_published_checksum_is_pinned_to_what_was_served_first() {
    let root = tempfile::tempdir().unwrap();
    let (tool, lock) = (root.path().join("tool"), root.path().join("images/x.lock"));
    fs::write(&tool, TOOL).unwrap();
    let url = format!("file://{}", tool.display());
    lay_out(root.path(), &format!("url = '{url}'\nchecksum = 'unpublished'\n"), "");
    let told = "upstream publishes no checksum of tool/tool: the lock trusts what was served";
    let output = kiln(root.path(), &["lock", "images/x.toml"]);
    assert!(output.status.success() && said(&output).contains(told), "{}", said(&output));
    let locked = fs::read_to_string(&lock).unwrap();
    let pin = format!("checksum = \"unpublished\"\nsize = {}\nsha256 = \"{}\"", TOOL.len(), Digest::of(TOOL));
    assert!(locked.contains(&pin), "{locked}");
    let output = kiln(root.path(), &["plan", "images/x.toml"]);
    let plan = String::from_utf8_lossy(&output.stdout);
    assert!(plan.contains("(no published checksum: trusted on first use)"), "{plan}");
    // Then something else is served.
    fs::write(&tool, b"EVIL PROG").unwrap();
    let fetch = || kiln(root.path(), &["fetch", "images/x.toml"]);
    assert!(fetch().status.success(), "the store has the file: {}", said(&fetch()));
    fs::remove_dir_all(root.path().join("store")).unwrap();
    let output = fetch();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    let output = kiln(root.path(), &["lock", "images/x.toml"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("upstream replaced tool/tool"), "{}", said(&output));
    assert_eq!(fs::read_to_string(&lock).unwrap(), locked);
    let output = kiln(root.path(), &["lock", "images/x.toml", "--accept", "tool/tool"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(fs::read_to_string(&lock).unwrap().contains(&Digest::of(b"EVIL PROG").to_string()));
}

#[test]
fn a_file_without_a_checksum_is_not_trusted_from_a_server_that_nobody_vouches_for() {
    let root = tempfile::tempdir().unwrap();
    let server = start(|seen, stream| serve(stream, seen, b"EVIL"));
    lay_out(root.path(), "url = 'http://upstream.invalid/tool'\nchecksum = 'unpublished'\n", "");
    let mirror = format!("http://upstream.invalid={}", server.url(""));
    let output = kiln(root.path(), &["fetch", "images/x.toml", "--mirror", mirror.as_str()]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("nobody vouches for tool/tool"), "{}", said(&output));
    assert!(server.requests().is_empty());
}

#[test]
fn inspect_finds_every_file_that_was_changed() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join("out").join(name);
    fs::create_dir(path("")).unwrap();
    let sum = |file: &str, bytes: &[u8]| Sum {
        file: file.to_owned(),
        size: bytes.len() as u64,
        sha256: Digest::of(bytes),
    };
    let raw = sum("x.raw", b"disk");
    let manifest = serde_json::json!({
        "name": "x", "arch": "amd64", "identity": raw.sha256, "variables": {}, "layers": [], "artifacts": [], "packages": [],
        "tools": {}, "outputs": [raw],
    });
    let manifest = manifest.to_string().into_bytes();
    let files = [("x.raw", b"disk".to_vec()), ("manifest.json", manifest), ("sbom.cdx.json", b"{}".to_vec())];
    let list = sums::list(&files.clone().map(|(name, bytes)| sum(name, &bytes)));
    files.iter().for_each(|(name, bytes)| fs::write(path(name), bytes).unwrap());
    fs::write(path("SHA256SUMS"), &list).unwrap();
    let inspect = || kiln(root.path(), &["inspect", "--verify"]);
    let output = inspect();
    assert!(String::from_utf8_lossy(&output.stdout).contains("verified 3 files"), "{}", said(&output));
    for (name, bytes) in &files {
        // A blank at the end: the manifest still is JSON.
        fs::write(path(name), [bytes.as_slice(), b" "].concat()).unwrap();
        let output = inspect();
        assert_eq!(output.status.code(), Some(6), "{name}");
        assert!(said(&output).contains(&format!("not as they were built: {name}")), "{}", said(&output));
        fs::write(path(name), bytes).unwrap();
    }
    // A list that leaves the changed file out.
    let shorter: String = list.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(path("SHA256SUMS"), shorter).unwrap();
    assert_eq!(inspect().status.code(), Some(6));
}
