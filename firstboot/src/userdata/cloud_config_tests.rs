use super::*;

/// Reads a cloud-config that counts, so that a mistake is an error.
fn read_text(text: &str) -> Result<HostConfig> {
    let mut host_config = read(format!("#cloud-config\n{text}").as_bytes(), &Budget::default())?;
    host_config.problem.take().map_or(Ok(host_config), Err)
}

#[test]
fn files_are_decoded() {
    // `printf hello | gzip -n | base64`
    let gzipped = "H4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==";
    for (fields, content, mode) in [
        ("content: hello", "hello", 0o644),
        ("content: |\n    hello\n    x\n  permissions: '0600'", "hello\nx\n", 0o600),
        ("content: aGVsbG8=\n  encoding: b64\n  permissions: 0o640", "hello", 0o640),
        ("content: |\n    aGVs\n    bG8=\n  encoding: Base64\n  permissions: 0755", "hello", 0o755),
        (&format!("content: {gzipped}\n  encoding: gz+b64"), "hello", 0o644),
        (&format!("content: {gzipped}\n  encoding: gzip+base64\n  permissions: 416"), "hello", 0o640),
        ("encoding: text/plain", "", 0o644),
    ] {
        let host_config = read_text(&format!("write_files:\n- path: /a\n  {fields}\n"))
            .unwrap_or_else(|failure| panic!("{fields}: {failure}"));
        let file = &host_config.files[0];
        assert_eq!(
            (file.content.bytes(), file.mode, file.appends),
            (content.as_bytes(), mode, false),
            "{fields}"
        );
    }
    let host_config = read_text(
        "write_files:\n- {path: /a, owner: 'a:b', append: true}\n- {path: /b, source: {uri: https://canary}}",
    )
    .unwrap();
    assert_eq!(
        (host_config.files[0].owner.clone(), host_config.files[0].appends, host_config.files.len()),
        (Owner::parse("a:b"), true, 1)
    );
    assert_eq!(host_config.notices, ["write_files[1] comes from elsewhere and is not fetched"]);
}

#[test]
fn what_is_malformed_is_named_by_its_place() {
    for (text, expected) in [
        ("write_files: canary", "write_files is not a list"),
        ("write_files: [canary]", "write_files[0] is not a map of fields"),
        ("write_files: [{content: canary}]", "write_files[0].path is not there"),
        ("write_files: [{path: canary}]", "write_files[0]: the path is not that of a file"),
        ("write_files: [{path: /canary/../x}]", "write_files[0]: the path is not that of a file"),
        ("write_files: [{path: /a, content: [canary]}]", "write_files[0].content is not a text"),
        ("write_files: [{path: /a, content: 'canary!', encoding: b64}]", "write_files[0]: the base64 text"),
        ("write_files: [{path: /a, content: canary, encoding: gz}]", "write_files[0]: the gzip data"),
        (
            "write_files: [{path: /a, content: a, encoding: canary}]",
            "write_files[0]: its encoding is not known",
        ),
        ("write_files: [{path: /a, permissions: canary}]", "write_files[0].permissions is not a mode"),
        ("write_files: [{path: /a, permissions: '10000'}]", "write_files[0].permissions is not a mode"),
        ("write_files: [{path: /a, append: canary}]", "write_files[0].append is not true or false"),
        ("write_files: [{path: /a, content: !!binary Y2FuYXJ5}]", "tagged as binary"),
        ("runcmd: [{canary: x}]", "runcmd[0] is not a text or a list of texts"),
        ("runcmd: canary", "runcmd is not a list"),
        ("runcmd: [canary, 5]", "runcmd[1] is not a text or a list of texts"),
        ("bootcmd: [{canary: x}]", "bootcmd[0] is not a text or a list of texts"),
        ("snap: {commands: [5]}", "snap.commands is not of texts"),
        ("merge_how: canary", "its way of merging"),
        ("hostname: [canary]", "hostname is not a text"),
        ("- canary", "it is not a map"),
        ("a: 'canary", "not valid YAML"),
        ("a: 1\n---\nb: canary", "more than one document"),
        ("a: \0canary", "NUL"),
        (&format!("a: {}1", "{canary: ".repeat(100)), "not valid YAML"),
        (&"[".repeat(20_000), "brackets"),
        (&format!("a: {}", "canary ".repeat(1 << 18)), "longer than"),
    ] {
        let failure = read_text(text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(
            failure.message.contains(expected) && !format!("{failure:?}").contains("canary"),
            "{expected}: {failure}"
        );
    }
}

#[test]
fn the_host_name_is_chosen_as_cloud_init_does() {
    for (text, expected) in [
        ("hostname: a", Some("a")),
        ("hostname: a.b.c", Some("a")),
        ("hostname: a.b.c.\nprefer_fqdn_over_hostname: true", Some("a.b.c")),
        ("hostname: a.b\nfqdn: c.d", Some("a.b")),
        ("hostname: ''\nfqdn: b.c", Some("b.c")),
        ("hostname: a\nprefer_fqdn_over_hostname: true", None),
        ("hostname: a\nfqdn: ''\nprefer_fqdn_over_hostname: true", Some("a")),
        ("fqdn: b.c", Some("b")),
        (
            "fqdn: Worker-7.example.internal.\nprefer_fqdn_over_hostname: true",
            Some("Worker-7.example.internal"),
        ),
        ("hostname: a\nfqdn: b.c", Some("a")),
        ("hostname: a\nfqdn: b.c\nprefer_fqdn_over_hostname: true", Some("b.c")),
        ("hostname: a\npreserve_hostname: true", None),
        ("", None),
    ] {
        assert_eq!(read_text(text).unwrap().hostname.as_deref(), expected, "{text}");
    }
    let read = read_text("hostname: my_worker_1").unwrap();
    assert!(
        read.hostname.is_none()
            && read.hostname_problem.unwrap().message.contains("hostname is no host name")
    );
}

/// YAML 1.1, and texts as cloud-init reads them.
#[test]
fn booleans_and_numbers_are_read_as_cloud_init_does() {
    for (word, expected) in [
        ("yes", Some(true)),
        ("On", Some(true)),
        ("\"true\"", Some(true)),
        ("'1'", Some(true)),
        ("1", Some(true)),
        ("no", Some(false)),
        ("OFF", Some(false)),
        ("\"false\"", Some(false)),
        ("maybe", None),
        ("[]", None),
    ] {
        let found = read_text(&format!("write_files: [{{path: /a, append: {word}}}]"));
        assert_eq!(found.ok().map(|found| found.files[0].appends), expected, "{word}");
    }
    let numbers = read_text("hostname: 1007\nwrite_files: [{path: /a, content: 12, owner: 0}]").unwrap();
    assert_eq!(numbers.hostname.as_deref(), Some("1007"));
    assert_eq!(numbers.files[0].content.bytes(), b"12");
    for (word, mode) in
        [("0640", 0o640), ("640", 0o1200), ("0o640", 0o640), ("420.5", 0o644), ("'0755'", 0o755)]
    {
        let read = read_text(&format!("write_files: [{{path: /a, permissions: {word}}}]")).unwrap();
        assert_eq!(read.files[0].mode, mode, "{word}");
    }
    // What is text for Python stays as it is; what it would write in another way has no certain meaning.
    for name in ["1e3", "12e3", "0o17", "08", "y"] {
        assert_eq!(read_text(&format!("hostname: {name}")).unwrap().hostname.as_deref(), Some(name));
    }
    for word in ["0110", "0x1F", "1_000", "yes", "2026-11-29", "1:30", ".inf"] {
        for field in [
            "hostname: @",
            "fqdn: @",
            "write_files: [{path: /a, content: @}]",
            "write_files: [{path: /a, owner: @}]",
        ] {
            let failure =
                read_text(&field.replace('@', word)).err().unwrap_or_else(|| panic!("{field} {word}"));
            let help = failure.help.unwrap_or_default();
            assert!(
                failure.message.ends_with("is not a text") && help.contains("in quotes"),
                "{word}: {help}"
            );
        }
    }
    read_text("users: [{name: a, expiredate: 2026-11-29}]\nx: .inf\n").unwrap();
    let source = "write_files: [{path: /a, content: x, source: {uri: https://canary}}]";
    let notices = read_text(source).unwrap().notices;
    assert_eq!(notices, ["write_files[0] names a source, which is not fetched: its content is written"]);
}

#[test]
fn unused_parts_get_a_notice_without_content() {
    let host_config =
        read_text("packages: [canary]\nusers: [{name: canary}]\nbootcmd: [canary, [canary]]\ncanary: x\nntp: {}\nruncmd: [canary, null]")
            .unwrap();
    assert_eq!(host_config.notices, ["these fields are not used: packages, users, 1 unknown"]);
}

/// As cloud-init runs them: `runcmd` is one script, `bootcmd` another one before the files are written, and
/// each command of `snap` has a shell of its own.
#[test]
fn the_commands_of_a_field_run_in_the_shell_of_cloud_init() {
    let join = "kubeadm join a:1 --token x --node-name";
    for (text, expected) in [
        ("runcmd: [N=n1, 'JOIN $N']", Some("n1")),
        ("runcmd: [[echo, 'it''s $N'], null, 'JOIN n1', exit 0]", Some("n1")),
        ("runcmd: ['exit 0', 'JOIN n1']", None),
        ("runcmd: [[exit, 0], 'JOIN n1']", None),
        ("runcmd: [set -e, 'false', 'JOIN n1']", None),
        ("runcmd: [set -e, 'false || true', 'JOIN n1']", Some("n1")),
        ("runcmd: ['if [ -f /x ]; then', 'JOIN n1', fi]", Some("n1")),
        ("runcmd: ['f() {', 'JOIN n1', '}']", None),
        ("runcmd: ['[ -f /x ] && exit 0', 'N=n1', 'sh -c \"JOIN $N\"']", Some("n1")),
        ("snap: {commands: [N=n1, 'JOIN $N']}", None),
        ("snap: {commands: {a: 'N=n2'}}\nruncmd: ['JOIN $N']", None),
        ("snap: {commands: {b: [install, x], a: [null, sh, -c, 'JOIN n1']}}\nruncmd: [exit 0]", Some("n1")),
        ("bootcmd: ['JOIN n1']", Some("n1")),
        ("bootcmd: ['exit 0', 'JOIN n1']", None),
        ("bootcmd: [N=n1]\nruncmd: ['JOIN $N']", None),
        ("bootcmd: ['JOIN n1']\nruncmd: [[sh, -c, 'JOIN n1']]", Some("n1")),
        ("bootcmd: [hostname n2]\nhostname: n1\nruncmd: ['JOIN $(hostname)']", Some("n1")),
    ] {
        let text = text.replace("JOIN", join);
        let mut read = read_text(&text).unwrap();
        let found = read.find(&|_| None, &Budget::default()).ok().flatten();
        let name = found.and_then(|found| found.flags?.node_name);
        assert_eq!(name.as_deref(), expected, "{text}");
    }
    let mut read = read_text("bootcmd: [canary, [canary]]").unwrap();
    assert!(read.find(&|_| None, &Budget::default()).unwrap().is_none());
    assert_eq!(read.notices, ["2 commands of bootcmd are not executed"]);
}

#[test]
fn a_patch_that_copies_without_end_is_refused() {
    let copies = r#",{"op":"copy","from":"/b","path":"/b/-"}"#.repeat(40);
    let patch =
        format!("#cloud-config-jsonp\n[{{\"op\":\"add\",\"path\":\"/b\",\"value\":[\"xxxxxxxx\"]}}{copies}]");
    let mut merged = Merged::default();
    assert!(merged.patch(patch.as_bytes()).is_err());
    let few = patch.replacen(&copies, &copies[..copies.len() / 20], 1);
    assert!(Merged::default().patch(few.as_bytes()).is_ok());
}
