//! Artifacts whose layer says who must have signed them: locked with real keys of gpg and minisign, and by
//! a bundle of sigstore's public instance (of its conformance suite: sigstore-conformance, happy-path-v0.3).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kiln::process::{Run, tool};
use testkit::archive::Key;

const SITE: &str = "mirror/a.example/v1";

struct Place {
    folder: tempfile::TempDir,
    key: Key,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(&folder.path().join("key"));
        let place = Self { folder, key };
        place.put("root.tar", "not read to make a lock");
        place.put(&format!("{SITE}/tool"), "the program");
        place.put(&format!("{SITE}/list"), &place.list());
        place.put("tool/keys", "");
        fs::copy(place.key.keyring(), place.path("tool/keys")).unwrap();
        place
    }

    fn list(&self) -> String {
        format!(
            "{}  tool\n",
            kiln::digest::Digest::of(&fs::read(self.path(&format!("{SITE}/tool"))).unwrap())
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The definition, with more keys, and its layer, with more keys of its artifact.
    fn define(&self, definition: &str, artifact: &str) {
        self.put(
            "x.toml",
            &format!(
                "schema = 1\nname = 'x'\narch = 'amd64'\nkubernetes = '1.36.4'\nruntime = 'tool'\nlayers = ['./tool']\n\
                 outputs = ['oci']\n{definition}\n[base]\nrootfs = 'root.tar'\n"
            ),
        );
        self.put(
            "tool/layer.toml",
            &format!(
                "schema = 1\nsummary = 'x'\nprovides = ['container-runtime']\n[[artifact]]\nname = 'tool'\nversion = '1'\n\
                 url = 'https://a.example/v1/tool'\npath = '/usr/bin/tool'\n{artifact}\n"
            ),
        );
    }

    fn lock(&self) -> Output {
        fs::remove_file(self.path("x.lock")).ok();
        self.kiln(&["lock", "x.toml"])
    }

    fn kiln(&self, words: &[&str]) -> Output {
        self.kiln_alone(&[words, &["--mirror", "https://=mirror", "--offline"]].concat())
    }

    fn kiln_alone(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(words);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("KILN_CACHE", self.path("store")).output().unwrap()
    }

    /// Locks, and says why that failed.
    fn refusal(&self) -> String {
        let output = self.lock();
        assert!(!output.status.success(), "it was locked");
        assert!(!self.path("x.lock").exists());
        String::from_utf8(output.stderr).unwrap()
    }

    fn locked(&self) -> String {
        let output = self.lock();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read_to_string(self.path("x.lock")).unwrap()
    }

    fn clear_sign(&self) {
        let at = |name: &str| self.path(&format!("{SITE}/{name}"));
        self.key.clear_sign(&at("list"), &at("signed"));
    }
}

/// The fingerprint of the primary key in a file.
fn fingerprint(keyring: &Path) -> String {
    let mut gpg = tool("gpg");
    let shown = gpg.args(["--show-keys", "--with-colons"]).arg(keyring).run("gpg").unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    shown
        .lines()
        .find(|line| line.starts_with("fpr:"))
        .unwrap()
        .split(':')
        .nth(9)
        .unwrap()
        .to_owned()
}

fn openpgp(signer: &str, more: &str) -> String {
    format!("signature = {{ kind = 'openpgp', keyring = 'keys', signers = ['{signer}'] {more} }}")
}

#[test]
fn a_clear_signed_list_counts_by_its_signer_alone() {
    let place = Place::new();
    let checksum = "checksum = 'https://a.example/v1/signed'\n";
    let signer = fingerprint(&place.key.keyring());
    place.define("", &format!("{checksum}{}", openpgp(&signer, "")));
    place.clear_sign();
    assert!(place.locked().contains(&format!("signer = \"{signer}\"")));

    // What stands around the signed text is nobody's.
    let signed = fs::read_to_string(place.path(&format!("{SITE}/signed"))).unwrap();
    let forged = format!("{}  tool\n{signed}", "0".repeat(64));
    place.put(&format!("{SITE}/signed"), &forged);
    assert!(!place.locked().contains(&"0".repeat(64)));
    place.put(&format!("{SITE}/signed"), &signed.replace("  tool", "  t00l"));
    assert!(place.refusal().contains("is not the one that the key"));
    place.put(&format!("{SITE}/signed"), &place.list());
    let refusal = place.refusal();
    assert!(refusal.contains("signature does not count"), "{refusal}");
    assert!(refusal.contains("unsigned = [\"LAYER/ARTIFACT\"]"), "{refusal}");

    // The signer's own list of one digest without a name is of any file.
    let list = fs::read_to_string(place.path(&format!("{SITE}/list"))).unwrap();
    place.put(&format!("{SITE}/list"), list.split(' ').next().unwrap());
    place.clear_sign();
    assert!(place.refusal().contains("the signed list does not name this file"));
    place.put(&format!("{SITE}/list"), &list);
    // What gpgv would unpack before it looks for a signature.
    place.put(
        &format!("{SITE}/signed"),
        "-----BEGIN PGP MESSAGE-----\n\nyA==\n-----BEGIN PGP SIGNED MESSAGE-----\n",
    );
    assert!(place.refusal().contains("no clear-signed document"));

    // A key of the keyring that is not a signer.
    place.clear_sign();
    let other = "C9C370B246B09F6DBCFC744C34401015D1D2D386";
    place.define("", &format!("{checksum}{}", openpgp(other, "")));
    let refusal = place.refusal();
    assert!(refusal.contains(&format!("the key {signer} made it, and {other} must")), "{refusal}");
    place.define("unsigned = ['tool/tool']", &format!("{checksum}{}", openpgp(other, "")));
    assert!(!place.locked().contains("signer"));
}

#[test]
fn a_detached_signature_is_of_the_list_or_of_the_artifact() {
    let place = Place::new();
    let signer = fingerprint(&place.key.keyring());
    let at = |name: &str| place.path(&format!("{SITE}/{name}"));
    place.key.detach_sign(&at("list"), &at("list.asc"));
    place.key.detach_sign(&at("tool"), &at("tool.asc"));
    let of_list = openpgp(&signer, ", file = '${checksum}.asc'");
    place.define("", &format!("checksum = 'https://a.example/v1/list'\n{of_list}"));
    assert!(place.locked().contains("signer"));
    place.define("", &openpgp(&signer, ", file = '${url}.asc'"));
    let lock = place.locked();
    assert!(lock.contains("signer") && !lock.contains("unpublished"), "{lock}");
    place.put(&format!("{SITE}/tool"), "another program");
    assert!(place.refusal().contains("is not the one that the key"));

    // Of the lines of a text: then files with other ends of lines would have the same signature.
    place.put(&format!("{SITE}/tool"), "the program\n");
    let home = place.path("key");
    let words = ["--batch", "--yes", "--quiet", "--textmode", "--digest-algo"];
    let sign = |digest: &str, more: &[&str]| {
        let mut gpg = tool("gpg");
        gpg.arg("--homedir")
            .arg(&home)
            .args(words)
            .arg(digest)
            .args(more)
            .arg("--output")
            .arg(at("tool.asc"));
        gpg.arg("--detach-sign").arg(at("tool")).run("gpg").unwrap();
    };
    sign("SHA512", &[]);
    assert!(place.refusal().contains("signed the lines of a text"));
    sign("SHA1", &["--no-textmode"]);
    assert!(place.refusal().contains("signature does not count"));
    sign("SHA512", &["--no-textmode"]);
    assert!(place.locked().contains("signer"));
}

#[test]
fn minisign_signs_a_list_and_an_artifact() {
    let place = Place::new();
    let minisign =
        |words: &[&str]| tool("minisign").args(words).current_dir(place.folder.path()).run("minisign");
    if minisign(&["-G", "-W", "-p", "m.pub", "-s", "m.key"]).is_err() {
        testkit::not_run("minisign_signs_a_list_and_an_artifact", "no minisign");
        return;
    }
    let key = fs::read_to_string(place.path("m.pub")).unwrap();
    let key = key.lines().nth(1).unwrap();
    let sign = |name: &str| minisign(&["-S", "-s", "m.key", "-m", &format!("{SITE}/{name}")]).unwrap();
    sign("list");
    sign("tool");
    let signature =
        |file: &str| format!("signature = {{ kind = 'minisign', signers = ['{key}'], file = '{file}' }}");
    place
        .define("", &format!("checksum = 'https://a.example/v1/list'\n{}", signature("${checksum}.minisig")));
    assert!(place.locked().contains(&format!("signer = \"{key}\"")));
    place.define("", &signature("${url}.minisig"));
    assert!(place.locked().contains("signer"));
    place.put(&format!("{SITE}/tool"), "another program");
    assert!(place.refusal().contains("signature does not count"));
    place.define("", &signature("https://a.example/v1/list"));
    assert!(place.refusal().contains("signature does not count"));
}

#[test]
fn sigstore_counts_by_identity_and_issuer() {
    const WHO: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/\
        extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    const ISSUER: &str = "https://token.actions.githubusercontent.com";
    let place = Place::new();
    let bundle = include_str!("signatures/sigstore-bundle-v0.3.json");
    let artifact = include_str!("signatures/sigstore-artifact.txt");
    place.put(&format!("{SITE}/tool"), artifact);
    place.put(&format!("{SITE}/tool.bundle"), bundle);
    let define = |signer: &str, issuer: &str, more: &str| {
        let signature = format!(
            "signature = {{ kind = 'sigstore', signers = ['{signer}'], issuer = '{issuer}', file = '${{url}}.bundle'{more} }}"
        );
        place.define("", &signature);
    };
    define(WHO, ISSUER, "");
    assert!(place.locked().contains(&format!("signer = \"{WHO}\"")));
    for (signer, issuer) in [(&*WHO.replace("/main", "/other"), ISSUER), (WHO, "https://accounts.google.com")]
    {
        define(signer, issuer, "");
        assert!(place.refusal().contains("signature does not count"), "{signer} {issuer}");
    }
    place.put("tool/root.json", "{}");
    define(WHO, ISSUER, ", keyring = 'root.json'");
    assert!(place.refusal().contains("the trusted root"));
    define(WHO, ISSUER, "");
    let rows = [
        (format!("{artifact} "), bundle.to_owned(), "signature does not count"),
        (artifact.to_owned(), bundle[..bundle.len() / 2].to_owned(), "this is no bundle"),
        (artifact.to_owned(), String::new(), "this is no bundle"),
    ];
    for (artifact, bundle, reason) in rows {
        place.put(&format!("{SITE}/tool"), &artifact);
        place.put(&format!("{SITE}/tool.bundle"), &bundle);
        assert!(place.refusal().contains(reason), "{reason}");
    }
}

#[test]
fn a_lock_from_before_the_signature_stays_and_its_next_change_asks_for_it() {
    let place = Place::new();
    let signer = fingerprint(&place.key.keyring());
    place.clear_sign();
    let list = "checksum = 'https://a.example/v1/signed'\n";
    place.define("", list);
    place.locked();
    place.define("", &format!("{list}{}", openpgp(&signer, "")));
    let fetched = place.kiln(&["fetch", "x.toml"]);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let locked = place.kiln(&["lock", "x.toml"]);
    assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    assert!(fs::read_to_string(place.path("x.lock")).unwrap().contains(&signer));
}

#[test]
fn a_signer_whom_the_layer_no_longer_names_is_a_difference() {
    let place = Place::new();
    let signer = fingerprint(&place.key.keyring());
    place.clear_sign();
    let list = "checksum = 'https://a.example/v1/signed'\n";
    place.define("", &format!("{list}{}", openpgp(&signer, "")));
    place.locked();
    place.define("", &format!("{list}{}", openpgp("C9C370B246B09F6DBCFC744C34401015D1D2D386", "")));
    let planned = place.kiln_alone(&["plan", "x.toml"]);
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(said.contains("another address, digest or signer than the lock"), "{said}");
}

#[test]
fn a_mirror_has_the_signatures_that_a_lock_asks_for() {
    let place = Place::new();
    let signer = fingerprint(&place.key.keyring());
    let at = |name: &str| place.path(&format!("{SITE}/{name}"));
    place.key.detach_sign(&at("list"), &at("list.asc"));
    place.define(
        "",
        &format!(
            "checksum = 'https://a.example/v1/list'\n{}",
            openpgp(&signer, ", file = '${checksum}.asc'")
        ),
    );
    place.locked();
    let made = place.kiln_alone(&["mirror", "create", "copy", "x.toml", "--mirror", "https://=mirror"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(
        fs::read(place.path("copy/a.example/v1/list.asc")).unwrap(),
        fs::read(at("list.asc")).unwrap()
    );
    fs::remove_dir_all(place.path("mirror")).unwrap();
    fs::rename(place.path("copy"), place.path("mirror")).unwrap();
    assert!(place.locked().contains(&signer));
}

#[test]
fn a_pipe_in_place_of_a_list_is_refused_and_not_waited_for() {
    let place = Place::new();
    let signer = fingerprint(&place.key.keyring());
    place.define("", &format!("checksum = 'https://a.example/v1/signed'\n{}", openpgp(&signer, "")));
    nix::unistd::mkfifo(&place.path(&format!("{SITE}/signed")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(place.refusal().contains("not a regular file"));
}

#[test]
fn what_no_signature_can_be_is_refused_with_its_line() {
    let place = Place::new();
    let list = "checksum = 'https://a.example/v1/signed'\n";
    let signer = fingerprint(&place.key.keyring());
    let rows = [
        (format!("{list}signature = {{ kind = 'pgp', signers = ['x'] }}"), "unknown value \"pgp\""),
        (format!("{list}{}", openpgp("x", "")), "one of these is no key"),
        (
            format!("{list}signature = {{ kind = 'openpgp', keyring = 'keys', signers = [] }}"),
            "nobody may sign",
        ),
        (format!("{list}signature = {{ kind = 'openpgp', signers = ['{signer}'] }}"), "there are no keys"),
        (
            format!(
                "{list}signature = {{ kind = 'openpgp', keyring = '../x.toml', signers = ['{signer}'] }}"
            ),
            "x.toml",
        ),
        (format!("{list}{}", openpgp(&signer, ", file = 'list.asc'")), "write the address of the signature"),
        (
            format!("{list}signature = {{ kind = 'minisign', signers = ['x'] }}"),
            "no address of the signature",
        ),
        (
            format!(
                "{list}signature = {{ kind = 'minisign', signers = ['x'], file = 'https://a.example/x' }}"
            ),
            "one of these is no key",
        ),
        (openpgp(&signer, ""), "no address of the signature"),
        (
            "signature = { kind = 'sigstore', signers = ['x'], file = 'https://a.example/x' }".to_owned(),
            "by its issuer alone",
        ),
        (format!("{list}{}", openpgp(&signer, ", issuer = 'x'")), "keys have no issuer"),
        (format!("sha256 = '{}'\n{}", "0".repeat(64), openpgp(&signer, "")), "pins this digest itself"),
    ];
    for (artifact, reason) in rows {
        place.define("", &artifact);
        let refusal = place.refusal();
        assert!(refusal.contains(reason), "{artifact}: {refusal}");
        assert!(refusal.contains("layer.toml:"), "{refusal}");
    }
    place.define("unsigned = ['tool/tol']", &format!("{list}{}", openpgp(&signer, "")));
    let refusal = place.refusal();
    assert!(refusal.contains("no layer asks for a signature of tool/tol"), "{refusal}");
    assert!(refusal.contains("did you mean \"tool/tool\"?"), "{refusal}");
}
