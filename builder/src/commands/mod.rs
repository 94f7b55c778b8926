//! One file per verb: wiring, no logic.

pub mod build;
pub mod completions;
pub mod fetch;
pub mod inspect;
pub mod lock;
pub mod plan;
pub mod schema;

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Cli, DefinitionArgs, Verb};
use crate::definition::{self, Resolved};
use crate::error::{Class, Error, Result};
use crate::pipeline::session;
use crate::progress::Progress;

/// Runs what the command line asks for.
pub fn run(cli: &Cli) -> Result<()> {
    let progress = Progress::new(cli.quiet);
    let terminal = Terminal { json: cli.json };
    match &cli.verb {
        Verb::Build(args) => build::run(args, progress, &terminal),
        Verb::Lock(args) => lock::run(args, progress, &terminal),
        Verb::Fetch(args) => fetch::run(args, progress, &terminal),
        Verb::Plan(args) => plan::run(args, &terminal),
        Verb::Inspect(args) => inspect::run(args, &terminal),
        Verb::Schema(args) => schema::run(args, &terminal),
        Verb::Completions { shell } => completions::run(*shell, &terminal),
    }
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
            serde_json::to_string_pretty(value).map_err(|error| Error::new(Class::Internal, format!("printing: {error}")))?
        } else {
            text(value)
        };
        self.print(text.trim_end())
    }

    /// Prints text that has one form. A reader that has gone away is not an error.
    pub fn print(&self, text: &str) -> Result<()> {
        match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(Class::Io, format!("printing: {error}"))),
            _ => Ok(()),
        }
    }
}

/// The resolved definition and the path of its lock.
pub(crate) fn resolve(args: &DefinitionArgs, output_dir: &std::path::Path) -> Result<(Resolved, PathBuf)> {
    let resolved = definition::load(&args.definition, &args.sets, args.layers_dir.as_deref())?;
    let lock = session::lock_path(args.lock.as_deref(), &resolved.lock, !args.sets.is_empty(), output_dir);
    Ok((resolved, lock))
}

/// The lock whose pins a new one starts from: the committed one, unless the user keeps another with `--lock`.
pub(crate) fn seed<'a>(args: &DefinitionArgs, resolved: &'a Resolved) -> Option<&'a std::path::Path> {
    args.lock.is_none().then_some(resolved.lock.as_path())
}
