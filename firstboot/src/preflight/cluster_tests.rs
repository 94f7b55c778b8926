//! Tests of the checks that look at the cluster and at the runtime.

use std::time::{Duration, SystemTime};

use super::fixture::Machine;
use super::tests::{Spoil, check_all, found};
use super::*;
use crate::error::{ErrorKind, Failure};
use crate::host::cri::{Api, CgroupDriver};

fn clock(local: i64, server: i64) -> Cluster {
    let at = |seconds: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(2_000_000_000 + seconds).unwrap())
    };
    let year = 365 * 86_400;
    Cluster {
        clock: Some(Clock {
            local: at(local),
            server: Some(at(server)),
            valid: Some((at(-3600), at(10 * year))),
        }),
        ..Cluster::default()
    }
}

#[test]
fn clocks_are_compared() {
    for (local, server, expected, message) in [
        (0, 10, &[][..], ""),
        (0, 59, &[], ""),
        (0, 100, &["W ClockSkew"], "100 s behind"),
        (0, 600, &["E ClockSkew"], "10 min behind"),
        (1800, 0, &["W ClockSkew"], "30 min ahead of"),
        (86_400, 0, &["E ClockSkew"], "24 h ahead of"),
        (-86_400, 0, &["E ClockSkew"], "23 h before the cluster's CA was made"),
        (20 * 365 * 86_400, 0, &["E ClockSkew"], "has expired"),
    ] {
        let mut machine = Machine::new(36);
        machine.cluster = Some(clock(local, server));
        let report = machine.run();
        assert_eq!(found(&report), expected, "{local} {server}");
        assert!(
            report
                .errors
                .iter()
                .chain(&report.warnings)
                .all(|finding| finding.message.contains(message)),
            "{report:?}"
        );
        assert!(report.failure().is_none_or(|failure| failure.kind == ErrorKind::Clock));
    }
}

#[test]
fn versions_are_compared_both_ways() {
    for (kubelet, server, expected) in [
        (36, 36, &[][..]),
        (33, 36, &[]),
        (32, 36, &["E VersionSkew"]),
        (36, 35, &["E VersionSkew"]),
        (25, 27, &[]),
        (24, 27, &["E VersionSkew"]),
        (25, 28, &[]),
    ] {
        let mut machine = Machine::new(kubelet);
        machine.cluster =
            Some(Cluster { version: format!("v1.{server}.3").parse().ok(), ..Cluster::default() });
        let report = machine.run();
        assert_eq!(found(&report), expected, "{kubelet} {server}");
        assert!(report.failure().is_none_or(|failure| failure.kind == ErrorKind::Refused));
    }
}

fn runtime(machine: &mut Machine) -> &mut Runtime {
    machine.facts.runtime.as_mut().unwrap().as_mut().unwrap()
}

#[test]
fn the_runtime_must_answer_in_the_kubelets_interface() {
    let dead: Spoil = |machine| {
        machine.facts.runtime =
            Some(Err(Failure::new(ErrorKind::Runtime, "nothing listens").help("start the runtime")))
    };
    check_all(&[
        (36, dead, &["E CRI"]),
        (22, |machine| runtime(machine).serves_v1alpha2 = false, &["E CRI"]),
        (23, |machine| runtime(machine).serves_v1alpha2 = false, &[]),
        (25, |machine| runtime(machine).version.api = Api::V1alpha2, &[]),
        (26, |machine| runtime(machine).version.api = Api::V1alpha2, &["E CRI"]),
        (34, |machine| runtime(machine).runtime_config = None, &[]),
        (35, |machine| runtime(machine).runtime_config = None, &["W ContainerRuntimeVersion"]),
        (37, |machine| runtime(machine).runtime_config = None, &["E ContainerRuntimeVersion"]),
    ]);
    let mut machine = Machine::new(36);
    dead(&mut machine);
    let failure = machine.run().failure().unwrap();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (ErrorKind::Runtime, "preflight: CRI: nothing listens")
    );
}

#[test]
fn cgroup_drivers_must_agree_where_the_kubelet_does_not_follow() {
    let differ: Spoil = |machine| {
        let runtime = runtime(machine);
        runtime.cgroup_driver = Some(CgroupDriver::Cgroupfs);
        runtime.runtime_config = Some(CgroupDriver::Cgroupfs);
    };
    let configured: Spoil = |machine| {
        let runtime = runtime(machine);
        runtime.cgroup_driver = Some(CgroupDriver::Cgroupfs);
        runtime.runtime_config = None;
    };
    check_all(&[
        (30, differ, &["E CgroupDriver"]),
        (31, differ, &[]),
        (34, configured, &["E CgroupDriver"]),
        (30, |machine| runtime(machine).cgroup_driver = None, &[]),
        (30, |machine| machine.kubelet_config = Some(serde_json::json!({})), &["E CgroupDriver"]),
        (30, |machine| machine.kubelet_config = None, &[]),
        (30, |machine| machine.argument("cgroup-driver", "cgroupfs"), &["E CgroupDriver"]),
    ]);
}

#[test]
fn docker_is_looked_at_where_it_is_the_runtime() {
    fn docker(machine: &mut Machine, driver: &str, version: &str) {
        machine.cri_socket = "/var/run/dockershim.sock";
        machine.facts.runtime = None;
        machine.facts.docker =
            Some(Ok(Docker { cgroup_driver: driver.to_owned(), version: version.to_owned() }));
    }
    check_all(&[
        (20, |machine| docker(machine, "systemd", "19.03.8"), &[]),
        (21, |machine| docker(machine, "cgroupfs", "19.03.8"), &["E CgroupDriver", "W IsDockerSystemdCheck"]),
        (20, |machine| docker(machine, "systemd", "1.13.1"), &["W DockerVersion"]),
        (20, |machine| docker(machine, "systemd", "1.12.0"), &["W DockerVersion"]),
        (20, |machine| docker(machine, "systemd", "1.12.1"), &[]),
        (
            20,
            |machine| {
                docker(machine, "", "");
                machine.facts.docker = Some(Err(Failure::new(ErrorKind::Host, "no docker")));
            },
            &["E CRI"],
        ),
    ]);
}
