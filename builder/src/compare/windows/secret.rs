//! Values of the registry as they may be shown. That a secret differs is told; the secret is not.

use crate::address;
use crate::definition::windows::names::folded;
use crate::digest::Digest;
use crate::format::hive::Value;

/// The most characters of a value that are shown.
const LONGEST: usize = 1000;

/// What stands in the place of a secret.
const HIDDEN: &str = "a secret";

/// Keys all of whose values are secrets or keys to them: how their paths end, or what is above them.
const KEYS: [&str; 9] = [
    r"\CONTROL\LSA\JD",
    r"\CONTROL\LSA\SKEW1",
    r"\CONTROL\LSA\GBG",
    r"\CONTROL\LSA\DATA",
    r"\POLICY\SECRETS",
    r"\SAM\SAM",
    r"\SNMP\PARAMETERS\VALIDCOMMUNITIES",
    // What a hypervisor hands to the machine: the agent's node config, with its token.
    r"\VIRTUAL MACHINE\EXTERNAL",
    r"\PROTECTED STORAGE SYSTEM PROVIDER",
];
/// Those of them in which the names are the secrets.
const NAMES: &str = r"\SNMP\PARAMETERS\VALIDCOMMUNITIES";

/// What is in the names of values, variables and arguments that are secrets, in upper case.
const WORDS: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PWD",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "PRIVATEKEY",
    "PRODUCTKEY",
    "DIGITALPRODUCTID",
];
/// What is in texts that are secrets.
const SIGNS: [&str; 3] = ["PRIVATE KEY-----", "client-key-data", "\"private_key\":"];

/// A value as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub text: String,
    is_secret: bool,
}

impl Shown {
    /// That of the value `name` of a key.
    pub fn of(key: &str, name: &str, value: &Value) -> Self {
        if is_secret(key, name, value) {
            return Self { text: HIDDEN.to_owned(), is_secret: true };
        }
        let text = match value {
            Value::Binary(bytes) | Value::Other(_, bytes) => {
                format!("{} bytes, {:.19}", bytes.len(), Digest::of(bytes).to_string())
            }
            _ => short(&address::said(&value.to_string())),
        };
        Self { text, is_secret: false }
    }
}

/// A text, cut where it is long.
fn short(text: &str) -> String {
    // Lines belong to lists.
    let line = text.replace('\n', "\\n").replace('\t', "\\t");
    let length = line.chars().count();
    if length <= LONGEST {
        return line;
    }
    let cut: String = line.chars().take(LONGEST).collect();
    format!("{cut}… ({length} characters, {:.19})", Digest::of(text.as_bytes()).to_string())
}

/// A value before and after, so that it can be seen that they differ.
pub(super) fn pair(
    key: &str,
    name: &str,
    from: Option<&Value>,
    to: Option<&Value>,
) -> (Option<String>, Option<String>) {
    let shown = |value: Option<&Value>| value.map(|value| Shown::of(key, name, value));
    let (old, new) = (shown(from), shown(to));
    let text = |shown: Option<Shown>| shown.map(|shown| shown.text);
    match (&old, &new) {
        (Some(one), Some(other)) if one.text == other.text => {
            let differ = if one.is_secret { "another secret".to_owned() } else { with_kind(to, &other.text) };
            let from = if one.is_secret { HIDDEN.to_owned() } else { with_kind(from, &one.text) };
            (Some(from), Some(differ))
        }
        _ => (text(old), text(new)),
    }
}

/// The text of a value with the name of its type, for two values that read alike.
fn with_kind(value: Option<&Value>, text: &str) -> String {
    let kind = match value {
        Some(Value::String(_)) => "REG_SZ",
        Some(Value::ExpandString(_)) => "REG_EXPAND_SZ",
        Some(Value::MultiString(_)) => "REG_MULTI_SZ",
        Some(Value::Dword(_)) => "REG_DWORD",
        Some(Value::Qword(_)) => "REG_QWORD",
        Some(Value::Binary(_)) => "REG_BINARY",
        Some(Value::Other(kind, _)) => return format!("type {kind}, {text}"),
        None => return text.to_owned(),
    };
    let hidden = value.filter(|value| text.contains("***") || value.to_string() != text);
    let digest = hidden.map(|value| format!(", {:.19}", Digest::of(&value.encode().1).to_string()));
    format!("{kind} {text}{}", digest.filter(|_| !text.contains("***")).unwrap_or_default())
}

/// The name of a value.
pub(super) fn name(key: &str, name: &str) -> String {
    match name {
        _ if folded(key).ends_with(NAMES) => HIDDEN.to_owned(),
        "" => "(default)".to_owned(),
        _ => address::said(name).replace(['\n', '\t'], " "),
    }
}

fn is_secret(key: &str, name: &str, value: &Value) -> bool {
    let key = format!("{}\\", folded(key));
    if KEYS.iter().any(|secret| key.contains(&format!("{secret}\\"))) {
        return true;
    }
    match value {
        // A number says how many, or whether; it opens nothing.
        Value::Dword(_) | Value::Qword(_) => false,
        Value::String(text) | Value::ExpandString(text) => is_named(name) || has_secret(text),
        Value::MultiString(texts) => is_named(name) || texts.iter().any(|text| has_secret(text)),
        Value::Binary(bytes) | Value::Other(_, bytes) => is_named(name) || holds_secret(bytes),
    }
}

/// Whether a name is that of a secret.
pub(super) fn is_named(name: &str) -> bool {
    let name = folded(name);
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a text, such as a command line, has a secret in it.
pub(super) fn has_secret(text: &str) -> bool {
    if SIGNS.iter().any(|sign| text.contains(sign)) {
        return true;
    }
    let words: Vec<&str> = text.split([' ', '\t', '\r', '\n', '"', '\'', ';', ',']).collect();
    let is_argument = |word: &str| word.starts_with(['-', '/']) && is_named(word);
    words.iter().enumerate().any(|(at, word)| {
        let has_value = match word.split_once(['=', ':']) {
            Some((name, value)) => is_named(name) && !value.is_empty() && !value.starts_with('\\'),
            None => is_argument(word) && words.get(at + 1).is_some_and(|next| !next.starts_with('-')),
        };
        has_value || is_bootstrap_token(word)
    })
}

/// The same of bytes that may be text in UTF-8 or UTF-16.
fn holds_secret(bytes: &[u8]) -> bool {
    let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    has_secret(&String::from_utf8_lossy(&narrow))
}

/// `abcdef.0123456789abcdef`, also behind the name of an argument.
fn is_bootstrap_token(word: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let word = word.rsplit(['=', ':']).next().unwrap_or(word);
    let parts = word.split_once('.');
    parts.is_some_and(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}
