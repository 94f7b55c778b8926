//! kube-proxy as a service of Windows: its configuration and its command line. Pure.
//!
//! The configuration is the cluster's, which kubeadm keeps for the DaemonSet on Linux, then the node config's
//! document over it, then what Windows needs. It lies where the DaemonSet has it.

use serde_json::{Map, Value, json};

use super::flannel::{Kind, Network};
use super::service_line::{Programs, joined};
use crate::config::{PROXY_KIND, PROXY_VERSION};
use crate::error::{ErrorKind, Failure, Result};
use crate::kubernetes::features::{Gate, proxy_gate};
use crate::kubernetes::version::Version;
use crate::paths;

/// What the configuration is made of.
pub struct Inputs<'a> {
    /// The cluster's document; none if the cluster has none.
    pub cluster: Option<&'a Value>,
    /// The node config's document.
    pub node_config: Option<&'a Value>,
    /// Its version.
    pub version: Version,
    /// The name of the node. Without it kube-proxy removes the endpoints of others.
    pub node: &'a str,
    /// The drive of the system.
    pub drive: &'a str,
    /// The network that the image's flannel makes.
    pub flannel: Option<&'a Network>,
    /// Whether the environment names the network (`KUBE_NETWORK`).
    pub is_network_in_environment: bool,
}

/// The whole configuration, but for the source VIP, which is known when the node has its subnet.
pub fn configuration(inputs: &Inputs) -> Result<Value> {
    let mut document = inputs.cluster.cloned().unwrap_or_else(|| json!({}));
    if let Some(over) = inputs.node_config {
        json_patch::merge(&mut document, over);
    }
    let Value::Object(fields) = &mut document else { return Err(no_mapping("it")) };
    fields.insert("apiVersion".to_owned(), json!(PROXY_VERSION));
    fields.insert("kind".to_owned(), json!(PROXY_KIND));
    // Windows has no other mode, and kube-proxy refuses those of Linux there.
    fields.insert("mode".to_owned(), json!("kernelspace"));
    fields.insert("hostnameOverride".to_owned(), json!(inputs.node));
    if is_unset(fields.get("clusterCIDR"))
        && let Some(pods) = inputs.flannel.and_then(|network| network.pods.as_deref())
    {
        fields.insert("clusterCIDR".to_owned(), json!(pods));
    }
    name_kubeconfig(mapping(fields, "clientConnection")?, inputs.drive);
    let winkernel = mapping(fields, "winkernel")?;
    name_network(winkernel, inputs)?;
    let is_overlay = needs_source_vip(winkernel, inputs.flannel);
    let returns_directly = returns_directly(winkernel, inputs);
    winkernel.insert("enableDSR".to_owned(), json!(returns_directly));
    let gates = mapping(fields, "featureGates")?;
    set_gate(gates, "WinDSR", returns_directly, inputs.version);
    set_gate(gates, "WinOverlay", is_overlay, inputs.version);
    Ok(document)
}

/// Whether kube-proxy needs an address of the node's pods: on flannel's overlay, unless it has one.
pub fn lacks_source_vip(document: &Value, flannel: Option<&Network>) -> bool {
    document["winkernel"]
        .as_object()
        .is_some_and(|winkernel| needs_source_vip(winkernel, flannel))
        && is_unset(document.pointer("/winkernel/sourceVip"))
}

/// The command line of the service. What is in the file of the configuration is not among the flags: there
/// kube-proxy would ignore it.
pub fn command_line(programs: &Programs, drive: &str, node: &str) -> String {
    let mut words = programs.words();
    words.push("--windows-service".to_owned());
    words.push(format!("--config={drive}{}", paths::KUBE_PROXY_CONFIG.replace('/', r"\")));
    words.push(format!("--hostname-override={node}"));
    joined(&words)
}

/// The kubeconfig that it names, else the DaemonSet's, with the drive: to client-go a path without it is
/// relative to the folder in which kube-proxy runs.
fn name_kubeconfig(connection: &mut Map<String, Value>, drive: &str) {
    let named = connection.get("kubeconfig").and_then(Value::as_str).filter(|path| !path.is_empty());
    let path = named.unwrap_or(paths::KUBE_PROXY_CREDENTIAL);
    let path = if path.starts_with('/') { format!("{drive}{path}") } else { path.to_owned() };
    connection.insert("kubeconfig".to_owned(), json!(path));
}

fn name_network(winkernel: &mut Map<String, Value>, inputs: &Inputs) -> Result<()> {
    if !is_unset(winkernel.get("networkName")) || inputs.is_network_in_environment {
        return Ok(());
    }
    let Some(network) = inputs.flannel else {
        let message = "kube-proxy does not know the network of the pods";
        return Err(Failure::new(ErrorKind::Config, message).help(
            "name it in a KubeProxyConfiguration of the node config (winkernel.networkName), or leave the layer windows-kube-proxy out where a DaemonSet runs kube-proxy",
        ));
    };
    winkernel.insert("networkName".to_owned(), json!(network.name));
    Ok(())
}

fn needs_source_vip(winkernel: &Map<String, Value>, flannel: Option<&Network>) -> bool {
    flannel.is_some_and(|network| {
        network.kind == Kind::Overlay && winkernel.get("networkName") == Some(&json!(network.name))
    })
}

/// Whether answers of a service go directly to who asked (DSR). kubeadm stores `false` for a cluster in which
/// nobody chose, so only the node config's `false` is a choice. Else it is on where Kubernetes says that it
/// is ready.
fn returns_directly(winkernel: &Map<String, Value>, inputs: &Inputs) -> bool {
    let chosen = inputs.node_config.and_then(|document| document.pointer("/winkernel/enableDSR"));
    let is_on = winkernel.get("enableDSR").and_then(Value::as_bool).unwrap_or(false);
    is_on || (chosen.is_none() && proxy_gate("WinDSR", inputs.version) != Gate::Off)
}

/// Switches a gate on where that is needed. A gate that is always on is not named: kube-proxy refuses to
/// switch it off, and releases after it do not know it.
fn set_gate(gates: &mut Map<String, Value>, name: &str, is_needed: bool, version: Version) {
    let state = proxy_gate(name, version);
    if state == Gate::Always {
        gates.remove(name);
    } else if is_needed && (state == Gate::Off || gates.contains_key(name)) {
        gates.insert(name.to_owned(), json!(true));
    }
}

fn is_unset(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_null() || value == "")
}

/// The mapping in a field, which is made if nothing is there.
fn mapping<'a>(fields: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Map<String, Value>> {
    let value = fields.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().ok_or_else(|| no_mapping(name))
}

fn no_mapping(what: &str) -> Failure {
    Failure::new(ErrorKind::Config, format!("the {PROXY_KIND} cannot be used: {what} is no mapping"))
        .help("look at the node config, and at the ConfigMap kube-proxy in kube-system")
}

#[cfg(test)]
#[path = "kube_proxy_tests.rs"]
mod tests;
