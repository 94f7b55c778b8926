use std::cell::RefCell;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use flate2::Compression;
use flate2::write::GzEncoder;
use zeroize::Zeroizing;

use super::*;
use crate::config::HostDefaults;
use crate::error::ErrorKind;
use crate::instance_data::{Found, Step, walk};
use contract::public_key::PublicKey;

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken: {token: canary.canarycanarycana, apiServerEndpoint: \"a:1\", unsafeSkipCAVerification: true}\n";
const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 42\n";

/// A key of minisign that is used only here, and a text that it signed.
const KEY: &str = "RWQFQZjdpXeedGYW2sULdrLFoj+uzx1LnNci8wxwTna0pIXbiQ8XEvCW";
const ID: &str = "749E77A5DD984105";
const SIGNED: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQFQZjdpXeedLH5Loree845tyjYdKlpgilCrrjrOJqY6BxejJYTcIHal8SK/7VVA5aPT3vlj/L6qV8qJmfJcS2bCRYeFOrGhQM=
trusted comment: kiln test
VsmQJkv2DlxAlxgBQElb/mtGfuBBEtP5seACvTNP/S/M2444Dbnz729eskVwNX4I7Qr9B9JbY5cZLgQ+Y+gkAg==
";

fn trusted() -> Trust {
    Trust::SignedBy(vec![PublicKey::parse(KEY).unwrap()])
}

/// Opens user data on a machine with a name, with a server that has `served`. Returns how often the server
/// was asked.
fn open_with(
    bytes: &[u8],
    signature: Option<&str>,
    trust: &Trust,
    served: &[u8],
) -> (Result<ParsedUserData>, usize) {
    let asked = RefCell::new(0);
    let fetch = |_: &Pointer| {
        *asked.borrow_mut() += 1;
        Ok(Document::new(Zeroizing::new(served.to_vec())).unwrap())
    };
    let known = serde_json::json!({"v1": {"local_hostname": "n1"}});
    let names =
        |root: &str, steps: &[Step]| Ok(walk(&known, &[&[Step::Item(root.to_owned())], steps].concat()));
    let env = Env { trust, names: &names, lookup: &|_| None, fetch: &fetch, follow: &|_| Ok(None) };
    let opened = open(bytes, signature, &env);
    if let Ok(opened) = &opened {
        assert!(!format!("{opened:?}").contains("canary"), "{opened:?}");
    }
    if let Err(failure) = &opened {
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
    (opened, asked.into_inner())
}

fn opened(bytes: &[u8]) -> Result<ParsedUserData> {
    open_with(bytes, None, &Trust::Any, b"").0
}

fn texts(opened: &ParsedUserData) -> Vec<&str> {
    opened
        .documents
        .iter()
        .map(|document| std::str::from_utf8(document.bytes()).unwrap())
        .collect()
}

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes.as_ref(), ruzstd::encoding::CompressionLevel::Fastest)
}

fn base64(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

fn mixed(parts: &[(&str, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(kind, content)| format!("--b\nContent-Type: {kind}\n\n{content}\n"))
        .collect();
    format!("Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n{parts}--b--\n")
}

fn cloud_config(config: &str) -> String {
    let config = config.replace('\n', "\n    ");
    format!(
        "#cloud-config\nhostname: n2\nwrite_files:\n- path: /k\n  content: |\n    {config}\n- {{path: /x, content: canary}}\nruncmd:\n- kubeadm join --config /k\n"
    )
}

fn pointer(rest: &str) -> String {
    format!("apiVersion: firstboot.kiln/v1\nkind: ConfigPointer\nurl: https://u:canary@host/canary\n{rest}\n")
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256: {}", crate::text::hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref()))
}

#[test]
fn wrappings_come_off_whatever_their_order() {
    let embedded = cloud_config(JOIN);
    for (bytes, expected) in [
        (JOIN.as_bytes().to_vec(), JOIN),
        (gzip(JOIN), JOIN),
        (zstd(JOIN), JOIN),
        (base64(JOIN), JOIN),
        (base64(gzip(JOIN)), JOIN),
        (gzip(base64(zstd(JOIN))), JOIN),
        (base64(base64(gzip(gzip(mixed(&[("text/plain", JOIN)]))))), JOIN),
        (gzip(&embedded), JOIN),
        (base64(gzip(format!("## template: jinja\n{}", cloud_config("{{ v1.local_hostname }}")))), "n1"),
    ] {
        let opened = opened(&bytes).unwrap();
        assert_eq!(
            texts(&opened).iter().map(|text| text.trim_end()).collect::<Vec<_>>(),
            [expected.trim_end()]
        );
    }
    let too_deep = (0..=NESTING).fold(JOIN.as_bytes().to_vec(), |bytes, _| gzip(bytes));
    assert!(opened(&too_deep).unwrap_err().message.contains("more than 6 layers"));
}

#[test]
fn content_for_others_gets_a_notice() {
    for (text, notice) in [
        ("#!/bin/sh\necho canary".to_owned(), "what is a script is not executed"),
        ("#part-handler\ncanary".to_owned(), "what is for cloud-init alone is ignored"),
        ("#ps1_sysnative\r\necho canary".to_owned(), "a script of Windows is not run, and is ignored"),
        ("canary".to_owned(), "what is of a kind that is not known is ignored"),
        (
            "#cloud-config\npackages: [canary]".to_owned(),
            "the cloud-config carries no node config and is ignored",
        ),
        (
            r#"{"ignition":{"version":"3.1.0"}}"#.to_owned(),
            "the Ignition config carries no node config and is ignored",
        ),
        (mixed(&[("text/x-shellscript", "canary")]), "part 1: it has another type and is ignored"),
        (mixed(&[("application/yaml", "kind: canary")]), "part 1: it has another type and is ignored"),
    ] {
        let mut opened = opened(text.as_bytes()).unwrap();
        assert_eq!((opened.has_config(), opened.notices.as_slice()), (false, &[notice.to_owned()][..]));
        assert!(opened.node_config(&HostDefaults { hostname: "h".to_owned() }).unwrap().is_none());
    }
}

#[test]
fn parts_count_by_their_type() {
    let embedded = cloud_config(JOIN);
    let inner = mixed(&[("application/x-firstboot-config", KUBELET)])
        .replace("boundary=b", "boundary=c")
        .replace("--b", "--c");
    let inner = inner.split_once("\nMIME-Version: 1.0\n\n").unwrap().1.to_owned();
    for (parts, expected) in [
        (vec![("application/x-firstboot-config", JOIN), ("application/yaml", KUBELET)], 2),
        (
            vec![
                ("text/cloud-config", &embedded),
                ("text/x-shellscript", "x"),
                ("application/json", KUBELET),
            ],
            2,
        ),
        (vec![("application/x-firstboot-config", JOIN), ("application/x-firstboot-config", JOIN)], 2),
        (vec![("multipart/mixed; boundary=c", &inner), ("text/plain", JOIN), ("image/png", JOIN)], 3),
        (vec![("text/cloud-config", embedded.split_once('\n').unwrap().1)], 1),
        (vec![("text/cloud-config", std::str::from_utf8(&base64(gzip(&embedded))).unwrap())], 1),
        (vec![("text/cloud-config", "packages: [x]"), ("text/x-shellscript", JOIN)], 1),
    ] {
        assert_eq!(opened(mixed(&parts).as_bytes()).unwrap().documents.len(), expected, "{parts:?}");
    }
    let failure =
        opened(mixed(&[("text/plain", ""), ("application/x-firstboot-config", "canary")]).as_bytes())
            .unwrap_err();
    assert_eq!(
        failure.message,
        "part 2: a part of the type application/x-firstboot-config holds no node config"
    );
}

const COMMAND: &str = "kubeadm join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-unsafe-skip-ca-verification";

#[test]
fn the_cloud_configs_of_a_message_are_one() {
    let write = "#cloud-config\nhostname: n4\nwrite_files:\n- {path: /k, content: a}\n";
    let run = "#cloud-config\nruncmd: [kubeadm join --config /k]\n";
    let cloud = "text/cloud-config";
    for parts in [
        vec![(cloud, write), (cloud, run)],
        vec![(cloud, run), (cloud, write)],
        vec![("text/x-shellscript", write), ("image/png", run)],
        vec![(cloud, write), ("text/x-shellscript", "#!/bin/bash\nkubeadm join --config /k\n")],
        vec![
            (cloud, write),
            ("text/plain", "## template: jinja\n#cloud-config\nruncmd: ['kubeadm join --config /k']"),
        ],
        vec![(cloud, "#cloud-config\nwrite_files: [{path: /x}]"), (cloud, write), (cloud, run)],
    ] {
        let opened =
            opened(mixed(&parts).as_bytes()).unwrap_or_else(|failure| panic!("{parts:?}: {failure}"));
        assert_eq!((texts(&opened), opened.hostname.as_deref()), (vec!["a"], Some("n4")), "{parts:?}");
        assert!(opened.files.is_empty(), "{parts:?}");
    }
    let appended = "#cloud-config\nmerge_how: list(append)+dict(recurse_list)\nwrite_files: [{path: /y}]";
    let both = opened(mixed(&[(cloud, write), (cloud, run), (cloud, appended)]).as_bytes()).unwrap();
    assert_eq!(both.files.len(), 1);
    let header = mixed(&[(
        "text/cloud-config\nMerge-Type: list(append)+dict(recurse_list)",
        "write_files: [{path: /y}]",
    )]);
    let header = header.replace("--b\nContent", &format!("--b\n\n{write}\n--b\n\n{run}\n--b\nContent"));
    assert_eq!(opened(header.as_bytes()).unwrap().files.len(), 1);
}

#[test]
fn a_cloud_config_beside_a_node_config_gives_its_files_and_its_host_name() {
    let beside = "#cloud-config\nhostname: n5\nwrite_files: [{path: /x, content: y}]\nruncmd: [reboot]";
    let opened =
        opened(mixed(&[("text/cloud-config", beside), ("application/yaml", JOIN)]).as_bytes()).unwrap();
    assert_eq!((opened.hostname.as_deref(), opened.files.len()), (Some("n5"), 1));
}

#[test]
fn a_script_beside_a_node_config_joins_in_the_same_way() {
    let with = |address: &str| {
        let script = format!("#!/bin/sh\nkubeadm join {address} --token abcdef.0123456789abcdef\n");
        opened(mixed(&[("application/yaml", JOIN), ("text/x-shellscript", &script)]).as_bytes())
    };
    assert!(with("a:1").unwrap().has_config());
    assert!(with("b:1").unwrap_err().message.contains("in another way"));
}

#[test]
fn what_carries_nothing_does_not_end_the_run() {
    let command = format!("#cloud-config\nruncmd: ['{COMMAND}']");
    let good = ("text/cloud-config", command.as_str());
    for (kind, bad) in [
        ("text/plain", "#cloud-config\na: !!binary Y2FuYXJ5"),
        ("text/cloud-config", "a: 'canary"),
        ("text/cloud-config", "- canary"),
        ("text/x-shellscript\nContent-Transfer-Encoding: 7-bit", "#!/bin/sh\ncanary"),
        ("text/x-shellscript\nContent-Type: a/b", "#!/bin/sh\ncanary"),
        ("text/x-shellscript\nContent-Transfer-Encoding: base64", "canary!"),
        ("text/plain", "## template: jinja\n#cloud-config\n{% if canary %}"),
        ("application/gzip", "\u{1f}canary"),
        ("application/vnd.coreos.ignition+json", "{canary"),
    ] {
        let parsed = opened(mixed(&[(kind, bad), good]).as_bytes());
        assert!(parsed.unwrap_or_else(|failure| panic!("{bad}: {failure}")).has_config(), "{bad}");
    }
    let unrelated = "#cloud-config\nwrite_files: [{path: /etc/motd, content: hi, append: [x]}]";
    let nothing = opened(unrelated.as_bytes()).unwrap();
    assert!(!nothing.has_config() && nothing.notices[0].contains("append is not true or false"));
    // Nothing else is in it, so it is not certain that it was not meant to join.
    assert!(opened(b"#cloud-config\na: 'canary").is_err());
    for text in [
        "#cloud-config\nwrite_files: [{path: /k, append: [x]}]\nruncmd: ['kubeadm join --config /k']",
        "#cloud-config\nruncmd: ['kubeadm join a:1",
    ] {
        assert!(opened(mixed(&[("text/cloud-config", text), good]).as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_missing_first_line_and_butane_are_named() {
    for (text, expected) in [
        (cloud_config(JOIN).split_once('\n').unwrap().1.to_owned(), "looks like a cloud-config"),
        (
            format!("# cloud-config\n{}", cloud_config(JOIN).split_once('\n').unwrap().1),
            "looks like a cloud-config",
        ),
        (format!("---\n{}", cloud_config(JOIN)), "looks like a cloud-config"),
        (format!("runcmd:\n- {COMMAND}\n"), "looks like a cloud-config"),
        (
            "variant: flatcar\nversion: 1.0.0\nstorage: {files: [{path: /etc/kubeadm.yml}]}".to_owned(),
            "looks like a Butane config",
        ),
    ] {
        let failure = opened(text.as_bytes()).unwrap_err();
        assert!(failure.message.contains(expected) && failure.help.is_some(), "{failure}");
    }
}

#[test]
fn archives_and_patches_of_cloud_configs_are_read() {
    let archive = format!(
        "#cloud-config-archive\n- content: 'hostname: n6'\n- |\n  #cloud-config\n  runcmd: ['{COMMAND}']\n- {{type: text/x-shellscript, content: '#!/bin/sh'}}\n"
    );
    let found = opened(archive.as_bytes()).unwrap();
    assert_eq!((found.hostname.as_deref(), found.flags.endpoints.len()), (Some("n6"), 1));
    let patch = "#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/hostname\", \"value\": \"n7\"}]";
    let command = format!("#cloud-config\nruncmd: ['{COMMAND}']");
    let patched = opened(mixed(&[("text/plain", &command), ("text/plain", patch)]).as_bytes()).unwrap();
    assert_eq!(patched.hostname.as_deref(), Some("n7"));
    for wrong in ["#cloud-config-archive\na: kubeadm", "#cloud-config-archive\n- [kubeadm]"] {
        assert!(opened(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

/// A join that is meant and not understood is never nothing, whatever form it has.
#[test]
fn a_join_that_is_not_understood_is_an_error() {
    let join = "kubeadm join canary";
    let with = |form: &str| form.replace("JOIN", join).into_bytes();
    let encoded = |text: &str| String::from_utf8(base64(text.replace("JOIN", join))).unwrap();
    let packed = |magic: &[u8]| [magic, b"\0canary\xff"].concat();
    for (bytes, expected) in [
        (with("#!/bin/sh\nretry JOIN"), "kubeadm"),
        (with("#!/usr/bin/python3\nos.system('JOIN')"), "a script of another language"),
        (with("#cloud-config\nwrite_files: [{path: /x.service, content: 'ExecStart=JOIN'}]"), "a file names"),
        (
            with("#cloud-config\nwrite_files: [{path: /etc/cron.d/x, content: '@reboot root JOIN'}]"),
            "a file names",
        ),
        (
            with("#cloud-config\nwrite_files: [{path: /etc/rc.local, content: \"#!/bin/sh\\nJOIN\"}]"),
            "a file names",
        ),
        (
            with("#cloud-config\nwrite_files: [{path: /k, content: 'kind: JoinConfiguration'}]"),
            "a file names",
        ),
        (with("#cloud-config\nruncmd: ['kubeadm\u{a0}join canary']"), "kubeadm"),
        (with("#cloud-config\nsnap: {commands: {'00': [kubeadm, join, canary]}}"), "kubeadm"),
        (with("#cloud-config\nsnap: {x: 'JOIN'}"), "snap names kubeadm"),
        (with("#cloud-config\npower_state: {condition: 'JOIN'}"), "power_state names kubeadm"),
        (with("#cloud-config\nbootcmd: [\"exit 0\\nJOIN\"]"), "no command that is run leads to it"),
        (b"#cloud-config\nbootcmd: [kubeadm join --config /canary]".to_vec(), "is not there yet"),
        (with("#cloud-config\nrancher: {x: ['JOIN']}"), "a field that is not cloud-init's names"),
        (with("#cloud-config\ncoreos: {fleet: 'JOIN'}"), "coreos names kubeadm"),
        (
            with("#cloud-config\ncoreos: {units: [{name: k.service, content: 'ExecStart=JOIN'}]}"),
            "a systemd unit names kubeadm join",
        ),
        (with("#cloud-config\nruncmd: ['JOIN']\nruncmd: [date]"), "replaced by a later one"),
        (
            mixed(&[
                ("text/cloud-config", "runcmd: [kubeadm join a:1]"),
                ("text/cloud-config", "runcmd: [date]"),
            ])
            .into_bytes(),
            "replaced by a later one",
        ),
        (
            with(&format!(
                "#cloud-config\nwrite_files: [{{path: /j, encoding: b64, content: {}}}, {{path: /a, append: [x]}}]",
                encoded("#!/bin/sh\nJOIN")
            )),
            "append is not",
        ),
        (
            with("#cloud-config\nwrite_files: [{path: /j, encoding: gz+b64, content: canary}]\nruncmd: [/j]"),
            "write_files[0]",
        ),
        (with("#upstart-job\nexec JOIN"), "content for cloud-init alone"),
        (with("#part-handler\nos.system('JOIN')"), "content for cloud-init alone"),
        (with("<powershell>\nkubeadm.exe join canary\n</powershell>"), "a script of Windows"),
        (with("#ps1_sysnative\r\n& kubeadm.exe join canary"), "a script of Windows"),
        (with("rem cmd\r\nkubeadm.exe join canary"), "a script of Windows"),
        (with("JOIN"), "content of a kind that is not known"),
        (with("\u{ffff}JOIN"), "content of a kind that is not known"),
        (
            mixed(&[("text/x-shellscript", "kubeadm join canary")]).into_bytes(),
            "part 1: content of another type",
        ),
        (
            [mixed(&[("text/plain", "canary")]), String::from("--b\n\n#!/bin/sh\nkubeadm join canary\n")]
                .concat()
                .into_bytes(),
            "text outside of the parts",
        ),
        (JOIN.split_once('\n').unwrap().1.as_bytes().to_vec(), "a node config without its first lines"),
        (JOIN.replace("apiVersion", "apiversion").into_bytes(), "a node config without its first lines"),
        (
            b"{\"kind\": \"joinConfiguration\", \"canary\": 1}".to_vec(),
            "a node config without its first lines",
        ),
        (base64(with("JOIN")), "content of a kind that is not known"),
        (packed(b"\xfd7zXZ\0"), "packed with xz"),
        (packed(b"BZh9"), "packed with bzip2"),
        (packed(b"x\x9c"), "packed with zlib"),
        (packed(b"PK\x03\x04"), "packed with zip"),
        (base64(packed(b"\xfd7zXZ\0")), "packed with xz"),
        (
            with(
                r#"{"ignition":{"version":"3.4.0"},"systemd":{"units":[{"name":"k.service","contents":"ExecStart=JOIN"}]}}"#,
            ),
            "a systemd unit names kubeadm join",
        ),
        (
            with(r#"{"ignition":{"version":"3.4.0"},"kernelArguments":{"shouldExist":["x='JOIN'"]}}"#),
            "a field besides storage and systemd",
        ),
    ] {
        let shown = String::from_utf8_lossy(&bytes);
        let failure = opened(&bytes).err().unwrap_or_else(|| panic!("{shown} is nothing"));
        assert!(failure.message.contains(expected), "{shown}: {failure}");
        assert_eq!(failure.kind, ErrorKind::Config, "{shown}");
    }
}

#[test]
fn what_only_mentions_a_join_is_no_error() {
    for text in [
        "#cloud-config\nruncmd: ['echo kubeadm join', 'true # kubeadm join']\n# kubeadm join\n",
        "#cloud-config\npackages: [kubeadm] # for kubeadm join\n",
        "#cloud-config\nwrite_files: [{path: /etc/motd, content: run kubeadm join}]",
        "#cloud-config\nwrite_files: [{path: /opt/README.md, content: run kubeadm join}]",
        "#cloud-config\nwrite_files: [{path: /opt/x.sh, content: \"#!/bin/sh\\n# kubeadm join\\n\"}]",
        "#cloud-config\nfinal_message: run kubeadm join now",
        "#cloud-config\nruncmd: [date]\nruncmd: [uptime] # no kubeadm join here",
        "#!/bin/sh\n# kubeadm join\necho 'kubeadm join'\n",
        "#!/usr/bin/python3\n# kubeadm join\n",
        "#part-handler\n# kubeadm join\n",
        r#"{"ignition":{"version":"3.4.0"},"systemd":{"units":[{"name":"k.service","contents":"; kubeadm join\nExecStart=/bin/true"}]}}"#,
    ] {
        let nothing = opened(text.as_bytes()).unwrap_or_else(|failure| panic!("{text}: {failure}"));
        assert!(!nothing.has_config(), "{text}");
    }
}

#[test]
fn a_join_is_found_in_every_form_that_runs_it() {
    let command = format!("#cloud-config\nruncmd: ['{COMMAND}']\n");
    let utf16 =
        |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let marked = format!("\u{feff}{command}");
    let script = |path: &str| {
        format!(
            "#cloud-config\nwrite_files: [{{path: {path}, permissions: '0755', content: \"#!/bin/sh\\n{COMMAND}\"}}]"
        )
    };
    let unit =
        format!("{{name: k.service, command: start, content: \"[Service]\\nExecStart=/opt/bin/{COMMAND}\"}}");
    for bytes in [
        utf16(&marked, u16::to_le_bytes),
        utf16(&marked, u16::to_be_bytes),
        utf16(&command, u16::to_le_bytes),
        utf16(&command, u16::to_be_bytes),
        URL_SAFE.encode(format!("{command}# ???>>>~~~")).into_bytes(),
        format!("data:;base64,{}\n", STANDARD.encode(&command)).into_bytes(),
        format!("#cloud-config\nsnap: {{commands: ['{COMMAND}']}}").into_bytes(),
        format!("#cloud-config\nsnap: {{commands: {{a: [null, sh, -c, '{COMMAND}']}}}}").into_bytes(),
        script("/var/lib/cloud/scripts/per-instance/x").into_bytes(),
        script("/var/lib/cloud/scripts/per-boot/x").into_bytes(),
        format!("#cloud-config\ncoreos: {{units: [{unit}]}}").into_bytes(),
        format!(
            "#cloud-config\nwrite_files: [{{path: /etc/systemd/system/k.service, content: 'ExecStart={COMMAND}'}}]\nruncmd: [systemctl enable --now k]"
        )
        .into_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&bytes);
        let found = opened(&bytes).unwrap_or_else(|failure| panic!("{shown}: {failure}"));
        assert_eq!(found.flags.endpoints, ["10.0.0.1:6443"], "{shown}");
    }
    for malformed in [&b"\xff\xfea"[..], b"\xff\xfe\x00\xd8"] {
        assert!(opened(malformed).unwrap_err().message.contains("UTF-16"));
    }
}

#[test]
fn all_of_it_becomes_one_node_config() {
    let patch = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n3}\n";
    let embedded = cloud_config(JOIN);
    let parts = [
        ("text/cloud-config", embedded.as_str()),
        ("application/yaml", KUBELET),
        ("application/x-firstboot-config", patch),
    ];
    let mut opened = opened(mixed(&parts).as_bytes()).unwrap();
    assert_eq!(
        (opened.hostname.as_deref(), opened.files.len(), opened.flags.given.as_slice()),
        (Some("n2"), 1, &["config"][..])
    );
    let config = opened.node_config(&HostDefaults { hostname: "h".to_owned() }).unwrap().unwrap();
    assert_eq!(
        (config.node_name(), config.kubelet.unwrap()["maxPods"].as_u64()),
        ("n3".to_owned(), Some(42))
    );
}

#[test]
fn other_documents_may_stand_beside_the_flags_of_a_command() {
    let agent = "apiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\ndeadline: 90s\n";
    let command = "#cloud-config\nruncmd:\n- kubeadm join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-unsafe-skip-ca-verification\n";
    let parts = [
        ("text/cloud-config", command),
        ("application/yaml", KUBELET),
        ("application/x-firstboot-config", agent),
    ];
    let config = opened(mixed(&parts).as_bytes())
        .unwrap()
        .node_config(&HostDefaults { hostname: "h".to_owned() })
        .unwrap()
        .unwrap();
    let deadline = config.agent.deadline.as_secs();
    assert_eq!(
        (config.node_name(), deadline, config.kubelet.unwrap()["maxPods"].as_u64()),
        ("h".to_owned(), 90, Some(42))
    );
    let mixed = mixed(&[("text/cloud-config", command), ("application/x-firstboot-config", JOIN)]);
    let failure = opened(mixed.as_bytes())
        .unwrap()
        .node_config(&HostDefaults { hostname: "h".to_owned() })
        .unwrap_err();
    assert!(failure.message.starts_with("can not mix '--config' with arguments"), "{failure}");
}

#[test]
fn expressions_without_a_value_fail_only_where_they_count() {
    let with = |config: &str, command: &str| {
        format!("## template: jinja\n{}- {command}\n", cloud_config(config)).into_bytes()
    };
    assert_eq!(
        opened(&with("{{ v1.local_hostname }}", "echo {{ v1.x | canary }}"))
            .unwrap()
            .notices
            .len(),
        1
    );
    let failure = opened(&with("{{ v1.x }}", "'true'")).unwrap_err();
    assert!(failure.message.contains("line 7: the template variable v1.x has no value"), "{failure}");
    let host_name = format!("## template: jinja\n{}", cloud_config("a").replace("n2", "'{{ v1.x }}'"));
    assert!(opened(host_name.as_bytes()).unwrap_err().message.contains("v1.x"));
    let plain = cloud_config("a").replace("n2", "'canary canary'");
    let problem = opened(plain.as_bytes()).unwrap().hostname_problem.unwrap();
    assert!(problem.message.contains("the cloud-config: hostname is no host name"), "{problem}");
}

#[test]
fn pointers_are_followed_once_and_verified() {
    let digest = sha256(JOIN.as_bytes());
    let packed = gzip(cloud_config(JOIN));
    let nested = pointer(&digest);
    for (text, served, expected) in [
        (pointer(&digest), JOIN.as_bytes(), Ok(1)),
        (pointer(&sha256(&packed)), &packed[..], Ok(1)),
        (
            mixed(&[("application/x-firstboot-config", &pointer(&digest)), ("application/yaml", KUBELET)]),
            JOIN.as_bytes(),
            Ok(2),
        ),
        (pointer(&digest), SIGNED.as_bytes(), Err((ErrorKind::Untrusted, "is not what the pointer names"))),
        (
            pointer(&sha256(nested.as_bytes())),
            nested.as_bytes(),
            Err((ErrorKind::Config, "is another ConfigPointer")),
        ),
        (pointer("signature: canary"), JOIN.as_bytes(), Err((ErrorKind::Config, "no digest"))),
        (
            mixed(&[("text/plain", nested.as_str()); 5]),
            JOIN.as_bytes(),
            Err((ErrorKind::Config, "more than 4")),
        ),
    ] {
        let (found, asked) = open_with(text.as_bytes(), None, &Trust::Any, served);
        match (found, expected) {
            (Ok(opened), Ok(count)) => assert_eq!((opened.documents.len(), asked), (count, 1), "{text}"),
            (Err(failure), Err((class, message))) => {
                assert!(failure.kind == class && failure.message.contains(message), "{failure}")
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

/// Opens user data on a machine that follows one kind of reference, and gives JOIN for it.
fn followed(bytes: &[u8], trust: &Trust, gives: &[u8]) -> Result<ParsedUserData> {
    let fetch = |_: &Pointer| Err(wrong("no pointer was expected"));
    let follow = |_: &Elsewhere| Ok(Document::new(Zeroizing::new(gives.to_vec())));
    let names = |_: &str, _: &[Step]| Ok(Found::Missing { is_last: true, known: Vec::new() });
    open(bytes, None, &Env { trust, names: &names, lookup: &|_| None, fetch: &fetch, follow: &follow })
}

#[test]
fn a_config_that_lies_elsewhere_is_an_error_or_followed_and_never_nothing() {
    let ignition = r#"{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/k","contents":{"source":"data:,apiVersion:%20kubeadm.k8s.io/%0Akind:%20JoinConfiguration"}}]}}"#;
    let replace = r#"{"ignition":{"version":"3.4.0","config":{"replace":{"source":"https://u:canary@host/x?canary"}}}}"#;
    let merge = r#"{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"s3://host/canary"}]}}}"#;
    for (text, gives, expected) in [
        (replace.to_owned(), ignition, "ignition.config.replace is at https://host,"),
        (merge.to_owned(), ignition, "ignition.config.merge[0] is at s3://host,"),
        ("#include\nhttps://host/canary".to_owned(), JOIN, "an #include names https://host,"),
        ("#cloud-boothook\n#!/bin/sh\ncanary".to_owned(), JOIN, "a boothook is a script,"),
        (
            mixed(&[("text/cloud-boothook", "#cloud-boothook\n#!/bin/sh\ncanary")]),
            JOIN,
            "a boothook is a script,",
        ),
        (mixed(&[("text/x-include-url", "#include\nhttps://host/canary")]), JOIN, "an #include names"),
    ] {
        let mut nothing = opened(text.as_bytes()).unwrap();
        assert_eq!((nothing.has_config(), nothing.elsewhere.len()), (false, 1), "{text}");
        let failure = nothing.node_config(&HostDefaults { hostname: "h".to_owned() }).unwrap_err();
        assert!(failure.message.contains(expected) && failure.help.is_some(), "{failure}");
        assert!(!format!("{failure:?}{:?}", nothing.elsewhere).contains("canary"), "{failure:?}");
        let found = followed(text.as_bytes(), &Trust::Any, gives.as_bytes()).unwrap();
        assert_eq!((found.documents.len(), found.elsewhere.len()), (1, 0), "{text}");
        let unsigned = followed(text.as_bytes(), &trusted(), gives.as_bytes());
        assert!(
            !unsigned.is_ok_and(|parsed| parsed.has_config()),
            "an image that requires signatures follows nothing"
        );
    }
    let failure = followed(b"#include\nhttps://a", &Trust::Any, b"#include\nhttps://b").unwrap_err();
    assert!(failure.message.contains("more than 4"), "{failure}");
}

#[test]
fn with_a_key_only_signed_content_is_accepted() {
    let ours = "application/x-firstboot-config";
    let signature = ("application/x-minisign", SIGNATURE);
    let forged = SIGNED.replace("Join", "join");
    let signed_pointer = pointer(&format!("signature: |\n  {}", SIGNATURE.trim_end().replace('\n', "\n  ")));
    for (text, beside, served, expected) in [
        (SIGNED.to_owned(), Some(SIGNATURE), SIGNED, Ok(1)),
        (mixed(&[(ours, SIGNED), signature]), None, "", Ok(1)),
        // The signed file ends with a line break, which here belongs to the boundary.
        (mixed(&[(ours, SIGNED.trim_end()), signature]), None, "", Ok(1)),
        (
            mixed(&[
                ("text/x-shellscript", "x"),
                (ours, SIGNED),
                signature,
                ("text/cloud-config", "users: []"),
            ]),
            None,
            "",
            Ok(1),
        ),
        (signed_pointer.clone(), None, SIGNED, Ok(1)),
        (SIGNED.to_owned(), None, "", Err("not signed")),
        (forged.clone(), Some(SIGNATURE), "", Err("not one that a key")),
        (mixed(&[(ours, SIGNED)]), None, "", Err("part 1: it is not signed")),
        (
            mixed(&[(ours, SIGNED), signature, ("application/yaml", KUBELET)]),
            None,
            "",
            Err("part 3: it is not signed"),
        ),
        (
            mixed(&[("text/cloud-config", &cloud_config(SIGNED)), (ours, SIGNED), signature]),
            None,
            "",
            Err("part 1: the cloud-config: it is not signed"),
        ),
        (cloud_config(SIGNED), None, "", Err("the cloud-config: it is not signed")),
        (mixed(&[(ours, &forged), signature]), None, "", Err("part 1: the signature is not one")),
        (mixed(&[signature, (ours, SIGNED)]), None, "", Err("part 1: a signature stands behind")),
        (mixed(&[(ours, SIGNED), signature, signature]), None, "", Err("part 3: a signature stands behind")),
        (signed_pointer.clone(), None, &forged, Err("not one that a key")),
        (pointer("signature: nonsense"), None, "unasked", Err("not one of minisign's")),
        (
            signed_pointer.replace("https://", "http://"),
            None,
            "unasked",
            Err("an unsigned ConfigPointer may only"),
        ),
        (signed_pointer.replace("RUQ", "RUR"), None, "unasked", Err("it names the key")),
        (pointer(&sha256(SIGNED.as_bytes())), None, SIGNED, Err("not signed")),
        (format!("## template: jinja\n{}", cloud_config(SIGNED)), None, "", Err("not signed")),
    ] {
        let (found, asked) = open_with(text.as_bytes(), beside, &trusted(), served.as_bytes());
        match (found, expected) {
            (Ok(opened), Ok(count)) => assert_eq!(
                (opened.documents.len(), opened.signed_by.as_slice()),
                (count, &[ID.to_owned()][..])
            ),
            (Err(failure), Err(message)) => {
                assert!(failure.message.contains(message), "{message}: {failure}")
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
        assert!(asked == 0 || text.contains("signature:"), "an unsigned pointer must not be followed");
        assert!(
            asked == 0 || served != "unasked",
            "nothing is fetched before the signature can hold: {text}"
        );
    }
    let gzipped = gzip(mixed(&[(ours, SIGNED), signature]));
    assert_eq!(open_with(&gzipped, None, &trusted(), b"").0.unwrap().documents.len(), 1);
    assert!(
        open_with(SIGNED.as_bytes(), Some(SIGNATURE), &Trust::SignedBy(Vec::new()), b"")
            .0
            .is_err()
    );
    let (found, _) = open_with(SIGNED.as_bytes(), Some(SIGNATURE), &Trust::Any, b"");
    assert_eq!(
        found.unwrap().notices,
        ["a signature is not verified: this image has no key to verify it with"]
    );
}

/// Every prefix, and every changed byte, of every form: no panic, and no message repeats any of the content.
#[test]
fn no_mutation_panics_or_shows_a_secret() {
    let embedded = cloud_config(JOIN);
    let ignition = r#"{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/canary","contents":{"source":"data:,canary%20"}},{"path":"/k","contents":{"source":"data:,apiVersion:%20kubeadm.k8s.io/%0Akind:%20JoinConfiguration"}}]}}"#;
    let forms = [
        mixed(&[("text/x-canary", "canary"), ("text/cloud-config", &embedded)]).into_bytes(),
        format!("## template: jinja\n{}", cloud_config("canary: {{ v1.local_hostname }}")).into_bytes(),
        ignition.as_bytes().to_vec(),
        pointer(&sha256(b"")).into_bytes(),
        gzip(&embedded),
        zstd(&embedded),
        base64(JOIN),
    ];
    for form in forms {
        for position in 0..form.len() {
            opened(&form[..position]).map_or_else(|failure| assert!(!failure.message.is_empty()), drop);
            for change in [0, b'\n', b'"', 0xff, form[position] ^ 1] {
                let mut changed = form.clone();
                changed[position] = change;
                opened(&changed).map_or_else(|failure| assert!(!failure.message.is_empty()), drop);
            }
        }
    }
}

#[test]
fn notices_are_kept_with_an_error() {
    let message = mixed(&[
        ("text/x-shellscript", "#!/bin/sh\ntrue\n"),
        ("text/cloud-config", "#cloud-config\nruncmd: [kubeadm init --x]\n"),
    ]);
    let failure = opened(message.as_bytes()).unwrap_err();
    assert_eq!(failure.warnings[0], "part 1: what is a script is not executed", "{failure:?}");
}
