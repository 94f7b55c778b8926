use super::*;
use crate::checkpoint::CheckpointFile;
use crate::run::{Console, run};
use crate::status;

const OWN: &str = "0123456789abcdef0123456789abcdef\n";
const OTHER: &str = "fedcba9876543210fedcba9876543210\n";
const PIN: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const SEED: &str = "/var/lib/cloud/seed/nocloud/user-data";
const META_DATA: &str = "/var/lib/cloud/seed/nocloud/meta-data";
const CARRIED: &str = "/etc/systemd/system/kubelet.service.d/99-carried.conf";

/// The files by which a kubelet would start as the node.
const IDENTITY: [&str; 3] = [
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
];

fn user_data(pin: &str) -> String {
    let join = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\n      kind: JoinConfiguration\n      nodeRegistration: {{name: n1}}\n      discovery: {{bootstrapToken: {{apiServerEndpoint: '127.0.0.1:9', token: abcdef.0123456789abcdef, caCertHashes: ['sha256:{pin}']}}}}"
    );
    format!(
        "#cloud-config\nwrite_files:\n- path: {CARRIED}\n  content: carried\n- path: /run/kubeadm/join.yaml\n  content: |\n      {join}\nruncmd:\n- kubeadm join --config /run/kubeadm/join.yaml\n"
    )
}

struct Machine {
    _folder: tempfile::TempDir,
    root: Root,
}

impl Machine {
    /// A machine that joined as n1 with a config from `source`.
    fn joined(source: &str, platform: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let machine = Self { _folder: folder, root };
        machine.write("/etc/machine-id", OWN);
        IDENTITY.iter().for_each(|path| machine.write(path, "of n1"));
        let text = str::to_owned;
        let mut cluster = crate::binding::ClusterNames::default();
        cluster.add(vec![PIN.to_owned()], "https://127.0.0.1:9".to_owned());
        let identity = machine.session().machine().unwrap().identity.clone();
        CheckpointFile::begin(&machine.root, Checkpoint::new(&identity, "config", "n1"))
            .unwrap()
            .done("cleanup", "config", 1, true)
            .unwrap();
        let binding = Binding {
            platform: Some(text(platform)),
            source: Some(text(source)),
            cluster,
            ..Binding::default()
        };
        binding.write(&machine.root).unwrap();
        machine
    }

    fn session(&self) -> Session<'_> {
        Session::new(&self.root, Console { json: false })
    }

    fn write(&self, path: &str, text: &str) {
        files::write(&self.root.path(path), text.as_bytes(), files::PRIVATE).unwrap();
    }

    fn has(&self, path: &str) -> bool {
        self.root.path(path).exists()
    }

    fn run(&self) -> (Result<()>, status::Status) {
        let ended = run(&self.session());
        (ended, status::read(&self.root).unwrap().unwrap())
    }

    fn stays_joined(&self) -> Vec<String> {
        let (ended, status) = self.run();
        assert_eq!((ended.is_ok(), status.outcome), (true, Outcome::AlreadyJoined), "{status:?}");
        assert!(IDENTITY.iter().all(|path| self.has(path)) && !self.has(CARRIED));
        assert!(self.has("/run/firstboot/kubelet-permit"));
        status.warnings
    }
}

#[test]
fn a_joined_machine_asks_no_other_source() {
    let machine = Machine::joined("file", "none");
    machine.write(SEED, &user_data(PIN));
    assert!(machine.stays_joined().is_empty());
    machine.write("/proc/cmdline", "firstboot.config=https://127.0.0.1:9/config");
    machine.stays_joined();
}

#[test]
fn a_joined_machine_follows_its_own_source_only_into_its_own_cluster() {
    let machine = Machine::joined("nocloud", "nocloud");
    machine.write(SEED, &user_data(&PIN.replace('1', "2")));
    let warnings = machine.stays_joined();
    assert!(
        warnings[0].contains("names another cluster") && warnings[0].contains("firstboot reset"),
        "{warnings:?}"
    );
    assert!(!warnings[0].contains("0123456789abcdef"), "{warnings:?}");

    machine.write(SEED, &user_data(PIN));
    let (_, status) = machine.run();
    assert_ne!(status.outcome, Outcome::AlreadyJoined, "its own cluster: it joins again");
    assert!(machine.has(CARRIED) && !machine.has(IDENTITY[0]));
}

#[test]
fn the_trust_policy_can_let_a_joined_machine_join_again() {
    let machine = Machine::joined("file", "none");
    machine.write(SEED, &user_data(&PIN.replace('1', "2")));
    machine.write("/usr/lib/kiln/policy.json", r#"{"rejoin": true}"#);
    let (_, status) = machine.run();
    assert_ne!(status.outcome, Outcome::AlreadyJoined);
    assert!(machine.has(CARRIED));
}

#[test]
fn a_machine_that_an_older_agent_joined_follows_no_other_config() {
    let machine = Machine::joined("nocloud", "nocloud");
    files::remove(&machine.root.path(paths::BINDING)).unwrap();
    machine.stays_joined();
    machine.write(SEED, &user_data(PIN));
    assert!(machine.stays_joined()[0].contains("an older agent"));
}

/// `kubeadm join` made it a node, before or after the agent tried, or its checkpoint is lost.
#[test]
fn a_node_that_the_agent_does_not_know_follows_no_config() {
    let machine = Machine::joined("file", "none");
    let identity = machine.session().machine().unwrap().identity.clone();
    machine.write(SEED, &user_data(PIN));
    let refused = |case: &str| {
        let (ended, status) = machine.run();
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Preflight, "{case}");
        assert!(status.failure.unwrap().message.contains("kubelet.conf exists already"), "{case}");
        assert!(IDENTITY.iter().all(|path| machine.has(path)) && !machine.has(CARRIED), "{case}");
        assert!(machine.has("/run/firstboot/kubelet-permit"), "{case}");
    };
    machine.write(paths::CHECKPOINT, "{");
    refused("a damaged checkpoint");
    CheckpointFile::begin(&machine.root, Checkpoint::new(&identity, "config", "n1")).unwrap();
    refused("a checkpoint of a join that failed");
    files::remove(&machine.root.path(paths::CHECKPOINT)).unwrap();
    refused("no checkpoint");
    machine.write("/usr/lib/kiln/policy.json", r#"{"rejoin": true}"#);
    let _ = machine.run();
    assert!(machine.has(CARRIED), "the trust policy lets it join again");
}

#[test]
fn a_joined_machine_does_without_its_metadata() {
    let machine = Machine::joined("nocloud", "nocloud");
    machine.write(META_DATA, "[");
    let warnings = machine.stays_joined();
    assert!(warnings[0].contains("no YAML") && warnings[0].contains("does without it"), "{warnings:?}");
}

/// What a platform keeps elsewhere may be deleted after the join, too.
#[test]
fn a_joined_machine_does_without_a_config_that_it_cannot_get_or_trust() {
    let machine = Machine::joined("nocloud", "nocloud");
    machine.write(SEED, &user_data(PIN));
    let key = "RWQFQZjdpXeedGYW2sULdrLFoj+uzx1LnNci8wxwTna0pIXbiQ8XEvCW";
    machine.write("/usr/lib/kiln/policy.json", &format!(r#"{{"signed-by": ["{key}"]}}"#));
    let warnings = machine.stays_joined();
    assert!(warnings[0].contains("sign") && warnings[0].contains("does without it"), "{warnings:?}");
}

#[test]
fn a_copied_disk_loses_its_identity_whatever_else_fails() {
    for (name, path, text) in [
        ("no config", "/etc/issue", ""),
        ("unreadable metadata", META_DATA, "["),
        ("a damaged policy", "/usr/lib/kiln/policy.json", "{"),
    ] {
        let machine = Machine::joined("file", "none");
        machine.write("/etc/machine-id", OTHER);
        machine.write(path, text);
        let (ended, status) = machine.run();
        assert!(IDENTITY.iter().all(|path| !machine.has(path)), "{name}");
        assert!(!ended.is_err_and(|failure| failure.message.contains("interrupted")), "{name}");
        assert_ne!(status.outcome, Outcome::AlreadyJoined, "{name}");
    }
}

#[test]
fn a_copied_disk_loses_its_identity_whichever_agent_joined_it() {
    let machine = Machine::joined("file", "none");
    let written = std::fs::read_to_string(machine.root.path(crate::checkpoint::PATH)).unwrap();
    machine.write(crate::checkpoint::PATH, &written.replacen('{', "{\"ofANewerAgent\": 1,", 1));
    machine.write("/etc/machine-id", OTHER);
    let _ = machine.run();
    assert!(IDENTITY.iter().all(|path| !machine.has(path)));
}

#[test]
fn a_copied_disk_that_cannot_be_reset_does_not_let_the_kubelet_start() {
    let machine = Machine::joined("file", "none");
    machine.write("/etc/machine-id", OTHER);
    let conf = machine.root.path("/etc/kubernetes/kubelet.conf");
    files::remove(&conf).unwrap();
    files::make_folder(&conf.join("in the way"), 0o700).unwrap();
    assert!(machine.run().0.is_err());
    assert!(!machine.has("/run/firstboot/kubelet-permit") && !machine.has(IDENTITY[0]));
}

const KERNEL_NAME: &str = "/proc/sys/kernel/hostname";

#[test]
fn a_machine_keeps_the_host_name_that_it_joined_with() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { root: Root::at(folder.path()), _folder: folder };
    machine.write("/etc/machine-id", OWN);
    machine.write(SEED, &user_data(PIN).replace("nodeRegistration: {name: n1}", "nodeRegistration: {}"));
    let name_after = |given: &str| {
        machine.write(KERNEL_NAME, given);
        let (_, status) = machine.run();
        (status.node.unwrap(), machine::hostname(&machine.root).unwrap())
    };
    let both = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(name_after("first"), both("first"));
    assert_eq!(name_after("from-dhcp"), both("first"), "DHCP renamed a node");
    machine.write("/etc/hostname", "chosen\n");
    assert_eq!(name_after("chosen"), both("chosen"), "the operator's name did not count");
}

#[test]
fn a_copied_disk_does_not_get_the_name_of_the_original() {
    let machine = Machine::joined("file", "none");
    let binding = Binding { hostname: Some("original".to_owned()), ..Binding::default() };
    binding.write(&machine.root).unwrap();
    machine.write("/etc/machine-id", OTHER);
    machine.write(KERNEL_NAME, "copy");
    let _ = machine.run();
    assert_eq!(machine::hostname(&machine.root).as_deref(), Some("copy"));
}

#[test]
fn a_dry_run_begins_where_an_interrupted_run_ended_and_changes_nothing() {
    let machine = Machine::joined("nocloud", "nocloud");
    for path in [paths::BINDING, IDENTITY[0], IDENTITY[1], IDENTITY[2]] {
        files::remove(&machine.root.path(path)).unwrap();
    }
    let config = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndryRun: true\ntimeouts: {discovery: 200ms}\nnodeRegistration: {name: n1}\ndiscovery: {bootstrapToken: {apiServerEndpoint: '127.0.0.1:9', token: abcdef.0123456789abcdef, unsafeSkipCAVerification: true}}\n";
    machine.write(SEED, config);
    let host = crate::config::HostDefaults { hostname: "n1".to_owned() };
    let fingerprint = crate::config::parse(config.as_bytes(), &host).unwrap().fingerprint(&[]);
    let identity = machine.session().machine().unwrap().identity.clone();
    CheckpointFile::begin(&machine.root, Checkpoint::new(&identity, &fingerprint, "n1"))
        .unwrap()
        .done("preflight", &fingerprint, 1, false)
        .unwrap();
    let before = std::fs::read(machine.root.path(paths::CHECKPOINT)).unwrap();
    let (ended, status) = machine.run();
    assert_eq!(ended.unwrap_err().kind, ErrorKind::Unreachable);
    let states: Vec<_> =
        status.phases.iter().map(|phase| (phase.name.as_str(), phase.state.as_str())).collect();
    assert_eq!(states, [("host", "skipped"), ("preflight", "kept"), ("discovery", "failed")]);
    assert_eq!(std::fs::read(machine.root.path(paths::CHECKPOINT)).unwrap(), before);
    assert!(!machine.has(paths::BINDING));
}
