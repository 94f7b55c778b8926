//! Checks of the container runtime.

use std::path::Path;

use contract::runtime;

use super::context::service_of;
use super::{Context, Problem};
use crate::host::cri::Api;
use crate::host::services::Enablement;

/// CRI: the runtime answers, in a version of the interface that the kubelet supports.
pub fn answers(context: &Context) -> Vec<Problem> {
    if let Some(Err(failure)) = &context.facts.docker {
        return Problem::new(format!("docker does not answer: {failure}"))
            .help("run systemctl start docker")
            .alone();
    }
    match &context.facts.runtime {
        None => Vec::new(),
        Some(Err(failure)) => {
            let problem = Problem::new(failure.message.clone());
            failure.help.iter().fold(problem, |problem, help| problem.help(help.clone())).alone()
        }
        Some(Ok(runtime)) => {
            let (name, version) = (&runtime.version.name, &runtime.version.version);
            match context.minor() {
                ..=22 if !runtime.serves_v1alpha2 => {
                    Problem::new(format!("{name} {version} serves CRI v1 only, this kubelet speaks v1alpha2"))
                        .help("use containerd 1.6 or 1.7 (CRI-O until 1.25), or a kubelet of 1.23 or newer")
                        .alone()
                }
                26.. if runtime.version.api != Api::V1 => {
                    Problem::new(format!("{name} {version} does not serve CRI v1, which this kubelet needs"))
                        .help("use containerd 1.6 or newer")
                        .alone()
                }
                _ => Vec::new(),
            }
        }
    }
}

/// ContainerRuntimeVersion: the kubelet takes its cgroup driver from the runtime.
pub fn implements_config(context: &Context) -> Vec<Problem> {
    match &context.facts.runtime {
        Some(Ok(runtime)) if runtime.runtime_config.is_none() => {
            let (name, version) = (&runtime.version.name, &runtime.version.version);
            Problem::new(format!(
                "{name} {version} does not implement RuntimeConfig, which kubelets from 1.37 on need"
            ))
            .help("use containerd 2.0 or newer, or CRI-O 1.28 or newer")
            .alone()
        }
        _ => Vec::new(),
    }
}

/// Service-Docker.
pub fn docker_service(context: &Context) -> Vec<Problem> {
    if !runtime::is_in_kubelet(context.cri_socket) {
        return Vec::new();
    }
    let service = service_of(Path::new(context.cri_socket));
    match context.services.enablement(&service) {
        Ok(Enablement::Disabled) => Problem::new("the docker service is not enabled")
            .help("run systemctl enable docker.service")
            .alone(),
        Ok(Enablement::Absent) => Problem::new("there is no docker service")
            .help("install docker, or name another CRI socket")
            .alone(),
        Ok(Enablement::Enabled) if context.services.is_active(&service) == Ok(false) => {
            Problem::new("the docker service is not active")
                .help("run systemctl start docker.service")
                .alone()
        }
        _ => Vec::new(),
    }
}

/// IsDockerSystemdCheck.
pub fn docker_driver(context: &Context) -> Vec<Problem> {
    match &context.facts.docker {
        Some(Ok(docker)) if docker.cgroup_driver != "systemd" => {
            Problem::new(format!("docker's cgroup driver is {}, the recommended one is systemd", docker.cgroup_driver))
                .help("set \"exec-opts\": [\"native.cgroupdriver=systemd\"] in /etc/docker/daemon.json and restart docker")
                .alone()
        }
        _ => Vec::new(),
    }
}

/// DockerVersion: warns of releases that are known to break pods.
pub fn docker_version(context: &Context) -> Vec<Problem> {
    let Some(Ok(docker)) = &context.facts.docker else { return Vec::new() };
    let numbers: Vec<u32> = docker.version.split('.').map_while(|part| part.parse().ok()).collect();
    let message = match numbers[..] {
        [1, minor, ..] if minor < 12 => {
            "its mounts do not reach pods when systemd starts it with MountFlags=slave"
        }
        [1, 12, 0] => "its mounts do not reach pods when systemd starts it with MountFlags=slave",
        [1, 13, ..] => {
            "CentOS's build of 1.13.1 cannot run commands in containers, so that etcd is restarted again and again"
        }
        _ => return Vec::new(),
    };
    Problem::new(format!("docker {}: {message}", docker.version))
        .help("use docker 18.06 or newer, or containerd")
        .alone()
}
