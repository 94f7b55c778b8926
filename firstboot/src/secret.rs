//! Text that must never be shown: bootstrap tokens, private keys, user data.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// What stands for a secret in a text.
const HIDDEN: &str = "[secret]";
/// Shorter texts than that, in bytes, are not looked for in others: they may be words.
const SHORTEST: usize = 16;

/// The secrets that exist at this moment, so that no text that quotes one is shown.
static LIVE: Mutex<Vec<Weak<Zeroizing<String>>>> = Mutex::new(Vec::new());

/// A secret text. It cannot be printed or serialized, and its memory is overwritten when its last copy is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: String) -> Self {
        let secret = Arc::new(Zeroizing::new(text));
        if secret.len() >= SHORTEST {
            let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
            live.retain(|other| other.strong_count() > 0);
            live.push(Arc::downgrade(&secret));
        }
        Self(secret)
    }

    /// The text, for code that sends or stores it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// `text` without the secrets that exist at this moment. A server may repeat what it was sent.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let secrets = live.iter().filter_map(Weak::upgrade);
    secrets.fold(Cow::Borrowed(text), |text, secret| without(text, &secret))
}

/// `text` without `secret`, and without the second half of a bootstrap token.
fn without<'t>(text: Cow<'t, str>, secret: &str) -> Cow<'t, str> {
    let half = secret.split_once('.').map(|(_, half)| half).filter(|half| half.len() >= SHORTEST);
    std::iter::once(secret).chain(half).fold(text, |text, secret| {
        if text.contains(secret) { Cow::Owned(text.replace(secret, HIDDEN)) } else { text }
    })
}

/// Overwrites all texts of a document that may contain secrets.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("9vr73a.a8uxyaju799qwdjv".to_owned())), "Secret(…)");
    }

    #[test]
    fn is_taken_out_of_what_others_say() {
        let secret = Secret::new("1vr73b.b8uxyaju799qwdjw".to_owned());
        let said = "403: Bearer 1vr73b.b8uxyaju799qwdjw (b8uxyaju799qwdjw) is forbidden";
        assert_eq!(redacted(said), "403: Bearer [secret] ([secret]) is forbidden");
        drop(secret);
        assert_eq!(redacted(said), said, "dropped secrets are not kept");
    }
}
