//! Node config: the bytes of a file or of user data, or kubeadm's flags → one [`NodeConfig`].
//!
//! ```text
//! bytes ─► documents (YAML or JSON, split, keyed by kind) ─► raw (v1beta2 | v1beta3 | v1beta4) ─► complete (defaults, checks) ─► model
//!                                                                  flags ─┘
//! ```
//!
//! The rules are kubeadm's, down to the words of its errors; but an error never repeats a token.

mod agent;
mod agent_facts;
mod check;
mod complete;
pub(crate) mod documents;
mod duration;
mod fields;
pub mod file;
mod fingerprint;
pub mod flags;
pub mod kubeadm;
mod kubelet_arguments;
pub mod model;
mod raw;
mod token_from;
pub mod redact;
mod report;
pub mod reset;
pub mod role;
mod strict;
pub mod template;

#[cfg(test)]
#[path = "config_tests.rs"]
mod config_tests;
#[cfg(test)]
#[path = "golden_tests.rs"]
mod golden_tests;

use contract::suggest;
use std::collections::BTreeMap;

use self::documents::{Document, shown};
use self::fields::{Fields, Unknown};
use self::kubeadm::Kubeadm;
use self::model::{AgentConfiguration, ApiVersion, Discovery, NodeConfig};
use self::raw::RawJoin;
use self::redact::Redactor;
use self::role::Role;
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::names::LABEL_LIMIT;

pub use self::documents::SIZE_LIMIT;
pub(crate) use self::kubelet_arguments::check_document as check_kubelet_document;

/// kubeadm's API group.
const KUBEADM: &str = "kubeadm.k8s.io";
/// The kubelet's.
const KUBELET: &str = "kubelet.config.k8s.io";
/// The only version of the kubelet's configuration.
const KUBELET_VERSION: &str = "v1beta1";

/// The name until a template gives the real one.
const UNNAMED: &str = "unnamed";

const JOIN_KIND: &str = "JoinConfiguration";
const KUBELET_KIND: &str = "KubeletConfiguration";
/// kube-proxy's configuration, and its only version.
pub(crate) const PROXY_KIND: &str = "KubeProxyConfiguration";
pub(crate) const PROXY_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";

/// The versions of `kubeadm.k8s.io` that are read.
const VERSIONS: &[(&str, ApiVersion)] =
    &[("v1beta2", ApiVersion::V1beta2), ("v1beta3", ApiVersion::V1beta3), ("v1beta4", ApiVersion::V1beta4)];

/// Versions that kubeadm no longer reads.
const REMOVED: &[&str] = &["v1alpha1", "v1alpha2", "v1alpha3", "v1beta1"];

/// Values of the machine for fields that the config leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDefaults {
    /// The host name of the operating system.
    pub hostname: String,
}

/// Reads a node config: the documents of one file.
pub fn parse(bytes: &[u8], host: &HostDefaults) -> Result<NodeConfig> {
    let (mut redactor, mut warnings) = (Redactor::default(), Vec::new());
    let config = ParsedDocuments::read(bytes, &mut redactor, &mut warnings)
        .and_then(|parsed| parsed.complete(host, &mut warnings));
    cleaned(config, &redactor, &warnings)
}

/// Reads `sha256:<hex>`; the hexadecimal part in lower case.
pub fn read_pin(text: &str) -> Option<String> {
    check::pin("", text, &mut check::Problems::default())
}

/// Why this is not a valid node name; none if it is one.
pub fn node_name_problem(name: &str) -> Option<String> {
    let mut problems = check::Problems::default();
    check::node_name("name", name, &mut problems);
    problems.result().err().map(|failure| failure.message)
}

/// Says that the node's label kubernetes.io/hostname, whose value is its name, cannot hold this name; none if
/// it can. The API server refuses such a node.
pub fn long_name_warning(name: &str) -> Option<String> {
    (name.len() > LABEL_LIMIT).then(|| {
        format!(
            "the node's name has more than {LABEL_LIMIT} characters, which its label kubernetes.io/hostname cannot hold"
        )
    })
}

/// The config or its error, with the warnings about it. Tokens are removed from all texts, wherever they
/// stood.
fn cleaned(config: Result<NodeConfig>, redactor: &Redactor, warnings: &[String]) -> Result<NodeConfig> {
    let config = config.map_err(|failure| redactor.clean_failure(failure.after(warnings)))?;
    Ok(NodeConfig { warnings: warnings.iter().map(|warning| redactor.clean(warning)).collect(), ..config })
}

/// The documents of a file, read but not complete.
struct ParsedDocuments {
    join: RawJoin,
    api_version: ApiVersion,
    others: OtherDocuments,
}

/// A JoinConfiguration, or what stands for it, and the version that it is written in.
type Read = (RawJoin, ApiVersion);

/// The documents besides a JoinConfiguration.
#[derive(Default)]
struct OtherDocuments {
    kubeadm: Option<Kubeadm>,
    kubelet: Option<serde_json::Value>,
    kube_proxy: Option<serde_json::Value>,
    agent: AgentConfiguration,
}

impl ParsedDocuments {
    fn read(bytes: &[u8], redactor: &mut Redactor, warnings: &mut Vec<String>) -> Result<Self> {
        let (join, others) = Self::parts(bytes, Command::Any, redactor, warnings)?;
        let (join, api_version) = join?;
        Ok(Self { join, api_version, others })
    }

    /// The JoinConfiguration, or in its place what `kubeadm init` reads, or the failure that there is none;
    /// and the other documents.
    fn parts(
        bytes: &[u8],
        command: Command<'_>,
        redactor: &mut Redactor,
        warnings: &mut Vec<String>,
    ) -> Result<(Result<Read>, OtherDocuments)> {
        let mut documents = documents::split(bytes, redactor)?;
        let agent = documents
            .remove(agent::KIND)
            .map(|document| read_agent(&document))
            .transpose()?
            .unwrap_or_default();
        let kubelet = documents
            .remove(KUBELET_KIND)
            .map(|document| read_kubelet(document, warnings))
            .transpose()?;
        if let Some(document) = documents.values().find(|document| document.group == agent::GROUP) {
            return Err(agent::unknown_kind(document));
        }
        let (join, kubeadm) = Self::for_kubeadm(&mut documents, command, warnings)?;
        let kube_proxy = of_kube_proxy(&mut documents, warnings)?;
        warnings.extend(documents.values().map(|document| {
            format!("ignored configuration document with GroupVersionKind {}", document.name())
        }));
        Ok((join.ok_or_else(|| missing(&documents)), OtherDocuments { kubeadm, kubelet, kube_proxy, agent }))
    }

    /// The document of the command, and what the real kubeadm gets of a control plane's. Takes those that are
    /// read.
    fn for_kubeadm(
        documents: &mut BTreeMap<String, Document>,
        command: Command<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(Option<Read>, Option<Kubeadm>)> {
        let join = documents.get(JOIN_KIND).filter(|_| !matches!(command, Command::Init(_)));
        if let Some(join) = join {
            let read = read_join(join, warnings)?;
            let kubeadm = (read.0.role != Role::Worker).then(|| Kubeadm::of_join(join.value.clone()));
            documents.remove(JOIN_KIND);
            return Ok((Some(read), kubeadm));
        }
        let flags = match command {
            Command::Join => return Ok((None, None)),
            Command::Init(flags) => flags,
            Command::Any => &[],
        };
        let Some(kubeadm) = Kubeadm::of_init(documents, flags.to_vec()) else { return Ok((None, None)) };
        let read = read_init(documents, warnings)?;
        kubeadm::KINDS_OF_INIT.iter().for_each(|kind| _ = documents.remove(*kind));
        Ok((Some(read), Some(kubeadm)))
    }

    /// The config without its warnings, which are in `warnings`.
    fn complete(self, host: &HostDefaults, warnings: &mut Vec<String>) -> Result<NodeConfig> {
        let Self { join: mut raw, api_version, others } = self;
        let OtherDocuments { kubeadm, kubelet, kube_proxy, agent } = others;
        if kubeadm.is_some() && agent.token_from.is_some() {
            return Err(Failure::new(
                ErrorKind::Config,
                "tokenFrom: a control plane cannot ask for its token",
            )
            .help("write the token into the JoinConfiguration"));
        }
        if agent.from_facts.node_name.is_some() {
            // The template gives the name, once the facts are known.
            raw.node.name = Some(UNNAMED.to_owned());
        }
        let mut join = complete::complete(raw, api_version, host, agent.token_from.is_some(), warnings)?;
        add_endpoints(&mut join.discovery, &agent, warnings);
        let config = NodeConfig {
            join,
            kubeadm,
            kubelet,
            kube_proxy,
            agent,
            from_facts: Vec::new(),
            warnings: Vec::new(),
        };
        warnings.extend(long_name_warning(&config.node_name()));
        Ok(config)
    }
}

/// The command of kubeadm that reads a file.
#[derive(Clone, Copy)]
enum Command<'a> {
    /// None is named: the documents decide.
    Any,
    Join,
    /// `kubeadm init` with these flags.
    Init(&'a [String]),
}

fn missing(documents: &BTreeMap<String, Document>) -> Failure {
    let found: Vec<String> = documents.keys().map(|kind| shown(kind)).collect();
    let found = if found.is_empty() { String::new() } else { format!("; it holds {}", found.join(", ")) };
    Failure::new(ErrorKind::Config, format!("no JoinConfiguration found in the node config{found}")).help(
        if documents.contains_key(kubeadm::INIT_KIND) || documents.contains_key(kubeadm::CLUSTER_KIND) {
            "firstboot init begins a control plane with it"
        } else {
            "a node config begins with apiVersion: kubeadm.k8s.io/v1beta4 and kind: JoinConfiguration"
        },
    )
}

fn read_join(document: &Document, warnings: &mut Vec<String>) -> Result<Read> {
    let version = version_of(document)?;
    let mut unknown = Vec::new();
    let join = raw::read(Fields::of(&document.value, "")?, version, &mut unknown);
    warn_of_unknown(&unknown, warnings);
    warn_of_duplicates(document, warnings);
    Ok((join?, version))
}

/// The node's registration of an InitConfiguration. Without one, kubeadm has its own defaults.
fn read_init(documents: &BTreeMap<String, Document>, warnings: &mut Vec<String>) -> Result<Read> {
    let Some(document) = documents.get(kubeadm::INIT_KIND).or_else(|| documents.get(kubeadm::CLUSTER_KIND))
    else {
        return Err(missing(documents));
    };
    let version = version_of(document)?;
    let mut unknown = Vec::new();
    let init = raw::read_init(Fields::of(&document.value, "")?, version, &mut unknown);
    warn_of_unknown(&unknown, warnings);
    warn_of_duplicates(document, warnings);
    Ok((init?, version))
}

fn warn_of_unknown(fields: &[Unknown], warnings: &mut Vec<String>) {
    for field in fields {
        let meant = suggest::did_you_mean(&field.name, field.known.iter().copied());
        warnings.push(format!("strict decoding error: unknown field \"{}\"{meant}", field.path));
    }
}

fn warn_of_duplicates(document: &Document, warnings: &mut Vec<String>) {
    for path in &document.duplicates {
        warnings.push(format!(
            "strict decoding error: duplicate field \"{}\" in {}: the last one counts",
            shown(path),
            shown(&document.kind)
        ));
    }
}

fn version_of(document: &Document) -> Result<ApiVersion> {
    let (version, kind) = (shown(&document.version), shown(&document.kind));
    if document.group == KUBEADM {
        if let Some((_, version)) = VERSIONS.iter().find(|(word, _)| *word == document.version) {
            return Ok(*version);
        }
        if REMOVED.contains(&document.version.as_str()) {
            let message = format!(
                "your configuration file uses an old API spec: \"{KUBEADM}/{version}\" (kind: \"{kind}\")"
            );
            return Err(Failure::new(ErrorKind::Config, message)
                .help("rewrite it as kubeadm.k8s.io/v1beta4; kubeadm config migrate can"));
        }
    }
    let message =
        format!("no kind \"{kind}\" is registered for version \"{}/{version}\"", shown(&document.group));
    Err(Failure::new(ErrorKind::Config, message).help("kubeadm.k8s.io/v1beta2, v1beta3 and v1beta4 are read"))
}

fn read_kubelet(document: Document, warnings: &mut Vec<String>) -> Result<serde_json::Value> {
    check_version(&document, &format!("{KUBELET}/{KUBELET_VERSION}"))?;
    warn_of_duplicates(&document, warnings);
    kubelet_arguments::check_document(&document.value)?;
    Ok(document.value)
}

/// The document for kube-proxy, which is a service on Windows alone. Elsewhere it is ignored, as kubeadm
/// does.
fn of_kube_proxy(
    documents: &mut BTreeMap<String, Document>,
    warnings: &mut Vec<String>,
) -> Result<Option<serde_json::Value>> {
    let document = if cfg!(windows) { documents.remove(PROXY_KIND) } else { None };
    let Some(document) = document else { return Ok(None) };
    check_version(&document, PROXY_VERSION)?;
    warn_of_duplicates(&document, warnings);
    Ok(Some(document.value))
}

/// Refuses a document of another `GROUP/VERSION` than the only one of its kind.
fn check_version(document: &Document, wanted: &str) -> Result<()> {
    if format!("{}/{}", document.group, document.version) == wanted {
        return Ok(());
    }
    let [kind, group, version] = [&document.kind, &document.group, &document.version].map(|text| shown(text));
    let message = format!("no kind \"{kind}\" is registered for version \"{group}/{version}\"");
    Err(Failure::new(ErrorKind::Config, message).help(format!("write apiVersion: {wanted}")))
}

fn read_agent(document: &Document) -> Result<AgentConfiguration> {
    if document.group != agent::GROUP {
        let message =
            format!("no kind \"{}\" is registered for group \"{}\"", agent::KIND, shown(&document.group));
        return Err(Failure::new(ErrorKind::Config, message).help(format!(
            "write apiVersion: {}/{}",
            agent::GROUP,
            agent::VERSION
        )));
    }
    agent::read(document)
}

/// The agent's own endpoints are tried after the JoinConfiguration's.
fn add_endpoints(discovery: &mut Discovery, agent: &AgentConfiguration, warnings: &mut Vec<String>) {
    match discovery {
        Discovery::Token { endpoints, .. } | Discovery::RequestedToken { endpoints, .. } => {
            for endpoint in &agent.endpoints {
                if !endpoints.contains(endpoint) {
                    endpoints.push(endpoint.clone());
                }
            }
        }
        _ if agent.endpoints.is_empty() => (),
        _ => warnings.push(
            "FirstbootConfiguration.endpoints is ignored: a discovery file names its own server".to_owned(),
        ),
    }
}
