//! Which certificates are trusted, and the errors if one is not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use x509_cert::der::Decode;

use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::text::{hex, one_line};

/// Limit on the certificates of one bundle. A cluster has one to three.
const MOST_CERTIFICATES: usize = 64;

/// Which servers are trusted. In any case, the certificate must name the URL's host.
#[derive(Debug, Clone)]
pub enum Trust {
    /// No certificate: plain HTTP.
    Nobody,
    /// The CAs of the machine's image.
    System,
    /// Only these CAs.
    Authorities(Authorities),
    /// Any of these keys, of the server's certificate or of a CA that it sends along: lower-case hex SHA-256
    /// of the SubjectPublicKeyInfo, without `sha256:`.
    Keys(Vec<String>),
}

/// The certificate authorities of one cluster, or of the system.
#[derive(Debug, Clone)]
pub struct Authorities {
    pem: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
}

impl Authorities {
    /// Reads every certificate of a PEM bundle. CAs that kubeadm made before 1.28 have the serial number 0,
    /// which is accepted.
    pub fn from_pem(pem: &[u8]) -> std::result::Result<Self, String> {
        let mut certificates = Vec::new();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "the CA bundle is not PEM")?;
            if certificates.len() == MOST_CERTIFICATES {
                return Err(format!("the CA bundle holds more than {MOST_CERTIFICATES} certificates"));
            }
            roots.add(certificate.clone()).map_err(|_| {
                format!("certificate {} of the CA bundle cannot be read", certificates.len() + 1)
            })?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err("the CA bundle holds no certificate".to_owned());
        }
        Ok(Self { pem: pem.to_vec(), certificates, roots: Arc::new(roots) })
    }

    /// The CAs that the machine's image trusts.
    pub fn system() -> Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(Failure::new(ErrorKind::Host, "the system has no CA certificates")
                .help("install ca-certificates into the image, or use token discovery with caCertHashes"));
        }
        Ok(Self { pem: Vec::new(), certificates: Vec::new(), roots: Arc::new(roots) })
    }

    /// The original text of the bundle; empty for the system's.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// kubeadm's pin of every certificate: the lower-case hex SHA-256 of its SubjectPublicKeyInfo, without
    /// `sha256:`.
    pub fn pins(&self) -> Vec<String> {
        self.certificates.iter().filter_map(pin).collect()
    }

    /// Only the CAs whose pin is in `pins`.
    pub fn pinned(&self, pins: &[String]) -> Self {
        let is_pinned =
            |certificate: &&CertificateDer<'_>| pin(certificate).is_some_and(|key| pins.contains(&key));
        let certificates: Vec<_> = self.certificates.iter().filter(is_pinned).cloned().collect();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        Self { pem: self.pem.clone(), certificates, roots: Arc::new(roots) }
    }

    /// The time in which all certificates of the bundle are valid; none for the system's.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        self.certificates
            .iter()
            .filter_map(period)
            .reduce(|all, one| (all.0.max(one.0), all.1.min(one.1)))
    }

    /// The CAs that are valid at the time `now`. rustls ignores the validity dates of trusted CAs, but Go's
    /// verifier in the kubelet does not. `date` is the server's time, if it sent one.
    pub(super) fn roots_at(&self, now: SystemTime, date: Option<SystemTime>) -> Result<Arc<RootCertStore>> {
        let holds = |certificate: &&CertificateDer<'_>| {
            period(certificate).is_none_or(|(from, until)| from <= now && now <= until)
        };
        let holding: Vec<_> = self.certificates.iter().filter(holds).collect();
        if holding.len() == self.certificates.len() {
            return Ok(self.roots.clone());
        }
        if holding.is_empty() {
            return Err(self.out_of_date(now, date));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(holding.into_iter().cloned());
        Ok(Arc::new(roots))
    }

    /// The failure of a bundle without a valid CA at the time `now`.
    fn out_of_date(&self, now: SystemTime, date: Option<SystemTime>) -> Failure {
        let periods = || self.certificates.iter().filter_map(period);
        let clock = httpdate::fmt_http_date(now);
        if let Some((from, _)) = periods().filter(|(from, _)| now < *from).min() {
            let from = httpdate::fmt_http_date(from);
            return Failure::new(
                ErrorKind::Clock,
                format!("the cluster's CA is valid only from {from}, but this machine's clock says {clock}"),
            )
            .help("set the clock (NTP, hypervisor)");
        }
        let until = periods().map(|(_, until)| until).max().unwrap_or(now);
        let shown = httpdate::fmt_http_date(until);
        if date.is_some_and(|date| date > until) {
            return Failure::new(ErrorKind::Untrusted, format!("the cluster's CA expired on {shown}"))
                .help("the cluster needs a new CA; until then no kubelet trusts its API server");
        }
        Failure::new(
            ErrorKind::Clock,
            format!("the cluster's CA has been invalid since {shown}, but this machine's clock says {clock}"),
        )
        .help("set the clock (NTP, hypervisor); if it is right, the cluster needs a new CA")
    }

    /// Whether the server with the certificates `chain` is `name`, now. `date` is the server's time, if it
    /// sent one.
    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        date: Option<SystemTime>,
    ) -> Result<std::result::Result<(), rustls::Error>> {
        let roots = self.roots_at(SystemTime::now(), date)?;
        Ok((|| {
            let (end_entity, intermediates) =
                chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
            verifier
                .verify_server_cert(end_entity, intermediates, name, &[], UnixTime::now())
                .map(drop)
        })())
    }
}

/// The pin of a certificate; none if it cannot be read.
fn pin(certificate: &CertificateDer<'_>) -> Option<String> {
    let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
    Some(hex(digest::digest(&digest::SHA256, &webpki::spki_for_anchor(&anchor)).as_ref()))
}

/// The validity of a certificate; none if it cannot be read.
fn period(der: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let validity = x509_cert::Certificate::from_der(der).ok()?.tbs_certificate.validity;
    Some((validity.not_before.to_system_time(), validity.not_after.to_system_time()))
}

/// A client certificate with its key.
#[derive(Debug)]
pub struct ClientCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pem: (Secret, Secret),
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), pem: self.pem.clone() }
    }
}

impl ClientCertificate {
    /// Reads the certificates of `certificate` and the first private key of `key`; both may be the same PEM
    /// text.
    pub fn from_pem(certificate: &Secret, key: &Secret) -> std::result::Result<Self, &'static str> {
        let pem = (certificate.clone(), key.clone());
        let chain = CertificateDer::pem_slice_iter(certificate.reveal().as_bytes())
            .collect::<std::result::Result<Vec<_>, _>>();
        let chain =
            chain.ok().filter(|chain| !chain.is_empty()).ok_or("the client certificate is not PEM")?;
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
            .map_err(|_| "the client key is not PEM")?;
        Ok(Self { chain, key, pem })
    }

    /// The original PEM text of certificate and key.
    pub fn pem(&self) -> (&Secret, &Secret) {
        (&self.pem.0, &self.pem.1)
    }
}

/// The failure of a TLS handshake with `peer`. `date` is the server's time, if it sent one.
pub(crate) fn failure(peer: &str, error: &rustls::Error, date: Option<SystemTime>) -> Failure {
    match error {
        rustls::Error::InvalidCertificate(reason) => certificate_failure(peer, reason, date),
        rustls::Error::AlertReceived(alert) => Failure::new(
            ErrorKind::Unreachable,
            format!("TLS with {peer}: the server ends the handshake with {alert:?}"),
        )
        .transient(),
        rustls::Error::InvalidMessage(_) => {
            Failure::new(ErrorKind::Unreachable, format!("TLS with {peer}: the answer is not TLS"))
        }
        other => Failure::new(ErrorKind::Unreachable, format!("TLS with {peer}: {other}")),
    }
}

fn certificate_failure(peer: &str, reason: &CertificateError, date: Option<SystemTime>) -> Failure {
    let untrusted =
        |why: String| Failure::new(ErrorKind::Untrusted, format!("the certificate of {peer} {why}"));
    match reason {
        CertificateError::NotValidYetContext { time, not_before } => {
            clock(peer, "is valid only from", *not_before, *time)
        }
        CertificateError::ExpiredContext { time, not_after }
            if date.is_none_or(|date| date < system_time(*not_after)) =>
        {
            clock(peer, "has been invalid since", *not_after, *time)
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            untrusted(format!("expired on {}", shown(*not_after)))
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            untrusted(format!("is not for that name or address, but for {}", names(presented)))
        }
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            untrusted("is not signed by a CA that is trusted for it".to_owned())
        }
        CertificateError::ApplicationVerificationFailure => {
            untrusted("has none of the keys that are trusted for it".to_owned())
        }
        other => untrusted(format!("is not accepted: {}", one_line(&plain_words(other)))),
    }
}

/// The name of an error without a message here, without its values.
fn plain_words(error: &CertificateError) -> String {
    let text = error.to_string();
    text.split(['{', '(']).next().unwrap_or(&text).trim().to_owned()
}

fn clock(peer: &str, what: &str, limit: UnixTime, now: UnixTime) -> Failure {
    Failure::new(
        ErrorKind::Clock,
        format!(
            "the certificate of {peer} {what} {}, but this machine's clock says {}",
            shown(limit),
            shown(now)
        ),
    )
}

/// The names of a certificate from rustls' list, without type names.
fn names(presented: &[String]) -> String {
    let name = |text: &String| {
        let inner = text.split_once('(').map_or(text.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    match presented {
        [] => "no name at all".to_owned(),
        _ => one_line(&presented.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

fn shown(time: UnixTime) -> String {
    httpdate::fmt_http_date(system_time(time))
}

/// The cryptography for TLS and certificates.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
