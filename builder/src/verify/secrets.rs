//! Credentials, by what is in a file.

use std::io::{self, Read};

use super::{Findings, LARGEST_TEXT, Subject, origin};
use crate::address;
use crate::archive::pattern;
use crate::base::installed::DATABASE;
use crate::tree::{Body, Node};

/// Where credentials are put: everything else comes from packages, whose documentation and tests have keys
/// that are no secrets.
const FOLDERS: &[&str] = &["etc/", "root/", "home/", "opt/", "srv/", "usr/local/", "var/"];
/// Below them, what is no credential.
const HARMLESS: &[&str] = &[DATABASE, "var/cache/", "opt/cni/bin/"];
/// Elsewhere, what has keys that are no secrets.
const EXAMPLES: &[&str] = &["usr/share/doc/", "usr/share/man/", "boot/"];

/// How private keys and other credentials begin.
const BEGINNINGS: &[(&str, &str)] = &[
    ("PRIVATE KEY-----", "it has a private key"),
    ("client-key-data", "it has a key for a cluster"),
    ("AWS_SECRET_ACCESS_KEY=", "it has a key for a cloud"),
    ("aws_secret_access_key", "it has a key for a cloud"),
    ("\"private_key\":", "it has a key for a cloud"),
];

/// Files of programs that keep credentials, the settings that are one, and why. The settings are compared in
/// lower case and without blanks.
const LOGINS: &[(&str, &[&str], &str)] = &[
    ("etc/wireguard/**", &["privatekey=", "presharedkey="], "it has a key of WireGuard"),
    ("etc/systemd/network/**", &["privatekey=", "presharedkey=", "password="], "it has a key of a network"),
    ("etc/NetworkManager/**", &["psk=", "password=", "private-key=", "secret="], "it has a key of a network"),
    ("etc/wpa_supplicant/**", &["psk=", "password="], "it has a key of a network"),
    ("var/lib/iwd/**", &["passphrase=", "presharedkey="], "it has a key of a network"),
    ("etc/netplan/**", &["password:", "key:", "private-key:"], "it has a key of a network"),
    ("etc/apt/auth.conf", &["password"], "it has a login for packages"),
    ("etc/apt/auth.conf.d/**", &["password"], "it has a login for packages"),
    ("**/.netrc", &["password"], "it has a login for other machines"),
    ("**/.git-credentials", &["://"], "it has a login for a repository"),
    ("**/.gitconfig", &["extraheader=", "password="], "it has a login for a repository"),
    ("**/.dockercfg", &["\"auth\":"], "it has a login for a registry"),
    ("**/.aws/credentials", &["aws_secret_access_key", "aws_session_token"], "it has a key for a cloud"),
    ("**/.azure/*", &["accesstoken", "refreshtoken", "client_secret"], "it has a key for a cloud"),
    ("**/.pgpass", &[":"], "it has a login for a database"),
    ("**/.my.cnf", &["password="], "it has a login for a database"),
    ("etc/ppp/*-secrets", &["*\""], "it has a login of a network"),
];

/// Where systemd finds credentials by itself: systemd.exec(5). Each file is one.
const CREDENTIALS: &[&str] = &[
    "etc/credstore",
    "etc/credstore.encrypted",
    "run/credstore",
    "run/credstore.encrypted",
    "usr/local/lib/credstore",
    "usr/local/lib/credstore.encrypted",
    "usr/lib/credstore",
    "usr/lib/credstore.encrypted",
];

/// Keys, and what the check of tokens finds: each file is read once.
pub(super) fn credentials(subject: &Subject, findings: &mut Findings<'_>) {
    let packaged = origin::packaged(subject);
    for (path, entry) in &subject.tree.entries {
        let Node::File(body) = &entry.node else { continue };
        let is_common = FOLDERS.iter().any(|folder| path.starts_with(folder));
        if HARMLESS.iter().any(|harmless| path.starts_with(harmless)) || body.is_empty() {
            continue;
        }
        if CREDENTIALS
            .iter()
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        {
            findings.at(path, "it is a credential of a unit");
        } else if is_common && body.len() <= LARGEST_TEXT {
            let Some(text) = subject.text(path) else { continue };
            key(path, &text, findings);
            token(path, &text, &mut findings.of("token"));
        } else if !packaged.contains(path)
            && !EXAMPLES.iter().any(|folder| path.starts_with(folder))
            && has_key(body).unwrap_or(false)
        {
            findings.at(path, "it has a private key");
        }
    }
}

/// The check of tokens is made in the pass of that of keys.
pub(super) fn in_that_pass(_: &Subject, _: &mut Findings<'_>) {}

fn key(path: &str, text: &str, findings: &mut Findings<'_>) {
    let found = BEGINNINGS.iter().find(|(beginning, _)| text.contains(beginning));
    if let Some((_, why)) = found {
        return findings.at(path, *why);
    }
    let logins = LOGINS.iter().filter(|(wanted, ..)| pattern::matches(wanted, path));
    for (_, settings, why) in logins {
        let has = |line: &str| {
            let plain = line.split_whitespace().collect::<String>().to_ascii_lowercase();
            !plain.starts_with(['#', ';']) && settings.iter().any(|setting| has_value(&plain, setting))
        };
        if text.lines().any(has) {
            return findings.at(path, *why);
        }
    }
    let is_login = |word: &str| word.contains("://") && address::secret(word).is_some();
    let has_login = |line: &str| !line.trim_start().starts_with('#') && line.split_whitespace().any(is_login);
    if path.starts_with("etc/apt/") && text.lines().any(has_login) {
        findings.at(path, "it has a login for packages");
    }
}

/// Whether something follows the setting.
fn has_value(line: &str, setting: &str) -> bool {
    line.split_once(setting)
        .is_some_and(|(_, value)| !value.trim_matches(['"', '\'']).is_empty())
}

/// Bootstrap tokens (`[a-z0-9]{6}.[a-z0-9]{16}`) and logins for registries.
fn token(path: &str, text: &str, findings: &mut Findings<'_>) {
    // The agent's and Kubernetes' folders alone: elsewhere such words are mostly names.
    let is_ours = ["etc/kubernetes/", "etc/firstboot/", "var/lib/kubelet/", "var/lib/cloud/"]
        .iter()
        .any(|folder| path.starts_with(folder));
    if is_ours
        && text
            .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.'))
            .any(is_token)
    {
        findings.at(path, "it has a bootstrap token");
    }
    let has_login = || {
        text.split_whitespace().collect::<String>().contains("\"auth\":") || text.contains("identitytoken")
    };
    if path.ends_with("config.json") && has_login() {
        findings.at(path, "it has a login for a registry");
    }
}

fn is_token(word: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let parts = word.split_once('.');
    parts.is_some_and(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

/// The most bytes of a file's part that are held, and how many of the last part go with the next.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 4096;

/// Whether a file of any size has a private key in PEM. Programs have its marks, so its content must follow.
fn has_key(body: &Body) -> io::Result<bool> {
    let mut from = body.open()?;
    let mut held: Vec<u8> = Vec::new();
    loop {
        let read = (&mut from).take(PIECE as u64).read_to_end(&mut held)?;
        if held_key(&held) {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        held.drain(..held.len().saturating_sub(OVERLAP));
    }
}

/// RFC 7468, and the headers of RFC 1421 before the content.
fn held_key(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    /// So many letters of base64 in one line are no text.
    const SHORTEST: usize = 40;
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(MARK.len()).position(|window| window == MARK) {
        at += found + MARK.len();
        let rest = &bytes[at..bytes.len().min(at + OVERLAP / 2)];
        let is_content = |line: &[u8]| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.len() >= SHORTEST
                && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
        };
        let starts_line = rest.first().is_some_and(|byte| b"\r\n".contains(byte));
        if starts_line && rest.split(|byte| *byte == b'\n').skip(1).take(4).any(is_content) {
            return true;
        }
    }
    false
}

/// Files that let somebody log in, and lines of tmpfiles.d(5) that write some at boot.
pub(super) fn authorized_keys(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, entry) in &subject.tree.entries {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_one = name.starts_with("authorized_keys")
            || [".rhosts", ".shosts", "hosts.equiv", "shosts.equiv"].contains(&name);
        let is_full = !matches!(entry.node, Node::Directory)
            && subject.file(path).is_some_and(|(_, body)| !body.is_empty());
        if is_one && is_full {
            findings.at(path, "who has that key can log in");
        }
    }
    written_at_boot(subject, findings);
}

/// Lines that write what decides who becomes root. Those with `^` take their content from credentials, which
/// the platform gives.
fn written_at_boot(subject: &Subject, findings: &mut Findings<'_>) {
    const PLACES: &[&str] = &[
        "/root/.ssh",
        "/home/",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/sudoers",
        "/etc/doas.conf",
        "/etc/ssh/",
        "/etc/ld.so.preload",
        "/etc/systemd/system",
        "/etc/cron",
        "/etc/pam.d/",
        "/etc/polkit-1/",
    ];
    let packaged = origin::packaged(subject);
    for folder in ["etc/tmpfiles.d", "usr/local/lib/tmpfiles.d", "usr/lib/tmpfiles.d"] {
        for (path, text) in subject.texts(folder).filter(|(path, _)| path.ends_with(".conf")) {
            for line in text.lines().map(str::trim) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [kind, place, ..] = words.as_slice() else { continue };
                let writes = kind.starts_with(['f', 'F', 'w', 'C', 'L']) && !kind.contains('^');
                if writes && !packaged.contains(path) && PLACES.iter().any(|start| place.starts_with(start)) {
                    findings.at(path, format!("it lets somebody in at boot: {line}"));
                }
            }
        }
    }
}
