//! Kubeconfigs: reads those of discovery, writes those of the kubelet
//! (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::server::Server;
use super::yaml;
use crate::secret::Secret;
use crate::text;

/// The size limit of a kubeconfig.
pub const LONGEST: usize = 1024 * 1024;
/// kubeadm's name for the user that requests the kubelet's certificate.
const BOOTSTRAP_USER: &str = "tls-bootstrap-token-user";

/// The current cluster of a kubeconfig, and its user.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// The API server.
    pub server: Server,
    /// The name for which the server's certificate must be valid, if it is not the server's own.
    pub server_name: Option<String>,
    /// The cluster's CA bundle, as PEM.
    pub authorities: Option<Material>,
    /// The user, if the file has one.
    pub user: Option<User>,
}

/// Text in the kubeconfig or in a separate file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// The text itself.
    Inline(Secret),
    /// The file that contains it.
    File(PathBuf),
}

/// How a user of a kubeconfig authenticates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A bearer token.
    Token(Material),
    /// A client certificate with its key, both PEM.
    Certificate {
        /// The certificate and its issuers.
        certificate: Material,
        /// The private key.
        key: Material,
    },
    /// A method that this agent does not support, by name.
    Unsupported(&'static str),
}

#[derive(Deserialize)]
struct Document {
    kind: Option<String>,
    clusters: Option<Vec<NamedCluster>>,
    contexts: Option<Vec<NamedContext>>,
    users: Option<Vec<NamedUser>>,
    #[serde(rename = "current-context")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: Option<String>,
    cluster: Option<ClusterFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterFields {
    server: Option<String>,
    tls_server_name: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: Option<String>,
    context: Option<ContextFields>,
}

#[derive(Deserialize)]
struct ContextFields {
    cluster: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: Option<String>,
    user: Option<UserFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserFields {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    exec: Option<Value>,
    auth_provider: Option<Value>,
}

/// Parses a kubeconfig, YAML or JSON. Relative paths in it are relative to `folder`. The error never repeats
/// the contents of the file.
pub fn parse(bytes: &[u8], folder: &Path) -> Result<Kubeconfig, String> {
    if bytes.len() > LONGEST {
        return Err(format!("the kubeconfig is longer than {LONGEST} bytes"));
    }
    let document: Document = text::yaml::parse(bytes).map_err(|refused| refused.describe("kubeconfig"))?;
    if document.kind.as_deref().is_some_and(|kind| kind != "Config") {
        return Err("no kubeconfig: its kind is not Config".to_owned());
    }
    let context = document.current_context.as_deref().filter(|name| !name.is_empty());
    let contexts = document.contexts.unwrap_or_default();
    let context = contexts
        .into_iter()
        .find(|named| context.is_some() && named.name.as_deref() == context)
        .and_then(|named| named.context);
    let (of_cluster, of_user) = context.map(|context| (context.cluster, context.user)).unwrap_or_default();
    let cluster = choose(document.clusters.unwrap_or_default(), of_cluster.as_deref())?;
    let users = document.users.unwrap_or_default();
    let user = users
        .into_iter()
        .find(|named| of_user.is_some() && named.name == of_user)
        .and_then(|named| named.user);
    Ok(Kubeconfig {
        server: server(&cluster)?,
        server_name: filled(cluster.tls_server_name),
        authorities: material(
            cluster.certificate_authority_data,
            cluster.certificate_authority,
            folder,
            "certificate-authority-data",
        )?,
        user: user.map(|user| self::user(user, folder)).transpose()?.flatten(),
    })
}

/// The cluster without a name, as in cluster-info, or that of the current context.
fn choose(clusters: Vec<NamedCluster>, of_context: Option<&str>) -> Result<ClusterFields, String> {
    let named = |wanted: &str| {
        clusters.iter().position(|cluster| cluster.name.as_deref().unwrap_or_default() == wanted)
    };
    let position = named("").or_else(|| of_context.and_then(named));
    let position =
        position.ok_or("the kubeconfig has neither a cluster without a name nor one of a current-context")?;
    let cluster = clusters.into_iter().nth(position).and_then(|named| named.cluster);
    cluster.ok_or_else(|| "the cluster of the kubeconfig is empty".to_owned())
}

fn server(cluster: &ClusterFields) -> Result<Server, String> {
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err("the kubeconfig says insecure-skip-tls-verify, which a join never does".to_owned());
    }
    if cluster.proxy_url.as_deref().is_some_and(|url| !url.is_empty()) {
        return Err("the kubeconfig says proxy-url: a join goes to the API server directly, as the kubelet's other traffic does".to_owned());
    }
    cluster.server.as_deref().unwrap_or_default().parse()
}

fn user(fields: UserFields, folder: &Path) -> Result<Option<User>, String> {
    let certificate = material(
        fields.client_certificate_data,
        fields.client_certificate,
        folder,
        "client-certificate-data",
    )?;
    let key = material(fields.client_key_data, fields.client_key, folder, "client-key-data")?;
    if let Some(certificate) = certificate {
        let key = key.ok_or("the kubeconfig has a client certificate without its key")?;
        return Ok(Some(User::Certificate { certificate, key }));
    }
    let token = filled(fields.token).map(|token| Material::Inline(Secret::new(token)));
    let token = token.or_else(|| filled(fields.token_file).map(|path| Material::File(folder.join(path))));
    Ok(match token {
        Some(token) => Some(User::Token(token)),
        None if fields.exec.is_some() => Some(User::Unsupported("exec")),
        None if fields.auth_provider.is_some() => Some(User::Unsupported("auth-provider")),
        None if filled(fields.username).is_some() => Some(User::Unsupported("username and password")),
        None => None,
    })
}

/// Inline data comes before a file, as everywhere in Kubernetes.
fn material(
    data: Option<String>,
    file: Option<String>,
    folder: &Path,
    name: &str,
) -> Result<Option<Material>, String> {
    match (filled(data), filled(file)) {
        (Some(data), _) => {
            // Line breaks are skipped, as in Go.
            let data: Secret = Secret::new(data.split_whitespace().collect());
            let bytes = STANDARD
                .decode(data.reveal())
                .map_err(|_| format!("{name} of the kubeconfig is not base64"))?;
            let text =
                String::from_utf8(bytes).map_err(|_| format!("{name} of the kubeconfig is not PEM"))?;
            Ok(Some(Material::Inline(Secret::new(text))))
        }
        (None, Some(file)) => Ok(Some(Material::File(folder.join(file)))),
        (None, None) => Ok(None),
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The cluster of a rendered kubeconfig.
#[derive(Debug, Clone, Copy)]
pub struct ClusterEntry<'a> {
    /// The API server.
    pub server: &'a Server,
    /// The CA bundle.
    pub authorities: &'a [u8],
    /// The name for which the server's certificate must be valid, if it is not the server's own.
    pub server_name: Option<&'a str>,
    /// Whether to write the empty `preferences` that Kubernetes wrote before 1.34.
    pub preferences: bool,
}

impl ClusterEntry<'_> {
    fn value(&self) -> Value {
        let mut cluster = json!({"certificate-authority-data": STANDARD.encode(self.authorities), "server": self.server.to_string()});
        if let Some(name) = self.server_name {
            cluster["tls-server-name"] = name.into();
        }
        cluster
    }
}

/// How the bootstrap user authenticates.
#[derive(Debug, Clone, Copy)]
pub enum BootstrapUser<'a> {
    /// A bearer token.
    Token(&'a Secret),
    /// A certificate and key, both PEM.
    Certificate(&'a Secret, &'a Secret),
}

/// `bootstrap-kubelet.conf`, as kubeadm writes it.
pub fn bootstrap(cluster: &ClusterEntry<'_>, cluster_name: &str, user: BootstrapUser<'_>) -> Secret {
    let user = match user {
        BootstrapUser::Token(token) => json!({"token": token.reveal()}),
        BootstrapUser::Certificate(certificate, key) => json!({
            "client-certificate-data": STANDARD.encode(certificate.reveal()),
            "client-key-data": STANDARD.encode(key.reveal()),
        }),
    };
    let context = format!("{BOOTSTRAP_USER}@{cluster_name}");
    let names = json!({"cluster": cluster_name, "user": BOOTSTRAP_USER});
    Secret::new(render(cluster, cluster_name, &context, names, json!({"name": BOOTSTRAP_USER, "user": user})))
}

/// `kubelet.conf`, as the kubelet writes it: the certificate and its key are both in the file `pem`.
pub fn kubelet(cluster: &ClusterEntry<'_>, pem: &str) -> String {
    let names = json!({"cluster": "default-cluster", "namespace": "default", "user": "default-auth"});
    let user = json!({"name": "default-auth", "user": {"client-certificate": pem, "client-key": pem}});
    render(cluster, "default-cluster", "default-context", names, user)
}

fn render(cluster: &ClusterEntry<'_>, name: &str, context: &str, names: Value, user: Value) -> String {
    let mut document = json!({
        "apiVersion": "v1",
        "clusters": [{"cluster": cluster.value(), "name": name}],
        "contexts": [{"context": names, "name": context}],
        "current-context": context,
        "kind": "Config",
        "users": [user],
    });
    if cluster.preferences {
        document["preferences"] = json!({});
    }
    yaml::emit(&document)
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
