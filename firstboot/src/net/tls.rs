//! TLS configurations: which certificates a connection accepts, and which one it presents.

use std::sync::Arc;
use std::time::SystemTime;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;

use super::Endpoint;
use super::trust::{Authorities, ClientCertificate, Trust, provider};
use crate::error::{ErrorKind, Failure, Result};
use crate::text::hex;

/// A configuration that accepts the servers of `trust`, and presents `certificate` if the server requests
/// one.
pub(crate) fn config(trust: &Trust, certificate: Option<&ClientCertificate>) -> Result<Arc<ClientConfig>> {
    let authorities = match trust {
        Trust::Nobody => {
            return Err(Failure::new(ErrorKind::Internal, "TLS with a server that nobody vouches for"));
        }
        Trust::Keys(keys) => return with_verifier(Accepts::Keys(keys.clone()), certificate),
        Trust::System => &Authorities::system()?,
        Trust::Authorities(authorities) => authorities,
    };
    let roots = authorities.roots_at(SystemTime::now(), None)?;
    with_client(builder()?.with_root_certificates(roots), certificate)
}

/// A configuration that accepts every certificate, for a connection whose chain is verified afterwards. The
/// peer still proves that it has the key of its certificate.
pub(crate) fn unverified() -> Result<Arc<ClientConfig>> {
    with_verifier(Accepts::Any, None)
}

/// The name that the server's certificate must have: `name`, else the host.
pub(crate) fn server_name(endpoint: &Endpoint, name: Option<&str>) -> Result<ServerName<'static>> {
    let host = name.unwrap_or(&endpoint.host);
    let host = host.split('%').next().unwrap_or(host).to_owned();
    ServerName::try_from(host).map_err(|_| {
        Failure::new(
            ErrorKind::Config,
            format!("{endpoint}: the host is neither a DNS name nor an IP address"),
        )
    })
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("TLS: {error}")))
}

fn with_verifier(accepts: Accepts, certificate: Option<&ClientCertificate>) -> Result<Arc<ClientConfig>> {
    let verifier = Arc::new(Verifier { accepts, provider: provider() });
    with_client(builder()?.dangerous().with_custom_certificate_verifier(verifier), certificate)
}

/// HTTP/1.1 only. Session resumption would save nothing, because there is one connection.
fn with_client(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>> {
    let mut config = match certificate.cloned() {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(own.chain, own.key).map_err(|_| {
            Failure::new(
                ErrorKind::Credential,
                "the client certificate and its key do not belong together, or the key is of an unknown kind",
            )
        })?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// A verifier with other rules than a known CA.
#[derive(Debug)]
struct Verifier {
    accepts: Accepts,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Accepts {
    Any,
    Keys(Vec<String>),
}

impl Accepts {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let Self::Keys(keys) = self else { return false };
        let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) else { return false };
        let key = digest::digest(&digest::SHA256, &webpki::spki_for_anchor(&anchor));
        keys.contains(&hex(key.as_ref()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if matches!(self.accepts, Accepts::Any) {
            return Ok(ServerCertVerified::assertion());
        }
        if self.accepts.is_pinned(end_entity) {
            check_validity(end_entity, now)?;
            return verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)
                .map(|()| ServerCertVerified::assertion());
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(
            intermediates
                .iter()
                .filter(|one| self.accepts.is_pinned(one))
                .map(|one| one.clone().into_owned()),
        );
        if roots.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A pinned key is accepted while its certificate is valid.
fn check_validity(
    certificate: &CertificateDer<'_>,
    now: UnixTime,
) -> std::result::Result<(), CertificateError> {
    let parsed = x509_cert::Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| UnixTime::since_unix_epoch(time.to_unix_duration());
    let (not_before, not_after) = (seconds(validity.not_before), seconds(validity.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    Ok(())
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
