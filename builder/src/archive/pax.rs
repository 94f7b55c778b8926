//! Extension headers before a tar member: pax records (POSIX.1-2001) and GNU long names.
//!
//! Records are read by their stated length: values may be binary and contain line ends.

use std::collections::BTreeSet;

/// The pax key of an extended attribute (star, GNU tar, libarchive, Go).
pub(crate) const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// The contents of the extension headers before one member.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
    seen: BTreeSet<String>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// A GNU long name: the path and a NUL.
    pub(super) fn long_name(&mut self, body: Vec<u8>) -> Result<(), String> {
        self.path = Some(until_nul(body));
        self.once("path")
    }

    /// A GNU long link target.
    pub(super) fn long_link(&mut self, body: Vec<u8>) -> Result<(), String> {
        self.link = Some(until_nul(body));
        self.once("linkpath")
    }

    /// Reads pax records. Records that Kiln does not need (times, owner names, comments) are ignored.
    pub(super) fn pax(&mut self, body: &[u8]) -> Result<(), String> {
        for record in records(body) {
            let (key, value) = record?;
            self.once(key)?;
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "size" => self.size = Some(number(key, value)?),
                "uid" => self.uid = Some(number(key, value)?),
                "gid" => self.gid = Some(number(key, value)?),
                _ if key.starts_with("GNU.sparse.") => {
                    return Err("it is a sparse file, which is not supported".into());
                }
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                        self.xattrs.push((name.to_owned(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    /// A global header may contain a comment (`git archive` writes one). A record that would change members
    /// is an error.
    pub(super) fn check_global(body: &[u8]) -> Result<(), String> {
        for record in records(body) {
            let (key, _) = record?;
            if ["path", "linkpath", "size", "uid", "gid"].contains(&key)
                || key.starts_with("GNU.sparse.")
                || key.starts_with(XATTR_PREFIX)
            {
                return Err(format!("a global header sets \"{key}\" for all members"));
            }
        }
        Ok(())
    }

    fn once(&mut self, key: &str) -> Result<(), String> {
        if self.seen.insert(key.to_owned()) {
            Ok(())
        } else {
            Err(format!("its extension headers state \"{key}\" twice"))
        }
    }
}

/// Splits `LENGTH KEY=VALUE\n` records, where LENGTH counts the whole record.
fn records(mut body: &[u8]) -> impl Iterator<Item = Result<(&str, &[u8]), String>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let Some((key, value, rest)) = first_record(body) else {
            body = &[];
            return Some(Err("its pax header is malformed".to_owned()));
        };
        body = rest;
        Some(Ok((key, value)))
    })
}

fn first_record(body: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = body.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = digits(&body[..space])?.try_into().ok()?;
    if length > body.len() || length <= space + 1 {
        return None;
    }
    let (record, rest) = body.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((std::str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..], rest))
}

fn number(key: &str, value: &[u8]) -> Result<u64, String> {
    digits(value).ok_or_else(|| format!("its \"{key}\" is not a number"))
}

/// Plain decimal digits: no sign, no spaces.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn until_nul(mut body: Vec<u8>) -> Vec<u8> {
    if let Some(end) = body.iter().position(|byte| *byte == 0) {
        body.truncate(end);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_are_taken_by_length() {
        let mut extensions = Extensions::default();
        extensions.pax(b"28 SCHILY.xattr.user.a=x\n=y\n10 size=7\n").unwrap();
        assert_eq!(extensions.xattrs, [("user.a".to_owned(), b"x\n=y".to_vec())]);
        assert_eq!(extensions.size, Some(7));
    }

    #[test]
    fn malformed_records_are_refused() {
        for body in [
            &b"99 path=a\n"[..],
            b"path=a\n",
            b"9 path=ab",
            b"5 \n",
            b"10 size=-\n",
            b"11 size=+7\n",
            b"9 path=a\n9 path=b\n",
        ] {
            assert!(Extensions::default().pax(body).is_err(), "{}", body.escape_ascii());
        }
        assert!(Extensions::check_global(b"13 comment=a\n").is_ok());
        assert!(Extensions::check_global(b"9 path=a\n").is_err());
    }
}
