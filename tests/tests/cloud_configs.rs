//! The cloud-configs of a message are merged as by cloud-init: the distribution's package reads the same
//! messages.
#![allow(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firstboot::error::Failure;
use firstboot::userdata::{Elsewhere, Env, ParsedUserData, Pointer, Trust, open};
use kiln_tests::workspace;
use serde::Deserialize;
use testkit::not_run;

/// Ways of merging, as they are written in the world.
const WAYS: &[&str] = &[
    "",
    "list(append)+dict(recurse_array)+str()",
    "list(append)+dict(no_replace,recurse_list)+str()",
    "list(append) + dict(replace)",
    "list(prepend)+dict(recurse_array)+str(append)",
    "list()+dict()+str()",
    "list(no_replace)+dict(recurse_list)",
    "list(recurse_dict)+dict(recurse_array)+str()",
    "list(recurse_dict,recurse_str)+dict(recurse_array,recurse_str)+str(append)",
    "dict(replace)+list()+str()",
    "dict(recurse_str)+str(append)",
    "dict(allow_delete,recurse_list)+list(append)",
    "list(append)",
    "DICT(recurse_list)+M_LIST(append)",
    "dict(replace,allow_delete)",
    "str(append)",
];
const JOIN: &str = "kubeadm join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-unsafe-skip-ca-verification";
const FIRST: &str = "hostname: n1\nwrite_files:\n- {path: /a, content: one}\n- {path: /b, content: two}\nruncmd:\n- echo hi\n";
const SECOND: &str = "hostname: n2\nwrite_files:\n- {path: /c, content: three}\n- {path: /a, content: more, append: yes}\n- {path: /d, content: ''}\n";

/// What cloud-init makes of a message.
#[derive(Debug, Deserialize)]
struct Merged {
    files: BTreeMap<String, String>,
    commands: Vec<String>,
    hostname: Option<String>,
}

fn message(parts: &[(String, String)]) -> String {
    let parts: String = parts.iter().map(|(headers, text)| format!("--b\n{headers}\n\n{text}\n")).collect();
    format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n{parts}--b--\n")
}

fn part(text: &str) -> (String, String) {
    ("Content-Type: text/cloud-config".to_owned(), format!("#cloud-config\n{text}"))
}

/// A part that is merged in this way: said in a header, or in the part itself.
fn merged_by(header: Option<&str>, way: &str, text: &str) -> (String, String) {
    let (headers, text) = part(text);
    match header {
        Some(header) => (format!("{headers}\n{header}: {way}"), text),
        None if way.is_empty() => (headers, text),
        None => (headers, format!("{text}merge_how: '{way}'\n")),
    }
}

fn messages() -> Vec<String> {
    let join = format!("runcmd:\n- {JOIN}\n");
    let mut all = Vec::new();
    for way in WAYS {
        for header in [None, Some("Merge-Type"), Some("X-Merge-Type")] {
            let of = |text: &str| merged_by(header, way, text);
            all.push(message(&[part(FIRST), of(SECOND), of(&join)]));
            all.push(message(&[of(SECOND), part(&join), of(FIRST)]));
        }
    }
    let list = "merge_how:\n- {name: list, settings: [append]}\n- {name: dict, settings: [no_replace, recurse_list]}\n";
    let encoded = |encoding: &str, text: String| {
        (format!("Content-Type: text/cloud-config\nContent-Transfer-Encoding: {encoding}"), text)
    };
    let labelled =
        |kind: &str, text: &str| (format!("Content-Type: {kind}"), format!("#cloud-config\n{text}"));
    let rows = [
        vec![part(FIRST), part(&format!("{list}{SECOND}")), part(&format!("{list}{join}"))],
        vec![part(FIRST), encoded("base64", STANDARD.encode(format!("#cloud-config\n{join}")))],
        vec![
            part(FIRST),
            encoded("quoted-printable", format!("#cloud-config\n{}", join.replace('=', "=3D"))),
        ],
        vec![part(FIRST), encoded("7-bit", format!("#cloud-config\n{join}"))],
        vec![labelled("text/plain", FIRST), labelled("text/x-shellscript", &join)],
        vec![part("a: 'not closed\n"), part(FIRST), part(&join)],
        vec![part("- no map\n"), part(FIRST), part(&join)],
        vec![part(FIRST), part(SECOND), part(&join), ("Content-Type: image/png".to_owned(), "x".to_owned())],
        vec![
            part(FIRST),
            part(&join),
            (
                "Content-Type: text/cloud-config-jsonp".to_owned(),
                "#cloud-config-jsonp\n[{\"op\": \"replace\", \"path\": \"/hostname\", \"value\": \"n9\"}]"
                    .to_owned(),
            ),
        ],
    ];
    all.extend(rows.iter().map(|parts| message(parts)));
    let whole = message(&[part(FIRST), part(&join)]);
    all.push(whole.replace("--b--\n", ""));
    all.push(whole.replace('\n', "\r\n"));
    all.push(format!("#cloud-config\n{FIRST}{}", join.trim_start_matches("runcmd:\n")));
    all.push(format!(
        "#cloud-config-archive\n- content: 'hostname: n3'\n- |\n  #cloud-config\n  runcmd: ['{JOIN}']\n"
    ));
    all
}

fn by_cloud_init(messages: &[String]) -> Vec<Merged> {
    let messages: Vec<String> = messages.iter().map(|message| STANDARD.encode(message)).collect();
    let mut child = Command::new(workspace::root().join("tests/cloud-configs/cloud-init"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&messages).unwrap()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

fn opened(message: &str) -> Result<ParsedUserData, Failure> {
    let env = Env {
        trust: &Trust::Any,
        names: &|_, _| panic!("no template was written"),
        lookup: &|_| None,
        fetch: &|_: &Pointer| panic!("no pointer was written"),
        follow: &|_: &Elsewhere| Ok(None),
    };
    open(message.as_bytes(), None, &env)
}

#[test]
fn messages_are_merged_as_by_cloud_init() {
    let test = "messages_are_merged_as_by_cloud_init";
    let found = Command::new("/usr/bin/python3").args(["-c", "import cloudinit"]).status();
    if !found.is_ok_and(|status| status.success()) {
        not_run(test, "no cloud-init for /usr/bin/python3");
        return;
    }
    let messages = messages();
    assert!(messages.len() >= 60, "{}", messages.len());
    let mut joins = 0;
    for (message, merged) in messages.iter().zip(by_cloud_init(&messages)) {
        let is_join = merged.commands.iter().any(|command| command == JOIN);
        let opened = match opened(message) {
            Ok(opened) => opened,
            // Texts that were appended to each other are no join that kubeadm knows.
            Err(failure) => {
                let is_expected = ["flags", "replaced by a later one"]
                    .iter()
                    .any(|reason| failure.message.contains(reason));
                assert!(!is_join && is_expected, "{failure}\n{message}");
                continue;
            }
        };
        assert_eq!(opened.has_config(), is_join, "{message}\n{merged:?}");
        if !is_join {
            continue;
        }
        joins += 1;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let files: BTreeMap<String, String> =
            opened.files.iter().map(|file| (file.path.clone(), text(file.content.bytes()))).collect();
        assert_eq!(
            (&files, opened.hostname.as_deref()),
            (&merged.files, merged.hostname.as_deref()),
            "{message}"
        );
    }
    assert!(joins >= 40, "{joins}");
}
