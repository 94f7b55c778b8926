//! What a node needs, and settings of the kubelet and the runtime that open it.

use serde::Deserialize as _;
use serde_json::Value;

use super::{Findings, Subject};
use crate::elf::{self, Machine};
use crate::tree::Node;

/// Where the kubelet is, by distributions and layers.
const KUBELETS: &[&str] = &["usr/bin/kubelet", "usr/local/bin/kubelet", "opt/bin/kubelet"];
const EXECUTABLE: u32 = 0o111;
/// Fields of a KubeletConfiguration that can open it.
const OPENERS: &[&str] = &["anonymous", "AlwaysAllow", "readOnlyPort"];
/// The largest configuration that is read, in bytes. Real ones have some 2 kB.
const LARGEST_CONFIGURATION: usize = 32 << 10;

/// Where the kubelet is.
pub(super) fn kubelet_of(subject: &Subject) -> Option<&'static str> {
    KUBELETS.iter().find(|path| subject.file(path).is_some()).copied()
}

/// Without a kubelet the image is no node, and nothing is missing.
pub(super) fn node(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(kubelet) = kubelet_of(subject) else { return };
    for path in [
        kubelet,
        "usr/bin/containerd",
        "usr/local/bin/containerd",
        "usr/bin/runc",
        "usr/local/sbin/runc",
        "usr/bin/crun",
    ] {
        let Some((entry, body)) = subject.file(path) else { continue };
        if entry.mode & EXECUTABLE != EXECUTABLE {
            findings.at(path, format!("it cannot be started (mode {:04o})", entry.mode));
        }
        match body.open().and_then(elf::machine) {
            Ok(Some(machine)) if machine == Machine::Known(subject.arch) => {}
            Ok(Some(machine)) => {
                findings.at(path, format!("it is for {machine}, the image for {}", subject.arch.name()))
            }
            Ok(None) | Err(_) => findings.at(path, "it is no program"),
        }
    }
    let has = |folder: &str| subject.below(folder).any(|(_, entry)| matches!(entry.node, Node::File(_)));
    if !["opt/cni/bin", "usr/lib/cni", "usr/libexec/cni"].iter().any(|folder| has(folder)) {
        findings.add("CNI", "the image has no plugins of CNI");
    }
    const UNITS: [&str; 3] = ["usr/lib/systemd/system", "etc/systemd/system", "usr/local/lib/systemd/system"];
    let has_unit =
        |unit: &str| UNITS.iter().any(|folder| subject.file(&format!("{folder}/{unit}.service")).is_some());
    let has_runtime = contract::runtime::RUNTIMES.iter().any(|runtime| has_unit(runtime.name));
    if !has_runtime {
        findings.add("container runtime", "the image has no unit of one");
    }
}

/// A flag of the kubelet.
pub(super) struct Flag {
    /// Without the two minuses.
    pub(super) name: String,
    pub(super) value: String,
    /// The file that has it.
    pub(super) path: String,
}

/// The kubelet's unit and its drop-ins, in the order in which they count.
pub(super) fn unit_files(subject: &Subject) -> Vec<String> {
    const UNIT: &str = "kubelet.service";
    let folders = ["usr/lib/systemd/system", "etc/systemd/system"];
    let is_there = |path: &String| subject.file(path).is_some();
    let main = folders.iter().rev().map(|folder| format!("{folder}/{UNIT}")).find(is_there);
    let drop_ins = folders.iter().flat_map(|folder| {
        let folder = format!("{folder}/{UNIT}.d");
        subject
            .below(&folder)
            .map(|(path, _)| path.to_owned())
            .filter(|path| path.ends_with(".conf"))
            .collect::<Vec<_>>()
    });
    let mut drop_ins: Vec<String> = drop_ins.collect();
    drop_ins.sort_by(|one, other| one.rsplit('/').next().cmp(&other.rsplit('/').next()));
    main.into_iter().chain(drop_ins).collect()
}

/// Every flag that the kubelet's unit, its drop-ins and the files of its variables give it.
pub(super) fn flags(subject: &Subject) -> Vec<Flag> {
    const VARIABLES: [&str; 3] =
        ["var/lib/kubelet/kubeadm-flags.env", "etc/default/kubelet", "etc/sysconfig/kubelet"];
    let files = unit_files(subject).into_iter().chain(VARIABLES.map(str::to_owned));
    let texts = files.filter_map(|path| Some((subject.text(&path)?, path)));
    let mut flags = Vec::new();
    for (text, path) in texts {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            let words: Vec<&str> =
                line.split(|letter: char| letter.is_whitespace() || "\"'".contains(letter)).collect();
            for (number, word) in words.iter().enumerate() {
                // The first flag may follow the variable's name.
                let Some((_, flag)) =
                    word.split_once("--").filter(|(before, _)| before.is_empty() || before.ends_with('='))
                else {
                    continue;
                };
                let next =
                    words.get(number + 1).filter(|next| !next.is_empty() && !next.starts_with(['-', '$']));
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, value),
                    None => (flag, next.copied().unwrap_or("true")),
                };
                flags.push(Flag { name: name.to_owned(), value: value.to_owned(), path: format!("/{path}") });
            }
        }
    }
    flags
}

/// The folder of configurations that count over the cluster's, if the kubelet is started with one.
pub(super) fn config_folder(subject: &Subject) -> Option<String> {
    let flag = flags(subject).into_iter().rfind(|flag| flag.name == "config-dir")?;
    Some(flag.value.trim_matches('/').to_owned())
}

/// Every document of a text in YAML that has a sane size; those that are none are left out.
pub(super) fn documents(text: &str) -> Vec<Value> {
    if text.len() > LARGEST_CONFIGURATION {
        return Vec::new();
    }
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents.map_while(|document| Value::deserialize(document).ok()).collect()
}

/// Settings of a KubeletConfiguration that let strangers in.
pub(super) fn kubelet(subject: &Subject, findings: &mut Findings<'_>) {
    let folders = ["etc/kubernetes", "etc/firstboot", "var/lib/kubelet"];
    for (path, text) in folders.iter().flat_map(|folder| subject.texts(folder)) {
        if !OPENERS.iter().any(|word| text.contains(word)) {
            continue;
        }
        // The time that a parser takes may grow with the square of a hostile text's length.
        if text.len() > LARGEST_CONFIGURATION {
            findings.at(path, "it is too large for a configuration of the kubelet, and was not read");
            continue;
        }
        for document in documents(&text) {
            of_configuration(&document, &mut |what| findings.at(path, what));
        }
    }
    for Flag { name, value, path } in flags(subject) {
        let why = match (name.as_str(), value.as_str()) {
            ("anonymous-auth", "true") => "strangers may ask the kubelet (--anonymous-auth)",
            ("authorization-mode", "AlwaysAllow") => "everybody may order the kubelet (--authorization-mode)",
            ("read-only-port", port) if port != "0" => {
                "a port of the kubelet asks nobody who he is (--read-only-port)"
            }
            _ => continue,
        };
        findings.add(path, why);
    }
}

fn of_configuration(document: &Value, wrong: &mut dyn FnMut(&str)) {
    if document["authentication"]["anonymous"]["enabled"] == true {
        wrong("strangers may ask the kubelet (authentication.anonymous)");
    }
    if document["authorization"]["mode"] == "AlwaysAllow" {
        wrong("everybody may order the kubelet (authorization.mode)");
    }
    if document["readOnlyPort"].as_u64().is_some_and(|port| port != 0) {
        wrong("a port of the kubelet asks nobody who he is (readOnlyPort)");
    }
    if document["enableDebuggingHandlers"] == true && document["authorization"]["mode"] == "AlwaysAllow" {
        wrong("everybody may run commands in pods (enableDebuggingHandlers)");
    }
}

/// Registries that nobody vouches for, and runtimes that listen on the network.
pub(super) fn runtime(subject: &Subject, findings: &mut Findings<'_>) {
    for folder in ["etc/containerd", "etc/docker", "etc/crio", "etc/containers", "usr/share/containers"] {
        for (path, text) in subject.texts(folder) {
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
                if trusts_anybody(line) || listens(line) {
                    findings.at(path, format!("nobody vouches for what comes or who asks: {line}"));
                }
            }
        }
    }
    let names: Vec<&str> = contract::runtime::RUNTIMES.iter().map(|runtime| runtime.name).collect();
    for folder in ["etc/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system"] {
        for (path, text) in subject.texts(folder) {
            let unit = path[folder.len() + 1..].split('/').next().unwrap_or_default();
            if !names.iter().any(|name| unit.contains(name)) && !unit.contains("docker") {
                continue;
            }
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
                let is_socket = unit.ends_with(".socket") || unit.ends_with(".socket.d");
                let listens_on = line.strip_prefix("ListenStream=").filter(|_| is_socket);
                if listens(line) || listens_on.is_some_and(is_open_address) {
                    findings.at(path, format!("strangers may ask the runtime: {line}"));
                }
            }
        }
    }
}

/// Whether a line of a configuration takes images from servers without a certificate.
fn trusts_anybody(line: &str) -> bool {
    let plain: String = line.split_whitespace().collect();
    const SETTINGS: [&str; 4] =
        ["skip_verify=true", "insecure_skip_verify=true", "insecure=true", "tls_verify=false"];
    let is_open = SETTINGS.iter().any(|word| plain.contains(word))
        || (plain.contains("\"insecure-registries\":[") && !plain.contains("[]"));
    let http = plain
        .match_indices("http://")
        .any(|(at, scheme)| !is_this_machine(&plain[at + scheme.len()..]));
    // Other settings, such as proxies and schemas, may have such an address.
    const PLACES: [&str; 4] = ["server=", "endpoint", "host.", "mirror"];
    is_open || (http && PLACES.iter().any(|place| plain.contains(place)))
}

/// Whether a line makes a program listen on TCP for other machines: `tcp://HOST:PORT`, and the settings of
/// containerd and CRI-O that are an address.
fn listens(line: &str) -> bool {
    let plain: String = line.split_whitespace().filter(|word| *word != "=").collect::<Vec<_>>().join(" ");
    let by_scheme = plain.match_indices("tcp://").any(|(at, scheme)| {
        let rest = &plain[at + scheme.len()..];
        is_open_address(
            rest.split(['"', '\'', ' ', ',', ']'])
                .next()
                .filter(|one| !one.starts_with('['))
                .unwrap_or(rest),
        )
    });
    const ADDRESSES: [&str; 4] = ["tcp_address", "stream_address", "stream_server_address", "metrics_host"];
    let compact: String = line.split_whitespace().collect();
    let by_name = ADDRESSES.iter().any(|name| {
        let value = compact.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        value
            .map(|value| value.trim_matches('"'))
            .is_some_and(|value| !value.is_empty() && is_open_address(value))
    });
    by_scheme || by_name
}

/// Whether `HOST:PORT`, `HOST` or a port alone is one that other machines reach.
fn is_open_address(address: &str) -> bool {
    let is_path = address.starts_with(['/', '@', '%']) || address.starts_with("vsock");
    !is_path && !is_this_machine(address)
}

fn is_this_machine(address: &str) -> bool {
    ["127.", "localhost", "[::1]", "::1"].iter().any(|own| address.starts_with(own))
}
