//! Every platform with a service in the network, with every fault that applies to it: before its deadline,
//! the agent reads its config or ends with a named error. It does not repeat hostile content or secrets,
//! follows no redirect, and sends the session token with each request that needs it.
//!
//! Each case runs a separate agent (`firstboot explain`) on a machine that is a folder, in a network
//! namespace where the simulator has the platform's addresses.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use kiln_simulator::fault::{Act, Ends, Fault, SCRIPTS};
use kiln_simulator::platform::{self, Platform};
use kiln_simulator::{Running, Simulation};
use kiln_tests::agent::{self, Run};
use kiln_tests::simulated::{self, Machine};
use kiln_tests::{kiln, workspace};
use serde_json::Value;

/// Cases at a time: most of them wait.
const AT_ONCE: usize = 24;

/// Seconds that the agent gives a source whose fault does not pass.
const DEADLINE: u32 = 3;

/// Seconds that it gives one whose fault does.
const LONG_DEADLINE: u32 = 30;

/// The part of the token in the config that must not be said; the pin begins otherwise.
const SECRET: &str = "fedcba9876543210";

const CONFIG: &str = "apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: \"192.0.2.100:6443\"
    token: \"abcdef.fedcba9876543210\"
    caCertHashes: [\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]
";

/// Platforms of the simulator that are not tested here, and the reasons.
const LEFT_OUT: &[(&str, &str)] = &[
    ("equinix", "the agent asks it by name and with TLS, which the simulator does not speak"),
    (
        "metal",
        "what a URL of the kernel command line may take is not bound by the argument that this test sets",
    ),
    ("nocloud", "the agent reads it from drives only"),
];

struct Case {
    platform: &'static str,
    fault: Fault,
}

/// The result of a case.
struct Seen {
    run: Run,
    said: Value,
    requests: usize,
    problems: Vec<String>,
}

#[test]
fn every_platform_survives_every_fault() {
    if !simulated::can_start("every_platform_survives_every_fault") {
        return;
    }
    kiln::programs();
    let only = std::env::var("KILN_TEST_CASES").unwrap_or_default();
    let wanted = |case: &Case| only.is_empty() || only.split(',').any(|part| case_name(case).contains(part));
    let cases: VecDeque<Case> = all_cases().into_iter().filter(wanted).collect();
    let count = cases.len();
    let rows = Mutex::new(Vec::new());
    let cases = Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next(&cases) {
                    let seen = std::panic::catch_unwind(|| try_case(&case));
                    rows.lock().expect("no holder panics").push((case, seen));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no holder panics");
    rows.sort_by_key(|(case, _)| case_name(case));
    let mut problems = Vec::new();
    let mut table = Vec::new();
    for (case, seen) in &rows {
        match seen {
            Ok(seen) => {
                table.push(row(case, seen));
                problems
                    .extend(seen.problems.iter().map(|problem| format!("{}: {problem}", case_name(case))));
            }
            Err(_) => problems.push(format!("{}: the test itself panicked", case_name(case))),
        }
    }
    workspace::say(&format!(
        "platform and fault                        ends         exit     s  requests  message\n{}",
        table.join("\n")
    ));
    LEFT_OUT
        .iter()
        .for_each(|(platform, why)| workspace::say(&format!("left out: {platform}: {why}")));
    workspace::say(&format!("{count} cases, {} of them with a problem", problems.len()));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(!only.is_empty() || count >= 200, "{count} cases are too few");
}

fn next(cases: &Mutex<VecDeque<Case>>) -> Option<Case> {
    cases.lock().expect("no holder panics").pop_front()
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in platform::names().filter(|name| LEFT_OUT.iter().all(|left_out| left_out.0 != *name)) {
        let platform = platform::named(name).expect("the simulator's own files are right");
        for script in SCRIPTS.iter().filter(|_| !platform.services.is_empty()) {
            let fault = Fault::named(script.name).expect("a script's name is one of a fault");
            let faults = passing(&fault)
                .chain(of_user_data(&fault, &platform))
                .filter(|fault| fault.applies(&platform, true));
            cases.extend(faults.map(|fault| Case { platform: name, fault }));
        }
    }
    // Cases with the longest waits come first.
    cases.sort_by_key(|case| case.fault.ends() != Ends::Unreachable);
    cases
}

/// The fault as it is, and, where it lasts for ever but could pass, also for one request only.
fn passing(fault: &Fault) -> impl Iterator<Item = Fault> {
    let can_pass = fault.number.is_none()
        && fault.script.passing == Ends::Succeeds
        && fault.script.lasting != Ends::Succeeds;
    let once = can_pass.then(|| Fault { number: Some(1), ..fault.clone() });
    std::iter::once(fault.clone()).chain(once)
}

/// The same when it concerns the user-data alone, after everything else was well.
fn of_user_data(fault: &Fault, platform: &Platform) -> Option<Fault> {
    let is_wanted = is_of_requests(fault) && fault.script.act != Act::Withdraw;
    let path = platform.user_data_paths().into_iter().next().filter(|_| is_wanted)?;
    Some(Fault { path: Some(path), ..fault.clone() })
}

fn is_of_requests(fault: &Fault) -> bool {
    !matches!(fault.script.act, Act::Nothing | Act::Late | Act::Refuse | Act::NoRoute | Act::BlackHole)
}

/// How a case must end: user-data that is missing, or of no known kind, is no failure of the source, and what
/// is in it is the config's affair.
fn ends(case: &Case) -> Ends {
    match (case.fault.script.act, case.fault.ends()) {
        (Act::Status(404, _), _) if case.fault.path.is_some() => Ends::Somehow,
        (_, Ends::Malformed) if case.fault.path.is_some() => Ends::Somehow,
        (_, ends) => ends,
    }
}

fn case_name(case: &Case) -> String {
    format!("{} {}", case.platform, case.fault)
}

/// One agent on one machine.
fn try_case(case: &Case) -> Seen {
    let machine = Machine::start(Simulation::of(case.platform).user_data(CONFIG).fault(case.fault.clone()));
    let deadline = if ends(case) == Ends::Succeeds { LONG_DEADLINE } else { DEADLINE };
    machine.append(&format!("firstboot.source-deadline={deadline}"));
    let limit = Duration::from_secs(case.fault.within(deadline).into());
    let run = agent::run(explain(machine.root()), limit + Duration::from_secs(2));
    judge(case, run, &machine.running, workspace::patience(limit))
}

fn explain(root: &Path) -> Command {
    let mut command = Command::new(kiln::programs().join("firstboot"));
    command
        .args(["explain", "--json", "--rootfs"])
        .arg(root)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null());
    command
}

fn judge(case: &Case, run: Run, running: &Running, limit: Duration) -> Seen {
    let said = run
        .output
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<Value>(line).ok())
        .unwrap_or_default();
    let mut problems = Vec::new();
    let mut demand = |is_so: bool, problem: &str| {
        if !is_so {
            let said: String = run.output.trim().chars().take(300).collect();
            problems.push(format!(
                "{problem}: exit {:?} after {:.1} s: {}",
                run.code,
                run.seconds,
                said.escape_debug()
            ));
        }
    };
    let has_config = run.code == Some(0) && said["discovery"].to_string().contains("192.0.2.100:6443");
    let has_named_error = run.code == Some(10)
        && said["class"] == "source"
        && !said["message"].as_str().unwrap_or_default().is_empty();
    // Facts without user-data, or with some that is no node config: `explain` says so.
    let has_facts_only = run.code == Some(0) && said["config"] == "no node config found";
    match ends(case) {
        Ends::Succeeds => demand(has_config, "it has no config"),
        Ends::Unreachable | Ends::Denied | Ends::Malformed => {
            demand(has_named_error, "it does not end with an error of the source")
        }
        // The fault may have made the config invalid, which is a named error too.
        Ends::Somehow => {
            demand(
                has_config || has_facts_only || has_named_error || said["class"] == "config",
                "it ends in no way that has a name",
            );
        }
    }
    demand(was_met(case, running), "it does not meet the fault");
    demand(run.seconds <= limit.as_secs_f64(), "it takes too long");
    demand(!run.output.contains(SECRET), "it tells the token");
    demand(
        !run.output.chars().any(|each| each.is_control() && each != '\n'),
        "it repeats control characters",
    );
    demand(!running.was_trapped(), "it follows a redirect");
    demand(running.journal().without_token().is_empty(), "it asks without a token");
    Seen { requests: running.journal().count(), run, said, problems }
}

/// Whether some request met the fault, where it is one of requests.
fn was_met(case: &Case, running: &Running) -> bool {
    !is_of_requests(&case.fault)
        || running
            .journal()
            .entries()
            .iter()
            .any(|entry| entry.fault == Some(case.fault.script.name))
}

fn row(case: &Case, seen: &Seen) -> String {
    let read = if seen.said["discovery"].is_null() { "no config" } else { "read" };
    let ends = seen.said["class"].as_str().unwrap_or(if seen.run.code == Some(0) { read } else { "?" });
    let message: String = seen.said["message"].as_str().unwrap_or_default().chars().take(150).collect();
    let code = seen.run.code.unwrap_or(-1);
    format!(
        "{:40}  {ends:11}  {code:4}  {:4.1}  {:8}  {message}",
        case_name(case),
        seen.run.seconds,
        seen.requests
    )
}
