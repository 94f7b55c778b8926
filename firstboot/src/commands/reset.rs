//! `firstboot reset`

use std::io::IsTerminal;

use crate::cli::request::Reset;
use crate::error::{ErrorKind, Failure, Result};
use crate::join::reset::{Outcome, Step};
use crate::output;
use crate::run::{Console, Session, reset};

/// Resets this machine, after a question unless `--force` is given.
pub fn reset(request: &Reset, console: Console) -> Result<()> {
    let configuration = reset::configuration(request)?;
    configuration
        .warnings
        .iter()
        .for_each(|warning| console.print(&format!("warning: {warning}")));
    let session = Session::new(&request.common.root, console);
    reset::check(&session, &configuration)?;
    let is_skipped = |phase: &str| configuration.skip_phases.iter().any(|skipped| skipped == phase);
    if !configuration.force && !configuration.dry_run && !is_skipped("preflight") {
        confirm()?;
    }
    if is_skipped("cleanup-node") {
        console.print("cleanup-node is skipped: nothing is left to do for a worker");
        return Ok(());
    }
    if configuration.dry_run {
        reset::plan(&session, &configuration)
            .iter()
            .for_each(|step| console.print(&format!("would {step}")));
        return Ok(());
    }
    reset::reset(&session, &configuration, &mut |step| print_step(step, console))?;
    console.print(
        "this machine is as its image made it; its Node, if any, is removed by: kubectl delete node NAME",
    );
    Ok(())
}

fn print_step(step: &Step, console: Console) {
    let word = match &step.outcome {
        Outcome::Done => "done",
        Outcome::Nothing => "nothing to do",
        Outcome::Failed(failure) => &failure.message,
    };
    console.print(&format!("{}: {word}", step.name));
}

/// Asks as kubeadm does. Without a terminal there is no answer.
fn confirm() -> Result<()> {
    let refused =
        || Failure::new(ErrorKind::Usage, "not confirmed: nothing was changed").help("say y, or use --force");
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    let asked = output::print(
        "firstboot: are you sure you want to reset this node: its pods, certificates and configuration? [y/N]: ",
    );
    let mut answer = String::new();
    let read = asked.and_then(|()| std::io::stdin().read_line(&mut answer));
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
}
