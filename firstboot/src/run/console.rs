//! The output of a running command: text lines for the operator or, with `--json`, lines for machines.

use std::borrow::Cow;

use serde_json::json;

use crate::output;

/// Prints to standard output, which systemd sends to its journal and the console.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// Prints one JSON object per line.
    pub json: bool,
}

impl Console {
    /// Prints a line for the operator; with `--json`, an object with the event `message`. A closed output is
    /// no error.
    pub fn print(self, text: &str) {
        let line = if self.json {
            json!({ "event": "message", "message": text }).to_string()
        } else {
            format!("firstboot: {}", output::indented(text, 2))
        };
        self.print_raw(&line);
    }

    /// Prints a line of a file; with `--json`, as [`Console::print`].
    pub fn print_quoted(self, line: &str) {
        if self.json { self.print(line) } else { self.print_raw(&format!("  {line}")) }
    }

    /// Prints the verdict line of a run; with `--json`, an object with the event `verdict`.
    pub fn print_verdict(self, line: &str) {
        self.print_raw(&self.verdict(line));
    }

    fn verdict(self, line: &str) -> Cow<'_, str> {
        match line.split_once(": ").filter(|_| self.json) {
            Some((_, object)) => format!(r#"{{"event":"verdict","verdict":{object}}}"#).into(),
            None => line.into(),
        }
    }

    /// Prints a line for machines.
    pub fn print_raw(self, line: &str) {
        let _ = output::print(&format!("{line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_json_the_verdict_is_an_object_as_every_other_line() {
        let line = r#"firstboot-verdict: {"outcome":"joined","message":"a: b"}"#;
        assert_eq!(Console { json: false }.verdict(line), line);
        let object: serde_json::Value = serde_json::from_str(&Console { json: true }.verdict(line)).unwrap();
        assert_eq!((&object["event"], &object["verdict"]["message"]), (&"verdict".into(), &"a: b".into()));
    }
}
