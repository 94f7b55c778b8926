//! The agent's facts match the platform's metadata: for every platform of the simulator, with its default
//! values, with other values, and with IPv6 addresses only.

use std::net::IpAddr;

use firstboot::host::root::Root;
use firstboot::metadata::{self, Metadata};
use firstboot::platforms::{ALL, Guarded, Platform};
use firstboot::trust_policy::TrustPolicy;
use kiln_simulator::Simulation;
use kiln_simulator::platform;
use kiln_simulator::simulation::Family;
use kiln_tests::simulated::{self, Machine};

const USER_DATA: &[u8] = b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";

/// The provider-id that a platform's cloud controller manager gives a machine with the simulator's default
/// values; empty where the platform does not tell it.
const PROVIDER_IDS: &[(&str, &str)] = &[
    ("akamai", "linode://12345678"),
    ("alibaba", "eu-central-1.i-2ze0vikdlp8tc4ea2g5m"),
    (
        "azure",
        "azure:///subscriptions/8d10da13-8125-4ba9-a717-bf7490507b3d/resourceGroups/kiln-simulated/providers/Microsoft.Compute/virtualMachines/kiln-node-1",
    ),
    ("cloudstack", "cloudstack:///7a8b9c0d-1e2f-4a3b-8c4d-5e6f7a8b9c0d"),
    ("digitalocean", "digitalocean://2756294"),
    ("ec2", "aws:///eu-west-1b/i-0a1b2c3d4e5f60718"),
    ("exoscale", "exoscale://6f7a8b9c-0d1e-4f2a-9b3c-4d5e6f7a8b9c"),
    ("gce", "gce://kiln-simulated/europe-west4-a/kiln-node-1"),
    ("hetzner", "hcloud://42003145"),
    ("maas", ""),
    ("openstack", "openstack:///d8e02d56-2648-49a3-bf97-6be8f1204f38"),
    (
        "oracle",
        "oci://ocid1.instance.oc1.eu-frankfurt-1.antheljtk4h2sqycu7lqvtvz2cmxdr4a5yfdxq6kzgqsvyqtlzq4nq2b7a6q",
    ),
    ("scaleway", "scaleway://instance/fr-par-1/11111111-2222-4333-8444-555555555555"),
    ("tinkerbell", ""),
    ("upcloud", "upcloud:////00322b68-0096-4042-9406-faad61922128"),
    ("vultr", "vultr://29bea708-2e6e-480a-90ad-0e6b5d5ad62f"),
];

/// Facts, and the simulator's variables that they come from, where a platform has both.
const FACTS: &[(&str, &str)] = &[
    ("instance-id", "instance-id"),
    ("hostname", "hostname"),
    ("region", "region"),
    ("zone", "zone"),
    ("instance-type", "instance-type"),
];

/// Where a fact is made of several values, or has another form.
const OTHERWISE: &[(&str, &str, &str)] =
    &[("azure", "zone", "westeurope-1"), ("exoscale", "region", "ch-gva-2")];

/// Simulated, but read by the agent from other places: by name over TLS, from a drive, from the firmware, by
/// a URL.
const ELSEWHERE: &[&str] = &["equinix", "metal", "nocloud", "qemu", "file"];

fn gather(machine: &Machine) -> Metadata {
    machine.append("firstboot.source-deadline=20");
    let fetch = |url: &str, _| panic!("nothing names {url}");
    metadata::gather(&Root::at(machine.root()), &TrustPolicy::default(), &fetch)
        .unwrap_or_else(|failure| panic!("{failure}"))
}

/// In a thread, which the network namespace of the machine is for.
fn in_thread(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn provider_id(found: &Metadata) -> String {
    let platform = found.platform.expect("it was found");
    let template = platform.provider_id.unwrap_or_default();
    template.split("${").fold(String::new(), |made, piece| match piece.split_once('}') {
        Some((name, rest)) => made + found.facts.text(name).unwrap_or("?") + rest,
        None => made + piece,
    })
}

#[test]
fn facts_are_what_the_platform_says() {
    if !simulated::can_start("facts_are_what_the_platform_says") {
        return;
    }
    for (name, expected) in PROVIDER_IDS {
        in_thread(move || {
            let values = Simulation::of(name).build().unwrap();
            let machine = Machine::start(Simulation::of(name).user_data(USER_DATA));
            let found = gather(&machine);
            assert_eq!(found.facts.text("platform"), Some(*name));
            assert_eq!(
                found.user_data.as_ref().map(|data| data.1.document.bytes()),
                Some(USER_DATA),
                "{name}"
            );
            assert_eq!(provider_id(&found), *expected, "{name}");
            for (fact, variable) in FACTS {
                let otherwise =
                    OTHERWISE.iter().find(|row| (row.0, row.1) == (*name, *fact)).map(|row| row.2.to_owned());
                let Some(expected) = otherwise.or_else(|| values.value(variable)) else { continue };
                assert_eq!(found.facts.text(fact), Some(expected.as_str()), "{name}: {fact}");
            }
            let addresses: Vec<IpAddr> =
                found.facts.addresses.value().into_iter().flatten().map(|address| address.ip).collect();
            for variable in ["local-ipv4", "local-ipv6", "public-ipv4", "public-ipv6"] {
                let Some(address) = values.value(variable) else { continue };
                assert!(
                    addresses.contains(&address.parse().unwrap()),
                    "{name}: {variable} {address} is not among {addresses:?}"
                );
            }
            assert!(found.notices.is_empty(), "{name}: {:?}", found.notices);
        });
    }
}

#[test]
fn every_platform_in_the_network_is_simulated() {
    let simulated: Vec<&str> = platform::names().collect();
    // Addresses that pods are kept from are those of services, which a config drive takes the place of.
    let is_read = |platform: &&&Platform| platform.name != "config-drive";
    let with_addresses = ALL.iter().filter(|platform| matches!(platform.guarded, Guarded::Addresses(_)));
    for platform in with_addresses.filter(is_read) {
        assert!(simulated.contains(&platform.name), "{}", platform.name);
    }
    for name in simulated
        .iter()
        .filter(|name| ALL.iter().any(|platform| platform.name == **name) && !ELSEWHERE.contains(name))
    {
        assert!(PROVIDER_IDS.iter().any(|row| row.0 == *name), "{name}");
    }
}

#[test]
fn addresses_of_ipv6_are_enough_where_the_platform_has_them() {
    if !simulated::can_start("addresses_of_ipv6_are_enough_where_the_platform_has_them") {
        return;
    }
    let mut tried = Vec::new();
    for (name, expected) in PROVIDER_IDS {
        let services = platform::named(name).unwrap().services;
        if !services
            .iter()
            .any(|service| service.addresses.iter().any(|address| address.ip.is_ipv6()))
        {
            continue;
        }
        tried.push(*name);
        in_thread(move || {
            let machine = Machine::start(Simulation::of(name).user_data(USER_DATA).family(Family::V6));
            let found = gather(&machine);
            assert_eq!(provider_id(&found), *expected, "{name}");
            assert!(found.user_data.is_some(), "{name}");
            let entries = machine.running.journal().entries();
            assert!(!entries.is_empty() && entries.iter().all(|entry| entry.to.contains(':')), "{name}");
        });
    }
    assert_eq!(tried, ["akamai", "ec2", "gce", "hetzner", "openstack", "oracle", "scaleway"]);
}

#[test]
fn what_is_absent_is_not_made_up() {
    if !simulated::can_start("what_is_absent_is_not_made_up") {
        return;
    }
    for name in ["ec2", "gce", "openstack", "digitalocean"] {
        in_thread(move || {
            let variables = platform::named(name).unwrap().variables;
            let optional = [
                "public-ipv4",
                "public-ipv6",
                "local-ipv6",
                "tag-name",
                "tag-cluster",
                "tag",
                "target-lifecycle-state",
            ];
            let present = optional.iter().filter(|variable| variables.contains_key(**variable));
            let machine = Machine::start(
                present.fold(Simulation::of(name), |simulation, variable| simulation.set(variable, "")),
            );
            let found = gather(&machine);
            assert!(found.user_data.is_none(), "{name}: there is no user-data");
            assert!(
                found.facts.instance_id.value().is_some() && found.facts.lifecycle.value().is_none(),
                "{name}"
            );
        });
    }
}
