//! Options of the command line that only some base reads: each base brings its own.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::ALL;

/// The flag behind [`Options::allow_expired_release`], which the error that it avoids names.
pub const ALLOW_EXPIRED_FLAG: &str = "--allow-expired-release";

/// The value of an environment variable that stands for an option; an empty one says nothing.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An option of one base.
#[derive(Debug)]
pub struct BaseOption {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The placeholder of the value in the help.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// The options that were given.
#[derive(Debug, Clone, Default)]
pub struct Options {
    values: BTreeMap<&'static str, String>,
    /// Accept package indices past their Valid-Until.
    pub allow_expired_release: bool,
}

impl Options {
    /// The value of the option of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let options = ALL.iter().flat_map(|base| base.options());
        let command = options.fold(command, |command, option| {
            command.arg(Arg::new(option.name).long(option.name).value_name(option.value).help(option.help))
        });
        let flag = ALLOW_EXPIRED_FLAG.trim_start_matches('-');
        command.arg(
            Arg::new(flag)
                .long(flag)
                .action(ArgAction::SetTrue)
                .help("Accept package indices past their Valid-Until (frozen mirrors)"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for option in ALL.iter().flat_map(|base| base.options()) {
            if let Some(value) = matches.get_one::<String>(option.name) {
                self.values.insert(option.name, value.clone());
            }
        }
        self.allow_expired_release = matches.get_flag(ALLOW_EXPIRED_FLAG.trim_start_matches('-'));
        Ok(())
    }
}
