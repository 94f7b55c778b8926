//! Waits for the Node object if the config asks for it, and sets the annotation that kubeadm before 1.34
//! looks for.

use std::time::Duration;

use serde_json::json;

use super::identity::KUBELET_CONF;
use super::{Need, Phase};
use crate::config::model::{Discovery, WaitFor};
use crate::error::{ErrorKind, Failure, Result};
use crate::join::discovery::{Request, discover};
use crate::join::plan::INSTANCE_CONFIG;
use crate::join::{Join, cluster};
use crate::kubernetes::client::Client;
use crate::net::retry::Backoff;
use crate::net::{Deadline, retry};

/// The pause between two requests for a Node that is missing or not ready.
const PAUSE: Duration = Duration::from_millis(500);
/// kubeadm tries to set the annotation for a minute or two.
const ANNOTATION_LIMIT: Duration = Duration::from_secs(120);

pub(crate) const PHASE: Phase = Phase { name: "wait", kubeadm: "kubelet-start", need: Need::Running, run };

fn run(join: &mut Join) -> Result<()> {
    let annotated = !join.root.path(INSTANCE_CONFIG).exists();
    let wait_for = join.config.agent.wait_for;
    if !annotated && wait_for == WaitFor::Kubelet {
        return Ok(());
    }
    let mut client = client_of_the_kubelet(join)?;
    let name = join.config.node_name();
    let limit =
        if wait_for == WaitFor::Kubelet { join.deadline.within(ANNOTATION_LIMIT) } else { join.deadline };
    let mut backoff = join.backoff();
    wait(&mut client, &name, wait_for == WaitFor::Ready, limit, &mut backoff)?;
    if annotated {
        let patch = json!({ "metadata": { "annotations": { "kubeadm.alpha.kubernetes.io/cri-socket": join.cri_socket()? } } });
        let deadline = join.deadline.within(join.config.join.timeouts.kubernetes_api_call);
        retry::until(deadline, &mut join.backoff(), || {
            client.patch(&format!("/api/v1/nodes/{name}"), &patch, deadline)
        })?;
    }
    Ok(())
}

pub(super) fn client_of_the_kubelet(join: &Join) -> Result<Client> {
    let discovery = Discovery::File(KUBELET_CONF.into());
    let request = Request { discovery: &discovery, tls_bootstrap_token: None, deadline: join.deadline };
    Ok(discover(&join.network, &request, &mut join.backoff())?.client)
}

fn wait(
    client: &mut Client,
    name: &str,
    until_ready: bool,
    deadline: Deadline,
    backoff: &mut Backoff,
) -> Result<()> {
    loop {
        let node = cluster::node(client, name, deadline, backoff)?;
        match node {
            Some(node) if node.ready || !until_ready => return Ok(()),
            _ if deadline.remaining() < PAUSE => {
                let state = if node.is_some() { "not Ready" } else { "not registered" };
                let message = format!("the Node {name} is {state} after {} s", deadline.elapsed().as_secs());
                return Err(Failure::new(ErrorKind::Kubelet, message)
                    .help("see journalctl -u kubelet, and kubectl describe node")
                    .transient());
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}
