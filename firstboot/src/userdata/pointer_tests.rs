use super::*;

const SHA256_OF_HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn pointer(rest: &str) -> Result<Option<Pointer>> {
    read(format!("apiVersion: firstboot.kiln/v1\nkind: ConfigPointer\n{rest}").as_bytes())
}

#[test]
fn pointers_are_read() {
    let sha512 = "ab".repeat(64);
    for (rest, url, has_digest, is_signed) in [
        (
            format!("url: https://host/a?canary\nsha256: {}", SHA256_OF_HELLO.to_uppercase()),
            "https://host/a?canary",
            true,
            false,
        ),
        (
            format!("url: http://[fd00::1]:80/\nsha512: {sha512}\nsha256: {SHA256_OF_HELLO}"),
            "http://[fd00::1]:80/",
            true,
            false,
        ),
        (
            "url: https://u:canary@host\nsignature: |\n  untrusted comment".to_owned(),
            "https://u:canary@host",
            false,
            true,
        ),
    ] {
        let pointer = pointer(&rest).unwrap().unwrap();
        assert_eq!(
            (pointer.url.reveal(), pointer.has_digest(), pointer.signature.is_some()),
            (url, has_digest, is_signed)
        );
        assert!(!format!("{pointer:?} {}", pointer.url).contains("canary"));
    }
    let json = format!(
        r#"{{"kind":"ConfigPointer","apiVersion":"firstboot.kiln/v1","url":"https://a/b","sha256":"{SHA256_OF_HELLO}"}}"#
    );
    assert!(read(json.as_bytes()).unwrap().is_some());
}

#[test]
fn other_documents_are_no_pointers() {
    for text in [
        "",
        "kind: JoinConfiguration",
        "kind: JoinConfiguration # ConfigPointer",
        "a: ConfigPointer",
        "kind: ConfigPointer\n---\nkind: b",
        "- ConfigPointer:\n x",
    ] {
        assert_eq!(read(text.as_bytes()).ok().flatten(), None, "{text}");
    }
}

#[test]
fn what_is_unclear_is_refused() {
    let digest = format!("sha256: {SHA256_OF_HELLO}");
    for (rest, expected) in [
        ("url: https://host/canary".to_owned(), "neither sha256 nor sha512 nor signature"),
        (digest.clone(), "url is not"),
        (format!("url: ftp://canary/\n{digest}"), "url is not"),
        (format!("url: https:///canary\n{digest}"), "url is not"),
        (format!("url: https://\n{digest}"), "url is not"),
        (format!("url: \"https://a/\\ncanary\"\n{digest}"), "url is not"),
        (format!("url: [canary]\n{digest}"), "url is not a text"),
        ("url: https://a/b\nsha256: canary".to_owned(), "sha256 is not a digest of 64"),
        (format!("url: https://a/b\nsha512: {SHA256_OF_HELLO}"), "sha512 is not a digest of 128"),
        (format!("url: https://a/b\nsha-256: canary\n{digest}"), "a field that is not known"),
        (format!("url: https://a/b\n{digest}\nsignature: {{canary: x}}"), "signature is not a text"),
    ] {
        let failure = pointer(&rest).unwrap_err();
        assert!(
            failure.message.contains(expected) && failure.message.starts_with("ConfigPointer: "),
            "{rest}: {failure}"
        );
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
    let other = read(b"apiVersion: firstboot.kiln/v2\nkind: ConfigPointer\n").unwrap_err();
    assert!(other.help.unwrap().contains("firstboot.kiln/v1"));
}

#[test]
fn content_is_compared_with_the_digest() {
    let sha512 = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
    for rest in [format!("sha256: {SHA256_OF_HELLO}"), format!("sha512: {sha512}")] {
        let pointer = pointer(&format!("url: https://u:canary@host/canary\n{rest}")).unwrap().unwrap();
        pointer.verify(b"hello").unwrap();
        let failure = pointer.verify(b"hello\n").unwrap_err();
        assert!(
            failure.kind == ErrorKind::Untrusted && failure.message.contains("https://host gives"),
            "{failure}"
        );
        assert!(!failure.message.contains("canary"));
    }
}

#[test]
fn only_https_urls_of_other_machines_are_far() {
    for (url, expected) in [
        ("https://host/a", true),
        ("https://u:canary@host:8443/a", true),
        ("https://10.0.0.1/a", true),
        ("http://host/a", false),
        ("https://localhost/a", false),
        ("https://a.LOCALHOST/a", false),
        ("https://127.0.0.1/a", false),
        ("https://[::1]/a", false),
        ("https://[::ffff:127.0.0.1]/a", false),
        ("https://169.254.169.254/latest", false),
        ("https://host@169.254.169.254/latest", false),
        ("https://[fe80::1%25eth0]/a", false),
        ("https://0.0.0.0/a", false),
        ("https://host:x/a", false),
    ] {
        let text = format!("url: {url}\nsha256: {SHA256_OF_HELLO}");
        assert_eq!(pointer(&text).unwrap().unwrap().is_far(), expected, "{url}");
    }
}
