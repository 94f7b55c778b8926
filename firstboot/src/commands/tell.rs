//! What a running command says: a line each, for people or, with `--json`, for machines.

use std::io::Write;

use serde_json::json;

/// Says lines on standard output, which the unit sends to the journal and the console.
#[derive(Debug, Clone, Copy)]
pub struct Tell {
    /// One JSON object a line.
    pub json: bool,
}

impl Tell {
    /// A line for people; with `--json` an object of the event `message`. A closed output is no reason to stop.
    pub fn line(self, text: &str) {
        let line = if self.json {
            json!({ "event": "message", "message": text }).to_string()
        } else {
            format!("firstboot: {text}")
        };
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// A line for machines, as it is.
    pub fn raw(self, line: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
