//! The command line of the agent on a running node.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

const HELP: &str = "\
Configures a node at its first boot.

Usage: firstboot [--json] run

Commands:
  run        Find the metadata of this machine and configure it; does nothing when there is none

Options:
  --json     Print events as JSON, one object per line
  --version  Print the version
  --help     Print this help
";

/// The exit code for a command line that makes no sense.
const USAGE: u8 = 2;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Help,
    Version,
    Run { json: bool },
}

/// Runs the command line `arguments`, without the program's name.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let text = match parse(arguments) {
        Ok(Request::Help) => HELP.to_owned(),
        Ok(Request::Version) => format!("firstboot {}\n", env!("CARGO_PKG_VERSION")),
        Ok(Request::Run { json }) => run(json),
        Err(wrong) => {
            eprintln!("firstboot: {wrong}\n  help: see firstboot --help");
            return ExitCode::from(USAGE);
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let (mut json, mut run) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--version" | "-V" => return Ok(Request::Version),
            "--json" => json = true,
            "run" if !run => run = true,
            other => return Err(format!("unexpected argument \"{other}\"")),
        }
    }
    if run { Ok(Request::Run { json }) } else { Err("a command is missing".to_owned()) }
}

/// Configures the machine; returns what to print.
fn run(json: bool) -> String {
    event(json, "no-metadata", "no metadata source found: nothing to do")
}

fn event(json: bool, name: &str, message: &str) -> String {
    if json { format!("{}\n", json!({ "event": name, "message": message })) } else { format!("firstboot: {message}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_the_command_line() {
        assert_eq!(parsed("run"), Ok(Request::Run { json: false }));
        assert_eq!(parsed("run --json"), parsed("--json run"));
        assert_eq!(parsed("--version"), Ok(Request::Version));
        assert_eq!(parsed("run --help"), Ok(Request::Help));
        assert!(parsed("").unwrap_err().contains("missing"));
        assert!(parsed("walk").unwrap_err().contains("\"walk\""));
        assert!(parsed("run run").is_err());
    }

    #[test]
    fn one_line_says_that_there_is_nothing_to_do() {
        assert_eq!(run(false), "firstboot: no metadata source found: nothing to do\n");
        let value: serde_json::Value = serde_json::from_str(&run(true)).unwrap();
        assert_eq!(value["event"], "no-metadata");
    }
}
