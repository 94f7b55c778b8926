//! The real machine for a reset.

use std::time::{Duration, Instant};

use super::reset::ResetHost;
use crate::error::Result;
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
        self.services.stop("kubelet")
    }

    fn remove_pods(&mut self) -> Result<usize> {
        let Some(socket) = self.socket()? else { return Ok(0) };
        let (mut client, _) = Client::wait_until_ready(&socket, Instant::now() + RUNTIME_LIMIT, |_| None)?;
        let sandboxes = client.sandboxes(Instant::now() + POD_LIMIT)?;
        for sandbox in &sandboxes {
            client.stop_sandbox(&sandbox.id, Instant::now() + POD_LIMIT)?;
            client.remove_sandbox(&sandbox.id, Instant::now() + POD_LIMIT)?;
        }
        Ok(sandboxes.len())
    }
}
