//! The commands of the command line, one file each: they print, and leave the work to [`crate::run`].

pub mod carried;
pub mod config;
pub mod explain;
pub mod fetch;
pub mod join;
pub mod preflight;
pub mod protect;
pub mod reset;
pub mod run;
pub mod status;
pub mod tell;
pub mod validate;
pub mod version;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use crate::cli;
use crate::cli::request::{Join, Request};
use crate::config::HostDefaults;
use crate::error::{Failure, Result};
use crate::host::machine;
use crate::report;
use crate::secret::keep_out_of_cores;
use crate::verdict::Verdict;
use tell::Tell;

/// Runs the command line `arguments`, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    keep_out_of_cores();
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    match cli::parse(&program, arguments) {
        Ok(request) => print(&request),
        Err(failure) => fail(&failure, json),
    }
}

/// Executes the request and prints its result.
fn print(request: &Request) -> ExitCode {
    let json = request.is_json();
    match execute(request, json).map(|text| std::io::stdout().write_all(text.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(failure) => fail(&failure, json),
    }
}

/// Prints `failure` and returns its exit code.
fn fail(failure: &Failure, json: bool) -> ExitCode {
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

/// `firstboot join`.
pub fn join_by_hand(request: &Join, tell: Tell) -> Result<()> {
    let root = &request.common.root;
    let (metadata, sourced) = config::by_hand(&request.flags, root, tell)?;
    if !sourced.config.join.dry_run {
        config::publish(root, &metadata, tell);
    }
    let mut verdict =
        if sourced.config.join.dry_run { Verdict::unpublished(root) } else { Verdict::begin(root) };
    let ended = join::join(root, &metadata.facts, &sourced, join::Start::Now, &mut verdict, tell);
    let concluded = join::conclude(ended, &mut verdict, tell);
    // Who joins by hand waits for it himself: only those are told whom the config names.
    let named = sourced.config.agent.report.as_deref().unwrap_or_default();
    report::send(root, Some(named), &metadata.facts, &mut verdict, &|line| tell.line(line));
    concluded
}

/// Executes the request and returns the rest of its output.
fn execute(request: &Request, json: bool) -> Result<String> {
    let (tell, nothing) = (Tell { json }, String::new());
    match request {
        Request::Run(request) => run::run(&request.common.root, tell).map(|()| nothing),
        Request::Join(request) => join_by_hand(request, tell).map(|()| nothing),
        Request::Preflight(request) => preflight::preflight(request, tell).map(|()| nothing),
        Request::Explain(request) => explain::explain(request, tell),
        Request::Reset(request) => reset::reset(request, tell).map(|()| nothing),
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
