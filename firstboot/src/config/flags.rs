//! kubeadm join's own flags → the same node config, alone or over a file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::kubeadm::Kubeadm;
use super::model::{ApiVersion, NodeConfig};
use super::raw::{RawBootstrapToken, RawJoin, RawNode};
use super::redact::Redactor;
use super::role::Role;
use super::{Command, HostDefaults, OtherDocuments, ParsedDocuments, cleaned};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::secret::Secret;

/// Flags that kubeadm lets stand beside `--config`; so do all that begin with `skip-`.
const BESIDE_CONFIG: &[&str] =
    &["config", "ignore-preflight-errors", "dry-run", "node-name", "rootfs", "v", "json"];

/// Flags that kubeadm 1.20 and 1.21, whose files are v1beta2, let stand beside it too.
const BESIDE_CONFIG_V1BETA2: &[&str] = &["cri-socket", "patches"];

/// Flags that mean something to a control plane only.
const CONTROL_PLANE: &[&str] = &["apiserver-advertise-address", "apiserver-bind-port", "certificate-key"];

/// A token file is one line.
const TOKEN_FILE_LIMIT: u64 = 4096;

/// The flags of `kubeadm join`, as given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinFlags {
    /// The names of all flags that were given, without dashes, in that order: `--config` bears only some
    /// others.
    pub given: Vec<&'static str>,
    /// `host:port`; the first one counts.
    pub endpoints: Vec<String>,
    /// `--config`: `-` is standard input.
    pub config: Option<PathBuf>,
    /// `--token`: for discovery and TLS bootstrap where they have no separate token.
    pub token: Option<Secret>,
    /// `--token-file`: the same from a file, where no list of processes shows it.
    pub token_file: Option<PathBuf>,
    /// `--discovery-token`
    pub discovery_token: Option<Secret>,
    /// `--tls-bootstrap-token`
    pub tls_bootstrap_token: Option<Secret>,
    /// `--discovery-file`: a path or an https URL.
    pub discovery_file: Option<String>,
    /// `--discovery-token-ca-cert-hash`
    pub ca_cert_hashes: Vec<String>,
    /// `--discovery-token-unsafe-skip-ca-verification`
    pub unsafe_skip_ca_verification: bool,
    /// `--node-name`
    pub node_name: Option<String>,
    /// `--cri-socket`
    pub cri_socket: Option<String>,
    /// `--ignore-preflight-errors`
    pub ignore_preflight_errors: Vec<String>,
    /// `--skip-phases`: replaces the file's list.
    pub skip_phases: Option<Vec<String>>,
    /// `--patches`
    pub patches: Option<String>,
    /// `--dry-run`
    pub dry_run: Option<bool>,
    /// `--control-plane`
    pub control_plane: bool,
    /// `--apiserver-advertise-address`
    pub advertise_address: Option<String>,
    /// `--apiserver-bind-port`
    pub bind_port: Option<u16>,
    /// `--certificate-key`
    pub certificate_key: Option<Secret>,
    /// The flags besides `--config` if the command is `kubeadm init`, as they were given.
    pub init: Option<Vec<String>>,
    /// Whether the documents of the file decide whether it is a join or an init.
    pub is_either: bool,
}

impl JoinFlags {
    /// Reads the file of `--token-file` into `token`.
    pub fn load_token_file(&mut self) -> Result<()> {
        let Some(path) = &self.token_file else { return Ok(()) };
        if self.token.is_some() {
            return Err(Failure::new(ErrorKind::Usage, "--token and --token-file cannot both be given"));
        }
        self.token = Some(read_token(path)?);
        Ok(())
    }

    fn all_given(&self) -> impl Iterator<Item = &'static str> {
        let mut names: Vec<&str> = self.given.clone();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }
}

fn read_token(path: &Path) -> Result<Secret> {
    let bytes = files::read(path, TOKEN_FILE_LIMIT)?;
    let bytes = bytes.ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("--token-file: there is no file {}", path.display()))
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Failure::new(ErrorKind::Config, format!("--token-file: {} is not text", path.display()))
    })?;
    // Any other text is judged as a token is, and without the file's name the message would not lead there.
    if text.trim().is_empty() {
        return Err(Failure::new(ErrorKind::Config, format!("--token-file: {} is empty", path.display()))
            .help("write the token into it: kubeadm token create, on the control plane, prints one"));
    }
    Ok(Secret::new(text.trim().to_owned()))
}

/// The node config that `flags` say, over the JoinConfiguration of the file `config`, or in place of one
/// beside the file's other documents. `token_file` must have been loaded.
pub fn node_config(flags: &JoinFlags, config: Option<&[u8]>, host: &HostDefaults) -> Result<NodeConfig> {
    let (mut redactor, mut warnings) = (Redactor::default(), Vec::new());
    let secrets = [&flags.token, &flags.discovery_token, &flags.tls_bootstrap_token, &flags.certificate_key];
    secrets.into_iter().flatten().for_each(|secret| redactor.remember_secret(secret));
    let texts = [&flags.node_name, &flags.cri_socket, &flags.patches, &flags.discovery_file]
        .into_iter()
        .flatten();
    let lists = [&flags.endpoints, &flags.ca_cert_hashes, &flags.ignore_preflight_errors]
        .into_iter()
        .chain(&flags.skip_phases);
    texts.chain(lists.flatten()).for_each(|text| redactor.scan(text));
    let parsed = match config {
        Some(bytes) => over_or_beside(bytes, flags, &mut redactor, &mut warnings),
        None if flags.init.is_some() => {
            Err(Failure::new(ErrorKind::Config, "kubeadm init is given no config")
                .help("write a ClusterConfiguration, and name the file with --config"))
        }
        None => Ok(alone(flags, OtherDocuments::default(), &mut warnings)),
    };
    let config = parsed.and_then(|parsed| parsed.complete(host, &mut warnings));
    cleaned(config, &redactor, &warnings)
}

fn over_or_beside(
    bytes: &[u8],
    flags: &JoinFlags,
    redactor: &mut Redactor,
    warnings: &mut Vec<String>,
) -> Result<ParsedDocuments> {
    let names_a_cluster = !flags.endpoints.is_empty() || flags.discovery_file.is_some();
    let command = match &flags.init {
        Some(flags) => Command::Init(flags),
        None if flags.is_either => Command::Any,
        None => Command::Join,
    };
    match ParsedDocuments::parts(bytes, command, redactor, warnings)? {
        (Ok((join, api_version)), others) => {
            over_config(ParsedDocuments { join, api_version, others }, flags, warnings)
        }
        (Err(_), others) if names_a_cluster => Ok(alone(flags, others, warnings)),
        (Err(missing), _) => Err(missing),
    }
}

/// Flags that may stand beside a file: a name, checks and phases to skip, a dry run.
fn over_config(
    mut parsed: ParsedDocuments,
    flags: &JoinFlags,
    warnings: &mut Vec<String>,
) -> Result<ParsedDocuments> {
    let old = parsed.api_version == ApiVersion::V1beta2;
    let allowed = |name: &str| {
        BESIDE_CONFIG.contains(&name)
            || name.starts_with("skip-")
            || (old && BESIDE_CONFIG_V1BETA2.contains(&name))
    };
    let mixed: Vec<&str> = flags.all_given().filter(|name| !allowed(name)).collect();
    if !mixed.is_empty() {
        let failure = Failure::new(
            ErrorKind::Usage,
            format!("can not mix '--config' with arguments [{}]", mixed.join(" ")),
        );
        return Err(failure.help("write them into the file"));
    }
    if let Some(endpoint) = flags.endpoints.first() {
        warnings.push(format!("the endpoint \"{}\" is ignored: --config is given", super::shown(endpoint)));
    }
    overlay(&mut parsed.join, flags);
    if flags.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
        parsed.others.agent.from_facts.node_name = None;
    }
    Ok(parsed)
}

fn overlay(join: &mut RawJoin, flags: &JoinFlags) {
    let replace = |old: &mut Option<String>, new: &Option<String>| {
        if let Some(new) = new.as_ref().filter(|new| !new.is_empty()) {
            *old = Some(new.clone());
        }
    };
    replace(&mut join.node.name, &flags.node_name);
    replace(&mut join.node.cri_socket, &flags.cri_socket);
    replace(&mut join.patches, &flags.patches);
    join.node.ignore_preflight_errors.extend_from_slice(&flags.ignore_preflight_errors);
    join.skip_phases = flags.skip_phases.clone().unwrap_or_else(|| std::mem::take(&mut join.skip_phases));
    join.dry_run = flags.dry_run.unwrap_or(join.dry_run);
}

/// The flags without a JoinConfiguration. A discovery file stands before a token, as in kubeadm.
fn alone(flags: &JoinFlags, mut others: OtherDocuments, warnings: &mut Vec<String>) -> ParsedDocuments {
    others.kubeadm = flags.control_plane.then(|| Kubeadm::of_join(as_document(flags)));
    let given = |token: &Option<Secret>| token.clone().filter(|token| !token.reveal().is_empty());
    let token = given(&flags.token);
    let mut join = RawJoin {
        node: RawNode::default(),
        tls_bootstrap_token: given(&flags.tls_bootstrap_token).or_else(|| token.clone()),
        role: if flags.control_plane { Role::ControlPlane } else { Role::Worker },
        ..RawJoin::default()
    };
    match flags.discovery_file.clone().filter(|file| !file.is_empty()) {
        Some(file) => join.file = Some(file),
        None => {
            join.bootstrap_token = Some(RawBootstrapToken {
                token: given(&flags.discovery_token).or(token),
                api_server_endpoint: flags.endpoints.first().cloned().unwrap_or_default(),
                ca_cert_hashes: flags.ca_cert_hashes.clone(),
                unsafe_skip_ca_verification: flags.unsafe_skip_ca_verification,
            });
        }
    }
    overlay(&mut join, flags);
    warnings.extend(about_flags(flags));
    ParsedDocuments { join, api_version: ApiVersion::V1beta4, others }
}

/// The flags as a JoinConfiguration without a version: only in a file may a node have arguments of the
/// kubelet.
fn as_document(flags: &JoinFlags) -> Value {
    let discovery = match &flags.discovery_file {
        Some(file) => json!({"file": {"kubeConfigPath": file}}),
        None => json!({"bootstrapToken": {
            "apiServerEndpoint": flags.endpoints.first(),
            "token": secret(&flags.discovery_token).or(secret(&flags.token)),
            "caCertHashes": flags.ca_cert_hashes,
            "unsafeSkipCAVerification": flags.unsafe_skip_ca_verification,
        }}),
    };
    let mut document = json!({
        "kind": "JoinConfiguration",
        "discovery": discovery,
        "controlPlane": {
            "localAPIEndpoint": {"advertiseAddress": flags.advertise_address, "bindPort": flags.bind_port},
            "certificateKey": secret(&flags.certificate_key),
        },
    });
    document["discovery"]["tlsBootstrapToken"] =
        json!(secret(&flags.tls_bootstrap_token).or(secret(&flags.token)));
    if let Some(patches) = &flags.patches {
        document["patches"] = json!({"directory": patches});
    }
    without_nulls(&mut document);
    document
}

fn secret(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().map(Secret::reveal)
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(without_nulls);
        fields.retain(|_, value| !value.is_null());
    }
}

fn about_flags(flags: &JoinFlags) -> Vec<String> {
    let mut warnings = Vec::new();
    if flags.endpoints.len() > 1 {
        warnings.push("more than one API server endpoint is given: the first one is used".to_owned());
    }
    if flags.discovery_file.is_some() && (flags.discovery_token.is_some() || !flags.endpoints.is_empty()) {
        warnings.push("the endpoint and --discovery-token are ignored: --discovery-file is given".to_owned());
    }
    let unused: Vec<&str> = flags.all_given().filter(|name| CONTROL_PLANE.contains(name)).collect();
    if !flags.control_plane && !unused.is_empty() {
        warnings.push(format!("without --control-plane these flags do nothing: {}", unused.join(", ")));
    }
    warnings
}
