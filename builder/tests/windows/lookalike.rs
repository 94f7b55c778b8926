//! Files that look like Microsoft's, made by hivex, wimlib and ntfs-3g.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use kiln::format::hive::Hive;
use tempfile::TempDir;

use crate::tools::{have, run};

/// The programs that make and judge them.
pub const PROGRAMS: [&str; 12] = [
    "wimlib-imagex",
    "faketime",
    "mkntfs",
    "ntfsls",
    "ntfscat",
    "ntfsinfo",
    "ntfssecaudit",
    "hivexregedit",
    "hivexget",
    "sgdisk",
    "qemu-img",
    "mcopy",
];

/// Files of the base, and their texts.
const FILES: [(&str, &str); 9] = [
    ("Windows/System32/ntoskrnl.exe", "MZ kernel"),
    ("Windows/System32/winload.efi", "MZ loader"),
    ("Windows/System32/drivers/etc/hosts", "# of the base\r\n"),
    ("Windows/Boot/EFI/bootmgfw.efi", "MZ boot manager"),
    ("Windows/Boot/EFI/en-US/bootmgfw.efi.mui", "MZ texts"),
    ("Windows/Boot/Fonts/segoe_slboot.ttf", "font"),
    ("Windows/Boot/Resources/bootres.dll", "MZ logo"),
    ("Program Files/Common Files/readme.txt", "of the base"),
    ("Users/Public/desktop.ini", "[.ShellClassInfo]\r\n"),
];

/// What a base has in its registry.
#[derive(Debug, Clone, Copy)]
pub struct Registry<'a> {
    pub build: &'a str,
    pub revision: u32,
    pub state: &'a str,
    pub edition: &'a str,
    pub processors: &'a str,
    /// A service that it has by itself.
    pub service: &'a str,
}

pub const SERVER_2022: Registry<'_> = Registry {
    build: "20348",
    revision: 2700,
    state: "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE",
    edition: "ServerStandardCore",
    processors: "AMD64",
    service: "Dnscache",
};

/// A folder with a base for images, `install.wim`; none, which is noted for the test, where a program is
/// missing.
pub fn folder(test: &str) -> Option<TempDir> {
    have(test, &PROGRAMS).then(|| {
        let folder = tempfile::tempdir().unwrap();
        wim(folder.path(), SERVER_2022);
        folder
    })
}

/// The text of a `.reg` file as hivexregedit reads it, which knows text only in hexadecimal digits.
fn hex(kind: u8, text: &str) -> String {
    let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    let digits: Vec<String> = units.map(|byte| format!("{byte:02x}")).collect();
    format!("hex({kind}):{}", digits.join(","))
}

/// The second image of `install.wim` alone, `x.wim`.
pub fn export(folder: &Path) {
    run("wimlib-imagex", &["export", "install.wim", "2", "x.wim"], folder);
}

/// The hives of a base, filled by hivex, in the folder `config`.
pub fn hives(config: &Path, registry: Registry<'_>) {
    let head = "Windows Registry Editor Version 5.00\n\n";
    // The services of the feature Containers.
    let service = hex(2, r"%systemroot%\system32\svchost.exe -k NetSvcs");
    let system = format!(
        "{head}[\\Select]\n\"Current\"=dword:00000001\n\"Default\"=dword:00000001\n\n[\\Setup]\n\
         \"SystemSetupInProgress\"=dword:00000001\n\n[\\ControlSet001]\n\n[\\ControlSet001\\Control]\n\n\
         [\\ControlSet001\\Control\\Session Manager]\n\n[\\ControlSet001\\Control\\Session Manager\\Environment]\n\
         \"Path\"={}\n\"PROCESSOR_ARCHITECTURE\"={}\n\n[\\ControlSet001\\Services]\n\n\
         [\\ControlSet001\\Services\\{}]\n\"ImagePath\"={service}\n\n[\\ControlSet001\\Services\\Tcpip]\n\"Start\"=dword:00000001\n\n\
         [\\ControlSet001\\Services\\hns]\n\"ImagePath\"={service}\n\n\
         [\\ControlSet001\\Services\\vmcompute]\n\"ImagePath\"={service}\n\n[\\DriverDatabase]\n\n\
         [\\DriverDatabase\\DeviceIds]\n\n[\\DriverDatabase\\DriverInfFiles]\n\n[\\DriverDatabase\\DriverPackages]\n",
        hex(2, r"%SystemRoot%\system32;%SystemRoot%"),
        hex(1, registry.processors),
        registry.service
    );
    let software = format!(
        "{head}[\\Microsoft]\n\n[\\Microsoft\\Windows NT]\n\n[\\Microsoft\\Windows NT\\CurrentVersion]\n\
         \"ProductName\"={}\n\"EditionID\"={}\n\"CurrentBuildNumber\"={}\n\"UBR\"=dword:{:08x}\n\n\
         [\\Microsoft\\Windows]\n\n[\\Microsoft\\Windows\\CurrentVersion]\n\"DevicePath\"={}\n\n\
         [\\Microsoft\\Windows\\CurrentVersion\\Setup]\n\n[\\Microsoft\\Windows\\CurrentVersion\\Setup\\State]\n\
         \"ImageState\"={}\n",
        hex(1, "Windows Server 2022 Standard"),
        hex(1, registry.edition),
        hex(1, registry.build),
        registry.revision,
        hex(2, r"%SystemRoot%\inf"),
        hex(1, registry.state)
    );
    for (name, text) in [("SYSTEM", system), ("SOFTWARE", software)] {
        fs::write(config.join(name), Hive::new("ROOT", 1_600_000_000).into_bytes()).unwrap();
        let list = config.join("list.reg");
        fs::write(&list, text).unwrap();
        run("hivexregedit", &["--merge", name, "list.reg"], config);
        fs::remove_file(&list).unwrap();
    }
}

/// `install.wim` in `folder`: two images, whose files have rights as on NTFS.
pub fn wim(folder: &Path, registry: Registry<'_>) -> PathBuf {
    let skeleton = folder.join("skeleton");
    for (path, text) in FILES {
        let path = skeleton.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let config = skeleton.join("Windows/System32/config");
    fs::create_dir_all(&config).unwrap();
    hives(&config, registry);
    fs::write(config.join("SYSTEM.LOG1"), "stale").unwrap();
    run("wimlib-imagex", &["capture", "skeleton", "plain.wim", "plain"], folder);
    volume(folder, "plain.wim", "base.ntfs");
    run("wimlib-imagex", &["capture", "skeleton/Users", "install.wim", "Desktop"], folder);
    run("wimlib-imagex", &["append", "base.ntfs", "install.wim", "Core"], folder);
    for (index, edition) in [("1", "ServerStandard"), ("2", "ServerStandardCore")] {
        let property = format!("WINDOWS/EDITIONID={edition}");
        run("wimlib-imagex", &["info", "install.wim", index, "--image-property", &property], folder);
    }
    fs::remove_dir_all(skeleton).unwrap();
    folder.join("install.wim")
}

/// A volume of NTFS with the only image of a WIM, in a plain file.
fn volume(folder: &Path, wim: &str, name: &str) {
    File::create(folder.join(name)).unwrap().set_len(96 << 20).unwrap();
    run("mkntfs", &["-F", "-Q", "-q", "-s", "512", "-p", "2048", "-H", "255", "-S", "63", name], folder);
    run("wimlib-imagex", &["apply", wim, "1", name], folder);
}

/// A disk as Windows' setup lays it out (ESP, reserved, Windows, recovery), with the volume `base.ntfs` that
/// [`wim`] has left.
pub fn disk(folder: &Path) -> PathBuf {
    let path = folder.join("disk.raw");
    File::create(&path).unwrap().set_len(160 << 20).unwrap();
    let parts = [
        "-n1:0:+8M",
        "-t1:ef00",
        "-n2:0:+16M",
        "-t2:0c01",
        "-n3:0:+96M",
        "-t3:0700",
        "-n4:0:+16M",
        "-t4:2700",
    ];
    run("sgdisk", &[&["-a2048"][..], &parts, &["disk.raw"]].concat(), folder);
    let start = 1 + 8 + 16;
    for (from, at) in [("base.ntfs", start), ("recovery.ntfs", start + 96)] {
        if from == "recovery.ntfs" {
            File::create(folder.join(from)).unwrap().set_len(16 << 20).unwrap();
            run(
                "mkntfs",
                &["-F", "-Q", "-q", "-s", "512", "-p", "2048", "-H", "255", "-S", "63", from],
                folder,
            );
        }
        let (from, seek) = (format!("if={from}"), format!("seek={at}"));
        run("dd", &[&from, "of=disk.raw", "bs=1M", &seek, "conv=notrunc", "status=none"], folder);
    }
    path
}
