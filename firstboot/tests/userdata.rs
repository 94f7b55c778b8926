//! Tests with whole user data as Cluster API's kubeadm bootstrap provider and operators write it
//! (tests/cases/userdata). The programs that the formats come from check it too: cloud-init,
//! ignition-validate, minisign, gzip, zstd.
#![allow(clippy::disallowed_methods, reason = "tests make machines and servers")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use contract::public_key::PublicKey;
use firstboot::config::role::Role;
use firstboot::config::{HostDefaults, model::NodeConfig};
use firstboot::document::Document;
use firstboot::error::{ErrorKind, Failure, Result};
use firstboot::instance_data::{Found, Step, walk};
use firstboot::userdata::bounds::Budget;
use firstboot::userdata::{Env, Kind, ParsedUserData, Pointer, Trust, jinja, kind, open};

/// This marker stands in place of the secrets in every case.
const CANARY: &str = "canary";
const SENTINEL: &str = "/run/cluster-api/bootstrap-success.complete";

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/userdata")
}

fn case(name: &str) -> Vec<u8> {
    fs::read(cases().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What templates can ask for.
fn names(root: &str, steps: &[Step]) -> Result<Found> {
    let known = serde_json::json!({
        "local_hostname": "n1",
        "instance_id": "i-1",
        "v1": {"instance_id": "i-1"},
        "ds": {"meta_data": {"local_hostname": "n1", "hostname": "n1", "placement": {"availability-zone": "z1"}}},
    });
    Ok(walk(&known, &[&[Step::Item(root.to_owned())], steps].concat()))
}

/// What `envsubst` can fill in.
fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "COREOS_EC2_AVAILABILITY_ZONE" => "z1",
        "COREOS_EC2_HOSTNAME" => "n1",
        _ => return None,
    };
    Some(value.to_owned())
}

fn opened_by(bytes: &[u8], signature: Option<&str>, trust: &Trust, served: &Path) -> Result<ParsedUserData> {
    let fetch = |_: &Pointer| Ok(Document::read_file(served).unwrap().unwrap());
    let env = Env { trust, names: &names, lookup: &lookup, fetch: &fetch, follow: &|_| Ok(None) };
    open(bytes, signature, &env)
}

fn opened(bytes: &[u8]) -> Result<ParsedUserData> {
    opened_by(bytes, None, &Trust::Any, Path::new("/none"))
}

fn node_config(opened: &mut ParsedUserData) -> Result<NodeConfig> {
    opened
        .node_config(&HostDefaults { hostname: "host".to_owned() })
        .map(|config| config.expect("there is a config"))
}

/// The expected result of a case.
struct Expected {
    case: &'static str,
    node: &'static str,
    /// `cloud-provider=external`
    arguments: &'static [&'static str],
    files: &'static [(&'static str, u32, &'static str)],
    sentinel: bool,
    notices: &'static [&'static str],
}

const PATCH: &str = "/etc/kubernetes/patches/kubeletconfiguration0+merge.yaml";
const CASES: &[Expected] = &[
    Expected {
        case: "capi-worker-v1beta4.cloud-config",
        node: "n1",
        arguments: &["cloud-provider=external", "provider-id=aws:///z1/i-1"],
        files: &[],
        sentinel: true,
        notices: &[],
    },
    Expected {
        case: "capi-worker-v1beta3.cloud-config",
        node: "n1",
        arguments: &["cloud-provider=external", "provider-id=azure:///subscriptions/s/virtualMachines/i-1"],
        files: &[
            (PATCH, 0o644, "root"),
            ("/etc/kubernetes/azure.json", 0o600, "root"),
            ("/etc/motd.d/10-pool", 0o644, "nobody"),
            ("/etc/modules-load.d/extra.conf", 0o644, "root"),
            ("/etc/hosts", 0o644, "root"),
        ],
        sentinel: true,
        notices: &[
            "cloud-config: these fields are not used: disk_setup, fs_setup, mounts, ntp, users",
            "cloud-config: 1 command of bootcmd is not executed",
            "cloud-config: 2 commands are not executed: this agent runs no scripts",
        ],
    },
    Expected {
        case: "capi-worker-v1beta3.ign",
        node: "n1",
        arguments: &["cloud-provider=external", "provider-id=aws:///z1/i-1"],
        files: &[(PATCH, 0o644, "root")],
        sentinel: true,
        notices: &[
            "Ignition config: 1 user is not made",
            "Ignition config: 2 systemd units are not made",
            "Ignition config: 3 commands are not executed: this agent runs no scripts",
        ],
    },
    Expected {
        case: "worker-v1beta4-spec3.ign",
        node: "host",
        arguments: &["cloud-provider=external"],
        files: &[("/etc/hostname", 0o644, "root"), (PATCH, 0o644, "root")],
        sentinel: true,
        notices: &[
            "Ignition config: storage.files[3] comes from elsewhere and is not fetched",
            "Ignition config: 1 directory is not made",
            "Ignition config: 1 systemd unit is not made",
        ],
    },
    Expected {
        case: "flags.cloud-config",
        node: "host",
        arguments: &[],
        files: &[("/etc/kubernetes/discovery.yaml", 0o600, "root")],
        sentinel: false,
        notices: &[
            "cloud-config: these fields are not used: packages",
            "cloud-config: 1 command is not executed: this agent runs no scripts",
        ],
    },
    Expected {
        case: "own.cloud-config",
        node: "host",
        arguments: &["cloud-provider=external"],
        files: &[],
        sentinel: false,
        notices: &[],
    },
    Expected {
        case: "parts.mime",
        node: "n7",
        arguments: &["cloud-provider=external"],
        files: &[],
        sentinel: false,
        notices: &[
            "part 1: what is a script is not executed",
            "part 2: cloud-config: these fields are not used: packages",
        ],
    },
];

fn check(expected: &Expected, bytes: &[u8]) {
    let name = expected.case;
    let mut opened = opened(bytes).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    assert!(!format!("{opened:?}").contains(CANARY), "{name}: {opened:?}");
    assert_eq!(opened.notices, expected.notices, "{name}");
    assert_eq!(opened.sentinel.as_deref(), expected.sentinel.then_some(SENTINEL), "{name}");
    let files: Vec<_> = opened
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.mode, file.owner.user.as_str()))
        .collect();
    assert_eq!(files, expected.files, "{name}");
    let config = node_config(&mut opened).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    assert!(
        config.warnings.is_empty() && !format!("{config:?}").contains("canary.canary"),
        "{name}: {:?}",
        config.warnings
    );
    assert_eq!(config.node_name(), expected.node, "{name}");
    let arguments: Vec<String> = config
        .join
        .node
        .kubelet_extra_args
        .iter()
        .map(|argument| format!("{}={}", argument.name, argument.value))
        .collect();
    assert_eq!(arguments, expected.arguments, "{name}");
    assert!(config.join.role == Role::Worker);
}

#[test]
fn what_cluster_api_emits_is_opened_as_it_is() {
    for expected in CASES {
        let bytes = case(expected.case);
        check(expected, &bytes);
        for packed in [
            &["gzip", "-c"][..],
            &["gzip", "-9c"],
            &["base64"],
            &["base64", "-w0"],
            &["zstd", "-qc"],
            &["zstd", "-19qc"],
        ] {
            check(expected, &through(packed, &bytes));
        }
        check(expected, &through(&["base64"], &through(&["gzip", "-c"], &bytes)));
    }
    let worker = opened(&case("worker-v1beta4-spec3.ign")).unwrap();
    assert_eq!(
        (worker.hostname.as_deref(), worker.files[1].content.bytes()),
        (Some("n9"), &b"maxPods: 42\nserializeImagePulls: false\n"[..])
    );
    let pool = opened(&case("capi-worker-v1beta3.cloud-config")).unwrap();
    assert_eq!(pool.files[2].content.bytes(), "pool a\n".repeat(20).as_bytes());
}

#[test]
fn a_control_plane_is_opened_and_kubeadm_gets_its_documents() {
    for (name, role) in [
        ("capi-control-plane-join.cloud-config", Role::ControlPlane),
        ("capi-control-plane-join.ign", Role::ControlPlane),
        ("capi-control-plane-init.cloud-config", Role::FirstControlPlane),
        ("capi-control-plane-init.ign", Role::FirstControlPlane),
    ] {
        let mut opened = opened(&case(name)).unwrap();
        assert!(
            opened
                .files
                .iter()
                .any(|file| file.path == "/etc/kubernetes/pki/ca.key" && file.mode == 0o600),
            "{name}"
        );
        assert!(!format!("{opened:?}").contains(CANARY));
        let config = node_config(&mut opened).unwrap();
        assert_eq!((config.join.role, config.kubeadm.is_some()), (role, true), "{name}");
        assert!(!format!("{config:?}").contains("canarycanary"));
    }
}

#[test]
fn no_case_is_left_out() {
    let named = |name: &str| {
        CASES.iter().any(|expected| expected.case == name) || name.starts_with("capi-control-plane")
    };
    let names: Vec<String> = fs::read_dir(cases())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() > 10 && names.iter().all(|name| named(name)), "{names:?}");
}

/// Sends `bytes` through a program.
fn through(command: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// Runs a program of the test's requirements (tools/install test).
fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; tools/install test installs it"))
}

#[test]
fn cloud_init_accepts_the_cloud_configs() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for entry in fs::read_dir(cases()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cloud-config") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        // Its schema is for the text after the template is rendered.
        let bytes = match kind(&bytes) {
            Kind::Template => {
                let rendered =
                    jinja::render(std::str::from_utf8(&bytes).unwrap(), &names, &Budget::default()).unwrap();
                assert_eq!(rendered.missing, [], "{}", path.display());
                rendered.text.to_vec()
            }
            _ => bytes,
        };
        fs::write(folder.path().join("config"), bytes).unwrap();
        let output = run("cloud-init", &["schema", "-c", "config"], folder.path());
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        checked += 1;
    }
    assert_eq!(checked, 6);
}

/// The packaged program knows only spec 3. It reports spec 2, which Cluster API emits, as unknown.
#[test]
fn ignition_accepts_the_ignition_configs() {
    for (name, expected) in
        [("worker-v1beta4-spec3.ign", None), ("capi-worker-v1beta3.ign", Some("unsupported config version"))]
    {
        let output = run("ignition-validate", &[name], &cases());
        match expected {
            None => assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr)),
            Some(expected) => assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{name}"),
        }
    }
}

/// The commands of docs/userdata.md.
#[test]
fn content_signed_by_minisign_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shell = |line: &str| {
        let output = run("bash", &["-euc", line], path);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    shell("minisign -G -W -p kiln.pub -s kiln.key && minisign -G -W -p other.pub -s other.key");
    fs::write(path.join("user-data"), case("own.cloud-config")).unwrap();
    shell("minisign -S -s kiln.key -m user-data");
    let key = |name: &str| PublicKey::parse(&fs::read_to_string(path.join(name)).unwrap()).unwrap();
    let (ours, others) =
        (Trust::SignedBy(vec![key("other.pub"), key("kiln.pub")]), Trust::SignedBy(vec![key("other.pub")]));
    let signature = fs::read_to_string(path.join("user-data.minisig")).unwrap();
    shell(
        "{ printf 'apiVersion: firstboot.kiln/v1\\nkind: ConfigPointer\\nurl: https://config.example.org/user-data\\n'
           printf 'sha256: %s\\nsignature: |\\n' \"$(openssl dgst -sha256 -r user-data | cut -d' ' -f1)\"; sed 's/^/  /' user-data.minisig; } > pointer.yaml
         { printf 'MIME-Version: 1.0\\nContent-Type: multipart/mixed; boundary=\"part\"\\n\\n'
           printf -- '--part\\nContent-Type: application/x-firstboot-config\\n\\n'; cat user-data
           printf -- '--part\\nContent-Type: application/x-minisign\\n\\n'; cat user-data.minisig; printf -- '--part--\\n'; } > parts",
    );
    let served = path.join("user-data");
    let read = |name: &str| fs::read(path.join(name)).unwrap();
    for (name, beside) in [("user-data", Some(signature.as_str())), ("pointer.yaml", None), ("parts", None)] {
        let mut opened = opened_by(&read(name), beside, &ours, &served)
            .unwrap_or_else(|failure: Failure| panic!("{name}: {failure}"));
        assert_eq!(opened.signed_by, [key("kiln.pub").id()], "{name}");
        assert_eq!(node_config(&mut opened).unwrap().node_name(), "host", "{name}");
        let failure = opened_by(&read(name), beside, &others, &served).unwrap_err();
        assert!(
            failure.kind == ErrorKind::Untrusted && failure.message.contains("not one that a key"),
            "{name}: {failure}"
        );
    }
    let changed = String::from_utf8(read("parts")).unwrap().replace("0600", "0644");
    assert_eq!(opened_by(changed.as_bytes(), None, &ours, &served).unwrap_err().kind, ErrorKind::Untrusted);
}
