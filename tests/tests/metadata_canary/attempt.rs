//! A watched agent on a machine, and the traces that it must not leave.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use kiln_tests::canary::{Marks, Watched};
use kiln_tests::{kiln, workspace};
use serde_json::Value;

use super::fixture::Fixture;
use super::formats::{ENDPOINT, Made, certificates};
use super::sources::Source;

/// The agent's command.
pub type Verb = &'static [&'static str];

/// Exit codes of errors that have a name, beside those of a join that came to the API server.
const NAMED: &[i32] = &[2, 3, 10, 11, 12, 13];
/// The path of a file from the operator.
const FILE: &str = "root/given";

/// How `firstboot run` must end.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// With the config, at the API server that is not there.
    Unreachable,
    /// With this exit code.
    With(i32),
    /// With an error that has a name.
    Refused,
    /// In any way that has a name.
    Somehow,
}

pub struct Case {
    /// Its subject, for the count.
    pub about: &'static str,
    pub name: String,
    pub source: &'static Source,
    pub made: Made,
    pub policy: Option<String>,
    pub verbs: Vec<Verb>,
    /// Files from the operator, each with a command to which the path is added.
    pub given: Vec<(Verb, Vec<u8>)>,
    pub ends: Ends,
    pub marks: Arc<Marks>,
}

impl Case {
    /// Runs it; returns the problems.
    pub fn run(&self) -> Vec<String> {
        let fixture = Fixture::of(self.source, &self.made, self.policy.as_deref());
        let mut problems = Vec::new();
        for verb in &self.verbs {
            problems.extend(self.attempt(&fixture, verb, command(&fixture, verb)));
        }
        for (verb, bytes) in &self.given {
            fixture.write(FILE, bytes);
            let mut command = command(&fixture, verb);
            command.arg(fixture.root().join(FILE));
            problems.extend(self.attempt(&fixture, verb, command));
        }
        problems.extend(
            self.marks
                .open_places(fixture.root())
                .into_iter()
                .map(|place| format!("others can read a secret: {place}")),
        );
        let requests = fixture.machine.running.journal().entries();
        let told = requests
            .iter()
            .filter(|entry| self.marks.are_in(entry.target.as_bytes()) || self.marks.are_in(&entry.body));
        problems.extend(told.map(|entry| format!("a secret is sent with {} {}", entry.method, entry.target)));
        problems
    }

    fn attempt(&self, fixture: &Fixture, verb: Verb, command: Command) -> Vec<String> {
        let watched = self.marks.watch(fixture.root(), command);
        let problems = self.leaks(&watched).into_iter().chain(self.wrong_end(verb, &watched, fixture));
        problems.map(|problem| format!("{}: {problem}", verb.join(" "))).collect()
    }

    fn leaks(&self, watched: &Watched) -> Vec<String> {
        let said = self.marks.are_in(watched.run.output.as_bytes());
        // A failing test may show it, because these secrets are not real.
        let said = said.then(|| format!("it tells a secret: {}", watched.run.output));
        watched.seen.iter().map(|seen| format!("a secret is in {seen}")).chain(said).collect()
    }

    /// Without this, a run that reads nothing would pass.
    fn wrong_end(&self, verb: Verb, watched: &Watched, fixture: &Fixture) -> Option<String> {
        let run = &watched.run;
        let status = || {
            fs::read(fixture.root().join("run/firstboot/status.json"))
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        };
        let source = status()
            .map_or(String::new(), |status: Value| status["source"].as_str().unwrap_or_default().to_owned());
        let took = source.starts_with(&format!("{}: ", self.source.covers))
            && run.output.contains("192.0.2.100:6443");
        let asked = self.made.asked.is_empty() || run.output.contains("a token came from");
        let is_right = match (verb[0], self.ends) {
            ("run" | "join", Ends::Unreachable) => {
                run.code == Some(11) && asked && (verb[0] == "join" || took)
            }
            ("explain", Ends::Unreachable) => {
                run.code == Some(0) && (run.output.contains(ENDPOINT) || !self.made.asked.is_empty())
            }
            ("preflight", Ends::Unreachable) => run.code == Some(0) && run.output.contains("no errors"),
            ("run", Ends::With(code)) => run.code == Some(code),
            ("run", Ends::Refused) => run.code.is_some_and(|code| NAMED.contains(&code)),
            _ => run.code.is_some_and(|code| code == 0 || NAMED.contains(&code)),
        };
        (!is_right).then(|| format!("it ends with {:?}, from {source:?}: {}", run.code, run.output))
    }
}

/// The agent of a machine.
pub fn command(fixture: &Fixture, verb: Verb) -> Command {
    let mut command = Command::new(kiln::programs().join("firstboot"));
    command.arg("--rootfs").arg(fixture.root()).args(verb);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SSL_CERT_FILE", authorities())
        .stdin(Stdio::null());
    command
}

/// The machine's CAs.
fn authorities() -> &'static std::path::Path {
    static FILE: OnceLock<(tempfile::TempDir, std::path::PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let folder = workspace::scratch();
        let path = folder.path().join("ca.pem");
        fs::write(&path, &certificates().pem).expect("the folder is the test's");
        (folder, path)
    });
    path
}
