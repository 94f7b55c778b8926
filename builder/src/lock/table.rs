//! Tables of digests: a way to lock without asking upstream.
//!
//! Tab-separated text whose first line names the columns; `url`, `digest_algorithm` and `digest` are read,
//! others ignored.

use std::collections::HashMap;
use std::path::Path;

use crate::definition::compose;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

const EXPECTED: compose::Expected = compose::Expected {
    kind: ErrorKind::Lock,
    largest: 64 << 20,
    help: "name a table of digests, or leave --digests out",
};

/// Digests by URL.
#[derive(Debug, Default)]
pub struct DigestTable(HashMap<String, Digest>);

impl DigestTable {
    /// Reads a table.
    pub fn read(path: &Path) -> Result<Self> {
        let source = compose::read_as(path, &EXPECTED)?;
        Self::parse(&source.text).map_err(|(line, why)| {
            let message = format!("{}:{line}: {why}", path.display());
            Error::new(ErrorKind::Lock, message)
                .help("a digest table has tab-separated columns url, digest_algorithm and digest, named in its first line")
        })
    }

    /// Reads the text of a table; errors carry the line number.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let header = lines.next().unwrap_or_default();
        let column = |name: &str| {
            header
                .iter()
                .position(|field| *field == name)
                .ok_or((1, format!("there is no column \"{name}\"")))
        };
        let (url, algorithm, digest) = (column("url")?, column("digest_algorithm")?, column("digest")?);
        let mut digests = HashMap::new();
        for (index, fields) in lines.enumerate() {
            let field = |column: usize| {
                fields.get(column).copied().ok_or((index + 2, "a column is missing".to_owned()))
            };
            if field(algorithm)? == "sha256" {
                let parsed =
                    field(digest)?.parse().map_err(|_| (index + 2, "not a SHA-256 digest".to_owned()))?;
                digests.insert(field(url)?.to_owned(), parsed);
            }
        }
        Ok(Self(digests))
    }

    /// The digest of the file at `url`.
    pub fn get(&self, url: &str) -> Option<Digest> {
        self.0.get(url).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_named_columns_and_names_bad_lines() {
        let digest = Digest::of(b"x");
        let text = format!(
            "component\turl\tdigest_algorithm\tdigest\nrunc\thttps://a/b\tsha256\t{}\n",
            digest.hex()
        );
        assert_eq!(DigestTable::parse(&text).unwrap().get("https://a/b"), Some(digest));
        assert_eq!(DigestTable::parse("url\tdigest\n").unwrap_err().0, 1);
        assert_eq!(DigestTable::parse("url\tdigest_algorithm\tdigest\na\tsha256\tzz").unwrap_err().0, 2);
    }
}
