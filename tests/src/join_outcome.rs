//! The outcome of a join: its changes to machine and cluster, and its output. Values that differ from run to
//! run (tokens, keys, times, addresses) are replaced by their kind in angle brackets, so that outcomes of
//! different runs can be compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Request};
use crate::join_case::Case;
use crate::lab_node::{Ended, Entry, LabNode};
use crate::workspace;

/// Names in /var/lib/kubelet that are the running kubelet's own business.
const OF_THE_KUBELET: &[&str] = &[
    "checkpoints",
    "cpu_manager_state",
    "memory_manager_state",
    "dra_manager_state",
    "device-plugins",
    "image_manager",
    "plugins",
    "plugins_registry",
    "pod-resources",
    "pods",
    "actuated_pods_state",
    "allocated_pods_state",
    "pki/kubelet.crt",
    "pki/kubelet.key",
];

/// How long a kubelet may take to register its Node.
const REGISTRATION: Duration = Duration::from_secs(60);

/// A Node that does not block a join, because its kubelet stopped long ago.
const NOT_READY: &str = "taken-not-ready";

/// The placeholders of cases, with their values.
pub type Known = BTreeMap<String, String>;

/// The outcome of one join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Exit code and output.
    pub ended: Ended,
    /// Below /etc/kubernetes and /var/lib/kubelet.
    pub files: BTreeMap<String, Entry>,
    /// The Node object: labels, annotations, taints, spec.
    pub node: Option<Value>,
    /// The certificate signing requests for that Node.
    pub requests_for_certificates: Vec<Value>,
    /// The calls of the service manager.
    pub service_calls: Vec<String>,
    /// The API requests from this machine.
    pub requests: Vec<Request>,
    /// The kubelet's command line.
    pub kubelet: Vec<String>,
    /// Files that hold the secret half of a token when all is done; the node config itself left out.
    pub secrets_left: Vec<String>,
}

/// Makes the objects for the placeholders of the cases: tokens of every kind, Nodes in the way.
pub fn prepare(control_plane: &ControlPlane) -> Known {
    use crate::control_plane::TokenSpec;
    let token = |spec: TokenSpec| control_plane.create_token(&spec);
    let normal = TokenSpec::default;
    control_plane.create_node("taken-ready", true);
    control_plane.create_node(NOT_READY, false);
    let other_ca = workspace::output(
        "openssl",
        [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/CN=other",
            "-days",
            "2",
        ],
    );
    let id = control_plane.token().split_once('.').expect("tokens have a point").0.to_owned();
    [
        ("ENDPOINT", control_plane.endpoint().to_owned()),
        ("TOKEN", control_plane.token().to_owned()),
        ("TOKEN_ID", id),
        ("PIN", control_plane.pin().to_owned()),
        ("PIN_UPPER", control_plane.pin().to_uppercase()),
        ("CA", control_plane.ca()),
        ("CA_DATA", STANDARD.encode(control_plane.ca())),
        ("OTHER_CA_DATA", STANDARD.encode(other_ca)),
        ("CLUSTER_INFO", control_plane.cluster_info()),
        ("TOKEN_EXPIRED", token(TokenSpec { expires: Some(-60), ..normal() })),
        ("TOKEN_SIGNING_ONLY", token(TokenSpec { authentication: false, ..normal() })),
        ("TOKEN_AUTHENTICATION_ONLY", token(TokenSpec { signing: false, ..normal() })),
        (
            "TOKEN_OTHER_GROUP",
            token(TokenSpec { groups: "system:bootstrappers:others".to_owned(), ..normal() }),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Runs `command` on a separate machine for `case` and collects the outcome. Deletes the objects that it left
/// in the cluster.
pub fn observe(
    control_plane: &ControlPlane,
    known: &Known,
    case: &Case,
    folders: &[&Path],
    command: &[&str],
    patience: Duration,
) -> Outcome {
    let node = LabNode::start(control_plane, &case.name, folders);
    let mut known = known.clone();
    known.insert("ADDRESS".to_owned(), node.address().to_string());
    case.place(&node.path("/case"), &known);
    if case.files.contains_key("prepare.sh") {
        let prepared = node.run(["bash", "-e", "/case/prepare.sh"], Duration::from_secs(20));
        assert_eq!(prepared.code, 0, "case {}: prepare.sh: {}", case.name, prepared.stderr);
    }
    let ended = node.run(command, patience);
    let node_name = if ended.code == 0 { registered(control_plane, &node) } else { node_name(&node) };
    let plain = Plain::new(control_plane, &known);
    let outcome = Outcome {
        files: files(&node, &plain),
        node: node_name
            .as_deref()
            .and_then(|name| control_plane.get(&format!("/api/v1/nodes/{name}")))
            .map(|node| plain.value(&reduced(&node))),
        requests_for_certificates: node_name
            .as_deref()
            .map(|name| certificate_requests(control_plane, name, &plain))
            .unwrap_or_default(),
        service_calls: node.service_calls(),
        requests: control_plane.requests(Some(node.address())),
        secrets_left: secrets_left(&node, &known),
        kubelet: kubelet_arguments(&node).iter().map(|word| plain.text(word)).collect(),
        ended: Ended { stdout: plain.text(&ended.stdout), stderr: plain.text(&ended.stderr), ..ended },
    };
    drop(node);
    if let Some(name) = node_name {
        control_plane.delete(&format!("/api/v1/nodes/{name}"));
        if name == NOT_READY {
            control_plane.create_node(NOT_READY, false);
        }
    }
    outcome
}

/// The name in the certificate that the kubelet has, if it has one.
fn node_name(node: &LabNode) -> Option<String> {
    let link = std::fs::read_link(node.path("/var/lib/kubelet/pki/kubelet-client-current.pem")).ok()?;
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-nameopt", "multiline", "-in"])
        .arg(node.path(link.to_str()?))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split("system:node:").nth(1)?.lines().next()?.trim().to_owned())
}

/// Waits for the Node of a join that succeeded.
fn registered(control_plane: &ControlPlane, node: &LabNode) -> Option<String> {
    let deadline = Instant::now() + workspace::patience(REGISTRATION);
    while Instant::now() < deadline {
        if let Some(name) = node_name(node) {
            let node = control_plane.get(&format!("/api/v1/nodes/{name}"));
            if node.is_some_and(|node| {
                node["status"]["nodeInfo"]["kubeletVersion"]
                    .as_str()
                    .is_some_and(|version| !version.is_empty())
            }) {
                return Some(name);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    node_name(node)
}

fn files(node: &LabNode, plain: &Plain) -> BTreeMap<String, Entry> {
    let mut files = node.tree("/etc/kubernetes");
    files.extend(node.tree("/var/lib/kubelet"));
    let of_the_kubelet = |path: &str| {
        let Some(name) = path.strip_prefix("/var/lib/kubelet/") else { return false };
        OF_THE_KUBELET
            .iter()
            .any(|own| name == *own || name.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')))
    };
    let plainly = |(path, entry): (String, Entry)| {
        (plain.text(&path), Entry { content: plain.text(&entry.content), ..entry })
    };
    files.into_iter().filter(|(path, _)| !of_the_kubelet(path)).map(plainly).collect()
}

/// The parts of a Node that a join decides; the rest is its status.
fn reduced(node: &Value) -> Value {
    json!({"labels": node["metadata"]["labels"], "annotations": node["metadata"]["annotations"], "spec": node["spec"]})
}

/// The signing requests whose subject is the node `name`: spec, what openssl reads in the request,
/// conditions.
fn certificate_requests(control_plane: &ControlPlane, name: &str, plain: &Plain) -> Vec<Value> {
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let list = control_plane.get(path).expect("the API serves signing requests");
    let mut found = Vec::new();
    for object in list["items"].as_array().into_iter().flatten() {
        let pem = STANDARD
            .decode(object["spec"]["request"].as_str().unwrap_or_default())
            .unwrap_or_default();
        let text = request_text(&pem);
        if !text.lines().any(|line| {
            line.trim().starts_with("Subject:") && line.trim_end().ends_with(&format!("system:node:{name}"))
        }) {
            continue;
        }
        let mut spec = object["spec"].clone();
        spec["request"] = json!(text);
        spec["uid"] = Value::Null;
        spec["extra"] = Value::Null;
        let conditions: Vec<&Value> = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|condition| &condition["type"])
            .collect();
        let generated = object["metadata"]["generateName"].clone();
        found.push(plain.value(&json!({"spec": spec, "conditions": conditions, "generateName": generated})));
        control_plane
            .delete(&format!("{path}/{}", object["metadata"]["name"].as_str().expect("objects have names")));
    }
    found
}

/// A PKCS#10 request in words, without the numbers of key and signature.
fn request_text(pem: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(["req", "-noout", "-text", "-reqopt", "no_sigdump"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl starts");
    // A request that openssl cannot read has no words.
    let _ = child.stdin.take().expect("a pipe was asked for").write_all(pem);
    let output = child.wait_with_output().expect("openssl ends");
    let numbers = |line: &&str| {
        !line
            .trim()
            .trim_end_matches(':')
            .split(':')
            .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(numbers)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Looks into everything that was written on the machine.
fn secrets_left(node: &LabNode, known: &Known) -> Vec<String> {
    let secrets = known
        .iter()
        .filter(|(name, _)| name.starts_with("TOKEN"))
        .filter_map(|(_, token)| token.split_once('.'))
        .map(|(_, secret)| secret);
    let patterns: Vec<&str> = secrets.flat_map(|secret| ["-e", secret]).collect();
    let find = "find /run/written /run /tmp -xdev -type f ! -path '/run/written/case/*' -print0 | xargs -0 --no-run-if-empty grep -Fl \"$@\"";
    let found = node.run(["sh", "-c", find, "sh"].into_iter().chain(patterns), Duration::from_secs(30));
    found.stdout.lines().map(str::to_owned).collect()
}

fn kubelet_arguments(node: &LabNode) -> Vec<String> {
    // A service manager may have been asked to start it without being waited for; one that fails is not there
    // most of the time.
    let ask = "for _ in $(seq 30); do pid=$(pidof -s kubelet) && exec tr '\\0' '\\n' < /proc/$pid/cmdline; sleep 0.1; done";
    let found = node.run(["sh", "-c", ask], Duration::from_secs(5));
    found.stdout.lines().skip(1).map(str::to_owned).collect()
}

/// Replaces what differs from run to run.
struct Plain {
    literals: Vec<(String, String)>,
}

impl Plain {
    fn new(control_plane: &ControlPlane, known: &Known) -> Self {
        let mut literals: Vec<(String, String)> = vec![
            (STANDARD.encode(control_plane.ca()), "<ca-data>".to_owned()),
            (control_plane.ca(), "<ca>\n".to_owned()),
            (control_plane.pin().to_owned(), "<pin>".to_owned()),
            (known["ADDRESS"].clone(), "<address>".to_owned()),
        ];
        for (name, value) in known.iter().filter(|(name, _)| name.starts_with("TOKEN")) {
            let (id, secret) = value.split_once('.').unwrap_or((value, value));
            literals.push((value.clone(), format!("<{}>", name.to_lowercase().replace('_', "-"))));
            literals.push((secret.to_owned(), "<token-secret>".to_owned()));
            literals.push((
                id.to_owned(),
                format!("<{}-id>", name.trim_end_matches("_ID").to_lowercase().replace('_', "-")),
            ));
        }
        // The longest first: an id is part of its token, a certificate part of nothing.
        literals.sort_by_key(|(literal, _)| std::cmp::Reverse(literal.len()));
        Self { literals }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (literal, kind) in &self.literals {
            text = text.replace(literal, kind);
        }
        times(&blocks(&text))
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, field)| (self.text(key), self.value(field))).collect()
            }
            other => other.clone(),
        }
    }
}

/// PEM blocks by their label alone.
fn blocks(text: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for line in text.split_inclusive('\n') {
        if let Some(label) = line.strip_prefix("-----BEGIN ") {
            inside = true;
            out.push_str(&format!("<{}>\n", label.trim_end().trim_end_matches('-')));
        } else if line.starts_with("-----END ") {
            inside = false;
        } else if !inside {
            out.push_str(line);
        }
    }
    out
}

/// The time in `kubelet-client-2026-11-24-11-34-00.pem`.
fn times(text: &str) -> String {
    let mut parts = text.split("kubelet-client-");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits =
            part.find(|letter: char| !letter.is_ascii_digit() && letter != '-').unwrap_or(part.len());
        let shown = if digits >= "2006-01-02-15-04-05".len() { "<time>" } else { &part[..digits] };
        out.push_str("kubelet-client-");
        out.push_str(shown);
        out.push_str(&part[digits..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_named() {
        assert_eq!(
            times("a/kubelet-client-2026-11-24-11-34-00.pem -> kubelet-client-current.pem"),
            "a/kubelet-client-<time>.pem -> kubelet-client-current.pem"
        );
        assert_eq!(
            blocks("x\n-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\ny\n"),
            "x\n<CERTIFICATE>\ny\n"
        );
    }
}
