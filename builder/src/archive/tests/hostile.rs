//! Archives that must be refused, each with the reason and the name of the entry.

use super::raw::{Raw, deb, gzip, record, xz, zstd};
use super::*;

fn raw() -> Raw {
    Raw::default().folder("ok/").file("ok/file", b"fine")
}

/// The fault, the tar, the entry that the message must name, and a part of the reason.
fn table() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let long = "n/".repeat(2100) + "n";
    let deep = "d/".repeat(200);
    let global = record("path", b"elsewhere");
    vec![
        ("absolute path", raw().file("/etc/passwd", b"x").end(), "/etc/passwd", "absolute"),
        ("parent path", raw().file("../evil", b"x").end(), "../evil", "\"..\""),
        ("parent inside a path", raw().file("ok/../../evil", b"x").end(), "ok/../../evil", "\"..\""),
        ("parent as a folder", raw().folder("..").end(), "..", "\"..\""),
        ("parent path in pax", raw().pax("path", b"../evil").file("good", b"x").end(), "../evil", "\"..\""),
        (
            "parent path in a GNU name",
            raw().honest("././@LongLink", b'L', "", b"../evil\0").file("good", b"x").end(),
            "../evil",
            "\"..\"",
        ),
        ("absolute link", raw().symlink("ok/link", "/etc/passwd").end(), "ok/link", "outside of the archive"),
        ("relative link", raw().symlink("ok/link", "../../etc").end(), "ok/link", "outside of the archive"),
        (
            "link by a link",
            raw().symlink("here", ".").symlink("l", "here/here/../x").end(),
            "l",
            "outside of the archive",
        ),
        ("link to itself", raw().symlink("loop", "loop").end(), "loop", "too many links"),
        ("link to nothing", raw().symlink("empty", "").end(), "empty", "link to nothing"),
        (
            "file below a link",
            raw().symlink("l", "ok").file("l/x", b"x").end(),
            "l/x",
            "below \"l\", which is a link",
        ),
        (
            "link after the file below",
            raw().file("l/x", b"x").symlink("l", "ok").end(),
            "l/x",
            "below \"l\", which is a link",
        ),
        ("file below a file", raw().file("ok/file/x", b"x").end(), "ok/file/x", "which is a file"),
        ("absolute hard link", raw().hardlink("h", "/etc/shadow").end(), "h", "absolute"),
        ("parent hard link", raw().hardlink("h", "../shadow").end(), "h", "\"..\""),
        (
            "dangling hard link",
            raw().hardlink("h", "later").file("later", b"x").end(),
            "h",
            "not in the archive before it",
        ),
        ("hard link to a folder", raw().hardlink("h", "ok").end(), "h", "which is a folder"),
        ("hard link with a body", raw().honest("h", b'1', "ok/file", b"body").end(), "h", "not a file"),
        ("character device", raw().honest("null", b'3', "", b"").end(), "null", "device node"),
        ("block device", raw().honest("sda", b'4', "", b"").end(), "sda", "device node"),
        ("named pipe", raw().honest("pipe", b'6', "", b"").end(), "pipe", "named pipe"),
        ("unknown type", raw().honest("odd", b'Z', "", b"").end(), "odd", "type 'Z' is unknown"),
        ("sparse file", raw().honest("sparse", b'S', "", b"").end(), "sparse", "sparse"),
        ("sparse file in pax", raw().pax("GNU.sparse.major", b"1").file("s", b"x").end(), "pax", "sparse"),
        ("duplicate file", raw().file("ok/file", b"other").end(), "ok/file", "twice"),
        ("duplicate by spelling", raw().file("./ok//file", b"other").end(), "./ok//file", "twice"),
        ("duplicate folder", raw().folder("ok").end(), "ok", "twice"),
        ("file in place of a folder", raw().file("ok", b"x").end(), "ok", "twice"),
        (
            "file in place of the root",
            raw().file("./.", b"x").end(),
            "./.",
            "takes the place of the archive's root",
        ),
        ("folder with a body", raw().honest("d/", b'5', "", b"body").end(), "d/", "not a file"),
        ("file named as a folder", raw().file("f/", b"x").end(), "f/", "ends in a slash"),
        (
            "size beyond the end",
            raw().member(b"big", b'0', "00000077777\0", b"", b"x").end(),
            "big",
            "but the archive ends after",
        ),
        (
            "size that is no number",
            raw().member(b"big", b'0', "wrong\0", b"", b"x").end(),
            "big",
            "size is not a number",
        ),
        (
            "enormous size in pax",
            raw().pax("size", b"18446744073709551615").file("big", b"x").end(),
            "big",
            "but the archive ends after",
        ),
        ("negative size in pax", raw().pax("size", b"-1").file("big", b"x").end(), "pax", "not a number"),
        (
            "two paths in pax",
            raw().honest("pax", b'x', "", b"9 path=a\n9 path=b\n").file("n", b"").end(),
            "pax",
            "twice",
        ),
        (
            "malformed pax",
            raw().honest("pax", b'x', "", b"999 path=a\n").file("n", b"").end(),
            "pax",
            "malformed",
        ),
        (
            "global path",
            raw().honest("glob", b'g', "", &global).file("n", b"").end(),
            "glob",
            "global header sets \"path\"",
        ),
        (
            "huge extension",
            raw().honest("pax", b'x', "", &vec![b' '; 2 << 20]).end(),
            "pax",
            "extension header of 2097152 bytes",
        ),
        (
            "name that is not UTF-8",
            raw().member(b"\xff\xfe", b'0', "00000000000\0", b"", b"").end(),
            "",
            "not UTF-8",
        ),
        ("name with NUL", raw().pax("path", b"a\0b").file("n", b"").end(), "a", "control character"),
        ("name with a line end", raw().file("a\nb", b"").end(), "a", "control character"),
        ("name with an escape code", raw().file("a\x1b[2Jb", b"").end(), "a", "control character"),
        (
            "over-long name",
            raw().pax("path", long.as_bytes()).file("n", b"").end(),
            "n/n/n",
            "longer than 4096",
        ),
        (
            "over-long component",
            raw().pax("path", &[b'n'; 300]).file("n", b"").end(),
            "nnn",
            "longer than 255",
        ),
        ("too deep", raw().pax("path", deep.as_bytes()).folder("n").end(), "d/d/d", "deeper than 128"),
    ]
}

#[test]
fn hostile_tars_are_refused_by_name() {
    let table = table();
    assert!(table.len() >= 20);
    for (what, bytes, entry, reason) in table {
        let error = error(&bytes, &rules());
        assert_eq!(error.kind(), ErrorKind::Archive, "{what}: {error}");
        let message = error.message();
        assert!(message.starts_with("archive sample 1.0: entry \""), "{what}: {message}");
        assert!(
            message.contains(&format!("entry \"{entry}")) && message.contains(reason),
            "{what}: {message}"
        );
        assert!(error.hint().is_some(), "{what}");
        assert!(
            !message.chars().any(|letter| letter.is_control()),
            "{what}: {message:?} would reach the terminal"
        );
    }
}

#[test]
fn picking_something_else_does_not_hide_a_hostile_entry() {
    let picky = ArchiveRules { pick: vec!["ok/file".into()], ..rules() };
    assert!(error(&raw().symlink("bad", "/etc").end(), &picky).message().contains("entry \"bad\""));
    assert!(
        error(&raw().honest("null", b'3', "", b"").end(), &picky)
            .message()
            .contains("device node")
    );
}

#[test]
fn stripping_moves_the_root_that_links_may_not_leave() {
    let bytes = Raw::default().file("pkg/a", b"x").symlink("pkg/bin/l", "../../a").end();
    assert!(extracted(&bytes, &rules(), |result, _| result.is_ok()));
    let message = error(&bytes, &ArchiveRules { strip: 1, ..rules() });
    assert!(message.message().contains("outside of the archive"), "{message}");
}

#[test]
fn stripping_must_not_join_two_files() {
    let bytes = Raw::default().file("a/x", b"1").file("b/x", b"2").end();
    let message = error(&bytes, &ArchiveRules { strip: 1, ..rules() });
    assert!(message.message().contains("another entry has its path"), "{message}");
}

#[test]
fn cut_off_archives_are_refused_wherever_they_end() {
    let whole = raw().end();
    // Nothing is read after the first zero block.
    for length in [1, 200, 511, 513, 1000, 1024, 1100, 1535, 1536, 1600, 2047] {
        let error = error(&whole[..length], &rules());
        assert_eq!(error.kind(), ErrorKind::Archive, "{length}: {error}");
    }
    for packed in [gzip(&whole), xz(&whole), zstd(&whole)] {
        for length in (7..packed.len()).step_by(5) {
            let error = error(&packed[..length], &rules());
            assert_eq!(error.kind(), ErrorKind::Archive, "{length} of {}: {error}", packed.len());
        }
    }
}

#[test]
fn one_flipped_bit_in_compressed_data_is_noticed() {
    let whole = raw().end();
    for packed in [gzip(&whole), xz(&whole)] {
        let mut bad = packed.clone();
        let last = bad.len() - 6;
        bad[last] ^= 0x10;
        assert_eq!(error(&bad, &rules()).kind(), ErrorKind::Archive);
    }
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 70 << 20];
    let tar = Raw::default()
        .member(b"zeros", b'0', &format!("{:011o}\0", zeros.len()), b"", &zeros)
        .end();
    for packed in [gzip(&tar), zstd(&tar)] {
        let error = error(&packed, &rules());
        assert!(error.message().contains("decompression bomb"), "{error}");
    }
    // Many names for one body: small on disk, large when unpacked.
    let body = vec![0; 1 << 20];
    let many = (0..70)
        .fold(Raw::default().file("body", &body), |tar, index| tar.hardlink(&format!("name{index}"), "body"));
    let error = error(&gzip(&many.end()), &rules());
    assert!(error.message().contains("decompression bomb"), "{error}");
}

#[test]
fn the_limit_grows_with_the_archive_up_to_a_cap() {
    assert_eq!(unpack_limit(0), UNPACKED_FREE);
    assert_eq!(unpack_limit(1 << 20), 200 << 20);
    assert_eq!(unpack_limit(u64::MAX), UNPACKED_BYTES);
}

#[test]
fn broken_packages_are_refused() {
    let sound = deb("data.tar.gz", &gzip(&raw().end()));
    let table = [
        (sound[..20].to_vec(), "ends in the middle of a header"),
        (sound[..sound.len() - 10].to_vec(), "but the file ends after"),
        (deb("data.tar.lzma", b"x"), "compression of \"data.tar.lzma\" is not supported"),
        (deb("other", b"x"), "no data.tar"),
        (sound.iter().map(|byte| if *byte == b'`' { b'\'' } else { *byte }).collect(), "malformed"),
        ([b"!<arch>\n", &deb("data.tar", b"")[8 + 60 + 4..]].concat(), "instead of debian-binary"),
        (
            String::from_utf8_lossy(&deb("data.tar", b"")).replace("2.0\n", "3.0\n").into_bytes(),
            "version is not 2",
        ),
    ];
    for (bytes, reason) in table {
        let error = error(&bytes, &rules());
        assert!(error.kind() == ErrorKind::Archive && error.message().contains(reason), "{reason}: {error}");
    }
    let link = deb("data.tar.gz", &gzip(&Raw::default().symlink("usr/l", "../../etc").end()));
    assert!(error(&link, &rules()).message().contains("outside of the archive"));
}

#[test]
fn what_is_no_archive_says_what_it_looks_like() {
    for (bytes, reason) in
        [(&b""[..], "empty"), (b"PK\x03\x04", "Zip"), (b"<html>404", "web page"), (&[7; 600], "unknown")]
    {
        let error = error(bytes, &rules());
        assert!(error.message().contains(reason), "{error}");
    }
    let error = error(&gzip(&[b'x'; 2000]), &rules());
    assert!(error.message().contains("no tar header at byte 0"), "{error}");
    let empty = self::error(&Raw::default().folder("./").file("x", b"").end()[..512 * 2], &rules());
    assert!(empty.message().contains("cut off"), "{empty}");
}
