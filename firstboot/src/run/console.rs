//! The output of a running command: text lines for the operator or, with `--json`, lines for machines.

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

    /// Prints a line for machines.
    pub fn print_raw(self, line: &str) {
        let _ = output::print(&format!("{line}\n"));
    }
}
