//! User data as Cluster API's provider for AWS delivers it: the metadata service only names it, Secrets
//! Manager or the Parameter Store keeps it in pieces. The simulator plays all three at their own addresses.

use std::process::Command;
use std::time::Duration;

use firstboot::host::root::Root;
use firstboot::metadata;
use firstboot::net::{Deadline, Network};
use firstboot::platforms::delivery::{Delivered, Named, Reach};
use firstboot::trust_policy::TrustPolicy;
use kiln_simulator::Simulation;
use kiln_tests::kiln;
use kiln_tests::simulated::{self, Machine};

const SECRET: &str = "0123456789abcdef";

/// A node config that needs several pieces.
fn user_data() -> String {
    let padding = "# padding of the node config\n".repeat(800);
    format!(
        "{padding}apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    \
         apiServerEndpoint: 10.0.0.1:6443\n    token: abcdef.{SECRET}\n    unsafeSkipCAVerification: true\n\
         nodeRegistration: {{name: from-a-keeper}}\n"
    )
}

/// In a thread, which the network namespace of the machine is for.
fn on_machine(keeper: &'static str, work: impl FnOnce(&Machine) + Send + 'static) {
    let simulation = Simulation::of("ec2").set("keeper", keeper).user_data(user_data());
    std::thread::spawn(move || work(&Machine::start(simulation)))
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn explain_gets_the_config_and_leaves_it_where_it_is() {
    if !simulated::can_start("explain_gets_the_config_and_leaves_it_where_it_is") {
        return;
    }
    let program = kiln::programs().join("firstboot");
    for keeper in ["secrets-manager", "parameter-store"] {
        let program = program.clone();
        on_machine(keeper, move |machine| {
            let kept = machine.running.kept();
            assert!(kept.len() >= 3, "{kept:?}");
            let ran =
                Command::new(program).args(["explain", "--rootfs"]).arg(machine.root()).output().unwrap();
            let said = [ran.stdout, ran.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(ran.status.success() && said.contains("from-a-keeper"), "{keeper}: {said}");
            assert!(!said.contains(SECRET), "{keeper}: {said}");
            assert_eq!(machine.running.kept(), kept, "explain deletes nothing");
        });
    }
}

#[test]
fn the_pieces_are_deleted_when_the_config_is_used() {
    if !simulated::can_start("the_pieces_are_deleted_when_the_config_is_used") {
        return;
    }
    for keeper in ["secrets-manager", "parameter-store"] {
        on_machine(keeper, move |machine| {
            let root = Root::at(machine.root());
            let fetch = |url: &str, _| panic!("nothing names {url}");
            let found = metadata::gather(&root, &TrustPolicy::default(), &fetch).unwrap();
            let (_, boothook) = found.user_data.unwrap();
            let reach = Reach {
                facts: &found.facts,
                network: Network::new(root),
                deadline: Deadline::after(Duration::from_secs(60)),
                trust: &|| panic!("the endpoint has no TLS"),
                service: None,
            };
            let follow = found.platform.unwrap().follow.unwrap();
            let Delivered { document, remains } =
                follow(&reach, Named::Boothook(boothook.document.bytes())).unwrap().unwrap();
            assert_eq!(document.bytes(), user_data().as_bytes(), "{keeper}");
            (remains.unwrap().delete)(&reach).unwrap();
            assert!(machine.running.kept().is_empty(), "{keeper}: {:?}", machine.running.kept());
        });
    }
}
