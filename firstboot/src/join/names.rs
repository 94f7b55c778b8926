//! The node's own name in `/etc/hosts`, so that the kubelet and other programs do not wait for DNS to look it
//! up.
//!
//! The rule: if no line of the file holds the name, the agent adds a marked line, `127.0.1.1 NAME`. It does
//! not ask DNS, which may be dead, or nss-myhostname, which a kubelet that is built without libc cannot use.
//! The kubelet does not use a loopback address as the node's address. It takes the address of the default
//! route instead.

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;

pub(crate) const HOSTS: &str = paths::HOSTS;
/// Marks the agent's line.
const MARK: &str = "# firstboot: this node's own name";
/// The address that Debian uses for a machine's own name.
const ADDRESS: &str = "127.0.1.1";
/// Limit on a file, in bytes.
const LONGEST: u64 = 4 << 20;

/// Makes `name` resolve. Returns whether the file was changed.
pub fn add(root: &Root, name: &str) -> Result<bool> {
    edit(root, |hosts| with_name(hosts, name))
}

/// Removes the agent's line. Returns whether the file was changed.
pub fn remove(root: &Root) -> Result<bool> {
    edit(root, without_ours)
}

fn edit(root: &Root, change: impl Fn(&str) -> String) -> Result<bool> {
    let bytes = files::read(&root.path(HOSTS), LONGEST)?.unwrap_or_default();
    let hosts =
        String::from_utf8(bytes).map_err(|_| Failure::new(ErrorKind::Host, format!("{HOSTS} is no text")))?;
    let changed = change(&hosts);
    if changed == hosts {
        return Ok(false);
    }
    files::write(&root.entry(HOSTS), changed.as_bytes(), files::PUBLIC)?;
    Ok(true)
}

/// The file's text with `name` in it. Other lines stay unchanged.
pub fn with_name(hosts: &str, name: &str) -> String {
    let mut text = without_ours(hosts);
    if !holds(&text, name) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{ADDRESS} {name} {MARK}\n"));
    }
    text
}

/// The file's text without the agent's line.
pub fn without_ours(hosts: &str) -> String {
    hosts.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(MARK)).collect()
}

fn holds(hosts: &str, name: &str) -> bool {
    let names = hosts
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_ascii_whitespace().skip(1));
    names.into_iter().any(|other| other.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "127.0.1.1 n01 # firstboot: this node's own name\n";

    #[test]
    fn adds_one_line_only_where_none_holds_the_name() {
        let table = [
            ("", OURS.to_owned()),
            ("127.0.0.1 localhost", format!("127.0.0.1 localhost\n{OURS}")),
            ("127.0.0.1\tlocalhost\n\n# n01\n", format!("127.0.0.1\tlocalhost\n\n# n01\n{OURS}")),
            ("10.0.0.1 a N01 # mine\n", "10.0.0.1 a N01 # mine\n".to_owned()),
            ("n01 localhost\n", format!("n01 localhost\n{OURS}")),
            ("127.0.1.1 old # firstboot: this node's own name\n::1 x\n", format!("::1 x\n{OURS}")),
            ("127.0.1.1 n01 # firstboot: this node's own name\n10.0.0.1 n01\n", "10.0.0.1 n01\n".to_owned()),
        ];
        for (before, after) in table {
            assert_eq!(with_name(before, "n01"), after, "{before}");
            assert_eq!(with_name(&after, "n01"), after, "a second time, {before}");
        }
    }

    #[test]
    fn the_file_is_written_only_when_it_changes_and_gets_back_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(root.path(HOSTS), "127.0.0.1 localhost\n").unwrap();
        assert!(add(&root, "n01").unwrap() && !add(&root, "n01").unwrap());
        assert_eq!(
            std::fs::read_to_string(root.path(HOSTS)).unwrap(),
            format!("127.0.0.1 localhost\n{OURS}")
        );
        assert!(remove(&root).unwrap() && !remove(&root).unwrap());
        assert_eq!(std::fs::read_to_string(root.path(HOSTS)).unwrap(), "127.0.0.1 localhost\n");
    }

    #[test]
    fn a_file_that_is_no_text_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(root.path(HOSTS), b"\xff\n").unwrap();
        assert!(add(&root, "n01").unwrap_err().message.contains("no text"));
        assert_eq!(std::fs::read(root.path(HOSTS)).unwrap(), b"\xff\n");
    }
}
