//! A distribution's package archive as a test makes it: packages in a pool, and signed lists of them
//! (<https://wiki.debian.org/DebianRepository/Format>).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The programs that this module calls: a test that lacks one cannot run.
pub const TOOLS: &[&str] = &["gpg", "gpgv", "dpkg-deb"];

/// A key that signs lists, in a GnuPG home of its own. When dropped, ends the agent that GnuPG has started.
#[derive(Debug)]
pub struct Key {
    home: PathBuf,
    /// The time at which it signs, as GnuPG is told it; now if none.
    time: Option<&'static str>,
}

impl Key {
    /// A new key, in the folder `home`, which is made.
    pub fn new(home: &Path) -> Self {
        Self::made(home, None, "never")
    }

    /// A key that signed at the beginning of 2024, and whose time is over.
    pub fn expired(home: &Path) -> Self {
        Self::made(home, Some("20240101T000000!"), "1y")
    }

    fn made(home: &Path, time: Option<&'static str>, ends: &str) -> Self {
        fs::create_dir_all(home).unwrap();
        fs::set_permissions(home, fs::Permissions::from_mode(0o700)).unwrap();
        let key = Self { home: home.to_owned(), time };
        let identity = ["--quick-generate-key", "Test <test@archive.invalid>", "ed25519", "sign", ends];
        key.gpg(&[&["--passphrase", ""], &identity[..]].concat());
        key.gpg(&["--output", text(&key.keyring()), "--export"]);
        key
    }

    /// The file with the public key.
    pub fn keyring(&self) -> PathBuf {
        self.home.join("public.gpg")
    }

    /// Writes the text `plain`, with a signature in it, to `signed`.
    pub fn clear_sign(&self, plain: &Path, signed: &Path) {
        self.gpg(&["--output", text(signed), "--clearsign", text(plain)]);
    }

    /// Writes a signature of the file `plain` alone to `signature`.
    pub fn detach_sign(&self, plain: &Path, signature: &Path) {
        self.gpg(&["--output", text(signature), "--detach-sign", text(plain)]);
    }

    fn gpg(&self, arguments: &[&str]) {
        let mut all = vec!["--batch", "--yes", "--quiet", "--homedir", text(&self.home)];
        all.extend(self.time.iter().flat_map(|time| ["--faked-system-time", time]));
        output("gpg", &[&all, arguments].concat());
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--kill", "all"])
            .status()
            .ok();
    }
}

/// A suite of an archive, such as a release or its updates.
#[derive(Debug, Clone, Copy)]
pub struct Suite<'a> {
    /// The distribution that its Release file names.
    pub origin: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its time, as in mail (RFC 5322).
    pub date: &'a str,
    /// The time at which its lists expire, in the same form.
    pub valid_until: Option<&'a str>,
    /// The architecture of its packages.
    pub arch: &'a str,
    /// Its components, and the stanzas of their packages.
    pub components: &'a [(&'a str, &'a str)],
}

impl Suite<'_> {
    /// Writes the signed lists into the folder `archive`.
    pub fn write(&self, archive: &Path, key: &Key) {
        let Self { origin, name, date, arch, .. } = self;
        let folder = archive.join("dists").join(name);
        let names: Vec<&str> = self.components.iter().map(|(name, _)| *name).collect();
        let mut release = format!(
            "Origin: {origin}\nLabel: {origin}\nSuite: {name}\nCodename: {name}\nDate: {date}\n{}\
             Architectures: {arch}\nComponents: {}\nSHA256:\n",
            self.valid_until.map(|time| format!("Valid-Until: {time}\n")).unwrap_or_default(),
            names.join(" ")
        );
        for (component, list) in self.components {
            let name = format!("{component}/binary-{arch}/Packages");
            put(&folder.join(&name), list.as_bytes());
            release += &format!(" {} {} {name}\n", digest(list.as_bytes()), list.len());
        }
        let (plain, signed) = (folder.join("Release"), folder.join("InRelease"));
        put(&plain, release.as_bytes());
        key.clear_sign(&plain, &signed);
    }
}

/// Puts the package in `file` into the pool of the folder `archive`, as `bytes`, which hold the same. Gives
/// its stanza for a list, with the lines `further` at its end.
pub fn publish(archive: &Path, file: &Path, bytes: &[u8], further: &str) -> String {
    let control = String::from_utf8(output("dpkg-deb", &["--field", text(file)])).unwrap();
    let name = format!("pool/{}.deb", digest(bytes));
    put(&archive.join(&name), bytes);
    format!("{control}Filename: {name}\nSize: {}\nSHA256: {}\n{further}\n", bytes.len(), digest(bytes))
}

/// The package in `file`, its members compressed with zstd instead (deb(5)), as Ubuntu has them.
pub fn with_zstd(file: &Path) -> Vec<u8> {
    let members = [("control.tar.zst", "--ctrl-tarfile"), ("data.tar.zst", "--fsys-tarfile")];
    let mut packed = b"!<arch>\n".to_vec();
    let mut add = |name: &str, body: &[u8]| {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, body.len());
        packed.extend_from_slice(header.as_bytes());
        packed.extend_from_slice(body);
        packed.resize(packed.len().next_multiple_of(2), b'\n');
    };
    add("debian-binary", b"2.0\n");
    for (name, option) in members {
        add(name, &zstd::encode_all(&output("dpkg-deb", &[option, text(file)])[..], 1).unwrap());
    }
    packed
}

/// Builds a package of the files below `root`, whose control file gets these lines and a maintainer. All
/// files belong to root.
pub fn package(root: &Path, control: &str, file: &Path) {
    let lines = format!("{control}Maintainer: Test <test@example.com>\nDescription: a test\n");
    put(&root.join("DEBIAN/control"), lines.as_bytes());
    output("dpkg-deb", &["--root-owner-group", "-Zzstd", "-z1", "--build", text(root), text(file)]);
}

fn put(file: &Path, bytes: &[u8]) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a program and returns what it prints.
fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("starting {program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
