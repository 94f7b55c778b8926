//! Labels that a node may give itself
//! (<https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction>).
//!
//! The kubelet checks its own `--node-labels` before anything else and does not start with a wrong one.

/// Keys of Kubernetes' own namespaces that are allowed one by one.
const ALLOWED: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// Whether a node may set the label with this key on itself.
pub fn may_set_itself(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let is_or_below = |domain: &str| namespace.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !is_or_below("kubernetes.io") && !is_or_below("k8s.io") {
        return true;
    }
    ALLOWED.contains(&key) || is_or_below("kubelet.kubernetes.io") || is_or_below("node.kubernetes.io")
}

/// The keys in a value of `--node-labels` (`a=b,c=d`) that the kubelet will refuse.
pub fn refused(node_labels: &str) -> Vec<&str> {
    let keys = node_labels.split(',').map(|label| label.split('=').next().unwrap_or_default().trim());
    keys.filter(|key| !may_set_itself(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_labels_of_kubernetes_itself_are_free() {
        for key in
            ["pool", "example.com/x", "topology.kubernetes.io/zone", "node.kubernetes.io/x", "a.kubelet.kubernetes.io/x", "xk8s.io/x", ""]
        {
            assert!(may_set_itself(key), "{key}");
        }
        for key in [
            "node-role.kubernetes.io/worker",
            "node-restriction.kubernetes.io/x",
            "kubernetes.io/x",
            "x.k8s.io/y",
            "xnode.kubernetes.io/y",
            "a.topology.kubernetes.io/zone",
        ] {
            assert!(!may_set_itself(key), "{key}");
        }
    }

    #[test]
    fn names_what_is_wrong_in_an_argument() {
        assert_eq!(refused("pool=a,node-role.kubernetes.io/worker=,topology.kubernetes.io/zone=z1"), ["node-role.kubernetes.io/worker"]);
        assert_eq!(refused(""), Vec::<&str>::new());
    }
}
