//! `firstboot preflight`: the checks of a join, and nothing else.

use super::config::by_hand;
use super::tell::Tell;
use crate::api::{Deadline, Network};
use crate::cli::request;
use crate::error::Result;
use crate::join::Join;
use crate::join::phases::{Found, preflight};
use crate::machine::Machine;
use crate::verdict::Verdict;

/// Makes the checks of this machine; those that need the cluster are made by a join alone.
pub fn preflight(request: &request::Join, tell: Tell) -> Result<()> {
    let root = &request.common.root;
    let (_, sourced) = by_hand(&request.flags, root, tell)?;
    let machine = Machine::read(root)?;
    let mut verdict = Verdict::unpublished(root);
    let (deadline, network) = (Deadline::after(sourced.config.agent.deadline), Network::new(root.clone()));
    let line = |text: &str| tell.line(text);
    let found = Found::default();
    let config = &sourced.config;
    let mut join = Join { root, config, machine: &machine, deadline, network, verdict: &mut verdict, tell: &line, journal: None, found };
    preflight::alone(&mut join)?;
    tell.line("preflight: no errors");
    Ok(())
}
