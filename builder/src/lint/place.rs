//! Where a layer may write. A node's root is read-only; `docs/node.md` lists what is mounted over it.

use crate::definition::windows::names;

/// Folders at the top that a machine sees as the image has them.
const KEPT: [&str; 4] = ["etc", "opt", "usr", "var"];

/// Other folders: names, what they are on a machine, and where a file for them goes.
const OTHERS: [(&[&str], &str, &str); 4] = [
    (
        &["dev", "proc", "run", "sys", "tmp"],
        "hidden at boot, the kernel or memory is mounted there",
        "let systemd-tmpfiles make it: a file in /usr/lib/tmpfiles.d (tmpfiles.d(5))",
    ),
    (
        &["home", "mnt", "root", "srv"],
        "hidden at boot by a folder of /var",
        "write to /var/home, /var/mnt, /var/roothome or /var/srv",
    ),
    (
        &["bin", "lib", "lib32", "lib64", "libx32", "sbin"],
        "this is a link to the folder of the same name in /usr",
        "write it with /usr in front",
    ),
    (
        &["boot", "efi"],
        "Kiln makes what the machine boots from",
        "leave it out: kernel-arguments and base.packages of the image choose kernel and arguments",
    ),
];

/// systemd's folders of units (systemd.unit(5)).
pub const UNITS: [&str; 4] =
    ["etc/systemd/system", "usr/lib/systemd/system", "etc/systemd/user", "usr/lib/systemd/user"];

/// Files of Windows that a step must not write, in the form in which names are compared, and what does it
/// instead.
const OF_WINDOWS: [(&str, &str, &str); 4] = [
    ("WINDOWS/SYSTEM32/CONFIG", "the hives of the registry lie there", "change them by [[registry]]"),
    ("WINDOWS/WINSXS", "it belongs to the servicing of Windows", "patch the base before it is baked"),
    ("WINDOWS/BOOT", "it belongs to the servicing of Windows", "patch the base before it is baked"),
    (
        "WINDOWS/SYSTEM32/DRIVERS/ETC",
        "the machine's own setup writes it",
        "leave it out: a name server can answer",
    ),
];

/// What is wrong with a step of a layer for Windows that writes to `path`.
pub fn check_on_windows(path: &str) -> Option<(&'static str, String)> {
    let folded = names::folded(path);
    let below = |folder: &str| {
        folded.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let (_, why, help) = OF_WINDOWS.iter().find(|(folder, _, _)| below(folder))?;
    Some((why, (*help).to_owned()))
}

/// What is wrong with a step that writes to `path`, a folder if `is_folder`.
pub fn check(path: &str, is_folder: bool) -> Option<(&'static str, String)> {
    let top = path.split('/').next().unwrap_or_default();
    // A pattern says nothing before the archive is read.
    if KEPT.contains(&top) || top.contains(['*', '?', '[']) {
        return None;
    }
    if let Some((_, why, help)) = OTHERS.iter().find(|(names, _, _)| names.contains(&top)) {
        return Some((why, (*help).to_owned()));
    }
    let help = format!("write to one of /{}", KEPT.join(", /"));
    (!is_folder).then_some(("no program looks there, and the root is read-only", help))
}
