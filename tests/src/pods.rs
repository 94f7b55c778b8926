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
    let mut spec = json!({"nodeName": node, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}], "containers": [container(line, ports)]});
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

/// A pod that ends, with a request for `mebibytes` of memory.
pub fn create_with_memory(control_plane: &ControlPlane, node: &str, name: &str, line: &str, mebibytes: u64) {
    let mut container = container(line, &json!([]));
    container["resources"] = json!({"requests": {"memory": format!("{mebibytes}Mi")}});
    let more = json!({"restartPolicy": "Never", "containers": [container]});
    create(control_plane, node, name, line, &more, &json!([]));
}

fn container(line: &str, ports: &Value) -> Value {
    json!({"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", line], "ports": ports})
}

/// A pod; null if there is none with this name.
pub fn read(control_plane: &ControlPlane, name: &str) -> Value {
    control_plane
        .get(&format!("/api/v1/namespaces/default/pods/{name}"))
        .unwrap_or(Value::Null)
}

/// The answer that a new pod, `name`, gets from `url`, with the exit code.
pub fn answer_to(
    control_plane: &ControlPlane,
    node: &str,
    name: &str,
    network: Network,
    url: &str,
) -> String {
    let line = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do /bin/busybox timeout 5 wget -q -O /tmp/answer {url} && cat /tmp/answer && exit; sleep 1; done; exit 1"
    );
    said_by(control_plane, node, name, &line, network)
}

/// What the shell of a new pod, `name`, prints until it ends, with the exit code.
pub fn said_by(control_plane: &ControlPlane, node: &str, name: &str, line: &str, network: Network) -> String {
    let line = format!("exec > /dev/termination-log 2>&1; {line}");
    let more = json!({"restartPolicy": "Never", "hostNetwork": network == Network::OfTheMachine});
    create(control_plane, node, name, &line, &more, &json!([]));
    end_of(control_plane, name)
}

/// The termination message of a pod that ends, with the exit code behind it.
pub fn end_of(control_plane: &ControlPlane, name: &str) -> String {
    eventually("the end of a pod", || {
        let pod = read(control_plane, name);
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        if ended.is_object() {
            Ok(format!("{}{}", ended["message"].as_str().unwrap_or_default(), ended["exitCode"]))
        } else {
            Err(pod["status"].clone())
        }
    })
}
