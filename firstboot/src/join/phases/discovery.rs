//! Finds the API server and verifies that it is the one the config trusts.

use super::{Need, Phase};
use crate::binding::Binding;
use crate::error::Result;
use crate::join::Join;
use crate::join::discovery::{self, Request, Verification};
use crate::join::token_from;

pub(crate) const PHASE: Phase =
    Phase { name: "discovery", kubeadm: "", need: Need::UntilFilesAreWritten, run };

fn run(join: &mut Join) -> Result<()> {
    let config = join.config;
    let asked = match &config.agent.token_from {
        Some(from) => Some(token_from::ask(join, from)?),
        None => None,
    };
    let request = Request {
        discovery: asked.as_ref().unwrap_or(&config.join.discovery),
        tls_bootstrap_token: config.join.tls_bootstrap_token.as_ref(),
        deadline: join.deadline.within(config.join.timeouts.discovery),
    };
    let cluster = discovery::discover(&join.network, &request, &mut join.backoff())?;
    join.print(&format!("the API server {} is trusted: {}", cluster.server, reason(&cluster.verified_by)));
    if cluster.verified_by == Verification::SignatureAlone {
        join.warn("the API server's CA is trusted by the token's signature alone: whoever holds the token can pretend to be it".to_owned());
    }
    if !config.join.dry_run {
        Binding::add_cluster(join.root, cluster.authorities.pins(), &cluster.server.to_string())?;
    }
    join.results.cluster = Some(cluster);
    Ok(())
}

fn reason(verified_by: &Verification) -> String {
    match verified_by {
        Verification::Pin(pin) => format!("its CA is pinned (sha256:{pin})"),
        Verification::SignatureAlone => "the token signed its CA".to_owned(),
        Verification::File(path) => format!("its CA stands in {}", path.display()),
        Verification::Url(url) => format!("its CA came from {url}"),
    }
}
