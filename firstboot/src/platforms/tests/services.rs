use std::collections::HashMap;
use std::time::{Duration, Instant};

use testkit::{Reply, TestServer};

use super::service_cases::{CASES, CONFIG, Case, ENCODED};
use crate::error::{ErrorKind, Result};
use crate::evidence::{Evidence, disks};
use crate::facts::Facts;
use crate::host::files;
use crate::host::root::Root;
use crate::net::Deadline;
use crate::platforms::detect::detect;
use crate::platforms::{ALL, Platform, PlatformData, ReadContext, azure, documents, scaleway};

/// A machine's files: what its firmware says, and a lease as CloudStack's machines have it.
fn machine(folder: &std::path::Path, smbios: &[(&str, &str)]) -> Root {
    let root = Root::at(folder);
    for (name, text) in smbios {
        files::write(&root.path(format!("/sys/class/dmi/id/{name}")), text.as_bytes(), 0o444).unwrap();
    }
    files::write(
        &root.path("/run/systemd/netif/leases/2"),
        b"ADDRESS=10.7.1.5\nSERVER_ADDRESS=10.7.1.1\n",
        0o644,
    )
    .unwrap();
    root
}

/// A metadata server: each `GET /path?query` has its text, everything else is 404; every answer has this
/// header.
fn metadata_server(answers: &[(&str, &str)], header: (&str, &str)) -> TestServer {
    let answers: HashMap<String, String> =
        answers.iter().map(|(line, text)| ((*line).to_owned(), (*text).to_owned())).collect();
    let header = format!("{}: {}\r\n", header.0, header.1);
    TestServer::plain(move |request| match answers.get(&request.line()) {
        Some(text) => Reply::Text(200, header.clone(), text.clone()),
        None => Reply::Text(404, header.clone(), String::new()),
    })
}

fn read_with(
    evidence: &Evidence,
    platform: &Platform,
    address: &str,
    limit: Duration,
) -> (Result<PlatformData>, Vec<String>) {
    let mut context = ReadContext {
        evidence,
        deadline: Deadline::after(limit),
        notices: Vec::new(),
        fetch: &|_, _| panic!("no URL is named"),
        service: Some(address),
    };
    let data = (platform.read)(&mut context);
    (data, context.notices)
}

#[test]
fn every_platform_is_recognised_and_read_with_few_requests() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence::of(&machine(folder.path(), case.smbios));
        let detection = detect(&evidence, None).unwrap();
        let platform = detection.platform.unwrap();
        assert_eq!((platform.name, detection.others.len()), (case.name, 0));
        let service = metadata_server(case.answers, ("Metadata-Flavor", "Google"));
        let (data, notices) =
            read_with(&evidence, platform, &service.address.to_string(), Duration::from_secs(20));
        let data = data.unwrap_or_else(|failure| panic!("{}: {failure}", case.name));
        check(case, &data, &service);
        assert!(notices.is_empty(), "{}: {notices:?}", case.name);
    }
}

fn check(case: &Case, data: &PlatformData, service: &TestServer) {
    let name = case.name;
    for (field, expected) in case.facts {
        assert_eq!(data.facts.text(field), Some(*expected), "{name}: {field}");
    }
    let addresses: Vec<String> =
        data.facts.addresses.value().into_iter().flatten().map(ToString::to_string).collect();
    assert_eq!(addresses, case.addresses, "{name}");
    assert!(
        data.facts
            .instance_id
            .chosen()
            .unwrap()
            .source
            .starts_with(&format!("http://{}/", service.address)),
        "{name}"
    );
    assert!(data.facts.instance_id.others().is_empty(), "{name}");
    let user_data = data.user_data.as_ref().unwrap();
    assert_eq!(user_data.document.bytes(), CONFIG.as_bytes(), "{name}");
    assert!(
        user_data.origin.starts_with("http://") && !user_data.origin.contains('?'),
        "{name}: {}",
        user_data.origin
    );
    let asked = service.requests();
    assert_eq!(asked.len(), case.requests, "{name}: {asked:#?}");
    let last = &asked[asked.len() - 1];
    for (header, value) in case.headers {
        assert_eq!(last.header(header), Some(*value), "{name}: {header}");
    }
}

fn platform(name: &str) -> &'static Platform {
    ALL.iter().find(|platform| platform.name == name).unwrap()
}

#[test]
fn an_id_that_the_firmware_contradicts_gets_a_notice_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let evidence = Evidence::of(&machine(folder.path(), &[("product_serial", "8")]));
    let droplet = metadata_server(&[("GET /metadata/v1.json", r#"{"droplet_id": 7}"#)], ("X", "y"));
    let (data, notices) =
        read_with(&evidence, platform("digitalocean"), &droplet.address.to_string(), Duration::from_secs(5));
    let id = data.unwrap().facts.instance_id;
    assert_eq!((id.value().unwrap().as_str(), id.others()[0].value.as_str()), ("7", "8"));
    assert!(notices[0].contains("smbios product_serial 8"), "{notices:?}");
    let server = metadata_server(&[("GET /hetzner/v1/metadata", "instance-id: 7\n")], ("X", "y"));
    let failure =
        read_with(&evidence, platform("hetzner"), &server.address.to_string(), Duration::from_secs(5))
            .0
            .unwrap_err();
    assert!(
        failure.kind == ErrorKind::Source && failure.message.contains("smbios product_serial"),
        "{failure}"
    );
}

#[test]
fn what_is_no_document_of_the_platform_ends_at_once_and_silence_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let evidence = Evidence::of(&machine(folder.path(), &[]));
    for case in CASES {
        let tokens = ["PUT /latest/api/token", "PUT /v1/token"];
        for text in
            ["<html>sign in</html>", "{}", r#"{"id": {}, "instance-id": [], "uuid": 1.5"#, "\u{1b}[2J"]
        {
            let answers: Vec<(&str, &str)> = case
                .answers
                .iter()
                .map(|(line, answer)| (*line, if tokens.contains(line) { answer } else { text }))
                .collect();
            let service = metadata_server(&answers, ("Metadata-Flavor", "Google"));
            let began = Instant::now();
            let (data, _) = read_with(
                &evidence,
                platform(case.name),
                &service.address.to_string(),
                Duration::from_secs(20),
            );
            assert!(began.elapsed() < Duration::from_secs(5), "{}", case.name);
            // Services of texts can tell no more than that an identifier has no blanks.
            let is_text = ["exoscale", "cloudstack"].contains(&case.name)
                && text.bytes().all(|byte| byte.is_ascii_graphic());
            assert_eq!(data.is_err(), !is_text, "{}: {text}", case.name);
            if let Err(failure) = data {
                assert!(
                    failure.kind == ErrorKind::Source && failure.message.starts_with("http://"),
                    "{}: {failure}",
                    case.name
                );
            }
        }
        let service = metadata_server(&[], ("X", "y"));
        let began = Instant::now();
        let failure = read_with(
            &evidence,
            platform(case.name),
            &service.address.to_string(),
            Duration::from_millis(300),
        )
        .0
        .unwrap_err();
        assert!(
            began.elapsed() < Duration::from_secs(2) && failure.message.contains("404"),
            "{}: {failure}",
            case.name
        );
    }
}

/// What a machine of OpenStack with these config drives reads while its service answers or does not: the text
/// or the error, the notices, and the number of requests.
fn openstack_with(drives: &[&str], answers: bool, bound: bool) -> (String, String, usize) {
    let case = CASES.iter().find(|case| case.name == "openstack").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = machine(folder.path(), case.smbios);
    drives.iter().for_each(|name| disks::add(&root, name, "config-2"));
    let service = metadata_server(if answers { case.answers } else { &[] }, ("x", "y"));
    let mut evidence = Evidence::of(&root);
    if bound {
        let identity = evidence.all_disks()[0].identity.clone();
        evidence = Evidence::of(&root).with_only_disk(Some(identity));
    }
    let limit = Duration::from_secs(2);
    let (data, notices) = read_with(&evidence, platform("openstack"), &service.address.to_string(), limit);
    let said = match data {
        Ok(data) => data.user_data.unwrap().origin,
        Err(failure) => failure.to_string(),
    };
    (said, notices.join("\n"), service.shapes().len())
}

#[test]
fn openstack_reads_a_disc_before_its_service_and_its_service_before_another_disk() {
    let (said, notices, _) = openstack_with(&["vdb"], true, false);
    assert!(said.starts_with("http://") && notices.contains("vdb, with the label config-2, is no disc"));
    for (drives, answers, bound) in
        [(vec!["vdb"], false, false), (vec!["vdb"], true, true), (vec!["sr0", "vdb"], true, false)]
    {
        let (said, notices, requests) = openstack_with(&drives, answers, bound);
        let is_disk = said.contains(&format!("/dev/{}", drives[0])) && !said.contains("http");
        assert!(is_disk && (requests == 0 || !answers), "{drives:?}: {said}; {requests} requests");
        assert_eq!(notices.contains("is read: "), !answers, "{notices}");
    }
}

#[test]
fn of_disks_with_both_labels_kubevirt_reads_only_a_disc() {
    for (drives, expected) in [
        ([("vdb", "cidata"), ("sda", "config-2")], "several disks have the label config-2 or cidata"),
        ([("sr0", "cidata"), ("sda", "config-2")], "/dev/sr0"),
        ([("vdb", "cidata"), ("sr0", "config-2")], "/dev/sr0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = machine(folder.path(), &[("sys_vendor", "KubeVirt")]);
        drives.iter().for_each(|(name, label)| disks::add(&root, name, label));
        let limit = Duration::from_secs(1);
        let read = read_with(&Evidence::of(&root), platform("kubevirt"), "127.0.0.1:9", limit).0;
        let said = read.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn scaleway_reads_its_document() {
    let bytes = br#"{"id": "s-1", "hostname": "n1", "commercial_type": "GP1", "location": {"zone_id": "fr-par-1"}, "private_ip": null,
        "public_ip": {"address": "203.0.113.11"}, "public_ips_v4": [{"address": "203.0.113.11"}], "ipv6": {"address": "2001:bc8::5"}}"#;
    let mut facts = Facts::default();
    scaleway::metadata::document(bytes, "http://m", &mut facts).unwrap();
    assert_eq!(
        (facts.text("zone"), facts.text("region"), facts.text("instance-type")),
        (Some("fr-par-1"), Some("fr-par"), Some("GP1"))
    );
    let addresses: Vec<String> = facts.addresses.value().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["203.0.113.11 (public)", "2001:bc8::5 (public)"]);
}

#[test]
fn azure_takes_custom_data_from_the_environment_of_its_disc() {
    let xml = format!(
        "\u{feff}<?xml version=\"1.0\"?><ns0:Environment xmlns:ns0=\"http://schemas.dmtf.org/ovf/environment/1\" \
         xmlns:ns1=\"http://schemas.microsoft.com/windowsazure\"><ns1:ProvisioningSection><ns1:LinuxProvisioningConfigurationSet>\
         <ns1:CustomData>{ENCODED}</ns1:CustomData></ns1:LinuxProvisioningConfigurationSet></ns1:ProvisioningSection></ns0:Environment>"
    );
    let found = azure::metadata::in_environment(xml.as_bytes(), "/dev/sr0: ovf-env.xml").unwrap().unwrap();
    assert_eq!(found.document.bytes(), CONFIG.as_bytes());
    assert!(azure::metadata::in_environment(b"<a/>", "x").unwrap().is_none());
    let deep = "<a>".repeat(50_000);
    for wrong in [
        "<a>",
        "<a><CustomData>canary!</CustomData></a>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        deep.as_str(),
    ] {
        let failure = azure::metadata::in_environment(wrong.as_bytes(), "x").unwrap_err();
        assert!(failure.message.starts_with("x: ") && !failure.message.contains("canary"), "{failure}");
    }
}

#[test]
fn no_parser_takes_what_is_no_document() {
    let deep = "[".repeat(100_000);
    for (name, parse) in documents::PARSERS {
        for bytes in [&b"\xff\xfe"[..], b"{", deep.as_bytes()] {
            let parsed = parse(bytes, "http://m", &mut Facts::default());
            assert_eq!(parsed.is_err(), *name != "cloudstack lease", "{name}");
        }
    }
}
