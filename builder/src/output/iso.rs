//! An ISO that runs the machine from memory: as a disc or written to a USB stick, by UEFI and by BIOS.
//!
//! ```text
//! esp.img       FAT: systemd-boot, kernel, initrd with the root inside; what UEFI starts
//! boot/bios     GRUB, which finds kernel and initrd in esp.img
//! ```
//!
//! xorriso writes it: the one tool for hybrid discs that everybody uses, deterministic by SOURCE_DATE_EPOCH.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::determinism;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::{Output, OutputFile, Writer};
use crate::part::{Parts, esp};
use crate::process::{Run, tool};

pub(super) const OUTPUT: Output = Output::new::<Iso>(
    "iso",
    "an ISO for a disc or a USB stick, by UEFI and BIOS: the machine runs from memory",
    &[Part::Network, Part::Esp],
);

/// The package of the tool.
const PACKAGE: &str = "xorriso";
/// Files on the disc.
const ESP: &str = "esp.img";
const BIOS: &str = "boot/bios";
/// Letters of a volume's name: ECMA-119, 8.4.
const LONGEST_NAME: usize = 32;

/// `<name>.iso`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Iso {}

impl Writer for Iso {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let plan = parts.image.plan;
        let name = format!("{}.iso", plan.name);
        let (esp, loader) = parts.live()?;
        let disc = parts.work.scratch.join("disc");
        fs::create_dir_all(disc.join("boot")).at("creating", &disc)?;
        esp::alone(&esp, &disc.join(ESP))?;
        parts.work.record_tool("xorriso", &version()?);
        let _step = parts.work.progress.step("writing the ISO");
        let mut command = tool("xorriso");
        command.env("SOURCE_DATE_EPOCH", parts.image.epoch.to_string());
        command.args([
            "-as",
            "mkisofs",
            "-quiet",
            "-iso-level",
            "3",
            "-rational-rock",
            "-volid",
            &volume(&plan.name),
        ]);
        command.arg("-o").arg(folder.join(&name));
        if let Some(loader) = loader {
            let (core, first) = loader.for_disc(&parts.work, ESP)?;
            let target = disc.join(BIOS);
            fs::copy(&core, &target).at("writing", &target)?;
            command.arg("--grub2-mbr").arg(first);
            command.args(["-b", BIOS, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
            command.args(["--grub2-boot-info", "-eltorito-alt-boot"]);
        }
        command.args(["-e", ESP, "-no-emul-boot", "-efi-boot-part", "--efi-boot-image"]);
        let guid = determinism::uuid(&parts.image.identity, "iso").simple().to_string();
        command.args(["--gpt_disk_guid", &guid]);
        command.args(["--set_all_file_dates", &format!("={}", parts.image.epoch)]);
        command.arg(&disc).run(PACKAGE)?;
        Ok(vec![name.into()])
    }
}

/// A volume's name: capital letters, digits and `_`.
fn volume(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    name.chars().take(LONGEST_NAME).map(plain).collect()
}

/// The version of the installed tool ("1.5.6").
fn version() -> Result<String> {
    let output = tool("xorriso").arg("-version").run(PACKAGE)?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with("xorriso version"));
    let version = line.and_then(|line| line.split_whitespace().last()).map(str::to_owned);
    version.ok_or_else(|| Error::new(ErrorKind::Tool, "xorriso does not say its version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_letters_that_every_reader_takes() {
        assert_eq!(volume("debian-13"), "DEBIAN_13");
        assert_eq!(volume(&"a".repeat(40)).len(), 32);
    }
}
