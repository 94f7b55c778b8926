//! The agent for Windows, run by wine on a machine of its own: a prefix, whose drive C: is a folder.
//!
//! Wine answers as Windows does, as far as it goes: it has no access lists of its own on files, makes no
//! symbolic links and reboots nothing. It makes the firmware's table of what Linux shows of it, so a test can
//! give a machine another one. Windows itself is not here.

use std::borrow::BorrowMut;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::loop_device::LoopDevice;
use crate::{netns, workspace};

/// The newest function that Rust asks of Windows, which wine before 9.0 lacks: random bytes of a library that
/// every Windows since 7 has.
const PRIMITIVES: &str = r#"
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL ProcessPrng(PBYTE bytes, SIZE_T length) { return SystemFunction036(bytes, length); }
"#;

/// Runs a program where the folder `$1` is what Linux shows of the firmware, and `$2` has the folder of
/// D-Bus, whose identifier wine takes for that of the firmware.
const WITH_FIRMWARE: &str = r#"
set -e
mount -t tmpfs tmpfs /sys/class
mkdir -p /sys/class/dmi/id
cp "$1"/* /sys/class/dmi/id/
# Wine looks for the asset tag under another name.
! [ -f "$1/chassis_asset_tag" ] || cp "$1/chassis_asset_tag" /sys/class/dmi/id/chassis_tag
mount -t overlay overlay -o lowerdir="$2":/var/lib /var/lib
shift 2
exec "$@"
"#;

/// A machine with Windows, as wine plays it.
#[derive(Debug)]
pub struct Windows {
    prefix: tempfile::TempDir,
    /// The process in whose network namespace it is, if not in the test's own.
    network: Option<String>,
    /// What its firmware says, if not what the test machine's does.
    firmware: Option<Firmware>,
}

/// What the firmware of a machine says.
#[derive(Debug)]
struct Firmware {
    /// Texts by their names in Linux.
    texts: PathBuf,
    /// The folder of D-Bus, with the identifier.
    identifier: tempfile::TempDir,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output with lines as on Linux.
    pub text: String,
}

impl Windows {
    /// A new machine, without anything of the agent.
    pub fn new() -> Self {
        Self::in_network(None)
    }

    /// A new machine in the network namespace of a process. All sockets of a machine are its wine server's,
    /// which begins with its first program.
    pub fn in_network(process: Option<&str>) -> Self {
        let prefix = workspace::scratch();
        // Nothing writes to the files of the template, but to those of the registry.
        let copy = |options: &str, name: &str| {
            workspace::output(
                "cp",
                [options.as_ref(), template().join(name).as_os_str(), prefix.path().as_os_str()],
            );
        };
        copy("-al", "drive_c");
        copy("-a", "dosdevices");
        ["system.reg", "user.reg", "userdef.reg", ".update-timestamp"]
            .iter()
            .for_each(|name| copy("-a", name));
        Self { prefix, network: process.map(str::to_owned), firmware: None }
    }

    /// A new machine with the firmware of a machine of Linux below `root`. The test must be root.
    pub fn with_firmware_of(root: &Path) -> Self {
        let texts = root.join("sys/class/dmi/id");
        fs::create_dir_all(&texts).expect("the folder is the test's");
        let identifier = workspace::scratch();
        let folder = identifier.path().join("dbus");
        fs::create_dir(&folder).expect("the folder is the test's");
        let uuid = fs::read_to_string(texts.join("product_uuid")).unwrap_or_default();
        fs::write(folder.join("machine-id"), in_table(uuid.trim())).expect("the folder is the test's");
        let mut machine = Self::new();
        machine.firmware = Some(Firmware { texts, identifier });
        machine
    }

    /// The file of the machine's absolute path without its drive.
    pub fn path(&self, path: &str) -> PathBuf {
        self.prefix.path().join("drive_c").join(path.trim_start_matches('/'))
    }

    /// Writes a file of the machine.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is a file")).expect("the folder is the test's");
        fs::write(path, text).expect("the folder is the test's");
    }

    /// The text of a file of the machine; none if it is not there.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// A command that runs the agent with these words.
    pub fn agent(&self, words: &[&str]) -> Command {
        let mut command = self.program(&programs().join("firstboot.exe"));
        command.args(words);
        command
    }

    /// Runs the agent to its end.
    pub fn run(&self, words: &[&str]) -> Said {
        said(self.agent(words))
    }

    /// A command that runs a program of Windows.
    pub fn program(&self, program: &Path) -> Command {
        let mut command = match &self.firmware {
            None => in_network(self.network.as_deref(), loader()),
            Some(firmware) => {
                let mut command = in_network(self.network.as_deref(), Path::new("unshare"));
                command.args(["--mount", "sh", "-c", WITH_FIRMWARE, "sh"]);
                command.arg(&firmware.texts).arg(firmware.identifier.path()).arg(loader());
                command
            }
        };
        of_prefix(&mut command, self.prefix.path());
        command.arg(program);
        command
    }

    /// Runs a program of Windows with these words; it must succeed.
    pub fn succeed(&self, program: &str, words: &[&str]) -> String {
        let mut command = self.program(Path::new(program));
        command.args(words);
        let said = said(command);
        assert_eq!(said.code, Some(0), "{program} {words:?}: {}", said.text);
        said.text
    }

    /// The text of a value below HKEY_LOCAL_MACHINE, as `reg query` shows it; none if it is not there.
    pub fn value(&self, key: &str, name: &str) -> Option<String> {
        let mut command = self.program(Path::new("reg.exe"));
        command.args(["query", &format!(r"HKLM\{key}"), "/v", name]);
        // Wine's program may fail to start on a busy machine, which must not pass for an absent value.
        let said = (0..3)
            .map(|_| said(&mut command))
            .find(|said| said.code == Some(0) || said.text.contains("Unable to find"))
            .unwrap_or_else(|| panic!("reg.exe does not read {name} of {key}"));
        let line = said.text.lines().find_map(|line| line.trim().strip_prefix(name))?.trim();
        let (_kind, value) = line.split_once("    ")?;
        Some(value.trim().to_owned())
    }

    /// Puts the stand-in for the kubelet where the layer of that name puts the kubelet.
    pub fn install_kubelet(&self) {
        self.install_program("kubelet", 10248);
    }

    /// Puts the stand-in for kube-proxy where the layer of that name puts it.
    pub fn install_kube_proxy(&self) {
        self.install_program("kube-proxy", 10256);
    }

    /// Makes the service for kube-proxy that its layer has.
    pub fn define_kube_proxy(&self) {
        let command = r"C:\k\kube-proxy.exe --windows-service --proxy-mode=kernelspace";
        self.succeed("sc.exe", &["create", "kube-proxy", "binpath=", command, "start=", "demand"]);
    }

    fn install_program(&self, name: &str, port: u16) {
        let definitions = [format!("-DNAME=\"{name}\""), format!("-DPORT={port}"), "-lws2_32".to_owned()];
        self.install("service.c", &definitions, &format!("/k/{name}.exe"));
        fs::create_dir_all(self.path(&format!("/var/log/{name}"))).expect("the folder is the test's");
    }

    /// Compiles a stand-in of `tests/stand-ins` with these words, and puts it there.
    pub fn install(&self, source: &str, words: &[String], path: &str) {
        let source = workspace::root().join("tests/stand-ins").join(source);
        let text = fs::read_to_string(&source).expect("the stand-in is in the checkout");
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).expect("it is a file");
        let folder =
            workspace::kept_as_made(&format!("windows-{name}"), &format!("{words:?}{text}"), |folder| {
                let program = folder.join(name);
                let fixed = ["-O2".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()];
                let words = words.iter().map(AsRef::as_ref);
                workspace::output("x86_64-w64-mingw32-gcc", fixed.into_iter().chain(words));
            });
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is a file")).expect("the folder is the test's");
        // The file that is there may be the template's.
        let _ = fs::remove_file(&path);
        fs::copy(folder.join(name), path).expect("the folder is the test's");
    }

    /// Has the image ask the agent for these features, of a stand-in for DISM that needs a restart for them.
    pub fn ask_for_features(&self, names: &[&str]) {
        fs::create_dir_all(self.path("/dism")).expect("the folder is the test's");
        self.install("dism.c", &[], "/windows/system32/dism.exe");
        names
            .iter()
            .for_each(|name| self.write(&format!("/usr/lib/kiln/windows-features/{name}"), ""));
    }

    /// Puts a disk or disc into a machine that has not started. Wine reads its label and its file system, and
    /// shows these files as its content.
    pub fn insert(&self, letter: char, device: &LoopDevice, files: &Path, is_disc: bool) {
        let drives = self.prefix.path().join("dosdevices");
        let link = |target: &Path, name: String| symlink(target, drives.join(name));
        link(files, format!("{letter}:")).expect("the letter is free");
        link(device.path(), format!("{letter}::")).expect("the letter is free");
        let kind = if is_disc { "cdrom" } else { "hd" };
        self.preset(r"Software\Wine\Drives", &[(&format!("{letter}:"), kind)]);
    }

    /// Sets texts of the registry below HKEY_LOCAL_MACHINE before the machine starts, in the file that wine
    /// reads then.
    pub fn preset(&self, key: &str, values: &[(&str, &str)]) {
        let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
        let lines =
            values.iter().map(|(name, text)| format!("\"{}\"=\"{}\"\n", escaped(name), escaped(text)));
        let text = format!("\n[{}]\n{}", escaped(key), lines.collect::<String>());
        let file = fs::OpenOptions::new().append(true).open(self.prefix.path().join("system.reg"));
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("the prefix is the test's");
    }

    /// Restarts the machine: every program ends, and keys of the registry that last for one boot are gone.
    /// What the stand-in for DISM has pending is enabled.
    pub fn restart(&self) {
        self.end();
        let _ = fs::rename(self.path("/dism/pending"), self.path("/dism/enabled"));
    }

    fn end(&self) {
        self.server(&["-k", "-w"]);
    }

    fn server(&self, words: &[&str]) {
        let program = loader().with_file_name("wineserver");
        let mut command = in_network(self.network.as_deref(), &program);
        command.env("WINEPREFIX", self.prefix.path()).args(words);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Sets a text of the registry below HKEY_LOCAL_MACHINE.
    pub fn set(&self, key: &str, name: &str, text: &str) {
        let key = format!(r"HKLM\{key}");
        self.succeed("reg.exe", &["add", &key, "/v", name, "/t", "REG_SZ", "/d", text, "/f"]);
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a program to its end.
pub fn said(mut command: impl BorrowMut<Command>) -> Said {
    let output = command.borrow_mut().stderr(Stdio::null()).output().expect("wine starts");
    let text = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    Said { code: output.status.code(), text }
}

/// The folder with `firstboot.exe` and what wine lacks beside it.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let built = {
            let _alone = workspace::exclusive("programs");
            let tool = workspace::root().join("tools/windows-agent");
            PathBuf::from(workspace::output(&tool.display().to_string(), [""; 0]).trim())
        };
        let folder = workspace::kept_as_made("windows", PRIMITIVES, |folder| {
            let source = folder.join("primitives.c");
            fs::write(&source, PRIMITIVES).expect("the folder is the test's");
            let library = folder.join("bcryptprimitives.dll");
            let words = ["-shared", "-O2", "-o"].map(AsRef::as_ref);
            let files = [library.as_os_str(), source.as_os_str(), "-ladvapi32".as_ref()];
            workspace::output("x86_64-w64-mingw32-gcc", words.into_iter().chain(files));
        });
        fs::copy(&built, folder.join("firstboot.exe")).expect("the target folder is writable");
        folder
    })
}

/// A prefix as wine makes it.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = workspace::output(&loader().display().to_string(), ["--version"]);
        workspace::kept_as_made("wine", &version, |folder| {
            let mut command = Command::new(loader());
            of_prefix(&mut command, folder);
            let made = command.args(["wineboot", "--init"]).stderr(Stdio::null()).status();
            assert!(made.expect("wine starts").success(), "wine makes no prefix");
            let server = loader().with_file_name("wineserver");
            let ended = Command::new(server).env("WINEPREFIX", folder).arg("-w").status();
            assert!(ended.expect("wine has its server").success(), "wine's server does not end");
        })
    })
}

fn in_network(network: Option<&str>, program: &Path) -> Command {
    match network {
        Some(process) => netns::command_in(process, program),
        None => Command::new(program),
    }
}

fn of_prefix(command: &mut Command, prefix: &Path) {
    command
        .env("WINEPREFIX", prefix)
        .env("WINEDEBUG", "-all")
        .env("WINEARCH", "win64")
        // Wine has a program of this name, which does nothing, and would prefer it.
        .env("WINEDLLOVERRIDES", "dism.exe=n")
        .env_remove("DISPLAY")
        .stdin(Stdio::null());
}

/// The digits of a UUID in the order of the firmware's table, where the first three groups are little-endian.
fn in_table(uuid: &str) -> String {
    let turned = |group: &str| {
        let pairs: Vec<_> = group.as_bytes().chunks(2).rev().collect();
        String::from_utf8(pairs.concat()).expect("a UUID is ASCII")
    };
    let groups: Vec<_> = uuid.split('-').collect();
    match groups[..] {
        [a, b, c, d, e] => format!("{}{}{}{d}{e}", turned(a), turned(b), turned(c)),
        // A machine without one.
        _ => "0".repeat(32),
    }
}

/// wine's loader for 64 bits, which packages keep in different places.
fn loader() -> &'static Path {
    static LOADER: OnceLock<PathBuf> = OnceLock::new();
    LOADER.get_or_init(|| {
        let packaged = Path::new("/usr/lib/wine/wine64");
        let found = packaged.is_file().then(|| packaged.to_owned());
        found
            .or_else(|| workspace::find_program("wine64"))
            .expect("wine64 runs the agent for Windows: tools/install windows")
    })
}
