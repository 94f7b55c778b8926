//! The one way to name what a build keeps in the store.
//!
//! A key is the SHA-256 of a JSON document with sorted keys and without blanks:
//!
//! ```text
//! {"format":2,"inputs":{…},"kind":"root","tools":{"mksquashfs":"4.6.1"}}
//! ```
//!
//! | member | content |
//! |---|---|
//! | `kind` | what is kept, also the name of its folder in `built/` |
//! | `format` | a number that the code which makes it raises when the same inputs come to give other bytes |
//! | `inputs` | everything else that decides the bytes: digests, plans, options, the epoch |
//! | `tools` | programs of the host that write the bytes, and their versions |
//!
//! Nothing of one machine is in it (no path, no user, no time), so stores can be shared between machines:
//! equal keys mean equal bytes. `inputs` are serialized by serde, never by `Debug`, whose text no release
//! promises to keep.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// The name of a folder in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub(super) kind: &'static str,
    pub(super) digest: Digest,
}

#[derive(Serialize)]
struct Document<'a, I> {
    kind: &'a str,
    format: u32,
    inputs: &'a I,
    tools: BTreeMap<&'a str, &'a str>,
}

impl Key {
    /// The key of a thing of this `kind`; see the module for the other arguments.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when `inputs` cannot be written as JSON.
    pub fn new(
        kind: &'static str,
        format: u32,
        inputs: &impl Serialize,
        tools: &[(&str, &str)],
    ) -> Result<Self> {
        let document = Document { kind, format, inputs, tools: tools.iter().copied().collect() };
        let failed = |error| Error::new(ErrorKind::Internal, format!("naming a {kind}: {error}"));
        let mut value = serde_json::to_value(&document).map_err(failed)?;
        value.sort_all_objects();
        let bytes = serde_json::to_vec(&value).map_err(failed)?;
        Ok(Self { kind, digest: Digest::of(&bytes) })
    }

    /// What is kept under it.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The hash of everything that decides its bytes.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Inputs {
        b: u32,
        a: &'static str,
    }

    fn key(kind: &'static str, format: u32, b: u32, version: &str) -> Key {
        Key::new(kind, format, &Inputs { b, a: "x" }, &[("tool", version)]).unwrap()
    }

    #[test]
    fn every_member_decides() {
        let one = key("root", 1, 1, "1");
        assert_eq!(one, key("root", 1, 1, "1"));
        for other in
            [key("layer", 1, 1, "1"), key("root", 2, 1, "1"), key("root", 1, 2, "1"), key("root", 1, 1, "2")]
        {
            assert_ne!(one.digest(), other.digest());
        }
    }

    /// Another machine, or another release of the library, must find what this one has kept.
    #[test]
    fn the_document_is_as_documented() {
        let text = r#"{"format":1,"inputs":{"a":"x","b":1},"kind":"root","tools":{"tool":"1"}}"#;
        assert_eq!(key("root", 1, 1, "1").digest(), &Digest::of(text.as_bytes()));
    }
}
