//! The boundary of everything that the agent says: standard output and error, the status, published facts,
//! reports. What passes it holds no secret that exists at that moment, and no character that hides or moves
//! others.

use std::io::{self, Write};

use serde_json::Value;

use crate::secret::redacted;
use crate::text::visible_lines;

/// `text` as it may be said. It may have several lines.
pub(crate) fn clean(text: &str) -> String {
    visible_lines(&redacted(text)).into_owned()
}

/// `text` as it may be said where it must not look like a line of its own.
pub(crate) fn indented(text: &str, depth: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(depth)))
}

/// A document with all of its texts as they may be said.
pub(crate) fn clean_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => items.into_iter().map(clean_json).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, clean_json(value))).collect(),
        other => other,
    }
}

/// Writes to standard output, which systemd sends to its journal and the console.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(clean(text).as_bytes())?;
    output.flush()
}

/// Writes to standard error.
pub(crate) fn print_error(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(clean(text).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn nothing_secret_or_hidden_passes() {
        let secret = Secret::new("4vr73e.e8uxyaju799qwdjz".to_owned());
        let text = format!("\u{1b}]0;x\u{7} {}\r\u{202e}\u{2066}\u{2028}\nb", secret.reveal());
        let expected = "\\u001b]0;x\\u0007 [secret]\\u000d\\u202e\\u2066\\u2028\nb";
        assert_eq!(clean(&text), expected);
        assert_eq!(clean_json(json!({"a": [text, 1]})), json!({"a": [expected, 1]}));
        let line = json!({"a": "\u{202e}\u{1b}"}).to_string();
        let read: Value = serde_json::from_str(&clean(&line)).unwrap();
        assert_eq!(read, json!({"a": "\u{202e}\u{1b}"}), "JSON stays JSON");
        assert_eq!(indented("a\nfirstboot-verdict: {}", 2), "a\n  firstboot-verdict: {}");
    }

    /// The source files of the agent.
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(path);
            }
        }
    }

    #[test]
    fn there_is_no_other_way_to_the_output() {
        const WAYS: &[&str] = &[
            "print!(",
            "println!(",
            "dbg!(",
            "stdout()",
            "stderr()",
            "/dev/stdout",
            "/dev/stderr",
            "STDOUT",
            "STDERR",
        ];
        // The init of the initrd writes to the kernel log, before there are secrets.
        const OTHERS: &[&str] = &["output.rs", "initrd/console.rs"];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        sources(&root, &mut found);
        assert!(found.len() > 200);
        for path in found {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if OTHERS.contains(&name.as_str()) || name.contains("test") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            for (number, line) in code.lines().enumerate() {
                let way = WAYS.iter().find(|way| line.contains(**way));
                assert!(way.is_none(), "{name}:{}: {line}: use the module output", number + 1);
            }
        }
    }
}
