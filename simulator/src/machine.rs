//! The local evidence of a platform's machine: a folder that represents its root, and QEMU's arguments.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::simulation::Machine;

/// The start of every machine's kernel command line.
const COMMAND_LINE: &str = "BOOT_IMAGE=/vmlinuz root=/dev/vda3 ro quiet";

/// The name of the network device.
pub const DEVICE: &str = "eth0";

/// The hardware address of the network device, unless the platform sets one.
pub const MAC: &str = "02:00:0a:00:00:05";

/// The files of `/sys/class/dmi/id`, and QEMU's name for each: the number of the SMBIOS structure, and the
/// field.
const SMBIOS: &[(&str, u8, &str)] = &[
    ("bios_vendor", 0, "vendor"),
    ("bios_version", 0, "version"),
    ("sys_vendor", 1, "manufacturer"),
    ("product_name", 1, "product"),
    ("product_version", 1, "version"),
    ("product_serial", 1, "serial"),
    ("product_uuid", 1, "uuid"),
    ("product_sku", 1, "sku"),
    ("product_family", 1, "family"),
    ("board_vendor", 2, "manufacturer"),
    ("board_name", 2, "product"),
    ("board_version", 2, "version"),
    ("board_serial", 2, "serial"),
    ("board_asset_tag", 2, "asset"),
    ("chassis_vendor", 3, "manufacturer"),
    ("chassis_version", 3, "version"),
    ("chassis_serial", 3, "serial"),
    ("chassis_asset_tag", 3, "asset"),
];

impl Machine {
    /// What the platform adds to the kernel command line.
    pub fn kernel_arguments(&self) -> Result<String> {
        self.values.string(&self.platform.kernel_arguments)
    }

    /// The kernel command line.
    pub fn command_line(&self) -> Result<String> {
        let own = self.kernel_arguments()?;
        Ok(if own.is_empty() { COMMAND_LINE.to_owned() } else { format!("{COMMAND_LINE} {own}") })
    }

    /// The hardware address.
    pub fn mac(&self) -> String {
        self.value("mac").unwrap_or_else(|| MAC.to_owned())
    }

    /// Writes the machine's evidence below `root`.
    pub fn write_root(&self, root: &Path) -> Result<()> {
        for (name, text) in &self.platform.smbios {
            if let Some(text) = self.values.text(text)? {
                write(root, &format!("sys/class/dmi/id/{name}"), &[text, b"\n".to_vec()].concat())?;
            }
        }
        write(root, "proc/cmdline", format!("{}\n", self.command_line()?).as_bytes())?;
        write(root, "proc/sys/kernel/hostname", b"localhost\n")?;
        write(root, "etc/machine-id", b"5a1f0e6d2c7b4a9f8e3d1c2b4a596877\n")?;
        write(root, &format!("sys/class/net/{DEVICE}/address"), format!("{}\n", self.mac()).as_bytes())?;
        write(root, &format!("sys/class/net/{DEVICE}/type"), b"1\n")?;
        write(root, "sys/class/net/lo/address", b"00:00:00:00:00:00\n")?;
        write(root, "sys/class/net/lo/type", b"772\n")?;
        self.write_files(root, &self.platform.files)
    }

    /// Writes the files of the config drive below `folder`. Returns false if the platform has none.
    pub fn write_drive(&self, folder: &Path) -> Result<bool> {
        let Some(drive) = &self.platform.drive else { return Ok(false) };
        self.write_files(folder, &drive.files).map(|()| true)
    }

    /// The files and the label of the config drive.
    pub fn drive(&self) -> Result<Option<DriveFiles>> {
        let Some(drive) = &self.platform.drive else { return Ok(None) };
        let mut files = Vec::new();
        for (path, text) in &drive.files {
            files.extend(self.content(path, text)?.map(|bytes| (path.clone(), bytes)));
        }
        Ok(Some(DriveFiles { label: drive.label.clone(), files }))
    }

    fn write_files(&self, root: &Path, files: &std::collections::BTreeMap<String, String>) -> Result<()> {
        files.iter().try_for_each(|(path, text)| match self.content(path, text)? {
            Some(bytes) => write(root, path, &bytes),
            None => Ok(()),
        })
    }

    /// Absent values are removed from `.json` files, as from documents of a service.
    fn content(&self, path: &str, text: &str) -> Result<Option<Vec<u8>>> {
        if path.ends_with(".json") {
            Ok(Some(self.values.json(text)?.0.into_bytes()))
        } else {
            self.values.text(text)
        }
    }

    /// `-smbios` arguments for a QEMU machine that looks like one of this platform
    /// (<https://www.qemu.org/docs/master/system/invocation.html>).
    pub fn qemu_arguments(&self) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        for kind in 0..=3 {
            let mut fields = format!("type={kind}");
            for (name, _, field) in SMBIOS.iter().filter(|row| row.1 == kind) {
                let Some(text) = self.platform.smbios.get(*name) else { continue };
                let value = self.values.string(text)?;
                // QEMU reads a doubled comma as a comma inside the value.
                fields += &format!(",{field}={}", value.replace(',', ",,"));
            }
            if fields.contains(',') {
                arguments.extend(["-smbios".to_owned(), fields]);
            }
        }
        Ok(arguments)
    }
}

/// The contents of a config drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveFiles {
    /// The label of its file system.
    pub label: String,
    /// Its files.
    pub files: Vec<(String, Vec<u8>)>,
}

fn write(root: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let file = root.join(path);
    let failed = |error: std::io::Error| Error::system(format!("writing {}: {error}", file.display()));
    file.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    let mut options = fs::OpenOptions::new();
    // User data may contain a token.
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&file);
    opened.and_then(|mut file| file.write_all(bytes)).map_err(failed)
}

/// Whether QEMU can set every SMBIOS string of a platform.
pub fn is_known_smbios(name: &str) -> bool {
    SMBIOS.iter().any(|row| row.0 == name)
}
