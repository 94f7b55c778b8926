//! Virtual machines: plain emulation (TCG) by default, so that every machine can run them. Hardware
//! virtualization only on request and if it is available.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;

use crate::console::{Console, Failure};
use crate::workspace;

/// Number of tries of a boot with the emulator's known fault (about one in eight boots of some kernels).
const ATTEMPTS: usize = 4;

/// Pairs of firmware code and variable store, as Debian, Ubuntu, Fedora and Arch install them.
const OVMF: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// The same for arm64.
const AAVMF: &[(&str, &str)] = &[
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
];

/// The emulator of an architecture.
#[derive(Debug)]
struct Emulator {
    program: &'static str,
    /// Its board.
    board: &'static str,
    /// Its processor without hardware virtualization.
    processor: &'static str,
    /// Its firmware.
    firmware: &'static [(&'static str, &'static str)],
    /// Whether this machine's processor can run its guests.
    native: bool,
}

const AMD64: Emulator =
    Emulator { program: "qemu-system-x86_64", board: "q35", processor: "max", firmware: OVMF, native: true };

const ARM64: Emulator = Emulator {
    program: PROGRAM_OF_ARM64,
    board: "virt",
    // Pointer authentication by the architecture's own algorithm is slow to emulate.
    processor: "max,pauth-impdef=on",
    firmware: AAVMF,
    native: false,
};

/// The program that emulates arm64.
pub const PROGRAM_OF_ARM64: &str = "qemu-system-aarch64";

/// A machine that can be started, any number of times.
#[derive(Debug)]
pub struct Machine {
    emulator: &'static Emulator,
    name: String,
    args: Vec<OsString>,
    firmware: Option<(PathBuf, PathBuf)>,
    network: String,
    card: &'static str,
    /// Its hardware address; empty for QEMU's own, which all machines have.
    mac: String,
    namespace: Option<String>,
    may_reboot: bool,
    folder: tempfile::TempDir,
    /// The folder of the monitor's socket, whose path must be short.
    monitor: tempfile::TempDir,
    disks: usize,
}

impl Machine {
    /// A machine with 2 processors, 2 GiB, a network card on QEMU's user network, BIOS firmware, no disk. The
    /// name shows in logs.
    pub fn new(name: &str) -> Self {
        let args = [
            "-smp",
            "2",
            "-m",
            "2048",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
            "-device",
            "virtio-rng-pci",
        ];
        Self {
            emulator: &AMD64,
            name: name.to_owned(),
            args: args.map(OsString::from).to_vec(),
            firmware: None,
            network: "user,id=net0".to_owned(),
            card: "virtio-net-pci",
            mac: String::new(),
            namespace: None,
            may_reboot: false,
            folder: workspace::scratch(),
            monitor: tempfile::tempdir().expect("there is a folder for temporary files"),
            disks: 0,
        }
    }

    /// The same with processors of arm64, emulated; it boots by UEFI alone.
    pub fn arm64(name: &str) -> Self {
        Self { emulator: &ARM64, ..Self::new(name) }
    }

    /// Sets the memory, in MiB. The last call wins.
    pub fn memory(self, mib: u32) -> Self {
        self.args(["-m", &mib.to_string()])
    }

    /// UEFI firmware with an empty variable store; `None` if this machine has no such firmware.
    pub fn uefi(mut self) -> Option<Self> {
        let (code, vars) = self
            .emulator
            .firmware
            .iter()
            .find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists())?;
        let own = self.folder.path().join("vars.fd");
        std::fs::copy(vars, &own).expect("the firmware's variables can be copied");
        self.firmware = Some((PathBuf::from(code), own));
        Some(self)
    }

    /// A disk whose changes are kept in `path`. Images of the format qcow2 end in `.qcow2`.
    pub fn disk(self, path: &Path) -> Self {
        self.disk_as(path, "virtio-blk-pci")
    }

    /// A disk that is this device for the guest.
    pub fn disk_as(mut self, path: &Path, device: &str) -> Self {
        self.disks += 1;
        let drive = drive(path, &format!("disk{}", self.disks));
        let device = format!("{device},drive=disk{}", self.disks);
        self.args(["-drive", &drive, "-device", &device])
    }

    /// Another model of network card.
    pub fn card(mut self, model: &'static str) -> Self {
        self.card = model;
        self
    }

    /// The hardware address of the network card. Two machines of one segment need two.
    pub fn mac(mut self, address: &str) -> Self {
        self.mac = format!(",mac={address}");
        self
    }

    /// A second network card, with the device name `name`.
    pub fn second_card(self, name: &str) -> Self {
        let device = format!("{},netdev={name}-net,id={name}", self.card);
        self.args(["-netdev", &format!("user,id={name}-net,restrict=on"), "-device", &device])
    }

    /// Plugs the card into the device `tap` instead of QEMU's user network.
    pub fn plugged_into(mut self, tap: &str) -> Self {
        self.network = format!("tap,id=net0,ifname={tap},script=no,downscript=no");
        self
    }

    /// A disk whose changes are forgotten.
    pub fn snapshot(self, path: &Path) -> Self {
        self.forgotten(path, "")
    }

    /// A disk whose changes are forgotten, and which the firmware boots before all others.
    pub fn boot_disk(self, path: &Path) -> Self {
        self.forgotten(path, ",bootindex=0")
    }

    fn forgotten(mut self, path: &Path, options: &str) -> Self {
        self.disks += 1;
        let drive = format!("{},snapshot=on", drive(path, &format!("disk{}", self.disks)));
        let device = format!("virtio-blk-pci,drive=disk{}{options}", self.disks);
        self.args(["-drive", &drive, "-device", &device])
    }

    /// A disc in a separate drive.
    pub fn disc(self, path: &Path) -> Self {
        let drive = format!("{},readonly=on", drive(path, "disc"));
        self.args(["-drive", &drive, "-device", "ide-cd,drive=disc"])
    }

    /// A kernel loaded by QEMU itself.
    pub fn kernel(self, kernel: &Path, initrd: &Path, command_line: &str) -> Self {
        let args: [&OsStr; 6] = [
            "-kernel".as_ref(),
            kernel.as_ref(),
            "-initrd".as_ref(),
            initrd.as_ref(),
            "-append".as_ref(),
            command_line.as_ref(),
        ];
        self.args(args)
    }

    /// Boots from the network card: its iPXE loads `file`, an http URL or a name on a TFTP server of the
    /// folder `tftp`.
    pub fn netboot(mut self, file: &str, tftp: Option<&Path>) -> Self {
        self.network += &format!(",bootfile={file}");
        if let Some(folder) = tftp {
            self.network += &format!(",tftp={}", folder.display());
        }
        self.args(["-boot", "n"])
    }

    /// The guest's user network ends in the network namespace of the process `pid`: its 10.0.2.2 is the
    /// loopback address there.
    pub fn in_network_of(mut self, pid: &str) -> Self {
        self.namespace = Some(format!("--net=/proc/{pid}/ns/net"));
        self
    }

    /// Connections to `outside` (an address and a port of the machine that the emulator runs on) reach the
    /// port `inside` of the guest.
    pub fn forward(mut self, outside: &str, inside: u16) -> Self {
        self.network += &format!(",hostfwd=tcp:{outside}-:{inside}");
        self
    }

    /// The UUID in the guest's firmware. The same UUID means the same machine.
    pub fn uuid(self, uuid: &str) -> Self {
        self.args(["-uuid", uuid])
    }

    /// The hardware clock, this number of days off this machine's clock.
    pub fn clock_off_by(self, days: i32) -> Self {
        let now =
            crate::workspace::output("date", ["--utc", &format!("--date={days} days"), "+%Y-%m-%dT%H:%M:%S"]);
        self.args(["-rtc", &format!("base={}", now.trim())])
    }

    /// A systemd credential in the firmware tables (systemd.system-credentials(7)).
    pub fn credential(self, name: &str, value: &[u8]) -> Self {
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        self.smbios(&format!("type=11,value=io.systemd.credential.binary:{name}={value}"))
    }

    /// A table of the firmware, as QEMU's `-smbios` takes it.
    pub fn smbios(self, table: &str) -> Self {
        self.args(["-smbios", table])
    }

    /// A file that the guest reads through QEMU's fw_cfg device.
    pub fn fw_cfg(self, name: &str, file: &Path) -> Self {
        self.args(["-fw_cfg", &format!("name={name},file={}", file.display())])
    }

    /// Lets the guest reboot; else a reboot ends the machine.
    pub fn may_reboot(mut self) -> Self {
        self.may_reboot = true;
        self
    }

    /// More arguments for QEMU.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Starts the machine and passes it to `script`. Tries again after the emulator's known fault. On
    /// failure, panics with the end of the console. Only one machine of the harness runs at a time.
    pub fn boot<T>(&self, script: impl FnMut(&mut Vm) -> Result<T, Failure>) -> T {
        let _alone = workspace::exclusive("vm");
        self.boot_beside(script)
    }

    /// The same in the script of a machine that runs already.
    pub fn boot_beside<T>(&self, mut script: impl FnMut(&mut Vm) -> Result<T, Failure>) -> T {
        for attempt in 1.. {
            let mut vm = self.start(attempt);
            // A script that looks only at the cluster does not see that the machine has ended, and panics.
            match std::panic::catch_unwind(AssertUnwindSafe(|| script(&mut vm))) {
                Ok(Ok(value)) => return value,
                _ if attempt < ATTEMPTS && vm.console.tells_emulator_fault() => {
                    let name = &self.name;
                    workspace::say(&format!(
                        "{name}: the emulator tripped over the kernel patching itself (Oops: int3), booting again"
                    ));
                }
                Ok(Err(failure)) => panic!("{}: {failure}", self.name),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    fn start(&self, attempt: usize) -> Vm {
        let log = workspace::kept().join(format!(
            "console-{}{}.log",
            self.name,
            if attempt > 1 { format!("-{attempt}") } else { String::new() }
        ));
        let mut command = self.command();
        command.args(["-machine", self.emulator.board, "-nodefaults"]);
        command.args(acceleration(self.emulator)).args(&self.args);
        let device = format!("{},netdev=net0{}", self.card, self.mac);
        command.args(["-netdev", &self.network, "-device", &device]);
        if !self.may_reboot {
            command.arg("-no-reboot");
        }
        if let Some((code, vars)) = &self.firmware {
            let fixed = format!("if=pflash,format=raw,unit=0,readonly=on,file={}", code.display());
            let own = format!("if=pflash,format=raw,unit=1,file={}", vars.display());
            command.args(["-drive", &fixed, "-drive", &own]);
        }
        let monitor = self.monitor.path().join(format!("q{attempt}"));
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", monitor.display())]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", self.emulator.program));
        let console = Console::follow(child.stdout.take().expect("standard output is a pipe"), &log);
        Vm { child, console, monitor, started: Instant::now() }
    }

    /// The emulator replaces the command, so killing the command kills the emulator.
    fn command(&self) -> Command {
        let program = self.emulator.program;
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.args([namespace, "--", program]);
        command
    }
}

/// QEMU's name for the format of the disk `path`, by its ending.
fn format(path: &Path) -> &'static str {
    match path.extension().and_then(OsStr::to_str) {
        Some("qcow2") => "qcow2",
        Some("vhd") => "vpc",
        Some("vhdx") => "vhdx",
        Some("vmdk") => "vmdk",
        _ => "raw",
    }
}

fn drive(path: &Path, id: &str) -> String {
    let format = format(path);
    format!("if=none,id={id},format={format},discard=unmap,file={}", path.display())
}

/// Hardware virtualization with `KILN_TEST_KVM=1` if it can be opened, else emulation.
fn acceleration(emulator: &Emulator) -> [&'static str; 4] {
    let wanted = std::env::var_os("KILN_TEST_KVM").is_some_and(|value| value == "1");
    if wanted && emulator.native && OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok() {
        return ["-accel", "kvm", "-cpu", "host"];
    }
    ["-accel", "tcg,thread=multi", "-cpu", emulator.processor]
}

/// A copy-on-write disk over `base` (which stays as it is) in `folder`, enlarged to `size` bytes if given.
pub fn overlay(base: &Path, folder: &Path, name: &str, size: Option<u64>) -> PathBuf {
    let path = folder.join(format!("{name}.qcow2"));
    let mut args: Vec<OsString> =
        ["create", "-q", "-f", "qcow2", "-F", format(base), "-b"].map(OsString::from).to_vec();
    args.push(base.canonicalize().expect("the base disk exists").into());
    args.push(path.clone().into());
    args.extend(size.map(|size| size.to_string().into()));
    workspace::output("qemu-img", args);
    path
}

/// A running machine; it is killed when dropped.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    console: Console,
    monitor: PathBuf,
    started: Instant,
}

impl Vm {
    /// The next line of the console that contains `pattern`.
    pub fn wait_for(&mut self, pattern: &str, patience: Duration) -> Result<String, Failure> {
        self.console.wait_for(pattern, workspace::patience(patience))
    }

    /// Waits until the guest has powered off.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + workspace::patience(patience);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let tail = self.console.lines().into_iter().rev().take(10).collect::<Vec<_>>().join("\n  | ");
        Err(Failure {
            what: format!("the machine did not power off; the last lines, newest first:\n  | {tail}"),
        })
    }

    /// Presses the power button, so that the guest shuts down properly.
    pub fn press_power_button(&self) {
        self.order("{\"execute\":\"system_powerdown\"}");
    }

    /// Pulls the cable out of the network card `name`.
    pub fn unplug(&self, name: &str) {
        self.order(&format!(
            "{{\"execute\":\"set_link\",\"arguments\":{{\"name\":\"{name}\",\"up\":false}}}}"
        ));
    }

    /// Gives the emulator's monitor a command of QMP.
    fn order(&self, command: &str) {
        let mut stream = self.monitor();
        let words = format!("{{\"execute\":\"qmp_capabilities\"}}{command}");
        stream.write_all(words.as_bytes()).expect("the emulator reads what it is told");
        // Waits for the greeting and for one answer to each command before the connection ends.
        let answers = BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .filter(|line| line.contains("\"return\""));
        assert_eq!(answers.take(2).count(), 2, "the emulator did not obey {command}");
    }

    /// A connection to the monitor, which the emulator opens a moment after its start.
    fn monitor(&self) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match UnixStream::connect(&self.monitor) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "the emulator's monitor: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every line of the console so far.
    pub fn lines(&self) -> Vec<String> {
        self.console.lines()
    }

    /// Time since power-on.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
