//! Why an API server is not trusted, in the words of a cluster: which CA, and what to do about it.

use std::time::SystemTime;

use rustls::CertificateError;

use crate::error::{ErrorKind, Failure};
use crate::net::trust;

/// Help where the server is not the cluster's.
const OTHER_CLUSTER: &str =
    "another server answers at this endpoint, or the discovery information is of another cluster";

/// The failure of a TLS handshake with the API server `peer`. `date` is the server's own time, if it sent
/// one.
pub(super) fn failure(peer: &str, error: &rustls::Error, date: Option<SystemTime>) -> Failure {
    let failure = trust::failure(peer, error, date);
    match error {
        rustls::Error::InvalidCertificate(reason) => of_certificate(peer, reason, failure),
        rustls::Error::InvalidMessage(_) => {
            failure.help("check the port: an API server speaks TLS, usually on 6443")
        }
        _ => failure,
    }
}

fn of_certificate(peer: &str, reason: &CertificateError, failure: Failure) -> Failure {
    let untrusted =
        |why: &str| Failure::new(ErrorKind::Untrusted, format!("the certificate of {peer} {why}"));
    match reason {
        _ if failure.kind == ErrorKind::Clock => failure
            .help("set the clock (NTP, hypervisor); if it is right, renew the API server's certificate"),
        CertificateError::ExpiredContext { .. } => failure
            .help("renew the API server's certificate: kubeadm certs renew apiserver, on the control plane"),
        CertificateError::NotValidForNameContext { .. } => {
            failure.help("use an endpoint that the certificate names, or add it to the API server's certSANs")
        }
        CertificateError::UnknownIssuer => untrusted("is not signed by the cluster's CA").help(OTHER_CLUSTER),
        CertificateError::BadSignature => {
            untrusted("has a wrong signature: it is not signed by the CA that it names")
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            untrusted("is not signed by the cluster's CA, whose key is of another kind").help(OTHER_CLUSTER)
        }
        _ => failure,
    }
}
