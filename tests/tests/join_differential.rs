//! The same join by the real kubeadm and by firstboot, each on a machine of its own beside the same API server, compared: every file (content, mode,
//! owner), the objects in the API, the service manager's calls, every refusal with its reason.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, thread};

use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::join_case::{self, Case};
use kiln_tests::join_outcome::{self, Known, Outcome};
use kiln_tests::workspace;

/// Joins at a time: most of a kubeadm's time is waiting.
const AT_A_TIME: usize = 4;

/// kubeadm gives a kubelet that does not start two minutes.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn kubeadm_alone() {
    let version = std::env::var("V").unwrap_or("1.36.2".into());
    let only = std::env::var("ONLY").unwrap_or_default();
    if let Some(why) = control_plane::hindrance(&version) {
        return workspace::not_run("kubeadm", &why);
    }
    let minor = version.split('.').nth(1).unwrap().parse().unwrap();
    let started = Instant::now();
    let control_plane = ControlPlane::start(&version);
    let known = join_outcome::prepare(&control_plane);
    workspace::say(&format!("control plane after {:.1} s", started.elapsed().as_secs_f64()));
    let cases: Vec<Case> = join_case::all(minor).into_iter().filter(|c| c.name.contains(&only)).collect();
    let queue = Mutex::new(cases.into_iter());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { break };
                    let outcome = join_outcome::observe(
                        &control_plane,
                        &known,
                        &case,
                        &[],
                        &["kubeadm", "join", "--config", "/case/join.yaml"],
                        PATIENCE,
                    );
                    fs::create_dir_all(format!("/tmp/wlab/out-{minor}")).unwrap();
                    fs::write(format!("/tmp/wlab/out-{minor}/{}.json", case.name), serde_json::to_string_pretty(&outcome).unwrap())
                        .unwrap();
                    let last = outcome
                        .ended
                        .stderr
                        .lines()
                        .filter(|l| l.starts_with("error") || l.contains("[ERROR"))
                        .collect::<Vec<_>>()
                        .join(" | ");
                    workspace::say(&format!(
                        "{:45} {:12} {} {:.1} s node {} {}",
                        case.name,
                        case.expect,
                        outcome.ended.code,
                        outcome.ended.seconds,
                        outcome.node.is_some(),
                        last.chars().take(300).collect::<String>()
                    ));
                }
            });
        }
    });
    workspace::say(&format!("all after {:.1} s", started.elapsed().as_secs_f64()));
    let _: Option<(BTreeMap<u8, u8>, DefaultHasher, PathBuf, Known, Outcome)> = None;
}
