use super::osv::{Hit, Record};
use super::*;

fn component(ecosystem: &str, name: &str, version: &str) -> Component {
    let order = if ecosystem == "Go" { Order::Semver } else { Order::Package };
    Component {
        ecosystem: ecosystem.to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        pins: Vec::new(),
        order,
    }
}

/// A record as Debian's security tracker and osv.dev make it.
const DEBIAN: &str = r#"{
  "schema_version": "1.7.3", "id": "DEBIAN-CVE-2026-1000", "modified": "2026-11-01T00:00:00Z", "upstream": ["CVE-2026-1000"],
  "details": "d",
  "affected": [
    {"package": {"ecosystem": "Debian:12", "name": "openssl", "purl": "pkg:deb/debian/openssl?arch=source&distro=bookworm"},
     "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
     "versions": ["3.0.17-1~deb12u2"], "ecosystem_specific": {"urgency": "not yet assigned"}},
    {"package": {"ecosystem": "Debian:13", "name": "openssl"},
     "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.5.4-1~deb13u2"}]}],
     "versions": ["3.5.1-1", "3.5.4-1~deb13u1"]}],
  "references": [{"type": "ADVISORY", "url": "https://security-tracker.debian.org/tracker/CVE-2026-1000"}]
}"#;

/// A record as the Go vulnerability database makes it.
const GO: &str = r#"{
  "schema_version": "1.3.1", "id": "GO-2026-4000", "aliases": ["CVE-2026-2000", "GHSA-xxxx-yyyy-zzzz"], "summary": "Escape in runc",
  "affected": [
    {"package": {"name": "github.com/opencontainers/runc", "ecosystem": "Go"},
     "ranges": [{"type": "SEMVER", "events": [
        {"introduced": "1.4.0-rc.1"}, {"fixed": "1.4.3"}, {"introduced": "0"}, {"fixed": "1.3.6"}]}],
     "ecosystem_specific": {"imports": [{"path": "github.com/opencontainers/runc/libcontainer"}]}}]
}"#;

/// One as Ubuntu makes it.
const UBUNTU: &str = r#"{"id": "USN-7000-1", "aliases": null, "upstream": ["UBUNTU-CVE-2026-3000", "CVE-2026-3000", "CVE-2026-3001"],
  "affected": [{"package": {"ecosystem": "Ubuntu:24.04:LTS", "name": "linux"},
    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "6.8.0-90.91"}]}], "versions": null}]}"#;

fn fixed(record: &str, component: &Component) -> Option<Option<String>> {
    Record::parse(record.as_bytes()).unwrap().hit(component).map(|Hit { fixed }| fixed)
}

#[test]
fn a_record_is_about_the_versions_of_its_release() {
    let hit = |version: &str| Some(Some(version.to_owned()));
    for (record, ecosystem, name, version, expected) in [
        (DEBIAN, "Debian:13", "openssl", "3.5.4-1~deb13u1", hit("3.5.4-1~deb13u2")),
        // Compared as text, ten is less than two.
        (DEBIAN, "Debian:13", "openssl", "3.5.4-1~deb13u10", None),
        (DEBIAN, "Debian:13", "openssl", "3.5.4-1~deb13u2+b1", None),
        (DEBIAN, "Debian:13", "openssl", "1:1.0", None),
        (DEBIAN, "Debian:12", "openssl", "3.0.99-1", Some(None)),
        (DEBIAN, "Debian:14", "openssl", "3.5.1-1", None),
        (DEBIAN, "Debian:13", "bash", "3.5.1-1", None),
        (UBUNTU, "Ubuntu:24.04:LTS", "linux", "6.8.0-90.90", hit("6.8.0-90.91")),
        (UBUNTU, "Ubuntu:22.04:LTS", "linux", "6.8.0-90.90", None),
        (GO, "Go", "github.com/opencontainers/runc", "1.4.2", hit("1.4.3")),
        (GO, "Go", "github.com/opencontainers/runc", "v1.4.0-rc.2", hit("1.4.3")),
        (GO, "Go", "github.com/opencontainers/runc", "1.4.3", None),
        (GO, "Go", "github.com/opencontainers/runc", "1.3.6", None),
        (GO, "Go", "github.com/opencontainers/runc", "1.2", hit("1.3.6")),
        (GO, "Go", "github.com/opencontainers/runc", "nightly", None),
    ] {
        assert_eq!(fixed(record, &component(ecosystem, name, version)), expected, "{name} {version}");
    }
}

#[test]
fn every_kind_of_event_counts() {
    let record = |events: &str, versions: &str| {
        format!(
            r#"{{"id": "X", "affected": [{{"package": {{"ecosystem": "Debian", "name": "x"}},
               "ranges": [{{"type": "ECOSYSTEM", "events": {events}}}], "versions": {versions}}}]}}"#
        )
    };
    for (events, versions, version, is_hit) in [
        (r#"[{"introduced": "2"}, {"last_affected": "3"}]"#, "[]", "3", true),
        (r#"[{"introduced": "2"}, {"last_affected": "3"}]"#, "[]", "3.1", false),
        (r#"[{"introduced": "2"}, {"last_affected": "3"}]"#, "[]", "1", false),
        (r#"[{"introduced": "0"}, {"limit": "2"}]"#, "[]", "1", true),
        (r#"[{"introduced": "0"}, {"limit": "2"}]"#, "[]", "2", false),
        (r#"[{"introduced": "0"}, {"limit": "*"}]"#, "[]", "2", true),
        (r#"[{"introduced": "0"}, {"fixed": "2"}, {"introduced": "5"}]"#, "[]", "4", false),
        (r#"[{"introduced": "0"}, {"fixed": "2"}, {"introduced": "5"}]"#, "[]", "5", true),
        (r#"[{"introduced": "0"}]"#, "[]", "0~rc1", true),
        (r#"[{"fixed": "2"}]"#, r#"["4"]"#, "4", true),
        ("[]", "[]", "4", false),
    ] {
        // One without a release is of all.
        let found = fixed(&record(events, versions), &component("Debian:13", "x", version));
        assert_eq!(found.is_some(), is_hit, "{events} {versions} {version}");
    }
    let git = r#"{"id": "X", "affected": [{"package": {"ecosystem": "Debian:13", "name": "x"},
        "ranges": [{"type": "GIT", "repo": "https://a/b", "events": [{"introduced": "0"}]}]}]}"#;
    assert_eq!(fixed(git, &component("Debian:13", "x", "1")), None);
}

#[test]
fn what_is_no_version_in_a_record_hides_nothing() {
    let record = |affected: &str| {
        format!(
            r#"{{"id": "X", "affected": [{{"package": {{"ecosystem": "Go", "name": "x"}}, {affected}}}]}}"#
        )
    };
    for (affected, is_hit) in [
        (r#""ranges": [{"type": "SEMVER", "events": [{"introduced": "abc"}]}]"#, true),
        (r#""ranges": [{"type": "SEMVER", "events": [{"introduced": "abc"}, {"fixed": "1.2.0"}]}]"#, false),
        (r#""versions": ["v1.2.3"]"#, true),
        (r#""versions": ["v1.2.4"]"#, false),
    ] {
        assert_eq!(fixed(&record(affected), &component("Go", "x", "1.2.3")).is_some(), is_hit, "{affected}");
    }
}

#[test]
fn an_advisory_counts_once_for_each_vulnerability_and_none_that_was_withdrawn() {
    let components = [component("Ubuntu:24.04:LTS", "linux", "6.8.0-1.1")];
    let by_name = by_name(&components);
    let mut found = BTreeMap::new();
    let other = UBUNTU.replace("USN-7000-1", "UBUNTU-CVE-2026-3000").replace(r#", "CVE-2026-3001""#, "");
    let withdrawn = UBUNTU.replace(r#""aliases": null"#, r#""withdrawn": "2026-01-01T00:00:00Z""#);
    for record in [UBUNTU, &other, &withdrawn.replace("CVE-2026-3", "CVE-2026-9")] {
        look_up(&Record::parse(record.as_bytes()).unwrap(), &components, &by_name, &mut found);
    }
    let ids: Vec<_> = found.values().map(|finding| (finding.id.as_str(), finding.records.len())).collect();
    assert_eq!(ids, [("CVE-2026-3000", 2), ("CVE-2026-3001", 1)]);
}

#[test]
fn a_database_without_an_ecosystem_says_nothing_about_it() {
    let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let components = [component("Debian:13", "x", "1"), component("Go", "y", "1")];
    check_coverage(&components, &known(&["Debian:13", "Kubernetes"])).unwrap();
    for (has, lacks, export) in [
        (&["Debian:12", "Go"][..], "Debian:13", "Debian/all.zip"),
        (&["Debian:13"], "about Go", "Go/all.zip"),
        (&[], "Debian:13", "Debian/all.zip"),
    ] {
        let error = check_coverage(&components, &known(has)).unwrap_err();
        assert!(error.message().contains(lacks) && error.hint().unwrap().contains(export), "{error}");
    }
}

#[test]
fn a_broken_record_is_no_record() {
    for wrong in [
        "",
        "[]",
        "{}",
        r#"{"id": 1}"#,
        r#"{"id": "X", "affected": [{"ranges": [{"type": "SEMVER", "events": [{"x": "1"}]}]}]}"#,
    ] {
        assert!(Record::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(Record::parse(br#"{"id": "X", "new_field": 1}"#).is_ok());
}
