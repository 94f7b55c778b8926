//! Words of a join in content that leads to none. User data that has them was meant to join: it is never "no
//! node config".

use std::fmt::Write as _;

use serde_json::Value;
use zeroize::Zeroizing;

use super::bounds::wrong;
use crate::error::Failure;

/// Kinds of documents that lead to a join, in lower case.
const KINDS: &[&str] = &["joinconfiguration", "configpointer"];
/// Files that are shown to people, and never run.
const SHOWN: &[&str] = &["/etc/issue", "/etc/motd", "/usr/share/doc/"];
const SHOWN_ENDINGS: &[&str] = &[".md", ".markdown", ".rst"];

/// Whether the text names kubeadm's join or init, or a document that leads to a join, outside of comments.
pub fn names_a_join(bytes: &[u8]) -> bool {
    let text = without_comments(bytes);
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    mentions_a_join(&text) || KINDS.iter().any(|kind| lower.contains(kind))
}

/// Whether something could join by this file.
pub fn could_join(path: &str, content: &[u8]) -> bool {
    let is_shown = SHOWN.iter().any(|start| path.starts_with(start))
        || SHOWN_ENDINGS.iter().any(|end| path.ends_with(end));
    !is_shown && names_a_join(content)
}

/// The error of user data that joins by nothing but this.
pub fn unread(what: &str) -> Failure {
    wrong(format!("{what} names kubeadm join or a JoinConfiguration, and this agent does not read it there"))
        .help("run kubeadm join in runcmd of a cloud-config, or hand over the JoinConfiguration itself")
}

/// Whether `text` names kubeadm, and a join or an init behind it.
fn mentions_a_join(text: &str) -> bool {
    scan(text, false).1
}

/// Whether `text` names kubeadm, and whether a join or an init is behind that. `after_kubeadm` is true if
/// text before it does.
pub fn scan(text: &str, after_kubeadm: bool) -> (bool, bool) {
    let is_of_word = |character: char| character.is_alphanumeric() || "-_".contains(character);
    let (mut kubeadm, mut join) = (after_kubeadm, false);
    for word in text.split(|character| !is_of_word(character)) {
        join |= kubeadm && matches!(word, "join" | "init");
        kubeadm |= word == "kubeadm";
    }
    (kubeadm, join)
}

/// All texts in a value, each on lines of its own.
pub fn texts(value: &Value) -> Zeroizing<String> {
    let mut all = Zeroizing::new(String::new());
    collect(value, &mut all);
    all
}

fn collect(value: &Value, all: &mut String) {
    match value {
        Value::String(text) => _ = writeln!(all, "{text}"),
        Value::Array(items) => items.iter().for_each(|item| collect(item, all)),
        Value::Object(fields) => {
            for (name, value) in fields {
                _ = writeln!(all, "{name}:");
                collect(value, all);
            }
        }
        _ => {}
    }
}

/// The lines without their comments: those of the shell, of YAML, of units and of most languages.
fn without_comments(bytes: &[u8]) -> Zeroizing<String> {
    let mut kept = Zeroizing::new(String::with_capacity(bytes.len()));
    for chunk in bytes.utf8_chunks() {
        for line in chunk.valid().lines() {
            kept.push_str(code(line));
            kept.push('\n');
        }
    }
    kept
}

fn code(line: &str) -> &str {
    let is_comment = line.trim_start().starts_with(['#', ';']);
    let end = [" #", "\t#"].iter().filter_map(|start| line.find(start)).min();
    if is_comment { "" } else { line.get(..end.unwrap_or(line.len())).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_join_count_outside_of_comments() {
        for (text, expected) in [
            (&b"exec kubeadm join a"[..], true),
            (b"- [kubeadm,\n   join]", true),
            (b"Kind: joinConfiguration", true),
            (b"kind: ConfigPointer", true),
            (b"\xff\xfe kubeadm join \xff", true),
            (b"# kubeadm join\n  # kubeadm init\n; kubeadm join", false),
            (b"packages: [kubeadm] # kubeadm join", false),
            (b"apt install kubeadm; echo joined", false),
            (b"join kubeadm", false),
            (b"", false),
        ] {
            assert_eq!(names_a_join(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn the_texts_of_a_value_keep_their_words() {
        let value = serde_json::json!({"a": ["set -e\nkubeadm", "join"], "b": {"c": 1, "d": null}});
        assert_eq!(texts(&value).as_str(), "a:\nset -e\nkubeadm\njoin\nb:\nc:\nd:\n");
    }
}
