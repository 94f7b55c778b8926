//! The kubelet's client certificate, if the agent requests it: key, request, files, and whether existing
//! files are still valid.
//!
//! The files lie in the kubelet's own folder, `/var/lib/kubelet/pki`, because the kubelet rotates them there.
//! To rotate, it needs the symbolic link.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::{DateTime, Decode, Encode};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;
use crate::secret::Secret;

/// The kubelet's folder of certificates.
pub const FOLDER: &str = paths::KUBELET_PKI;
/// The link to the certificate in use, named in kubelet.conf.
pub const CURRENT: &str = paths::KUBELET_CURRENT;
/// The key until the certificate is issued. A run after a kill requests the certificate with the same key.
pub const KEY: &str = paths::CLIENT_KEY;

/// Limit on a PEM file, in bytes.
const LONGEST: u64 = 256 << 10;
/// The group of all nodes.
const NODES: &str = "system:nodes";
/// The prefix of a node's name in a common name.
const NODE: &str = "system:node:";

/// A P-256 key. It is never shown, and its memory is overwritten when it is dropped.
pub struct PrivateKey {
    pair: KeyPair,
    pem: Secret,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(…)")
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

impl PrivateKey {
    /// Generates a key.
    pub fn generate() -> Result<Self> {
        let pair = KeyPair::generate()
            .map_err(|error| Failure::new(ErrorKind::Internal, format!("making a private key: {error}")))?;
        let pem = Secret::new(pair.serialize_pem());
        Ok(Self { pair, pem })
    }

    /// The key of an earlier run, or a new one, which is on the disk when this returns.
    pub fn kept(root: &Root) -> Result<Self> {
        if let Some(key) = files::read(&root.path(KEY), LONGEST)?
            .map(Zeroizing::new)
            .and_then(|pem| Self::from_pem(&pem))
        {
            return Ok(key);
        }
        let key = Self::generate()?;
        // The mode that kubeadm uses, if the image has no such folder.
        files::make_folder(&root.path(paths::KUBELET), 0o700)?;
        files::write(&root.entry(KEY), key.pem.reveal().as_bytes(), files::PRIVATE)?;
        Ok(key)
    }

    /// None for a damaged key: a kill cut the file short, and no certificate exists for it.
    fn from_pem(pem: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(pem).ok()?;
        let pair = KeyPair::from_pem(text).ok()?;
        Some(Self { pair, pem: Secret::new(text.to_owned()) })
    }

    /// The public key as DER (SubjectPublicKeyInfo).
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The request (PKCS #10, PEM) as a kubelet makes it: organization, then common name, and nothing else
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers>).
    pub fn certificate_request(&self, node_name: &str) -> Result<String> {
        let wrong = |error: rcgen::Error| {
            Failure::new(
                ErrorKind::Config,
                format!("making a certificate request for the node name: {error}"),
            )
        };
        let printable = |text: &str| text.try_into().map(DnValue::PrintableString).map_err(wrong);
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, printable(NODES)?);
        subject.push(DnType::CommonName, printable(&format!("{NODE}{node_name}"))?);
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.serialize_request(&self.pair).and_then(|request| request.pem()).map_err(wrong)
    }
}

/// Writes the issued chain and the key to a new file, then points the link to it, and only then removes the
/// kept key. After an interruption, the next run therefore uses the same key and writes the same file,
/// because the file is named after the start of the certificate's validity. Returns the path of the file.
pub fn store(root: &Root, chain: &str, key: &PrivateKey) -> Result<PathBuf> {
    let newline = if chain.ends_with('\n') { "" } else { "\n" };
    let pem = Zeroizing::new(format!("{chain}{newline}{}", key.pem.reveal()));
    let certificate = ClientCertificate::from_pem(pem.as_bytes())?;
    let path = Path::new(FOLDER).join(format!("kubelet-client-{}.pem", stamp(certificate.not_before)?));
    files::write(&root.entry(&path), pem.as_bytes(), files::PRIVATE)?;
    files::link(&root.entry(CURRENT), &path)?;
    files::remove(&root.entry(KEY))?;
    Ok(path)
}

/// `2026-11-24-11-27-05`, in UTC.
fn stamp(now: SystemTime) -> Result<String> {
    let wrong = |_| Failure::new(ErrorKind::Clock, "the certificate begins at no date that a name can bear");
    let date = DateTime::from_system_time(now).map_err(wrong)?;
    let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
    Ok(format!("{:04}-{:02}-{:02}-{hour:02}-{minute:02}-{second:02}", date.year(), date.month(), date.day()))
}

/// The client certificate and key in `kubelet-client-current.pem`.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The node that it is for; none if it is not for a node.
    pub node_name: Option<String>,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
    /// Whether the key in the file belongs to the certificate.
    pub key_matches: bool,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why a client certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It is for another node, or for none.
    OtherNode,
    /// The key in the file belongs to another certificate.
    OtherKey,
    /// Not valid yet: the clock may be wrong.
    NotYetValid,
    /// Expired.
    Expired,
    /// No CA of this cluster signed it as a client certificate.
    OtherCluster,
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OtherNode => "it is not for this node",
            Self::OtherKey => "the key beside it is not its own",
            Self::NotYetValid => "it is not valid yet",
            Self::Expired => "it is no longer valid",
            Self::OtherCluster => "no CA of this cluster signed it",
        })
    }
}

impl ClientCertificate {
    /// Reads the file that the link points to, if there is one.
    pub fn read(root: &Root) -> Result<Option<Self>> {
        // The target is absolute, so below another root it must be resolved there.
        let target = std::fs::read_link(root.entry(CURRENT))
            .map_or_else(|_| PathBuf::from(CURRENT), |target| Path::new(FOLDER).join(target));
        let pem = files::read(&root.path(&target), LONGEST)?.map(Zeroizing::new);
        pem.map(|pem| {
            Self::from_pem(&pem).map_err(|failure| failure.doing(format!("reading {}", target.display())))
        })
        .transpose()
    }

    /// Reads a certificate chain and a private key in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let wrong =
            |what: &str| Failure::new(ErrorKind::Host, format!("the client certificate is wrong: {what}"));
        let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|_| wrong("no PEM"))?;
        let leaf = chain.first().ok_or_else(|| wrong("there is no certificate"))?;
        let parsed = x509_cert::Certificate::from_der(leaf)
            .map_err(|error| wrong(&error.to_string()))?
            .tbs_certificate;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong("there is no private key"))?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|_| wrong("the private key cannot be read"))?;
        let public = parsed.subject_public_key_info.to_der().unwrap_or_default();
        Ok(Self {
            node_name: node_name(&parsed.subject),
            not_before: parsed.validity.not_before.to_system_time(),
            not_after: parsed.validity.not_after.to_system_time(),
            key_matches: signer.public_key().is_some_and(|own| own.as_ref() == public),
            chain,
            key,
        })
    }

    /// Whether this node can use it now, in the cluster with these CA certificates.
    pub fn usable(
        &self,
        node_name: &str,
        now: SystemTime,
        ca_pem: &str,
    ) -> std::result::Result<(), Unusable> {
        if self.node_name.as_deref() != Some(node_name) {
            return Err(Unusable::OtherNode);
        }
        if !self.key_matches {
            return Err(Unusable::OtherKey);
        }
        if now < self.not_before {
            return Err(Unusable::NotYetValid);
        }
        if now > self.not_after {
            return Err(Unusable::Expired);
        }
        if self.is_signed_by(ca_pem, now) { Ok(()) } else { Err(Unusable::OtherCluster) }
    }

    fn is_signed_by(&self, ca_pem: &str, now: SystemTime) -> bool {
        let authorities: Vec<_> = CertificateDer::pem_slice_iter(ca_pem.as_bytes())
            .filter_map(std::result::Result::ok)
            .collect();
        let anchors: Vec<_> = authorities
            .iter()
            .filter_map(|authority| anchor_from_trusted_cert(authority).ok())
            .collect();
        let Some((leaf, between)) = self.chain.split_first() else { return false };
        let Ok(leaf) = EndEntityCert::try_from(leaf) else { return false };
        let time =
            UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            between,
            time,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
    }

    /// The chain and key for a TLS client.
    pub fn credentials(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }
}

impl Drop for ClientCertificate {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The node in a subject `O=system:nodes, CN=system:node:NAME`.
pub(super) fn node_name(subject: &x509_cert::name::Name) -> Option<String> {
    let values = |oid: &str| -> Vec<String> {
        let attributes = subject
            .0
            .iter()
            .flat_map(|set| set.0.iter())
            .filter(|attribute| attribute.oid.to_string() == oid);
        attributes
            .map(|attribute| String::from_utf8_lossy(attribute.value.value()).into_owned())
            .collect()
    };
    let (organisations, names) = (values("2.5.4.10"), values("2.5.4.3"));
    let name = names.first().filter(|_| names.len() == 1 && organisations == [NODES])?;
    name.strip_prefix(NODE).map(str::to_owned)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
