use super::super::test_server::{Ca, Pair};
use super::*;

fn key_of(certificate: &CertificateDer<'_>) -> String {
    let anchor = webpki::anchor_from_trusted_cert(certificate).unwrap();
    hex(digest::digest(&digest::SHA256, &webpki::spki_for_anchor(&anchor)).as_ref())
}

fn verify(
    keys: &[String],
    chain: &[&CertificateDer<'static>],
    name: &str,
) -> std::result::Result<(), rustls::Error> {
    let pinned = Verifier { accepts: Accepts::Keys(keys.to_vec()), provider: provider() };
    let rest: Vec<_> = chain[1..].iter().map(|one| (*one).clone()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    pinned.verify_server_cert(chain[0], &rest, &name, &[], UnixTime::now()).map(drop)
}

#[test]
fn a_key_of_the_server_or_of_a_ca_that_it_sends_is_enough_and_nothing_else() {
    let (ca, other) = (Ca::new(), Ca::new());
    let Pair { certificate: own, .. } = ca.sign(&["a.example"], -1..30);
    let Pair { certificate: old, .. } = ca.sign(&["a.example"], -9..-1);
    let Pair { certificate: early, .. } = ca.sign(&["a.example"], 2..9);
    let (ca_der, other_der) = (ca.certificate(), other.certificate());
    let (ca_key, own_key, other_key) = (key_of(&ca_der), key_of(&own), key_of(&other_der));
    for (keys, chain, name, good) in [
        (vec![own_key.clone()], vec![&own], "a.example", true),
        (vec![other_key.clone(), own_key.clone()], vec![&own], "a.example", true),
        (vec![own_key.clone()], vec![&own], "b.example", false),
        (vec![ca_key.clone()], vec![&own, &ca_der], "a.example", true),
        (vec![ca_key.clone()], vec![&own, &ca_der], "b.example", false),
        // The CA is pinned and was sent, but did not sign the certificate.
        (vec![other_key.clone()], vec![&own, &other_der], "a.example", false),
        (vec![ca_key.clone()], vec![&own], "a.example", false),
        (vec![key_of(&old)], vec![&old], "a.example", false),
        (vec![key_of(&early)], vec![&early], "a.example", false),
        (vec![ca_key.clone()], vec![&old, &ca_der], "a.example", false),
        (Vec::new(), vec![&own, &ca_der], "a.example", false),
    ] {
        let ended = verify(&keys, &chain, name);
        assert_eq!(ended.is_ok(), good, "{keys:?} {name}: {ended:?}");
    }
}
