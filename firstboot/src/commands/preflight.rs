//! `firstboot preflight`: the checks of a join, and nothing else.

use super::config::{Sourced, by_hand};
use super::tell::Tell;
use crate::cli::request;
use crate::error::Result;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::join::Join;
use crate::join::phases::{Found, preflight};
use crate::machine::Machine;
use crate::net::{Deadline, Network};
use crate::verdict::Verdict;

/// Makes the checks of this machine; those that need the cluster are made by a join alone.
pub fn preflight(request: &request::Join, tell: Tell) -> Result<()> {
    let root = &request.common.root;
    let (metadata, sourced) = by_hand(&request.flags, root, tell)?;
    checks(root, &metadata.facts, &sourced, &mut Verdict::unpublished(root), tell)?;
    tell.line("preflight: no errors");
    Ok(())
}

/// The checks of a join that nobody goes on with.
pub fn checks(
    root: &Root,
    facts: &Facts,
    sourced: &Sourced,
    verdict: &mut Verdict,
    tell: Tell,
) -> Result<()> {
    let machine = Machine::read(root)?;
    let (deadline, network) = (Deadline::after(sourced.config.agent.deadline), Network::new(root.clone()));
    let line = |text: &str| tell.line(text);
    let (config, found) = (&sourced.config, Found::default());
    let mut join = Join {
        root,
        config,
        machine: &machine,
        facts,
        deadline,
        network,
        verdict,
        tell: &line,
        journal: None,
        found,
    };
    preflight::alone(&mut join)
}
