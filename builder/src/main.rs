//! `kiln`: parse, run, report.

use std::process::ExitCode;

use clap::Parser;
use kiln::cli::Cli;
use kiln::commands;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| commands::stop(&error));
    match commands::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            if cli.json {
                println!("{:#}", commands::as_json(&error));
            }
            eprintln!("error: {error}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}
