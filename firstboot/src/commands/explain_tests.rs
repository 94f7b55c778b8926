use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::binding::Binding;
use crate::checkpoint::CheckpointFile;
use crate::cli::request::Common;
use crate::host::files;
use crate::host::root::Root;
use crate::run::run;
use crate::{paths, status};

#[test]
fn the_platform_is_told_although_its_metadata_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    files::write(&root.path("/usr/lib/kiln/policy.json"), br#"{"platform": "nutanix"}"#, files::PUBLIC)
        .unwrap();
    files::write(&root.path("/proc/cmdline"), b"firstboot.source-deadline=soon\n", files::PUBLIC).unwrap();
    let (metadata, failed) = known(&Session::new(&root, Console { json: false }));
    assert_eq!(metadata.platform.map(|platform| platform.name), Some("nutanix"));
    assert!(failed.unwrap().message.contains("is no number of seconds"));
}

const SEED: &str = "/var/lib/cloud/seed/nocloud";

const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstrapToken: {apiServerEndpoint: 'a.example:6443', token: abcdef.0123456789abcdef, unsafeSkipCAVerification: true}}\n";

struct Machine {
    _folder: tempfile::TempDir,
    root: Root,
}

impl Machine {
    fn with(user_data: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let machine = Self { _folder: folder, root };
        machine.write("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
        machine.write(&format!("{SEED}/user-data"), user_data);
        machine.write(&format!("{SEED}/meta-data"), b"instance-id: i-1\nlocal-hostname: worker-1\n");
        machine
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        files::write(&self.root.path(path), bytes, files::PRIVATE).unwrap();
    }

    fn session(&self) -> Session<'_> {
        Session::new(&self.root, Console { json: false })
    }

    fn explained(&self) -> (BTreeMap<&'static str, Value>, Option<Failure>) {
        let common = Common { root: self.root.clone(), ..Common::default() };
        let request = request::Join { common, ..request::Join::default() };
        let (record, refused) = look(&self.session(), &request).unwrap();
        (record.into_iter().collect(), refused)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.root.path("/")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn the_facts_are_told_although_the_machine_cannot_be_identified() {
    let machine = Machine::with(JOIN.as_bytes());
    files::remove(&machine.root.path(paths::MACHINE_ID)).unwrap();
    let (record, refused) = machine.explained();
    assert!(record.contains_key("facts") && record.contains_key("platform"), "{record:?}");
    assert!(refused.unwrap().message.contains("machine-id"));
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The user data of the tests' cases, and more of what a run decides.
fn cases() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/userdata");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut cases: Vec<_> = entries
        .map(|entry| (entry.file_name().to_str().unwrap().to_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    let more = [
        ("a misspelled field", format!("{JOIN}nodeRegistration: {{nam: a}}\n")),
        ("a control plane", format!("{JOIN}controlPlane: {{}}\n")),
        ("no join", format!("{JOIN}skipPhases: [kubelet-start]\n")),
        (
            "wrong labels",
            format!(
                "{JOIN}nodeRegistration: {{kubeletExtraArgs: [{{name: node-labels, value: node-role.kubernetes.io/x=}}]}}\n"
            ),
        ),
    ];
    cases.extend(more.map(|(name, text)| (name.to_owned(), text.into_bytes())));
    cases
}

#[test]
fn explain_foresees_what_a_run_does() {
    let mut joined = 0;
    for (name, user_data) in cases() {
        let machine = Machine::with(&user_data);
        let before = machine.files();
        let (rows, refused) = machine.explained();
        assert_eq!(machine.files(), before, "{name}: explain changes nothing");
        let ended = run(&machine.session());
        let status = status::read(&machine.root).unwrap().unwrap();
        if let Some(refused) = refused {
            assert_eq!(ended.unwrap_err().message, refused.message, "{name}");
            continue;
        }
        joined += 1;
        assert_eq!(rows["node"].as_str(), status.node.as_deref(), "{name}");
        assert_eq!(rows["config"].as_str(), status.source.as_deref(), "{name}");
        let warnings = texts(&rows["warnings"]);
        assert_eq!(warnings, status.warnings[..warnings.len()], "{name}");
        let of_the_machine = |more: &String| {
            more.starts_with("preflight ") || more.contains("the image does not have its owner")
        };
        assert!(status.warnings[warnings.len()..].iter().all(of_the_machine), "{name}: {status:?}");
        for line in texts(&rows["extra files"]) {
            let (path, about) = line.split_once(" (").unwrap();
            let mode = machine.root.path(path).metadata().unwrap().permissions().mode() & 0o7777;
            assert!(about.contains(&format!("mode {mode:04o}, of ")), "{name}: {line}");
        }
        let foreseen = texts(&rows["extra files"]).len();
        let own = ["/etc/firstboot", "/run/firstboot", "/var/lib/firstboot"]
            .map(|folder| machine.root.path(folder));
        let is_extra =
            |path: &&PathBuf| !before.contains(path) && !own.iter().any(|own| path.starts_with(own));
        assert_eq!(machine.files().iter().filter(is_extra).count(), foreseen, "{name}");
    }
    assert!(joined > 4, "{joined}");
}

#[test]
fn explain_shows_labels_taints_and_files() {
    let node = "nodeRegistration: {name: n1, taints: [{key: a, value: b, effect: NoSchedule}], kubeletExtraArgs: [{name: node-labels, value: 'pool=a,x=y'}]}";
    let join = format!("{JOIN}{node}\n").replace('\n', "\n    ");
    let user_data = format!(
        "#cloud-config\nwrite_files:\n- path: /etc/own.conf\n  permissions: '0600'\n  owner: nobody-here:x\n  content: a\n- path: /run/join.yaml\n  content: |\n    {join}\nruncmd:\n- kubeadm join --config /run/join.yaml\n"
    );
    let machine = Machine::with(user_data.as_bytes());
    let (rows, _) = machine.explained();
    assert_eq!(rows["labels"], json!(["pool=a", "x=y"]));
    assert_eq!(rows["taints"], json!(["a=b:NoSchedule"]));
    let own = texts(&rows["extra files"]);
    assert_eq!(own, ["/etc/own.conf (mode 0600, of root, because the image does not have its owner)"]);

    let kubelet = "---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nregisterWithTaints: [{key: c, effect: NoExecute}]\n";
    let (rows, _) = Machine::with(format!("{JOIN}{kubelet}").as_bytes()).explained();
    assert_eq!(rows["taints"], json!(["c:NoExecute"]));
}

#[test]
fn explain_says_what_an_older_agents_join_and_an_interrupted_one_mean() {
    let machine = Machine::with(JOIN.as_bytes());
    let session = machine.session();
    let identity = session.machine().unwrap().identity.clone();
    let file = |config: &str, phase: &str, is_last| {
        let checkpoint = crate::checkpoint::Checkpoint::new(&identity, config, "n1");
        CheckpointFile::begin(&machine.root, checkpoint)
            .unwrap()
            .done(phase, config, 1, is_last)
            .unwrap();
    };
    assert_eq!(machine.explained().0["earlier run"], Value::Null);
    file("another", "cleanup", true);
    assert_eq!(Binding::read(&machine.root).unwrap(), None);
    let said = machine.explained().0["earlier run"].as_str().unwrap().to_owned();
    assert!(
        said.contains("is not followed: an older agent joined this machine with another config"),
        "{said}"
    );
    let config = crate::config::parse(
        JOIN.as_bytes(),
        &crate::config::HostDefaults { hostname: "worker-1".to_owned() },
    );
    file(&config.unwrap().fingerprint(&[]), "discovery", false);
    let said = machine.explained().0["earlier run"].as_str().unwrap().to_owned();
    assert_eq!(said, "an earlier run was interrupted after discovery: resuming");
    // It never joined, so nothing may say that it did.
    file("another", "preflight", false);
    let said = machine.explained().0["earlier run"].as_str().unwrap().to_owned();
    assert_eq!(said, "an earlier run began to join with another config: resetting it first");
    files::remove(&machine.root.path(format!("{SEED}/user-data"))).unwrap();
    let said = machine.explained().0["earlier run"].as_str().unwrap().to_owned();
    assert!(said.contains("its node config no longer exists"), "{said}");
    assert!(!machine.root.path(paths::STATUS).exists());
}

#[test]
fn no_text_of_others_begins_a_line() {
    const FORGED: &str = "a\nfirstboot-verdict: {}";
    let facts =
        json!({"zone": {"value": FORGED, "source": FORGED, "others": [{"value": FORGED, "source": "x"}]}});
    let record = vec![("seen", json!(FORGED)), ("remarks", json!([FORGED])), (FACTS, facts)];
    let text = printed(&record, false);
    assert_eq!(text.matches("firstboot-verdict").count(), 5);
    assert!(!text.contains("\nfirstboot-verdict"), "{text}");
}

#[test]
fn explain_says_what_only_the_cluster_decides() {
    for (version, has_configuration, expected) in [
        (Some("1.36.2"), false, vec!["whether this version", "the kubelet's configuration"]),
        (Some("1.36.2"), true, vec!["whether this version"]),
        (Some("1.35.0"), true, vec!["whether this version", "whether --container-runtime-endpoint"]),
        (
            Some("1.33.0"),
            true,
            vec!["whether this version", "whether --container-runtime-endpoint", "the registry in"],
        ),
        (Some("1.31.0"), true, vec!["whether this version", "the registry in"]),
        (None, true, vec!["whether this version", "kubeadm's own arguments"]),
    ] {
        let said = undecided(version.map(|version| version.parse().unwrap()), has_configuration);
        let begins = |(said, expected): (&String, &&str)| said.starts_with(expected);
        assert!(
            said.len() == expected.len() && said.iter().zip(&expected).all(begins),
            "{version:?}: {said:?}"
        );
    }
    let (rows, _) = Machine::with(JOIN.as_bytes()).explained();
    assert_eq!(texts(&rows["of the cluster"]).len(), 3);
    assert!(rows["kubelet"].as_str().unwrap().contains("no program of a folder is run"));
}
