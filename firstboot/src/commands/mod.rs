//! The commands of the command line, one file each: they print, and leave the work to [`crate::run`].

pub mod explain;
#[cfg(target_os = "linux")]
pub mod install;
pub mod preflight;
pub mod reset;
#[cfg(windows)]
pub mod service;
pub mod status;
pub mod validate;
pub mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use serde_json::json;

use crate::cli;
use crate::cli::request::Request;
use crate::config::HostDefaults;
#[cfg(not(target_os = "linux"))]
use crate::error::ErrorKind;
use crate::error::{Failure, Result};
use crate::host::machine;
use crate::host::process::keep_out_of_cores;
use crate::host::root::Root;
use crate::output::{self, indented};
use crate::run::{self, Console, Session};

/// Runs the command line `arguments`, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    keep_out_of_cores();
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    #[cfg(windows)]
    if arguments.first().is_some_and(|word| word == "service") {
        return service::main(&arguments[1..]).unwrap_or_else(|failure| fail(&failure, false));
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    match cli::parse(&program, arguments) {
        Ok(request) => print(&request),
        Err(failure) => fail(&failure, json),
    }
}

/// Executes the request and prints its result.
fn print(request: &Request) -> ExitCode {
    let json = request.is_json();
    match execute(request, json).map(|text| output::print(&text)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(failure) => fail(&failure, json),
    }
}

/// Prints `failure` and returns its exit code.
fn fail(failure: &Failure, json: bool) -> ExitCode {
    let Failure { kind, message, help, warnings, .. } = failure;
    // A closed output is no reason for another exit code.
    let _ = if json {
        let event = json!({ "event": "failure", "class": kind.word(), "code": kind.exit_code(), "message": message, "help": help, "warnings": warnings });
        output::print(&format!("{event}\n"))
    } else {
        let mut text: String = warnings
            .iter()
            .map(|warning| format!("firstboot: warning: {}\n", indented(warning, 2)))
            .collect();
        text.push_str(&format!("firstboot: {}\n", indented(message, 2)));
        text.extend(help.iter().map(|help| format!("  help: {}\n", indented(help, 2))));
        output::print_error(&text)
    };
    ExitCode::from(kind.exit_code())
}

/// Executes the request and returns the rest of its output.
fn execute(request: &Request, json: bool) -> Result<String> {
    let (console, nothing) = (Console { json }, String::new());
    request.root().map_or(Ok(()), Root::check)?;
    match request {
        Request::Run(request) => run::run(&Session::new(&request.common.root, console)).map(|()| nothing),
        Request::Join(request) => {
            run::join_by_hand(&Session::new(&request.common.root, console), &request.flags).map(|()| nothing)
        }
        Request::Preflight(request) => preflight::preflight(request, console).map(|()| nothing),
        Request::Explain(request) => explain::explain(request, console),
        Request::Reset(request) => reset::reset(request, console).map(|()| nothing),
        #[cfg(target_os = "linux")]
        Request::Install(request) => install::install(request, json),
        #[cfg(not(target_os = "linux"))]
        Request::Install(_) => {
            Err(Failure::new(ErrorKind::Usage, "only the agent for Linux installs images"))
        }
        Request::KubeadmVersion(request) => version::kubeadm(request),
        Request::Status(request) => {
            let options = status::Options { json, timeline: request.timeline, svg: request.svg.as_deref() };
            status::status(&request.common.root, &options)
        }
        Request::Help(text) => Ok(text.clone()),
        Request::Version { json } => Ok(version::own(*json)),
        Request::ConfigValidate(request) => {
            validate::validate(request, &HostDefaults { hostname: machine::running_hostname() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn no_command_works_on_a_root_that_is_not_there() {
        for line in
            ["run", "join", "preflight", "explain", "status", "reset --force", "config validate", "install"]
        {
            let words = line.split(' ').chain(["--rootfs", "/nonexistent/root"]).map(OsString::from);
            let request = cli::parse("firstboot".as_ref(), words).unwrap();
            let failure = execute(&request, false).unwrap_err();
            assert!(
                failure.kind == ErrorKind::Usage && failure.message.contains("the root /nonexistent/root"),
                "{line}: {failure}"
            );
        }
    }
}
