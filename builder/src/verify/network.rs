//! Where programs and packages come from.

use super::{Findings, Subject};

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
