//! Chooses the node config: from the flags and their file, or from the platform or a location of this
//! machine.

use std::cell::RefCell;
use std::path::PathBuf;

use super::fetch::fetch;
use super::{Session, credentials, delivery, login_keys};
use crate::config::flags::{self, JoinFlags};
use crate::config::model::{FromFacts, NodeConfig, NodeIp};
use crate::config::{HostDefaults, file};
use crate::document::{Document, UserData};
use crate::enrich::variables::variables;
use crate::enrich::{self, KnownFacts, afterburn, name, node_ip};
use crate::error::{ErrorKind, Failure, Result};
use crate::facts::{self, Facts};
use crate::host::{machine, network, root::Root};
use crate::kubernetes::version::Version;
use crate::locations;
use crate::machine::kubelet_version as version_of_kubelet;
use crate::metadata::Metadata;
use crate::net::Deadline;
use crate::platforms::delivery::{Named, Remains};
use crate::userdata::{self, Elsewhere, Env, ExtraFile, ParsedUserData};

/// A node config, and where it came from.
pub struct ResolvedConfig {
    /// The config, completed with the machine's facts.
    pub config: NodeConfig,
    /// `nocloud: /dev/vdb`
    pub source: String,
    /// The file of this machine that it was read from.
    pub(crate) file: Option<PathBuf>,
    /// The name of the platform or location; none for a config from the command line.
    pub(crate) origin: Option<&'static str>,
    /// The identity of the disk that it was on.
    pub(crate) disk: Option<String>,
    /// Its extra files.
    pub(crate) files: Vec<ExtraFile>,
    /// The path of the sentinel file, which is written once the machine has joined.
    pub(crate) sentinel: Option<String>,
    /// What it left elsewhere, which is deleted once the machine has joined.
    pub(crate) remains: Vec<Remains>,
}

/// The config from the flags or, without any, from the machine. Also returns the metadata. With a config from
/// the flags, the metadata is read only if the config asks for it, so that a plain config works as with
/// kubeadm.
pub fn by_hand(session: &Session, flags: &JoinFlags) -> Result<(Metadata, ResolvedConfig)> {
    if is_given(flags) {
        let mut resolved = of_flags(session.root, flags)?;
        let mut metadata = Metadata::default();
        if asks_for_facts(&resolved.config) {
            metadata = session.gather(session.detect()?)?;
            complete(session, &mut resolved.config, &metadata)?;
        }
        return Ok((metadata, resolved));
    }
    let nothing = || {
        Failure::new(ErrorKind::Config, "discovery: Invalid value: \"\": bootstrapToken or file must be set")
            .help("name a node config with --config FILE, or an endpoint with --token and --discovery-token-ca-cert-hash")
    };
    if !flags.given.is_empty() {
        return Err(nothing());
    }
    let mut metadata = session.gather(session.detect()?)?;
    let resolved = of_machine(session, &mut metadata)?.ok_or_else(nothing)?;
    Ok((metadata, resolved))
}

/// The config from the flags and their file, without facts.
pub fn of_flags(root: &Root, flags: &JoinFlags) -> Result<ResolvedConfig> {
    let mut flags = flags.clone();
    flags.load_token_file()?;
    let path = flags.config.clone();
    let bytes = path.as_deref().map(file::read).transpose()?;
    let config = flags::node_config(&flags, bytes.as_deref(), &host(root))?;
    let source =
        path.map_or_else(|| "the command line".to_owned(), |path| format!("file: {}", path.display()));
    Ok(ResolvedConfig {
        config,
        source,
        file: None,
        origin: None,
        disk: None,
        files: Vec::new(),
        sentinel: None,
        remains: Vec::new(),
    })
}

/// Whether a config from the flags needs the facts of the machine.
pub fn asks_for_facts(config: &NodeConfig) -> bool {
    config.agent.from_facts != FromFacts::default() || config.agent.token_from.is_some()
}

/// Whether the flags name a config.
pub fn is_given(flags: &JoinFlags) -> bool {
    flags.config.is_some() || !flags.endpoints.is_empty() || flags.discovery_file.is_some()
}

/// Publishes the facts for other programs. A failure does not end the run.
pub(super) fn publish(session: &Session, metadata: &Metadata) {
    if metadata.platform.is_some()
        && let Err(failure) = facts::publish(session.root, &metadata.facts)
    {
        session.warn(failure);
    }
    if let Err(failure) = login_keys::publish(session.root, &metadata.instance_data) {
        session.warn(failure);
    }
}

/// Fills the machine's facts into the config.
pub fn complete(session: &Session, config: &mut NodeConfig, metadata: &Metadata) -> Result<()> {
    let filled = fill(session, config, metadata);
    filled.map_err(|failure| failure.after(&config.warnings))
}

fn fill(session: &Session, config: &mut NodeConfig, metadata: &Metadata) -> Result<()> {
    let root = session.root;
    let interfaces = root
        .is_machine()
        .then(|| network::addresses().into_iter().map(|address| address.ip).collect());
    let known = KnownFacts {
        facts: &metadata.facts,
        source: metadata.platform,
        variables: variables(&metadata.facts, root),
        interfaces,
        kubelet: kubelet_version(root, &metadata.facts, config),
    };
    session.print_all(&enrich::enrich(config, &known)?);
    Ok(())
}

/// The kubelet's version, if the node's addresses depend on it. Asking the kubelet may take a second.
fn kubelet_version(root: &Root, facts: &Facts, config: &NodeConfig) -> Option<Version> {
    let has_both = facts.addresses.value().is_some_and(|addresses| node_ip::are_of_both_families(addresses));
    let is_wanted = has_both || matches!(config.agent.from_facts.node_ip, NodeIp::Both(..));
    is_wanted.then(|| version_of_kubelet(root).ok()).flatten()
}

/// The machine's config, completed with its facts; none if neither platform nor location has one. Takes the
/// user data.
pub fn of_machine(session: &Session, metadata: &mut Metadata) -> Result<Option<ResolvedConfig>> {
    let Some((name, user_data)) = metadata.user_data.take() else { return Ok(None) };
    let source = format!("{name}: {}", user_data.origin);
    let resolved = read(session, metadata, name, &user_data)
        .map_err(|failure| failure.doing(format!("the node config from {source}")))?;
    if resolved.is_some() {
        session.print(&format!("node config from {source}"));
    } else {
        let kind = userdata::kind(user_data.document.bytes()).word();
        session.print(&format!("user data of {source} is {kind} without a node config, and is ignored"));
    }
    Ok(resolved)
}

fn read(
    session: &Session,
    metadata: &Metadata,
    name: &'static str,
    user_data: &UserData,
) -> Result<Option<ResolvedConfig>> {
    let (mut parsed, remains) = parse(session, metadata, name, user_data)?;
    session.print_all(&parsed.notices);
    parsed
        .signed_by
        .iter()
        .for_each(|key| session.print(&format!("it is signed by the key {key}")));
    let host = host_defaults(session, metadata, parsed.hostname.take());
    let hostname_problem = parsed.hostname_problem.take();
    let is_file = name == locations::FILE;
    let Some(mut config) = parsed.node_config(&host)? else {
        let missing = Failure::new(ErrorKind::Config, "no JoinConfiguration found in it");
        return if is_file { Err(missing) } else { Ok(None) };
    };
    let checked = without_host_name(hostname_problem, &config).and_then(|notices| {
        session.print_all(&notices);
        check_credentials(session, name, &config, &parsed.files)
    });
    checked.map_err(|failure| failure.after(&config.warnings))?;
    complete(session, &mut config, metadata)?;
    Ok(Some(ResolvedConfig {
        config,
        source: format!("{name}: {}", user_data.origin),
        file: is_file.then(|| PathBuf::from(&user_data.origin)),
        origin: Some(name),
        disk: user_data.disk.clone(),
        files: parsed.files,
        sentinel: parsed.sentinel,
        remains,
    }))
}

/// Fails if the trust policy does not accept a credential of the config from where it came.
fn check_credentials(session: &Session, name: &str, config: &NodeConfig, files: &[ExtraFile]) -> Result<()> {
    let policy = session.policy()?;
    let mut credentials = credentials::of(session.root, name, config, files).into_iter();
    credentials.try_for_each(|(what, origin)| policy.check_secret(what, origin))
}

/// What there is to say of a host name that is none: an error, unless the node has a name of its own.
fn without_host_name(problem: Option<Failure>, config: &NodeConfig) -> Result<Vec<String>> {
    match problem {
        Some(problem) if config.names_the_node() => {
            Ok(vec![format!("{problem}; it is not used: the node has a name of its own")])
        }
        Some(problem) => Err(problem),
        None => Ok(Vec::new()),
    }
}

/// Parses the user data of the platform or location `name`. Also returns what is left elsewhere.
fn parse(
    session: &Session,
    metadata: &Metadata,
    name: &'static str,
    user_data: &UserData,
) -> Result<(ParsedUserData, Vec<Remains>)> {
    let remains = RefCell::new(Vec::new());
    let env = Env {
        trust: &session.policy()?.trust,
        names: &|root, steps| metadata.instance_data.find(root, steps),
        lookup: &|name| variable(metadata, name),
        fetch: &|pointer| fetch(session.root, pointer.url.reveal(), Deadline::after(locations::LIMIT)),
        follow: &|elsewhere| follow(session, metadata, name, elsewhere, &remains),
    };
    let parsed = userdata::open(user_data.document.bytes(), user_data.signature.as_deref(), &env)?;
    Ok((parsed, remains.into_inner()))
}

/// Gets what the platform's own user data names, if the platform knows how.
fn follow(
    session: &Session,
    metadata: &Metadata,
    name: &'static str,
    elsewhere: &Elsewhere,
    remains: &RefCell<Vec<Remains>>,
) -> Result<Option<Document>> {
    let own = metadata.platform.filter(|platform| platform.name == name);
    let Some(follow) = own.and_then(|platform| platform.follow) else { return Ok(None) };
    let place = match elsewhere {
        Elsewhere::Boothook(script) => Named::Boothook(script.bytes()),
        Elsewhere::Ignition { url, .. } => Named::Ignition(url.reveal()),
        Elsewhere::Include(_) => return Ok(None),
    };
    let delivered = delivery::follow(session.root, &metadata.facts, |reach| follow(reach, place))?;
    Ok(delivered.map(|delivered| {
        session.print(&format!("{}: followed", elsewhere.describe()));
        remains.borrow_mut().extend(delivered.remains);
        delivered.document
    }))
}

/// A variable of commands in the user data.
fn variable(metadata: &Metadata, name: &str) -> Option<String> {
    let data = &metadata.instance_data;
    let known = afterburn::value(name, &metadata.facts, data).ok()?;
    known.or_else(|| data.text(name).filter(|_| name.contains('.')))
}

/// The node name if the config has none: the host name from the user data, else from the platform, else the
/// host's own.
fn host_defaults(session: &Session, metadata: &Metadata, from_user_data: Option<String>) -> HostDefaults {
    let mut notices = Vec::new();
    let by_platform = || name::by_platform(&metadata.facts, metadata.platform?, &mut notices);
    let named = from_user_data.filter(|name| !machine::is_placeholder_name(name)).or_else(by_platform);
    session.print_all(&notices);
    named.map_or_else(|| host(session.root), |hostname| HostDefaults { hostname })
}

fn host(root: &Root) -> HostDefaults {
    HostDefaults { hostname: machine::hostname(root).unwrap_or_else(machine::running_hostname) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstrapToken: {apiServerEndpoint: 'a:1', token: abcdef.0123456789abcdef, unsafeSkipCAVerification: true}}\n";
    const AGENT: &str = "---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\nnodeName: 'x'\n";

    #[test]
    fn a_bad_host_name_is_an_error_only_where_it_would_name_the_node() {
        let override_ = "nodeRegistration: {kubeletExtraArgs: [{name: hostname-override, value: n1}]}\n";
        for (more, is_error) in
            [("", true), ("nodeRegistration: {name: n1}\n", false), (override_, false), (AGENT, false)]
        {
            let host = HostDefaults { hostname: "host".to_owned() };
            let config = parse(format!("{JOIN}{more}").as_bytes(), &host).unwrap();
            let problem = Failure::new(ErrorKind::Config, "the cloud-config: hostname is no host name");
            let said = without_host_name(Some(problem), &config);
            assert_eq!(said.is_err(), is_error, "{more}");
            assert!(is_error || said.unwrap()[0].contains("it is not used"), "{more}");
            assert!(without_host_name(None, &config).unwrap().is_empty());
        }
    }
}
