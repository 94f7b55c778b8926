//! Machines that joined with what the host's channel gave them: what may be overwritten there is, unless the
//! config says otherwise, and the token is nowhere else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use firstboot::host::kvp;
use kiln_tests::canary::{Marks, SECRET};
use kiln_tests::control_plane::ControlPlane;
use kiln_tests::kiln;
use kiln_tests::lab_node::LabNode;

use super::formats::{FORMATS, KEY_LINE, PASSWORD, Target, right};
use super::sources::pairs;

/// The pool of pairs that the host fills.
const POOL: &str = "/var/lib/hyperv/.kvp_pool_0";
/// The image says where it is: no firmware does.
const POLICY: &str = "{\"platform\": \"hyperv\", \"config\": [\"hyperv\"], \"secrets\": [\"hyperv\"]}";
/// A key-value pair of another program.
const OTHER: (&str, &str) = ("other", "it stays");

/// A machine of Hyper-V.
pub struct Case {
    /// Also the node's name.
    pub name: &'static str,
    pub format: &'static str,
    /// The pair's name.
    pub key: &'static str,
    /// Whether the pairs are to be overwritten.
    pub is_scrubbed: bool,
}

pub const CASES: &[Case] = &[
    Case { name: "kvp-cloud-config", format: "cloud-config", key: "firstboot.config", is_scrubbed: true },
    Case { name: "kvp-ignition", format: "ignition-3.4", key: "ignition.config", is_scrubbed: true },
    Case { name: "kvp-left", format: "mime", key: "firstboot.config", is_scrubbed: false },
];

/// Joins; returns the problems.
pub fn problems(case: &Case, control_plane: &ControlPlane) -> Vec<String> {
    let node = LabNode::start(control_plane, case.name, &[kiln::programs()]);
    let write = |path: &str, bytes: &[u8]| {
        let path = node.path(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .and_then(|()| fs::write(path, bytes))
            .expect("the folder is the test's");
    };
    let pool = pairs(case.key, &user_data(case, control_plane)).remove(0).1;
    write(POOL, &[kvp::record(OTHER.0, OTHER.1).expect("it fits"), pool].concat());
    write("/usr/lib/kiln/policy.json", POLICY.as_bytes());
    let ended = node.run(["firstboot", "run", "-v", "9"], Duration::from_secs(90));
    let said = ended.stdout + &ended.stderr;
    let mut problems = Vec::new();
    let mut demand = |holds: bool, otherwise: &str| {
        if !holds {
            problems.push(format!("{}: {otherwise}: {said}", case.name));
        }
    };
    demand(ended.code == 0 && said.contains("\"outcome\":\"joined\""), "it does not join");
    let secrets = Marks::of(&[SECRET, PASSWORD, KEY_LINE]);
    demand(!secrets.are_in(said.as_bytes()), "it tells a secret");
    let there = fs::read(node.path(POOL)).unwrap_or_default();
    let pairs = kvp::pairs(&there);
    demand(
        pairs.iter().any(|pair| pair.key == OTHER.0 && *pair.value == OTHER.1.as_bytes()),
        "another pair is gone",
    );
    let token = Marks::of(&[SECRET]);
    demand(
        pairs.iter().any(|pair| token.are_in(&pair.value)) != case.is_scrubbed,
        "the pairs of the host are not as the config wants them",
    );
    if case.is_scrubbed {
        let mode = fs::metadata(node.path(POOL)).map_or(0, |about| about.mode());
        demand(
            mode & 0o077 == 0 && said.contains("overwrote the config"),
            "it does not say that it overwrote them, or leaves the pool open",
        );
    }
    for place in leftovers(&node, &secrets, case) {
        demand(false, &format!("a secret is in {place}"));
    }
    problems
}

/// Files that hold a secret, other than the pool that is to stay as it is, and the key that the user-data
/// asks for, in its closed file.
fn leftovers(node: &LabNode, secrets: &Marks, case: &Case) -> Vec<String> {
    // What was written to the machine's disk is below /run too.
    let places = ["/run", "/tmp"].into_iter().flat_map(|folder| secrets.places(&node.path(folder)));
    let is_expected = |(path, mode): &(String, u32)| {
        let is_key = path.ends_with("/etc/ssl/canary.key") && *mode == 0o600;
        is_key || (!case.is_scrubbed && path.ends_with(POOL))
    };
    places
        .filter(|place| !is_expected(place))
        .map(|(path, mode)| format!("{path} ({mode:o})"))
        .collect()
}

/// The form, for this cluster and with time to join.
fn user_data(case: &Case, control_plane: &ControlPlane) -> Vec<u8> {
    let format = FORMATS.iter().find(|format| format.name == case.format).expect("it is one of them");
    let target = Target {
        endpoint: control_plane.endpoint().to_owned(),
        pin: control_plane.pin().to_owned(),
        node: case.name.to_owned(),
        time: "60s",
        ..right()
    };
    let made = (format.make)(&target).user_data;
    if case.is_scrubbed {
        return made;
    }
    let own = "---\napiVersion: firstboot.kiln/v1\nkind: FirstbootConfiguration\nscrub: false\n";
    String::from_utf8_lossy(&made)
        .replace("\n--part--", &format!("{own}\n--part--"))
        .into_bytes()
}
