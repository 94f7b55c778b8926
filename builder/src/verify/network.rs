//! Ways in over the network, and where programs and packages come from.

use super::{Findings, Subject};

/// sshd_config(5): settings that let somebody in without a key. The first value of a setting counts.
pub(super) fn ssh(subject: &Subject, findings: &mut Findings<'_>) {
    let parts = subject.texts("etc/ssh/sshd_config.d").map(|(path, text)| (path.to_owned(), text));
    let main = subject.text("etc/ssh/sshd_config").map(|text| ("etc/ssh/sshd_config".to_owned(), text));
    let mut said = Vec::new();
    for (path, text) in parts.chain(main) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let mut words = line
                .split(|letter: char| letter.is_whitespace() || letter == '=')
                .filter(|word| !word.is_empty());
            let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
            let name = name.to_ascii_lowercase();
            if said.contains(&name) {
                continue;
            }
            let is_open = match name.as_str() {
                "permitrootlogin"
                | "passwordauthentication"
                | "permitemptypasswords"
                | "hostbasedauthentication" => value.eq_ignore_ascii_case("yes"),
                _ => continue,
            };
            said.push(name);
            if is_open {
                findings.at(&path, format!("it lets in more than keys: {line}"));
            }
        }
    }
}

/// sources.list(5), apt.conf(5): packages that nobody has signed.
pub(super) fn sources(subject: &Subject, findings: &mut Findings<'_>) {
    for (path, text) in subject.texts("etc/apt") {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '/'])) {
            let plain: String = line.to_ascii_lowercase().split_whitespace().collect();
            let is_open = ["trusted=yes", "trusted:yes", "allow-insecure=yes", "allow-insecure:yes"]
                .iter()
                .any(|word| plain.contains(word))
                || plain.contains("allowunauthenticated\"true\"")
                || plain.contains("allowinsecurerepositories\"true\"");
            if is_open {
                findings.at(path, format!("packages without a signature are taken: {line}"));
            }
        }
    }
}

/// ld.so(8)
pub(super) fn preload(subject: &Subject, findings: &mut Findings<'_>) {
    if subject.text("etc/ld.so.preload").is_some_and(|text| !text.trim().is_empty()) {
        findings.at("etc/ld.so.preload", "it puts a library into every program");
    }
}
