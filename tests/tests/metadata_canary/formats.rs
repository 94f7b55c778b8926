//! Every form that user-data may have, with marked secrets in it: the token in the node config, a password
//! and a private key in what lies beside.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firstboot::userdata::Kind;
use kiln_tests::canary::{ID, SECRET};
use kiln_tests::workspace;
use rustls::ServerConfig;
use serde_json::{Value, json};
use testkit::Ca;
use testkit::documents::Documents;

/// No machine has this address (RFC 5737).
pub const ENDPOINT: &str = "192.0.2.100:6443";
/// Where what a pointer names is, and the token that a template asks for: the machine's own loopback address.
pub const PLAIN: &str = "127.0.0.1:8080";
pub const SECURE: &str = "127.0.0.1:8443";
/// Of cloud-config's and Ignition's users, and in URLs.
pub const PASSWORD: &str = "Pa55w0rd0fC4nary";
/// A line of a private key.
pub const KEY_LINE: &str = "MIIEvQc4naryKeyIBADANBgkqhkiG9w0";
pub const PIN: &str = "sha256:7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c";

/// The input of a machine.
#[derive(Debug, Clone, Default)]
pub struct Made {
    pub user_data: Vec<u8>,
    /// What a plain server has, to which a pointer points.
    pub pointed: Documents,
    /// What a server with TLS has, where a token is asked for.
    pub asked: Documents,
}

/// The values of a node config.
#[derive(Debug, Clone)]
pub struct Target {
    /// The text in place of the token.
    pub token: String,
    pub endpoint: String,
    pub pin: String,
    pub node: String,
    /// For discovery, an API call, a certificate.
    pub time: &'static str,
}

impl Target {
    /// An API server that is not there, for a moment.
    pub fn nowhere(token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            endpoint: ENDPOINT.to_owned(),
            pin: PIN.to_owned(),
            node: "n1".to_owned(),
            time: "50ms",
        }
    }
}

/// A form.
pub struct Format {
    pub name: &'static str,
    /// The kind that the agent detects.
    pub kind: Kind,
    pub make: fn(&Target) -> Made,
    /// Whether an image that requires signatures accepts it.
    pub is_signed: bool,
    /// Whether it can say how long discovery may take; without a word that is five minutes.
    pub is_bounded: bool,
    /// Whether its bytes are packed in a way that hides what is in it.
    pub is_packed: bool,
}

impl Format {
    /// With a config without a mistake; made once.
    pub fn right(&self) -> Made {
        static RIGHT: OnceLock<Vec<Made>> = OnceLock::new();
        let all = RIGHT.get_or_init(|| FORMATS.iter().map(|format| (format.make)(&right())).collect());
        let position = FORMATS.iter().position(|format| format.name == self.name).expect("it is one of them");
        all[position].clone()
    }

    /// With this in the token's place.
    pub fn with(&self, token: String) -> Made {
        (self.make)(&Target::nowhere(token))
    }
}

const fn format(name: &'static str, kind: Kind, make: fn(&Target) -> Made) -> Format {
    Format { name, kind, make, is_signed: false, is_bounded: true, is_packed: false }
}

pub const FORMATS: &[Format] = &[
    format("yaml", Kind::NodeConfig, |at| of(config(at))),
    format("json", Kind::NodeConfig, |at| of(in_json(at))),
    format("mime", Kind::Multipart, |at| of(message("", &config(at), ""))),
    format("mime-base64", Kind::Multipart, |at| {
        of(message("Content-Transfer-Encoding: base64\n", &lines(&STANDARD.encode(config(at))), ""))
    }),
    Format {
        is_bounded: false,
        ..format("mime-flags", Kind::Multipart, |at| of(message_of("text/cloud-config", &flags(at))))
    },
    Format { is_bounded: false, ..format("flags", Kind::CloudConfig, |at| of(flags(at))) },
    format("mime-cloud-config", Kind::Multipart, |at| of(message_of("text/cloud-config", &cloud_config(at)))),
    format("mime-ignition", Kind::Multipart, |at| {
        of(message_of("application/vnd.coreos.ignition+json", &ignition_3(at)))
    }),
    Format { is_signed: true, ..format("mime-signed", Kind::Multipart, |at| of(signed(&config(at)))) },
    format("cloud-config", Kind::CloudConfig, |at| of(cloud_config(at))),
    format("cloud-config-gzip", Kind::CloudConfig, |at| of(packed_cloud_config(at))),
    format("template", Kind::Template, |at| of(template(at))),
    format("ignition-2.3", Kind::Ignition, |at| of(ignition_2(at))),
    format("ignition-3.4", Kind::Ignition, |at| of(ignition_3(at))),
    Format { is_packed: true, ..format("gzip", Kind::Gzip, |at| of(gzip(config(at).as_bytes()))) },
    Format { is_packed: true, ..format("zstd", Kind::Zstd, |at| of(zstd(cloud_config(at).as_bytes()))) },
    format("base64", Kind::Base64, |at| of(lines(&STANDARD.encode(config(at))))),
    format("data-url", Kind::DataUrl, |at| of(format!("data:;base64,{}", STANDARD.encode(config(at))))),
    Format { is_packed: true, ..format("utf-16", Kind::Utf16, |at| of(utf16(&config(at)))) },
    Format {
        is_packed: true,
        ..format("base64-gzip", Kind::Base64, |at| of(STANDARD.encode(gzip(cloud_config(at).as_bytes()))))
    },
    format("pointer", Kind::NodeConfig, |at| pointer(cloud_config(at).into_bytes())),
    Format {
        is_packed: true,
        ..format("pointer-gzip", Kind::NodeConfig, |at| pointer(gzip(config(at).as_bytes())))
    },
    Format {
        is_signed: true,
        ..format("pointer-signed", Kind::Multipart, |at| signed_pointer(config(at).into_bytes()))
    },
    format("token-from", Kind::NodeConfig, token_from),
];

/// Makes user-data.
pub type Make = fn() -> Vec<u8>;

/// User-data that is not the agent's, as full of secrets.
pub const STRANGERS: &[(&str, Make)] = &[
    ("script", || {
        format!("#!/bin/sh\nTOKEN={ID}.{SECRET}\ncurl -u root:{PASSWORD} example.org\n").into_bytes()
    }),
    ("cloud-config", || stranger().into_bytes()),
    ("cloud-config-broken", || format!("{}: [\n", stranger()).into_bytes()),
    ("ignition", || ignition_of("3.4.0", &[]).into_bytes()),
    ("include", || format!("#include\nhttps://root:{PASSWORD}@example.org/{SECRET}\n").into_bytes()),
    ("mime", || message("", "", "").replace("x-firstboot-config", "x-other").into_bytes()),
    ("nothing-known", || format!("{ID}.{SECRET} {PASSWORD}\n{}", pem()).into_bytes()),
    ("gzip", || gzip(stranger().as_bytes())),
    ("control-plane", || {
        cloud_config(&right())
            .replace(
                "nodeRegistration",
                &format!("controlPlane: {{certificateKey: {PASSWORD}}}\n      nodeRegistration"),
            )
            .into_bytes()
    }),
];

/// The token, quoted.
pub fn token() -> String {
    format!("\"{ID}.{SECRET}\"")
}

/// A config without a mistake.
pub fn right() -> Target {
    Target::nowhere(token())
}

fn of(user_data: impl Into<Vec<u8>>) -> Made {
    Made { user_data: user_data.into(), ..Made::default() }
}

fn pem() -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{KEY_LINE}\n-----END PRIVATE KEY-----\n")
}

fn config(at: &Target) -> String {
    let Target { token, endpoint, pin, .. } = at;
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    apiServerEndpoint: \"{endpoint}\"\n    \
         token: {token}\n    caCertHashes: [\"{pin}\"]\n{}",
        registration(at)
    )
}

/// Nothing is checked: the machine is a folder.
fn registration(Target { node, time, .. }: &Target) -> String {
    format!(
        "nodeRegistration:\n  name: {node}\n  criSocket: unix:///run/containerd/containerd.sock\n  ignorePreflightErrors: [all]\n\
         timeouts: {{discovery: {time}, kubernetesAPICall: {time}, tlsBootstrap: {time}}}\n"
    )
}

fn in_json(Target { token, endpoint, pin, node, time }: &Target) -> String {
    format!(
        "{{\"apiVersion\": \"kubeadm.k8s.io/v1beta4\", \"kind\": \"JoinConfiguration\", \"discovery\": {{\"bootstrapToken\": {{\
         \"apiServerEndpoint\": \"{endpoint}\",\n    \"token\": {token},\n    \"caCertHashes\": [\"{pin}\"]}}}}, \"nodeRegistration\": {{\
         \"name\": \"{node}\", \"criSocket\": \"unix:///run/containerd/containerd.sock\", \"ignorePreflightErrors\": [\"all\"]}},\
         \"timeouts\": {{\"discovery\": \"{time}\"}}}}\n"
    )
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// In lines of 76 characters, as MIME requires.
fn lines(text: &str) -> String {
    let lines = text.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    lines.collect()
}

/// Our part behind parts of others; `headers` are its own, `behind` is what follows.
fn message(headers: &str, content: &str, behind: &str) -> String {
    let parts =
        [("text/x-shellscript", format!("#!/bin/sh\necho {PASSWORD}\n")), ("text/cloud-config", stranger())];
    let others: String = parts
        .iter()
        .map(|(form, content)| format!("--part\nContent-Type: {form}\n\n{content}\n"))
        .collect();
    format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"part\"\n\n{others}--part\n\
         Content-Type: application/x-firstboot-config\n{headers}\n{content}\n{behind}--part--\n"
    )
}

fn message_of(form: &str, content: &str) -> String {
    message("", content, "").replace("application/x-firstboot-config", form)
}

fn signed(config: &str) -> String {
    let signature = format!("--part\nContent-Type: application/x-minisign\n\n{}\n", sign(config.as_bytes()));
    // Unsigned parts without a node config come first.
    message("", config, &signature)
}

/// The token on a command line.
fn flags(at: &Target) -> String {
    let Target { endpoint, pin, node, .. } = at;
    let token = at.token.replace('\n', "\n  ");
    let trust = format!("--discovery-token-ca-cert-hash {pin} --ignore-preflight-errors all");
    stranger() + &format!("- |\n  kubeadm join {endpoint} --token {token} --node-name {node} {trust}\n")
}

/// Of no node: a password, keys of the host, a file.
fn stranger() -> String {
    let pem = pem().replace('\n', "\n    ");
    format!(
        "#cloud-config\npassword: {PASSWORD}\nchpasswd: {{users: [{{name: root, password: {PASSWORD}, type: text}}]}}\n\
         ssh_keys:\n  ed25519_private: |\n    {pem}\nwrite_files:\n- path: /etc/ssl/canary.key\n  permissions: '0600'\n  content: |\n    {pem}\n\
         runcmd:\n- [sh, -c, 'echo {PASSWORD}']\n"
    )
}

/// As Cluster API's provider writes it, beside what people add.
fn cloud_config(at: &Target) -> String {
    let config = config(at).replace('\n', "\n      ");
    let file = format!(
        "write_files:\n-   path: /run/kubeadm/kubeadm-join-config.yaml\n    owner: root:root\n    permissions: '0640'\n    content: |\n      \
         ---\n      {config}\n-   path: /run/cluster-api/placeholder\n    owner: root:root\n    permissions: '0640'\n    content: \"for its folder\"\n"
    );
    let join = "- kubeadm join --config /run/kubeadm/kubeadm-join-config.yaml  && echo success > /run/cluster-api/bootstrap-success.complete\n";
    stranger().replace("write_files:\n", &file) + join
}

fn packed_cloud_config(at: &Target) -> String {
    let packed = STANDARD.encode(gzip(config(at).as_bytes()));
    let file = format!(
        "write_files:\n- path: /etc/firstboot/config.yaml\n  encoding: gz+b64\n  permissions: '0600'\n  content: {packed}\n"
    );
    stranger().replace("write_files:\n", &file)
}

fn template(at: &Target) -> String {
    let named = cloud_config(at).replace("name: n1", "name: '{{ v1.local_hostname | default(\"n1\") }}'");
    format!("## template: jinja\n{named}\n# {{{{ v1.nothing }}}}\n")
}

/// `files`: path, mode, and the URL of the content. Where there are any, a unit runs a script of them.
fn ignition_of(version: &str, files: &[(&str, u32, String)]) -> String {
    let key = ("/etc/ssl/canary.key", 0o600, data_url(&pem()));
    let written: Vec<Value> = files
        .iter()
        .chain([&key])
        .map(|(path, mode, source)| file(version, path, *mode, source))
        .collect();
    let unit = "[Service]\nType=oneshot\nExecStart=/bin/bash /etc/kubeadm.sh\n[Install]\nWantedBy=multi-user.target\n";
    let units = if files.is_empty() {
        json!([])
    } else {
        json!([{"name": "kubeadm.service", "enabled": true, "contents": unit}])
    };
    let users = json!([{"name": "core", "passwordHash": PASSWORD}]);
    json!({"ignition": {"version": version}, "passwd": {"users": users}, "storage": {"files": written}, "systemd": {"units": units}})
        .to_string()
}

fn file(version: &str, path: &str, mode: u32, source: &str) -> Value {
    let mut file = json!({"path": path, "mode": mode, "contents": {"source": source}});
    if version.starts_with('2') {
        file["filesystem"] = json!("root");
    }
    file
}

/// As Cluster API's provider writes it.
fn ignition_2(at: &Target) -> String {
    let script = "#!/bin/bash\nset -e\nenvsubst < /etc/kubeadm.yml > /etc/kubeadm.yml.tmp\nkubeadm join --config /etc/kubeadm.yml\n\
                  mkdir -p /run/cluster-api && echo success > /run/cluster-api/bootstrap-success.complete\n";
    ignition_of(
        "2.3.0",
        &[("/etc/kubeadm.sh", 0o700, data_url(script)), ("/etc/kubeadm.yml", 0o600, data_url(&config(at)))],
    )
}

/// As Butane writes it.
fn ignition_3(at: &Target) -> String {
    let base64 = |text: &str| format!("data:text/plain;charset=utf-8;base64,{}", STANDARD.encode(text));
    let script = "#!/bin/bash\nkubeadm join --config /etc/kubeadm.yml\n";
    ignition_of(
        "3.4.0",
        &[("/etc/kubeadm.sh", 0o700, base64(script)), ("/etc/kubeadm.yml", 0o600, base64(&config(at)))],
    )
}

fn data_url(text: &str) -> String {
    let escaped = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    "data:,".to_owned() + &text.bytes().map(escaped).collect::<String>()
}

/// The password is in the URL, too.
/// A signed pointer may name any URL.
fn signed_pointer(content: Vec<u8>) -> Made {
    let unsigned = pointer(content);
    let text = String::from_utf8(unsigned.user_data).expect("it is text");
    Made { user_data: signed(&text).into_bytes(), pointed: unsigned.pointed, ..Made::default() }
}

fn pointer(content: Vec<u8>) -> Made {
    let digest = sha256(&content);
    let text = format!(
        "apiVersion: firstboot.kiln/v1\nkind: ConfigPointer\nurl: http://{PLAIN}/{PASSWORD}/config?key={SECRET}\nsha256: {digest}\n"
    );
    Made { pointed: [(format!("/{PASSWORD}/config"), content)].into(), ..of(text) }
}

/// No token in it; the answer has one.
fn token_from(at: &Target) -> Made {
    let authority = certificates().pem.replace('\n', "\n    ");
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {{bootstrapToken: {{}}}}\n{}---\n\
         apiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\ntokenFrom:\n  url: https://{SECURE}/token?key={PASSWORD}\n  \
         identity: none\n  timeout: 5s\n  caCert: |\n    {authority}\n",
        registration(at)
    );
    let Target { token, endpoint, pin, .. } = at;
    let answer =
        format!("{{\"token\": {token},\n \"endpoint\": \"{endpoint}\", \"caCertHashes\": [\"{pin}\"]}}");
    Made { asked: [("/token".to_owned(), answer.into_bytes())].into(), ..of(text) }
}

/// A CA that the machine trusts, and a TLS server with its certificate.
pub struct Certificates {
    pub pem: String,
    pub server: Arc<ServerConfig>,
}

/// For [`SECURE`] and for the service of the one platform that speaks TLS.
pub fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let authority = Ca::new();
        let server = authority.sign(&["127.0.0.1", super::sources::EQUINIX], -30..365).server_config();
        Certificates { pem: authority.pem(), server }
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    piped("gzip", &["-n"], bytes)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    piped("zstd", &["-q"], bytes)
}

/// The output of a program for this standard input.
fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tools/install test");
    child
        .stdin
        .take()
        .expect("a pipe was asked for")
        .write_all(input)
        .expect("it reads all of it");
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// A folder with a key pair of minisign's, which is used nowhere else.
fn keys() -> &'static tempfile::TempDir {
    static KEYS: OnceLock<tempfile::TempDir> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = workspace::scratch();
        let path = |name: &str| folder.path().join(name).display().to_string();
        workspace::output("minisign", ["-G", "-W", "-p", &path("public"), "-s", &path("secret")]);
        folder
    })
}

/// The trust policy of an image that accepts only signed user data.
pub fn signed_only() -> String {
    let public = std::fs::read_to_string(keys().path().join("public")).expect("minisign wrote it");
    json!({"signed-by": [public.lines().last()]}).to_string()
}

fn sign(content: &[u8]) -> String {
    let folder = workspace::scratch();
    let file = folder.path().join("content");
    std::fs::write(&file, content).expect("the folder is the test's");
    let secret = keys().path().join("secret");
    workspace::output(
        "minisign",
        ["-S".as_ref(), "-s".as_ref(), secret.as_os_str(), "-m".as_ref(), file.as_os_str()],
    );
    std::fs::read_to_string(folder.path().join("content.minisig"))
        .expect("minisign wrote it")
        .trim_end()
        .to_owned()
}

/// In hex.
pub fn sha256(bytes: &[u8]) -> String {
    let text = String::from_utf8(piped("sha256sum", &[], bytes)).expect("sha256sum writes text");
    text.split(' ').next().unwrap_or_default().to_owned()
}
