//! Discovery: finds the API server, verifies it, and chooses the credential for it.
//!
//! ```text
//! token:  endpoint ─► cluster-info (anonymous) ─► signature ─► pins ─► certificate chain of that same connection ─► client
//! file:   kubeconfig ─► client                      (no request: kubeadm asks for cluster-info once more and ignores the answer)
//! URL:    https, system CAs ─► kubeconfig ─► client
//! ```

mod file;
mod token;

use std::path::PathBuf;

use crate::config::model::Discovery;
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::client::{Client, Credential};
use crate::kubernetes::kubeconfig::{self, BootstrapUser, ClusterEntry};
use crate::kubernetes::server::Server;
use crate::kubernetes::token::Token;
use crate::net::retry::Backoff;
use crate::net::trust::Authorities;
use crate::net::{Deadline, Network};
use crate::secret::Secret;

pub use file::fetch;
pub use token::{Rejected, open as open_cluster_info};

/// Every cluster made by kubeadm publishes its CA here.
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// The cluster that was found, ready for requests.
pub struct Cluster {
    /// The client of the API server, with the credential below. It is connected if discovery needed a
    /// connection.
    pub client: Client,
    /// The API server's URL for the kubelet.
    pub server: Server,
    /// A name that the server's certificate must be valid for, if it is not the server's own.
    pub server_name: Option<String>,
    pub(crate) authorities: Authorities,
    /// The credential that requests the certificate.
    pub credential: Credential,
    /// Why the CA is trusted.
    pub verified_by: Verification,
}

/// Why a cluster's CA is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// The signature and the pin (SHA-256 in hex) of one of its certificates.
    Pin(String),
    /// The signature alone, because the config explicitly allows it.
    SignatureAlone,
    /// This discovery file contains it.
    File(PathBuf),
    /// It came from this URL (without its query), from a server that the system trusts.
    Url(String),
}

/// The input of discovery.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(crate) discovery: &'a Discovery,
    /// The credential for the certificate request; none if the discovery file or token is used for it.
    pub tls_bootstrap_token: Option<&'a Token>,
    /// When discovery must be done.
    pub deadline: Deadline,
}

/// Finds the cluster. Retries transient failures until the deadline; any other failure ends discovery at
/// once.
pub fn discover(network: &Network, request: &Request<'_>, backoff: &mut Backoff) -> Result<Cluster> {
    match request.discovery {
        Discovery::Token { endpoints, token, pins, unsafe_skip_ca_verification } => {
            let bearer = request.tls_bootstrap_token.unwrap_or(token);
            let pins =
                if *unsafe_skip_ca_verification && pins.is_empty() { None } else { Some(pins.as_slice()) };
            token::discover(network, endpoints, token, pins, &bearer_of(bearer), request.deadline, backoff)
        }
        Discovery::RequestedToken { .. } => {
            Err(Failure::new(ErrorKind::Internal, "a token was not asked for"))
        }
        Discovery::File(path) => file::discover(network, path, request, backoff),
        Discovery::Url(url) => file::discover_url(network, url, request, backoff),
    }
}

impl Cluster {
    /// `bootstrap-kubelet.conf`, for a kubelet that requests its certificate itself. `preferences`: before
    /// Kubernetes 1.34.
    pub fn bootstrap_kubeconfig(&self, cluster_name: &str, preferences: bool) -> Result<Secret> {
        let user = match &self.credential {
            Credential::Bearer(token) => BootstrapUser::Token(token),
            Credential::Certificate(own) => BootstrapUser::Certificate(own.pem().0, own.pem().1),
            Credential::Anonymous => {
                return Err(Failure::new(ErrorKind::Internal, "a kubelet cannot bootstrap as nobody"));
            }
        };
        Ok(kubeconfig::bootstrap(&self.entry(preferences), cluster_name, user))
    }

    /// `kubelet.conf` for a certificate and key in the file `pem`. `preferences`: before Kubernetes 1.34.
    pub fn kubelet_kubeconfig(&self, pem: &str, preferences: bool) -> String {
        kubeconfig::kubelet(&self.entry(preferences), pem)
    }

    fn entry(&self, preferences: bool) -> ClusterEntry<'_> {
        ClusterEntry {
            server: &self.server,
            authorities: self.authorities.pem(),
            server_name: self.server_name.as_deref(),
            preferences,
        }
    }
}

fn bearer_of(token: &Token) -> Credential {
    Credential::Bearer(Secret::new(token.bearer().to_owned()))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
