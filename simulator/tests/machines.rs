//! What a machine of a platform shows, and the namespace in which it finds its services.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kiln_simulator::machine::is_known_smbios;
use kiln_simulator::simulation::Family;
use kiln_simulator::{Running, Simulation, namespace, platform};

mod support;
use support::ask;

#[test]
fn a_root_shows_the_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Simulation::of("metal").user_data("x").set("serial", "A,B").build().unwrap();
    machine.write_root(folder.path()).unwrap();
    let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
    assert_eq!(read("sys/class/dmi/id/product_serial"), "A,B\n");
    assert_eq!(read("sys/class/net/eth0/address"), "52:54:00:0a:0b:0d\n");
    let digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    assert!(read("proc/cmdline").ends_with(&format!(" firstboot.config-sha256={digest}\n")));
    assert_eq!(
        machine.qemu_arguments().unwrap(),
        [
            "-smbios",
            "type=1,manufacturer=Example Servers,product=Rack 1U,serial=A,,B,uuid=2f3a4b5c-6d7e-4f8a-9b9c-0d1e2f3a4b5c"
        ]
    );
}

#[test]
fn every_platform_has_a_root_and_arguments() {
    for name in platform::names() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Simulation::of(name).user_data("user-data-of-the-test").build().unwrap();
        machine.write_root(folder.path()).unwrap();
        assert!(fs::read_to_string(folder.path().join("proc/cmdline")).unwrap().contains("root="), "{name}");
        assert!(machine.platform.smbios.keys().all(|key| is_known_smbios(key)), "{name}");
        assert!(!machine.qemu_arguments().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn drives_have_files() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Simulation::of("openstack-drive").user_data("x").set("zone", "").build().unwrap();
    assert!(machine.write_drive(folder.path()).unwrap());
    let text = fs::read_to_string(folder.path().join("openstack/latest/meta_data.json")).unwrap();
    assert!(text.contains("\"uuid\"") && !text.contains("availability_zone"), "{text}");
    assert_eq!(fs::read(folder.path().join("openstack/latest/user_data")).unwrap(), b"x");
    let drive = Simulation::of("nocloud-drive").build().unwrap().drive().unwrap().unwrap();
    assert_eq!(
        (drive.label.as_str(), drive.files.len()),
        ("cidata", 1),
        "without user-data there is no file of it"
    );
    assert!(!Simulation::of("ec2").build().unwrap().write_drive(folder.path()).unwrap());
}

/// Works in a thread with a network namespace of its own.
fn in_namespace<T: Send>(simulation: Simulation, work: impl FnOnce(Running) -> T + Send) -> Option<T> {
    if !nix::unistd::geteuid().is_root() {
        testkit::not_run("machines in a network namespace", "namespaces of a thread are for root");
        return None;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            namespace::enter_thread().unwrap();
            let machine = simulation.build().unwrap();
            namespace::set_up(&machine).unwrap();
            work(machine.serve_here().unwrap())
        });
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn first_service() -> SocketAddr {
    (Ipv4Addr::new(169, 254, 169, 254), 80).into()
}

#[test]
fn every_platform_listens_at_its_own_addresses() {
    for name in platform::names() {
        in_namespace(Simulation::of(name), |running| {
            for address in running.addresses() {
                let reply = ask(*address, "GET", "/", &[("Metadata", "true")])
                    .unwrap_or_else(|error| panic!("{name}: {address}: {error}"));
                assert!((400..500).contains(&reply.status), "{name}: {address}: {}", reply.status);
            }
            let services = platform::named(name).unwrap().services;
            assert_eq!(
                running.addresses().len(),
                services.iter().map(|service| service.addresses.len()).sum::<usize>()
            );
        });
    }
}

#[test]
fn services_are_kept_apart() {
    in_namespace(Simulation::of("azure"), |running| {
        let wire: SocketAddr = (Ipv4Addr::new(168, 63, 129, 16), 80).into();
        let of = |address, path: &str| {
            ask(address, "GET", path, &[("Metadata", "true"), ("x-ms-version", "2015-04-05")])
                .unwrap()
                .status
        };
        assert_eq!([of(wire, "/machine?comp=goalstate"), of(wire, "/metadata/versions")], [200, 404]);
        assert_eq!(
            [of(first_service(), "/machine?comp=goalstate"), of(first_service(), "/metadata/versions")],
            [404, 200]
        );
        assert_eq!(running.journal().entries()[0].to, "168.63.129.16");
    });
}

#[test]
fn services_move_into_a_network_that_is_there() {
    if !nix::unistd::geteuid().is_root() {
        return testkit::not_run(
            "services_move_into_a_network_that_is_there",
            "namespaces of a thread are for root",
        );
    }
    let work = || {
        namespace::enter_thread().unwrap();
        std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        let machine = Simulation::of("openstack").build().unwrap();
        namespace::add_services(&machine).unwrap();
        let running = machine.serve_here().unwrap();
        assert_eq!(running.addresses(), [first_service()], "there is no device for the link-local one");
        assert_eq!(ask(first_service(), "GET", "/openstack", &[]).unwrap().status, 200);
    };
    std::thread::spawn(work).join().unwrap();
}

#[test]
fn a_machine_may_have_one_family_only() {
    in_namespace(Simulation::of("ec2").family(Family::V6), |running| {
        assert!(running.addresses().iter().all(SocketAddr::is_ipv6) && running.addresses().len() == 1);
        assert_eq!(ask(first_service(), "GET", "/", &[]).unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    });
}

#[test]
fn packets_can_find_no_way_or_vanish() {
    let ask = |fault: &str| {
        let simulation = Simulation::of("ec2").fault(fault.parse().unwrap());
        in_namespace(simulation, |_running| {
            let began = std::time::Instant::now();
            let v6 = SocketAddr::from(("fd00:ec2::254".parse::<std::net::Ipv6Addr>().unwrap(), 80));
            let kinds =
                [first_service(), v6].map(|address| ask(address, "GET", "/", &[]).unwrap_err().kind());
            (kinds, began.elapsed())
        })
    };
    let (Some(unreachable), Some(black_hole)) = (ask("unreachable"), ask("black-hole")) else { return };
    assert!(
        unreachable.0 == [ErrorKind::NetworkUnreachable; 2] && unreachable.1 < Duration::from_millis(500),
        "{unreachable:?}"
    );
    assert!(
        black_hole.0 == [ErrorKind::TimedOut; 2] && black_hole.1 > Duration::from_millis(900),
        "{black_hole:?}"
    );
}
