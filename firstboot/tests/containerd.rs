//! Tests of the CRI client with a real containerd, which runs as root in separate folders.
#![allow(clippy::disallowed_methods, reason = "tests make machines and servers")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use firstboot::host::cri::{Api, CgroupDriver, Client};

struct Containerd(Child);

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, disabled: &str) -> Containerd {
    let shown = folder.display();
    let config = format!(
        "version = 2\nroot = \"{shown}/root\"\nstate = \"{shown}/state\"\ndisabled_plugins = [{disabled}]\n\
         [grpc]\naddress = \"{shown}/c.sock\"\n[ttrpc]\naddress = \"{shown}/t.sock\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\ndisable_tcp_service = true\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"{shown}/cni\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n"
    );
    fs::write(folder.join("config.toml"), config).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let child = Command::new("containerd")
        .arg("--config")
        .arg(folder.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Containerd(child)
}

/// Why the tests cannot run here.
fn missing() -> Option<&'static str> {
    if Command::new("containerd").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Some("no containerd in PATH");
    }
    (!nix::unistd::geteuid().is_root()).then_some("not root")
}

#[test]
fn containerd_is_waited_for_and_answers() {
    if let Some(reason) = missing() {
        return testkit::not_run("containerd_is_waited_for_and_answers", reason);
    }
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let _containerd = start(folder.path(), "");
    let deadline = begin + Duration::from_secs(60);
    let (mut client, version) = Client::wait_until_ready(&folder.path().join("c.sock"), deadline, |_| None)
        .unwrap_or_else(|failure| {
            panic!("{failure}\n{}", fs::read_to_string(folder.path().join("log")).unwrap())
        });
    let ready = begin.elapsed();
    assert_eq!((version.name.as_str(), version.api), ("containerd", Api::V1));
    let asked = Instant::now();
    let status = client.status(deadline).unwrap();
    let took = asked.elapsed();
    assert_eq!(status.not_ready, None);
    assert!(status.network_not_ready.unwrap().contains("cni"), "there is no CNI configuration");
    assert_eq!(client.sandboxes(deadline), Ok(Vec::new()));
    client.stop_sandbox("0123456789abcdef", deadline).unwrap();
    client.remove_sandbox("0123456789abcdef", deadline).unwrap();
    let old = client.serves(Api::V1alpha2, deadline).unwrap();
    let driver = client.cgroup_driver(deadline).unwrap();
    assert_eq!(client.configured_cgroup_driver(deadline), Ok(Some(CgroupDriver::Systemd)));
    assert_eq!(old, !version.version.starts_with("2."), "containerd 2 dropped v1alpha2");
    assert_eq!(driver.is_some(), version.version.starts_with("2."), "RuntimeConfig came with containerd 2");
    eprintln!(
        "containerd {}: ready after {ready:?}, Status took {took:?}, cgroup driver {driver:?}",
        version.version
    );
}

#[test]
fn containerd_without_its_cri_plugin_is_told_apart() {
    if let Some(reason) = missing() {
        return testkit::not_run("containerd_without_its_cri_plugin_is_told_apart", reason);
    }
    let folder = tempfile::tempdir().unwrap();
    let _containerd = start(folder.path(), "\"io.containerd.grpc.v1.cri\"");
    let failure = Client::wait_until_ready(
        &folder.path().join("c.sock"),
        Instant::now() + Duration::from_secs(60),
        |_| None,
    )
    .err()
    .unwrap();
    assert!(failure.message.contains("does not speak the Container Runtime Interface"), "{failure}");
}
