//! tmpfiles.d(5): lines that let somebody in at boot.

use super::text::words;
use super::{Findings, Subject, origin};

const FOLDERS: &[&str] =
    &["etc/tmpfiles.d", "run/tmpfiles.d", "usr/local/lib/tmpfiles.d", "usr/lib/tmpfiles.d"];

/// What decides who becomes root.
const PLACES: &[&str] = &[
    "/root/",
    "/home/",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/sudoers",
    "/etc/doas.conf",
    "/etc/ssh/",
    "/etc/ld.so.preload",
    "/etc/systemd/system",
    "/etc/cron",
    "/var/spool/cron/",
    "/etc/pam.d/",
    "/etc/polkit-1/",
    "/etc/profile",
    "/etc/sysusers.d/",
    "/etc/kubernetes/",
    "/usr/",
];

/// Lines of files that are of no package. In an image without a database of packages, those of the
/// distribution are not told from others.
pub(super) fn written_at_boot(subject: &Subject, findings: &mut Findings<'_>) {
    let packaged = origin::packaged(subject);
    let is_vendors =
        |path: &str| packaged.contains(path) || (packaged.is_empty() && path.starts_with("usr/lib/"));
    for folder in FOLDERS {
        for (path, text) in subject.texts_of(folder, |path| path.ends_with(".conf") && !is_vendors(path)) {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#') && opens(line)) {
                findings.at(path, format!("it lets somebody in at boot: {line}"));
            }
        }
    }
}

/// Those with `^` take their content from credentials, which the platform gives.
fn opens(line: &str) -> bool {
    let words = words(line);
    let [kind, place, ..] = words.as_slice() else { return false };
    let place =
        format!("/{}", place.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
    let is_decisive = PLACES.iter().any(|start| place.starts_with(start));
    let writes = kind.starts_with(['f', 'F', 'w', 'C', 'L']) && !kind.contains('^');
    let gives_rights = kind.starts_with(['a', 'A', 't', 'T']);
    let mode = words.get(2).map_or("-", String::as_str).trim_start_matches(['~', ':']);
    let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
    let gives_mode = kind.starts_with(['f', 'F', 'C', 'd', 'D', 'z', 'Z', 'e']);
    let is_for_all = mode & 0o002 != 0 && is_decisive;
    (is_decisive && (writes || gives_rights)) || (gives_mode && (mode & 0o4000 != 0 || is_for_all))
}
