//! Credentials, by what is in a file.

use super::{Findings, LARGEST_TEXT, Subject};
use crate::base::installed::DATABASE;
use crate::tree::Node;

/// Where credentials are put: everything else comes from packages, whose documentation and tests have keys
/// that are no secrets.
const FOLDERS: &[&str] = &["etc", "root", "home", "opt", "srv", "usr/local", "var"];
/// Below them, what is no credential.
const HARMLESS: &[&str] = &[DATABASE, "var/cache/", "opt/cni/bin/"];

/// How private keys and other credentials begin.
const BEGINNINGS: &[(&str, &str)] = &[
    ("PRIVATE KEY-----", "it has a private key"),
    ("client-key-data", "it has a key for a cluster"),
    ("AWS_SECRET_ACCESS_KEY=", "it has a key for a cloud"),
    ("aws_secret_access_key", "it has a key for a cloud"),
    ("\"private_key\":", "it has a key for a cloud"),
];

pub(super) fn keys(subject: &Subject, findings: &mut Findings<'_>) {
    each_text(subject, |path, text| {
        let found = BEGINNINGS.iter().find(|(beginning, _)| text.contains(beginning));
        if let Some((_, why)) = found {
            findings.at(path, *why);
        }
    });
}

/// Bootstrap tokens (`[a-z0-9]{6}.[a-z0-9]{16}`) and logins for registries.
pub(super) fn tokens(subject: &Subject, findings: &mut Findings<'_>) {
    each_text(subject, |path, text| {
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
        let has_login = text.split_whitespace().collect::<String>().contains("\"auth\":")
            || text.contains("identitytoken");
        if path.ends_with("config.json") && has_login {
            findings.at(path, "it has a login for a registry");
        }
    });
}

fn is_token(word: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let parts = word.split_once('.');
    parts.is_some_and(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

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
}

fn each_text(subject: &Subject, mut look: impl FnMut(&str, &str)) {
    for folder in FOLDERS {
        for (path, entry) in subject.tree.below(folder) {
            let Node::File(body) = &entry.node else { continue };
            if body.len() > LARGEST_TEXT || HARMLESS.iter().any(|harmless| path.starts_with(harmless)) {
                continue;
            }
            if let Some(text) = subject.text(path) {
                look(path, &text);
            }
        }
    }
}
