use std::os::unix::fs::MetadataExt;

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer};
use x509_cert::request::CertReq;

use super::*;

const VECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/kubelet-csr.pem");

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // kubeadm's CAs before 1.28 have this serial number.
    params.serial_number = Some(0.into());
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

fn from_unix(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2026-11-24 11:27:05 UTC
const NOW: u64 = 1_795_519_625;

fn issue(authority: &Authority, key: &PrivateKey, node_name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, NODES);
    params.distinguished_name.push(DnType::CommonName, format!("{NODE}{node_name}"));
    params.not_before = (from_unix(NOW) - Duration::from_secs(300)).into();
    params.not_after = (from_unix(NOW) + Duration::from_secs(3600)).into();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.signed_by(&key.pair, &authority.issuer).unwrap().pem()
}

fn der(pem: &str) -> Vec<u8> {
    let (label, der) = x509_cert::der::pem::decode_vec(pem.as_bytes()).unwrap();
    assert_eq!(label, "CERTIFICATE REQUEST");
    der
}

/// Except for key and signature, the request has the same bytes as the one that a kubelet 1.20.2 sent.
#[test]
fn asks_as_a_kubelet_does() {
    let key = PrivateKey::generate().unwrap();
    let ours = der(&key.certificate_request("w1").unwrap());
    let theirs = der(&std::fs::read_to_string(VECTOR).unwrap());
    let (own, kubelet) = (CertReq::from_der(&ours).unwrap(), CertReq::from_der(&theirs).unwrap());
    assert_eq!(own.info.subject.to_der().unwrap(), kubelet.info.subject.to_der().unwrap());
    assert_eq!((own.info.version, own.info.attributes.len()), (kubelet.info.version, 0));
    assert_eq!(own.info.public_key.algorithm, kubelet.info.public_key.algorithm);
    assert_eq!(own.algorithm, kubelet.algorithm);
    assert_eq!(own.info.public_key.to_der().unwrap(), key.public_key());
    // The header of the request's inner part, and the empty attributes behind the key.
    let info = |request: &CertReq| request.info.to_der().unwrap();
    let (own, kubelet) = (info(&own), info(&kubelet));
    assert_eq!(
        (own.len(), &own[..82], &own[own.len() - 2..]),
        (kubelet.len(), &kubelet[..82], &kubelet[kubelet.len() - 2..])
    );
    assert_eq!(key.certificate_request("w\u{e9}").unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn the_key_lies_on_the_disk_before_anyone_sees_its_request_and_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    let first = PrivateKey::kept(&root).unwrap();
    assert_eq!(std::fs::metadata(root.path(KEY)).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(root.path(FOLDER)).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::metadata(root.path(paths::KUBELET)).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(PrivateKey::kept(&root).unwrap().public_key(), first.public_key());
    assert_eq!(format!("{first:?}"), "PrivateKey(…)");

    std::fs::write(root.path(KEY), &first.pem.reveal()[..80]).unwrap();
    let fresh = PrivateKey::kept(&root).unwrap();
    assert_ne!(fresh.public_key(), first.public_key(), "a key cut short is replaced");
    assert_eq!(PrivateKey::kept(&root).unwrap().public_key(), fresh.public_key());
}

#[test]
fn stores_what_the_kubelet_will_find() {
    let folder = tempfile::tempdir().unwrap();
    let (root, authority) = (Root::at(folder.path()), authority());
    let key = PrivateKey::kept(&root).unwrap();
    assert!(ClientCertificate::read(&root).unwrap().is_none());
    let chain = issue(&authority, &key, "w1");
    let path = store(&root, &chain, &key).unwrap();
    assert_eq!(store(&root, &chain, &key).unwrap(), path, "a second run writes the same file");

    assert_eq!(path, Path::new("/var/lib/kubelet/pki/kubelet-client-2026-11-24-11-22-05.pem"));
    assert_eq!(std::fs::read_link(root.entry(CURRENT)).unwrap(), path);
    assert_eq!(std::fs::metadata(root.path(&path)).unwrap().mode() & 0o7777, 0o600);
    assert!(!root.path(KEY).exists(), "the key lies beside its certificate, and nowhere else");
    assert_eq!(std::fs::read_to_string(root.path(&path)).unwrap(), format!("{chain}{}", key.pem.reveal()));
    let found = ClientCertificate::read(&root).unwrap().unwrap();
    assert_eq!(found.node_name.as_deref(), Some("w1"));
    assert_eq!(found.usable("w1", from_unix(NOW), &authority.pem), Ok(()));
    assert!(!format!("{found:?}").contains(&key.pem.reveal()[40..60]));
    assert_eq!(found.credentials().0.len(), 1);
}

#[test]
fn an_identity_is_good_for_one_node_one_time_and_one_cluster() {
    let (authority, other) = (authority(), authority());
    let key = PrivateKey::generate().unwrap();
    let chain = issue(&authority, &key, "w1");
    let good = ClientCertificate::from_pem(format!("{chain}{}", key.pem.reveal()).as_bytes()).unwrap();
    let table = [
        ("w1", NOW, &authority, Ok(())),
        ("w2", NOW, &authority, Err(Unusable::OtherNode)),
        ("w1", NOW - 301, &authority, Err(Unusable::NotYetValid)),
        ("w1", NOW + 3601, &authority, Err(Unusable::Expired)),
        ("w1", NOW, &other, Err(Unusable::OtherCluster)),
    ];
    for (name, now, authority, expected) in table {
        assert_eq!(good.usable(name, from_unix(now), &authority.pem), expected);
    }
    let both = format!("{}{}", other.pem, authority.pem);
    assert_eq!(good.usable("w1", from_unix(NOW), &both), Ok(()), "any CA of the bundle");

    let stranger = PrivateKey::generate().unwrap();
    let mixed = ClientCertificate::from_pem(format!("{chain}{}", stranger.pem.reveal()).as_bytes()).unwrap();
    assert_eq!(mixed.usable("w1", from_unix(NOW), &authority.pem), Err(Unusable::OtherKey));
}

#[test]
fn a_certificate_that_is_no_nodes_has_no_node_name() {
    let authority = authority();
    let key = PrivateKey::generate().unwrap();
    let pem = format!("{}{}", authority.pem, key.pem.reveal());
    assert_eq!(ClientCertificate::from_pem(pem.as_bytes()).unwrap().node_name, None);
}

/// The kubelet's rotation writes the key as SEC 1 (RFC 5915), with the name of the curve.
#[test]
fn reads_what_a_kubelet_rotated_to() {
    let (authority, key) = (authority(), PrivateKey::generate().unwrap());
    let pkcs8 = key.pair.serialized_der();
    let secret = pkcs8.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap();
    let mut sec1 = vec![0x30, 0x77];
    sec1.extend_from_slice(&pkcs8[secret..secret + 5 + 32]);
    sec1.extend_from_slice(&[
        0xa0, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 0xa1, 0x44, 3, 0x42, 0,
    ]);
    sec1.extend_from_slice(key.pair.public_key_raw());
    let sec1 =
        x509_cert::der::pem::encode_string("EC PRIVATE KEY", x509_cert::der::pem::LineEnding::LF, &sec1)
            .unwrap();
    let found =
        ClientCertificate::from_pem(format!("{}{sec1}", issue(&authority, &key, "w1")).as_bytes()).unwrap();
    assert_eq!(found.usable("w1", from_unix(NOW), &authority.pem), Ok(()));
}

#[test]
fn what_is_no_certificate_is_refused_without_showing_it() {
    let key = PrivateKey::generate().unwrap();
    let own = key.pem.reveal();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", own, garbage, "-----BEGIN CERTIFICATE-----\n", &format!("{garbage}{own}")] {
        let failure = ClientCertificate::from_pem(pem.as_bytes()).unwrap_err();
        assert!(
            failure.message.starts_with("the client certificate is wrong")
                && !failure.message.contains(&own[40..60]),
            "{failure}"
        );
    }
}
