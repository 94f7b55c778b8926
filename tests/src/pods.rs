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

/// The same with a request for `mebibytes` of memory.
pub fn create_with_memory(
    control_plane: &ControlPlane,
    node: &str,
    name: &str,
    line: &str,
    more: &Value,
    mebibytes: u64,
) {
    let mut more = more.clone();
    more["containers"] = json!([container(line, &json!([]))]);
    more["containers"][0]["resources"] = json!({"requests": {"memory": format!("{mebibytes}Mi")}});
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
    let more = json!({"hostNetwork": network == Network::OfTheMachine});
    said_by(control_plane, node, name, &line, &more)
}

/// What the shell of a new pod, `name`, prints until it ends, with the exit code. The pod returns it as its
/// termination message.
pub fn said_by(control_plane: &ControlPlane, node: &str, name: &str, line: &str, more: &Value) -> String {
    let mut spec = json!({"restartPolicy": "Never"});
    more.as_object()
        .into_iter()
        .flatten()
        .for_each(|(field, value)| spec[field] = value.clone());
    let line = format!("exec > /dev/termination-log 2>&1; {line}");
    create(control_plane, node, name, &line, &spec, &json!([]));
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
