use std::cell::RefCell;

use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::*;
use crate::host::files;
use crate::host::root::Root;
use crate::metadata::{Metadata, gather};
use crate::net::Deadline;
use crate::text::hex;
use crate::trust_policy::TrustPolicy;

const CONFIG: &[u8] = b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";
const SERIAL: &str = "/sys/class/dmi/id/product_serial";
const CMDLINE: &str = "/proc/cmdline";

/// What was gathered, and the URLs that were fetched.
fn gathered(contents: &[(&str, &str)]) -> (Result<Metadata>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    contents
        .iter()
        .for_each(|(path, text)| files::write(&root.path(path), text.as_bytes(), 0o600).unwrap());
    let fetched = RefCell::new(Vec::new());
    let fetch = |url: &str, deadline: Deadline| {
        assert!(deadline.remaining() <= PLATFORM.deadline, "{url} has a deadline of its own");
        fetched.borrow_mut().push(url.to_owned());
        let bytes = if url.ends_with("meta-data") { b"instance-id: 7\nlocal-hostname: n1\n" } else { CONFIG };
        Ok(Document::new(Zeroizing::new(bytes.to_vec())).unwrap())
    };
    (gather(&root, &TrustPolicy::default(), &fetch), fetched.into_inner())
}

#[test]
fn meta_data_becomes_facts() {
    let mut found = Facts::default();
    facts(
        b"instance-id: 42\nlocal-hostname: n1\nregion: r\nprovider-id: x://42\nzone: ''\n",
        "here",
        &mut found,
    )
    .unwrap();
    let all = ["instance-id", "hostname", "region", "zone", "provider-id"].map(|name| found.text(name));
    assert_eq!(all, [Some("42"), Some("n1"), Some("r"), None, Some("x://42")]);
    facts(b"", "here", &mut found).unwrap();
    for wrong in [&b"- a"[..], b"a: [", b"\xff", b"text"] {
        let failure = facts(wrong, "here", &mut Facts::default()).unwrap_err();
        assert!(failure.kind == ErrorKind::Source && failure.message.starts_with("here: no "), "{failure}");
    }
}

#[test]
fn a_seed_is_read_from_its_url() {
    for (contents, expected) in [
        (vec![(CMDLINE, "quiet ds=nocloud;s=https://h/a;h=n9")], "https://h/a/"),
        (vec![(CMDLINE, "quiet \"ds=nocloud-net;s=https://h/a/;h=n9\"")], "https://h/a/"),
        (
            vec![
                (SERIAL, "x ds=nocloud;h=n9;s=https://h/__dmi.system-uuid__/"),
                ("/sys/class/dmi/id/product_uuid", "A B\n"),
            ],
            "https://h/A%20B/",
        ),
        (vec![(CMDLINE, "ds=nocloud;h=n9;s=https://h/q?f=")], "https://h/q?f="),
    ] {
        let (metadata, fetched) = gathered(&contents);
        let metadata = metadata.unwrap();
        assert_eq!(fetched, [format!("{expected}meta-data"), format!("{expected}user-data")]);
        assert_eq!(
            (metadata.facts.text("hostname"), metadata.facts.text("instance-id")),
            (Some("n9"), Some("7"))
        );
        assert_eq!(metadata.facts.hostname.others()[0].value, "n1");
        assert_eq!(metadata.instance_data.text("ds.meta_data.local_hostname").as_deref(), Some("n9"));
        assert_eq!(metadata.user_data.unwrap().1.document.bytes(), CONFIG);
    }
}

#[test]
fn plain_http_gives_pinned_user_data_and_no_facts() {
    let pin = hex(digest(&SHA256, CONFIG).as_ref());
    let (seed, pin) = ("ds=nocloud;s=http://h/", format!("firstboot.config-sha256={pin}"));
    for contents in
        [vec![(CMDLINE, format!("{seed} {pin}"))], vec![(CMDLINE, pin.clone()), (SERIAL, seed.to_owned())]]
    {
        let contents: Vec<(&str, &str)> =
            contents.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let (metadata, fetched) = gathered(&contents);
        let metadata = metadata.unwrap_or_else(|failure| panic!("{contents:?}: {failure}"));
        assert_eq!(fetched, ["http://h/user-data"]);
        assert!(metadata.user_data.is_some() && metadata.facts.text("hostname").is_none());
        assert!(metadata.notices[0].contains("not read over plain http"), "{:?}", metadata.notices);
    }
}

#[test]
fn what_cannot_be_trusted_or_understood_is_refused() {
    let wrong = format!("ds=nocloud;s=http://h/ firstboot.config-sha256={}", "0".repeat(64));
    for (contents, class, expected) in [
        ((CMDLINE, "ds=nocloud;s=http://h/"), ErrorKind::Source, "plain http"),
        ((SERIAL, "ds=nocloud;s=http://h/"), ErrorKind::Source, "smbios product_serial names plain http"),
        ((CMDLINE, "ds=nocloud;s=ftp://h/"), ErrorKind::Source, "neither an https nor an http URL"),
        ((CMDLINE, "ds=nocloud;s=/etc/"), ErrorKind::Source, "neither an https nor an http URL"),
        ((CMDLINE, "ds=nocloud;s=https://h/__dmi.nonsense__/"), ErrorKind::Source, "no such keyword"),
        ((CMDLINE, "ds=nocloud;s=https://h/__dmi.system-uuid__/"), ErrorKind::Source, "no such field"),
        ((CMDLINE, "ds=nocloud"), ErrorKind::Source, "no disk has the label cidata"),
        ((CMDLINE, &wrong), ErrorKind::Untrusted, "is not what firstboot.config-sha256 pins"),
    ] {
        let failure = gathered(&[contents]).0.unwrap_err();
        assert!(failure.message.contains(expected) && failure.kind == class, "{contents:?}: {failure}");
    }
}

#[test]
fn a_seed_folder_is_read_and_what_is_not_used_is_said() {
    let folder = "/var/lib/cloud/seed/nocloud-net";
    let file = |name: &str| format!("{folder}/{name}");
    let names = [file("user-data"), file("meta-data"), file("network-config"), file("vendor-data")];
    let texts = ["#cloud-config\n", "instance-id: i-1\n", "version: 2\n", ""];
    let contents: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts).collect();
    let (metadata, fetched) = gathered(&contents);
    let metadata = metadata.unwrap();
    assert!(fetched.is_empty());
    assert_eq!(
        (metadata.facts.text("platform"), metadata.facts.text("instance-id")),
        (Some("nocloud"), Some("i-1"))
    );
    assert_eq!(metadata.user_data.unwrap().1.origin, format!("{folder}: user-data"));
    assert_eq!(metadata.notices, [format!("{folder} has network-config on it, which is not used")]);
}
