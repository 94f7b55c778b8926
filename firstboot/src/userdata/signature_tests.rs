use super::*;

/// Output of the program minisign, with a key that is used only here.
const KEY: &str = "RWQFQZjdpXeedGYW2sULdrLFoj+uzx1LnNci8wxwTna0pIXbiQ8XEvCW";
const OTHER_KEY: &str = "RWSX2BrGaJFTXIuGkaKaZDmJHCvWGxjiry2TYd7VKXfVKl75YB2jl5Xn";
const SIGNED: &[u8] = b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQFQZjdpXeedLH5Loree845tyjYdKlpgilCrrjrOJqY6BxejJYTcIHal8SK/7VVA5aPT3vlj/L6qV8qJmfJcS2bCRYeFOrGhQM=
trusted comment: kiln test
VsmQJkv2DlxAlxgBQElb/mtGfuBBEtP5seACvTNP/S/M2444Dbnz729eskVwNX4I7Qr9B9JbY5cZLgQ+Y+gkAg==
";
/// Over the same bytes, by `minisign -S -l`.
const OLD: &str = "untrusted comment: signature from minisign secret key
RWQFQZjdpXeedK31wVIyrSVczneir1bAFWUfspxHW5fTubYVzFZzksSCKB6NNDTe2FBl7d5NOCptnfXDoxN/kNr+o1lQoWSECw4=
trusted comment: timestamp:1795534573	file:c.yaml
9Q4p9rXSgNp1JzCwe5u6cYKOANUFx9uqGhj9C99vQIh+V8VFVIWPOyUjFsH0JFGd00ghlkpAfHd7OIoaHfgXBw==
";

fn keys(texts: &[&str]) -> Vec<PublicKey> {
    texts.iter().map(|text| PublicKey::parse(text).unwrap()).collect()
}

#[test]
fn keys_are_read() {
    let file = format!("untrusted comment: minisign public key 749E77A5DD984105\r\n{KEY}\r\n");
    for text in [KEY, &format!(" {KEY}\n"), &file] {
        let key = PublicKey::parse(text).unwrap();
        assert_eq!(
            (key.id(), format!("{key:?}").as_str()),
            ("749E77A5DD984105", "PublicKey(749E77A5DD984105)")
        );
    }
    assert_ne!(keys(&[KEY]), keys(&[OTHER_KEY]));
    for text in [
        "",
        "RWQ",
        "untrusted comment: x",
        &KEY[2..],
        &format!("{KEY}\n{OTHER_KEY}"),
        &KEY.replace("RWQ", "RUX"),
    ] {
        assert_eq!(PublicKey::parse(text).unwrap_err(), contract::public_key::NotAKey, "{text}");
    }
}

#[test]
fn only_content_signed_by_a_known_key_is_accepted() {
    let without_break = &SIGNED[..SIGNED.len() - 1];
    let forged_comment = SIGNATURE.replace("kiln test", "kiln tess");
    for (trusted, readings, signature, expected) in [
        (&[KEY][..], &[SIGNED][..], SIGNATURE, Some("749E77A5DD984105")),
        (&[OTHER_KEY, KEY], &[SIGNED], SIGNATURE, Some("749E77A5DD984105")),
        (&[KEY], &[without_break, SIGNED], SIGNATURE, Some("749E77A5DD984105")),
        (&[KEY], &[SIGNED], &SIGNATURE.replace('\n', "\r\n"), Some("749E77A5DD984105")),
        (&[KEY], &[without_break], SIGNATURE, None),
        (&[OTHER_KEY], &[SIGNED], SIGNATURE, None),
        (&[], &[SIGNED], SIGNATURE, None),
        (&[KEY], &[], SIGNATURE, None),
        (&[KEY], &[SIGNED], &forged_comment, None),
        (&[KEY], &[SIGNED], OLD, None),
    ] {
        let keys = keys(trusted);
        let found = verify(&keys, readings, signature);
        assert_eq!(found.as_ref().ok().copied(), expected, "{trusted:?} {signature}");
        assert!(found.err().is_none_or(|failure| failure.kind == ErrorKind::Untrusted));
    }
    for text in
        ["", "canary", &SIGNATURE[..SIGNATURE.len() - 5], &SIGNATURE.replace("trusted comment: k", "k")]
    {
        let failure = verify(&keys(&[KEY]), &[SIGNED], text).unwrap_err();
        assert!(failure.kind == ErrorKind::Config && !failure.message.contains("canary"), "{failure}");
    }
    assert!(unsigned(&keys(&[KEY])).help.unwrap().contains("749E77A5DD984105"));
}
