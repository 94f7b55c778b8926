use std::process::Output;

use tempfile::TempDir;

use super::*;

/// A time long before the subkeys of [`Signer::expired_subkey`] end.
const EARLIER: &str = "20240101T000000!";

/// Someone with keys of the test.
struct Signer(TempDir);

impl Signer {
    /// `None`, said aloud, where a program is missing.
    fn new(test: &str) -> Option<Self> {
        for program in ["gpg", "gpgv"] {
            if tool(program).arg("--version").run("").is_err() {
                testkit::not_run(test, &format!("no {program}"));
                return None;
            }
        }
        let signer = Self(TempDir::new().unwrap());
        signer.gpg(&[
            "--faked-system-time",
            EARLIER,
            "--quick-gen-key",
            "test@kiln.invalid",
            "ed25519",
            "cert",
            "never",
        ]);
        Some(signer)
    }

    fn gpg(&self, arguments: &[&str]) -> Output {
        let mut command = tool("gpg");
        command.args([
            "--batch",
            "--quiet",
            "--yes",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--homedir",
        ]);
        command.arg(self.0.path()).args(arguments).run("gpg").unwrap()
    }

    /// The primary key.
    fn fingerprint(&self) -> String {
        let keys = self.gpg(&["--with-colons", "--list-keys"]).stdout;
        let keys = String::from_utf8(keys).unwrap();
        let line = keys.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn add_subkey(&self, time: &str, ends: &str) {
        let key = self.fingerprint();
        self.gpg(&["--faked-system-time", time, "--quick-add-key", &key, "ed25519", "sign", ends]);
    }

    fn keys(&self, armored: bool) -> Vec<u8> {
        self.gpg(if armored { &["--armor", "--export"] } else { &["--export"] }).stdout
    }

    fn sign(&self, text: &str, time: &str) -> Vec<u8> {
        let path = self.0.path().join("text");
        fs::write(&path, text).unwrap();
        self.gpg(&["--faked-system-time", time, "--output", "-", "--clearsign", path.to_str().unwrap()])
            .stdout
    }
}

impl Drop for Signer {
    /// Ends the agent that gpg has started for this folder.
    fn drop(&mut self) {
        tool("gpgconf")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--kill", "all"])
            .run("gpg")
            .ok();
    }
}

fn checked(keys: &[u8], pinned: &str, document: &[u8]) -> Result<Vec<u8>> {
    let scratch = TempDir::new().unwrap();
    Keys::new(keys, &[pinned], scratch.path())?.signed_text(document)
}

fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    seconds.to_string()
}

#[test]
fn a_new_subkey_of_the_pinned_key_counts_and_one_that_has_expired_does_not() {
    let Some(signer) = Signer::new("subkeys") else { return };
    let primary = signer.fingerprint();
    signer.add_subkey(EARLIER, "1y");
    let old = signer.sign("old\n", EARLIER);
    let error = checked(&signer.keys(true), &primary, &old).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Verification);
    assert!(error.message().contains("has expired"), "{error}");

    // The keys were known before the subkey was.
    let before = signer.keys(true);
    signer.add_subkey(&now(), "1y");
    let new = signer.sign("- new\n", &now());
    for armored in [true, false] {
        assert_eq!(checked(&signer.keys(armored), &primary, &new).unwrap(), b"- new\n", "{armored}");
    }
    let error = checked(&before, &primary, &new).unwrap_err();
    assert!(error.message().contains("an unknown key"), "{error}");
}

#[test]
fn another_key_and_another_text_are_refused_by_name() {
    let Some(signer) = Signer::new("wrong signatures") else { return };
    let Some(other) = Signer::new("wrong signatures") else { return };
    for one in [&signer, &other] {
        one.add_subkey(&now(), "1y");
    }
    let (keys, primary) = (signer.keys(true), signer.fingerprint());
    let foreign = other.sign("text\n", &now());
    let changed = String::from_utf8(signer.sign("text\n", &now())).unwrap().replace("text", "TEXT");
    let both = [keys.as_slice(), &other.keys(true)].concat();
    let own = signer.sign("text\n", &now());
    let around = [b"EVIL\n".as_slice(), &own, b"EVIL\n"].concat();
    for (document, keys, says) in [
        (foreign.as_slice(), keys.as_slice(), "an unknown key"),
        (&foreign, &both, "must"),
        (changed.as_bytes(), &keys, "is not the one"),
        (b"text\n", &keys, "no clear-signed document"),
        (&own[..own.len() / 2], &keys, "no"),
    ] {
        let error = checked(keys, &primary, document).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Verification);
        assert!(error.message().contains(says), "{says}: {error}");
    }
    assert_eq!(checked(&keys, &primary, &around).unwrap(), b"text\n");
}

#[test]
fn a_detached_signature_is_of_this_file() {
    let Some(signer) = Signer::new("detached signatures") else { return };
    signer.add_subkey(&now(), "1y");
    let (primary, scratch) = (signer.fingerprint(), TempDir::new().unwrap());
    let pinned = [primary.as_str()];
    let file = scratch.path().join("file");
    fs::write(&file, "content").unwrap();
    let signature = signer.gpg(&["--output", "-", "--detach-sign", file.to_str().unwrap()]).stdout;
    let keys = Keys::new(&signer.keys(false), &pinned, scratch.path()).unwrap();
    keys.check_detached(&signature, &file).unwrap();
    fs::write(&file, "contents").unwrap();
    assert_eq!(keys.check_detached(&signature, &file).unwrap_err().kind(), ErrorKind::Verification);
}

#[test]
fn broken_files_of_keys_are_named() {
    for (bytes, says) in [
        (&b"<html>"[..], "no OpenPGP key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME", "cut off"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n?\n-----END PGP PUBLIC KEY BLOCK-----\n", "damaged"),
        (b"", "no OpenPGP key"),
    ] {
        let error = without_armor(bytes).unwrap_err();
        assert!(error.message().contains(says), "{error}");
    }
}
