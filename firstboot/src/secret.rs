//! Text that must never be shown: bootstrap tokens, private keys, user data.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// What stands for a secret in a text.
const HIDDEN: &str = "[secret]";
/// Texts of fewer bytes may be a part of any word: they are looked for as words of their own.
const LONG: usize = 8;
/// Even shorter texts are not looked for.
const SHORTEST: usize = 4;
/// Bytes of the second half of a bootstrap token.
const HALF: usize = 16;

/// The secrets that exist at this moment, so that no text that quotes one is shown.
#[cfg(not(test))]
static LIVE: Live = Live::new(Vec::new());
// Unit tests run side by side in one process: the secret of one must not change what another says.
#[cfg(test)]
thread_local!(static LIVE: Live = const { Live::new(Vec::new()) });

type Live = Mutex<Vec<Weak<Zeroizing<String>>>>;

/// A secret text. It cannot be printed or serialized, and its memory is overwritten when its last copy is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes ownership of the text.
    pub fn new(text: String) -> Self {
        let secret = Arc::new(Zeroizing::new(text));
        if secret.len() >= SHORTEST {
            live(|live| {
                live.retain(|other| other.strong_count() > 0);
                live.push(Arc::downgrade(&secret));
            });
        }
        Self(secret)
    }

    /// A text that is kept like a secret, and is not looked for in what is said: it may be a name.
    pub fn discreet(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
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

fn live<T>(work: impl FnOnce(&mut Vec<Weak<Zeroizing<String>>>) -> T) -> T {
    let with = |live: &Live| work(&mut live.lock().unwrap_or_else(PoisonError::into_inner));
    #[cfg(test)]
    return LIVE.with(with);
    #[cfg(not(test))]
    with(&LIVE)
}

/// `text` without the secrets that exist at this moment. A server may repeat what it was sent.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let secrets: Vec<_> = live(|live| live.iter().filter_map(Weak::upgrade).collect());
    secrets.into_iter().fold(Cow::Borrowed(text), |text, secret| without(text, &secret))
}

/// `text` without `secret`, and without the second half of a bootstrap token.
fn without<'t>(text: Cow<'t, str>, secret: &str) -> Cow<'t, str> {
    let half = secret.split_once('.').map(|(_, half)| half).filter(|half| half.len() >= HALF);
    let in_json = serde_json::to_string(secret).unwrap_or_default();
    let in_json = Some(in_json.trim_matches('"')).filter(|json| *json != secret);
    let forms = std::iter::once(secret).chain(half).chain(in_json);
    forms.fold(text, |text, form| if text.contains(form) { replaced(text, form) } else { text })
}

fn replaced<'t>(text: Cow<'t, str>, secret: &str) -> Cow<'t, str> {
    if secret.len() >= LONG {
        return Cow::Owned(text.replace(secret, HIDDEN));
    }
    let is_in_word =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let (mut all, mut rest) = (String::new(), &*text);
    while let Some((front, behind)) = rest.split_once(secret) {
        all.push_str(front);
        let is_word = !is_in_word(all.chars().next_back()) && !is_in_word(behind.chars().next());
        all.push_str(if is_word { HIDDEN } else { secret });
        rest = behind;
    }
    Cow::Owned(all + rest)
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
    fn a_secret_of_another_test_changes_nothing() {
        let (sender, made) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (done, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let secret = Secret::new("sp9cial".to_owned());
                sender.send(()).unwrap();
                let _ = wait.recv();
                drop(secret);
            });
            made.recv().unwrap();
            assert_eq!(redacted("sp9cial"), "sp9cial");
            drop(done);
        });
    }

    #[test]
    fn is_taken_out_of_what_others_say() {
        let secret = Secret::new("1vr73b.b8uxyaju799qwdjw".to_owned());
        let said = "403: Bearer 1vr73b.b8uxyaju799qwdjw (b8uxyaju799qwdjw) is forbidden";
        assert_eq!(redacted(said), "403: Bearer [secret] ([secret]) is forbidden");
        drop(secret);
        assert_eq!(redacted(said), said, "dropped secrets are not kept");
    }

    #[test]
    fn short_secrets_are_hidden_where_they_are_words() {
        let short = Secret::new("hunt3r2".to_owned());
        let long = Secret::new("hunt3r22".to_owned());
        let quoted = Secret::new("a\"b\\cdefgh".to_owned());
        let _name = Secret::discreet("my-autoscaling-group".to_owned());
        let said = "hunt3r2 xhunt3r2 (hunt3r2) hunt3r2_ xhunt3r22x my-autoscaling-group";
        assert_eq!(redacted(said), "[secret] xhunt3r2 ([secret]) hunt3r2_ x[secret]x my-autoscaling-group");
        let json = serde_json::json!({ "said": quoted.reveal() }).to_string();
        assert_eq!(redacted(&json), r#"{"said":"[secret]"}"#);
        drop((short, long));
    }
}
