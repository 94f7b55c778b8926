//! An ISO that runs the machine from memory, or installs the image: as a disc or written to a USB stick, by
//! UEFI and by BIOS.
//!
//! ```text
//! esp.img       FAT: systemd-boot, kernel, initrd with the root inside; what UEFI starts
//! boot/bios     GRUB, which finds kernel and initrd in esp.img
//! disk.raw.zst  an installer's: the disk that it writes
//! disk.raw.bmap its block map
//! ```
//!
//! xorriso writes it: the one tool for hybrid discs that everybody uses, deterministic by SOURCE_DATE_EPOCH.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::determinism;
use crate::digest::Digest;
use crate::disk_rule;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::layer::compress::Compression;
use crate::output::{Output, OutputFile, Writer};
use crate::part::{Parts, esp};
use crate::process::{Run, tool};

pub(super) const OUTPUT: Output = Output::new::<Iso>(
    "iso",
    "an ISO for a disc or a USB stick, by UEFI and BIOS: the machine runs from memory, or installs the image",
    &[Part::Network, Part::Esp, Part::Disk],
)
.with_large_sectors();

/// The package of the tool.
const PACKAGE: &str = "xorriso";
/// Files on the disc.
const ESP: &str = "esp.img";
const BIOS: &str = "boot/bios";
const DISK: &str = "disk.raw.zst";
const MAP: &str = "disk.raw.bmap";
/// Letters of a volume's name: ECMA-119, 8.4.
const LONGEST_NAME: usize = 32;

/// `<name>.iso`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Iso {
    /// Makes it an installer, which writes the image to a disk of the machine that boots it
    #[serde(default)]
    install: Option<Install>,
}

/// What the installer does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Install {
    /// To which disk, in the words of `firstboot install --disk`; without it, to the only disk without data
    #[serde(default)]
    disk: Option<Rule>,
    /// Whether a disk with data may be overwritten
    #[serde(default)]
    overwrite: bool,
    /// What the machine does then
    #[serde(default)]
    then: Then,
}

/// A rule that was checked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Rule(String);

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(rule: String) -> std::result::Result<Self, String> {
        let wrong = |error: Error| format!("{}\n{}", error.message(), error.hint().unwrap_or_default());
        disk_rule::check(&rule, ("install.disk", ErrorKind::Definition)).map_err(wrong)?;
        Ok(Self(rule))
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Then {
    /// It starts again, with the installed disk
    Reboot,
    /// It is switched off, so that the disc can be taken out
    #[default]
    Poweroff,
}

impl Writer for Iso {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let plan = parts.image.plan;
        let name = format!("{}.iso", plan.name);
        let disc = parts.work.scratch.join("disc");
        fs::create_dir_all(disc.join("boot")).at("creating", &disc)?;
        let install = self.install.as_ref().map(|install| install.write(parts, &disc));
        let (esp, loader) = parts.live(&install.transpose()?.unwrap_or_default())?;
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

impl Install {
    /// Writes what is installed into the folder `disc`; the kernel's arguments for it.
    fn write(&self, parts: &Parts<'_>, disc: &Path) -> Result<Vec<String>> {
        let (map, path) = (parts.block_map()?, disc.join(MAP));
        fs::write(&path, map).at("writing", path)?;
        parts.compressed_disk(Compression::Zstd)?.copy(&disc.join(DISK))?;
        let volume = volume(&parts.image.plan.name);
        let mut arguments = vec![
            format!("firstboot.install=LABEL={volume}/{DISK}"),
            format!("firstboot.install-sha256={}", Digest::of(map.as_bytes()).hex()),
        ];
        if let Some(Rule(rule)) = &self.disk {
            arguments.push(format!("firstboot.install-disk={rule}"));
        }
        if self.overwrite {
            arguments.push("firstboot.install-overwrite".to_owned());
        }
        let then = match self.then {
            Then::Reboot => "reboot",
            Then::Poweroff => "poweroff",
        };
        arguments.push(format!("firstboot.install-then={then}"));
        Ok(arguments)
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
