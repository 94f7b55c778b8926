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

/// Keys in which the names of keys are the secrets.
const NAMED_KEYS: &str = r"\SNMP\PARAMETERS\TRAPCONFIGURATION";

/// What is in the names of keys, values, variables and arguments that hold secrets, in upper case and without
/// [`BETWEEN`]. More is hidden than is secret: what is shown cannot be taken back.
const WORDS: [&str; 16] = [
    "PASS",
    "PWD",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "PRIVATEKEY",
    "ACCESSKEY",
    "ACCOUNTKEY",
    "SHAREDKEY",
    "PRODUCTKEY",
    "DIGITALPRODUCTID",
    "CONNECTIONSTRING",
    "AUTH",
    "BEARER",
    "JWT",
];
/// What may stand between the parts of such a word.
const BETWEEN: [char; 4] = ['-', '_', ' ', '.'];
/// Arguments before a login, or a password.
const LOGINS: [&str; 5] = ["-P", "-u", "-U", "--user", "/user"];
/// The shortest text in base64 that may be a key or a document.
const ENCODED: usize = 40;
/// What is in texts that are secrets.
const SIGNS: [&str; 3] = ["PRIVATE KEY-----", "client-key-data", "\"private_key\":"];

/// A value as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub text: String,
    is_secret: bool,
}

/// What may not be shown of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hidden {
    Nothing,
    /// Its name is that of a secret. A number says how many, or whether; it opens nothing.
    Texts,
    Everything,
}

impl Hidden {
    /// That of a key by its whole path.
    pub fn of(path: &str) -> Self {
        let ends = path.match_indices('\\').map(|(end, _)| end).chain([path.len()]);
        ends.fold(Self::Nothing, |hidden, end| hidden.below(&path[..end]))
    }

    /// That of the key `path` directly below one of which this is hidden.
    pub fn below(self, path: &str) -> Self {
        let name = path.rsplit('\\').next().unwrap_or_default();
        let own = match KEYS.iter().any(|key| ends_with(path, key)) {
            true => Self::Everything,
            false if is_named(name) => Self::Texts,
            false => Self::Nothing,
        };
        self.max(own)
    }
}

fn ends_with(path: &str, end: &str) -> bool {
    let tail = path.len().checked_sub(end.len()).and_then(|at| path.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

impl Shown {
    /// That of the value `name` of a key of which `hidden` is not shown.
    pub fn of(hidden: Hidden, name: &str, value: &Value) -> Self {
        if is_secret(hidden, name, value) {
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

/// A name in one line: lines belong to lists.
pub(super) fn in_line(name: &str) -> String {
    address::said(name).replace(['\n', '\t'], " ")
}

/// The name of a key below the key `path`.
pub(super) fn key_name(path: &str, name: &str) -> String {
    if ends_with(path, NAMED_KEYS) { HIDDEN.to_owned() } else { in_line(name) }
}

/// A text, cut where it is long.
fn short(text: &str) -> String {
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
    hidden: Hidden,
    name: &str,
    from: Option<&Value>,
    to: Option<&Value>,
) -> (Option<String>, Option<String>) {
    let shown = |value: Option<&Value>| value.map(|value| Shown::of(hidden, name, value));
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
    // A digest tells apart what is cut; of a login, which is left out, it would be a way to guess it.
    let cut = value.filter(|value| !text.contains("***") && value.to_string() != text);
    let digest = cut.map(|value| format!(", {:.19}", Digest::of(&value.encode().1).to_string()));
    format!("{kind} {text}{}", digest.unwrap_or_default())
}

/// The name of a value.
pub(super) fn name(key: &str, name: &str) -> String {
    match name {
        _ if ends_with(key, NAMES) => HIDDEN.to_owned(),
        "" => "(default)".to_owned(),
        _ => in_line(name),
    }
}

fn is_secret(hidden: Hidden, name: &str, value: &Value) -> bool {
    if hidden == Hidden::Everything {
        return true;
    }
    let is_named = hidden == Hidden::Texts || is_named(name);
    match value {
        Value::Dword(_) | Value::Qword(_) => false,
        Value::String(text) | Value::ExpandString(text) => is_named || has_secret(text),
        Value::MultiString(texts) => is_named || has_secret(&texts.join(" ")),
        Value::Binary(bytes) | Value::Other(_, bytes) => is_named || holds_secret(bytes),
    }
}

/// Whether a name is that of a secret.
pub(super) fn is_named(name: &str) -> bool {
    let name = folded(name);
    let word = name.replace(BETWEEN, "");
    name.ends_with("_PAT") || WORDS.iter().any(|part| word.contains(part))
}

/// Whether a text, such as a command line or a document, has a secret in it, as far as can be seen.
pub(super) fn has_secret(text: &str) -> bool {
    const ENDS: &str = "\"'`;,|(){}[]<>&";
    if SIGNS.iter().any(|sign| text.contains(sign)) {
        return true;
    }
    let mut words = text.split(|one: char| one.is_whitespace() || ENDS.contains(one));
    words.any(|word| {
        let is_login = LOGINS.iter().any(|login| {
            word.strip_prefix(login)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '=']))
        });
        is_login || (!is_path(word) && is_named(word)) || is_encoded(word) || has_bootstrap_token(word)
    })
}

/// `C:\Program`, `%SystemRoot%\x.dll`: folders and files may be named for what they handle.
fn is_path(word: &str) -> bool {
    word.contains('\\') && !word.contains('=') && !word.starts_with(['-', '/'])
}

/// Whether a text can be base64 and is no digest, which has digits of one case.
fn is_encoded(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    word.len() >= ENCODED
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

/// The same of bytes that may be text in UTF-8 or UTF-16.
fn holds_secret(bytes: &[u8]) -> bool {
    let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    has_secret(&String::from_utf8_lossy(&narrow))
}

/// `abcdef.0123456789abcdef`
fn has_bootstrap_token(word: &str) -> bool {
    let plain = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '.';
    let mut parts = word.split(|one| !plain(one)).filter_map(|part| part.split_once('.'));
    parts.any(|(id, secret)| id.len() == 6 && secret.len() == 16)
}
