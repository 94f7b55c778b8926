//! One file per verb: wiring, no logic.

mod audit;
mod build;
mod completions;
mod diff;
mod fetch;
mod image;
mod inspect;
mod layer;
mod lock;
mod mirror;
mod outdated;
mod plan;
mod run;
mod schema;
mod serve;
mod simulate;
mod test;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::address::said;
use crate::cli::{Cli, DefinitionArgs, Verb};
use crate::definition::Definition;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::Lock;
use crate::pipeline::session;
use crate::progress::Progress;
use crate::registry;

/// Runs the verb of the command line. The exit code is success, or the one of the command that `simulate`
/// ran.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    let progress = Progress::new(cli.quiet);
    let terminal = Terminal { json: cli.json };
    let done = match &cli.verb {
        Verb::Build(args) => build::run(args, progress, &terminal),
        Verb::Lock(args) => lock::run(args, progress, &terminal),
        Verb::Fetch(args) => fetch::run(args, progress, &terminal),
        Verb::Mirror(verb) => return mirror::run(verb, progress, &terminal),
        Verb::Layer(verb) => return layer::run(verb, &terminal),
        Verb::Diff(args) => return diff::run(args, &progress, &terminal),
        Verb::Outdated(args) => return outdated::run(args, progress, &terminal),
        Verb::Audit(args) => return audit::run(args, &progress, &terminal),
        Verb::Plan(args) => plan::run(args, &terminal),
        Verb::Inspect(args) => inspect::run(args, &progress, &terminal),
        Verb::Verify(args) => return verify::run(args, &progress, &terminal),
        Verb::Run(args) => return run::run(args, cli.quiet, &terminal),
        Verb::Test(args) => test::run(args, &progress, &terminal),
        Verb::Simulate(args) => return simulate::run(args, cli.quiet, &terminal),
        Verb::Serve(args) => serve::run(args, &terminal),
        Verb::Schema(args) => schema::run(args, &terminal),
        Verb::Completions { shell } => completions::run(*shell, &terminal),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Ends the program after a command line that is wrong, or that asks for help.
pub fn stop(error: &clap::Error) -> ! {
    let text = error.to_string();
    let wants_json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    if wants_json && error.use_stderr() {
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        println!("{:#}", as_json(&Error::new(ErrorKind::Usage, message).help("see kiln --help")));
    }
    if said(&text) == text {
        error.exit();
    }
    eprint!("{}", said(&text));
    std::process::exit(error.exit_code())
}

/// An error as `--json` prints it.
pub fn as_json(error: &Error) -> serde_json::Value {
    let (class, message, help) = (error.kind().name(), error.message(), error.hint());
    serde_json::json!({ "error": { "class": class, "message": message, "help": help } })
}

/// Where results go: standard output, as text or as JSON.
#[derive(Debug)]
pub struct Terminal {
    json: bool,
}

impl Terminal {
    /// Prints a result: `text` for people, `value` with `--json`.
    pub fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let text = if self.json {
            serde_json::to_string_pretty(value)
                .map_err(|error| Error::new(ErrorKind::Internal, format!("printing: {error}")))?
        } else {
            text(value)
        };
        self.print(text.trim_end())
    }

    /// Prints a line of many: `text` for people, `value` on one line with `--json`.
    pub fn line(&self, value: &serde_json::Value, text: &str) -> Result<()> {
        self.print(&self.chosen(value, text))
    }

    /// The text that [`Terminal::line`] prints.
    pub fn chosen(&self, value: &serde_json::Value, text: &str) -> String {
        if self.json { value.to_string() } else { text.to_owned() }
    }

    /// Prints text that has one form. A reader that has gone away is not an error.
    pub fn print(&self, text: &str) -> Result<()> {
        match writeln!(std::io::stdout(), "{}", said(text)) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(ErrorKind::Io, format!("printing: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// What a lock decides about the versions that its definition leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// They stay.
    Kept,
    /// They are chosen anew.
    Chosen,
}

/// The resolved definition and the path of its lock.
pub(crate) fn resolve(
    args: &DefinitionArgs,
    output_dir: &std::path::Path,
    open: Open,
) -> Result<(Definition, PathBuf)> {
    let beside = args.definition.with_extension("lock");
    let lock = session::lock_path(args.lock.as_deref(), &beside, !args.sets.is_empty(), output_dir);
    let old = match open {
        Open::Kept => earlier_lock(args, &lock)?,
        Open::Chosen => None,
    };
    let kept = old.map(|lock| lock.versions).unwrap_or_default();
    let resolved = registry::load_again(&args.definition, &args.sets, args.layers_dir.as_deref(), &kept)?;
    Ok((resolved, lock))
}

/// The lock at `path`, else the one whose pins a new one keeps.
pub(crate) fn earlier_lock(args: &DefinitionArgs, path: &std::path::Path) -> Result<Option<Lock>> {
    match Lock::read(path)? {
        Some(lock) => Ok(Some(lock)),
        None => Ok(seed(args).map(|seed| Lock::read(&seed)).transpose()?.flatten()),
    }
}

/// Shows what will probably fail.
pub(crate) fn warn(resolved: &Definition, progress: &Progress) {
    resolved.warnings.iter().for_each(|warning| progress.note(&format!("warning: {warning}")));
}

/// The lock whose pins a new one keeps: the committed one, unless the user names another with `--lock`.
pub(crate) fn seed(args: &DefinitionArgs) -> Option<PathBuf> {
    args.lock.is_none().then(|| args.definition.with_extension("lock"))
}
