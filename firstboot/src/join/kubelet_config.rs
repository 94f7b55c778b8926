//! `/var/lib/kubelet/config.yaml`. It starts with the KubeletConfiguration of the cluster or the image. Then
//! come, in this order: the node config's KubeletConfiguration, the image's proposals and kubeadm's defaults
//! for fields that neither sets, the patches, and this node's socket.

use serde_json::{Map, Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::join::patches::{self, Patch};
use crate::paths;

/// The `apiVersion` of a KubeletConfiguration.
pub const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";

/// systemd-resolved lists its upstream servers in this file. Its `/etc/resolv.conf` names only itself, and
/// pods cannot reach that address.
pub const RESOLVED: &str = paths::RESOLVED_CONF;

/// Input of the defaults.
#[derive(Debug, Default)]
pub struct Defaults<'a> {
    /// `networking.serviceSubnet` of the cluster.
    pub service_subnet: Option<&'a str>,
    /// `networking.dnsDomain` of the cluster.
    pub dns_domain: Option<&'a str>,
    /// `certificatesDir` of the cluster.
    pub certificates_dir: Option<&'a str>,
    /// Whether systemd-resolved runs on this node.
    pub resolved_is_active: bool,
    /// The cgroup driver if no config names one; none for the kubelet's default.
    pub cgroup_driver: Option<&'a str>,
    /// What the image proposes where nobody says anything, see [`crate::join::node_defaults`].
    pub proposed: Map<String, Value>,
    /// The drive of the system (`C:`) of a machine with Windows.
    pub drive: Option<&'a str>,
    /// The socket in this node's configuration; patches cannot change it (from 1.34 on).
    pub instance_socket: Option<&'a str>,
}

/// The whole configuration. `over` is the node config's own KubeletConfiguration document.
pub fn configuration(
    base: &Value,
    over: Option<&Value>,
    defaults: &Defaults<'_>,
    patches: &[Patch],
) -> Result<Value> {
    if !base.is_object() {
        let failure =
            Failure::new(ErrorKind::Refused, "the kubelet configuration of the cluster is no mapping");
        return Err(failure.help("look at the ConfigMap kubelet-config in kube-system"));
    }
    let mut document = with(base, over, &defaults.proposed);
    complete(&mut document, defaults);
    if let Some(drive) = defaults.drive {
        fit_windows(&mut document, drive);
    }
    let mut document = patches::apply(document, patches)?;
    if let Some(socket) = defaults.instance_socket {
        document["containerRuntimeEndpoint"] = Value::from(socket);
    }
    Ok(document)
}

/// `base` with the node config's document over it, and the proposals.
pub fn with(base: &Value, over: Option<&Value>, proposed: &Map<String, Value>) -> Value {
    let mut document = base.clone();
    if let Some(over) = over {
        json_patch::merge(&mut document, over);
    }
    for (field, value) in proposed {
        document[field] = value.clone();
    }
    document
}

/// Sets kubeadm's defaults. `rotateCertificates` is always on: without it the node stops working after a
/// year.
fn complete(document: &mut Value, defaults: &Defaults<'_>) {
    let ca =
        format!("{}/ca.crt", defaults.certificates_dir.unwrap_or(paths::CERTIFICATES).trim_end_matches('/'));
    default(document, &["apiVersion"], json!(API_VERSION));
    default(document, &["kind"], json!("KubeletConfiguration"));
    default(document, &["staticPodPath"], json!(paths::MANIFESTS));
    if let Some(address) = defaults.service_subnet.and_then(dns_address) {
        default(document, &["clusterDNS"], json!([address]));
    }
    if let Some(domain) = defaults.dns_domain.filter(|domain| !domain.is_empty()) {
        default(document, &["clusterDomain"], json!(domain));
    }
    default(document, &["authentication", "x509", "clientCAFile"], json!(ca));
    default(document, &["authentication", "anonymous", "enabled"], json!(false));
    default(document, &["authentication", "webhook", "enabled"], json!(true));
    default(document, &["authorization", "mode"], json!("Webhook"));
    default(document, &["healthzBindAddress"], json!("127.0.0.1"));
    default(document, &["healthzPort"], json!(10248));
    document["rotateCertificates"] = Value::Bool(true);
    if let Some(driver) = defaults.cgroup_driver {
        default(document, &["cgroupDriver"], json!(driver));
    }
    if defaults.resolved_is_active {
        default(document, &["resolvConf"], json!(RESOLVED));
    }
}

/// What kubeadm from 1.23 on changes on Windows: paths get the drive of the system, because the kubelet may
/// run on another one, and pods get no resolver of the host
/// (`cmd/kubeadm/app/componentconfigs/kubelet_windows.go`).
fn fit_windows(document: &mut Value, drive: &str) {
    for path in ["/staticPodPath", "/authentication/x509/clientCAFile"] {
        if let Some(Value::String(text)) = document.pointer_mut(path)
            && text.starts_with('/')
        {
            text.insert_str(0, drive);
        }
    }
    document["resolvConf"] = json!("");
}

/// Sets `value` at `path` if nothing is set there. To the kubelet, missing, null and an empty text or list
/// are the same.
fn default(document: &mut Value, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(map) = document.as_object_mut() else { return };
    let entry = map.entry(*key).or_insert(Value::Null);
    if !rest.is_empty() {
        if entry.is_null() {
            *entry = json!({});
        }
        return default(entry, rest, value);
    }
    let empty = match &*entry {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if empty {
        *entry = value;
    }
}

/// The cluster's DNS service: the tenth address of the (first) service subnet.
pub fn dns_address(subnets: &str) -> Option<String> {
    let (network, bits) = subnets.split(',').next()?.trim().split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    match network.parse().ok()? {
        std::net::IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Some(std::net::Ipv4Addr::from((u32::from(address) & mask).checked_add(10)?).to_string())
        }
        std::net::IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            Some(std::net::Ipv6Addr::from((u128::from(address) & mask).checked_add(10)?).to_string())
        }
    }
}

/// The address of the kubelet's `/healthz`; none if the configuration switches it off.
pub fn healthz(configuration: &Value) -> Option<(String, u16)> {
    let port = configuration.get("healthzPort").and_then(Value::as_u64).unwrap_or(10248);
    let address = configuration
        .get("healthzBindAddress")
        .and_then(Value::as_str)
        .filter(|address| !address.is_empty());
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    Some((address.unwrap_or("127.0.0.1").to_owned(), port))
}

/// `/var/lib/kubelet/instance-config.yaml`.
pub fn instance_config(socket: &str) -> String {
    format!("containerRuntimeEndpoint: {}\n", Value::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_what_is_not_said_and_nothing_else() {
        let defaults = Defaults {
            service_subnet: Some("10.96.0.0/12,fd00::/112"),
            dns_domain: Some("cluster.local"),
            cgroup_driver: Some("systemd"),
            resolved_is_active: true,
            ..Defaults::default()
        };
        let base = json!({
            "clusterDNS": [], "clusterDomain": "", "resolvConf": "/mine", "healthzPort": 0, "rotateCertificates": false,
            "authentication": {"anonymous": {"enabled": true}, "x509": null},
        });
        let expected = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "staticPodPath": "/etc/kubernetes/manifests",
            "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local", "resolvConf": "/mine", "healthzPort": 0,
            "healthzBindAddress": "127.0.0.1", "rotateCertificates": true, "cgroupDriver": "systemd", "authorization": {"mode": "Webhook"},
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": true}, "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
        });
        assert_eq!(configuration(&base, None, &defaults, &[]).unwrap(), expected);
    }

    #[test]
    fn on_windows_paths_have_a_drive_and_pods_no_resolver_of_the_host() {
        let base = json!({"resolvConf": "/run/systemd/resolve/resolv.conf", "staticPodPath": "/etc/kubernetes/manifests"});
        let defaults = Defaults { drive: Some("C:"), ..Defaults::default() };
        let made = configuration(&base, None, &defaults, &[]).unwrap();
        assert_eq!(
            (&made["staticPodPath"], made.pointer("/authentication/x509/clientCAFile"), &made["resolvConf"]),
            (&json!("C:/etc/kubernetes/manifests"), Some(&json!("C:/etc/kubernetes/pki/ca.crt")), &json!(""))
        );
        let own = json!({"staticPodPath": "D:/pods"});
        assert_eq!(configuration(&base, Some(&own), &defaults, &[]).unwrap()["staticPodPath"], "D:/pods");
    }

    #[test]
    fn the_node_configs_document_lies_over_the_clusters_and_the_instance_wins_over_all() {
        let base = json!({"maxPods": 1, "clusterDNS": ["10.0.0.10"], "evictionHard": {"a": "1"}});
        let over = json!({"maxPods": 33, "clusterDNS": ["169.254.20.10"], "evictionHard": {"b": "2"}, "containerRuntimeEndpoint": "unix:///no"});
        let defaults = Defaults { instance_socket: Some("unix:///c.sock"), ..Defaults::default() };
        let made = configuration(&base, Some(&over), &defaults, &[]).unwrap();
        assert_eq!((&made["maxPods"], &made["clusterDNS"]), (&json!(33), &json!(["169.254.20.10"])));
        assert_eq!(
            (&made["evictionHard"], &made["containerRuntimeEndpoint"]),
            (&json!({"a": "1", "b": "2"}), &json!("unix:///c.sock"))
        );
        assert!(made.get("cgroupDriver").is_none() && made.get("resolvConf").is_none());
        assert_eq!(configuration(&json!("x"), None, &defaults, &[]).unwrap_err().kind, ErrorKind::Refused);
    }

    #[test]
    fn dns_is_the_tenth_address_of_the_first_subnet() {
        for (subnets, expected) in [
            ("10.96.0.0/12", Some("10.96.0.10")),
            ("10.100.3.7/16, fd00::/112", Some("10.100.0.10")),
            ("fd00:1::/112", Some("fd00:1::a")),
            ("0.0.0.0/0", Some("0.0.0.10")),
            ("10.96.0.0/33", None),
            ("255.255.255.255/32", None),
            ("10.96.0.0", None),
            ("", None),
        ] {
            assert_eq!(dns_address(subnets).as_deref(), expected, "{subnets}");
        }
    }

    #[test]
    fn health_is_where_the_configuration_says() {
        assert_eq!(healthz(&json!({})), Some(("127.0.0.1".to_owned(), 10248)));
        assert_eq!(
            healthz(&json!({"healthzPort": 1, "healthzBindAddress": "::1"})),
            Some(("::1".to_owned(), 1))
        );
        assert_eq!(healthz(&json!({"healthzPort": 0})), None);
    }
}
