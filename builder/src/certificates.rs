//! Certificates that a definition or a layer brings.

use std::fmt::Display;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::der::Decode;

/// How many certificates the PEM text has (RFC 7468).
///
/// # Errors
/// What is wrong with the first one that is broken.
pub fn count(pem: &[u8]) -> Result<usize, String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        count += 1;
        let broken = |error: &dyn Display| format!("certificate {count} is broken: {error}");
        let certificate = certificate.map_err(|error| broken(&error))?;
        x509_cert::Certificate::from_der(&certificate).map_err(|error| broken(&error))?;
    }
    Ok(count)
}
