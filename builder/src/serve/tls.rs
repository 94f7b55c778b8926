//! The server's certificates: an authority of its own, which reports trust because their configs contain it,
//! and a certificate for each address at which it is reached.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::journal::{create, make_folder};
use crate::determinism::present;
use crate::error::{Error, ErrorKind, IoContext, Result};

const DAY: Duration = Duration::from_secs(86_400);

/// How long certificates are valid.
const DAYS: u32 = 3650;

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

/// For errors.
const SERVER: &str = "making the server's certificate";

/// The authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate as PEM.
    pub pem: Arc<str>,
    /// The name in the server's URL; it is in each certificate.
    host: Option<String>,
    /// For each local address.
    servers: Mutex<HashMap<IpAddr, Arc<ServerConfig>>>,
}

impl Authority {
    /// The authority that the folder `state` has, or a new one.
    pub fn open(state: Option<&Path>, host: Option<String>) -> Result<Self> {
        let (certificate, key) = match state {
            Some(folder) => kept(folder)?,
            None => new()?,
        };
        let key = KeyPair::from_pem(&key).map_err(|error| wrong("reading the authority's key", &error))?;
        let certificate = checked(&certificate, &key).map_err(|why| wrong(CERTIFICATE, &why))?;
        let issuer = Issuer::new(params(), key);
        Ok(Self { issuer, pem: certificate.into(), host, servers: Mutex::default() })
    }

    /// The TLS side of connections to `address` of this machine.
    pub fn server(&self, address: IpAddr) -> Result<Arc<ServerConfig>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(&address) {
            return Ok(server.clone());
        }
        let (chain, key) = self.certify(address)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| wrong(SERVER, &error))?;
        let server = Arc::new(server);
        servers.insert(address, server.clone());
        Ok(server)
    }

    /// A certificate for `address` and the server's name, and its key.
    fn certify(&self, address: IpAddr) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate().map_err(|error| wrong(SERVER, &error))?;
        let names: Vec<String> = std::iter::once(address.to_string()).chain(self.host.clone()).collect();
        let mut params = CertificateParams::new(names).map_err(|error| wrong(SERVER, &error))?;
        params.distinguished_name.push(DnType::CommonName, "kiln serve");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        limit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| wrong(SERVER, &error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![certificate.der().clone()], key))
    }
}

/// The one certificate in a PEM text, without what stands around it: it goes into each config, and reports
/// reach the server only if it belongs to the key.
fn checked<'a>(text: &'a str, key: &KeyPair) -> Result<&'a str, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("it is no certificate: {error}"))?;
    let [der] = &*found else { return Err(format!("it has {} certificates instead of one", found.len())) };
    let certificate = Certificate::from_der(der).map_err(|error| format!("it is no certificate: {error}"))?;
    let public = &certificate.tbs_certificate.subject_public_key_info.subject_public_key;
    if public.raw_bytes() != key.public_key_raw() {
        return Err(format!("it is not the certificate of {KEY}"));
    }
    let one = text
        .find(BEGIN)
        .zip(text.find(END))
        .and_then(|(begin, end)| text.get(begin..end + END.len()));
    one.ok_or_else(|| "it is no PEM".to_owned())
}

/// The certificate and the key of the folder; made if they are missing.
fn kept(folder: &Path) -> Result<(String, String)> {
    make_folder(folder)?;
    let [certificate, key] = [CERTIFICATE, KEY].map(|name| folder.join(name));
    if !key.exists() {
        let (new_certificate, new_key) = new()?;
        // The key last: with it the two are complete.
        write(&certificate, &new_certificate, 0o644)?;
        write(&key, &new_key, 0o600)?;
    }
    let read = |path: &Path| fs::read_to_string(path).at("reading", path);
    Ok((read(&certificate)?, read(&key)?))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let new = path.with_extension("new");
    let mut file = create(&new, mode)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).at("writing", &new)?;
    fs::rename(&new, path).at("renaming", &new)
}

fn new() -> Result<(String, String)> {
    let key = KeyPair::generate().map_err(|error| wrong("making the authority's key", &error))?;
    let certificate = params()
        .self_signed(&key)
        .map_err(|error| wrong("making the authority's certificate", &error))?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// The authority as its certificate describes it. OpenSSL takes a certificate for its own issuer that has the
/// same name.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kiln serve CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    limit(&mut params);
    params
}

/// Clocks of machines at their first boot are often wrong: it has begun a day ago.
fn limit(params: &mut CertificateParams) {
    let now = UNIX_EPOCH + Duration::from_secs(present());
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + DAY * DAYS).into());
}

fn wrong(doing: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("{doing}: {error}")).help(
        "if it is in the folder of --state, restore ca.pem and ca.key together, or move both away: a new \
             authority is made then, and machines that have their config cannot report",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_kept_and_no_server_looks_like_its_own_issuer() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Authority::open(Some(folder.path()), Some("boot.example".to_owned())).unwrap();
        let (first, second) = (open(), open());
        assert_eq!(first.pem, second.pem);
        let der = CertificateDer::from_pem_slice(first.pem.as_bytes()).unwrap();
        let authority = Certificate::from_der(&der).unwrap().tbs_certificate;
        let chain = second.certify(IpAddr::from([10, 0, 0, 1])).unwrap().0;
        let server = Certificate::from_der(&chain[0]).unwrap().tbs_certificate;
        assert_eq!(server.issuer, authority.subject);
        assert_ne!(server.subject, authority.subject);
        assert!(Authority::open(None, None).unwrap().pem != first.pem);
    }

    #[test]
    fn a_certificate_that_is_not_the_keys_is_refused_before_it_is_in_a_config() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Authority::open(Some(folder.path()), None);
        let own = open().unwrap().pem;
        let other = new().unwrap().0;
        let broken = own.replace("MII", "MIJ");
        for (text, why) in [
            ("garbage", "0 certificates"),
            ("", "0 certificates"),
            (&*broken, "no certificate"),
            (&*other, "not the certificate of ca.key"),
            (&*format!("{own}\n{other}"), "2 certificates"),
        ] {
            fs::write(folder.path().join(CERTIFICATE), text).unwrap();
            let error = open().map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(error.hint().unwrap().contains("--state"));
        }
        fs::write(folder.path().join(CERTIFICATE), format!("my: notes\n{own}\nmore\n")).unwrap();
        assert_eq!(open().unwrap().pem, own);
    }
}
