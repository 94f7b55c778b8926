//! Archives written by other programs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::process::{Run, tool};

const LONG: &str = "folder-with-a-name-that-is-long-enough-to-need-an-extension/because-ustar-has-only-so-much-room-for-names/and-this-one-needs-more-of-it-than-there-is/file";

fn missing(program: &str, test: &str) -> bool {
    let missing = tool(program).arg("--version").run(program).is_err();
    if missing {
        testkit::not_run(test, &format!("{program} is not installed"));
    }
    missing
}

/// A folder with one of each kind.
fn source(root: &Path) {
    fs::create_dir_all(root.join(LONG).parent().unwrap()).unwrap();
    fs::write(root.join(LONG), b"long").unwrap();
    fs::create_dir(root.join("bin")).unwrap();
    fs::write(root.join("bin/tool"), vec![b't'; 1500]).unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("bin/twin")).unwrap();
    symlink("tool", root.join("bin/link")).unwrap();
    fs::write(root.join("ünï"), b"").unwrap();
    let modes = [("bin/tool", 0o750), ("ünï", 0o600), (LONG, 0o644), ("bin", 0o755)];
    for (path, mode) in modes {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn expected() -> Vec<String> {
    let tool = "t".repeat(1500);
    let lines =
        ["bin/link 777 -> tool".to_owned(), format!("bin/tool 750 {tool}"), format!("bin/twin 750 {tool}")];
    [lines.to_vec(), vec![format!("{LONG} 644 long"), "ünï 600 ".to_owned()]].concat()
}

#[test]
fn gnu_tar_in_all_its_formats() {
    if missing("tar", "gnu_tar_in_all_its_formats") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    source(&folder.path().join("source"));
    for arguments in
        [&["--format=gnu"][..], &["--format=pax"], &["--format=pax", "-z"], &["--format=gnu", "-b1"]]
    {
        let out = folder.path().join("out.tar");
        tool("tar")
            .arg("-cf")
            .arg(&out)
            .args(arguments)
            .arg("-C")
            .arg(folder.path().join("source"))
            .arg(".")
            .run("tar")
            .unwrap();
        assert_eq!(listing(&fs::read(&out).unwrap(), &rules()), expected(), "{arguments:?}");
    }
}

#[test]
fn dpkg_with_all_its_compressions() {
    if missing("dpkg-deb", "dpkg_with_all_its_compressions") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("source");
    source(&root);
    fs::create_dir(root.join("DEBIAN")).unwrap();
    let control = "Package: sample\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: sample\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    for folder in [root.clone(), root.join("DEBIAN")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for compression in ["none", "gzip", "xz", "zstd"] {
        let out = folder.path().join("out.deb");
        let built = tool("dpkg-deb")
            .args(["--root-owner-group", "-Z", compression, "--build"])
            .arg(&root)
            .arg(&out)
            .run("dpkg");
        if let Err(error) = built {
            testkit::not_run(&format!("dpkg_with_all_its_compressions ({compression})"), error.message());
            continue;
        }
        assert_eq!(listing(&fs::read(&out).unwrap(), &rules()), expected(), "{compression}");
    }
}

/// A zip archive as Python writes it: names, contents, and for links their mode.
fn zipped(members: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.zip");
    let script = format!(
        "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED)\n\
         def link(n,t):\n i=zipfile.ZipInfo(n); i.create_system=3; i.external_attr=0o120777<<16; z.writestr(i,t)\n\
         def plain(n,c):\n i=zipfile.ZipInfo(n); i.create_system=0; i.external_attr=0; z.writestr(i,c)\n{members}\nz.close()"
    );
    tool("python3").args(["-c", &script]).arg(&out).run("python3").unwrap();
    fs::read(&out).unwrap()
}

#[test]
fn a_zip_archive_is_read_by_the_same_rules() {
    let bytes = zipped("plain('top/a.exe','MZ'); z.mkdir('top/empty'); plain('top/deep/'+'x'*150,'long')");
    let rules = ArchiveRules { strip: 1, ..rules() };
    let long = format!("deep/{} 644 long", "x".repeat(150));
    assert_eq!(listing(&bytes, &rules), ["a.exe 644 MZ".to_owned(), long, "empty 755 /".to_owned()]);
    for (members, reason) in [
        ("plain('../x','')", "\"..\""),
        ("plain('/x','')", "absolute"),
        (r"plain('a\\b','')", "its name has a \"\\\""),
        ("link('l','../../etc')", "outside of the archive"),
        ("plain('a',''); plain('a/b','')", "which is a file"),
        ("z.writestr('big', b'0'*(100<<20))", "decompression bomb"),
        ("", "it is empty"),
    ] {
        let error = error(&zipped(members), &super::rules());
        assert!(error.kind() == ErrorKind::Archive && error.message().contains(reason), "{members}: {error}");
    }
    let mut cut = bytes.clone();
    cut.truncate(bytes.len() - 30);
    assert!(error(&cut, &rules).message().contains("cannot be unpacked"));
    let mut damaged = zipped("z.writestr('a', 'text', zipfile.ZIP_STORED)");
    let at = damaged.windows(4).position(|window| window == b"text").unwrap();
    damaged[at] ^= 1;
    assert!(error(&damaged, &super::rules()).message().contains("checksum"));
}
