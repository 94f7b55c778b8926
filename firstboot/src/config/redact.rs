//! Takes secrets out of messages: whatever is written where, a bootstrap token is never shown.
//!
//! Values of token fields are not shown in the first place. This is for tokens that stand where none belongs,
//! such as in a key.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::secret::Secret;

/// Replaces hidden text.
const HIDDEN: &str = "(hidden)";
/// Shorter texts are no secrets, and hiding them would blot out whole messages.
const SHORTEST: usize = 6;
/// Characters of a token's id and of its secret.
const TOKEN: (usize, usize) = (6, 16);
/// Texts remembered at most: no config has more tokens.
const LIMIT: usize = 64;

/// The secrets of one input.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<Zeroizing<String>>,
}

impl Redactor {
    /// Remembers everything in `text` that looks like a bootstrap token, and its secret half alone.
    pub fn scan(&mut self, text: &str) {
        let plain = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = text.as_bytes();
        for (dot, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'.') {
            let (Some(start), end) = (dot.checked_sub(TOKEN.0), dot + 1 + TOKEN.1) else { continue };
            if end <= bytes.len() && plain(&bytes[start..dot]) && plain(&bytes[dot + 1..end]) {
                self.remember(&text[start..end]);
                self.remember(&text[dot + 1..end]);
            }
        }
    }

    /// Remembers the texts in fields that are named like tokens, valid or not.
    pub fn scan_fields(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) if name.to_lowercase().ends_with("token") => self.remember(text),
                        _ => self.scan_fields(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.scan_fields(item)),
            _ => (),
        }
    }

    /// Remembers a secret.
    pub fn remember(&mut self, text: &str) {
        if text.len() >= SHORTEST
            && self.secrets.len() < LIMIT
            && !self.secrets.iter().any(|known| known.as_str() == text)
        {
            self.secrets.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// Remembers a secret.
    pub fn remember_secret(&mut self, secret: &Secret) {
        self.remember(secret.reveal());
        self.scan(secret.reveal());
    }

    /// `message` without the secrets.
    pub fn clean(&self, message: &str) -> String {
        self.secrets
            .iter()
            .fold(message.to_owned(), |message, secret| message.replace(secret.as_str(), HIDDEN))
    }

    /// `failure` without the secrets.
    pub fn clean_failure(&self, failure: Failure) -> Failure {
        Failure {
            message: self.clean(&failure.message),
            help: failure.help.map(|help| self.clean(&help)),
            warnings: failure.warnings.iter().map(|warning| self.clean(warning)).collect(),
            ..failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_tokens_wherever_they_stand() {
        let mut redactor = Redactor::default();
        redactor.scan("a: canary.canarycanarycana\nb: é.canarycanarycana c.");
        assert_eq!(redactor.clean("unknown field \"canary.canarycanarycana\""), "unknown field \"(hidden)\"");
        assert_eq!(redactor.clean("x.canarycanarycanay"), "x.(hidden)y");
        redactor
            .scan_fields(&serde_json::json!({"a": [{"tlsBootstrapToken": "Not-Quite.a", "token": "ab"}]}));
        assert_eq!(redactor.clean("about Not-Quite.a"), "about (hidden)");
    }
}
