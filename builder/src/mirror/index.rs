//! The index of a mirror: path, length and digest of every file.
//!
//! ```text
//! # kiln mirror 1
//! # image worker for amd64, lock sha256:<64 digits>
//! # 48234432 bytes
//! <64 digits>  dl.k8s.io/v1.36.2/bin/linux/amd64/kubelet
//! ```
//!
//! `sha256sum --check` reads the same text, because lines that begin with `#` mean nothing to it. A signed
//! index is a clear-signed OpenPGP message (RFC 9580 §7): one file, so that text and signature never
//! contradict each other, and `gpg --verify` reads it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::definition::value::check_components;
use crate::digest::Digest;
use crate::store::Content;

/// The largest index that is read, in bytes.
pub const LARGEST_INDEX: u64 = 64 << 20;

const TITLE: &str = "# kiln mirror 1";
const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// What a mirror has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// The images whose files these are, one line each.
    pub images: Vec<String>,
    /// The files, by their paths below the mirror's folder.
    pub files: BTreeMap<String, Content>,
}

impl Index {
    /// The text of the index.
    pub fn render(&self) -> String {
        let images: String = self.images.iter().map(|image| format!("# image {image}\n")).collect();
        let mut text = format!("{TITLE}\n{images}");
        for (path, Content { sha256, size }) in &self.files {
            writeln!(text, "# {size} bytes\n{}  {path}", sha256.hex())
                .expect("writing to a string does not fail");
        }
        text
    }

    /// Reads the text of an index.
    ///
    /// # Errors
    /// The number of the first line that is wrong, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let lines = text.trim_end_matches('\n').split('\n');
        let mut lines = lines.enumerate().map(|(number, line)| (number + 1, line)).peekable();
        if lines.next().is_none_or(|(_, line)| line != TITLE) {
            return Err((1, "this is no index of a mirror, or one of a newer Kiln"));
        }
        let mut index = Self::default();
        while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with("# image ")) {
            index.images.push(line["# image ".len()..].to_owned());
        }
        while let Some((number, line)) = lines.next() {
            let size = size(line).ok_or((number, "a length is expected here"))?;
            let (number, line) = lines.next().ok_or((number, "the index is cut off"))?;
            let (path, sha256) = entry(line).ok_or((number, "a digest and a path are expected here"))?;
            if index.files.last_key_value().is_some_and(|(last, _)| last.as_str() >= path) {
                return Err((number, "the paths are not in order"));
            }
            index.files.insert(path.to_owned(), Content { sha256, size });
        }
        Ok(index)
    }
}

fn size(line: &str) -> Option<u64> {
    let digits = line.strip_prefix("# ")?.strip_suffix(" bytes")?;
    // Only one form of each number, so that what is read is written as it was.
    digits.parse().ok().filter(|size: &u64| size.to_string() == digits)
}

fn entry(line: &str) -> Option<(&str, Digest)> {
    let (digest, path) = line.split_once("  ")?;
    let digest: Digest = digest.parse().ok().filter(|parsed: &Digest| parsed.hex() == digest)?;
    check_path(path).ok().map(|()| (path, digest))
}

/// Whether an index can have this path: `sha256sum` reads backslashes and line breaks as something else.
///
/// # Errors
/// What is wrong with it.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.contains(|letter: char| letter.is_control() || letter == '\\') || path.ends_with(' ') {
        return Err("it has a control character, a backslash or a blank at its end");
    }
    check_components(path)
}

/// Whether these are the bytes of a clear-signed message.
pub fn is_signed(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNED.as_bytes())
}

/// The text in a clear-signed message, whoever has signed it; other text as it is. No line of an index begins
/// with a dash, so none is escaped.
pub fn text_within(text: &str) -> Option<&str> {
    if !is_signed(text.as_bytes()) {
        return Some(text);
    }
    let (_, rest) = text.split_once("\n\n")?;
    rest.split_once(SIGNATURE).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let file = |text: &str| Content { sha256: Digest::of(text.as_bytes()), size: text.len() as u64 };
        let files = [("a.b/x y", file("1")), ("debian/pool/é", file("22"))];
        Index {
            images: vec!["x for amd64".to_owned()],
            files: files.map(|(path, content)| (path.to_owned(), content)).into(),
        }
    }

    #[test]
    fn an_index_is_read_as_it_is_written() {
        let text = index().render();
        assert_eq!(Index::parse(&text), Ok(index()));
        let signed = format!("{SIGNED}\nHash: SHA512\n\n{text}{SIGNATURE}\n\nx\n");
        assert_eq!(text_within(&signed), Some(text.as_str()));
        assert_eq!(text_within(&text), Some(text.as_str()));
        assert_eq!(text_within(&signed.replace(SIGNATURE, "")), None);
    }

    #[test]
    fn wrong_lines_are_named() {
        let text = index().render();
        let digest = Digest::of(b"1").hex();
        for (from, to, line) in [
            ("mirror 1", "mirror 2", 1),
            ("# 1 bytes", "# 01 bytes", 3),
            ("# 1 bytes\n", "", 3),
            ("a.b/x y", "a.b/../y", 4),
            ("a.b/x y", "/etc/passwd", 4),
            ("a.b/x y", "x\\ny", 4),
            ("a.b/x y", "z", 6),
            (&digest, &digest.to_uppercase(), 4),
            ("  a.b", " a.b", 4),
        ] {
            assert_eq!(
                Index::parse(&text.replacen(from, to, 1)).map_err(|(line, _)| line),
                Err(line),
                "{to}"
            );
        }
        let end = text.rfind(&Digest::of(b"22").hex()).unwrap();
        assert_eq!(Index::parse(&text[..end]), Err((5, "the index is cut off")));
    }

    /// The digests of a listing by another program.
    #[test]
    fn sha256sum_reads_it() {
        use crate::process::{Run, tool};
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("debian/pool")).unwrap();
        std::fs::create_dir_all(folder.path().join("a.b")).unwrap();
        std::fs::write(folder.path().join("a.b/x y"), "1").unwrap();
        std::fs::write(folder.path().join("debian/pool/é"), "22").unwrap();
        std::fs::write(folder.path().join("index"), index().render()).unwrap();
        let check = || {
            tool("sha256sum")
                .args(["--check", "--strict", "--quiet", "index"])
                .current_dir(&folder)
                .run("coreutils")
        };
        check().unwrap();
        std::fs::write(folder.path().join("a.b/x y"), "2").unwrap();
        check().unwrap_err();
    }
}
