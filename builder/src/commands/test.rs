//! `kiln test`

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use contract::gpt::{LARGE_SECTOR, SECTOR};
use contract::{gpt, partition_type};
use serde::Serialize;
use serde_json::json;

use super::run::{bound, machine, spawned};
use super::{Terminal, image};
use crate::boot_test::{self, Ended, Said};
use crate::cli::TestArgs;
use crate::definition::plan::TestPlan;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::ext4_edit::Ext4Edit;
use crate::process::{Run, tool};
use crate::progress::Progress;
use crate::qemu::{self, Boot, Form, Machine};

/// How often the port is looked at.
const TICK: Duration = Duration::from_millis(100);
/// What a test may take besides its own time.
const SLACK: u64 = 60;
/// Lines of the console that an error shows.
const TAIL: usize = 15;

/// The result of a test.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    name: &'a str,
    passed: bool,
    /// Seconds from its begin to its end, tries included.
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    exit: u8,
    said: &'a str,
}

/// Boots an image, and runs its tests.
pub fn run(args: &TestArgs, progress: &Progress, terminal: &Terminal) -> Result<()> {
    let named = image::named(&args.image, |_| false, disk)?;
    let arch = named.arch();
    let tests = named.manifest.map(|manifest| manifest.tests).unwrap_or_default();
    if tests.is_empty() {
        let message = format!("{} has no tests", args.image.display());
        return Err(Error::new(ErrorKind::Usage, message).help(
            "write [[test]] into its definition, with name and run, and build it again; or name its output folder",
        ));
    }
    let machine = machine(&args.machine, arch)?;
    let folder = tempfile::Builder::new()
        .prefix("kiln-test-")
        .tempdir()
        .at("making a folder in", std::env::temp_dir())?;
    let disk = prepared(&named.path, &tests, args, folder.path(), progress)?;
    let port = folder.path().join("port");
    File::create(&port).at("creating", &port)?;
    let mut more = port_of(&port);
    more.extend(args.more.iter().cloned());
    let large_sectors = qemu::has_large_sectors(&disk, folder.path())?;
    let machine = Machine { large_sectors, more: &more, ..machine };
    let words = machine.command(&Boot::Disk(&disk), folder.path())?;
    let console = args.console.clone().unwrap_or_else(|| folder.path().join("console"));
    let output = File::create(&console).at("creating", &console)?;
    let mut command = bound(&words);
    command.stdin(Stdio::null()).stdout(output);
    let mut guest = Guest { child: spawned(&mut command, &words)?, port, console };
    let mut failed = 0;
    guest.follow(&tests, Duration::from_secs(args.timeout), progress, |test, ended, elapsed| {
        let why = boot_test::failure(test, ended);
        failed += usize::from(why.is_some());
        show(test, ended, why, elapsed, terminal)
    })?;
    match failed {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::Verification, format!("{failed} of {} tests failed", tests.len()))
            .help("what each said stands above; kiln run boots the same image with its console")),
    }
}

/// The disk of an output folder.
fn disk(folder: &Path, files: &[String]) -> Result<PathBuf> {
    const PACKED: [&str; 2] = [".raw.zst", ".raw.gz"];
    let found = qemu::bootable(folder, files);
    let is_disk = |path: &PathBuf| !path.is_dir() && ![".iso", ".efi"].iter().any(|end| ends(path, end));
    match (found, files.iter().find(|file| PACKED.iter().any(|end| file.ends_with(end)))) {
        (Ok(path), Some(packed)) if !is_disk(&path) => Err(packed_disk(folder, packed)),
        (Err(_), Some(packed)) => Err(packed_disk(folder, packed)),
        (found, _) => found,
    }
}

fn ends(path: &Path, ending: &str) -> bool {
    path.to_string_lossy().ends_with(ending)
}

fn packed_disk(folder: &Path, file: &str) -> Error {
    let message = format!("{}: {file} is compressed, and there is no other disk", folder.display());
    Error::new(ErrorKind::Usage, message).help("build qcow2 as well, or raw without output.raw.compression")
}

fn show(
    test: &TestPlan,
    ended: &Ended,
    why: Option<String>,
    elapsed: Duration,
    terminal: &Terminal,
) -> Result<()> {
    let passed = why.is_none();
    let seconds = elapsed.as_secs_f64();
    let mut text = format!("{}  {}  ({seconds:.1} s)", if passed { "passed" } else { "FAILED" }, test.name);
    if let Some(why) = &why {
        text += &format!(": {why}\n        {}", test.run.join(" "));
        ended.said.lines().for_each(|line| text += &format!("\n        | {line}"));
    }
    let outcome = Outcome { name: &test.name, passed, seconds, why, exit: ended.exit, said: &ended.said };
    terminal.line(&json!(outcome), &text)
}

/// QEMU's words for the port of the results.
fn port_of(path: &Path) -> Vec<std::ffi::OsString> {
    let device = format!("virtserialport,chardev=kiln-test,name={}", boot_test::PORT);
    let file = format!("file,id=kiln-test,path={}", path.display());
    ["-chardev", &file, "-device", "virtio-serial-pci", "-device", &device]
        .map(Into::into)
        .into()
}

/// A disk over a copy of the image at `image`, with the tests in its `/var`.
fn prepared(
    image: &Path,
    tests: &[TestPlan],
    args: &TestArgs,
    folder: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    let refused = |why: &str| {
        Err(Error::new(ErrorKind::Usage, format!("{}: {why}", image.display()))
            .help("build one of the outputs raw, qcow2, vhd, vhdx and vmdk"))
    };
    if image.is_dir() {
        return refused("tests need a disk");
    }
    let form = qemu::recognise(image)?;
    if matches!(form, Form::Program | Form::Disc) {
        return refused("tests need a disk");
    }
    let _step = progress.step("copying the disk, with the tests in its /var");
    let raw = folder.join("disk.raw");
    let mut convert = tool("qemu-img");
    convert
        .args(["convert", "-f", form.name(), "-O", "raw"])
        .arg(image)
        .arg(&raw)
        .run("qemu-utils")?;
    let Some(offset) = var_of(&raw)? else {
        return refused("it has no partition for /var, so it is no disk that Kiln laid out");
    };
    Ext4Edit { file: &raw, offset, title: "/var", scratch: folder }.add(&boot_test::files(tests), 0)?;
    let disk = folder.join("disk.qcow2");
    qemu::overlay(&raw, Form::Raw, &disk, args.machine.disk.0)?;
    Ok(disk)
}

/// Where the partition for `/var` begins, in bytes.
fn var_of(disk: &Path) -> Result<Option<u64>> {
    let mut file = OpenOptions::new().read(true).open(disk).at("opening", disk)?;
    let length = file.metadata().at("reading", disk)?.len();
    let place = |sector: u64| {
        let table = gpt::read(&mut file, sector, length / sector).ok()?;
        table
            .partitions
            .iter()
            .find(|each| each.kind == partition_type::VAR)
            .map(|each| each.first * sector)
    };
    Ok([SECTOR, LARGE_SECTOR].into_iter().find_map(place))
}

/// The machine; it ends with this.
struct Guest {
    child: Child,
    port: PathBuf,
    console: PathBuf,
}

impl Guest {
    /// Hands each result to `tell` as it comes, and ends when there are no more.
    fn follow(
        &mut self,
        tests: &[TestPlan],
        patience: Duration,
        progress: &Progress,
        mut tell: impl FnMut(&TestPlan, &Ended, Duration) -> Result<()>,
    ) -> Result<()> {
        let mut step = Some(progress.step("waiting for the machine"));
        let (mut seen, mut ended) = (0, vec![false; tests.len()]);
        let (mut began, mut limit) = (Instant::now(), patience);
        loop {
            let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            let bytes = fs::read(&self.port).at("reading", &self.port)?;
            let text = String::from_utf8_lossy(&bytes);
            let whole = text.rfind('\n').map_or("", |at| &text[..at]);
            for said in whole.lines().skip(seen).map(boot_test::line) {
                seen += 1;
                match said {
                    Some(Said::Begin(number)) if number < tests.len() => {
                        let test = &tests[number];
                        (began, limit) = (Instant::now(), patience_for(test));
                        drop(step.take());
                        step = Some(progress.step(&test.name));
                    }
                    Some(Said::End(number, how)) if number < tests.len() && !ended[number] => {
                        ended[number] = true;
                        drop(step.take());
                        tell(&tests[number], &how, began.elapsed())?;
                    }
                    Some(Said::Done) if ended.iter().all(|each| *each) => return Ok(()),
                    _ => return Err(self.failure("it said something that no test says")),
                }
            }
            if has_ended {
                return Err(self.failure("it ended before its tests did"));
            }
            if began.elapsed() > limit {
                return Err(self.failure(&format!("nothing came for {} s", limit.as_secs())));
            }
            thread::sleep(TICK);
        }
    }

    fn failure(&self, why: &str) -> Error {
        let console = fs::read(&self.console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n  | ");
        Error::new(ErrorKind::Verification, format!("the machine: {why}; the end of its console:\n  | {tail}"))
            .help("--console FILE keeps all of it, --timeout is how long the machine may take until its first test, --emulate does without virtualisation")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It has often ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn patience_for(test: &TestPlan) -> Duration {
    Duration::from_secs(u64::from(test.within) + u64::from(test.timeout) + SLACK)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn plan(name: &str) -> TestPlan {
        TestPlan {
            name: name.to_owned(),
            run: vec!["x".to_owned()],
            expect: None,
            exit: 0,
            within: 0,
            timeout: 1,
        }
    }

    /// A machine that writes `lines` to its port and lives for `seconds`.
    fn guest(folder: &Path, lines: &str, seconds: &str) -> Guest {
        let (port, console) = (folder.join("port"), folder.join("console"));
        fs::write(&port, lines).unwrap();
        fs::write(&console, "one\nKernel panic\n").unwrap();
        Guest { child: Command::new("sleep").arg(seconds).spawn().unwrap(), port, console }
    }

    fn followed(lines: &str, seconds: &str) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let mut exits = Vec::new();
        guest(folder.path(), lines, seconds).follow(
            &[plan("a"), plan("b")],
            Duration::from_secs(1),
            &Progress::silent(),
            |_, ended, _| {
                exits.push(ended.exit);
                Ok(())
            },
        )?;
        Ok(exits)
    }

    #[test]
    fn a_folder_whose_only_disk_is_compressed_is_told_so() {
        let found = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            disk(Path::new("out"), &files)
        };
        assert_eq!(found(&["a.raw.zst", "a.qcow2", "a.iso"]).unwrap(), Path::new("out/a.qcow2"));
        for files in [&["a.raw.zst", "a.iso"][..], &["a.raw.gz"]] {
            assert!(found(files).unwrap_err().message().contains("is compressed"), "{files:?}");
        }
        assert_eq!(found(&["a.iso"]).unwrap(), Path::new("out/a.iso"));
    }

    #[test]
    fn results_count_when_all_have_come_and_the_machine_said_nothing_else() {
        assert_eq!(followed("begin 0\nend 0 0 \nbegin 1\nend 1 3 YQ==\ndone\n", "9").unwrap(), [0, 3]);
        for (lines, seconds, why) in [
            ("", "9", "nothing came for 1 s"),
            ("begin 0\nend 0 0 \n", "0", "ended before its tests did"),
            ("begin 0\nend 0 0 \ndone\n", "9", "something that no test says"),
            ("begin 7\n", "9", "something that no test says"),
            ("end 0 0 \nend 0 0 \n", "9", "something that no test says"),
        ] {
            let error = followed(lines, seconds).unwrap_err();
            assert!(error.message().contains(why), "{lines:?}: {error}");
            assert!(error.message().contains("Kernel panic"), "{error}");
        }
    }
}
