use std::time::Duration;

use super::flags::JoinFlags;
use super::model::{OnFailure, TlsBootstrap, WaitFor};
use super::*;

const TOKEN: &str = "canary.canarycanarycana";
const SECRET: &str = "canarycanarycana";

/// A complete file that says everything.
const FULL: &str = r#"apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
caCertPath: /etc/kubernetes/pki/ca.crt
discovery:
  bootstrapToken:
    apiServerEndpoint: "[fd00::1]:6443"
    token: canary.canarycanarycana
    caCertHashes: ["SHA256:F85E5279bb962da2be209a8246ca851b22f330123c05c47f71bf660a0051f55e"]
  tlsBootstrapToken: canary.canarycanarycana
nodeRegistration:
  name: " N1.Example "
  criSocket: unix:///run/containerd/containerd.sock
  taints:
  - {key: a, value: b, effect: NoSchedule, timeAdded: null}
  kubeletExtraArgs:
  - name: node-labels
    value: a=b
  ignorePreflightErrors: [Swap, swap, NumCPU]
  imagePullPolicy: Never
  imagePullSerial: no
patches: {directory: /etc/patches}
skipPhases: [preflight]
dryRun: true
timeouts: {discovery: 8s, tlsBootstrap: 1m30s, etcdAPICall: 1s}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 20
staticPodURLHeader: {Authorization: [hush]}
---
apiVersion: firstboot.kiln/v1
kind: FirstbootConfiguration
endpoints: ["[fd00::1]:6443", "api.example.com:443"]
tlsBootstrap: kubelet
deadline: 20m
spread: 30s
runtimeTimeout: 2m
onFailure: poweroff
waitFor: ready
"#;

fn host() -> HostDefaults {
    HostDefaults { hostname: " Node1\n".to_owned() }
}

fn read(text: &str) -> Result<NodeConfig> {
    parse(text.as_bytes(), &host())
}

/// A v1beta4 file with `discovery` and what `more` adds.
fn join(more: &str) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken: {{apiServerEndpoint: 'a:1', token: {TOKEN}, unsafeSkipCAVerification: true}}\n{more}"
    )
}

fn message(text: &str) -> String {
    let failure = read(text).expect_err(text);
    assert_eq!(failure.kind, ErrorKind::Config);
    failure.message
}

#[test]
fn reads_a_full_file() {
    let config = read(FULL).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    let node = &config.join.node;
    assert_eq!(
        (node.name.as_str(), node.ignore_preflight_errors.join(",").as_str()),
        ("n1.example", "numcpu,swap")
    );
    let Discovery::Token { endpoints, pins, .. } = &config.join.discovery else { panic!() };
    let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(
        (endpoints.join(" ").as_str(), pins[0].starts_with("f85e5279")),
        ("[fd00::1]:6443 api.example.com:443", true)
    );
    assert!(config.join.dry_run);
    let agent = &config.agent;
    assert_eq!(
        (agent.tls_bootstrap, agent.on_failure, agent.wait_for),
        (TlsBootstrap::Kubelet, OnFailure::PowerOff, WaitFor::Ready)
    );
    assert_eq!((agent.deadline, agent.spread), (Duration::from_secs(1200), Duration::from_secs(30)));
    assert_eq!(agent.runtime_timeout, Duration::from_secs(120));
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn the_spelling_of_the_file_does_not_matter() {
    let expected = format!("{:?}", read(FULL).unwrap());
    let bom = format!("\u{feff}{FULL}");
    let crlf = FULL.replace('\n', "\r\n");
    let empty_documents = format!("# first\n---\n{FULL}\n---\n# nothing\n---\n");
    for (name, text) in [("bom", bom), ("crlf", crlf), ("empty documents", empty_documents)] {
        assert_eq!(format!("{:?}", read(&text).unwrap()), expected, "{name}");
    }
    let tabs = "{\n\t\"apiVersion\": \"kubeadm.k8s.io/v1beta4\", \"kind\": \"JoinConfiguration\",\n\t\"discovery\": {\"file\": {\"kubeConfigPath\": \"file:///etc/x\"}}, \"x\": \"\\ud83d\\ude00\"}\n";
    assert!(
        matches!(read(tabs).unwrap().join.discovery, Discovery::File(path) if path.to_str() == Some("/etc/x"))
    );
    let merged = "a: &a {name: n9}\napiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\ndiscovery: {file: {kubeConfigPath: /x}}\nnodeRegistration: {<<: *a, criSocket: unix:///a}\n";
    assert_eq!(read(merged).unwrap().join.node.name, "n9");
}

#[test]
fn the_name_is_the_hosts_unless_given() {
    assert_eq!(read(&join("")).unwrap().node_name(), "node1");
    let overridden = "nodeRegistration: {name: a, kubeletExtraArgs: [{name: hostname-override, value: x}, {name: hostname-override, value: B}]}";
    assert_eq!(read(&join(overridden)).unwrap().node_name(), "b");
    let nameless = parse(join("").as_bytes(), &HostDefaults { hostname: " ".to_owned() }).unwrap_err();
    assert!(nameless.message.starts_with("nodeRegistration: Required value: "), "{nameless}");
}

/// The kubelet does so: else the agent would ask for the certificate of another node than the kubelet's.
#[test]
fn an_underscore_in_the_name_of_an_argument_is_a_dash() {
    let list = "nodeRegistration: {kubeletExtraArgs: [{name: hostname_override, value: B}, {name: node_ip, value: 10.0.0.1}]}";
    let map = "nodeRegistration: {kubeletExtraArgs: {hostname_override: B, node_ip: 10.0.0.1}}";
    for text in [join(list), join(map).replace("v1beta4", "v1beta3")] {
        let config = read(&text).unwrap();
        assert_eq!((config.node_name().as_str(), config.argument("node-ip")), ("b", Some("10.0.0.1")));
    }
    let label =
        "nodeRegistration: {kubeletExtraArgs: [{name: node_labels, value: node-role.kubernetes.io/x=}]}";
    assert!(read(&join(label)).unwrap_err().message.contains("a node may not give it to itself"));
}

#[test]
fn an_address_of_the_node_is_refused_wherever_it_is_written() {
    let agent = |value: &str| {
        let text = "---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\nnodeIP: ";
        read(&format!("{}{text}'{value}'\n", join("")))
    };
    for value in ["127.0.0.1", "fe80::1", "224.0.0.1", "fd00::1,0.0.0.0"] {
        let failure = agent(value).unwrap_err();
        assert!(
            failure.message.contains("nodeIP: the kubelet would refuse the node-ip"),
            "{value}: {failure}"
        );
    }
    assert!(["10.0.0.1", "fd00::1, 10.0.0.1"].iter().all(|value| agent(value).is_ok()));
}

#[test]
fn bytes_that_are_no_file_are_refused() {
    let nested = "{a: ".repeat(200) + &"}".repeat(200);
    let blocks = "- ".repeat(200);
    let ninefold =
        |index: usize| format!("a{index}: &a{index} [{}]\n", vec![format!("*a{}", index - 1); 10].join(","));
    let bomb = "a0: &a0 [x,x]\n".to_owned() + &(1..9).map(ninefold).collect::<String>();
    let long_bomb = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 900].join(","));
    let rows: [(&[u8], &str); 16] = [
        (b"", "no JoinConfiguration found"),
        (b"# nothing\n", "no JoinConfiguration found"),
        (b"\0", "NUL byte at 0"),
        (b"a: \xff", "not UTF-8: byte 3"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"hello", "document 1: it is not a map"),
        (b"[1]", "document 1: it is not a map"),
        (b"a: 1", "kind and apiVersion is mandatory information that must be specified"),
        (b"a: [", "document 1 is not valid YAML: did not find expected node content at line 2"),
        (b"a: !x y", "document 1 is not valid YAML"),
        (b"? [a]\n: b", "document 1 is not valid YAML: a key or a tagged value is none that JSON has"),
        (nested.as_bytes(), "nested too deeply"),
        (blocks.as_bytes(), "nested too deeply"),
        (bomb.as_bytes(), "not valid YAML"),
        (long_bomb.as_bytes(), "it holds too much, aliases counted"),
        (&[b'#'; SIZE_LIMIT + 1], "larger than 1024 KiB"),
    ];
    for (bytes, expected) in rows {
        let failure = parse(bytes, &host()).unwrap_err();
        assert!(failure.message.contains(expected), "{expected}: {failure}");
        assert!(failure.message.len() < 300, "{failure}");
    }
    assert!(message(&"[".repeat(20_000)).contains("brackets"));
    assert!(message(&"--- 1\n".repeat(100)).contains("more than 64 documents"));
}

#[test]
fn a_misspelled_kind_of_the_agent_s_own_document_is_an_error() {
    let failure = read(&format!(
        "{}---\napiVersion: firstboot.kiln/v1\nkind: FirstbotConfiguration\nendpoints: ['a:1']\n",
        join("")
    ));
    let message = failure.err().unwrap().message;
    assert!(
        message.ends_with("\"FirstbotConfiguration\"; did you mean \"FirstbootConfiguration\"?"),
        "{message}"
    );
}

/// A value that stands in the wrong field may be a secret, and a number needs a unit and no quotes alone.
#[test]
fn a_wrong_duration_is_not_shown_and_its_form_is() {
    for text in ["timeouts: {discovery: hush}", "timeouts: {discovery: 5}"] {
        let failure = read(&join(text)).err().unwrap();
        assert!(!failure.message.contains("hush"), "{failure}");
        assert_eq!(
            failure.help.as_deref(),
            Some("write a number with its unit, such as \"5m\" or \"1m30s\"")
        );
    }
}

#[test]
fn documents_are_told_apart_by_kind() {
    let twice = format!("{FULL}---\n{}", join(""));
    assert_eq!(message(&twice), "invalid configuration: kind \"JoinConfiguration\" is specified twice");
    let others = "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n---\napiVersion: v1\nkind: ConfigMap\n";
    let warnings = read(&format!("{}{others}", join(""))).unwrap().warnings;
    assert_eq!(
        warnings[0],
        "ignored configuration document with GroupVersionKind kubeadm.k8s.io/v1beta4, Kind=ClusterConfiguration"
    );
    assert_eq!(warnings[1], "ignored configuration document with GroupVersionKind /v1, Kind=ConfigMap");
    assert!(
        message("apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\n")
            .ends_with("; it holds UpgradeConfiguration")
    );
    let versions = [
        ("kubeadm.k8s.io/v1beta1", "uses an old API spec: \"kubeadm.k8s.io/v1beta1\""),
        (
            "kubeadm.k8s.io/v1",
            "no kind \"JoinConfiguration\" is registered for version \"kubeadm.k8s.io/v1\"",
        ),
        (
            "example.com/v1beta4",
            "no kind \"JoinConfiguration\" is registered for version \"example.com/v1beta4\"",
        ),
    ];
    for (version, expected) in versions {
        assert!(
            message(&join("").replace("kubeadm.k8s.io/v1beta4", version)).contains(expected),
            "{version}"
        );
    }
    assert!(
        message(&format!("{}---\napiVersion: x/v1\nkind: KubeletConfiguration\n", join("")))
            .contains("\"x/v1\"")
    );
}

#[test]
fn fields_that_a_version_lacks_are_warnings() {
    let version = |version: &str, more: &str| {
        let text = join(more).replace("v1beta4", version);
        let warnings = read(&text).unwrap_or_else(|failure| panic!("{version}: {failure}")).warnings;
        warnings
            .iter()
            .map(|warning| warning.split('"').nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = "skipPhases: [x]\npatches: {}\ndryRun: true\ntimeouts: {}\nnodeRegistration: {imagePullPolicy: Never, imagePullSerial: true}\n";
    let expected = [
        "nodeRegistration.imagePullPolicy",
        "nodeRegistration.imagePullSerial",
        "dryRun",
        "patches",
        "skipPhases",
        "timeouts",
    ];
    assert_eq!(version("v1beta2", all), expected);
    let all = all.replace("[x]", "[preflight]");
    assert_eq!(version("v1beta3", &all), ["nodeRegistration.imagePullSerial", "dryRun", "timeouts"]);
    assert_eq!(version("v1beta4", &all), Vec::<String>::new());
    assert_eq!(
        version("v1beta4", "kubeletExtraArgs: 1\nkubeletExtraArgs: 2\n"),
        ["kubeletExtraArgs", "kubeletExtraArgs"]
    );
    assert_eq!(version("v1beta4", "nodeRegistration: {name: a, name: b}\n"), ["nodeRegistration.name"]);
}

#[test]
fn wrong_types_name_the_field() {
    let rows = [
        ("nodeRegistration: []", "nodeRegistration: cannot unmarshal a list into a map"),
        ("nodeRegistration: {name: 5}", "nodeRegistration.name: cannot unmarshal a number into a string"),
        ("nodeRegistration: {taints: {}}", "nodeRegistration.taints: cannot unmarshal a map into a list"),
        (
            "nodeRegistration: {taints: [{effect: [x]}]}",
            "nodeRegistration.taints[0].effect: cannot unmarshal a list into a string",
        ),
        (
            "nodeRegistration: {kubeletExtraArgs: {a: b}}",
            "nodeRegistration.kubeletExtraArgs: cannot unmarshal a map into a list",
        ),
        (
            "nodeRegistration: {kubeletExtraArgs: [{name: v, value: 2}]}",
            "nodeRegistration.kubeletExtraArgs[0].value: cannot unmarshal a number into a string",
        ),
        ("dryRun: maybe", "dryRun: cannot unmarshal a string into true or false"),
        ("timeouts: {discovery: 5}", "timeouts.discovery: cannot unmarshal a number into a string"),
        (
            "timeouts: {discovery: 5x}",
            "timeouts.discovery: Invalid value: a number lacks its unit: ns, us, ms, s, m or h",
        ),
        ("skipPhases: [null]", "skipPhases[0]: cannot unmarshal null into a string"),
    ];
    for (more, expected) in rows {
        assert_eq!(message(&join(more)), expected);
    }
    let map = join("nodeRegistration: {kubeletExtraArgs: {v: 2}}").replace("v1beta4", "v1beta3");
    assert_eq!(message(&map), "nodeRegistration.kubeletExtraArgs.v: cannot unmarshal a number into a string");
}

#[test]
fn checks_what_kubeadm_checks() {
    let rows = [
        (
            "nodeRegistration: {criSocket: 'tcp://x'}",
            "nodeRegistration.criSocket: Invalid value: \"tcp://x\": only URL scheme \"unix\" is supported, got \"tcp\"",
        ),
        (
            "nodeRegistration: {criSocket: 'run/x.sock'}",
            "nodeRegistration.criSocket: Invalid value: \"run/x.sock\": the socket must be an absolute path",
        ),
        (
            "nodeRegistration: {kubeletExtraArgs: [{value: a}]}",
            "nodeRegistration.kubeletExtraArgs: Invalid value: \"index 0\": argument has no name",
        ),
        (
            "nodeRegistration: {imagePullPolicy: never}",
            "nodeRegistration.imagePullPolicy: Invalid value: \"never\": invalid pull policy, expected Always, IfNotPresent or Never",
        ),
        (
            "nodeRegistration: {ignorePreflightErrors: [ALL, Swap]}",
            "ignore-preflight-errors: Invalid value: \"all,swap\": don't specify individual checks if 'all' is used",
        ),
        (
            "caCertPath: ca.crt",
            "caCertPath: Invalid value: \"ca.crt\": the ca certificate path must be an absolute path that ends in .crt",
        ),
        (
            "skipPhases: [prefligth]",
            "skipPhases: Invalid value: \"prefligth\": invalid phase name; did you mean \"preflight\"?",
        ),
    ];
    for (more, expected) in rows {
        assert_eq!(message(&join(more)), expected);
    }
    let everything = "caCertPath: x\nnodeRegistration: {name: -a}\n";
    let text = message(&join(everything));
    assert!(
        text.starts_with("[nodeRegistration.name: ")
            && text.contains(", caCertPath: ")
            && text.ends_with(']'),
        "{text}"
    );
    assert_eq!(
        read(&join("nodeRegistration: {ignorePreflightErrors: [all]}"))
            .unwrap()
            .join
            .node
            .ignore_preflight_errors,
        ["all"]
    );
    assert!(
        read(&join("controlPlane: {localAPIEndpoint: {bindPort: 1}}"))
            .is_ok_and(|config| config.join.role == Role::ControlPlane)
    );
    assert!(read(&join("controlPlane: null")).is_ok_and(|config| config.join.role == Role::Worker));
    let warned = read(&join("timeouts: {discovery: '0'}\n")).unwrap();
    assert_eq!(warned.warnings.len(), 1, "{:?}", warned.warnings);
    let refused = read(&join("nodeRegistration: {taints: [{key: a, effect: noschedule}]}\n")).unwrap_err();
    assert!(refused.message.starts_with("nodeRegistration.taints[0]: the kubelet would refuse"), "{refused}");
}

#[test]
fn checks_discovery() {
    let discovery = |text: &str| {
        format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {text}\n")
    };
    let pin = |pin: &str| {
        discovery(&format!(
            "{{bootstrapToken: {{apiServerEndpoint: 'a:1', token: {TOKEN}, caCertHashes: ['{pin}']}}}}"
        ))
    };
    let endpoint = |text: &str| {
        discovery(&format!(
            "{{bootstrapToken: {{apiServerEndpoint: '{text}', token: {TOKEN}, unsafeSkipCAVerification: yes}}}}"
        ))
    };
    let file = |text: &str| discovery(&format!("{{file: {{kubeConfigPath: '{text}'}}}}"));
    let rows = [
        (
            pin("f85e"),
            "discovery.bootstrapToken.caCertHashes[0]: Invalid value: \"f85e\": invalid public key hash",
        ),
        (
            pin("md5:f85e"),
            "discovery.bootstrapToken.caCertHashes[0]: Invalid value: \"md5:f85e\": unknown hash format",
        ),
        (
            pin("sha256:f85e"),
            "discovery.bootstrapToken.caCertHashes[0]: Invalid value: \"sha256:f85e\": expected a 32 byte SHA-256 hash",
        ),
        (
            pin(&format!("sha256:{}", "g".repeat(64))),
            "discovery.bootstrapToken.caCertHashes[0]: Invalid value: \"sha256:ggg",
        ),
        (endpoint(""), "discovery.bootstrapToken: Required value: APIServerEndpoint is not set"),
        (
            endpoint("api"),
            "discovery.bootstrapToken.apiServerEndpoint: Invalid value: \"api\": missing port in address",
        ),
        (
            endpoint("https://a:1"),
            "discovery.bootstrapToken.apiServerEndpoint: Invalid value: \"https://a:1\": an address is host:port",
        ),
        (
            file(""),
            "discovery.file.kubeConfigPath: Invalid value: \"\": not a valid HTTPS URL or a file on disk",
        ),
        (
            file("https://"),
            "discovery.file.kubeConfigPath: Invalid value: \"https://\": not a valid HTTPS URL or a file on disk",
        ),
        (
            endpoint("https://me:hush@a:1"),
            "discovery.bootstrapToken.apiServerEndpoint: Invalid value: an address is host:port, without a user",
        ),
        (
            file("https://me:hush@a/b"),
            "discovery.file.kubeConfigPath: Invalid value: the server's URL holds credentials",
        ),
        (
            file("http://me:hush@a/b"),
            "discovery.file.kubeConfigPath: Invalid value: \"http:…\": if a URL is used, the scheme must be https",
        ),
        (
            discovery("{file: {kubeConfigPath: /x}, tlsBootstrapToken: abc}"),
            "discovery.tlsBootstrapToken: Invalid value: the bootstrap token is invalid",
        ),
    ];
    for (text, expected) in rows {
        let found = message(&text);
        assert!(found.starts_with(expected) && !found.contains("hush"), "{expected}\n{found}");
    }
    assert!(
        matches!(read(&file("HTTPS://a/b")).unwrap().join.discovery, Discovery::Url(url) if url == "HTTPS://a/b")
    );
    assert!(read(&file("/x")).unwrap().join.tls_bootstrap_token.is_none());
}

#[test]
fn the_agents_own_document_is_strict() {
    let agent = |text: &str| {
        format!("{}---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\n{text}\n", join(""))
    };
    let rows = [
        ("waitfor: ready", "FirstbootConfiguration: unknown field \"waitfor\"; did you mean \"waitFor\"?"),
        (
            "waitFor: redy",
            "FirstbootConfiguration: waitFor: Unsupported value: \"redy\": supported values: \"kubelet\", \"registered\", \"ready\"",
        ),
        ("deadline: 5", "FirstbootConfiguration: deadline: cannot unmarshal a number into a string"),
        ("deadline: 0s", "FirstbootConfiguration: deadline: Invalid value: \"0\": must be greater than 0"),
        (
            "spread: 1h",
            "FirstbootConfiguration: spread: Invalid value: \"3600s\": must be less than the deadline",
        ),
        (
            "endpoints: [a]",
            "FirstbootConfiguration: endpoints[0]: Invalid value: \"a\": missing port in address",
        ),
        (
            "spread: 1s\nspread: 2s",
            "FirstbootConfiguration: spread: Invalid value: \"\": the field occurs twice",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(message(&agent(text)), expected);
    }
    assert!(message(&agent("x: 1")).starts_with(
        "FirstbootConfiguration: unknown field \"x\"; its fields are endpoints, tlsBootstrap, deadline,"
    ));
    assert!(message(&agent("").replace("kiln/v1", "kiln/v2")).contains("no version \"v2\""));
    assert_eq!(read(&agent("")).unwrap().agent, AgentConfiguration::default());
}

/// A small generator (xorshift): the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// `text` with pieces dropped, doubled, swapped and overwritten.
fn mutated(text: &str, random: &mut Random) -> Vec<u8> {
    const BYTES: &[u8] = b"{}[]:,-\"'#&*!|>%@`\n\t\0 a0.~<?\xff\xc3";
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let start = random.below(bytes.len());
        let end = (start + random.below(24)).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(start..end)),
            1 => bytes[start] = BYTES[random.below(BYTES.len())],
            2 => bytes.insert(start, BYTES[random.below(BYTES.len())]),
            _ => {
                let piece = bytes[start..end].to_vec();
                let place = random.below(bytes.len());
                bytes.splice(place..place, piece);
            }
        }
    }
    bytes
}

#[test]
fn no_mutation_panics_or_shows_the_token() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let json = format!(
        r#"{{"apiVersion":"kubeadm.k8s.io/v1beta4","kind":"JoinConfiguration","discovery":{{"bootstrapToken":{{"apiServerEndpoint":"a:1","token":"{TOKEN}","unsafeSkipCAVerification":true}},"tlsBootstrapToken":"{TOKEN}"}}}}"#
    );
    let (mut good, mut bad) = (0, 0);
    for round in 0..6_000 {
        let text = if round % 4 == 0 { json.as_str() } else { FULL };
        let bytes = mutated(text, &mut random);
        let shown = match parse(&bytes, &host()) {
            Ok(config) => {
                good += 1;
                format!(
                    "{:?} {:?} {:?}",
                    config.warnings, config.join.discovery, config.join.tls_bootstrap_token
                )
            }
            Err(failure) => {
                bad += 1;
                format!("{failure:?}")
            }
        };
        // Half a token is known for one where the whole stands somewhere in the file.
        let whole = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        let leaked = if whole { SECRET } else { TOKEN };
        assert!(!shown.contains(leaked), "{shown}");
    }
    assert!(good > 400 && bad > 500, "{good} {bad}");
}

#[test]
fn a_name_that_its_label_cannot_hold_is_warned_of_whoever_gives_it() {
    let long = format!("{}.example", "n".repeat(60));
    let named = join(&format!("nodeRegistration: {{name: {long}}}\n"));
    let overridden = join(&format!(
        "nodeRegistration: {{name: n1, kubeletExtraArgs: [{{name: hostname-override, value: {long}}}]}}\n"
    ));
    let by_template =
        format!("{named}---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\nnodeName: n1\n");
    let flags = JoinFlags { node_name: Some(long.clone()), given: vec!["node-name"], ..JoinFlags::default() };
    let by_host = HostDefaults { hostname: long };
    let plain = join("");
    for (what, config, expected) in [
        ("nodeRegistration.name", read(&named), 1),
        ("hostname-override", read(&overridden), 1),
        ("--node-name", flags::node_config(&flags, Some(plain.as_bytes()), &host()), 1),
        ("the host's name", parse(plain.as_bytes(), &by_host), 1),
        ("a template, which is told of where it is filled in", read(&by_template), 0),
        ("a short name", read(&plain), 0),
    ] {
        let warnings = config.unwrap_or_else(|failure| panic!("{what}: {failure}")).warnings;
        let about = warnings.iter().filter(|warning| warning.contains("kubernetes.io/hostname cannot hold"));
        assert_eq!(about.count(), expected, "{what}: {warnings:?}");
    }
}

#[test]
fn warnings_before_an_error_are_kept_with_it() {
    let join = |rest: &str| format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n{rest}\n");
    let misspelled = join(
        "discovery: {bootstrapToken: {apiServerEndpoints: ['a:1'], token: canary.canarycanarycana, unsafeSkipCAVerification: true}}",
    );
    let wrong_type = join(
        "discovery: {file: {kubeConfigPaths: /x}}\ncaCertPath: /a.crt\ncaCertPath: /b.crt\nskipPhases: 1",
    );
    // No other test holds this token: what a test that runs beside this one knows is taken out as "[secret]".
    let token = "hidden.hiddenhiddenhidd";
    let hidden = join(&format!("discovery: {{{token}: 1}}"));
    for (text, expected) in [
        (
            &misspelled,
            "unknown field \"discovery.bootstrapToken.apiServerEndpoints\"; did you mean \"apiServerEndpoint\"",
        ),
        (&wrong_type, "unknown field \"discovery.file.kubeConfigPaths\"; did you mean \"kubeConfigPath\""),
        (&wrong_type, "duplicate field \"caCertPath\""),
        (&hidden, "unknown field \"discovery.(hidden)\""),
    ] {
        let failure = read(text).unwrap_err();
        assert!(failure.warnings.iter().any(|warning| warning.contains(expected)), "{expected}: {failure:?}");
        assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
        assert!(!format!("{failure:?}").contains(token), "{failure:?}");
    }
    let flags = JoinFlags { endpoints: vec!["a:1".to_owned(), "b:1".to_owned()], ..JoinFlags::default() };
    let failure = flags::node_config(&flags, None, &host()).unwrap_err();
    assert!(failure.warnings[0].contains("more than one API server endpoint"), "{failure:?}");
    let failure = flags::node_config(&flags, Some(misspelled.as_bytes()), &host()).unwrap_err();
    assert_eq!(failure.warnings.len(), 2, "{failure:?}");
    let reset =
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\nskipPhase: []\nunmountFlags: [X]\n";
    let failure = reset::parse_reset(reset.as_bytes()).unwrap_err();
    assert!(failure.warnings[0].contains("did you mean \"skipPhases\""), "{failure:?}");
}

#[test]
fn field_names_have_kubeadms_case() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstraptoken: {apiServerEndpoint: 'a:1'}}\n";
    let failure = read(text).unwrap_err();
    assert!(failure.message.contains("bootstrapToken or file must be set"), "{failure:?}");
    assert_eq!(
        failure.warnings[..],
        [
            "strict decoding error: unknown field \"discovery.bootstraptoken\"; did you mean \"bootstrapToken\"?"
        ]
    );
}

#[test]
fn documents_of_other_kinds_are_ignored_with_a_warning() {
    let text = format!(
        "{FULL}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n---\napiVersion: example.com/v1\nkind: Other\n"
    );
    let warnings = read(&text).unwrap().warnings;
    for kind in ["/v1, Kind=ConfigMap", "example.com/v1, Kind=Other"] {
        assert!(warnings.iter().any(|warning| warning.ends_with(kind)), "{warnings:?}");
    }
}

#[test]
fn arguments_that_the_kubelet_refuses_are_refused_before_the_join() {
    let file = |arguments: &str| {
        read(&format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {{file: {{kubeConfigPath: /x}}}}\nnodeRegistration: {{name: a, kubeletExtraArgs: [{arguments}]}}\n"
        ))
    };
    for (arguments, expected) in [
        (
            "{name: node-labels, value: 'a=b,node-role.kubernetes.io/worker='}",
            Some("node-role.kubernetes.io/worker: a node may not"),
        ),
        ("{name: node-labels, value: 'a'}", Some("\"a\", which has no =")),
        ("{name: node-labels, value: 'a b=c'}", Some("\"a b\": this is no name")),
        ("{name: --node-ip, value: 10.0.0.1}", Some("--node-ip: write the name without dashes")),
        ("{name: node-labels, value: 'a=b, node.kubernetes.io/x=y'}, {name: v, value: '2'}", None),
    ] {
        let refused = file(arguments).err().map(|failure| failure.message);
        let is_as_expected = match (&refused, expected) {
            (Some(message), Some(expected)) => message.contains(expected),
            (None, None) => true,
            _ => false,
        };
        assert!(is_as_expected, "{arguments}: {refused:?}");
    }
}

#[test]
fn numbers_without_quotes_are_those_of_kubeadms_reader() {
    let with = |value: &str| {
        read(&format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {{file: {{kubeConfigPath: /x}}}}\nnodeRegistration: {{name: a, kubeletExtraArgs: [{{name: v, value: {value}}}]}}\n"
        ))
    };
    for number in [
        "12e3", "1.50", "1_000", "0o14", "014", "0_14", "00", "0x1F", "0b11", ".5", "+1", "-0", "1.",
        "1.0e+3",
    ] {
        let failure = with(number).expect_err(number);
        assert!(failure.message.ends_with("cannot unmarshal a number into a string"), "{number}: {failure}");
    }
    for text in ["190:20:30", "_1", "1.2.3", "0x", "1e", "'014'", "\"1_000\"", "10.0.0.1"] {
        let config = with(text).unwrap();
        let expected = text.trim_matches(['\'', '"']);
        assert_eq!(config.join.node.kubelet_extra_args[0].value, expected);
    }
}

#[test]
fn a_join_without_the_phase_that_joins_is_refused() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {file: {kubeConfigPath: /x}}\nskipPhases: [kubelet-start]\n";
    assert!(read(text).unwrap_err().message.ends_with("the machine does not join the cluster"));
    assert!(read(&text.replace("kubelet-start", "preflight")).is_ok());
}
