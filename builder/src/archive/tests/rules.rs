//! What is extracted from valid archives.

use super::raw::{Raw, bzip2, deb, gzip, xz, zstd};
use super::*;

fn release() -> Vec<u8> {
    Raw::default()
        .honest("glob", b'g', "", b"15 comment=abc\n")
        .folder("./")
        .folder("./bin/")
        .file("./bin/tool", b"tool")
        .hardlink("./bin/alias", "./bin/tool")
        .symlink("./bin/link", "tool")
        .file("./doc/README", b"read me")
        .folder("./empty")
        .end()
}

#[test]
fn every_form_gives_the_same_tree() {
    let expected = [
        "bin/alias 755 tool",
        "bin/link 777 -> tool",
        "bin/tool 755 tool",
        "doc/README 755 read me",
        "empty 755 /",
    ];
    let tar = release();
    let (first, second) = tar.split_at(1000);
    let forms = [
        ("tar", tar.clone()),
        ("tar.bz2", bzip2(&tar)),
        ("tar.bz2 of two streams", [bzip2(first), bzip2(second)].concat()),
        ("tar.gz", gzip(&tar)),
        ("tar.gz of two members", [gzip(first), gzip(second)].concat()),
        ("tar.xz", xz(&tar)),
        ("tar.xz of two streams", [xz(first), xz(second)].concat()),
        ("tar.zst", zstd(&tar)),
        ("tar.zst of two frames", [zstd(first), zstd(second)].concat()),
        ("deb", deb("data.tar", &tar)),
        ("deb with gzip", deb("data.tar.gz", &gzip(&tar))),
        ("deb with xz", deb("data.tar.xz/", &xz(&tar))),
        ("deb with zstd", deb("data.tar.zst", &zstd(&tar))),
    ];
    for (form, bytes) in forms {
        assert_eq!(listing(&bytes, &rules()), expected, "{form}");
    }
}

#[test]
fn strip_pick_into_and_mode() {
    let picked = ArchiveRules {
        strip: 1,
        pick: vec!["t*".into(), "READ??".into()],
        into: "usr/local/bin".into(),
        mode: Some(0o4711),
    };
    assert_eq!(
        listing(&release(), &picked),
        ["usr/local/bin/README 4711 read me", "usr/local/bin/tool 4711 tool"]
    );
}

#[test]
fn a_hard_link_is_taken_even_when_its_first_name_is_not() {
    assert_eq!(
        listing(&release(), &ArchiveRules { pick: vec!["bin/alias".into()], ..rules() }),
        ["bin/alias 755 tool"]
    );
}

#[test]
fn a_pattern_that_matches_nothing_lists_near_names() {
    let error = error(&release(), &ArchiveRules { pick: vec!["sbin/tool".into()], ..rules() });
    assert_eq!(error.kind(), ErrorKind::Definition);
    assert_eq!(error.message(), "archive sample 1.0: the pattern \"sbin/tool\" matches nothing");
    assert!(error.hint().unwrap().contains("\"bin/tool\""), "{error}");
    let error = self::error(&release(), &ArchiveRules { pick: vec!["bin".into()], ..rules() });
    assert_eq!(error.hint(), Some("write \"bin/**\" to take what is in it"));
    let error = self::error(&release(), &ArchiveRules { strip: 3, ..rules() });
    assert!(error.message().contains("nothing is left after strip = 3"), "{error}");
}

/// The archive with another mode in its first header.
fn first_mode(mut bytes: Vec<u8>, mode: &[u8; 8]) -> Vec<u8> {
    bytes[100..108].copy_from_slice(mode);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn nobody_else_may_write_files_of_an_archive() {
    for (mode, expected) in
        [(b"0000666\0", "644"), (b"0000777\0", "755"), (b"0006775\0", "755"), (b"0000600\0", "600")]
    {
        let tar = first_mode(Raw::default().file("tool", b"x").hardlink("alias", "tool").end(), mode);
        let forms = [
            tar.clone(),
            gzip(&tar),
            xz(&tar),
            zstd(&tar),
            deb("data.tar", &tar),
            deb("data.tar.xz", &xz(&tar)),
        ];
        for bytes in forms {
            let lines = [format!("alias {expected} x"), format!("tool {expected} x")];
            assert_eq!(listing(&bytes, &rules()), lines);
        }
    }
}

#[test]
fn folders_with_a_mode_of_their_own_are_kept() {
    let table = [
        (b"0000750\0", Some("d 750 /")),
        (b"0000775\0", None),
        (b"0001777\0", Some("d 1777 /")),
        (b"0002755\0", None),
    ];
    for (mode, expected) in table {
        let bytes = first_mode(Raw::default().folder("d/").file("d/f", b"").end(), mode);
        let lines = listing(&bytes, &rules());
        assert_eq!(lines.iter().find(|line| line.starts_with("d ")).map(String::as_str), expected);
    }
}

#[test]
fn packages_may_link_from_the_root() {
    let tar = Raw::default().symlink("usr/bin/editor", "/etc/alternatives/editor").end();
    assert_eq!(listing(&deb("data.tar", &tar), &rules()), ["usr/bin/editor 777 -> /etc/alternatives/editor"]);
}

#[test]
fn long_names_of_both_kinds() {
    let long = format!("{}/file", "folder/".repeat(30).trim_end_matches('/'));
    let gnu = Raw::default()
        .honest("././@LongLink", b'L', "", format!("{long}\0").as_bytes())
        .file("cut", b"x")
        .end();
    let pax = Raw::default().pax("path", long.as_bytes()).file("cut", b"x").end();
    for bytes in [gnu, pax] {
        assert_eq!(listing(&bytes, &rules()), [format!("{long} 755 x")]);
    }
}
