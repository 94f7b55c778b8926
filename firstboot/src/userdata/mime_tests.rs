use super::*;

fn parts(text: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let budget = Budget::default();
    let message = message(text.as_bytes(), &budget)?;
    let parts = if message.is_multipart() { message.parts(&budget)? } else { vec![message] };
    if let Some(problem) = parts.iter().find_map(|part| part.problem.clone()) {
        return Err(problem);
    }
    Ok(parts.into_iter().map(|part| (part.media_type.clone(), part.content().to_vec())).collect())
}

fn mixed(rest: &str) -> String {
    format!("Content-Type: multipart/mixed; boundary=b\n\n{rest}")
}

#[test]
fn parts_are_told_apart() {
    for (text, expected) in [
        (mixed("--b\nContent-Type: text/cloud-config\n\na\n\n--b--\n"), vec![("text/cloud-config", "a\n")]),
        (
            mixed("before\n--b\n\na\n--b  \nContent-type: TEXT/X;c=d\n\n--bb\nb--b\n--b--\nbehind --b\n"),
            vec![("text/plain", "a"), ("text/x", "--bb\nb--b")],
        ),
        (mixed("--b\nX: y\n\n--b--"), vec![("text/plain", "")]),
        (mixed("--b\n\na\n--b--").replace('\n', "\r\n"), vec![("text/plain", "a")]),
        (mixed("--b\nContent-Transfer-Encoding: base64\n\naGVs\nbG8=\n\n--b--"), vec![("text/plain", "hello")]),
        (mixed("--b\nContent-Transfer-Encoding:Quoted-Printable\n\na=3D=\n=C3=A9  \nb\n--b--"), vec![("text/plain", "a=é\nb")]),
        (mixed("--b\nContent-Transfer-Encoding: 8bit\n\nä\n--b--"), vec![("text/plain", "ä")]),
        (
            "From x\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=\"=\\\"x; y=\"\n\n--=\"x; y=\n\na\n--=\"x; y=--"
                .to_owned(),
            vec![("text/plain", "a")],
        ),
        ("Content-Type: multipart/mixed; charset=x; Boundary = c ; d=e\n\n--c\n\na\n--c--".to_owned(), vec![("text/plain", "a")]),
        (
            "\u{feff}\nContent-Type: text/cloud-config\nMIME-Version: 1.0\n\n#cloud-config\n".to_owned(),
            vec![("text/cloud-config", "#cloud-config")],
        ),
        ("Content-Type: text/x\nA: b".to_owned(), vec![("text/x", "")]),
        // A last boundary that is missing or damaged, as in launch templates copied from one sample.
        (mixed("--b\n\na\n"), vec![("text/plain", "a")]),
        (mixed("--b\n\na\n--b--\\\n"), vec![("text/plain", "a")]),
        (mixed("--b\n\na\n--b\n\nb\n --b--\n"), vec![("text/plain", "a"), ("text/plain", "b\n --b--")]),
        // What Python's reader takes too.
        (mixed("--b\nno header\n\na\n--b--"), vec![("text/plain", "no header\n\na")]),
        (mixed("--b\nContent-Type: a/b\nContent-Type: c/d\n\na\n--b--"), vec![("a/b", "a")]),
        (mixed("--b\nContent-Transfer-Encoding: 7-bit\n\na\n--b--"), vec![("text/plain", "a")]),
    ] {
        let found = parts(&text).unwrap_or_else(|failure| panic!("{text}: {failure}"));
        let expected: Vec<(String, Vec<u8>)> = expected
            .into_iter()
            .map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for (text, expected) in [
        ("Content-Type: multipart/mixed\n\n--b\n\na\n--b--".to_owned(), "no boundary"),
        (format!("Content-Type: multipart/mixed; boundary={}\n\n", "b".repeat(71)), "no boundary"),
        ("Content-Type: multipart/mixed; boundary=\"\"\n\n----".to_owned(), "no boundary"),
        (mixed("--c\n\na\n--c--\n"), "does not occur"),
        (mixed(""), "does not occur"),
        (mixed("--b\nContent-Transfer-Encoding: base64\n\ncanary!\n--b--"), "base64"),
        (mixed("--b\nContent-Transfer-Encoding: quoted-printable\n\ncanary=X\n--b--"), "quoted-printable"),
        (mixed("--b\nContent-Transfer-Encoding: quoted-printable\n\n=+1\n--b--"), "quoted-printable"),
        (mixed(&format!("{}--b--", "--b\n\n\n".repeat(65))), "more than 64 parts"),
        (mixed(&format!("--b\nA: {}\n\n--b--", "x".repeat(HEADERS))), "16 KiB"),
    ] {
        let failure = parts(&text).unwrap_err();
        assert!(
            failure.message.contains(expected) && !failure.message.contains("canary"),
            "{expected}: {failure}"
        );
    }
}

#[test]
fn a_signer_may_have_signed_the_last_line_break() {
    let budget = Budget::default();
    for (text, content, whole) in [("a\n", "a", "a\n"), ("a\r\n", "a", "a\r\n"), ("a\n\n", "a\n", "a\n\n")] {
        let message = message(mixed(&format!("--b\n\n{text}--b--")).as_bytes(), &budget).unwrap();
        let parts = message.parts(&budget).unwrap();
        assert_eq!((parts[0].content(), parts[0].with_line_break()), (content.as_bytes(), whole.as_bytes()));
    }
}
