//! Public keys in minisign's form (<https://jedisct1.github.io/minisign/>).

use std::fmt;

use base64::Engine as _;

/// A public key that may sign user data.
#[derive(Clone)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    id: String,
    line: String,
}

/// The text is not a public key of minisign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKey;

impl NotAKey {
    /// The error.
    pub const MESSAGE: &str = "the public key is not one of minisign's";
    /// How to fix it.
    pub const HELP: &str = "give the line of minisign.pub that begins with RW";
}

impl PublicKey {
    /// Parses `minisign.pub`: the whole file, or only its second line.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(NotAKey) };
        let key = minisign_verify::PublicKey::from_base64(line).map_err(|_| NotAKey)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(line).map_err(|_| NotAKey)?;
        let id = bytes.get(2..10).ok_or(NotAKey)?;
        let id = id.iter().rev().map(|byte| format!("{byte:02X}")).collect();
        Ok(Self { key, id, line: line.to_owned() })
    }

    /// The id as minisign shows it: sixteen hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether `signature` is a signature of `bytes` by this key. Signatures of the old form (`minisign -l`)
    /// do not count.
    pub fn has_signed(&self, bytes: &[u8], signature: &minisign_verify::Signature) -> bool {
        self.key.verify(bytes, signature, false).is_ok()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.id)
    }
}
