//! Starts the kubelet and waits until it is healthy; also waits for a kubelet that requests its own
//! certificate.

use std::time::Duration;

use serde_json::Value;

use super::identity::{self, BOOTSTRAP_CONF};
use super::{Need, Phase};
use crate::error::{ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::notify;
use crate::host::services::{Services, Wait};
use crate::join::plan::CONFIG;
use crate::join::{Join, kubelet_config};
use crate::net::Endpoint;
use crate::net::http::{self, Method, Request};
use crate::net::trust::Trust;
use crate::net::{Deadline, Network};
use crate::text::yaml;

/// The unit.
const UNIT: &str = "kubelet";
/// The pause between two attempts. A healthy kubelet answers in a millisecond.
const PAUSE: Duration = Duration::from_millis(100);
/// Time limit of one health check.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Limit on the answer of a health check, in bytes.
const LONGEST_HEALTH: usize = 64 * 1024;
/// Limit on a kubelet's configuration, in bytes.
pub(super) const LONGEST: u64 = 4 << 20;

pub(crate) const PHASE: Phase = Phase { name: "kubelet", kubeadm: "kubelet-start", need: Need::Running, run };

fn run(join: &mut Join) -> Result<()> {
    notify::send("READY=1");
    restart(join)?;
    wait_for_identity(join, join.deadline.within(join.config.join.timeouts.tls_bootstrap))
}

/// Starts it anew, with the configuration on the disk, and waits until it is healthy.
pub(super) fn restart(join: &Join) -> Result<()> {
    #[cfg(windows)]
    define(join)?;
    start(join.machine.services)?;
    let Some(endpoint) = health_endpoint(join)? else { return Ok(()) };
    let deadline = join.deadline.within(join.config.join.timeouts.kubelet_health_check);
    wait_until_healthy(&join.network, &endpoint, deadline)
        .map_err(|failure| failure.help(join.machine.services.advice(UNIT)))
}

/// Writes the kubelet's arguments into its service, from the files on the disk.
#[cfg(windows)]
fn define(join: &Join) -> Result<()> {
    use crate::host::services::{Definition, Start, command_line};
    use crate::join::kubelet_service::{self, Line};
    use crate::join::plan::FLAGS;
    use crate::join::service_line::Programs;
    use crate::kubernetes::flags_file;
    use crate::{os, paths};

    let damaged = || Failure::new(ErrorKind::Host, format!("{FLAGS} is damaged"));
    let bytes = files::read(&join.root.path(FLAGS), LONGEST)?.unwrap_or_default();
    let arguments = String::from_utf8(bytes)
        .ok()
        .and_then(|text| flags_file::words(&text))
        .ok_or_else(damaged)?;
    let (before, drive) = (command_line(UNIT), os::system_drive().unwrap_or_default());
    let line = kubelet_service::command_line(&Line {
        programs: Programs::here(before.as_deref(), paths::KUBELET_PROGRAM, paths::KUBELET_LOG),
        drive: &drive,
        node: &join.config.node_name(),
        arguments: &arguments,
    });
    join.machine.services.define(&Definition {
        name: UNIT,
        title: "Kubernetes kubelet",
        description: "Runs the pods of this node",
        command_line: &line,
        // The agent starts it at each boot, once it knows that the disk belongs to this machine.
        start: Start::Demand,
        needs: None,
    })
}

/// A kubelet that found no configuration earlier may be waiting for its next restart, so it is restarted now.
fn start(services: Services) -> Result<()> {
    services.reload_if_changed(UNIT)?;
    if services.is_active(UNIT)? {
        services.restart(UNIT, Wait::Queued)
    } else {
        services.start(UNIT, Wait::Queued)
    }
}

/// The address of the kubelet's `/healthz` from its configuration on the disk; none if it is switched off.
fn health_endpoint(join: &Join) -> Result<Option<Endpoint>> {
    let bytes = files::read(&join.root.path(CONFIG), LONGEST)?.unwrap_or_default();
    let configuration = parse(&bytes)?;
    Ok(kubelet_config::healthz(&configuration).map(|(host, port)| Endpoint { host, port }))
}

/// The kubelet's configuration as it is on the disk.
pub(super) fn parse(bytes: &[u8]) -> Result<Value> {
    yaml::parse(bytes).map_err(|_| Failure::new(ErrorKind::Host, format!("{CONFIG} is damaged")))
}

fn wait_until_healthy(network: &Network, endpoint: &Endpoint, deadline: Deadline) -> Result<()> {
    let mut reason = String::new();
    loop {
        let Err(why) = health(network, endpoint, deadline.within(ATTEMPT)) else { return Ok(()) };
        // A try that the deadline cut short only says that it had no time for an answer.
        if reason.is_empty() || !deadline.has_passed() {
            reason = why;
        }
        if deadline.remaining() <= PAUSE {
            let message =
                format!("the kubelet is not healthy after {} s: {reason}", deadline.elapsed().as_secs());
            return Err(Failure::new(ErrorKind::Kubelet, message).transient());
        }
        std::thread::sleep(PAUSE);
    }
}

fn health(network: &Network, endpoint: &Endpoint, deadline: Deadline) -> std::result::Result<(), String> {
    let url = format!("http://{endpoint}/healthz");
    let request = Request { limit: LONGEST_HEALTH, ..Request::new(Method::GET, &url, &Trust::Nobody) };
    match http::send(network, &request, deadline) {
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => Err(format!("{url} answers {}", reply.status)),
        Err(error) => Err(error.failure.message),
    }
}

fn wait_for_identity(join: &Join, deadline: Deadline) -> Result<()> {
    if !join.root.path(BOOTSTRAP_CONF).exists() {
        return Ok(());
    }
    while !identity::is_good(join) {
        if deadline.has_passed() {
            let message = format!("the kubelet has no certificate after {} s", deadline.elapsed().as_secs());
            return Err(Failure::new(ErrorKind::Pending, message)
                .help("see kubectl get csr, and approve its request")
                .transient());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::root::Root;

    #[test]
    fn a_kubelet_that_does_not_start_is_told_from_one_that_is_slow() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: closed };
        for milliseconds in [1000, 1100, 1201] {
            let deadline = Deadline::after(Duration::from_millis(milliseconds));
            let failure =
                wait_until_healthy(&Network::new(Root::default()), &endpoint, deadline).unwrap_err();
            assert!(failure.message.contains("Connection refused"), "{milliseconds}: {failure}");
        }
    }
}
