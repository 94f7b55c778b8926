//! The node config: the same for every version of kubeadm's API.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::kubeadm::Kubeadm;
use super::role::Role;
use crate::host::network;
use crate::kubernetes::token::Token;
use crate::net::Endpoint;
use crate::report::ReportTarget;
use crate::secret::Secret;

/// The node config, complete: defaults are applied and everything is validated.
#[derive(Clone)]
pub struct NodeConfig {
    /// kubeadm's JoinConfiguration.
    pub join: JoinConfiguration,
    /// A KubeletConfiguration document behind it: merged over the image's or the cluster's.
    pub kubelet: Option<serde_json::Value>,
    /// A KubeProxyConfiguration document behind it, on Windows.
    pub kube_proxy: Option<serde_json::Value>,
    /// How the agent itself behaves.
    pub agent: AgentConfiguration,
    /// What the real kubeadm gets, on a control plane.
    pub kubeadm: Option<Kubeadm>,
    /// Arguments of the kubelet from facts, see [`crate::enrich`]. They are not in the document.
    pub from_facts: Vec<Argument>,
    /// For the operator, such as unknown fields; never a secret.
    pub warnings: Vec<String>,
}

/// The versions of `kubeadm.k8s.io` that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// Kubernetes 1.15 to 1.26.
    V1beta2,
    /// Kubernetes 1.22 to 1.36.
    V1beta3,
    /// Kubernetes 1.31 and newer.
    V1beta4,
}

impl NodeConfig {
    /// The node's name as the kubelet uses it: the last `hostname-override` among its extra arguments, else
    /// the registered name.
    pub fn node_name(&self) -> String {
        let arguments = &self.join.node.kubelet_extra_args;
        let overriding = arguments
            .iter()
            .rev()
            .find(|argument| argument.name == "hostname-override" && !argument.value.trim().is_empty());
        overriding
            .map_or_else(|| self.join.node.name.clone(), |argument| argument.value.trim().to_lowercase())
    }

    /// Whether the config itself names the node, rather than the host.
    pub fn names_the_node(&self) -> bool {
        self.join.node.is_named || self.has_argument("hostname-override")
    }

    /// Whether the config sets this argument of the kubelet.
    pub fn has_argument(&self, name: &str) -> bool {
        self.argument(name).is_some()
    }

    /// The labels that the node registers with: those of the config and those from facts.
    pub fn labels(&self) -> Vec<&str> {
        let arguments = self.join.node.kubelet_extra_args.iter().chain(&self.from_facts);
        let labels = arguments.filter(|argument| argument.name == "node-labels");
        labels
            .flat_map(|argument| argument.value.split(','))
            .filter(|label| !label.is_empty())
            .collect()
    }

    /// The value of this argument of the kubelet, if the config sets it. The last one counts.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let mut arguments = self.join.node.kubelet_extra_args.iter().rev();
        arguments.find(|argument| argument.name == name).map(|argument| argument.value.as_str())
    }
}

impl fmt::Debug for NodeConfig {
    /// Without the KubeletConfiguration's values: `staticPodURLHeader`, for one, holds credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kubelet = self.kubelet.as_ref().map(|_| "…");
        let mut all = formatter.debug_struct("NodeConfig");
        all.field("join", &self.join).field("kubelet", &kubelet).field("agent", &self.agent);
        all.field("from_facts", &self.from_facts).field("warnings", &self.warnings).finish()
    }
}

/// kubeadm's JoinConfiguration, internal form.
#[derive(Debug, Clone)]
pub struct JoinConfiguration {
    /// The version it was written in.
    pub api_version: ApiVersion,
    /// This node.
    pub node: NodeRegistration,
    /// Where the cluster's CA is written: absolute, ends in `.crt`.
    pub ca_cert_path: PathBuf,
    /// How the API server is found and why it is trusted.
    pub discovery: Discovery,
    /// The token for the certificate request; none when a discovery file carries credentials.
    pub tls_bootstrap_token: Option<Token>,
    /// May be one that needs kubeadm, which the image may lack.
    pub role: Role,
    /// Phases to leave out, by kubeadm's names.
    pub skip_phases: Vec<String>,
    pub(crate) patches: Option<PathBuf>,
    /// Print the plan, change nothing.
    pub dry_run: bool,
    /// Bounds of the single steps.
    pub timeouts: Timeouts,
}

impl JoinConfiguration {
    /// The registration without the settings of the preflight checks.
    pub fn node_without_checks(&self) -> NodeRegistration {
        NodeRegistration { ignore_preflight_errors: Vec::new(), ..self.node.clone() }
    }
}

/// kubeadm's nodeRegistration.
#[derive(Debug, Clone)]
pub struct NodeRegistration {
    /// The node's name; the host's, lower-cased, when none is given.
    pub name: String,
    /// Whether the config gives the name.
    pub is_named: bool,
    /// The runtime's socket with its scheme; none to detect it.
    pub cri_socket: Option<String>,
    /// `None`: not said (a worker gets none). Empty: none.
    pub taints: Option<Vec<Taint>>,
    /// In the order given; a name may occur more than once in v1beta4.
    pub kubelet_extra_args: Vec<Argument>,
    /// Lower-cased names of checks; `all` alone stands for every one.
    pub ignore_preflight_errors: Vec<String>,
}

/// One argument of the kubelet, without its dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// `node-labels`
    pub name: String,
    /// `pool=a`
    pub value: String,
}

impl Argument {
    /// An argument as the kubelet reads it: an underscore in a name is a dash.
    pub(crate) fn new(name: &str, value: String) -> Self {
        Self { name: name.replace('_', "-"), value }
    }
}

/// A taint as the node registers itself with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    pub(crate) key: String,
    /// The value; may be empty.
    pub value: String,
    /// NoSchedule, PreferNoSchedule or NoExecute.
    pub effect: String,
}

impl Taint {
    /// The taints of a KubeletConfiguration.
    pub(crate) fn of_document(document: &Value) -> Vec<Self> {
        let taints = document["registerWithTaints"].as_array();
        let text = |taint: &Value, field| taint[field].as_str().unwrap_or_default().to_owned();
        let read = |taint| Self {
            key: text(taint, "key"),
            value: text(taint, "value"),
            effect: text(taint, "effect"),
        };
        taints.into_iter().flatten().map(read).collect()
    }
}

/// How the API server is found and trusted.
#[derive(Debug, Clone)]
pub enum Discovery {
    /// By a bootstrap token and the signed cluster-info.
    Token {
        /// Tried in turn; kubeadm has one.
        endpoints: Vec<Endpoint>,
        /// Verifies the signature of cluster-info.
        token: Token,
        /// Lower-case hex SHA-256 of public keys (SubjectPublicKeyInfo), without `sha256:`.
        pins: Vec<String>,
        /// Accept any CA whose cluster-info carries a valid signature. Said explicitly, never a default.
        unsafe_skip_ca_verification: bool,
    },
    /// As `Token`, with a token that is requested first ([`AgentConfiguration::token_from`]). Missing
    /// endpoints and pins come with it.
    RequestedToken {
        /// As above; may be empty.
        endpoints: Vec<Endpoint>,
        /// As above.
        pins: Vec<String>,
        /// As above.
        unsafe_skip_ca_verification: bool,
    },
    /// By a kubeconfig in a file.
    File(PathBuf),
    /// By a kubeconfig fetched from an `https://` URL, trusted by the system's CAs.
    Url(String),
}

/// kubeadm's `timeouts` (v1beta4); older versions have `discovery.timeout` and constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// 5 minutes.
    pub discovery: Duration,
    /// 1 minute.
    pub kubernetes_api_call: Duration,
    /// 5 minutes.
    pub tls_bootstrap: Duration,
    /// 4 minutes.
    pub kubelet_health_check: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            discovery: minutes(5),
            kubernetes_api_call: minutes(1),
            tls_bootstrap: minutes(5),
            kubelet_health_check: minutes(4),
        }
    }
}

/// The agent's own document, `apiVersion: firstboot.kiln/v1, kind: FirstbootConfiguration`: settings that
/// kubeadm does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfiguration {
    /// More API endpoints, tried in turn after the JoinConfiguration's.
    pub endpoints: Vec<Endpoint>,
    /// Which program requests the certificate.
    pub tls_bootstrap: TlsBootstrap,
    /// The bound of the whole join.
    pub deadline: Duration,
    /// The largest delay of a start that is spread by the machine's identity.
    pub spread: Duration,
    /// How long the container runtime may take to answer: it may import images before it serves.
    pub runtime_timeout: Duration,
    /// What to do with the machine after a failure, so that an autoscaler replaces it.
    pub on_failure: OnFailure,
    /// When the join counts as done.
    pub wait_for: WaitFor,
    /// How the facts of the machine are used.
    pub from_facts: FromFacts,
    /// The service that issues the token, where the JoinConfiguration has none.
    pub token_from: Option<TokenFrom>,
    /// Whether the metadata guard is on; none to follow the image's trust policy, else yes.
    pub guard_metadata: Option<bool>,
    /// Whether secrets are made unreadable at the platform once the machine has joined, where it lets us.
    pub scrub: bool,
    /// The report targets. None: those that the platform needs. Empty: no reports.
    pub report: Option<Vec<ReportTarget>>,
}

/// How the facts of the machine are used. Texts are templates, see [`super::template`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FromFacts {
    /// The provider-id; none for the platform's form.
    pub provider_id: Option<String>,
    /// The node's name; none to take the JoinConfiguration's, the platform's or the host's.
    pub node_name: Option<String>,
    /// The node's address.
    pub node_ip: NodeIp,
    pub(crate) labels: Wanted,
}

/// The address that the node is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeIp {
    /// By the rule: addresses that the platform names and an interface has, one of each family, that of the
    /// API endpoint first, private before public. Nothing where the platform names none.
    #[default]
    Auto,
    /// The platform's private address.
    Private,
    /// The platform's public address.
    Public,
    /// Leave it to the kubelet.
    None,
    /// This one.
    Address(IpAddr),
    /// These two, of different families.
    Both(IpAddr, IpAddr),
}

impl NodeIp {
    /// Reads `auto`, `private`, `public`, `none`, an address, or two addresses with a comma between them.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "private" => Some(Self::Private),
            "public" => Some(Self::Public),
            "none" => Some(Self::None),
            addresses => Self::parse_addresses(addresses),
        }
    }

    fn parse_addresses(text: &str) -> Option<Self> {
        let Some((first, second)) = text.split_once(',') else {
            return network::parse_address(text).map(Self::Address);
        };
        let (first, second) = (network::parse_address(first.trim())?, network::parse_address(second.trim())?);
        (first.is_ipv6() != second.is_ipv6()).then_some(Self::Both(first, second))
    }
}

/// The labels that the node is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Region, zone and kind of machine.
    pub topology: bool,
    /// Names of tags; one that ends in `*` stands for all that begin so.
    pub tags: Vec<String>,
    /// Labels by name, each with a template for its value.
    pub labels: Vec<(String, String)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { topology: true, tags: Vec::new(), labels: Vec::new() }
    }
}

impl Default for AgentConfiguration {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            tls_bootstrap: TlsBootstrap::Agent,
            deadline: Duration::from_secs(15 * 60),
            spread: Duration::ZERO,
            runtime_timeout: Duration::from_secs(90),
            on_failure: OnFailure::Nothing,
            wait_for: WaitFor::Kubelet,
            from_facts: FromFacts::default(),
            token_from: None,
            guard_metadata: None,
            scrub: true,
            report: None,
        }
    }
}

/// A service that issues a bootstrap token to this machine, and its trust. Unlike a token, it never expires
/// and may stay in a launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFrom {
    pub(crate) url: Secret,
    /// CAs in PEM; with neither these nor hashes, the image's.
    pub ca_cert: Option<String>,
    /// Lower-case hex SHA-256 of public keys, without `sha256:`.
    pub ca_cert_hashes: Vec<String>,
    /// How the machine proves its identity.
    pub identity: Proof,
    /// Files in PEM with a client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// How long it may take altogether.
    pub timeout: Duration,
}

/// How a machine proves its identity to the token service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    None,
    /// By a document that its platform signed.
    Platform,
    /// By a client certificate.
    Certificate,
}

/// Which program requests the kubelet's client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsBootstrap {
    /// The agent, before the kubelet starts.
    Agent,
    /// The kubelet, with a `bootstrap-kubelet.conf`.
    Kubelet,
}

/// What to do with the machine after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It stays up for debugging.
    Nothing,
    /// It powers off.
    PowerOff,
    /// It boots again.
    Reboot,
}

/// When a join counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// The kubelet runs and is healthy.
    Kubelet,
    /// The Node object exists.
    Registered,
    /// The Node is Ready.
    Ready,
}
