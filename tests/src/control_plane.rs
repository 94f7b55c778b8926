//! A real control plane as plain processes in separate namespaces: a test starts and ends
//! `tests/lab/control-plane`.
//!
//! It ends when the pipe to its standard input is closed, so also when the test fails or is killed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Ca;

use crate::kiln::succeed;
use crate::netns::NetworkNamespace;
use crate::workspace;

/// From the script's start to a signed cluster-info: 12 s on two idle cores.
const READY: Duration = Duration::from_secs(180);

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    _scratch: tempfile::TempDir,
    facts: BTreeMap<String, String>,
    process: Mutex<Child>,
}

/// Options of a new bootstrap token.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// Seconds until it expires; negative: it has expired already; none: never.
    pub expires: Option<i64>,
    /// Whether cluster-info is signed with it.
    pub signing: bool,
    /// Whether it authenticates.
    pub authentication: bool,
    /// Its extra groups.
    pub groups: String,
}

impl Default for TokenSpec {
    fn default() -> Self {
        let groups = "system:bootstrappers:kubeadm:default-node-token".to_owned();
        Self { expires: Some(24 * 3600), signing: true, authentication: true, groups }
    }
}

/// One line of the API server's audit log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Request {
    /// The program's name in the User-Agent header.
    pub agent: String,
    /// `system:anonymous`, `system:bootstrap:ID`, `system:node:NAME`.
    pub user: String,
    /// `get`, `create`, `watch`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The status of the answer.
    pub code: u64,
    /// The address that the request came from.
    pub source: String,
}

/// Why a control plane of `version` cannot run on this machine; none if it can. 1.20.2 can be built on every
/// machine; others may be missing.
pub fn hindrance(version: &str) -> Option<String> {
    if !workspace::is_root() {
        return Some("namespaces of its own need root".to_owned());
    }
    if let Some(program) = workspace::missing(&["etcd", "ip", "unshare", "nsenter", "openssl", "curl"]) {
        return Some(format!("no program {program} here: tools/install test"));
    }
    if version == "1.20.2" {
        return None;
    }
    let script = workspace::root().join("tests/lab/kubernetes");
    let found = Command::new(script).env("KILN_LAB_VERSION", version).output().expect("the script starts");
    let said = String::from_utf8_lossy(&found.stderr).trim().to_owned();
    (!found.status.success()).then_some(said)
}

impl ControlPlane {
    /// Starts one and waits until nodes can join; panics with the script's words when it fails.
    pub fn start(version: &str) -> Self {
        let scratch = workspace::scratch();
        let folder = scratch.path().join("state");
        let words = scratch.path().join("words");
        let mut process = Command::new(workspace::root().join("tests/lab/control-plane"))
            .args([version.as_ref(), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&words).expect("the folder is the test's"))
            .spawn()
            .expect("the script starts");
        let facts = folder.join("facts");
        wait_for_file(&facts, &mut process, workspace::patience(READY)).unwrap_or_else(|why| {
            panic!("no control plane {version}: {why}: {}", fs::read_to_string(&words).unwrap_or_default())
        });
        let text = fs::read_to_string(&facts).expect("the script wrote its facts");
        Self { facts: parse_facts(&text), folder, _scratch: scratch, process: Mutex::new(process) }
    }

    /// The control plane of a machine that a test boots: its API server answers at `endpoint` in `namespace`.
    /// `folder` has `kubernetes/pki/ca.crt`, and the administrator's `admin.certificate` and `admin.key`.
    pub fn of_machine(namespace: &NetworkNamespace, endpoint: &str, folder: &Path) -> Self {
        let facts = [("endpoint", endpoint), ("pid", &namespace.pid())];
        let nobody = Command::new("cat").stdin(Stdio::piped()).spawn().expect("coreutils has cat");
        Self {
            folder: folder.to_owned(),
            _scratch: workspace::scratch(),
            facts: facts.map(|(name, fact)| (name.to_owned(), fact.to_owned())).into(),
            process: Mutex::new(nobody),
        }
    }

    /// A fact by its name in the file `facts`.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).unwrap_or_else(|| panic!("the control plane says nothing of {name}"))
    }

    /// Its folder: certificates, logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `address:port` of the API server.
    pub fn endpoint(&self) -> &str {
        self.fact("endpoint")
    }

    /// A bootstrap token of a day's life with all usages.
    pub fn token(&self) -> &str {
        self.fact("token")
    }

    /// The CA's pin: `sha256:…`.
    pub fn pin(&self) -> &str {
        self.fact("pin")
    }

    /// The kubeconfig in cluster-info, as discovery by file takes it.
    pub fn cluster_info(&self) -> String {
        fs::read_to_string(self.fact("cluster-info")).expect("the script wrote cluster-info")
    }

    /// The folder of its Kubernetes programs.
    pub fn programs(&self) -> PathBuf {
        self.fact("programs").into()
    }

    /// The cluster's CA as PEM.
    pub fn ca(&self) -> String {
        fs::read_to_string(self.folder().join("kubernetes/pki/ca.crt")).expect("kubeadm made the CA")
    }

    /// Its CA, which can sign certificates for a test.
    pub fn authority(&self) -> Ca {
        let key = self.folder().join("kubernetes/pki/ca.key");
        let words = ["pkcs8", "-topk8", "-nocrypt", "-in"].map(OsStr::new);
        let key = workspace::output("openssl", words.into_iter().chain([key.as_os_str()]));
        Ca::existing(&self.ca(), &key)
    }

    /// A command inside its network namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.fact("pid"))).arg("--").arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// `kubectl` as the administrator; not run yet.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(self.programs().join("kubectl"));
        command.arg("--kubeconfig").arg(self.fact("admin")).args(arguments);
        command
    }

    /// Asks the API as the administrator: the status and the answer. A body goes as JSON, with PATCH as a
    /// strategic merge patch.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let own = |file: &str| self.folder.join(file);
        let mut command = self.command("curl");
        command.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
            "--request",
            method,
        ]);
        command
            .arg("--cacert")
            .arg(own("kubernetes/pki/ca.crt"))
            .arg("--cert")
            .arg(own("admin.certificate"))
            .arg("--key")
            .arg(own("admin.key"));
        if let Some(body) = body {
            let kind =
                if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
            command.args(["--header", &format!("Content-Type: {kind}"), "--data", &body.to_string()]);
        }
        let output = succeed(command.arg(format!("https://{}{path}", self.endpoint())));
        let text = String::from_utf8_lossy(&output.stdout);
        let (answer, code) = text.rsplit_once('\n').expect("curl writes the status behind the answer");
        (code.parse().expect("a status is a number"), serde_json::from_str(answer).unwrap_or(Value::Null))
    }

    /// An object or list of the API by its path; none if it does not exist.
    pub fn get(&self, path: &str) -> Option<Value> {
        match self.api("GET", path, None) {
            (200, value) => Some(value),
            (404, _) => None,
            (code, answer) => panic!("GET {path}: {code}: {answer}"),
        }
    }

    /// Creates an object in the collection `path`.
    pub fn create(&self, path: &str, object: &Value) -> Value {
        let (code, answer) = self.api("POST", path, Some(object));
        assert_eq!(code, 201, "POST {path}: {answer}");
        answer
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, path: &str) {
        let (code, answer) = self.api("DELETE", path, None);
        assert!(matches!(code, 200 | 202 | 404), "DELETE {path}: {code}: {answer}");
    }

    /// Makes a bootstrap token, `ID.SECRET`. If it signs cluster-info, waits for the signature.
    pub fn create_token(&self, spec: &TokenSpec) -> String {
        let random = workspace::output("openssl", ["rand", "-hex", "11"]);
        let (id, secret) = random.trim().split_at(6);
        let mut data = json!({
            "token-id": id,
            "token-secret": secret,
            "usage-bootstrap-signing": spec.signing.to_string(),
            "usage-bootstrap-authentication": spec.authentication.to_string(),
        });
        if spec.authentication {
            data["auth-extra-groups"] = json!(spec.groups);
        }
        if let Some(seconds) = spec.expires {
            data["expiration"] = json!(
                workspace::output(
                    "date",
                    ["--utc", &format!("--date={seconds} seconds"), "+%Y-%m-%dT%H:%M:%SZ"]
                )
                .trim()
            );
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"namespace": "kube-system", "name": format!("bootstrap-token-{id}")}, "stringData": data,
        });
        self.create("/api/v1/namespaces/kube-system/secrets", &object);
        if spec.signing && spec.expires.is_none_or(|seconds| seconds > 0) {
            self.wait_for_signature(id);
        }
        format!("{id}.{secret}")
    }

    fn wait_for_signature(&self, id: &str) {
        let deadline = Instant::now() + workspace::patience(Duration::from_secs(30));
        loop {
            let info = self
                .get("/api/v1/namespaces/kube-public/configmaps/cluster-info")
                .expect("cluster-info is there");
            if info["data"][format!("jws-kubeconfig-{id}")].is_string() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the controller manager does not sign cluster-info for token {id}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes a Node without a kubelet, with the given condition Ready.
    pub fn create_node(&self, name: &str, ready: bool) {
        let now = workspace::output("date", ["--utc", "+%Y-%m-%dT%H:%M:%SZ"]).trim().to_owned();
        let status = json!({"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "reason": "Test",
            "lastHeartbeatTime": now, "lastTransitionTime": now}]});
        self.create(
            "/api/v1/nodes",
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}),
        );
        let (code, answer) =
            self.api("PATCH", &format!("/api/v1/nodes/{name}/status"), Some(&json!({ "status": status })));
        assert_eq!(code, 200, "the status of node {name}: {answer}");
    }

    /// The API server's requests from `source`, in order; without a source, all requests.
    pub fn requests(&self, source: Option<Ipv4Addr>) -> Vec<Request> {
        let text = fs::read_to_string(self.fact("audit")).expect("the API server keeps an audit log");
        let lines = text.lines().filter_map(|line| parse_audit(&serde_json::from_str(line).ok()?));
        lines
            .filter(|request| source.is_none_or(|source| request.source == source.to_string()))
            .collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        end(&mut process);
    }
}

/// Ends a script of the lab: its standard input ends, and with the script its namespaces.
pub(crate) fn end(process: &mut Child) {
    drop(process.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(5);
    while matches!(process.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Kills the rest of it, which may have ended already.
    let _ = process.kill();
    let _ = process.wait();
}

/// Waits until a script has written `file`; the reason where it ends or is too slow.
fn wait_for_file(file: &Path, process: &mut Child, patience: Duration) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    while !file.exists() {
        if let Ok(Some(status)) = process.try_wait() {
            return Err(format!("the script ended ({status})"));
        }
        if Instant::now() > deadline {
            return Err(format!("not ready after {} s", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `key=value` lines.
fn parse_facts(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn parse_audit(line: &Value) -> Option<Request> {
    // A watch is written down when it begins, and once more when it ends.
    if line["verb"] == "watch" && line["stage"] == "ResponseComplete" {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let agent = text(&line["userAgent"]).split('/').next().unwrap_or_default().to_owned();
    Some(Request {
        agent,
        user: text(&line["user"]["username"]),
        verb: text(&line["verb"]),
        uri: text(&line["requestURI"]),
        code: line["responseStatus"]["code"].as_u64()?,
        source: text(&line["sourceIPs"][0]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_lines_are_understood() {
        let line = json!({"userAgent": "kubeadm/v1.20.2 (linux/amd64) kubernetes/x", "user": {"username": "system:anonymous"}, "verb": "get",
            "requestURI": "/api/v1/x?timeout=10s", "responseStatus": {"code": 200}, "sourceIPs": ["10.99.1.2"]});
        let expected = Request {
            agent: "kubeadm".to_owned(),
            user: "system:anonymous".to_owned(),
            verb: "get".to_owned(),
            uri: "/api/v1/x?timeout=10s".to_owned(),
            code: 200,
            source: "10.99.1.2".to_owned(),
        };
        assert_eq!(parse_audit(&line), Some(expected));
        assert_eq!(parse_audit(&json!({"verb": "get"})), None, "a line without an answer is none");
        let mut watch = line.clone();
        (watch["verb"], watch["stage"]) = (json!("watch"), json!("ResponseStarted"));
        assert!(parse_audit(&watch).is_some());
        watch["stage"] = json!("ResponseComplete");
        assert_eq!(parse_audit(&watch), None, "a watch counts once");
    }
}
