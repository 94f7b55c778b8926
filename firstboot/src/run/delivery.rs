//! Reaches what a platform keeps elsewhere than in its metadata service.

use std::time::Duration;

use crate::error::Result;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::net::trust::{Authorities, Trust};
use crate::net::{Deadline, Network};
use crate::platforms::delivery::Reach;

/// Time limit of one delivery. The role of a new instance may take a while.
const LIMIT: Duration = Duration::from_secs(120);

/// Calls `act` with the way to the platform's services.
pub(super) fn follow<T>(root: &Root, facts: &Facts, act: impl Fn(&Reach) -> Result<T>) -> Result<T> {
    act(&Reach {
        facts,
        network: Network::new(root.clone()),
        deadline: Deadline::after(LIMIT),
        trust: &|| Authorities::system().map(Trust::Authorities),
        service: None,
    })
}
