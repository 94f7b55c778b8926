//! Which node config counts: the flags' and their file's, or what a source of this machine has.

use std::path::PathBuf;

use super::fetch::fetch;
use super::tell::Tell;
use crate::config::model::{FromFacts, NodeConfig};
use crate::config::{self, HostDefaults, flags, flags::JoinFlags};
use crate::document::UserData;
use crate::enrich::template::Names;
use crate::enrich::{self, Known, cloud_init, name};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::Evidence;
use crate::facts;
use crate::host::{machine, network, root::Root};
use crate::locations;
use crate::metadata::{self, Metadata};
use crate::platforms::detect::Detection;
use crate::policy::Policy;
use crate::userdata::{self, CarriedFile, Means, Opened};

/// A node config and where it came from.
pub struct Sourced {
    /// The node config.
    pub config: NodeConfig,
    /// `nocloud: /dev/vdb`
    pub source: String,
    /// The file of this machine in which a source found it.
    pub file: Option<PathBuf>,
    /// The source or place that has it; none for a config that a person gives.
    pub origin: Option<&'static str>,
    /// Files that came with it.
    pub carried: Vec<CarriedFile>,
    /// A file to be written once the machine has joined.
    pub sentinel: Option<String>,
}

/// The config that the flags give; without any, a source's. Beside it what is known of the machine: for a config that a person gives, only
/// when that asks for it, so that a plain one is kubeadm's.
pub fn by_hand(given: &JoinFlags, root: &Root, tell: Tell) -> Result<(Metadata, Sourced)> {
    if !is_given(given) {
        let nothing = || {
            Failure::new(ErrorKind::Config, "discovery: Invalid value: \"\": bootstrapToken or file must be set")
                .help("name a node config with --config FILE, or an endpoint with --token and --discovery-token-ca-cert-hash")
        };
        if !given.given.is_empty() {
            return Err(nothing());
        }
        let mut metadata = gather(root, tell)?;
        let sourced = of_machine(root, &mut metadata, tell)?.ok_or_else(nothing)?;
        return Ok((metadata, sourced));
    }
    let mut sourced = of_flags(given, root)?;
    let mut metadata = Metadata::default();
    if asks_for_facts(&sourced.config) {
        metadata = gather(root, tell)?;
        complete(&mut sourced.config, root, &metadata, tell)?;
    }
    Ok((metadata, sourced))
}

/// The config that the flags and their file give, as a person wrote it.
pub fn of_flags(given: &JoinFlags, root: &Root) -> Result<Sourced> {
    let mut given = given.clone();
    given.load_token_file()?;
    let path = given.config.clone();
    let bytes = path.as_deref().map(config::file::read).transpose()?;
    let config = flags::node_config(&given, bytes.as_deref(), &host(root))?;
    let source =
        path.map_or_else(|| "the command line".to_owned(), |path| format!("file: {}", path.display()));
    Ok(Sourced { config, source, file: None, origin: None, carried: Vec::new(), sentinel: None })
}

/// Whether a config that a person gives is to be completed by facts: a plain one is kubeadm's.
pub fn asks_for_facts(config: &NodeConfig) -> bool {
    config.agent.from_facts != FromFacts::default() || config.agent.token_from.is_some()
}

/// Whether flags give a config.
pub fn is_given(flags: &JoinFlags) -> bool {
    flags.config.is_some() || !flags.endpoints.is_empty() || flags.discovery_file.is_some()
}

/// What is known of this machine.
pub fn gather(root: &Root, tell: Tell) -> Result<Metadata> {
    let metadata = metadata::gather(root, &Policy::of(root)?, &|url: &str| fetch(root, url))?;
    Ok(told(metadata, tell))
}

/// The same, once the platform is known.
pub fn gather_at(evidence: &Evidence, detection: Detection, policy: &Policy, tell: Tell) -> Result<Metadata> {
    let metadata =
        metadata::gather_at(evidence, detection, policy, &|url: &str| fetch(evidence.root(), url))?;
    Ok(told(metadata, tell))
}

fn told(metadata: Metadata, tell: Tell) -> Metadata {
    metadata.notices.iter().for_each(|remark| tell.line(remark));
    metadata
}

/// Publishes the facts for other programs; those that cannot be published are no reason to fail.
pub fn publish(root: &Root, metadata: &Metadata, tell: Tell) {
    if metadata.platform.is_some()
        && let Err(failure) = facts::publish(root, &metadata.facts)
    {
        tell.line(&format!("warning: {failure}"));
    }
}

/// Completes a config by what is known of the machine.
pub fn complete(config: &mut NodeConfig, root: &Root, metadata: &Metadata, tell: Tell) -> Result<()> {
    let interfaces = root
        .is_machine()
        .then(|| network::addresses().into_iter().map(|address| address.ip).collect());
    let source = metadata.platform.map(|platform| platform);
    let known = Known { facts: &metadata.facts, source, names: Names::of(&metadata.facts, root), interfaces };
    enrich::enrich(config, &known)?.iter().for_each(|remark| tell.line(remark));
    Ok(())
}

/// What a node is called whose config says nothing: what the user-data calls the host, the platform's name for it, the host's own.
fn default_name(root: &Root, metadata: &Metadata, asked: Option<String>, tell: Tell) -> HostDefaults {
    let mut remarks = Vec::new();
    let by_platform = || {
        metadata
            .platform
            .and_then(|platform| name::by_platform(&metadata.facts, platform, &mut remarks))
    };
    let named = asked.filter(|name| !name::is_nameless(name)).or_else(by_platform);
    remarks.iter().for_each(|remark| tell.line(remark));
    named.map_or_else(|| host(root), |hostname| HostDefaults { hostname })
}

/// The config that a source of this machine has, completed by the facts; none when no source has one. Takes the user-data.
pub fn of_machine(root: &Root, metadata: &mut Metadata, tell: Tell) -> Result<Option<Sourced>> {
    let Some((name, user_data)) = metadata.user_data.take() else { return Ok(None) };
    let source = format!("{name}: {}", user_data.origin);
    let policy = Policy::of(root)?;
    let sourced = read(root, metadata, &policy, name, &user_data, tell)
        .map_err(|failure| failure.doing(format!("the node config from {source}")))?;
    match &sourced {
        Some(_) => tell.line(&format!("node config from {source}")),
        None => {
            let kind = userdata::kind(user_data.document.bytes()).word();
            tell.line(&format!("user-data of {source} is {kind} without a node config, and is ignored"));
        }
    }
    Ok(sourced)
}

fn read(
    root: &Root,
    metadata: &Metadata,
    policy: &Policy,
    name: &'static str,
    user_data: &UserData,
    tell: Tell,
) -> Result<Option<Sourced>> {
    let mut opened = open(root, metadata, policy, user_data)?;
    opened.remarks.iter().for_each(|remark| tell.line(remark));
    opened
        .signed_by
        .iter()
        .for_each(|key| tell.line(&format!("it is signed by the key {key}")));
    let host = default_name(root, metadata, opened.hostname.take(), tell);
    let Some(mut config) = opened.node_config(&host)? else {
        return if name == locations::FILE {
            Err(Failure::new(ErrorKind::Config, "no JoinConfiguration found in it"))
        } else {
            Ok(None)
        };
    };
    policy.check_secrets(name, &config)?;
    complete(&mut config, root, metadata, tell)?;
    let file = (name == locations::FILE).then(|| PathBuf::from(&user_data.origin));
    let source = format!("{name}: {}", user_data.origin);
    Ok(Some(Sourced {
        config,
        source,
        file,
        origin: Some(name),
        carried: opened.files,
        sentinel: opened.sentinel,
    }))
}

/// Opens user-data of any form.
fn open(root: &Root, metadata: &Metadata, policy: &Policy, user_data: &UserData) -> Result<Opened> {
    let names = Names::of(&metadata.facts, root);
    let means = Means {
        trust: &policy.trust,
        lookup: &|name| cloud_init::value(name, &names),
        fetch: &|pointer| fetch(root, pointer.url.reveal()),
    };
    userdata::open(user_data.document.bytes(), user_data.signature.as_deref(), &means)
}

fn host(root: &Root) -> HostDefaults {
    HostDefaults { hostname: machine::hostname(root).unwrap_or_else(machine::running_hostname) }
}
