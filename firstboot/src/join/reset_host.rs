//! The real machine for a reset.

use std::time::{Duration, Instant};

use contract::runtime;

use super::reset::ResetHost;
use crate::error::Result;
use crate::host::command;
use crate::host::cri::{self, Client};
use crate::host::root::Root;
use crate::host::services::Services;
use crate::machine;
use crate::preflight::context::service_of;

/// Time limit for the runtime to answer.
const RUNTIME_LIMIT: Duration = Duration::from_secs(30);
/// Time limit for stopping one pod.
const POD_LIMIT: Duration = Duration::from_secs(60);

/// This machine's services and pods.
pub struct LocalHost<'a> {
    root: &'a Root,
    services: Services,
    cri_socket: Option<String>,
}

impl<'a> LocalHost<'a> {
    /// Without `cri_socket`, the socket is detected.
    pub fn new(root: &'a Root, services: Services, cri_socket: Option<String>) -> Self {
        Self { root, services, cri_socket }
    }

    /// The runtime's socket, if there is one. Without it there are no pods.
    fn socket(&self) -> Result<Option<std::path::PathBuf>> {
        let named = match &self.cri_socket {
            Some(socket) => socket.clone(),
            None => cri::detect_socket(
                self.root,
                machine::kubelet_version(self.root).map_or(u16::MAX, |version| version.minor),
            )?,
        };
        let path = self.root.path(cri::socket_path(&named)?);
        let is_expected =
            self.cri_socket.is_some() || self.services.is_active(&service_of(&path)).unwrap_or(false);
        Ok((path.exists() || is_expected).then_some(path))
    }
}

impl ResetHost for LocalHost<'_> {
    fn stop_kubelet(&mut self) -> Result<()> {
        #[cfg(windows)]
        self.services.stop(crate::join::phases::kube_proxy::UNIT)?;
        self.services.stop("kubelet")
    }

    fn remove_pods(&mut self) -> Result<usize> {
        let Some(socket) = self.socket()? else { return Ok(0) };
        if socket.to_str().is_some_and(runtime::is_in_kubelet) {
            // Its program knows this machine's containers alone.
            if !self.root.is_machine() {
                return Ok(0);
            }
            return remove_containers(|words| {
                command::run_checked(words[0], &words[1..], POD_LIMIT).map(|output| output.stdout)
            });
        }
        let (mut client, _) = Client::wait_until_ready(&socket, Instant::now() + RUNTIME_LIMIT, |_| None)?;
        let sandboxes = client.sandboxes(Instant::now() + POD_LIMIT)?;
        for sandbox in &sandboxes {
            client.stop_sandbox(&sandbox.id, Instant::now() + POD_LIMIT)?;
            client.remove_sandbox(&sandbox.id, Instant::now() + POD_LIMIT)?;
        }
        Ok(sandboxes.len())
    }
}

/// Removes the pods' containers of a runtime inside the kubelet, which has ended and serves CRI no more, by
/// its program, as kubeadm does. Returns their number.
fn remove_containers(mut run: impl FnMut(&[&str]) -> Result<String>) -> Result<usize> {
    let listed = run(&runtime::IN_KUBELET_LIST)?;
    let containers: Vec<&str> = listed.split_whitespace().collect();
    if !containers.is_empty() {
        run(&[&runtime::IN_KUBELET_REMOVE[..], &containers].concat())?;
    }
    Ok(containers.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_a_runtime_inside_the_kubelet_are_removed_at_once() {
        for (listed, count, calls) in [
            ("", 0, &["docker ps --all --quiet --filter name=k8s_"][..]),
            (
                "a1\nb2\n",
                2,
                &["docker ps --all --quiet --filter name=k8s_", "docker rm --force --volumes a1 b2"],
            ),
        ] {
            let mut said = Vec::new();
            let removed = remove_containers(|words| {
                said.push(words.join(" "));
                Ok(if words[1] == "ps" { listed.to_owned() } else { String::new() })
            });
            assert_eq!(
                (removed.unwrap(), said.as_slice()),
                (count, calls.iter().map(|&call| call.to_owned()).collect::<Vec<_>>().as_slice())
            );
        }
    }
}
