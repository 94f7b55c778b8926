//! Every fault leads to a distinct outcome within its time: the class and the exit code of the verdict. If
//! only the environment was at fault, the same machine joins with the same config once the fault is gone. No
//! run prints a secret.

//!
//! | file | holds |
//! |---|---|
//! | `join_faults.rs` | how a case is judged |
//! | `join_faults/cases.rs` | the table of cases |
//! | `join_faults/environment.rs` | what goes wrong around an agent, and how |
//! | `join_faults/token_from.rs` | what goes wrong where a token is asked for |

#[path = "join_faults/cases.rs"]
mod cases;
#[path = "join_faults/environment.rs"]
mod environment;
#[path = "join_faults/token_from.rs"]
mod token_from;

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::Duration;

use cases::{CASES, Case, Ends};
use environment::{Lab, Seen};
use kiln_tests::agent::{self, Runtime};
use kiln_tests::audit;
use kiln_tests::control_plane::{self, ControlPlane};
use kiln_tests::lab::lab;
use kiln_tests::netns;
use kiln_tests::workspace;
use serde_json::{Value, json};
use testkit::not_run;

/// Cases at a time: most of them wait.
const AT_ONCE: usize = 4;

/// The problems of a case, as text.
fn judge_case(lab: &Lab, case: &Case, seen: &Seen) -> Vec<String> {
    let mut problems = seen.problems.clone();
    let verdict = &seen.run.verdict;
    let ended = match case.ends {
        Ends::Joined => (json!("joined"), Value::Null, 0),
        Ends::Failed(class, exit) => (json!("failed"), json!(class), exit),
    };
    if (verdict["outcome"].clone(), verdict["class"].clone(), seen.run.code.unwrap_or(-1)) != ended {
        problems.push(format!(
            "ended with {:?} instead of {:?}: {}",
            seen.run.code,
            case.ends,
            seen.run.output.trim()
        ));
    }
    if verdict["exit"].as_i64() != seen.run.code.map(i64::from) {
        problems.push("the verdict's exit is not the exit code".to_owned());
    }
    if seen.run.seconds > workspace::patience(Duration::from_secs_f64(case.seconds)).as_secs_f64() {
        problems.push(format!("took {:.1} s instead of at most {} s", seen.run.seconds, case.seconds));
    }
    if seen.node.status()["outcome"] != verdict["outcome"] && case.name != "disk-full" {
        problems.push(format!("status.json says {} otherwise", seen.node.status()["outcome"]));
    }
    problems.extend(secrets_told(seen));
    if seen.heals && case.ends != Ends::Joined {
        problems.extend(not_healed(lab, seen));
    }
    problems
}

/// The token must not be said anywhere, nor lie where others can read it.
fn secrets_told(seen: &Seen) -> Vec<String> {
    let secret = seen.token.split('.').nth(1).expect("a token has two parts");
    let mut places = Vec::new();
    if seen.run.output.contains(secret) {
        places.push("the token is in the output".to_owned());
    }
    for (path, mode, bytes) in seen.node.tree() {
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if mode & 0o077 != 0 && (has(secret) || has("PRIVATE KEY")) {
            places.push(format!("a secret lies in {path} ({mode:o})"));
        }
    }
    if seen.node.status().to_string().contains(secret) {
        places.push("the token is in status.json".to_owned());
    }
    places
}

fn not_healed(lab: &Lab, seen: &Seen) -> Option<String> {
    let again = agent::run(
        seen.node.join(netns::command_in(lab.control_plane.fact("pid"), "env")),
        Duration::from_secs(70),
    );
    (again.code != Some(0) || again.verdict["outcome"] != "joined")
        .then(|| format!("without the fault it still fails: {}", again.output.trim()))
}

fn start() -> Option<Lab> {
    let version = &lab().versions["kubernetes"];
    if let Some(why) = control_plane::hindrance(version) {
        not_run("faults of the join", &why);
        return None;
    }
    let control_plane = ControlPlane::start(version);
    environment::allow_manual_group(&control_plane);
    Some(Lab { runtime: Runtime::start(&control_plane), control_plane })
}

#[test]
fn every_fault_has_its_outcome_within_its_time() {
    let Some(lab) = start() else { return };
    let only = std::env::var("KILN_TEST_CASES").unwrap_or_default();
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| only.is_empty() || only.split(',').any(|name| name == case.name))
        .collect();
    let (next, rows) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().expect("no holder panics").next() else { return };
                    // One that panics must not hide the others.
                    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        let seen = (case.work)(&lab, case.name);
                        (row(case, &seen), judge_case(&lab, case, &seen))
                    }));
                    let (row, problems) = judged.unwrap_or_else(|_| {
                        (case.name.to_owned(), vec!["the test itself panicked".to_owned()])
                    });
                    rows.lock().expect("no holder panics").push((case.name, row, problems));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no holder panics");
    rows.sort_by_key(|row| CASES.iter().position(|case| case.name == row.0));
    let table: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
    workspace::say(&format!(
        "fault                                 ends         exit     s  requests  message\n{}",
        table.join("\n")
    ));
    workspace::say(&format!("{} requests in all", audit::calls_of(&lab.control_plane, "firstboot").len()));
    let problems: Vec<String> = rows
        .iter()
        .flat_map(|row| row.2.iter().map(move |problem| format!("{}: {problem}", row.0)))
        .collect();
    assert!(rows.len() == cases.len() && problems.is_empty(), "{}", problems.join("\n"));
}

fn row(case: &Case, seen: &Seen) -> String {
    let verdict = &seen.run.verdict;
    let word = verdict["class"].as_str().or(verdict["outcome"].as_str()).unwrap_or("?");
    let message: String = verdict["message"].as_str().unwrap_or_default().chars().take(160).collect();
    format!(
        "{:36}  {word:11}  {:4}  {:4.1}  {:8}  {message}",
        case.name,
        seen.run.code.unwrap_or(-1),
        seen.run.seconds,
        verdict["requests"].as_u64().unwrap_or_default()
    )
}
