//! The command line of the agent on a running node, and of the kubeadm that it stands in for.
//!
//! ```text
//! arguments ─► words ─► parse ─► Request ─► execute ─► exit code
//! ```

mod help;
mod parse;
pub mod request;
mod validate;
mod words;

#[cfg(test)]
#[path = "tests.rs"]
mod cli_tests;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

pub use self::parse::parse;
use self::request::Request;
pub use self::validate::read_file as read_node_config;
use crate::commands;
use crate::config::HostDefaults;
use crate::error::{Failure, Result};
use crate::secret::keep_out_of_cores;

/// Runs the command line `arguments`, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    keep_out_of_cores();
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    match parse(&program, arguments) {
        Ok(request) => execute(request),
        Err(failure) => fail(&failure, json),
    }
}

/// Does what is asked.
pub fn execute(request: Request) -> ExitCode {
    let json = wants_json(&request);
    let done = match request {
        Request::Help(text) => Ok(text),
        Request::Version { json } => Ok(version(json)),
        Request::ConfigValidate(request) => {
            host_defaults().and_then(|host| validate::validate(&request, &host))
        }
        verb => commands::execute(&verb, json),
    };
    match done.map(|text| std::io::stdout().write_all(text.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(failure) => fail(&failure, json),
    }
}

/// What this machine says of itself where a node config says nothing.
pub fn host_defaults() -> Result<HostDefaults> {
    let name = nix::unistd::gethostname().unwrap_or_default();
    Ok(HostDefaults { hostname: OsStr::to_string_lossy(&name).into_owned() })
}

/// Prints `failure`; its exit code.
pub fn fail(failure: &Failure, json: bool) -> ExitCode {
    let Failure { kind, message, help, .. } = failure;
    if json {
        println!(
            "{}",
            json!({ "event": "failure", "class": kind.word(), "code": kind.exit_code(), "message": message, "help": help })
        );
    } else {
        let help = help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
        eprintln!("firstboot: {message}{help}");
    }
    ExitCode::from(kind.exit_code())
}

fn wants_json(request: &Request) -> bool {
    match request {
        Request::Help(_) => false,
        Request::Version { json } => *json,
        Request::KubeadmVersion(request) => request.common.json,
        Request::Run(request) => request.common.json,
        Request::Join(request) | Request::Preflight(request) | Request::Explain(request) => {
            request.common.json
        }
        Request::Status(request) => request.common.json,
        Request::Reset(request) => request.common.json,
        Request::ConfigValidate(request) => request.common.json,
    }
}

fn version(json: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if json { format!("{}\n", json!({ "version": version })) } else { format!("firstboot {version}\n") }
}
