//! Certificates that say what a test wants them to say, signed by the cluster's own CA or by a stranger's.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::control_plane::ControlPlane;
use crate::workspace;

/// A certificate with its key, as a server shows it.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// What a server needs that shows it.
    pub fn into_server_config(self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS needs");
        let config = builder.with_no_client_auth().with_single_cert(vec![self.certificate], self.key);
        Arc::new(config.expect("key and certificate belong together"))
    }
}

/// When a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Since long, for long.
    Now,
    /// It ended a day ago: as a clock that is a day fast sees one that ends now.
    EndedYesterday,
    /// It begins in a day: as a clock that is a day slow sees one that began now.
    BeginsTomorrow,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate as PEM.
    pub pem: String,
}

impl Authority {
    /// The cluster's own.
    pub fn of(control_plane: &ControlPlane) -> Self {
        let key = control_plane.folder().join("kubernetes/pki/ca.key");
        let pem = workspace::output(
            "openssl",
            ["pkcs8".as_ref(), "-topk8".as_ref(), "-nocrypt".as_ref(), "-in".as_ref(), key.as_os_str()],
        );
        Self {
            issuer: Issuer::new(parameters(), KeyPair::from_pem(&pem).expect("openssl writes keys")),
            pem: control_plane.ca(),
        }
    }

    /// A stranger's that bears the same name.
    pub fn stranger() -> Self {
        let key = KeyPair::generate().expect("keys can be made");
        let pem = parameters().self_signed(&key).expect("certificates can be made").pem();
        Self { issuer: Issuer::new(parameters(), key), pem }
    }

    /// A server's certificate for `names` (DNS names and addresses).
    pub fn server(&self, names: &[&str], validity: Validity) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names of a test are names");
        set_validity(&mut parameters, validity);
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("certificates can be made");
        Identity {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }
}

/// kubeadm's CA: the name's form counts, byte for byte.
fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let name = "kubernetes".try_into().expect("printable");
    parameters.distinguished_name.push(DnType::CommonName, DnValue::PrintableString(name));
    parameters
}

fn set_validity(parameters: &mut CertificateParams, validity: Validity) {
    // The begin of a day in UTC, counted from today.
    let day = |days: i32| {
        let text = workspace::output("date", ["--utc", &format!("--date={days} days"), "+%Y %-m %-d"]);
        let numbers: Vec<u16> =
            text.split_whitespace().map(|word| word.parse().expect("date prints numbers")).collect();
        date_time_ymd(i32::from(numbers[0]), numbers[1] as u8, numbers[2] as u8)
    };
    let (from, until) = match validity {
        Validity::Now => (-30, 365),
        Validity::EndedYesterday => (-30, -1),
        Validity::BeginsTomorrow => (2, 365),
    };
    (parameters.not_before, parameters.not_after) = (day(from), day(until));
}
