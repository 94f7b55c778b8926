//! guestinfo of a host that is played: no VMware is at hand here.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::host::vmware::tests::PlayedHost;

fn packed(text: &str) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    STANDARD.encode(encoder.finish().unwrap())
}

fn environment(user_data: &str) -> String {
    format!(
        "<Environment xmlns:oe=\"http://schemas.dmtf.org/ovf/environment/1\"><PropertySection><Property oe:key=\"user-data\" \
         oe:value=\"{}\"/><Property oe:key=\"hostname\" oe:value=\"ovf\"/></PropertySection></Environment>",
        STANDARD.encode(user_data)
    )
}

fn read_from(host: &mut PlayedHost) -> Result<(PlatformData, Vec<String>)> {
    let mut notices = Vec::new();
    Ok((guestinfo(host, &mut notices)?, notices))
}

#[test]
fn user_data_of_a_played_host_is_read_in_every_encoding() {
    let (plain, gzip) = (STANDARD.encode("config"), packed("config"));
    for (value, encoding, expected) in [
        ("config", "", &b"config"[..]),
        ("config", "plaintext", b"config"),
        (&plain, "base64", b"config"),
        (&plain, "B64", b"config"),
        (&gzip, "gzip+base64", b"\x1f\x8b"),
        (&gzip, "gz+b64", b"\x1f\x8b"),
    ] {
        for key in USER_DATA {
            let encoding_key = format!("{key}.encoding");
            let mut host = PlayedHost::with(&[(key, value), (&encoding_key, encoding)]);
            let user_data = read_from(&mut host).unwrap().0.user_data.unwrap();
            assert!(user_data.document.bytes().starts_with(expected), "{key} {encoding}");
            assert_eq!(user_data.origin, key);
        }
    }
}

#[test]
fn the_first_key_of_a_played_host_counts() {
    let environment = environment("third");
    let all = [(USER_DATA[0], "first"), (USER_DATA[1], "second"), (ENVIRONMENT, environment.as_str())];
    for (position, expected) in ["first", "second", "third"].iter().enumerate() {
        let (data, _) = read_from(&mut PlayedHost::with(&all[position..])).unwrap();
        assert_eq!(data.user_data.unwrap().document.bytes(), expected.as_bytes());
        assert_eq!(data.facts.text("hostname"), Some("ovf"));
    }
    assert!(read_from(&mut PlayedHost::default()).unwrap().0.user_data.is_none());
}

#[test]
fn metadata_of_a_played_host_becomes_facts() {
    let text = "instance-id: vm-7\nlocal-hostname: n1\n";
    let json = packed(r#"{"instance-id": "vm-7", "local-hostname": "n1", "network": {}}"#);
    for (value, encoding) in [(text, ""), (&STANDARD.encode(text), "base64"), (&json, "gzip+base64")] {
        let mut host = PlayedHost::with(&[
            (METADATA, value),
            ("guestinfo.metadata.encoding", encoding),
            (VENDOR_DATA, "x"),
        ]);
        let (data, notices) = read_from(&mut host).unwrap();
        assert_eq!(
            (data.facts.text("instance-id"), data.facts.text("hostname")),
            (Some("vm-7"), Some("n1")),
            "{encoding}"
        );
        assert_eq!(notices, ["guestinfo.vendordata is there, and is not used"]);
    }
}

#[test]
fn what_is_wrongly_encoded_is_refused_without_repeating_it() {
    let bomb = packed(&" ".repeat(LIMIT + 1));
    for (key, value, encoding) in [
        (USER_DATA[0], "canary!", "base64"),
        (USER_DATA[0], "canary", "canary"),
        (METADATA, "Y2FuYXJ5", "gzip+base64"),
        (METADATA, &bomb, "gz+b64"),
        (ENVIRONMENT, "<canary", ""),
    ] {
        let mut host = PlayedHost::with(&[(key, value), (&format!("{key}.encoding"), encoding)]);
        let failure = read_from(&mut host).unwrap_err();
        assert!(failure.message.contains(key) && !failure.message.contains("canary"), "{failure}");
    }
}

#[test]
fn secrets_of_a_played_host_are_overwritten_once() {
    let environment = environment("canary");
    let mut host = PlayedHost::with(&[
        (USER_DATA[0], "canary"),
        (USER_DATA[1], "canary!"),
        ("guestinfo.ignition.config.data.encoding", "base64"),
        (METADATA, "local-hostname: n1"),
        (ENVIRONMENT, &environment),
    ]);
    let said = overwrite(&mut host).unwrap().unwrap();
    assert_eq!(said, "overwrote guestinfo.userdata, guestinfo.ignition.config.data, guestinfo.ovfenv");
    assert!(
        host.keys
            .values()
            .all(|value| !value.windows(6).any(|window| window == b"canary" || window == b"Y2FuYX"))
    );
    assert_eq!(host.keys[METADATA], b"local-hostname: n1");
    let (data, _) = read_from(&mut host).unwrap();
    assert!(data.user_data.is_none(), "what was overwritten is no config");
    assert_eq!(overwrite(&mut host).unwrap(), None);
    host.keys.insert(USER_DATA[0].to_owned(), b"canary".to_vec());
    host.refuses_to_set = true;
    assert!(overwrite(&mut host).is_err());
}

#[test]
fn nothing_is_left_of_user_data_in_any_encoding() {
    let secret = "token: canary.c4nar1c4nar2c4na\n";
    for (value, encoding) in [
        (secret.to_owned(), ""),
        (STANDARD.encode(secret), "b64"),
        (packed(secret), "gz+b64"),
        (packed(secret), "wrong"),
    ] {
        for key in USER_DATA.into_iter().chain([VENDOR_DATA]) {
            let mut host = PlayedHost::with(&[(key, &value), (&format!("{key}.encoding"), encoding)]);
            assert_eq!(overwrite(&mut host).unwrap(), Some(format!("overwrote {key}")), "{encoding}");
            assert!(
                host.keys
                    .values()
                    .all(|left| !left.windows(8).any(|part| value.as_bytes().starts_with(part))),
                "{key} {encoding}"
            );
            assert!(decoded(&mut host, key).unwrap().is_none(), "{key} {encoding}");
        }
    }
}

#[test]
fn the_uuid_of_vcenter_is_in_the_serial() {
    for (serial, expected) in [
        (
            "VMware-42 1c 5f 2a 8e 0b 33 c4-9d 00 11 22 33 44 55 6F",
            Some("421c5f2a-8e0b-33c4-9d00-11223344556f"),
        ),
        ("VMware-42 1c", None),
        ("421c5f2a8e0b33c49d0011223344556f", None),
        ("VMware-äöüäöüäöüäöüäöüä", None),
    ] {
        assert_eq!(uuid_of_serial(serial).as_deref(), expected, "{serial}");
    }
}
