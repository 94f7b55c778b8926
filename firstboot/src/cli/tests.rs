use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::request::{self, Common, ConfigValidate, Join, Request, Reset, Status, VersionOutput};
use super::*;
use crate::config::HostDefaults;
use crate::config::flags::{self, JoinFlags};
use crate::config::model::{ApiVersion, Discovery};
use crate::config::role::Role;
use crate::error::{ErrorKind, Result};
use crate::host::root::Root;

const TOKEN: &str = "canary.canarycanarycana";
const SECRET: &str = "canarycanarycana";

fn called(program: &str, line: &str) -> Result<Request> {
    parse(OsStr::new(program), line.split_whitespace().map(OsString::from))
}

fn read(line: &str) -> Result<Request> {
    called("/usr/bin/firstboot", line)
}

fn join(line: &str) -> Join {
    match called("/usr/bin/kubeadm", &format!("join {line}")) {
        Ok(Request::Join(join)) => join,
        other => panic!("{line}: {other:?}"),
    }
}

fn host() -> HostDefaults {
    HostDefaults { hostname: "node1".to_owned() }
}

fn refused(line: &str) -> String {
    let failure = read(line).expect_err(line);
    assert_eq!(failure.kind, ErrorKind::Usage, "{line}");
    assert!(failure.help.is_some(), "{line}");
    failure.message
}

#[test]
fn reads_the_commands() {
    let json = Common { json: true, root: Root::at("/mnt") };
    for line in [
        "--json --rootfs=/mnt --v 5 run",
        "--json --rootfs=/mnt -v5 run",
        "run --json --rootfs /mnt --v=5",
        "-v 5 run --rootfs=/mnt --json=true",
        "--json run --rootfs=/mnt -v=5",
    ] {
        assert_eq!(read(line), Ok(Request::Run(request::Run { common: json.clone() })), "{line}");
    }
    assert_eq!(read("run -v"), Ok(Request::Run(request::Run::default())));
    assert_eq!(read("--version"), Ok(Request::Version { json: false }));
    assert_eq!(read("--version --json"), Ok(Request::Version { json: true }));
    let status = Status { timeline: true, svg: Some(PathBuf::from("a.svg")), ..Status::default() };
    assert_eq!(read("status --timeline --svg a.svg"), Ok(Request::Status(status)));
    assert!(matches!(read("preflight 10.0.0.1:6443"), Ok(Request::Preflight(_))));
    assert!(matches!(read("explain --config x"), Ok(Request::Explain(_))));
    let file = |file: Option<&str>| {
        Ok(Request::ConfigValidate(ConfigValidate {
            file: file.map(PathBuf::from),
            ..ConfigValidate::default()
        }))
    };
    assert_eq!(read("config validate"), file(None));
    assert_eq!(read("config validate -"), file(None));
    assert_eq!(read("config validate a.yaml"), file(Some("a.yaml")));
    assert_eq!(called("kubeadm", "config validate --config a.yaml"), file(Some("a.yaml")));
}

#[test]
fn stands_in_for_kubeadm() {
    for (line, output) in [
        ("", VersionOutput::Go),
        ("-o short", VersionOutput::Short),
        ("-o=json", VersionOutput::Json),
        ("--output yaml", VersionOutput::Yaml),
    ] {
        let Ok(Request::KubeadmVersion(version)) = called("../kubeadm", &format!("version {line}")) else {
            panic!("{line}")
        };
        assert_eq!(version.output, output);
    }
    assert_eq!(called("kubeadm", "reset -f"), Ok(Request::Reset(Reset { force: true, ..Reset::default() })));
    let reset = Reset {
        cert_dir: Some("/c".into()),
        skip_phases: vec!["preflight".into()],
        dry_run: true,
        ..Reset::default()
    };
    assert_eq!(
        called("kubeadm", "reset --cert-dir /c --skip-phases preflight --dry-run"),
        Ok(Request::Reset(reset))
    );
    for verb in ["token create", "upgrade node", "certs renew", "alpha"] {
        let failure = called("kubeadm", verb).unwrap_err();
        assert!(failure.message.starts_with("this kubeadm is firstboot, which has no kubeadm "), "{failure}");
    }
    assert!(called("kubeadm", "run").is_err() && read("version").is_err());
}

#[test]
fn refuses_what_makes_no_sense() {
    let rows = [
        ("", "a command is missing"),
        ("walk", "unknown command \"walk\""),
        ("jion", "unknown command \"jion\"; did you mean \"join\"?"),
        ("statsu", "unknown command \"statsu\"; did you mean \"status\"?"),
        ("preflihgt", "unknown command \"preflihgt\"; did you mean \"preflight\"?"),
        ("run run", "unexpected argument \"run\""),
        ("run --jsn", "unknown flag: --jsn; did you mean --json?"),
        ("join --node-nam x", "unknown flag: --node-nam; did you mean --node-name?"),
        ("join -x", "unknown flag: -x"),
        ("join --token", "--token needs a value"),
        ("join --dry-run=perhaps", "--dry-run is true or false"),
        ("join --token a --token-file b", "--token and --token-file cannot both be given"),
        ("join phase preflight", "single phases cannot be run"),
        ("config", "the only command below config is config validate"),
        ("config migrate", "the only command below config is config validate"),
        ("config validate a b", "unexpected argument \"b\""),
        ("config validate a --config b", "the file is given twice"),
        ("run -v=x", "-v is a number"),
    ];
    for (line, expected) in rows {
        assert_eq!(refused(line), expected, "{line}");
    }
    assert!(!refused(&format!("status {TOKEN}")).contains(SECRET));
    assert!(!refused(&format!("--{TOKEN}")).contains(SECRET));
    assert!(!refused(&format!("{TOKEN} join")).contains(SECRET));
}

/// The flags that a help text names, with whether they have a value.
fn flags_in(help: &str) -> Vec<(String, bool)> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let entries = lines.flat_map(|line| {
        line.split("  ")
            .next()
            .unwrap_or_default()
            .split(", ")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    entries
        .map(|entry| (entry.split(' ').next().unwrap().to_owned(), entry.contains(' ')))
        .collect()
}

#[test]
fn every_flag_in_the_help_is_understood() {
    for command in ["run", "join", "preflight", "explain", "status", "reset", "config validate"] {
        let Ok(Request::Help(help)) = read(&format!("{command} --help")) else { panic!("{command}") };
        assert!(help.lines().all(|line| line.len() <= 110), "{command}");
        let flags = flags_in(&help);
        assert!(flags.len() >= 5, "{command}: {flags:?}");
        for (flag, valued) in flags {
            let line = format!("{command} {flag}{}", if valued { " 1" } else { "" });
            assert!(read(&line).is_ok(), "{line}: {:?}", read(&line));
        }
    }
    let Ok(Request::Help(overview)) = read("--help") else { panic!() };
    assert!(
        ["run", "join", "preflight", "explain", "status", "reset", "config"]
            .iter()
            .all(|command| overview.contains(command))
    );
    assert!(matches!(called("kubeadm", "--help"), Ok(Request::Help(help)) if help.contains("kubeadm join")));
}

#[test]
fn flags_make_the_same_config_as_a_file() {
    let hash = "a".repeat(64);
    let line = format!(
        "10.0.0.1:6443 --token {TOKEN} --discovery-token-ca-cert-hash sha256:{hash},sha256:{hash} --discovery-token-ca-cert-hash SHA256:{hash} --node-name N1 --ignore-preflight-errors=Swap,NumCPU --ignore-preflight-errors mem --skip-phases preflight --patches /p --cri-socket /s --dry-run"
    );
    let config = flags::node_config(&join(&line).flags, None, &host()).unwrap();
    let join = &config.join;
    let Discovery::Token { endpoints, token, pins, unsafe_skip_ca_verification: false } = &join.discovery
    else {
        panic!()
    };
    assert_eq!((endpoints[0].to_string().as_str(), token.bearer(), pins.len()), ("10.0.0.1:6443", TOKEN, 3));
    assert_eq!(join.tls_bootstrap_token.as_ref().unwrap().bearer(), TOKEN);
    assert_eq!(
        (join.node.name.as_str(), join.node.ignore_preflight_errors.join(",").as_str()),
        ("n1", "mem,numcpu,swap")
    );
    assert_eq!(
        (join.skip_phases.join(","), join.patches.as_deref(), join.dry_run),
        ("preflight".to_owned(), Some(Path::new("/p")), true)
    );
    assert_eq!((join.node.cri_socket.as_deref(), join.api_version), (Some("unix:///s"), ApiVersion::V1beta4));
}

#[test]
fn tokens_and_discovery_files_go_where_kubeadm_puts_them() {
    let own = "--discovery-token aaaaaa.aaaaaaaaaaaaaaaa --tls-bootstrap-token bbbbbb.bbbbbbbbbbbbbbbb";
    let line = format!(
        "a:1 b:2 --token {TOKEN} {own} --discovery-token-unsafe-skip-ca-verification --certificate-key k"
    );
    let config = flags::node_config(&join(&line).flags, None, &host()).unwrap();
    assert!(matches!(&config.join.discovery, Discovery::Token { token, .. } if token.id() == "aaaaaa"));
    assert_eq!((config.join.tls_bootstrap_token.unwrap().id(), config.warnings.len()), ("bbbbbb", 2));
    for (file, path) in [("/a/b.conf", true), ("https://a/b", false)] {
        let config = flags::node_config(
            &join(&format!("a:1 --discovery-file {file} --token {TOKEN}")).flags,
            None,
            &host(),
        )
        .unwrap();
        assert_eq!(matches!(config.join.discovery, Discovery::File(_)), path);
        assert!(config.join.tls_bootstrap_token.is_some() && config.warnings.len() == 1);
    }
    let control_plane = flags::node_config(
        &join(&format!("--control-plane --discovery-file /x --token {TOKEN}")).flags,
        None,
        &host(),
    )
    .unwrap();
    assert!(control_plane.join.role == Role::ControlPlane);
    let nothing = flags::node_config(&join("").flags, None, &host()).unwrap_err();
    assert!(
        nothing.message.contains("discovery.bootstrapToken.token: Invalid value")
            && nothing.kind == ErrorKind::Config
    );
    let misplaced =
        flags::node_config(&join(&format!("{TOKEN} --token x")).flags, None, &host()).unwrap_err();
    assert!(!misplaced.message.contains(SECRET), "{misplaced}");
}

fn file(version: &str) -> Vec<u8> {
    format!("apiVersion: kubeadm.k8s.io/{version}\nkind: JoinConfiguration\ndiscovery: {{file: {{kubeConfigPath: /x}}}}\nnodeRegistration: {{name: a, ignorePreflightErrors: [Swap]}}\n").into_bytes()
}

#[test]
fn few_flags_stand_beside_a_file() {
    let beside = |line: &str, version| {
        flags::node_config(&join(&format!("--config x {line}")).flags, Some(&file(version)), &host())
    };
    let config = beside(
        "--node-name B --ignore-preflight-errors Mem --skip-phases preflight --dry-run -v5 ignored:1",
        "v1beta4",
    )
    .unwrap();
    assert_eq!(
        (config.node_name(), config.join.node.ignore_preflight_errors.join(",")),
        ("b".to_owned(), "mem,swap".to_owned())
    );
    assert!(config.join.dry_run && config.join.skip_phases == ["preflight"] && config.warnings.len() == 1);
    let mixed = beside(&format!("--token {TOKEN} --cri-socket /s"), "v1beta4").unwrap_err();
    assert_eq!(
        (mixed.kind, mixed.message.as_str()),
        (ErrorKind::Usage, "can not mix '--config' with arguments [cri-socket token]")
    );
    assert_eq!(
        beside("--cri-socket /s", "v1beta2").unwrap().join.node.cri_socket.as_deref(),
        Some("unix:///s")
    );
    assert!(
        beside("--ignore-preflight-errors all", "v1beta4")
            .unwrap_err()
            .message
            .contains("don't specify individual checks if 'all' is used")
    );
}

#[test]
fn a_token_comes_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let mut flags = JoinFlags {
        token_file: Some(path.clone()),
        discovery_file: Some("/x".into()),
        ..JoinFlags::default()
    };
    flags.load_token_file().unwrap();
    assert_eq!(
        flags::node_config(&flags, None, &host())
            .unwrap()
            .join
            .tls_bootstrap_token
            .unwrap()
            .bearer(),
        TOKEN
    );
    flags.token = None;
    std::fs::write(&path, "\n").unwrap();
    let failure = flags.load_token_file().unwrap_err();
    assert!(failure.message.ends_with("token is empty"), "{failure}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(flags.load_token_file().unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn no_command_line_shows_the_token() {
    let words = [
        "join",
        "--token",
        TOKEN,
        "--discovery-token",
        "--x",
        "-o",
        "a:1",
        "--config",
        "--json=",
        "--node-name",
        "reset",
        "--token=",
        "version",
        "-v",
    ];
    let mut state: u32 = 1;
    for _ in 0..4000 {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            words[(state >> 16) as usize % words.len()]
        };
        let line = [next(), next(), next(), next(), next()].join(" ");
        for program in ["firstboot", "kubeadm"] {
            let shown = match called(program, &line) {
                Ok(Request::Join(join)) => flags::node_config(&join.flags, None, &host())
                    .map_or_else(|failure| failure.message, |config| config.warnings.join(" ")),
                Ok(_) => continue,
                Err(failure) => format!("{failure:?}"),
            };
            assert!(!shown.contains(SECRET), "{line}: {shown}");
        }
    }
}
