//! Boots an output in QEMU: which file it is, and the words of QEMU's command line.

mod disk;
mod firmware;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use disk::{Form, has_large_sectors, recognise};

use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Run, tool};

/// What starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Firmware {
    /// UEFI, from the firmware that QEMU's descriptions name
    Uefi,
    /// A BIOS (SeaBIOS), for amd64
    Bios,
}

/// How the machine reaches its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Bus {
    /// virtio-blk
    Virtio,
    /// virtio-scsi
    Scsi,
    /// NVMe
    Nvme,
    /// AHCI
    Sata,
    /// IDE, on QEMU's older board
    Ide,
}

/// A machine.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Of which architecture.
    pub arch: Arch,
    /// What starts it.
    pub firmware: Firmware,
    /// How it reaches its disk.
    pub bus: Bus,
    /// Whether the disk has sectors of 4096 bytes.
    pub large_sectors: bool,
    /// Whether its processor is emulated even where it could be virtualised.
    pub emulate: bool,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// `HOST:GUEST`, or `ADDRESS:HOST:GUEST`: connections to a port of this host reach one of the guest.
    pub forwards: &'a [String],
    /// A node config that the firmware hands on (`firstboot`'s location `fw-cfg`).
    pub node_config: Option<&'a Path>,
    /// Whether the terminal is the console; else the console is only printed.
    pub interactive: bool,
    /// More of QEMU's arguments.
    pub more: &'a [OsString],
}

/// What it boots.
#[derive(Debug)]
pub enum Boot<'a> {
    /// A disk in QEMU's format qcow2, which may change.
    Disk(&'a Path),
    /// The folder of the output `pxe`, over the network.
    Network(&'a Path),
    /// A unified kernel image, over the network.
    Program(&'a Path),
    /// A disc.
    Disc(&'a Path),
}

/// The key under which the agent looks for its config in QEMU's fw_cfg device.
const CONFIG_KEY: &str = "opt/org.kiln.firstboot/config";
/// Below this not even the initrd starts, in bytes.
const LEAST_MEMORY: u64 = 256 << 20;
/// What a device says of its sectors.
const LARGE_SECTORS: &str = ",logical_block_size=4096,physical_block_size=4096";
/// The script of the output `pxe`.
pub const IPXE_SCRIPT: &str = "boot.ipxe";

impl Machine<'_> {
    /// QEMU's program and arguments. Files of the machine that change are in `folder`.
    ///
    /// # Errors
    /// When the firmware is missing, or the machine cannot be as it is asked for.
    pub fn command(&self, boot: &Boot<'_>, folder: &Path) -> Result<Vec<OsString>> {
        self.check(boot)?;
        let program = match self.arch {
            Arch::Amd64 => "qemu-system-x86_64",
            Arch::Arm64 => "qemu-system-aarch64",
        };
        let mut words = Words(vec![program.into()]);
        words.add(["-machine", self.board(), "-nodefaults", "-no-reboot"]);
        words.add(self.acceleration());
        let mib = self.memory >> 20;
        words.add(["-smp", &self.cpus.to_string(), "-m", &mib.to_string(), "-device", "virtio-rng-pci"]);
        if self.interactive {
            words.add(["-display", "none", "-serial", "mon:stdio"]);
        } else {
            words.add(["-display", "none", "-serial", "stdio", "-monitor", "none"]);
        }
        if self.firmware == Firmware::Uefi {
            for drive in firmware::drives(self.arch, folder)? {
                words.add(["-drive".into(), drive]);
            }
        }
        let mut network = OsString::from("user,id=net0");
        for forward in self.forwards {
            network.push(forwarded(forward)?);
        }
        match boot {
            Boot::Disk(path) => {
                let path = &local(path);
                words.file("-drive", "if=none,id=disk0,format=qcow2,discard=unmap,file=", path);
                for device in self.bus.devices() {
                    let sectors =
                        if self.large_sectors && device.contains("drive=") { LARGE_SECTORS } else { "" };
                    words.add(["-device".to_owned(), format!("{device}{sectors}")]);
                }
            }
            Boot::Disc(path) => {
                words.file("-drive", "if=none,id=disc0,format=raw,readonly=on,media=cdrom,file=", path);
                let device = if self.arch == Arch::Arm64 { "virtio-scsi-pci" } else { "ich9-ahci,id=discs" };
                let drive = if self.arch == Arch::Arm64 { "scsi-cd" } else { "ide-cd,bus=discs.0" };
                words.add(["-device", device, "-device", &format!("{drive},drive=disc0,bootindex=0")]);
            }
            Boot::Network(path) => serve(&mut words, &mut network, path, IPXE_SCRIPT.as_ref()),
            Boot::Program(path) => {
                let folder = path.parent().unwrap_or(Path::new("."));
                serve(&mut words, &mut network, folder, path.file_name().unwrap_or_default().as_ref());
            }
        }
        words.add([OsString::from("-netdev"), network]);
        // iPXE on the card would hand the file's name to the program as its command line, in place of its
        // own.
        let rom = if matches!(boot, Boot::Program(_)) { ",romfile=" } else { "" };
        words.add(["-device", &format!("virtio-net-pci,netdev=net0{rom}")]);
        if let Some(config) = self.node_config {
            words.file("-fw_cfg", &format!("name={CONFIG_KEY},file="), config);
        }
        words.add(self.more.iter().cloned());
        Ok(words.0)
    }

    fn check(&self, boot: &Boot<'_>) -> Result<()> {
        let refused = |what: &str, help: &str| Err(Error::new(ErrorKind::Usage, what).help(help));
        if matches!(boot, Boot::Program(_)) && self.firmware == Firmware::Bios {
            return refused("--firmware bios: a unified kernel image is a program for UEFI", "leave it out");
        }
        if self.large_sectors && matches!(self.bus, Bus::Sata | Bus::Ide) {
            return refused(
                "--bus: QEMU's SATA and IDE have no disks with sectors of 4096 bytes",
                "write --bus virtio, scsi or nvme",
            );
        }
        if self.large_sectors && self.firmware == Firmware::Bios && matches!(boot, Boot::Disk(_)) {
            return refused(
                "--firmware bios: no BIOS boots a disk with sectors of 4096 bytes",
                "leave it out",
            );
        }
        if self.memory < LEAST_MEMORY {
            return refused("--memory: too little for any image", "write at least 512MiB");
        }
        if self.arch == Arch::Arm64 && self.firmware == Firmware::Bios {
            return refused("--firmware bios: machines of arm64 have none", "leave it out");
        }
        if self.arch == Arch::Arm64 && matches!(self.bus, Bus::Ide | Bus::Sata) {
            return refused("--bus: QEMU's machine for arm64 has neither IDE nor SATA", "write --bus virtio");
        }
        Ok(())
    }

    /// Hardware virtualisation if this user may have it, else emulation.
    fn acceleration(&self) -> [&'static str; 4] {
        let has_kvm = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if !self.emulate && self.arch == Arch::OF_THIS_MACHINE && has_kvm() {
            return ["-accel", "kvm", "-cpu", "host"];
        }
        ["-accel", "tcg,thread=multi", "-cpu", "max"]
    }

    fn board(&self) -> &'static str {
        match (self.arch, self.bus) {
            (Arch::Arm64, _) => "virt",
            (Arch::Amd64, Bus::Ide) => "pc",
            (Arch::Amd64, _) => "q35",
        }
    }
}

impl Bus {
    fn devices(self) -> &'static [&'static str] {
        match self {
            Self::Virtio => &["virtio-blk-pci,drive=disk0,bootindex=0"],
            Self::Scsi => &["virtio-scsi-pci,id=scsi0", "scsi-hd,bus=scsi0.0,drive=disk0,bootindex=0"],
            Self::Nvme => &["nvme,serial=kiln,drive=disk0,bootindex=0"],
            Self::Sata | Self::Ide => &["ide-hd,drive=disk0,bus=ide.0,bootindex=0"],
        }
    }
}

/// The image over which the disk at `path` was made; none if it was made over none.
///
/// # Errors
/// [`ErrorKind::Tool`].
pub fn base_of(path: &Path) -> Result<Option<PathBuf>> {
    let information = information(&local(path))?;
    Ok(information["full-backing-filename"].as_str().map(PathBuf::from))
}

/// What `qemu-img info` says of the image at `path`.
fn information(path: &Path) -> Result<serde_json::Value> {
    let output = tool("qemu-img").args(["info", "--output=json"]).arg(path).run("qemu-utils")?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// A path that QEMU takes for nothing but a path, such as `nbd:x`.
fn local(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A disk over the image `base` that keeps what the machine writes, in `path`, with at least `size` bytes.
///
/// # Errors
/// [`ErrorKind::Tool`].
pub fn overlay(base: &Path, form: Form, path: &Path, size: u64) -> Result<()> {
    let base = base.canonicalize().unwrap_or_else(|_| base.to_owned());
    let mut command = tool("qemu-img");
    command
        .args(["create", "-q", "-f", "qcow2", "-F", form.name(), "-b"])
        .arg(&base)
        .arg(path);
    command.run("qemu-utils")?;
    let path = &local(path);
    let information = information(path)?;
    if information["virtual-size"].as_u64().is_some_and(|own| own < size) {
        tool("qemu-img")
            .args(["resize", "-q"])
            .arg(path)
            .arg(size.to_string())
            .run("qemu-utils")?;
    }
    Ok(())
}

/// Boots `file` of `folder` from the network: QEMU serves both by DHCP and TFTP.
fn serve(words: &mut Words, network: &mut OsString, folder: &Path, file: &Path) {
    network.push(",bootfile=");
    network.push(escaped(file));
    network.push(",tftp=");
    network.push(escaped(if folder == Path::new("") { Path::new(".") } else { folder }));
    words.add(["-boot", "n"]);
}

/// `8080:80` is `,hostfwd=tcp:127.0.0.1:8080-:80`.
fn forwarded(text: &str) -> Result<String> {
    let (address, ports) = match text.rsplitn(3, ':').collect::<Vec<_>>()[..] {
        [guest, host] => ("127.0.0.1", [host, guest]),
        [guest, host, address] => (address, [host, guest]),
        _ => ("", ["", ""]),
    };
    let is_address = address.parse::<std::net::Ipv4Addr>().is_ok();
    match ports.map(str::parse::<u16>) {
        [Ok(host @ 1..), Ok(guest @ 1..)] if is_address => {
            Ok(format!(",hostfwd=tcp:{address}:{host}-:{guest}"))
        }
        _ => Err(Error::new(ErrorKind::Usage, format!("--forward {text}: no ports"))
            .help("write --forward 2222:22, or 192.0.2.1:2222:22")),
    }
}

/// In QEMU's lists of options a comma is written twice.
fn escaped(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = path.as_os_str().as_bytes();
    OsString::from_vec(
        bytes
            .iter()
            .flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b',')))
            .collect(),
    )
}

/// A command line that grows.
struct Words(Vec<OsString>);

impl Words {
    fn add<T: Into<OsString>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.0.extend(words.into_iter().map(Into::into));
    }

    fn file(&mut self, option: &str, before: &str, path: &Path) {
        let mut value = OsString::from(before);
        value.push(escaped(path));
        self.add([option.into(), value]);
    }
}

/// The one disk or network set that `path` means: itself, or of an output folder the first that can boot.
///
/// # Errors
/// [`ErrorKind::Usage`] when there is none.
pub fn bootable(path: &Path, files: &[String]) -> Result<PathBuf> {
    const BEST: [&str; 7] = [".qcow2", ".raw", ".vhdx", ".vhd", ".vmdk", ".iso", ".efi"];
    let found = BEST.iter().find_map(|ending| files.iter().find(|file| file.ends_with(ending)));
    let script = || files.iter().find_map(|file| file.strip_suffix(&format!("/{IPXE_SCRIPT}")));
    match found.map(String::as_str).or_else(script) {
        Some(file) => Ok(path.join(file)),
        None => Err(Error::new(ErrorKind::Usage, format!("{} has nothing that boots", path.display()))
            .help("build one of the outputs raw, qcow2, vhd, vhdx, vmdk, iso, uki and pxe")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine<'static> {
        Machine {
            arch: Arch::Amd64,
            firmware: Firmware::Bios,
            bus: Bus::Virtio,
            large_sectors: false,
            emulate: true,
            cpus: 2,
            memory: 2 << 30,
            forwards: &[],
            node_config: None,
            interactive: false,
            more: &[],
        }
    }

    fn line(machine: &Machine<'_>, boot: &Boot<'_>) -> String {
        let words = machine.command(boot, Path::new("/tmp")).unwrap();
        words.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn a_disk_is_on_the_bus_and_the_board_that_has_it() {
        let disk = Boot::Disk(Path::new("/a,b.qcow2"));
        for (bus, board, device) in [
            (Bus::Virtio, "q35", "virtio-blk-pci,drive=disk0"),
            (Bus::Scsi, "q35", "scsi-hd,bus=scsi0.0,drive=disk0"),
            (Bus::Nvme, "q35", "nvme,serial=kiln,drive=disk0"),
            (Bus::Sata, "q35", "ide-hd,drive=disk0"),
            (Bus::Ide, "pc", "ide-hd,drive=disk0"),
        ] {
            let line = line(&Machine { bus, ..machine() }, &disk);
            assert!(line.contains(&format!("-machine {board} ")) && line.contains(device), "{line}");
            assert!(line.contains("format=qcow2,discard=unmap,file=/a,,b.qcow2 "), "{line}");
        }
    }

    #[test]
    fn large_sectors_are_told_to_the_device_where_there_are_any() {
        let disk = Boot::Disk(Path::new("/d"));
        let large = |bus, firmware| Machine { large_sectors: true, bus, firmware, ..machine() };
        let arm = Machine { arch: Arch::Arm64, ..large(Bus::Scsi, Firmware::Uefi) };
        if let Ok(words) = arm.command(&disk, tempfile::tempdir().unwrap().path()) {
            let line = words.join(" ".as_ref()).into_string().unwrap();
            assert!(line.contains("-device virtio-scsi-pci,id=scsi0 -device scsi-hd,"), "{line}");
            assert!(line.contains("bootindex=0,logical_block_size=4096"), "{line}");
        }
        for (bus, firmware) in [(Bus::Sata, Firmware::Uefi), (Bus::Virtio, Firmware::Bios)] {
            assert!(large(bus, firmware).command(&disk, Path::new("/tmp")).is_err());
        }
    }

    #[test]
    fn a_network_set_is_served_with_its_script() {
        let line = line(&machine(), &Boot::Network(Path::new("/o/x-pxe")));
        assert!(line.contains("-boot n -netdev user,id=net0,bootfile=boot.ipxe,tftp=/o/x-pxe "), "{line}");
    }

    #[test]
    fn ports_are_forwarded_from_this_host_alone_unless_an_address_is_named() {
        assert_eq!(forwarded("2222:22").unwrap(), ",hostfwd=tcp:127.0.0.1:2222-:22");
        assert_eq!(forwarded("0.0.0.0:80:8080").unwrap(), ",hostfwd=tcp:0.0.0.0:80-:8080");
        for wrong in ["22", "a:22", "1:2:3:4", "70000:1", "0:22", "22:0", "x,y:1:2", ""] {
            assert_eq!(forwarded(wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }

    #[test]
    fn what_no_machine_of_arm64_has_is_refused() {
        let arm = || Machine { arch: Arch::Arm64, ..machine() };
        for wrong in [arm(), Machine { firmware: Firmware::Uefi, bus: Bus::Sata, ..arm() }] {
            let error = wrong.command(&Boot::Disk(Path::new("/d")), Path::new("/tmp")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn of_an_output_folder_the_disk_boots_before_the_network_set() {
        let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = files(&["a-pxe/boot.ipxe", "a-pxe/vmlinuz", "a.raw", "a.qcow2"]);
        assert_eq!(bootable(Path::new("o"), &all).unwrap(), Path::new("o/a.qcow2"));
        assert_eq!(bootable(Path::new("o"), &all[..2]).unwrap(), Path::new("o/a-pxe"));
        assert!(bootable(Path::new("o"), &files(&["a-oci/index.json"])).is_err());
    }
}
