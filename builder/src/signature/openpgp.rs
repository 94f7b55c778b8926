//! OpenPGP signatures, checked by `gpgv`, the program that apt used for it for twenty years: it knows
//! subkeys, expiry and revocation, and has no options that weaken them. A signature counts if a key that is
//! valid now made it and that key belongs to a primary key which is pinned by its fingerprint. So a signer
//! may replace its subkeys, and a release of Kiln need not know them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::process::{Run, tool};

/// The package of `gpgv`.
const PACKAGE: &str = "gpgv";

/// The largest file with keys that is read, in bytes.
pub const LARGEST_KEYS: u64 = 1 << 20;

/// The keys in a file that the user names; of a larger one than [`LARGEST_KEYS`] the beginning.
///
/// # Errors
/// [`ErrorKind::Io`].
pub fn read_keys(path: &Path) -> Result<Vec<u8>> {
    let mut keys = Vec::new();
    let file = File::open(path).at("opening", path)?;
    file.take(LARGEST_KEYS).read_to_end(&mut keys).at("reading", path)?;
    Ok(keys)
}

const ARMOR: (&str, &str) = ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----");

/// Keys that may sign.
#[derive(Debug)]
pub struct Keys<'a> {
    /// A file in OpenPGP's binary form (RFC 9580 §10.1).
    file: PathBuf,
    /// Fingerprints of the primary keys that count, in upper-case hexadecimal digits; all if none.
    pinned: &'a [&'a str],
    scratch: &'a Path,
}

impl<'a> Keys<'a> {
    /// The keys in `bytes`, armored or binary. Only those of a `pinned` primary key count; all if that is
    /// empty. Intermediate files go to the private folder `scratch`.
    ///
    /// # Errors
    /// [`ErrorKind::Verification`] if these are no keys; [`ErrorKind::Io`].
    pub fn new(bytes: &[u8], pinned: &'a [&'a str], scratch: &'a Path) -> Result<Self> {
        let file = scratch.join("keys.gpg");
        fs::write(&file, without_armor(bytes)?).at("writing", &file)?;
        Ok(Self { file, pinned, scratch })
    }

    /// The signed text of a clear-signed document (RFC 9580 §7), and nothing that stands around it.
    ///
    /// # Errors
    /// [`ErrorKind::Verification`] unless one of the keys has signed it; [`ErrorKind::Tool`] without gpgv.
    pub fn signed_text(&self, document: &[u8]) -> Result<Vec<u8>> {
        self.signed_text_by(document).map(|(text, _)| text)
    }

    /// As [`Keys::signed_text`], and the fingerprint of the signer's primary key.
    fn signed_text_by(&self, document: &[u8]) -> Result<(Vec<u8>, String)> {
        if !is_clear_signed(document) {
            return Err(Error::new(
                ErrorKind::Verification,
                "the signature does not count: this is no clear-signed document",
            )
            .help("name the file that upstream has signed with gpg --clear-sign"));
        }
        let [signed, text] = ["signed", "text"].map(|name| self.scratch.join(name));
        fs::write(&signed, document).at("writing", &signed)?;
        if text.exists() {
            fs::remove_file(&text).at("removing", &text)?;
        }
        let signer = self.check(&["--output".as_ref(), &text, &signed], Class::Any)?;
        Ok((fs::read(&text).at("reading", &text)?, signer))
    }

    /// The signed bytes of a `list` of digests, by the `detached` signature, or within the clear-signed list
    /// itself; and the fingerprint of the signer's primary key.
    ///
    /// # Errors
    /// As [`Keys::signed_text`].
    pub fn signed_list(&self, list: &[u8], detached: Option<&[u8]>) -> Result<(Vec<u8>, String)> {
        let Some(detached) = detached else { return self.signed_text_by(list) };
        let path = self.scratch.join("list");
        fs::write(&path, list).at("writing", &path)?;
        Ok((list.to_vec(), self.check_detached(detached, &path)?))
    }

    /// Checks the detached `signature` of the file `path`. Returns the fingerprint of the signer's primary
    /// key.
    ///
    /// # Errors
    /// As [`Keys::signed_text`].
    pub fn check_detached(&self, signature: &[u8], path: &Path) -> Result<String> {
        let file = self.scratch.join("signature");
        fs::write(&file, signature).at("writing", &file)?;
        self.check(&[&file, path], Class::Bytes)
    }

    fn check(&self, arguments: &[&Path], class: Class) -> Result<String> {
        let mut command = tool("gpgv");
        command
            .args(["--status-fd", "1", "--weak-digest", "SHA1", "--weak-digest", "RIPEMD160", "--keyring"])
            .arg(&self.file)
            .args(arguments);
        // The verdict is in the status lines: an exit code does not tell who has signed.
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = command.start(PACKAGE)?;
        let output = child
            .wait_with_output()
            .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for gpgv: {error}")))?;
        verdict(&String::from_utf8_lossy(&output.stdout), self.pinned, class).map_err(|why| {
            Error::new(ErrorKind::Verification, format!("the signature does not count: {why}"))
                .help("take the file from the publisher itself; if its key has changed, get the new one from there too")
        })
    }
}

/// Kinds of signatures (RFC 9580 §5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Of bytes or of a text.
    Any,
    /// Of bytes: type 0x00.
    Bytes,
}

/// Whether gpgv reads `document` as a clear-signed text, and not as packets, which may be compressed.
fn is_clear_signed(document: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(document) else { return false };
    if !document.first().is_some_and(u8::is_ascii) {
        return false;
    }
    let first = text.lines().map(str::trim_start).find(|line| line.starts_with("-----BEGIN PGP"));
    first.is_some_and(|line| line.trim_end() == "-----BEGIN PGP SIGNED MESSAGE-----")
}

/// The primary key that counts, by gpgv's status lines (GnuPG's doc/DETAILS, "General status codes").
fn verdict(status: &str, pinned: &[&str], class: Class) -> Result<String, String> {
    let mut good = false;
    let mut why = None;
    for line in status.lines() {
        let mut words = line.strip_prefix("[GNUPG:] ").unwrap_or_default().split(' ');
        let keyword = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let who = rest.first().copied().unwrap_or_default();
        let reason = match keyword {
            "NEWSIG" => {
                good = false;
                continue;
            }
            "GOODSIG" => {
                good = true;
                continue;
            }
            "VALIDSIG" if good && class == Class::Bytes && rest.get(8).is_none_or(|class| *class != "00") => {
                format!(
                    "the key {who} signed the lines of a text, whose ends may differ, and not these bytes"
                )
            }
            // The last word is the primary key of the key that signed.
            "VALIDSIG" if good => match rest.last() {
                Some(primary) if pinned.is_empty() || pinned.contains(primary) => {
                    return Ok((*primary).to_owned());
                }
                primary => {
                    let primary = primary.copied().unwrap_or_default();
                    format!("the key {primary} made it, and {} must", pinned.join(" or "))
                }
            },
            "EXPKEYSIG" => format!("the key {who} that made it has expired"),
            "EXPSIG" => format!("it has expired (key {who})"),
            "REVKEYSIG" => format!("the key {who} that made it was revoked"),
            "BADSIG" => format!("the file is not the one that the key {who} signed"),
            "NO_PUBKEY" => format!("an unknown key made it ({who})"),
            "NODATA" => "there is none".to_owned(),
            _ => continue,
        };
        why.get_or_insert(reason);
    }
    Err(why.unwrap_or_else(|| "gpgv finds no valid one".to_owned()))
}

/// Keys in binary form: gpgv reads no other.
fn without_armor(bytes: &[u8]) -> Result<Vec<u8>> {
    let refuse = |what: &str| Error::new(ErrorKind::Verification, format!("the file of keys {what}"));
    // The first byte of a packet has its highest bit set, so binary keys are no text.
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Ok(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("is neither text nor OpenPGP"))?;
    let mut lines = text.lines().map(str::trim);
    let mut keys = Vec::new();
    while lines.by_ref().any(|line| line == ARMOR.0) {
        // Headers end with an empty line (RFC 9580 §6.2).
        lines.by_ref().find(|line| line.is_empty());
        let mut digits = String::new();
        loop {
            match lines.next() {
                None => return Err(refuse("is cut off")),
                Some(line) if line == ARMOR.1 => break,
                // A checksum of the block.
                Some(line) if line.starts_with('=') => {}
                Some(line) => digits.push_str(line),
            }
        }
        keys.extend(STANDARD.decode(digits).map_err(|_| refuse("is damaged"))?);
    }
    if keys.is_empty() { Err(refuse("has no OpenPGP key in it")) } else { Ok(keys) }
}

#[cfg(test)]
#[path = "openpgp_tests.rs"]
mod tests;
