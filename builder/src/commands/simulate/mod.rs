//! `kiln simulate`
//!
//! | | |
//! |---|---|
//! | `--list`, `--qemu-arguments`, `--drive`, `--root` | print or write, and end |
//! | without a command | listens at `--listen` until it is ended |
//! | with a command | namespaces of its own, in which the platform's addresses lead to the simulator; ends with the command |

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use contract::text::visible_lines;
use kiln_simulator::journal::Entry;
use kiln_simulator::simulation::{Family, Machine};
use kiln_simulator::{Fault, Running, Simulation, namespace};
use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

use super::Terminal;
use crate::cli::SimulateArgs;
use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::pe;
use crate::namespaces;
use crate::pipeline::program;

mod drive;
mod list;

/// Where the command finds the machine's evidence.
const ROOT: &str = "KILN_SIMULATED_ROOT";

/// How often the end of the command is looked for while no request comes.
const GLANCE: Duration = Duration::from_millis(100);

/// Does what was asked for. The exit code is the command's.
pub fn run(args: &SimulateArgs, quiet: bool, terminal: &Terminal) -> Result<ExitCode> {
    if args.list {
        return list::show(terminal).map(|()| ExitCode::SUCCESS);
    }
    let machine = simulation(args)?.build().map_err(failed)?;
    if args.qemu_arguments || args.drive.is_some() || args.root.is_some() {
        return write(args, &machine, terminal).map(|()| ExitCode::SUCCESS);
    }
    if args.explain && machine.platform.drive.is_some() {
        return Err(needs_a_machine(&machine));
    }
    let command = command(args)?;
    check_runs_here(&command)?;
    if command.is_empty() {
        listen(args, machine, quiet, terminal)
    } else {
        run_command(&command, machine, quiet, terminal)
    }
}

/// Runs `words` on a machine of `platform`, as a command, with QEMU's arguments for its looks at the end.
pub(super) fn around(
    platform: &str,
    user_data: Option<&Path>,
    sets: &[String],
    mut words: Vec<OsString>,
    quiet: bool,
    terminal: &Terminal,
) -> Result<ExitCode> {
    let machine = of_platform(platform, user_data, sets)?.build().map_err(failed)?;
    words.extend(machine.qemu_arguments().map_err(failed)?.into_iter().map(OsString::from));
    let folder = tempfile::tempdir().at("making a folder in", std::env::temp_dir())?;
    if machine.platform.drive.is_some() {
        let path = folder.path().join("drive.img");
        drive::write(&machine, &path)?;
        words.extend(["-drive".into(), format!("if=virtio,format=raw,file={}", path.display()).into()]);
    }
    run_command(&words, machine, quiet, terminal)
}

fn simulation(args: &SimulateArgs) -> Result<Simulation> {
    let platform = args.platform.as_deref().unwrap_or_default();
    let mut simulation = of_platform(platform, args.user_data.as_deref(), &args.sets)?
        .family(if args.ipv6_only { Family::V6 } else { Family::Both });
    for fault in &args.faults {
        simulation = simulation.fault(fault.parse::<Fault>().map_err(failed)?);
    }
    Ok(simulation)
}

fn of_platform(platform: &str, data: Option<&Path>, sets: &[String]) -> Result<Simulation> {
    let mut simulation = Simulation::of(platform);
    if let Some(path) = data {
        simulation = simulation.user_data(user_data(path)?);
    }
    for set in sets {
        let (key, value) = set.split_once('=').ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("--set {set}: there is no ="))
                .help("write --set KEY=VALUE, such as --set zone=us-east-1f")
        })?;
        simulation = simulation.set(key, value);
    }
    Ok(simulation)
}

fn user_data(path: &Path) -> Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path).at("reading", path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).at("reading", "standard input")?;
    Ok(bytes)
}

fn failed(error: kiln_simulator::Error) -> Error {
    let new = Error::new(if error.is_system { ErrorKind::Tool } else { ErrorKind::Usage }, error.message);
    error.help.into_iter().fold(new, |new, help| new.help(help))
}

fn write(args: &SimulateArgs, machine: &Machine, terminal: &Terminal) -> Result<()> {
    if let Some(path) = &args.drive {
        drive::write(machine, path)?;
    }
    if let Some(folder) = &args.root {
        machine.write_root(folder).map_err(failed)?;
    }
    if !args.qemu_arguments {
        return Ok(());
    }
    let arguments = machine.qemu_arguments().map_err(failed)?;
    let kernel = machine.kernel_arguments().map_err(failed)?;
    terminal.show(&json!({ "arguments": arguments, "kernel_arguments": kernel }), |_| arguments.join("\n"))
}

fn command(args: &SimulateArgs) -> Result<Vec<OsString>> {
    if !args.explain {
        return Ok(args.command.clone());
    }
    if let Some(program) = args.firstboot.as_ref().filter(|program| is_for_windows(program)) {
        return Err(runs_elsewhere(program));
    }
    let firstboot = program::find("firstboot", Arch::OF_THIS_MACHINE, args.firstboot.as_deref())?;
    let firstboot = std::path::absolute(&firstboot).at("finding", &firstboot)?;
    Ok(vec![firstboot.into_os_string(), "explain".into(), "--rootfs".into(), "{root}".into()])
}

/// The simulator plays services in the network; a program for Windows needs a Windows beside it.
fn check_runs_here(command: &[OsString]) -> Result<()> {
    match command.first().map(Path::new).filter(|program| is_for_windows(program)) {
        Some(program) => Err(runs_elsewhere(program)),
        None => Ok(()),
    }
}

/// Whether a file begins as programs of Windows do.
fn is_for_windows(program: &Path) -> bool {
    let machine = || pe::machine(File::open(program).ok()?).ok()?;
    machine().is_some()
}

fn runs_elsewhere(program: &Path) -> Error {
    let message = format!("{} is a program for Windows, which this machine does not run", program.display());
    Error::new(ErrorKind::Usage, message).help(
        "the simulator plays the platform's services, and firstboot.exe finds them in a machine with Windows: \
         start one as the command (-- qemu-system-x86_64 …, with the arguments that --qemu-arguments prints)",
    )
}

fn listen(args: &SimulateArgs, machine: Machine, quiet: bool, terminal: &Terminal) -> Result<ExitCode> {
    let title = machine.platform.title.clone();
    if machine.platform.services.is_empty() {
        return Err(Error::new(ErrorKind::Usage, format!("{title} has no service in the network"))
            .help("run a command after --, or write what it has with --root or --drive"));
    }
    let running = machine.serve(args.listen).map_err(failed)?;
    let url = running.url();
    terminal.line(&json!({ "platform": args.platform, "listening": url }), &format!("{title} at {url}"))?;
    let mut number = 0;
    loop {
        let Some(entry) = running.journal().wait_for(number, Duration::from_secs(3600)) else { continue };
        number += 1;
        if !quiet {
            terminal.line(&json!({ "request": entry }), &shown(&entry))?;
        }
    }
}

fn run_command(command: &[OsString], machine: Machine, quiet: bool, terminal: &Terminal) -> Result<ExitCode> {
    let root = tempfile::Builder::new()
        .prefix("kiln-simulate-")
        .tempdir()
        .at("making a folder in", std::env::temp_dir())?;
    machine.write_root(root.path()).map_err(failed)?;
    namespace::enter()
        .map_err(|error| Error::new(ErrorKind::Tool, error.message).help(namespaces::advice()))?;
    namespace::set_up(&machine).map_err(failed)?;
    let running = machine.serve_here().map_err(failed)?;
    let status = until_it_ends(&mut filled(command, root.path()), &running, !quiet, terminal)?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(u8::MAX)))
}

/// The command with the folder's path in its environment, and in its arguments where they say `{root}`.
fn filled(command: &[OsString], root: &Path) -> Command {
    let fill = |word: &OsString| {
        let mut filled = Vec::new();
        let mut rest = word.as_bytes();
        while let Some(at) = rest.windows(6).position(|window| window == b"{root}") {
            filled.extend_from_slice(&rest[..at]);
            filled.extend_from_slice(root.as_os_str().as_bytes());
            rest = &rest[at + 6..];
        }
        filled.extend_from_slice(rest);
        OsString::from_vec(filled)
    };
    let mut words = command.iter().map(fill);
    let mut new = Command::new(words.next().unwrap_or_default());
    new.args(words).env(ROOT, root);
    new
}

/// Runs the command and prints requests on standard error meanwhile. Ctrl-C is the command's: this program
/// ends with it, and tidies up.
fn until_it_ends(
    command: &mut Command,
    running: &Running,
    has_log: bool,
    terminal: &Terminal,
) -> Result<ExitStatus> {
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let name = command.get_program().to_string_lossy().into_owned();
    let trouble = |doing: &str, error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Tool, format!("{doing} {name}: {error}"))
    };
    interrupt.thread_block().map_err(|error| trouble("running", &error))?;
    let mut child = command.spawn().map_err(|error| trouble("starting", &error))?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        if has_log {
            scope.spawn(|| follow(running, &is_over, terminal));
        }
        let ended = child.wait();
        is_over.store(true, Ordering::Release);
        ended.map_err(|error| trouble("waiting for", &error))
    })
}

fn follow(running: &Running, is_over: &AtomicBool, terminal: &Terminal) {
    let mut number = 0;
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        let patience = if was_over { Duration::ZERO } else { GLANCE };
        match running.journal().wait_for(number, patience) {
            Some(entry) => {
                number += 1;
                // A reader that has gone away must not end the command.
                let _ = writeln!(
                    std::io::stderr(),
                    "{}",
                    visible_lines(&terminal.chosen(&json!({ "request": entry }), &shown(&entry)))
                );
            }
            None if was_over => return,
            None => {}
        }
    }
}

fn shown(entry: &Entry) -> String {
    let fault = entry.fault.map(|name| format!(", fault {name}")).unwrap_or_default();
    format!(
        "{:8.3}  {:4} {} {}, from port {}{fault}",
        entry.seconds, entry.method, entry.target, entry.status, entry.source_port
    )
}

/// A folder is no block device, so the agent would not find the drive in it.
fn needs_a_machine(machine: &Machine) -> Error {
    let title = &machine.platform.title;
    Error::new(ErrorKind::Usage, format!("--explain: {title} is a drive, which only a machine can have"))
        .help("write it with --drive FILE and start a virtual machine with it")
}

/// The platform lacks what was asked for.
fn absent(machine: &Machine, what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("{} has no {what}", machine.platform.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_filled_in() {
        let words: Vec<OsString> = ["a", "{root}/x={root}", "{roo}"].map(OsString::from).into();
        let command = filled(&words, Path::new("/r"));
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["/r/x=/r", "{roo}"]);
        assert!(command.get_envs().any(|(name, value)| name == ROOT && value == Some("/r".as_ref())));
    }
}
