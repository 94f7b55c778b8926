//! Pods on the machines of a test, with the only image that is preloaded there.

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::join_support::eventually;
use crate::kiln::BUSYBOX;

/// The network of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The pod network, as for most pods.
    OfPods,
    /// The host network.
    OfTheMachine,
}

/// A pod of busybox on `node` that runs a line of shell. `more` is merged into its spec.
pub fn create(control_plane: &ControlPlane, node: &str, name: &str, line: &str, more: &Value, ports: &Value) {
    let container = json!({"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", line], "ports": ports});
    let mut spec = json!({"nodeName": node, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}], "containers": [container]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    // The namespace's service account appears a moment after the control plane is up.
    eventually("the account of pods", || {
        control_plane.get("/api/v1/namespaces/default/serviceaccounts/default").ok_or(Value::Null)
    });
    control_plane.create(
        "/api/v1/namespaces/default/pods",
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}),
    );
}

/// A pod; null if there is none with this name.
pub fn read(control_plane: &ControlPlane, name: &str) -> Value {
    control_plane
        .get(&format!("/api/v1/namespaces/default/pods/{name}"))
        .unwrap_or(Value::Null)
}

/// The answer that a new pod, `name`, gets from `url`, with the exit code. The pod returns it as its
/// termination message.
pub fn answer_to(
    control_plane: &ControlPlane,
    node: &str,
    name: &str,
    network: Network,
    url: &str,
) -> String {
    let line = format!(
        "exec > /dev/termination-log 2>&1; for i in 1 2 3 4 5 6 7 8 9; do /bin/busybox timeout 5 wget -q -O /tmp/answer {url} && cat /tmp/answer && exit; sleep 1; done; exit 1"
    );
    let more = json!({"restartPolicy": "Never", "hostNetwork": network == Network::OfTheMachine});
    create(control_plane, node, name, &line, &more, &json!([]));
    eventually("the answer to a pod", || {
        let pod = read(control_plane, name);
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        if ended.is_object() {
            Ok(format!("{}{}", ended["message"].as_str().unwrap_or_default(), ended["exitCode"]))
        } else {
            Err(pod["status"].clone())
        }
    })
}
