//! `kiln run`

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::json;

use super::{Terminal, image, simulate};
use crate::cli::{MachineArgs, RunArgs};
use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::qemu::{self, Boot, Form, IPXE_SCRIPT, Machine};

/// The packages of QEMU's programs.
const PACKAGE: &str = "qemu-system-x86, or qemu-system-arm for arm64";
/// The longest line of the console that is looked into.
const LONGEST_LINE: usize = 64 << 10;

/// Boots an image, and ends when the machine does.
pub fn run(args: &RunArgs, quiet: bool, terminal: &Terminal) -> Result<ExitCode> {
    if args.platform.is_none() && (args.user_data.is_some() || !args.sets.is_empty()) {
        let message = "--user-data and --set are a platform's";
        return Err(Error::new(ErrorKind::Usage, message).help("add --platform NAME"));
    }
    if let Some(platform) = &args.platform {
        return simulate::around(
            platform,
            args.user_data.as_deref(),
            &args.sets,
            own_words(args, quiet, terminal)?,
            quiet,
            terminal,
        );
    }
    let (image, arch) = image(args)?;
    let folder = tempfile::Builder::new()
        .prefix("kiln-run-")
        .tempdir()
        .at("making a folder in", std::env::temp_dir())?;
    let disk = args.keep.clone().unwrap_or_else(|| folder.path().join("disk.qcow2"));
    let is_kept = args.keep.is_some();
    let mut large_sectors = false;
    let boot = if image.is_dir() {
        Boot::Network(&image)
    } else {
        match qemu::recognise(&image)? {
            Form::Program | Form::Disc if is_kept => {
                return Err(Error::new(ErrorKind::Usage, "--keep: this image runs from memory")
                    .help("leave it out: the machine writes nothing that could be kept"));
            }
            Form::Program => Boot::Program(&image),
            Form::Disc => Boot::Disc(&image),
            form => {
                prepare(args, &image, form, &disk)?;
                large_sectors = qemu::has_large_sectors(&disk, folder.path())?;
                Boot::Disk(&disk)
            }
        }
    };
    let machine = Machine {
        large_sectors,
        forwards: &args.forwards,
        interactive: args.until.is_none(),
        more: &args.more,
        ..machine(&args.machine, arch)?
    };
    let words = machine.command(&boot, folder.path())?;
    if args.print {
        // The files of the machine are the user's now.
        let _ = folder.keep();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        return terminal
            .show(&json!({ "command": words }), |_| words.join("\n"))
            .map(|()| ExitCode::SUCCESS);
    }
    start(args, &words, terminal).map(|()| ExitCode::SUCCESS)
}

/// The machine of these options: with no more than they say, and a console that is only printed.
pub(super) fn machine(args: &MachineArgs, arch: Arch) -> Result<Machine<'_>> {
    if let Some(config) = &args.node_config {
        File::open(config).at("opening", config)?;
    }
    Ok(Machine {
        arch,
        firmware: args.firmware,
        bus: args.bus,
        large_sectors: false,
        emulate: args.emulate,
        cpus: args.cpus,
        memory: args.memory.0,
        forwards: &[],
        node_config: args.node_config.as_deref(),
        interactive: false,
        more: &[],
    })
}

/// The file or folder that boots, and its architecture.
fn image(args: &RunArgs) -> Result<(PathBuf, Arch)> {
    let named = image::named(&args.image, |path| path.join(IPXE_SCRIPT).is_file(), qemu::bootable)?;
    let arch = args.arch.unwrap_or_else(|| named.arch());
    Ok((named.path, arch))
}

/// Makes the disk that the machine changes, unless it is there already.
fn prepare(args: &RunArgs, image: &Path, form: Form, disk: &Path) -> Result<()> {
    if disk.exists() {
        let refused = |why: &str| {
            Err(Error::new(ErrorKind::Usage, format!("--keep {}: {why}", disk.display()))
                .help("name a file that is not there yet, or one that --keep has made of this image"))
        };
        if qemu::recognise(disk)? != Form::Qcow2 {
            return refused("this is no disk of qcow2");
        }
        // What was made over nothing is an image itself, and would be changed.
        let own = image.canonicalize().at("finding", image)?;
        return match qemu::base_of(disk)? {
            Some(base) if base.canonicalize().is_ok_and(|base| base == own) => Ok(()),
            Some(_) => refused("it was made of another image"),
            None => refused("it was not made by --keep"),
        };
    }
    qemu::overlay(image, form, disk, args.machine.disk.0)
}

/// The words of this command without the platform, for a process that the simulator starts.
fn own_words(args: &RunArgs, quiet: bool, terminal: &Terminal) -> Result<Vec<OsString>> {
    let own = std::env::current_exe()
        .map_err(|error| Error::new(ErrorKind::Io, format!("finding kiln: {error}")))?;
    let mut words: Vec<OsString> = vec![own.into(), "run".into(), args.image.clone().into()];
    let mut add = |name: &str, value: OsString| {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        words.push(word);
    };
    add("firmware", word(&args.machine.firmware));
    add("bus", word(&args.machine.bus));
    add("cpus", args.machine.cpus.to_string().into());
    add("memory", format!("{}MiB", args.machine.memory.0 >> 20).into());
    add("disk", format!("{}MiB", args.machine.disk.0 >> 20).into());
    args.arch.iter().for_each(|arch| add("arch", arch.name().into()));
    args.keep.iter().for_each(|path| add("keep", path.into()));
    args.machine.node_config.iter().for_each(|path| add("node-config", path.into()));
    args.forwards.iter().for_each(|forward| add("forward", forward.into()));
    if let Some(until) = &args.until {
        add("until", until.into());
        add("timeout", args.timeout.to_string().into());
    }
    words.extend(args.machine.emulate.then(|| "--emulate".into()));
    words.extend(quiet.then(|| "--quiet".into()));
    words.extend(terminal.json.then(|| "--json".into()));
    words.push("--".into());
    words.extend(args.more.iter().cloned());
    Ok(words)
}

fn word(value: &impl ValueEnum) -> OsString {
    value.to_possible_value().map(|value| value.get_name().into()).unwrap_or_default()
}

fn start(args: &RunArgs, words: &[OsString], terminal: &Terminal) -> Result<()> {
    let mut command = bound(words);
    if args.until.is_some() {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
    }
    let child = spawned(&mut command, words)?;
    match &args.until {
        None => ended(wait(child)?, &words[0].to_string_lossy()),
        Some(text) => until(child, text, Duration::from_secs(args.timeout), terminal),
    }
}

/// The command `words`, which ends with this program, however that ends.
pub(super) fn bound(words: &[OsString]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).args(words);
    command
}

/// Starts the machine of [`bound`].
pub(super) fn spawned(command: &mut Command, words: &[OsString]) -> Result<Child> {
    command.spawn().map_err(|error| {
        Error::new(ErrorKind::Tool, format!("starting {}: {error}", words[0].to_string_lossy()))
            .help(format!("install it (package {PACKAGE})"))
    })
}

fn wait(mut child: Child) -> Result<ExitStatus> {
    child
        .wait()
        .map_err(|error| Error::new(ErrorKind::Tool, format!("waiting for QEMU: {error}")))
}

fn ended(status: ExitStatus, program: &str) -> Result<()> {
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Tool, format!("{program} failed ({status})"))
            .help("its reason stands above; where this host's virtualisation does not work, add --emulate")),
    }
}

/// Passes the console on until it has shown `text`, and ends the machine. A prompt has no end of line.
fn until(mut child: Child, text: &str, patience: Duration, terminal: &Terminal) -> Result<()> {
    let began = Instant::now();
    let console = child.stdout.take();
    let (sender, pieces) = mpsc::channel();
    thread::spawn(move || {
        console
            .into_iter()
            .for_each(|console| each_piece(console, |piece| sender.send(piece).is_ok()));
    });
    let missed = |why: &str| {
        Err(Error::new(ErrorKind::Verification, format!("the console did not show \"{text}\": {why}"))
            .help("read what is above; --timeout is the number of seconds to wait, --emulate does without virtualisation"))
    };
    let mut rest = Vec::new();
    let found = loop {
        let got = pieces.recv_timeout(patience.saturating_sub(began.elapsed()));
        if let Ok(piece) = &got {
            rest.extend_from_slice(piece);
        }
        let (lines, last) = lines(&mut rest);
        for line in &lines {
            terminal.line(&json!({ "console": line }), line)?;
        }
        let is_found = lines.iter().chain([&last]).any(|line| line.contains(text));
        if is_found || got.is_err() {
            terminal.line(&json!({ "console": last }), &last)?;
        }
        match got {
            _ if is_found => break Ok(()),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => break missed(&format!("{} s have passed", patience.as_secs())),
            Err(RecvTimeoutError::Disconnected) => break missed("the machine has ended"),
        }
    };
    // It has often ended already.
    let _ = child.kill();
    let _ = child.wait();
    let seconds = began.elapsed().as_secs_f64();
    if found.is_ok() {
        let _ = writeln!(std::io::stderr(), "found \"{}\" after {seconds:.1} s", crate::address::said(text));
    }
    found
}

/// Calls `tell` for each piece of the console as it comes, until it answers no.
fn each_piece(mut console: impl Read, tell: impl Fn(Vec<u8>) -> bool) {
    let mut piece = vec![0; 8192];
    while let Ok(count @ 1..) = console.read(&mut piece) {
        if !tell(piece[..count].to_vec()) {
            return;
        }
    }
}

/// Takes whole lines out of `rest`, and the last one if it becomes too long; and shows what remains.
fn lines(rest: &mut Vec<u8>) -> (Vec<String>, String) {
    let shown = |bytes: &[u8]| without_colours(&String::from_utf8_lossy(bytes)).trim_end().to_owned();
    let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end = if rest.len() - end > LONGEST_LINE { rest.len() } else { end };
    let whole: Vec<u8> = rest.drain(..end).collect();
    let mut lines: Vec<String> = whole.split(|byte| *byte == b'\n').map(shown).collect();
    // Behind the last end of line is nothing.
    lines.pop_if(|last| last.is_empty());
    (lines, shown(rest))
}

/// The text without sequences that colour it or move the cursor (ECMA-48, 5.4).
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain
            + part
                .trim_start_matches(|letter: char| !('@'..='~').contains(&letter))
                .get(1..)
                .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn args(words: &[&str]) -> RunArgs {
        let cli = crate::cli::Cli::try_parse_from([&["kiln", "run"], words].concat()).unwrap();
        let crate::cli::Verb::Run(args) = cli.verb else { panic!("another verb") };
        args
    }

    #[test]
    fn the_words_for_the_simulator_mean_the_same_without_the_platform() {
        let given = args(&[
            "x.raw",
            "--platform",
            "ec2",
            "--set",
            "zone=a",
            "--firmware",
            "bios",
            "--bus",
            "nvme",
            "--arch",
            "arm64",
            "--cpus",
            "3",
            "--memory",
            "1GiB",
            "--disk",
            "20GiB",
            "--forward",
            "1:2",
            "--emulate",
            "--until",
            "a b",
            "--timeout",
            "7",
            "--",
            "-snapshot",
        ]);
        let words = own_words(&given, false, &Terminal { json: false }).unwrap();
        let words: Vec<&str> = words[2..].iter().map(|word| word.to_str().unwrap()).collect();
        let again = args(&words);
        assert!(again.platform.is_none() && again.sets.is_empty());
        let expected = RunArgs { platform: None, sets: Vec::new(), ..given };
        assert_eq!(format!("{again:?}"), format!("{expected:?}"));
    }

    #[test]
    fn the_architecture_is_the_manifests_if_the_image_is_one_of_its_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let digest = crate::digest::Digest::of(b"");
        let output = |file: &str| json!({"file": file, "size": 0, "sha256": digest});
        let manifest = json!({
            "name": "a", "arch": "arm64", "identity": digest, "variables": {}, "kernel": null, "layers": [],
            "artifacts": [], "packages": [], "tools": {}, "outputs": [output("a.raw"), output("a-pxe/boot.ipxe")]
        });
        std::fs::write(path(crate::provenance::MANIFEST), manifest.to_string()).unwrap();
        std::fs::create_dir(path("a-pxe")).unwrap();
        for file in ["a.raw", "other.raw", "a-pxe/boot.ipxe"] {
            std::fs::write(path(file), "").unwrap();
        }
        let found = |name: &str| image(&args(&[path(name).to_str().unwrap()])).unwrap();
        assert_eq!(found(""), (path("a.raw"), Arch::Arm64));
        assert_eq!(found("a.raw").1, Arch::Arm64);
        assert_eq!(found("a-pxe"), (path("a-pxe"), Arch::Arm64));
        assert_eq!(found("other.raw").1, Arch::OF_THIS_MACHINE);
        assert_eq!(image(&args(&["/nonexistent/x.raw"])).unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn colours_of_the_console_are_left_out() {
        let coloured = "[\x1b[0;32m  OK  \x1b[0m] Reached \x1b[1mtarget\x1b[0m";
        assert_eq!(without_colours(coloured), "[  OK  ] Reached target");
        for text in ["plain", "", "\x1b[", "\x1b[0;"] {
            assert_eq!(without_colours(text), text.trim_start_matches("\x1b[").trim_start_matches("0;"));
        }
    }

    #[test]
    fn a_prompt_is_seen_and_a_line_without_end_is_told_in_pieces() {
        let mut rest = b"one\n\ntwo\r\nlogin: ".to_vec();
        let (whole, last) = lines(&mut rest);
        assert_eq!(
            (whole, last.as_str()),
            (vec!["one".to_owned(), String::new(), "two".to_owned()], "login:")
        );
        assert_eq!(rest, b"login: ");
        let mut rest = vec![b'x'; LONGEST_LINE + 5];
        let (whole, last) = lines(&mut rest);
        assert_eq!((whole[0].len(), last.as_str(), rest.len()), (LONGEST_LINE + 5, "", 0));
    }
}
