use super::*;

const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const B: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn sha256(digits: &str) -> Expected {
    Expected::Sha256(digits.parse().unwrap())
}

fn sha512(byte: u8) -> Expected {
    Expected::Sha512([byte; 64])
}

fn digits512(byte: u8) -> String {
    hex::encode([byte; 64])
}

fn refusal(document: &str, name: &str) -> String {
    find(document.as_bytes(), name).unwrap_err().message().to_owned()
}

#[test]
fn every_dialect_is_read() {
    let cases = [
        ("bare", A.to_owned()),
        ("bare with newline", format!("{A}\n")),
        ("bare with carriage return", format!("{A}\r\n")),
        ("bare in capitals", A.to_uppercase()),
        ("bare with a byte order mark", format!("\u{feff}{A}\n")),
        ("standard input", format!("{A}  -\n")),
        ("text mode", format!("{A}  runc.amd64\n")),
        ("binary mode", format!("{A} *runc.amd64\n")),
        ("one blank", format!("{A} runc.amd64\n")),
        ("tab", format!("{A}\trunc.amd64\n")),
        ("folder", format!("{B}  ./bin/runc.arm64\n{A}  ./bin/runc.amd64\n")),
        ("carriage returns", format!("{B}  runc.arm64\r\n{A}  runc.amd64\r\n")),
        ("prefixed", format!("sha256:{A}  runc.amd64\n")),
        ("BSD", format!("MD5 (runc.amd64) = d41d8cd98f00b204e9800998ecf8427e\nSHA256 (runc.amd64) = {A}\n")),
        ("OpenSSL", format!("SHA2-256(runc.amd64)= {A}\n")),
        ("comments", format!("# made by hand\n\n{A}  runc.amd64\n")),
        ("twice the same", format!("{A}  runc.amd64\n{A}  ./runc.amd64\n")),
        ("a longer name first", format!("{B}  runc.amd64.asc\n{A}  runc.amd64\n")),
    ];
    for (dialect, document) in cases {
        assert_eq!(find(document.as_bytes(), "runc.amd64").unwrap(), sha256(A), "{dialect}");
    }
}

#[test]
fn a_clear_signed_file_counts_only_where_it_is_signed() {
    let signed = format!(
        "{B}  runc.amd64\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n- {A}  runc.amd64\n{B}  runc.arm64\n\
         -----BEGIN PGP SIGNATURE-----\n\n{B}  runc.amd64\n-----END PGP SIGNATURE-----\n{B}  runc.amd64\n"
    );
    assert_eq!(find(signed.as_bytes(), "runc.amd64").unwrap(), sha256(A));
    assert_eq!(find(signed.replace('\n', "\r\n").as_bytes(), "runc.arm64").unwrap(), sha256(B));
    let cut = signed.split("-----BEGIN PGP SIGNATURE-----").next().unwrap();
    assert!(refusal(cut, "runc.amd64").contains("cut off"));
}

#[test]
fn flatcar_digests_give_the_strongest() {
    let name = "flatcar_production_image.bin.bz2";
    let document = format!(
        "# MD5 HASH\nd41d8cd98f00b204e9800998ecf8427e  {name}\n# SHA1 HASH\nda39a3ee5e6b4b0d3255bfef95601890afd80709  {name}\n\
         # SHA512 HASH\n{}  {name}\n",
        digits512(5)
    );
    assert_eq!(find(document.as_bytes(), name).unwrap(), sha512(5));
    let both = format!("# SHA256 HASH\n{A}  {name}\n{document}");
    assert_eq!(find(both.as_bytes(), name).unwrap(), sha512(5));
}

#[test]
fn a_digest_as_long_as_sha512_in_another_block_is_not_taken_for_it() {
    let document = format!("# BLAKE2B HASH\n{}  x\n# SHA512 HASH\n{}  x\n", digits512(1), digits512(2));
    assert_eq!(find(document.as_bytes(), "x").unwrap(), sha512(2));
    let tagged = format!("BLAKE2b (x) = {}\nSHA3-256 (x) = {B}\nSHA256 (x) = {A}\n", digits512(1));
    assert_eq!(find(tagged.as_bytes(), "x").unwrap(), sha256(A));
}

#[test]
fn a_path_tells_equal_names_apart() {
    let document = format!("{A}  bin/linux/amd64/kubectl\n{B}  bin/linux/arm64/kubectl\n");
    assert_eq!(find(document.as_bytes(), "v1.36.2/bin/linux/arm64/kubectl").unwrap(), sha256(B));
    assert_eq!(
        find(document.as_bytes(), "https://dl.k8s.io/v1.36.2/bin/linux/amd64/kubectl").unwrap(),
        sha256(A)
    );
    let refused = refusal(&document, "kubectl");
    assert!(
        refused.contains("different digests") && refused.contains("bin/linux/arm64/kubectl"),
        "{refused}"
    );
}

#[test]
fn what_is_no_checksum_file_is_refused() {
    let weak = "d41d8cd98f00b204e9800998ecf8427e  runc.amd64";
    let named = format!("{A}  containerd.tgz\n{B}  runc.arm64\n");
    let two = format!("{A}\n{B}\n");
    let cases = [
        ("", "empty"),
        (" \r\n\n", "empty"),
        ("<!DOCTYPE html><html>", "web page"),
        ("\n <?xml version='1.0'?><Error><Code>NoSuchKey</Code>", "web page"),
        ("Not Found", "no line"),
        ("404: e3b0  runc.amd64", "no line"),
        (weak, "only weak digests"),
        (named.as_str(), "does not mention runc.amd64; nearest: runc.arm64"),
        (two.as_str(), "different digests"),
        (&A[..63], "no line"),
        ("-----BEGIN PGP SIGNATURE-----\n\niQIz\n-----END PGP SIGNATURE-----", "no line"),
    ];
    for (document, message) in cases {
        let refused = refusal(document, "runc.amd64");
        assert!(refused.contains(message), "{document:?}: {refused}");
    }
}

#[test]
fn contradictions_are_refused() {
    let document = format!("{A}  runc.amd64\n{B}  runc.amd64\n");
    assert!(refusal(&document, "runc.amd64").contains(B));
}

#[test]
fn no_input_panics() {
    let mut seed = 7_u32;
    let alphabet = b"0aF \t\r\n*()=#-\\/<\xff\xc3:HASH";
    for _ in 0..2000 {
        let mut bytes = Vec::new();
        for _ in 0..200 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(alphabet[(seed >> 16) as usize % alphabet.len()]);
        }
        let _outcome = find(&bytes, "a");
    }
}
