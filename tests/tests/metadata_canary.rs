//! Marked secrets in user data of every form, from every platform and location, do not leak, whether the
//! agent accepts the config, refuses it or cannot read it. They are not in its output, status, facts or
//! checkpoint, in files that others can read, in its arguments or environment, in its reports, or in a core.
//!
//! Each case runs a separate agent on a machine that is a folder, in a network namespace where the simulator
//! has the platform's addresses.

#[path = "metadata_canary/attempt.rs"]
mod attempt;
#[path = "metadata_canary/cases.rs"]
mod cases;
#[path = "metadata_canary/cores.rs"]
mod cores;
#[path = "metadata_canary/formats.rs"]
mod formats;
#[path = "metadata_canary/joined.rs"]
mod joined;
#[path = "metadata_canary/mistakes.rs"]
mod mistakes;
#[path = "metadata_canary/sources.rs"]
mod sources;
#[path = "metadata_canary/fixture.rs"]
mod fixture;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use attempt::Case;
use cases::{CHEAP, all_cases};
use firstboot::userdata::{Kind, kind};
use firstboot::{locations, platforms};
use formats::FORMATS;
use kiln_simulator::platform;
use kiln_tests::canary;
use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::lab::lab;
use kiln_tests::{kiln, simulated, workspace};
use sources::SOURCES;
use testkit::not_run;

/// Cases at a time: most of them wait.
const AT_ONCE: usize = 8;

#[test]
fn secrets_of_user_data_are_nowhere_but_in_their_place() {
    if !simulated::can_start("secrets_of_user_data_are_nowhere_but_in_their_place") {
        return;
    }
    kiln::programs();
    let only = std::env::var("KILN_TEST_CASES").unwrap_or_default();
    let cases: VecDeque<Case> = all_cases()
        .into_iter()
        .filter(|case| only.is_empty() || case.name.contains(&only))
        .collect();
    let mut counts = BTreeMap::new();
    cases.iter().for_each(|case| *counts.entry(case.about).or_insert(0) += 1);
    let (cases, problems) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next(&cases) {
                    let found = std::panic::catch_unwind(|| case.run())
                        .unwrap_or_else(|_| vec!["the test itself panicked".to_owned()]);
                    let found = found.into_iter().map(|problem| format!("{}: {problem}", case.name));
                    problems.lock().expect("no holder panics").extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no holder panics");
    for source in SOURCES {
        fixture::hindrance(source)
            .into_iter()
            .for_each(|why| not_run(&format!("canaries from {}", source.name), why));
    }
    workspace::say(&format!(
        "canaries: {} sources, {} formats, cases: {counts:?}",
        SOURCES.len(),
        FORMATS.len()
    ));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(!only.is_empty() || counts.values().sum::<usize>() >= 800, "{counts:?}: too few cases");
}

fn next(cases: &Mutex<VecDeque<Case>>) -> Option<Case> {
    cases.lock().expect("no holder panics").pop_front()
}

#[test]
fn a_core_holds_no_secret() {
    if !simulated::can_start("a_core_holds_no_secret") {
        return;
    }
    if !canary::cores_are_left() {
        return not_run(
            "a_core_holds_no_secret",
            "programs leave none in their folder here (/proc/sys/kernel/core_pattern)",
        );
    }
    assert_eq!(cores::problems(), [""; 0]);
}

#[test]
fn a_joined_machine_leaves_the_host_nothing() {
    let version = &lab().versions["kubernetes"];
    if let Some(why) = control_plane::hindrance(version) {
        return not_run("a_joined_machine_leaves_the_host_nothing", &why);
    }
    let control_plane = ControlPlane::start(version);
    canary::admit(&control_plane);
    let problems: Vec<String> = std::thread::scope(|scope| {
        let joins: Vec<_> = joined::CASES
            .iter()
            .map(|case| scope.spawn(|| joined::problems(case, &control_plane)))
            .collect();
        joins.into_iter().flat_map(|join| join.join().expect("it says what is wrong")).collect()
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A new source, location, platform or form of user data must be added here too.
#[test]
fn every_source_and_every_form_is_covered() {
    let covered = |name: &str| SOURCES.iter().any(|source| source.covers == name);
    // The locations cover the user data of these.
    let sources = platforms::ALL.iter().map(|platform| platform.name).filter(|name| *name != "metal");
    let missing: Vec<&str> = sources
        .chain(locations::ALL.iter().map(|(name, _)| *name))
        .filter(|name| !covered(name))
        .collect();
    assert!(missing.is_empty(), "no source covers {missing:?}");
    let missing: Vec<&str> = platform::names()
        .filter(|name| SOURCES.iter().all(|source| source.platform != *name))
        .collect();
    assert!(missing.is_empty(), "no source has the platform {missing:?}");
    for format in FORMATS {
        assert_eq!(kind(&format.right().user_data), format.kind, "{}", format.name);
        assert!(is_read(format.kind), "{}", format.name);
    }
    assert!(CHEAP.iter().all(|name| SOURCES.iter().any(|source| source.name == *name)));
}

/// Whether a node config can be in it. A new kind does not compile here until it is decided, and a format is
/// added.
fn is_read(kind: Kind) -> bool {
    match kind {
        Kind::NodeConfig
        | Kind::CloudConfig
        | Kind::CloudConfigPatch
        | Kind::CloudConfigArchive
        | Kind::Template
        | Kind::Multipart
        | Kind::Gzip
        | Kind::Zstd
        | Kind::Base64
        | Kind::Utf16
        | Kind::DataUrl
        | Kind::Ignition => true,
        Kind::Include
        | Kind::Boothook
        | Kind::OtherCloudInit
        | Kind::Script
        | Kind::WindowsScript
        | Kind::Unknown => false,
    }
}
