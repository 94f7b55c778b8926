use super::*;
use crate::base::apt::debian::DEBIAN;
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
    let debian = "http://a.example/debian/\tbookworm\tDebian\nhttp://vendor.example/repo/\tstable\tVendor\n\
                  http://b.example/security/\tbookworm-security\tDebian\n";
    assert_eq!(
        from_apt(&DEBIAN, debian).unwrap(),
        mirrors_of("http://a.example/debian", Some("http://b.example/security"))
    );
    let never_updated =
        "http://a.example/debian/\ttrixie\t\nhttp://a.example/debian-security/\ttrixie-security\t\n";
    assert_eq!(
        from_apt(&DEBIAN, never_updated).unwrap(),
        mirrors_of("http://a.example/debian", Some("http://a.example/debian-security"))
    );
    assert_eq!(from_apt(&DEBIAN, "http://a.example/ubuntu/\tnoble\tUbuntu\n"), None);
    assert_eq!(from_apt(&DEBIAN, ""), None);
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
