//! Credentials, by what is in a file.

use super::text::name_of;
use super::{Findings, LARGEST_TEXT, Subject, key_marks, origin, sshd, tmpfiles};
use crate::address;
use crate::archive::pattern;
use crate::base::installed::DATABASE;
use crate::tree::Node;

/// Where packages and parts put files, whose documentation, tests and programs have what looks like keys:
/// there, only whole keys count.
const SYSTEM: &[&str] =
    &["usr/", "bin/", "sbin/", "lib/", "lib32/", "lib64/", "boot/", "efi/", "opt/cni/bin/", "var/cache/"];
/// Below them, where anything is put.
const LOCAL: &str = "usr/local/";
/// Examples.
const EXAMPLES: &[&str] = &["usr/share/doc/", "usr/share/man/"];

/// How private keys and other credentials begin.
const BEGINNINGS: &[(&str, &str)] = &[
    ("PRIVATE KEY-----", "it has a private key"),
    ("PRIVATE KEY BLOCK-----", "it has a private key"),
    ("AGE-SECRET-KEY-", "it has a private key"),
    ("PuTTY-User-Key-File-", "it has a private key"),
    ("minisign encrypted secret key", "it has a private key"),
    ("client-key-data", "it has a key for a cluster"),
    ("AWS_SECRET_ACCESS_KEY=", "it has a key for a cloud"),
    ("aws_secret_access_key", "it has a key for a cloud"),
    ("\"private_key\":", "it has a key for a cloud"),
];

/// Ends of the names of files that are keys, in forms that are no text.
const KEY_FILES: &[&str] = &[".keytab", ".p12", ".pfx", "/secring.gpg"];
/// Where GnuPG has keys.
const GNUPG: &str = "/.gnupg/private-keys-v1.d/";

/// Files of programs that keep credentials, the settings that are one, and why. The settings are compared in
/// lower case and without blanks.
const LOGINS: &[(&str, &[&str], &str)] = &[
    ("etc/wireguard/**", &["privatekey=", "presharedkey="], "it has a key of WireGuard"),
    ("etc/systemd/network/**", &["privatekey=", "presharedkey=", "password="], "it has a key of a network"),
    ("etc/NetworkManager/**", &["psk=", "password=", "private-key=", "secret="], "it has a key of a network"),
    ("etc/wpa_supplicant/**.conf", &["psk=", "password="], "it has a key of a network"),
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
        if path.starts_with(DATABASE) || body.is_empty() {
            continue;
        }
        let is_system = SYSTEM.iter().any(|folder| path.starts_with(folder)) && !path.starts_with(LOCAL);
        if CREDENTIALS
            .iter()
            .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        {
            findings.at(path, "it is a credential of a unit");
        } else if !is_system && (KEY_FILES.iter().any(|end| path.ends_with(end)) || path.contains(GNUPG)) {
            findings.at(path, "it is a private key, by its name");
        } else if !is_system && body.len() <= LARGEST_TEXT {
            let Some(text) = subject.text(path) else { continue };
            key(path, &text, findings);
            token(path, &text, &mut findings.of("token"));
        } else if !packaged.contains(path)
            && !EXAMPLES.iter().any(|folder| path.starts_with(folder))
            && let Ok(Some(why)) = key_marks::find(body)
        {
            findings.at(path, why);
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
    if (path.ends_with("config.json") || path.ends_with("auth.json")) && has_login() {
        findings.at(path, "it has a login for a registry");
    }
    if is_kubeconfig_with_login(text) {
        findings.at(path, "it has a login for a cluster");
    } else if text.split(|letter: char| !is_of_jwt(letter)).any(is_jwt) {
        findings.at(path, "it has a bearer token");
    }
}

/// A kubeconfig, as YAML or JSON, whose user needs no key.
fn is_kubeconfig_with_login(text: &str) -> bool {
    if !text.contains("Config") {
        return false;
    }
    let parts = text.split(['\n', ',', '{', '}']).filter_map(|part| {
        let plain = part.replace(['"', '\''], "");
        let (name, value) = plain.trim_start_matches([' ', '\t', '-']).split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    });
    let parts: Vec<(String, String)> = parts.collect();
    let is_filled = |value: &str| !value.is_empty() && !value.starts_with(['<', '$', '#']);
    parts.iter().any(|(name, value)| name == "kind" && value == "Config")
        && parts.iter().any(|(name, value)| {
            ["token", "password", "id-token", "refresh-token"].contains(&name.as_str()) && is_filled(value)
        })
}

fn is_of_jwt(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.".contains(letter)
}

/// RFC 7519: a header and claims, which are both JSON (`{"` in base64), and a signature.
fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    matches!(parts.as_slice(), [header, claims, signature]
        if header.starts_with("eyJ") && claims.starts_with("eyJ") && !signature.is_empty())
}

fn is_token(word: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let parts = word.split_once('.');
    parts.is_some_and(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

/// Why a file with keys is told.
const WHO: &str = "who has that key can log in";

/// Files that let somebody log in, and lines of tmpfiles.d(5) that write some at boot.
pub(super) fn authorized_keys(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, entry) in &subject.tree.entries {
        let name = name_of(path);
        let is_one = name.starts_with("authorized_keys")
            || [".rhosts", ".shosts", "hosts.equiv", "shosts.equiv"].contains(&name);
        let is_full = !matches!(entry.node, Node::Directory)
            && !EXAMPLES.iter().any(|folder| path.starts_with(folder))
            && subject.file(path).is_some_and(|(_, body)| !body.is_empty());
        if is_one && is_full {
            findings.at(path, WHO);
        }
    }
    for path in sshd::key_files(subject) {
        findings.at(&path, WHO);
    }
    tmpfiles::written_at_boot(subject, findings);
}
