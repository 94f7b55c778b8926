//! The agent killed by a fault while it holds what user-data of a form said.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::{canary, workspace};

use super::attempt;
use super::cases::{self, CHEAP};
use super::fixture::Fixture;
use super::formats::{FORMATS, Format, Made, Target, right, signed_only};
use super::sources::SOURCES;

/// How long the agent gets to the API server that is not there, and to what it asks for a token.
const PATIENCE: Duration = Duration::from_secs(10);
/// By then it has the token, and still tries.
const WHILE: Duration = Duration::from_millis(40);
/// A busy machine may miss it.
const ATTEMPTS: usize = 5;

/// The problems of a form.
pub fn problem(format: &Format) -> Option<String> {
    let source = SOURCES.iter().find(|source| source.name == CHEAP[0]).expect("it is one of them");
    let made = (format.make)(&Target { time: "1s", ..right() });
    let policy = format.is_signed.then(signed_only);
    for _ in 0..ATTEMPTS {
        let fixture = Fixture::of(source, &made, policy.as_deref());
        if let Some(found) = hit(&fixture, format, &made) {
            return (!found.is_empty()).then(|| format!("{}: a core holds a secret: {found:?}", format.name));
        }
    }
    Some(format!("{}: the agent was never hit while it had the token", format.name))
}

/// Files that hold a secret; none where it ended before it was hit.
fn hit(fixture: &Fixture, format: &Format, made: &Made) -> Option<Vec<(String, u32)>> {
    let folder = workspace::scratch();
    let agent = attempt::command(fixture, &["run"]);
    let mut command = Command::new("prlimit");
    command
        .arg("--core=unlimited")
        .arg(agent.get_program())
        .args(agent.get_args())
        .env_clear();
    agent.get_envs().for_each(|(name, value)| {
        command.env(name, value.unwrap_or_default());
    });
    let mut child = command
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let started = Instant::now();
    while !is_in_discovery(fixture)
        && matches!(child.try_wait(), Ok(None))
        && started.elapsed() < workspace::patience(PATIENCE)
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(WHILE);
    canary::crash(child).then(|| cases::marks_of(format, made).places(folder.path()))
}

fn is_in_discovery(fixture: &Fixture) -> bool {
    fs::read_to_string(fixture.root().join("run/firstboot/status.json"))
        .is_ok_and(|status| status.contains("\"discovery\""))
}

/// Every form, one after another: what is measured is when.
pub fn problems() -> Vec<String> {
    FORMATS.iter().filter_map(problem).collect()
}
