use super::*;
use crate::host::files;
use crate::instance_data::{Found, Step};

const META: &str = r#"{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": "n1.novalocal", "name": "n1", "admin_pass": "canary",
    "availability_zone": "nova", "project_id": "f7ac731cc11f40efbc03a9f9e1d1d21f", "meta": {"role": "worker", "n": 3, "deep": {}}}"#;
const NETWORK: &str = r#"{"links": [{"id": "a"}], "networks": [{"type": "ipv4_dhcp"}, {"type": "ipv4", "ip_address": "10.0.0.5"},
    {"type": "ipv6", "ip_address": "2001:db8::5/64"}, {"ip_address": "nonsense"}], "services": []}"#;
const EC2: &str = r#"{"instance-id": "i-00000001", "instance-type": "m1.small", "local-ipv4": "10.0.0.5", "public-ipv4": "198.51.100.7",
    "placement": {"availability-zone": "other"}}"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files
        .iter()
        .for_each(|(name, text)| files::write(&folder.path().join(name), text.as_bytes(), 0o644).unwrap());
    folder
}

#[test]
fn only_a_drive_that_names_it_gives_the_provider_id_of_metal3() {
    for (names, expected) in [
        ("ns/host/machine", Some("metal3://ns/host/machine")),
        ("ns//machine", None),
        ("ns/host", None),
        ("metal3://ns/host/machine", None),
    ] {
        let mut facts = Facts::default();
        let document =
            format!("{{\"uuid\": \"u-1\", \"metal3-namespace\": \"ns\", \"providerid\": {names:?}}}");
        meta_data(document.as_bytes(), "drive", &mut facts).unwrap();
        assert_eq!(facts.text("provider-id"), expected, "{names}");
    }
}

#[test]
fn a_link_on_a_drive_reads_nothing_of_the_machine() {
    let drive = folder(&[(META_DATA, META)]);
    std::os::unix::fs::symlink("/etc/passwd", drive.path().join(USER_DATA)).unwrap();
    assert!(read_files(&Root::at(drive.path()), "/dev/sr0").unwrap().user_data.is_none());
}

#[test]
fn a_whole_drive_is_read() {
    let drive = folder(&[
        (META_DATA, META),
        (NETWORK_DATA, NETWORK),
        (EC2_META_DATA, EC2),
        (USER_DATA, "#cloud-config\n"),
    ]);
    let data = read_files(&Root::at(drive.path()), "/dev/sr0").unwrap();
    let names = ["instance-id", "hostname", "name", "zone", "project", "instance-type"];
    let expected = [
        "83679162-1378-4288-a2d4-70e13ec132aa",
        "n1.novalocal",
        "n1",
        "nova",
        "f7ac731cc11f40efbc03a9f9e1d1d21f",
        "m1.small",
    ]
    .map(Some);
    assert_eq!(names.map(|name| data.facts.text(name)), expected);
    let addresses: Vec<String> =
        data.facts.addresses.value().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.5 (private)", "2001:db8::5 (public)", "198.51.100.7 (public)"]);
    let tags = data.facts.tags.value().unwrap();
    assert_eq!(
        tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
        [("n", "3"), ("role", "worker")]
    );
    assert_eq!(data.facts.zone.others()[0].value, "other");
    assert!(!format!("{:?}", data.facts).contains("canary"));
    let user_data = data.user_data.unwrap();
    assert_eq!(
        (user_data.origin.as_str(), user_data.signature),
        ("/dev/sr0: openstack/latest/user_data", None)
    );
}

#[test]
fn what_is_missing_is_missing() {
    let data = read_files(&Root::at(folder(&[]).path()), "/dev/sr0").unwrap();
    assert!(data.user_data.is_none() && data.facts == Facts::default());
    let signed = folder(&[(USER_DATA, "x"), ("openstack/latest/user_data.minisig", "untrusted comment: x")]);
    let user_data = read_files(&Root::at(signed.path()), "/dev/sr0").unwrap().user_data.unwrap();
    assert_eq!(user_data.signature.as_deref(), Some("untrusted comment: x"));
}

#[test]
fn what_is_wrong_is_said_without_repeating_it() {
    for (name, text, expected) in [
        (META_DATA, r#"{"uuid": canary}"#, "no JSON at line 1, column 10"),
        (META_DATA, r#" ["canary"]"#, "no JSON object"),
        (NETWORK_DATA, r#"{"networks": "canary"}"#, "not laid out as expected"),
        (NETWORK_DATA, "", "no JSON"),
        (EC2_META_DATA, r#"{"placement": "canary"}"#, "not laid out as expected"),
    ] {
        let failure = read_files(&Root::at(folder(&[(name, text)]).path()), "/dev/sr0").unwrap_err();
        assert!(
            failure.message.starts_with(&format!("/dev/sr0: {name}: ")) && failure.message.contains(expected),
            "{failure}"
        );
        assert!(failure.kind == ErrorKind::Source && !failure.message.contains("canary"), "{failure}");
    }
}

#[test]
fn addresses_have_the_scope_of_their_range() {
    for (text, expected) in [
        ("10.1.2.3", Scope::Private),
        ("100.64.0.1", Scope::Private),
        ("100.128.0.1", Scope::Public),
        ("8.8.8.8", Scope::Public),
        ("fd00::1", Scope::Private),
        ("fe80::1", Scope::Private),
        ("2001:db8::1", Scope::Public),
    ] {
        assert_eq!(Scope::of(text.parse().unwrap()), expected, "{text}");
    }
}

#[test]
fn a_drive_as_metal3_writes_it_names_the_host() {
    let folder = folder(&[(
        META_DATA,
        r#"{"uuid": "u-1", "local-hostname": "n1", "local_hostname": "n1", "metal3-name": "n1", "name": "cl1-md-abc", "providerid": "x"}"#,
    )]);
    let data = read_files(&Root::at(folder.path()), "sr0").unwrap();
    assert_eq!(data.facts.text("hostname"), Some("n1"));
    let step = |name: &str| Step::Attribute(name.to_owned());
    for (key, expected) in
        [("name", "cl1-md-abc"), ("providerid", "x"), ("metal3_name", "n1"), ("instance_id", "u-1")]
    {
        let found = data.instance_data.find("ds", &[step("meta_data"), step(key)]).unwrap();
        assert_eq!(found, Found::Value(Value::from(expected)), "{key}");
    }
}
