//! Checksum files, in every format that the upstreams of Kubernetes nodes publish. Pure: no files, no
//! sockets.
//!
//! | dialect | example | published by |
//! |---|---|---|
//! | bare digits, with or without a newline | `e3b0…` | Kubernetes binaries, crictl |
//! | coreutils | `e3b0…  name`, `e3b0… *name`, names with folders | containerd, CNI plugins, etcd, cloud images |
//! | coreutils in a PGP clear-signed message (RFC 9580 §7) | `-----BEGIN PGP SIGNED MESSAGE-----` | runc |
//! | blocks after a `# SHA512 HASH` line | Gentoo's DIGESTS | images of its descendants |
//! | BSD | `SHA256 (name) = e3b0…` | `shasum --tag`, OpenSSL |
//!
//! Only SHA-256 and SHA-512 count; shorter digests are ignored. Signatures are not checked here.

use std::fmt;

use crate::digest::Digest;
use contract::suggest::similar;

use crate::error::{Error, ErrorKind, Result};

/// How many names an error message shows.
const NEAREST: usize = 3;

/// The expected digest of a file.
#[derive(Clone, PartialEq, Eq)]
pub enum Expected {
    /// SHA-256, the algorithm of the lock and the store.
    Sha256(Digest),
    /// SHA-512, the only digest that some upstreams publish.
    Sha512([u8; 64]),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex::encode(bytes)),
        }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest of the file `file_name` in `document`; SHA-512 if it contains both.
///
/// `file_name` is compared with the last component of the names in the document. It may have folders before
/// it, or be a whole address: if a name occurs in several folders, the entries that share most of its path
/// count.
///
/// # Errors
/// If the document is empty, truncated or a web page, if it lacks the name or has only weak digests for it,
/// or if it has different digests for it.
pub fn find(document: &[u8], file_name: &str) -> Result<Expected> {
    let text = String::from_utf8_lossy(document);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(refuse("the checksum file is empty"));
    }
    if text.starts_with('<') {
        return Err(refuse("this is a web page, not a checksum file")
            .help("open the address in a browser: it may ask for a login, or the file may have moved"));
    }
    let entries = entries(&signed_part(text)?);
    if entries.is_empty() {
        return Err(refuse("no line of the checksum file is a digest"));
    }
    let matching = matching(&entries, file_name);
    if matching.is_empty() {
        return Err(missing(&entries, file_name));
    }
    strongest(&matching, file_name)
}

/// Whether the document has an entry with the name of the file at `file_name`, not only a digest without one.
pub fn names(document: &[u8], file_name: &str) -> bool {
    let text = String::from_utf8_lossy(document);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let named = |entry: &Entry<'_>| entry.name.is_some_and(|name| shared_components(name, file_name) > 0);
    entries(&lines).iter().any(named)
}

/// A line of a checksum file: a digest, and its file name if the line has one.
#[derive(Debug, Clone)]
struct Entry<'a> {
    name: Option<&'a str>,
    /// `None` if the algorithm is too weak or unknown.
    expected: Option<Expected>,
}

/// The lines that count. In a clear-signed message these are the signed lines, without dash escapes.
fn signed_part(text: &str) -> Result<Vec<&str>> {
    let mut lines = text.lines().map(str::trim);
    if !text.contains("-----BEGIN PGP SIGNED MESSAGE-----") {
        return Ok(lines.collect());
    }
    lines.by_ref().find(|line| *line == "-----BEGIN PGP SIGNED MESSAGE-----");
    lines.by_ref().find(|line| line.is_empty());
    let mut signed = Vec::new();
    for line in lines {
        if line == "-----BEGIN PGP SIGNATURE-----" {
            return Ok(signed);
        }
        signed.push(line.strip_prefix("- ").unwrap_or(line));
    }
    Err(refuse("the signed checksum file is cut off: it has no signature at its end"))
}

fn entries<'a>(lines: &[&'a str]) -> Vec<Entry<'a>> {
    let mut block = None;
    let mut entries = Vec::new();
    for line in lines {
        if let Some(comment) = line.strip_prefix('#') {
            block = comment.trim().strip_suffix(" HASH").or(block);
        } else if let Some(mut entry) = tagged(line).or_else(|| plain(line)) {
            // BLAKE2b and Whirlpool digests are as long as SHA-512, so in such a block the length proves
            // nothing.
            if !block.is_none_or(is_sha2) {
                entry.expected = None;
            }
            entries.push(entry);
        }
    }
    entries
}

/// `SHA256 (name) = digits`
fn tagged(line: &str) -> Option<Entry<'_>> {
    let (algorithm, rest) = line.split_once('(')?;
    let (name, digits) = rest.rsplit_once(')')?;
    let digits = digits.trim_start().strip_prefix('=')?.trim();
    let algorithm = algorithm.trim();
    let plausible = !algorithm.is_empty() && !algorithm.contains(char::is_whitespace) && is_hex(digits);
    plausible.then(|| Entry { name: Some(name), expected: digest(digits).filter(|_| is_sha2(algorithm)) })
}

/// `digits`, `digits  name`, `digits *name`
fn plain(line: &str) -> Option<Entry<'_>> {
    let (digits, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let digits = digits
        .strip_prefix("sha256:")
        .or_else(|| digits.strip_prefix("sha512:"))
        .unwrap_or(digits);
    if !is_hex(digits) {
        return None;
    }
    let name = name.trim_start();
    let name = name.strip_prefix('*').unwrap_or(name);
    // `sha256sum < file` calls the file "-".
    Some(Entry { name: Some(name).filter(|name| !matches!(*name, "" | "-")), expected: digest(digits) })
}

fn is_sha2(algorithm: &str) -> bool {
    matches!(
        algorithm.to_ascii_uppercase().as_str(),
        "SHA256" | "SHA512" | "SHA-256" | "SHA-512" | "SHA2-256" | "SHA2-512"
    )
}

/// Whether this is as long as the digest of a known algorithm. MD5 is the shortest.
fn is_hex(digits: &str) -> bool {
    matches!(digits.len(), 32 | 40 | 56 | 64 | 96 | 128)
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn digest(digits: &str) -> Option<Expected> {
    let bytes = hex::decode(digits).ok()?;
    match bytes.len() {
        32 => bytes.try_into().ok().map(|bytes: [u8; 32]| Expected::Sha256(bytes.into())),
        64 => bytes.try_into().ok().map(Expected::Sha512),
        _ => None,
    }
}

/// The entries for `file_name`: those that share most trailing components of its path, or all entries of a
/// document without names.
fn matching<'a>(entries: &[Entry<'a>], file_name: &str) -> Vec<Entry<'a>> {
    let shared = |entry: &Entry<'_>| entry.name.map_or(0, |name| shared_components(name, file_name));
    let best = entries.iter().map(shared).max().unwrap_or(0);
    let nameless = entries.iter().all(|entry| entry.name.is_none());
    if best == 0 && !nameless {
        return Vec::new();
    }
    entries.iter().filter(|entry| shared(entry) == best).cloned().collect()
}

/// How many trailing components two paths have in common.
fn shared_components(left: &str, right: &str) -> usize {
    let components = |path| str::rsplit(path, ['/', '\\']);
    components(left).zip(components(right)).take_while(|(left, right)| left == right).count()
}

fn strongest(matching: &[Entry<'_>], file_name: &str) -> Result<Expected> {
    let of_strength = |wanted: fn(&Expected) -> bool| {
        let mut found: Vec<_> = matching
            .iter()
            .filter_map(|entry| entry.expected.as_ref())
            .filter(|digest| wanted(digest))
            .collect();
        found.dedup();
        found
    };
    let (long, short) = (
        of_strength(|e| matches!(e, Expected::Sha512(_))),
        of_strength(|e| matches!(e, Expected::Sha256(_))),
    );
    match (long.as_slice(), short.as_slice()) {
        ([], []) => Err(refuse(format!(
            "the checksum file has only weak digests (such as MD5 or SHA-1) for {file_name}"
        ))),
        ([only], [] | [_]) | ([], [only]) => Ok((*only).clone()),
        _ => Err(ambiguous(matching, file_name)),
    }
}

fn ambiguous(matching: &[Entry<'_>], file_name: &str) -> Error {
    let shown: Vec<_> = matching
        .iter()
        .filter_map(|entry| Some((entry.expected.as_ref()?, entry.name.unwrap_or("(no name)"))))
        .collect();
    let lines: String = shown
        .iter()
        .take(2 * NEAREST)
        .map(|(digest, name)| format!("\n  {digest}  {name}"))
        .collect();
    refuse(format!("the checksum file gives different digests for {file_name}:{lines}"))
        .help("pin the digest of the file that you mean in the layer")
}

fn missing(entries: &[Entry<'_>], file_name: &str) -> Error {
    let wanted = last_component(file_name);
    let names = similar(wanted, entries.iter().filter_map(|entry| entry.name), 0.0);
    let names: Vec<_> = names.into_iter().take(NEAREST).map(|(_, name)| name).collect();
    refuse(format!("the checksum file does not mention {wanted}; nearest: {}", names.join(", ")))
        .help("check the version and the name of the artifact")
}

fn last_component(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn refuse(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Verification, what)
}

#[cfg(test)]
#[path = "checksum_tests.rs"]
mod tests;
