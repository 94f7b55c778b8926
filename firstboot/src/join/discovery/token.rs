//! Discovery by a bootstrap token: the signed cluster-info.
//!
//! kubeadm asks twice: first without verifying the server, then, with the CA from the first answer, the same
//! server again. The agent asks once. It keeps the certificates of the first connection and verifies them
//! against that CA afterwards, which proves where the answer came from. No credential is sent before that.

use std::time::{Duration, Instant};

use super::{CLUSTER_INFO, Cluster, Verification};
use crate::error::{ErrorKind, Failure, Result};
use crate::join::cluster::ConfigMap;
use crate::join::jws;
use crate::kubernetes::client::{Client, Credential, UnverifiedClient};
use crate::kubernetes::kubeconfig::{self, Material};
use crate::kubernetes::server::Server;
use crate::kubernetes::token::Token;
use crate::net::Endpoint;
use crate::net::retry::{self, Backoff};
use crate::net::trust::Authorities;
use crate::net::{Deadline, Error, Network};

/// Time for a cluster to publish or sign cluster-info. Its controller needs less than a second for a new
/// token.
const SETTLING: Duration = Duration::from_secs(10);
/// Bounds of the waits in this time.
const SETTLING_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// Asks the endpoints in turn. `pins`: none if the signature alone is enough.
pub(super) fn discover(
    network: &Network,
    endpoints: &[Endpoint],
    token: &Token,
    pins: Option<&[String]>,
    credential: &Credential,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<Cluster> {
    let clients = endpoints.iter().map(|endpoint| UnverifiedClient::new(network, endpoint.clone().into()));
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let mut settling = Settling {
        since: None,
        reason: None,
        waits: backoff.clone().between(SETTLING_WAITS.0, SETTLING_WAITS.1),
    };
    loop {
        let mut last: Option<Error> = None;
        for position in 0..clients.len() {
            match attempt(&mut clients[position], token, pins, deadline) {
                Ok(opened) => return finish(network, clients.swap_remove(position), opened, credential),
                Err(Rejected::NotYet(failure)) => {
                    settling.begin(&failure);
                    last = Some(failure.into());
                    break;
                }
                // The deadline cut this try short, so the error of the previous one says more.
                Err(Rejected::Unreachable(_)) if last.is_some() && deadline.has_passed() => {}
                Err(Rejected::Unreachable(error))
                    if last
                        .as_ref()
                        .is_some_and(|last| last.failure.transient && !error.failure.transient) => {}
                Err(Rejected::Unreachable(error)) => last = Some(error),
                Err(Rejected::ForGood(failure)) => return Err(failure),
            }
        }
        let error =
            last.unwrap_or_else(|| Failure::new(ErrorKind::Config, "token discovery has no endpoint").into());
        match settling.since {
            Some(_) => settling.pause(deadline, error.failure)?,
            None => retry::pause(deadline, backoff, error)?,
        }
    }
}

/// A cluster that answers but is not ready for this token.
struct Settling<'a> {
    since: Option<Instant>,
    /// The last answer.
    reason: Option<Failure>,
    waits: Backoff<'a>,
}

impl Settling<'_> {
    fn begin(&mut self, reason: &Failure) {
        self.since.get_or_insert_with(Instant::now);
        self.reason = Some(reason.clone());
    }

    fn pause(&mut self, deadline: Deadline, failure: Failure) -> Result<()> {
        let wait = self.waits.wait(None);
        let settled = self.since.is_none_or(|since| since.elapsed() >= SETTLING);
        if settled || wait >= deadline.remaining() {
            // An answer says more than a timeout.
            return Err(self.reason.take().unwrap_or(failure));
        }
        std::thread::sleep(wait);
        Ok(())
    }
}

/// Why a cluster-info was not accepted.
#[derive(Debug)]
pub enum Rejected {
    /// No usable answer. Another endpoint or a later attempt may have one.
    Unreachable(Error),
    /// It is missing or not signed with this token yet. In a new cluster, that takes a moment.
    NotYet(Failure),
    /// It is invalid.
    ForGood(Failure),
}

/// A cluster-info whose signature is verified.
#[derive(Debug)]
pub struct VerifiedClusterInfo {
    server: Server,
    /// The cluster's whole bundle, for the kubelet.
    authorities: Authorities,
    /// The CAs that may vouch for a server that gets the credential: with pins, only those that are pinned.
    trusted: Authorities,
    verified_by: Verification,
}

fn attempt(
    client: &mut UnverifiedClient,
    token: &Token,
    pins: Option<&[String]>,
    deadline: Deadline,
) -> std::result::Result<VerifiedClusterInfo, Rejected> {
    let doing = "failed to request the cluster-info ConfigMap";
    let answer = client.get(CLUSTER_INFO, deadline).map_err(|error| {
        let status = error.status;
        let error = Error { failure: error.failure.doing(doing), ..error };
        match status {
            Some(404) => Rejected::NotYet(Failure { kind: ErrorKind::Refused, ..error.failure }.help(
                "the cluster publishes no cluster-info: finish kubeadm init there, or use file discovery",
            )),
            Some(403) => Rejected::NotYet(error.failure.help(HARDENED)),
            Some(401) => Rejected::ForGood(error.failure.help(HARDENED)),
            _ if error.failure.kind == ErrorKind::Unreachable => Rejected::Unreachable(advised(error)),
            _ => Rejected::ForGood(error.failure),
        }
    })?;
    let config_map: ConfigMap =
        answer.json().map_err(|failure| Rejected::Unreachable(failure.doing(doing).into()))?;
    open(&config_map, token, pins)
}

fn advised(mut error: Error) -> Error {
    error
        .failure
        .help
        .get_or_insert_with(|| "check the endpoint, and that its API server is up".to_owned());
    error
}

const HARDENED: &str = "the cluster does not let anonymous clients read cluster-info, a known hardening: use discovery.file, or allow it again";

/// Checks the signature of a cluster-info, then its CA against the pins.
pub fn open(
    config_map: &ConfigMap,
    token: &Token,
    pins: Option<&[String]>,
) -> std::result::Result<VerifiedClusterInfo, Rejected> {
    let for_good = |class, message: String| Rejected::ForGood(Failure::new(class, message));
    let kubeconfig = config_map.get("kubeconfig");
    let kubeconfig = kubeconfig.ok_or_else(|| {
        for_good(ErrorKind::Refused, "there is no kubeconfig in the cluster-info ConfigMap".to_owned())
    })?;
    let signature = config_map.get(&format!("jws-kubeconfig-{}", token.id())).ok_or_else(|| {
        let message = format!("could not find a JWS signature in the cluster-info ConfigMap for token ID \"{}\"", token.id());
        Rejected::NotYet(Failure::new(ErrorKind::Credential, message).help(
            "the token is unknown, expired or without the usage signing: make a new one with kubeadm token create, on the control plane",
        ))
    })?;
    jws::verify(kubeconfig, signature, token).map_err(Rejected::ForGood)?;

    let wrong = |why: String| {
        for_good(ErrorKind::Refused, format!("the kubeconfig of the cluster-info ConfigMap: {why}"))
    };
    let parsed = kubeconfig::parse(kubeconfig.as_bytes(), "/".as_ref()).map_err(wrong)?;
    let Some(Material::Inline(pem)) = parsed.authorities else {
        return Err(wrong("it has no certificate-authority-data".to_owned()));
    };
    let authorities = Authorities::from_pem(pem.reveal().as_bytes()).map_err(wrong)?;
    let (trusted, verified_by) = match pins {
        None => (authorities.clone(), Verification::SignatureAlone),
        Some(pins) => {
            let pin = pinned(&authorities, pins).map_err(Rejected::ForGood)?;
            (authorities.pinned(pins), Verification::Pin(pin))
        }
    };
    Ok(VerifiedClusterInfo { server: parsed.server, authorities, trusted, verified_by })
}

/// The pin of the first certificate whose pin is in `pins`.
fn pinned(authorities: &Authorities, pins: &[String]) -> Result<String> {
    let keys = authorities.pins();
    keys.iter().find(|key| pins.contains(key)).cloned().ok_or_else(|| {
        let list = keys.iter().map(|key| format!("\"sha256:{key}\"")).collect::<Vec<_>>().join(", ");
        let message = format!(
            "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys {list} are pinned"
        );
        Failure::new(ErrorKind::Untrusted, message)
            .help("if this is the right cluster, correct caCertHashes; if in doubt, another answers")
    })
}

/// Keeps the connection if the kubeconfig names the same server.
fn finish(
    network: &Network,
    asked: UnverifiedClient,
    info: VerifiedClusterInfo,
    credential: &Credential,
) -> Result<Cluster> {
    let VerifiedClusterInfo { server, authorities, trusted, verified_by } = info;
    let client = if server.is_same(asked.server()) {
        asked.verified(&trusted, credential)?
    } else {
        // Without pins, kubeadm never verifies the endpoint, only the server that cluster-info names.
        if verified_by != Verification::SignatureAlone {
            asked.verify(&trusted)?;
        }
        Client::new(network, server.clone(), None, &trusted, credential)?
    };
    Ok(Cluster {
        client,
        server,
        server_name: None,
        authorities,
        credential: credential.clone(),
        verified_by,
    })
}
