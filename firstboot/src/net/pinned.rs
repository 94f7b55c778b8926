//! Servers whose key is known: by its own certificate, or by a CA that it sends with it.

use std::sync::Arc;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;

use super::trust::{self, ClientCertificate};
use crate::error::Result;

/// A TLS configuration that trusts the holders of `keys` (lower-case hex SHA-256 of the SubjectPublicKeyInfo).
pub(super) fn verifying(
    keys: &[String],
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>> {
    let verifier = Arc::new(Pinned { keys: keys.to_vec(), provider: trust::provider() });
    trust::with_client(trust::builder()?.dangerous().with_custom_certificate_verifier(verifier), certificate)
}

#[derive(Debug)]
struct Pinned {
    keys: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) else { return false };
        let key = digest::digest(&digest::SHA256, &webpki::spki_for_anchor(&anchor));
        self.keys.contains(&trust::hex(key.as_ref()))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.is_pinned(end_entity) {
            check_validity(end_entity, now)?;
            return verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)
                .map(|()| ServerCertVerified::assertion());
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(
            intermediates.iter().filter(|one| self.is_pinned(one)).map(|one| one.clone().into_owned()),
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

/// A pinned key counts as long as its certificate does.
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
#[path = "pinned_tests.rs"]
mod tests;
