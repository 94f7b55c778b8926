//! Which node config counts: the flags' and their file's, or what a source of this machine has.

use std::path::PathBuf;
use std::time::Duration;

use super::tell::Tell;
use crate::api::retry::{self, Backoff};
use crate::api::trust::Authorities;
use crate::api::{Deadline, Network, plain};
use crate::cli::{host_defaults, read_node_config};
use crate::config::model::{FromFacts, NodeConfig};
use crate::config::{self, HostDefaults, flags, flags::JoinFlags};
use crate::enrich::template::Names;
use crate::enrich::{self, Known, name};
use crate::error::{Class, Failure, Result};
use crate::facts;
use crate::host::{machine, network, root::Root};
use crate::join::discovery;
use crate::kubernetes::endpoint::Endpoint;
use crate::metadata::{self, Metadata};
use crate::source::{self, Document};
use crate::userdata::{self, Kind};

/// How long a URL may take; the network may come up only now.
const URL_LIMIT: Duration = Duration::from_secs(180);

/// A node config and where it came from.
pub struct Sourced {
    /// The node config.
    pub config: NodeConfig,
    /// `nocloud: /dev/vdb`
    pub source: String,
    /// The file of this machine in which a source found it.
    pub file: Option<PathBuf>,
}

/// The config that the flags give; without any, a source's. Beside it what is known of the machine: for a config that a person gives, only
/// when that asks for it, so that a plain one is kubeadm's.
pub fn by_hand(given: &JoinFlags, root: &Root, tell: Tell) -> Result<(Metadata, Sourced)> {
    let mut given = given.clone();
    if !is_given(&given) {
        let nothing = || {
            Failure::new(Class::Config, "discovery: Invalid value: \"\": bootstrapToken or file must be set")
                .help("name a node config with --config FILE, or an endpoint with --token and --discovery-token-ca-cert-hash")
        };
        if !given.given.is_empty() {
            return Err(nothing());
        }
        let mut metadata = gather(root, tell)?;
        let sourced = of_machine(root, &mut metadata, tell)?.ok_or_else(nothing)?;
        return Ok((metadata, sourced));
    }
    given.load_token_file()?;
    let path = given.config.clone();
    let bytes = path.as_deref().map(read_node_config).transpose()?;
    let mut config = flags::node_config(&given, bytes.as_deref(), &host(root)?)?;
    let source = path.map_or_else(|| "the command line".to_owned(), |path| format!("file: {}", path.display()));
    let mut metadata = Metadata::default();
    if config.agent.from_facts != FromFacts::default() {
        metadata = gather(root, tell)?;
        complete(&mut config, root, &metadata, tell)?;
    }
    Ok((metadata, Sourced { config, source, file: None }))
}

/// Whether flags give a config.
pub fn is_given(flags: &JoinFlags) -> bool {
    flags.config.is_some() || !flags.endpoints.is_empty() || flags.discovery_file.is_some()
}

/// What is known of this machine.
pub fn gather(root: &Root, tell: Tell) -> Result<Metadata> {
    let metadata = metadata::gather(root, None, &|url: &str| fetch(root, url))?;
    metadata.remarks.iter().for_each(|remark| tell.line(remark));
    Ok(metadata)
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
fn complete(config: &mut NodeConfig, root: &Root, metadata: &Metadata, tell: Tell) -> Result<()> {
    let interfaces = root.is_machine().then(|| network::addresses().into_iter().map(|address| address.ip).collect());
    let source = metadata.platform.map(|platform| platform.source);
    let known = Known { facts: &metadata.facts, source, names: Names::of(&metadata.facts, root), interfaces };
    enrich::enrich(config, &known)?.iter().for_each(|remark| tell.line(remark));
    Ok(())
}

/// What a node is called whose config says nothing: the platform's name for it, else the host's own.
fn default_name(root: &Root, metadata: &Metadata, tell: Tell) -> Result<HostDefaults> {
    let mut remarks = Vec::new();
    let by_platform = metadata.platform.and_then(|platform| name::by_platform(&metadata.facts, platform.source, &mut remarks));
    remarks.iter().for_each(|remark| tell.line(remark));
    by_platform.map_or_else(|| host(root), |hostname| Ok(HostDefaults { hostname }))
}

/// The config that a source of this machine has, completed by the facts; none when no source has one. Takes the user-data.
pub fn of_machine(root: &Root, metadata: &mut Metadata, tell: Tell) -> Result<Option<Sourced>> {
    let Some((name, user_data)) = metadata.user_data.take() else { return Ok(None) };
    let source = format!("{name}: {}", user_data.origin);
    let kind = userdata::kind(user_data.document.bytes());
    if kind != Kind::NodeConfig && name != source::FILE {
        tell.line(&format!("user-data of {source} is {}, not a node config, and is ignored", kind.word()));
        return Ok(None);
    }
    tell.line(&format!("node config from {source}"));
    let host = default_name(root, metadata, tell)?;
    let config = config::parse(user_data.document.bytes(), &host).and_then(|mut config| {
        complete(&mut config, root, metadata, tell)?;
        Ok(config)
    });
    let config = config.map_err(|failure| failure.doing(format!("the node config from {source}")))?;
    let file = (name == source::FILE).then(|| PathBuf::from(&user_data.origin));
    Ok(Some(Sourced { config, source, file }))
}

fn host(root: &Root) -> Result<HostDefaults> {
    match machine::hostname(root) {
        Some(hostname) => Ok(HostDefaults { hostname }),
        None => host_defaults(),
    }
}

/// Gets what a URL of the kernel command line names.
fn fetch(root: &Root, url: &str) -> Result<Document> {
    let (network, deadline) = (Network::new(root.clone()), Deadline::after(URL_LIMIT));
    let bytes = match url.strip_prefix("http://") {
        Some(rest) => fetch_plain(&network, rest, deadline)?,
        None => discovery::fetch(&network, url, &Authorities::system()?, deadline, &mut Backoff::new())?,
    };
    Document::new(bytes.into()).ok_or_else(|| Failure::new(Class::Source, format!("it is longer than {} bytes", source::document::LIMIT)))
}

fn fetch_plain(network: &Network, rest: &str, deadline: Deadline) -> Result<Vec<u8>> {
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port =
        if authority.rsplit(']').next().is_some_and(|tail| tail.contains(':')) { authority.to_owned() } else { format!("{authority}:80") };
    let endpoint: Endpoint = with_port.parse().map_err(|why| Failure::new(Class::Source, format!("the URL's host: {why}")))?;
    let mut backoff = Backoff::new();
    retry::until(deadline, &mut backoff, || {
        let answer = plain::get(network, &endpoint, path, source::document::LIMIT, deadline.within(network.request_timeout))?;
        match answer.status {
            200 => Ok(answer.body),
            status => {
                let failure = Failure::new(Class::Source, format!("http://{endpoint} answers {status}"));
                Err(if status >= 500 || status == 404 { failure.transient() } else { failure }.into())
            }
        }
    })
}
