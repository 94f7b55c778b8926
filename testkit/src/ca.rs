//! Certificate authorities of a test, and the certificates that they sign.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

const DAY: u64 = 86_400;

/// A certificate authority with the name of kubeadm's.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: KeyPair,
}

/// The certificate that a server shows, and the one that it asks for.
#[derive(Debug)]
pub struct Identity<'a> {
    /// DNS names and addresses in the server's certificate.
    pub names: &'a [&'a str],
    /// When it is valid, in days from today.
    pub days: Range<i64>,
    /// Clients must show a certificate of the same authority.
    pub wants_client_certificate: bool,
}

impl Default for Identity<'_> {
    fn default() -> Self {
        Self { names: &["127.0.0.1", "localhost", "::1"], days: -1..30, wants_client_certificate: false }
    }
}

impl Ca {
    /// An authority that is valid today.
    #[expect(clippy::new_without_default, reason = "each one is another authority")]
    pub fn new() -> Self {
        Self::valid(-3650..3650)
    }

    /// An authority that is valid for these days from today (negative: in the past).
    pub fn valid(days: Range<i64>) -> Self {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = authority();
        limit(&mut params, days);
        let certificate = params.self_signed(&key).expect("certificates can be made");
        Self {
            issuer: Issuer::new(params, key),
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
        }
    }

    /// An authority that exists already: its certificate and its key (PKCS #8), both as PEM.
    pub fn existing(certificate: &str, key: &str) -> Self {
        use rustls::pki_types::pem::PemObject;
        Self {
            issuer: Issuer::new(authority(), KeyPair::from_pem(key).expect("a key in PKCS #8")),
            certificate: CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate"),
            pem: certificate.to_owned(),
        }
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    /// Its certificate as DER.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A certificate for `names` that is valid for these days from today (negative: in the past).
    pub fn sign(&self, names: &[&str], days: Range<i64>) -> Pair {
        let key = KeyPair::generate().expect("keys can be made");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names of a test are names");
        limit(&mut params, days);
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificates can be made");
        Pair { certificate: certificate.der().clone(), key }
    }

    /// A client's certificate for an existing key, as PEM.
    pub fn certify(&self, key: &KeyPair) -> String {
        let params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.signed_by(key, &self.issuer).expect("certificates can be made").pem()
    }

    /// The client certificate that a cluster issues to a node, as PEM.
    pub fn certify_node(&self, key: &KeyPair, node: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(key, &self.issuer).expect("certificates can be made").pem()
    }

    /// The TLS side of a server with this identity. It prefers HTTP/2, so that a client that offers it and
    /// speaks only HTTP/1.1 fails.
    pub fn server_config(&self, identity: &Identity<'_>) -> Arc<ServerConfig> {
        let trusted = identity.wants_client_certificate.then_some(self);
        let mut config = config(self.sign(identity.names, identity.days.clone()), trusted);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Pair {
    /// The TLS side of a server that shows this certificate and negotiates no protocol.
    pub fn server_config(self) -> Arc<ServerConfig> {
        Arc::new(config(self, None))
    }
}

fn config(own: Pair, clients: Option<&Ca>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS needs");
    let builder = match clients {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.certificate()).expect("an authority's certificate");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key.serialize_der()));
    builder
        .with_single_cert(vec![own.certificate], key)
        .expect("key and certificate belong together")
}

/// Like kubeadm's CA. The kind of string in the name counts: names are compared byte for byte.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = "kubernetes".try_into().expect("printable");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::PrintableString(name));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(vec![0].into());
    params
}

fn limit(params: &mut CertificateParams, days: Range<i64>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let day = |offset: i64| {
        let seconds = now.checked_add_signed(offset * DAY as i64).expect("a day of a test");
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (day(days.start), day(days.end));
}
