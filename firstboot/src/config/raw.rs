//! A JoinConfiguration or flags before defaults and validation: the same for every version.

use std::time::Duration;

use super::fields::{Fields, Unknown};
use super::model::{ApiVersion, Argument, Taint};
use super::role::Role;
use crate::error::Result;
use crate::paths;
use crate::secret::Secret;

/// A join as written.
#[derive(Default)]
pub struct RawJoin {
    pub node: RawNode,
    pub ca_cert_path: Option<String>,
    pub bootstrap_token: Option<RawBootstrapToken>,
    /// `discovery.file.kubeConfigPath`
    pub file: Option<String>,
    pub tls_bootstrap_token: Option<Secret>,
    pub role: Role,
    pub skip_phases: Vec<String>,
    pub patches: Option<String>,
    pub dry_run: bool,
    pub timeouts: RawTimeouts,
}

/// nodeRegistration as written.
#[derive(Default)]
pub struct RawNode {
    pub name: Option<String>,
    pub cri_socket: Option<String>,
    pub taints: Option<Vec<Taint>>,
    pub kubelet_extra_args: Vec<Argument>,
    pub ignore_preflight_errors: Vec<String>,
    pub image_pull_policy: Option<String>,
}

/// discovery.bootstrapToken as written.
#[derive(Default)]
pub struct RawBootstrapToken {
    pub token: Option<Secret>,
    pub api_server_endpoint: String,
    pub ca_cert_hashes: Vec<String>,
    pub unsafe_skip_ca_verification: bool,
}

/// Only the bounds that were given.
#[derive(Default)]
pub struct RawTimeouts {
    pub discovery: Option<Duration>,
    pub kubernetes_api_call: Option<Duration>,
    pub tls_bootstrap: Option<Duration>,
    pub kubelet_health_check: Option<Duration>,
}

/// Reads a JoinConfiguration of `version`; fields that this version does not have are in `unknown`.
pub fn read(mut document: Fields<'_>, version: ApiVersion, unknown: &mut Vec<Unknown>) -> Result<RawJoin> {
    document.skip("apiVersion");
    document.skip("kind");
    let mut raw = RawJoin { ca_cert_path: given(document.text("caCertPath")?), ..RawJoin::default() };
    if let Some(discovery) = document.fields("discovery")? {
        read_discovery(discovery, version, &mut raw, unknown)?;
    }
    if let Some(node) = document.fields("nodeRegistration")? {
        raw.node = read_node(node, version, unknown)?;
    }
    if let Some(control_plane) = document.fields("controlPlane")? {
        raw.role = Role::ControlPlane;
        read_control_plane(control_plane, unknown)?;
    }
    if version >= ApiVersion::V1beta3 {
        raw.skip_phases = document.texts("skipPhases")?;
        if let Some(mut patches) = document.fields("patches")? {
            raw.patches = given(patches.text("directory")?);
            patches.finish(unknown);
        }
    }
    if version >= ApiVersion::V1beta4 {
        raw.dry_run = document.flag("dryRun")?.unwrap_or_default();
        if let Some(timeouts) = document.fields("timeouts")? {
            raw.timeouts = read_timeouts(timeouts, unknown)?;
        }
    }
    document.finish(unknown);
    Ok(raw)
}

/// Reads the parts of an InitConfiguration that the agent uses too. kubeadm checks the others.
pub fn read_init(
    mut document: Fields<'_>,
    version: ApiVersion,
    unknown: &mut Vec<Unknown>,
) -> Result<RawJoin> {
    let mut raw = RawJoin {
        role: Role::FirstControlPlane,
        // What kubeadm init writes: the way to the cluster that it makes.
        file: Some(paths::ADMIN_CONF.to_owned()),
        ..RawJoin::default()
    };
    if let Some(node) = document.fields("nodeRegistration")? {
        raw.node = read_node(node, version, unknown)?;
    }
    if version >= ApiVersion::V1beta4 {
        raw.dry_run = document.flag("dryRun")?.unwrap_or_default();
    }
    Ok(raw)
}

/// An empty text is the same as none, as in Go.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn secret(text: Option<String>) -> Option<Secret> {
    given(text).map(Secret::new)
}

fn read_discovery(
    mut discovery: Fields<'_>,
    version: ApiVersion,
    raw: &mut RawJoin,
    unknown: &mut Vec<Unknown>,
) -> Result<()> {
    if let Some(mut token) = discovery.fields("bootstrapToken")? {
        raw.bootstrap_token = Some(RawBootstrapToken {
            token: secret(token.text("token")?),
            api_server_endpoint: token.text("apiServerEndpoint")?.unwrap_or_default(),
            ca_cert_hashes: token.texts("caCertHashes")?,
            unsafe_skip_ca_verification: token.flag("unsafeSkipCAVerification")?.unwrap_or_default(),
        });
        token.finish(unknown);
    }
    if let Some(mut file) = discovery.fields("file")? {
        raw.file = Some(file.text("kubeConfigPath")?.unwrap_or_default());
        file.finish(unknown);
    }
    raw.tls_bootstrap_token = secret(discovery.text("tlsBootstrapToken")?);
    if version < ApiVersion::V1beta4 {
        raw.timeouts.discovery = discovery.duration("timeout")?;
    }
    discovery.finish(unknown);
    Ok(())
}

fn read_node(mut node: Fields<'_>, version: ApiVersion, unknown: &mut Vec<Unknown>) -> Result<RawNode> {
    let mut raw = RawNode {
        name: given(node.text("name")?),
        cri_socket: given(node.text("criSocket")?),
        taints: read_taints(&mut node, unknown)?,
        kubelet_extra_args: read_arguments(&mut node, version, unknown)?,
        ignore_preflight_errors: node.texts("ignorePreflightErrors")?,
        image_pull_policy: None,
    };
    if version >= ApiVersion::V1beta3 {
        raw.image_pull_policy = given(node.text("imagePullPolicy")?);
    }
    if version >= ApiVersion::V1beta4 {
        node.flag("imagePullSerial")?;
    }
    node.finish(unknown);
    Ok(raw)
}

fn read_taints(node: &mut Fields<'_>, unknown: &mut Vec<Unknown>) -> Result<Option<Vec<Taint>>> {
    let Some(list) = node.list("taints")? else { return Ok(None) };
    let mut taints = Vec::new();
    for mut taint in list {
        taints.push(Taint {
            key: taint.text("key")?.unwrap_or_default(),
            value: taint.text("value")?.unwrap_or_default(),
            effect: taint.text("effect")?.unwrap_or_default(),
        });
        taint.skip("timeAdded");
        taint.finish(unknown);
    }
    Ok(Some(taints))
}

/// A list in v1beta4; a map before, in the order of its names.
fn read_arguments(
    node: &mut Fields<'_>,
    version: ApiVersion,
    unknown: &mut Vec<Unknown>,
) -> Result<Vec<Argument>> {
    const NAME: &str = "kubeletExtraArgs";
    if version < ApiVersion::V1beta4 {
        let mut arguments = node.text_map(NAME)?;
        arguments.sort();
        return Ok(arguments.into_iter().map(|(name, value)| Argument::new(&name, value)).collect());
    }
    let mut arguments = Vec::new();
    for mut argument in node.list(NAME)?.unwrap_or_default() {
        let (name, value) =
            (argument.text("name")?.unwrap_or_default(), argument.text("value")?.unwrap_or_default());
        arguments.push(Argument::new(&name, value));
        argument.finish(unknown);
    }
    Ok(arguments)
}

/// kubeadm reads the values itself.
fn read_control_plane(mut control_plane: Fields<'_>, unknown: &mut Vec<Unknown>) -> Result<()> {
    if let Some(mut endpoint) = control_plane.fields("localAPIEndpoint")? {
        endpoint.text("advertiseAddress")?;
        endpoint.skip("bindPort");
        endpoint.finish(unknown);
    }
    control_plane.text("certificateKey")?;
    control_plane.finish(unknown);
    Ok(())
}

/// Reads `timeouts` of v1beta4.
pub fn read_timeouts(mut timeouts: Fields<'_>, unknown: &mut Vec<Unknown>) -> Result<RawTimeouts> {
    for name in ["controlPlaneComponentHealthCheck", "etcdAPICall", "upgradeManifests"] {
        timeouts.duration(name)?;
    }
    let raw = RawTimeouts {
        discovery: timeouts.duration("discovery")?,
        kubernetes_api_call: timeouts.duration("kubernetesAPICall")?,
        tls_bootstrap: timeouts.duration("tlsBootstrap")?,
        kubelet_health_check: timeouts.duration("kubeletHealthCheck")?,
    };
    timeouts.finish(unknown);
    Ok(raw)
}
