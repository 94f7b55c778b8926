use super::*;
use crate::base::apt::debian::DEBIAN;
use crate::base::apt::ubuntu::UBUNTU;
use crate::digest::Digest;

fn mirrors_of(main: &str, security: Option<&str>) -> Mirrors {
    Mirrors { main: main.into(), security: security.map(Into::into) }
}

fn package(archive: &str) -> LockedPackage {
    LockedPackage {
        name: "bash".into(),
        version: "5.2-1".into(),
        architecture: "amd64".into(),
        source: "bash".into(),
        source_version: None,
        snapshot: None,
        archive: archive.into(),
        path: "pool/main/b/bash/bash_5.2-1_amd64.deb".into(),
        size: 1,
        sha256: Digest::of(b"bash"),
        install: true,
    }
}

#[test]
fn reads_one_or_two_addresses() {
    let both = mirrors_of("http://mirror.example/debian", Some("http://mirror.example/debian-security"));
    assert_eq!(parse(&DEBIAN, "http://mirror.example/debian/").unwrap(), both);
    assert_eq!(
        parse(&DEBIAN, "http://mirror.example/debian, http://other.example/sec/")
            .unwrap()
            .security
            .unwrap(),
        "http://other.example/sec"
    );
    assert_eq!(parse(&DEBIAN, "/srv/snapshot,").unwrap(), mirrors_of("file:///srv/snapshot", None));
    assert_eq!(parse(&DEBIAN, "https://mirror.example/snapshot").unwrap().security, None);
    for wrong in ["", "mirror.example/debian", "http://", "ftp://mirror.example/debian", "http://a b/debian"]
    {
        assert_eq!(parse(&DEBIAN, wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
    }
}

#[test]
fn tells_the_archives_of_apt_apart() {
    let from_apt = |targets| from_apt(&DEBIAN, Arch::Arm64, targets);
    let debian = "http://a.example/debian/\tbookworm\tamd64\tDebian\nhttp://vendor.example/repo/\tstable\tamd64\tVendor\n\
                  http://b.example/security/\tbookworm-security\tamd64\tDebian\n";
    assert_eq!(
        from_apt(debian).unwrap(),
        mirrors_of("http://a.example/debian", Some("http://b.example/security"))
    );
    let never_updated = "http://a.example/debian/\ttrixie\tamd64\t\nhttp://a.example/debian-security/\ttrixie-security\tamd64\t\n";
    assert_eq!(
        from_apt(never_updated).unwrap(),
        mirrors_of("http://a.example/debian", Some("http://a.example/debian-security"))
    );
    assert_eq!(from_apt("http://a.example/ubuntu/\tnoble\tamd64\tUbuntu\n"), None);
    assert_eq!(from_apt(""), None);
}

#[test]
fn other_architectures_have_mirrors_of_their_own() {
    let targets = "http://a.example/ubuntu/\tnoble\tamd64\tUbuntu\nhttp://a.example/ubuntu/\tnoble-updates\tamd64\tUbuntu\n\
                   http://s.example/ubuntu/\tnoble-security\tamd64\tUbuntu\nhttp://p.example/ubuntu-ports/\tnoble\tarm64\t\n";
    assert_eq!(
        from_apt(&UBUNTU, Arch::Amd64, targets).unwrap(),
        mirrors_of("http://a.example/ubuntu", Some("http://s.example/ubuntu"))
    );
    let ports = mirrors_of("http://p.example/ubuntu-ports", Some("http://p.example/ubuntu-ports"));
    assert_eq!(from_apt(&UBUNTU, Arch::Arm64, targets).unwrap(), ports);
    let amd64_alone = targets.split_once("http://p.").unwrap().0;
    assert_eq!(from_apt(&UBUNTU, Arch::Arm64, amd64_alone), None);
}

#[test]
fn a_security_update_is_also_looked_for_where_it_was_published() {
    let parse = |text: &str| parse(&UBUNTU, text).unwrap();
    let (one, two) =
        (parse("http://a.example/mirror"), parse("http://a.example/mirror,http://s.example/ubuntu"));
    assert_eq!(one.security.as_deref(), Some("http://a.example/mirror"));
    let package = package("ubuntu");
    assert_eq!(ahead(&UBUNTU, &one, &package), None);
    assert_eq!(url(&UBUNTU, &two, &package).unwrap(), format!("http://a.example/mirror/{}", package.path));
    assert_eq!(ahead(&UBUNTU, &two, &package).unwrap(), format!("http://s.example/ubuntu/{}", package.path));
    let debian = mirrors_of("http://a.example/debian", Some("http://s.example/security"));
    assert_eq!(ahead(&DEBIAN, &debian, &package), None);
}

#[test]
fn reads_the_mirror_lists_of_cloud_images() {
    let folder = tempfile::TempDir::new().unwrap();
    let list = folder.path().join("debian.list");
    fs::write(&list, "https://a.example/debian\tpriority:1\nhttps://b.example/debian\n").unwrap();
    assert_eq!(plain(&format!("mirror+file:{}/", list.display())).unwrap(), "https://a.example/debian");
}

#[test]
fn a_package_has_the_address_of_its_archive() {
    let mirrors = mirrors_of("http://a.example/debian", None);
    assert_eq!(
        url(&DEBIAN, &mirrors, &package("debian")).unwrap(),
        "http://a.example/debian/pool/main/b/bash/bash_5.2-1_amd64.deb"
    );
    assert!(
        url(&DEBIAN, &mirrors, &package("debian-security"))
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("SECURITY-URL")
    );
    assert_eq!(url(&DEBIAN, &mirrors, &package("other")).unwrap_err().kind(), ErrorKind::Lock);
    let gone = |kept: &[String]| gone(&DEBIAN, &package("debian"), &["http://a".into()], kept);
    assert!(gone(&[]).message.contains("bash 5.2-1 is no longer on the mirror (http://a)"));
    assert!(gone(&[]).help.contains("kiln lock --upgrade"));
    let both = gone(&["http://s/1".into(), "http://s/2".into()]);
    assert_eq!(
        both.message,
        "bash 5.2-1 is neither on the mirror (http://a) nor at the snapshot service (http://s/1)"
    );
    assert!(both.help.contains("--debian-mirror") && both.help.contains("--debian-snapshots"));
}
