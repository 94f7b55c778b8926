use super::*;
use crate::base::apt::debian::DEBIAN;
use std::os::unix::process::ExitStatusExt;

#[test]
fn expired_lists_name_the_flag() {
    let said = "E: Release file for http://a.example is expired (invalid since 3d). Updates for this repository will not be applied.";
    let update = |snapshot: Option<&str>, said: &str| {
        let snapshot = snapshot.map(|time| time.parse().unwrap());
        update(&DEBIAN, snapshot, Error::new(ErrorKind::Tool, said))
    };
    let error = update(None, said);
    assert!(
        error.kind() == ErrorKind::Fetch && error.hint().unwrap().contains(ALLOW_EXPIRED_FLAG),
        "{error}"
    );
    for (said, word) in [
        ("NO_PUBKEY 0E98404D386FA1D9", "keys"),
        ("Could not resolve 'a'", "network"),
        ("404  Not Found", "suite"),
    ] {
        assert!(update(None, said).hint().unwrap().contains(word), "{said}");
    }
    let error = update(Some("20250101T000000Z"), "404  Not Found");
    let hint = error.hint().unwrap();
    assert!(hint.contains("20250101T000000Z") && hint.contains("--debian-snapshots"), "{hint}");
    let missing = Error::new(ErrorKind::Tool, "starting apt-get").help("install it");
    assert_eq!(super::update(&DEBIAN, None, missing).hint(), Some("install it"));
}

#[test]
fn finds_the_unknown_package() {
    assert_eq!(unknown_package("Reading…\nE: Unable to locate package sistemd").unwrap(), "sistemd");
    assert_eq!(unknown_package("E: Package 'adduser' has no installation candidate").unwrap(), "adduser");
    assert_eq!(unknown_package("E: broken"), None);
    let error = unsatisfiable(
        &DEBIAN,
        Error::new(ErrorKind::Tool, "x:\nThe following packages have unmet dependencies:\n a : b"),
        "trixie",
    );
    assert!(error.kind() == ErrorKind::Definition && error.message().contains("a : b"), "{error}");
}

#[test]
fn says_what_an_unprivileged_user_lacks() {
    let folder = tempfile::TempDir::new().unwrap();
    let host = Host { uid: 1000, user: "baker", root: folder.path() };
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let hint = || check_namespaces(&host).unwrap_err().hint().unwrap().to_owned();
    write("proc/sys/user/max_user_namespaces", "0\n");
    assert!(hint().contains("sysctl"));
    write("proc/sys/user/max_user_namespaces", "96365\n");
    assert!(hint().contains("apt-get install uidmap"));
    write("usr/bin/newuidmap", "");
    write("etc/subuid", "other:100000:65536\nbaker:165536:1000\n");
    assert!(hint().contains("usermod --add-subuids"));
    write("etc/subuid", "other:100000:65536\n1000:165536:65536\n");
    assert!(hint().contains("usermod --add-subgids"));
    write("etc/subgid", "baker:165536:65536\n");
    assert!(check_namespaces(&host).is_ok());
    assert!(check_namespaces(&Host { uid: 0, ..host }).is_ok());
}

#[test]
fn emulation_is_asked_for_only_where_the_packages_are_for_another_architecture() {
    let [this, other] = match Arch::OF_THIS_MACHINE {
        Arch::Amd64 => [Arch::Amd64, Arch::Arm64],
        Arch::Arm64 => [Arch::Arm64, Arch::Amd64],
    };
    for probe in ["false", "no-such-program"] {
        let check = |arch| check_emulation(arch, &mut Command::new(probe));
        assert!(check(this).is_ok());
        let error = check(other).unwrap_err();
        assert!(error.kind() == ErrorKind::Tool && error.message().contains(other.name()), "{error}");
        assert!(error.hint().unwrap().contains("apt-get install qemu-user-static arch-test"), "{error}");
    }
    assert!(check_emulation(other, &mut Command::new("true")).is_ok());
}

#[test]
fn errors_far_above_the_end_are_shown() {
    let said = format!(
        "dpkg: error processing package a\n a depends on b; however:\n  Package b is not installed.\n{}",
        "Setting up x ...\n".repeat(100)
    );
    let shown = causes(&said);
    assert!(
        shown.contains("package a\n a depends on b; however:\n  Package b is not installed.\nSetting up x"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), TAIL_LINES + 3);
}

#[test]
fn a_full_disk_names_the_folder() {
    let status = ExitStatus::from_raw(1 << 8);
    let error = build(status, "I: ok\ndpkg: error: No space left on device\n", Path::new("/tmp/x"));
    assert!(
        error.kind() == ErrorKind::Io
            && error.message().contains("/tmp/x")
            && !error.message().contains("I: ok"),
        "{error}"
    );
    assert!(build(status, "E: broken\n", Path::new("/")).message().ends_with("E: broken"));
}
