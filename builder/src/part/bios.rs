//! The boot loader for machines with a BIOS: GRUB, from the image's own files.
//!
//! ```text
//! first sector        GRUB's boot.img beside the protective partition table; it loads the first sector of
//! BIOS partition      GRUB's core image: its first sector loads the others; inside are the few modules that
//!                     read a FAT file system, and the commands below
//! ```
//!
//! The commands start the kernel and the initrd of the EFI system partition, the same files as systemd-boot
//! does. There is no menu, no prompt and no file of settings, so nobody at the console changes the command
//! line.
//!
//! Offsets are those of GRUB's `include/grub/i386/pc/boot.h` and `include/grub/offsets.h`; what is written
//! where follows its `util/setup.c` for a core image in a partition of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use contract::gpt::SECTOR;

use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::gpt::Partition;
use crate::part::esp;
use crate::part::kernel::Kernel;
use crate::part::work::Work;
use crate::process::{Run, tool};
use crate::tree::{Body, Node, Tree};

/// Where images keep GRUB's files for a BIOS.
const FOLDER: &str = "usr/lib/grub/i386-pc";
/// The file that starts the machine.
const BOOT: &str = "boot.img";
/// The core image that is made.
const CORE: &str = "core";
/// The first sector of a disc that is also a disk.
const HYBRID: &str = "boot_hybrid.img";
/// The modules: disks of the BIOS, Linux' boot protocol, and the commands.
const MODULES: &[&str] = &["biosdisk", "fat", "linux", "boot", "echo", "sleep", "reboot"];
/// Besides, for a partition of a disk.
const OF_DISKS: &[&str] = &["part_gpt"];
/// Besides, for a file system in a file of a disc. The disc may be on a disk.
const OF_DISCS: &[&str] = &["iso9660", "loopback"];
/// The package of the tool.
const PACKAGE: &str = "grub-common";

/// Bytes of boot.img before the disk's signature and the partition table
/// (`GRUB_BOOT_MACHINE_WINDOWS_NT_MAGIC`).
const CODE: usize = 0x1b8;
/// In boot.img: the sector of the core image (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const CORE_SECTOR: usize = 0x5c;
/// In boot.img: a jump that disks replace by nothing (`GRUB_BOOT_MACHINE_DRIVE_CHECK`).
const DRIVE_CHECK: usize = 0x66;
const NO_OPERATION: u8 = 0x90;
/// In the core image's first sector: the sector of the rest (`struct grub_pc_bios_boot_blocklist`).
const REST_SECTOR: usize = 0x1f4;

/// What the disk needs, ready to be written into its place.
#[derive(Debug)]
pub struct Loader {
    files: Vec<(String, Body)>,
    /// The folder of the kernel on the EFI system partition.
    folder: String,
    /// The kernel's arguments in GRUB's words.
    arguments: String,
}

/// Whether the tree has GRUB's files.
pub fn is_in(tree: &Tree) -> bool {
    tree.file(&format!("{FOLDER}/{BOOT}")).is_some()
}

/// The loader of `kernel` with `command_line`.
///
/// # Errors
/// When GRUB cannot hand on a kernel argument as it is.
pub fn make(tree: &Tree, kernel: Kernel<'_>, command_line: &str) -> Result<Loader> {
    let files = tree.below(FOLDER).filter_map(|(path, entry)| match &entry.node {
        Node::File(body) => {
            Some((path.strip_prefix(FOLDER)?.trim_start_matches('/').to_owned(), body.clone()))
        }
        _ => None,
    });
    let arguments = arguments(command_line)?;
    Ok(Loader { files: files.collect(), folder: format!("/{}", esp::folder(kernel)), arguments })
}

impl Loader {
    /// Writes the loader into the first sector of `disk` and into its partition `place`; the EFI system
    /// partition has the number `esp`. The partition table is left alone.
    ///
    /// # Errors
    /// When `grub-mkimage` is missing or fails, and when its result does not fit.
    pub fn write(&self, work: &Work<'_>, disk: &File, place: &Partition, esp: u32) -> Result<()> {
        let folder = work.scratch.join("grub");
        let commands = commands("", &self.folder, &self.arguments);
        let prefix = format!("(,gpt{esp})/");
        let core = self.core(work, &folder, "i386-pc", &prefix, OF_DISKS, &commands)?;
        if core.len() as u64 > place.size {
            let message = format!("the boot loader for a BIOS has {} bytes, more than disk.bios", core.len());
            return Err(Error::new(ErrorKind::Definition, message).help("set disk.bios to 2 MiB"));
        }
        let core = chained(core, place.offset / SECTOR).ok_or_else(|| unknown("the core image"))?;
        let boot = fs::read(folder.join(BOOT)).at("reading", BOOT)?;
        let boot = first_sector(boot, place.offset / SECTOR).ok_or_else(|| unknown(BOOT))?;
        disk.write_all_at(&boot, 0).at("writing", "the boot loader's first sector")?;
        disk.write_all_at(&core, place.offset).at("writing", "the boot loader")
    }

    /// For a disc whose file `esp` is the EFI system partition: the image that a BIOS boots from a disc, and
    /// the first sector with which it boots the disc from a disk. Both are files of a new folder.
    ///
    /// # Errors
    /// When `grub-mkimage` is missing or fails.
    pub fn for_disc(&self, work: &Work<'_>, esp: &str) -> Result<(PathBuf, PathBuf)> {
        let folder = work.scratch.join("grub-disc");
        let begin = format!("loopback esp /{esp}\n");
        let commands = commands(&begin, &format!("(esp){}", self.folder), &self.arguments);
        self.core(work, &folder, "i386-pc-eltorito", "/", OF_DISCS, &commands)?;
        Ok((folder.join(CORE), folder.join(HYBRID)))
    }

    /// GRUB's core image, which is also left in the new folder `folder` beside GRUB's files.
    fn core(
        &self,
        work: &Work<'_>,
        folder: &Path,
        format: &str,
        prefix: &str,
        modules: &[&str],
        text: &str,
    ) -> Result<Vec<u8>> {
        fs::create_dir_all(folder).at("creating", folder)?;
        for (name, body) in &self.files {
            let path = folder.join(name);
            let mut from = body.open().at("reading", name)?;
            File::create(&path).and_then(|mut to| io::copy(&mut from, &mut to)).at("writing", &path)?;
        }
        work.record_tool("grub-mkimage", &version()?);
        let (commands, core) = (folder.join("commands"), folder.join(CORE));
        fs::write(&commands, text).at("writing", &commands)?;
        let mut command = tool("grub-mkimage");
        command.arg(format!("--format={format}")).arg(format!("--prefix={prefix}"));
        command
            .arg("--directory")
            .arg(folder)
            .arg("--config")
            .arg(&commands)
            .arg("--output")
            .arg(&core);
        command.args(MODULES).args(modules).run(PACKAGE)?;
        fs::read(&core).at("reading", &core)
    }
}

/// boot.img, which loads the sector `core`, without the room of the partition table.
fn first_sector(mut boot: Vec<u8>, core: u64) -> Option<Vec<u8>> {
    boot.truncate(CODE);
    boot.get_mut(CORE_SECTOR..CORE_SECTOR + 8)?.copy_from_slice(&core.to_le_bytes());
    boot.get_mut(DRIVE_CHECK..DRIVE_CHECK + 2)?.fill(NO_OPERATION);
    Some(boot).filter(|boot| boot.len() == CODE)
}

/// The core image at the sector `place`: its first sector loads what follows it.
fn chained(mut core: Vec<u8>, place: u64) -> Option<Vec<u8>> {
    core.get_mut(REST_SECTOR..REST_SECTOR + 8)?.copy_from_slice(&(place + 1).to_le_bytes());
    Some(core)
}

fn unknown(what: &str) -> Error {
    Error::new(ErrorKind::Definition, format!("{what} of the image is none of GRUB's"))
        .help("take GRUB for a BIOS from the distribution's package, or set disk.bios to \"0MiB\"")
}

/// GRUB's commands: `begin`, and then the kernel from the files in `folder`. If a file cannot be read, the
/// machine starts anew, as after a panic of the kernel.
fn commands(begin: &str, folder: &str, arguments: &str) -> String {
    format!(
        "{begin}linux {folder}/linux {arguments}\ninitrd {folder}/initrd\nboot\n\
         echo The kernel cannot be started. A new try in 30 seconds.\nsleep 30\nreboot\n"
    )
}

/// The command line in GRUB's words. Arguments have no blanks, so quotes in them mean nothing to the kernel.
fn arguments(command_line: &str) -> Result<String> {
    if let Some(wrong) = command_line.split(' ').find(|word| word.contains(['\\', '\''])) {
        let message = format!("GRUB cannot hand on the kernel argument {wrong}");
        return Err(Error::new(ErrorKind::Definition, message)
            .help("write it without \\ and ', or set disk.bios to \"0MiB\""));
    }
    Ok(command_line.replace('"', "").replace('$', "\\$"))
}

/// The version of the installed tool ("2.12-9").
fn version() -> Result<String> {
    let output = tool("grub-mkimage").arg("--version").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().last().unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_gets_its_arguments_as_they_are_written() {
        let words = arguments("console=ttyS0 a=\"b\" price=$5").unwrap();
        let made = commands("", "/kiln/6.1", &words);
        assert!(made.starts_with(
            "linux /kiln/6.1/linux console=ttyS0 a=b price=\\$5\ninitrd /kiln/6.1/initrd\nboot\n"
        ));
        assert!(made.ends_with("reboot\n"), "GRUB would offer a prompt");
        for wrong in ["a='b'", "a=\\x20"] {
            assert!(arguments(wrong).unwrap_err().hint().unwrap().contains("disk.bios"), "{wrong}");
        }
    }

    #[test]
    fn sectors_are_written_where_grub_looks_for_them_and_nowhere_else() {
        let boot = first_sector(vec![1; 512], 2048).unwrap();
        let mut expected = vec![1; CODE];
        expected[0x5c..0x64].copy_from_slice(&[0, 8, 0, 0, 0, 0, 0, 0]);
        expected[0x66..0x68].fill(0x90);
        assert_eq!(boot, expected);
        let core = chained(vec![1; 1024], 2048).unwrap();
        assert_eq!((&core[0x1f4..0x1fc], &core[0x1fc..0x1fe]), (&[1, 8, 0, 0, 0, 0, 0, 0][..], &[1, 1][..]));
        assert!(first_sector(vec![0; 90], 1).is_none() && chained(vec![0; 500], 1).is_none());
    }
}
