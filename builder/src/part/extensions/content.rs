//! What of a layer lies below `/usr`, and how the rest reaches the host.
//!
//! systemd merges `/usr` and `/opt` of an extension and nothing else, and a merged folder is read-only. So
//! everything is below `/usr`, and systemd-tmpfiles (tmpfiles.d(5)) makes what belongs elsewhere:
//!
//! | in the layer | in the extension | on the host |
//! |---|---|---|
//! | below `/usr` | the same | merged |
//! | drop-in folders of `/etc`, such as `/etc/systemd/system` | `/usr/lib/…` | merged |
//! | other files in `/etc` | `/usr/share/factory/etc` | a link to it, unless the host has the file |
//! | files in `/opt`, `/srv`, `/var` | `/usr/share/factory` | a copy, unless the host has the file |
//! | folders and links there | | made |
//!
//! `/opt` is not merged, because network add-ons write their plugins to `/opt/cni/bin`. Programs there are
//! copies and not links: an add-on that copies over a link from within its container would fail, because the
//! link leads nowhere there.

use std::fmt::Write;

use crate::error::{Error, ErrorKind, Result};
use crate::tree::{Entry, Node, Tree};

/// Sources of files that systemd-tmpfiles makes (file-hierarchy(7)).
const FACTORY: &str = "usr/share/factory";

/// Folders of the administrator that have a vendor's counterpart below `/usr/lib`, with the number of
/// components that must follow: a file directly in `/etc/systemd` has none.
const COUNTERPARTS: &[(&str, &str, usize)] = &[
    ("etc/binfmt.d", "usr/lib/binfmt.d", 1),
    ("etc/modprobe.d", "usr/lib/modprobe.d", 1),
    ("etc/modules-load.d", "usr/lib/modules-load.d", 1),
    ("etc/sysctl.d", "usr/lib/sysctl.d", 1),
    ("etc/systemd", "usr/lib/systemd", 2),
    ("etc/sysusers.d", "usr/lib/sysusers.d", 1),
    ("etc/tmpfiles.d", "usr/lib/tmpfiles.d", 1),
    ("etc/udev", "usr/lib/udev", 2),
];

/// Folders of the host that extensions may fill.
const FILLED: [&str; 4] = ["etc", "opt", "srv", "var"];

/// What systemd reads to know a system: an extension with these is refused.
const RESERVED: [&str; 3] = ["usr/lib/os-release", "usr/lib/initrd-release", "usr/lib/extension-release.d"];

/// The content of an extension.
#[derive(Debug, Default)]
pub struct Content {
    /// Entries below `/usr`, without their parent folders.
    pub tree: Tree,
    /// Lines of tmpfiles.d(5) for what the host has elsewhere.
    pub host: String,
}

impl Content {
    /// The content that carries `tree`, whose parent folders may be missing.
    ///
    /// # Errors
    /// [`ErrorKind::Definition`] for the first path that no extension can carry.
    pub fn of(tree: &Tree) -> Result<Self> {
        let mut content = Self::default();
        for (path, entry) in &tree.entries {
            content.carry(path, entry)?;
        }
        Ok(content)
    }

    fn carry(&mut self, path: &str, entry: &Entry) -> Result<()> {
        let top = path.split('/').next().unwrap_or(path);
        if top == path && entry.node == Node::Directory {
            return Ok(());
        }
        if RESERVED.iter().any(|reserved| is_within(path, reserved)) {
            return Err(refused(path, "systemd knows the host by it"));
        }
        if top == "usr" {
            self.tree.insert(path, entry.clone());
        } else if let Some(counterpart) = counterpart(path) {
            self.tree.insert(counterpart, entry.clone());
        } else if FILLED.contains(&top) {
            self.fill(path, entry, top)?;
        } else {
            return Err(refused(path, "an extension reaches /usr, /etc, /opt, /srv and /var only"));
        }
        Ok(())
    }

    /// Leaves it to systemd-tmpfiles.
    fn fill(&mut self, path: &str, entry: &Entry, top: &str) -> Result<()> {
        let host = escaped(&format!("/{path}"));
        let line = match &entry.node {
            Node::Directory => format!("d {host} {:04o} {} {}", entry.mode, entry.uid, entry.gid),
            Node::Symlink(target) => format!("L {host} - - - - {}", escaped(target)),
            Node::File(_) if top == "etc" && entry.mode & 0o111 != 0 => {
                return Err(refused(path, "/etc may be mounted without the right to execute"));
            }
            Node::File(_) => {
                let source = format!("{FACTORY}/{path}");
                let kind = if top == "etc" { 'L' } else { 'C' };
                let line = format!("{kind} {host} - - - - {}", escaped(&format!("/{source}")));
                self.tree.insert(source, entry.clone());
                line
            }
        };
        writeln!(self.host, "{line}").expect("writing to a string does not fail");
        Ok(())
    }
}

/// Where a vendor puts what an administrator puts at `path`.
fn counterpart(path: &str) -> Option<String> {
    COUNTERPARTS.iter().find_map(|(from, to, below)| {
        let rest = path.strip_prefix(from)?.strip_prefix('/')?;
        (rest.split('/').count() >= *below).then(|| format!("{to}/{rest}"))
    })
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn refused(path: &str, why: &str) -> Error {
    Error::new(ErrorKind::Definition, format!("no system extension can carry /{path}: {why}")).help(
        "put it below /usr, or set extension = false in the layer when it is about the image's own system",
    )
}

/// A word of tmpfiles.d(5): `%` begins a specifier, blanks end the word, backslashes begin an escape.
fn escaped(word: &str) -> String {
    let mut text = String::new();
    for byte in word.bytes() {
        match byte {
            b'%' => text.push_str("%%"),
            b'/' | b'.' | b'-' | b'_' | b'@' | b':' | b'+' | b',' | b'=' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a string does not fail"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Body;

    fn content(path: &str, entry: Entry) -> Result<(Vec<String>, String)> {
        let mut tree = Tree::default();
        tree.insert(path, entry);
        let content = Content::of(&tree)?;
        Ok((content.tree.entries.into_keys().collect(), content.host))
    }

    #[test]
    fn everything_is_below_usr_and_the_rest_is_made_by_tmpfiles() {
        let file = |mode| Entry::file(Body::inline(*b"x"), mode);
        let rows = [
            ("usr/bin/runc", file(0o755), "usr/bin/runc", ""),
            ("etc/systemd/system/a.service", file(0o644), "usr/lib/systemd/system/a.service", ""),
            (
                "etc/systemd/system/a.service.d/b.conf",
                file(0o644),
                "usr/lib/systemd/system/a.service.d/b.conf",
                "",
            ),
            ("etc/sysctl.d/9.conf", file(0o644), "usr/lib/sysctl.d/9.conf", ""),
            (
                "etc/systemd/journald.conf",
                file(0o644),
                "usr/share/factory/etc/systemd/journald.conf",
                "L /etc/systemd/journald.conf - - - - /usr/share/factory/etc/systemd/journald.conf\n",
            ),
            (
                "opt/cni/bin/a b%",
                file(0o755),
                "usr/share/factory/opt/cni/bin/a b%",
                "C /opt/cni/bin/a\\x20b%% - - - - /usr/share/factory/opt/cni/bin/a\\x20b%%\n",
            ),
            ("var/lib/x", Entry { uid: 7, ..Entry::directory(0o700) }, "", "d /var/lib/x 0700 7 0\n"),
            ("etc/l", Entry::symlink("../run/l"), "", "L /etc/l - - - - ../run/l\n"),
            ("etc", Entry::directory(0o755), "", ""),
        ];
        for (path, entry, inside, host) in rows {
            let inside = Some(inside.to_owned()).filter(|path| !path.is_empty());
            assert_eq!(content(path, entry).unwrap(), (Vec::from_iter(inside), host.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_name() {
        for (path, mode) in [
            ("boot/vmlinuz", 0o644),
            ("etc/kubeadm.sh", 0o755),
            ("usr/lib/os-release", 0o644),
            ("usr/lib/extension-release.d/extension-release.x", 0o644),
            ("run/x", 0o644),
        ] {
            let error = content(path, Entry::file(Body::inline(*b"x"), mode)).unwrap_err();
            assert!(error.message().contains(&format!("/{path}:")), "{error}");
        }
        assert!(content("etc/udev/rules.d/1.rules", Entry::file(Body::inline(*b""), 0o755)).is_ok());
    }
}
