//! `kiln completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::Terminal;
use crate::cli::Cli;
use crate::error::Result;

/// Prints the completion script of `shell`.
pub fn run(shell: Shell, terminal: &Terminal) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut script);
    terminal.print(String::from_utf8_lossy(&script).trim_end())
}
