//! What the verbs of the command line do: one file each, wiring without logic.

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
pub mod version;

use crate::cli::request::{Join, Request};
use crate::error::Result;
use crate::report;
use crate::verdict::Verdict;
use tell::Tell;

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

/// Does what the verbs of a join ask; returns what is left to print.
pub fn execute(request: &Request, json: bool) -> Result<String> {
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
        Request::Version { .. } | Request::ConfigValidate(_) => Ok(nothing),
    }
}
