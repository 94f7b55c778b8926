//! `firstboot service`: the agent as a service of Windows.
//!
//! | word | what it does |
//! |---|---|
//! | `run` | what `firstboot run` does, as the service manager wants it; the verdict goes to the event log and COM1 |
//! | `install` | makes the service, which starts at boot, and the source of its events |
//! | `remove` | removes both |

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::root::Root;
use crate::host::service_process::{self, NAME};
use crate::host::services::{Definition, Services, Start};
use crate::host::{event_log, own_folders, process};
use crate::paths;
use crate::run::{self, Console, Session};
use crate::status::{self, Outcome};

/// Runs the word behind `service`.
pub(super) fn main(words: &[OsString]) -> Result<ExitCode> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["run"] => {
            let is_service = service_process::run(work).doing("running as the service firstboot")?;
            Ok(ExitCode::from(if is_service { 0 } else { work() }))
        }
        ["install"] => install().map(|()| ExitCode::SUCCESS),
        ["remove"] => remove().map(|()| ExitCode::SUCCESS),
        _ => Err(Failure::new(ErrorKind::Usage, "firstboot service takes one word")
            .help("firstboot service run, install or remove")),
    }
}

fn install() -> Result<()> {
    let program = std::env::current_exe().doing("looking for the agent's own file")?;
    let command_line = format!("\"{}\" service run", program.display());
    event_log::register()?;
    Services::of(&Root::default()).define(&Definition {
        name: NAME,
        title: "Kiln firstboot",
        description: "Joins this machine to its Kubernetes cluster",
        command_line: &command_line,
        start: Start::Boot,
        needs: None,
    })
}

fn remove() -> Result<()> {
    Services::of(&Root::default()).remove(NAME)?;
    event_log::unregister()
}

/// One run. The code is 0 where starting again cannot help, so that the manager does not try.
fn work() -> u8 {
    let root = Root::default();
    if let Err(failure) = own_folders::secure(&root) {
        // The status there may be anybody's, so the event is what is known here.
        event_log::say(&format!("firstboot: {failure}"), true);
        return 0;
    }
    process::log_to(&root.entry(paths::SERVICE_LOG));
    let ended = run::run(&Session::new(&root, Console { json: false }));
    if let Ok(Some(status)) = status::read(&root) {
        let is_failure = status.outcome == Outcome::Failed;
        event_log::say(&format!("firstboot-verdict: {}", status::verdict(&status)), is_failure);
    }
    match ended {
        Err(failure) if !failure.kind.is_final() => failure.kind.exit_code(),
        _ => 0,
    }
}
