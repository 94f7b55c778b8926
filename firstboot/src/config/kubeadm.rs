//! What the real kubeadm gets on a machine that becomes a control plane: the documents as they were written,
//! with the registration of the node as this machine completes it.
//!
//! The worker's join is the agent's own. Manifests, certificates and add-ons of a control plane change with
//! every minor version, and kubeadm of that version knows them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::documents::Document;
use crate::kubernetes::version::Version;
use crate::kubernetes::yaml;
use crate::secret::{Secret, wipe};

pub(super) const INIT_KIND: &str = "InitConfiguration";
pub(super) const CLUSTER_KIND: &str = "ClusterConfiguration";
/// Kinds that `kubeadm init` reads, besides the KubeletConfiguration.
pub(super) const KINDS_OF_INIT: &[&str] = &[INIT_KIND, CLUSTER_KIND, "KubeProxyConfiguration"];

/// The versions of kubeadm's API in which the agent writes, each with the first minor version whose kubeadm
/// reads it.
const WRITTEN: &[(u16, &str)] =
    &[(31, "kubeadm.k8s.io/v1beta4"), (22, "kubeadm.k8s.io/v1beta3"), (0, "kubeadm.k8s.io/v1beta2")];

/// The node as the agent completed it.
pub struct Registration<'a> {
    pub(crate) name: &'a str,
    /// The runtime's socket with its scheme.
    pub(crate) socket: &'a str,
    /// Names and values of the kubelet's arguments.
    pub(crate) arguments: Vec<(&'a str, &'a str)>,
    pub(crate) ignored_checks: &'a [String],
    /// A KubeletConfiguration for `kubeadm init`.
    pub(crate) kubelet: Option<Value>,
}

/// Documents and flags for kubeadm. They hold secrets: bootstrap tokens, the key of the certificates.
#[derive(Clone)]
pub struct Kubeadm {
    /// The first one has the registration of the node.
    documents: Vec<Value>,
    flags: Vec<String>,
    /// Known as secrets, so that nothing that is said repeats them.
    secrets: Vec<Secret>,
}

impl Kubeadm {
    /// For `kubeadm init`: the documents of a file that it reads. None if it has neither an InitConfiguration
    /// nor a ClusterConfiguration.
    pub(super) fn of_init(documents: &BTreeMap<String, Document>, flags: Vec<String>) -> Option<Self> {
        let init = match (documents.get(INIT_KIND), documents.get(CLUSTER_KIND)) {
            (Some(init), _) => init.value.clone(),
            (None, Some(cluster)) => json!({"apiVersion": cluster.value["apiVersion"], "kind": INIT_KIND}),
            (None, None) => return None,
        };
        let others = KINDS_OF_INIT.iter().skip(1).filter_map(|kind| documents.get(*kind));
        let documents = [init].into_iter().chain(others.map(|document| document.value.clone())).collect();
        Some(Self::new(documents, flags))
    }

    /// For `kubeadm join`: the JoinConfiguration.
    pub(super) fn of_join(document: Value) -> Self {
        Self::new(vec![document], Vec::new())
    }

    fn new(mut documents: Vec<Value>, flags: Vec<String>) -> Self {
        let mut secrets = Vec::new();
        let mut keep = |value: &mut Value| {
            let text = value.as_str().filter(|text| !text.is_empty());
            secrets.extend(text.map(|text| Secret::new(text.to_owned())));
        };
        documents.iter_mut().for_each(|document| each_secret(document, &mut keep));
        Self { documents, flags, secrets }
    }

    /// Whether the documents bring a credential.
    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// kubeadm's flags besides `--config`.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The text of kubeadm's file for `node`, for a kubeadm of this version.
    pub fn file(&self, node: &Registration<'_>, version: Version) -> Zeroizing<String> {
        let mut documents = self.documents.clone();
        documents.extend(node.kubelet.clone());
        if let Some(first) = documents.first_mut() {
            if first["apiVersion"].is_null() {
                let row = WRITTEN.iter().find(|(minor, _)| version.at_least(*minor));
                first["apiVersion"] = json!(row.map(|(_, version)| version));
            }
            register(first, node);
        }
        let mut text = Zeroizing::new(String::new());
        for document in &mut documents {
            text.push_str("---\n");
            text.push_str(&Zeroizing::new(yaml::emit(document)));
            wipe(document);
        }
        text
    }

    /// What shapes the node, without credentials.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let mut documents = Value::Array(self.documents.clone());
        each_secret(&mut documents, &mut wipe);
        let text = format!("{documents} {:?}", self.flags).into_bytes();
        wipe(&mut documents);
        text
    }
}

impl Drop for Kubeadm {
    fn drop(&mut self) {
        self.documents.iter_mut().for_each(wipe);
    }
}

impl fmt::Debug for Kubeadm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Kubeadm").field("flags", &self.flags).finish_non_exhaustive()
    }
}

/// Writes what is known of the node into its registration.
fn register(document: &mut Value, node: &Registration<'_>) {
    let is_list = document["apiVersion"].as_str().is_some_and(|version| version.ends_with("/v1beta4"));
    let arguments = node.arguments.iter();
    let arguments = if is_list {
        arguments.map(|(name, value)| json!({"name": name, "value": value})).collect()
    } else {
        Value::Object(arguments.map(|(name, value)| ((*name).to_owned(), json!(value))).collect())
    };
    let registration = &mut document["nodeRegistration"];
    if !registration.is_object() {
        *registration = json!({});
    }
    registration["name"] = json!(node.name);
    registration["criSocket"] = json!(node.socket);
    registration["kubeletExtraArgs"] = arguments;
    if !node.ignored_checks.is_empty() {
        registration["ignorePreflightErrors"] = json!(node.ignored_checks);
    }
}

/// Whether a field of this name holds a credential: tokens, and the key of the certificates.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with("token") || name == "certificatekey"
}

/// Calls `visit` for every value whose field's name says that it is a credential.
fn each_secret(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) {
                    visit(value);
                }
                each_secret(value, visit);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_secret(item, visit)),
        _ => {}
    }
}

#[cfg(test)]
#[path = "kubeadm_tests.rs"]
mod tests;
