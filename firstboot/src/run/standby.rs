//! Standby: a machine in a warm pool is prepared but does not join. A joined node would get pods and then be
//! stopped.

use super::{ResolvedConfig, Session, join};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::facts::Facts;
use crate::status::{Outcome, Progress};

/// The prefix of the target states of instances in a warm pool
/// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html>).
const WARMED: &str = "Warmed:";

/// Whether the machine is only prepared. A machine that has joined before continues as a node.
pub(super) fn is_wanted(session: &Session, facts: &Facts, resolved: &ResolvedConfig) -> Result<bool> {
    let is_warmed = facts.text("lifecycle").is_some_and(|state| state.starts_with(WARMED));
    if !is_warmed || resolved.config.join.dry_run {
        return Ok(false);
    }
    let identity = &session.machine()?.identity;
    let has_joined = Checkpoint::read(session.root)?
        .is_some_and(|checkpoint| checkpoint.joined && checkpoint.machine == *identity);
    Ok(!has_joined)
}

/// Runs the checks of a join, which need a running container runtime. The machine joins when it is started
/// for service.
pub(super) fn prepare(
    session: &Session,
    facts: &Facts,
    resolved: &ResolvedConfig,
    progress: &mut Progress,
) -> Result<Outcome> {
    join::check(session, facts, resolved, progress)?;
    session.print("this machine is in a warm pool: it is prepared, and joins when it is started for service");
    Ok(Outcome::Standby)
}
