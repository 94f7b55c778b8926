use super::*;

fn shipped() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("lib/private")).unwrap();
    fs::write(path.join("lib/private/secret"), b"content").unwrap();
    fs::set_permissions(path.join("lib/private/secret"), fs::Permissions::from_mode(0o4640)).unwrap();
    symlink("/run/nowhere", path.join("run")).unwrap();
    write_attribute(&CString::new(path.join("lib").as_os_str().as_bytes()).unwrap(), c"user.kiln", b"value")
        .unwrap();
    let old = TimeSpec::new(1_577_836_800, 5);
    utimensat(
        nix::fcntl::AT_FDCWD,
        &path.join("lib/private/secret"),
        &old,
        &old,
        UtimensatFlags::NoFollowSymlink,
    )
    .unwrap();
    fs::set_permissions(path.join("lib/private"), fs::Permissions::from_mode(0o1700)).unwrap();
    utimensat(nix::fcntl::AT_FDCWD, &path.join("lib/private"), &old, &old, UtimensatFlags::NoFollowSymlink)
        .unwrap();
    folder
}

fn check(to: &Path) {
    assert_eq!(fs::read(to.join("lib/private/secret")).unwrap(), b"content");
    let secret = fs::metadata(to.join("lib/private/secret")).unwrap();
    assert_eq!((secret.mode() & 0o7777, secret.mtime(), secret.mtime_nsec()), (0o4640, 1_577_836_800, 5));
    let private = fs::metadata(to.join("lib/private")).unwrap();
    assert_eq!((private.mode() & 0o7777, private.mtime()), (0o1700, 1_577_836_800));
    assert_eq!(fs::read_link(to.join("run")).unwrap(), Path::new("/run/nowhere"));
    let lib = CString::new(to.join("lib").as_os_str().as_bytes()).unwrap();
    assert_eq!(filled(|buffer, len| read_attribute(&lib, c"user.kiln", buffer, len)).unwrap(), b"value");
    assert!(to.join(contract::VAR_POPULATED).exists());
}

#[test]
fn copies_with_all_metadata() {
    let (from, to) = (shipped(), tempfile::tempdir().unwrap());
    once(from.path(), to.path()).unwrap();
    check(to.path());
}

#[test]
fn repeats_a_copy_that_was_cut_and_then_never_again() {
    let (from, to) = (shipped(), tempfile::tempdir().unwrap());
    fs::create_dir_all(to.path().join("lib/private/secret/was a folder")).unwrap();
    fs::write(to.path().join("run"), b"half").unwrap();
    once(from.path(), to.path()).unwrap();
    check(to.path());
    fs::write(to.path().join("lib/private/secret"), b"changed by the node").unwrap();
    once(from.path(), to.path()).unwrap();
    assert_eq!(fs::read(to.path().join("lib/private/secret")).unwrap(), b"changed by the node");
}

#[test]
fn a_root_without_var_is_fine() {
    let to = tempfile::tempdir().unwrap();
    once(Path::new("/nonexistent/var"), to.path()).unwrap();
    assert!(to.path().join(contract::VAR_POPULATED).exists());
}
