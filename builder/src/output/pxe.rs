//! Network boot: kernel, an initrd that carries the root file system, and an iPXE script. The machine then
//! runs from memory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::cpio::{BLOCK, CpioWriter};
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;

pub(super) const OUTPUT: Output = Output::new::<Pxe>(
    "pxe",
    "a folder with kernel, initrd and iPXE script: the machine boots from the network and runs from memory",
    &[Part::Kernel, Part::Initrd, Part::Root],
);

const KERNEL: &str = "vmlinuz";

/// One file, and the script says `initrd=` with exactly this name: old iPXE on UEFI needs that.
const INITRD: &str = "initrd";

const SCRIPT: &str = "boot.ipxe";

/// `<name>-pxe/`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Pxe {}

impl Writer for Pxe {
    fn write(&self, parts: &Parts<'_>, folder: &Path) -> Result<Vec<OutputFile>> {
        let plan = parts.image.plan;
        let name = format!("{}-pxe", plan.name);
        let script = script(&plan.name, &plan.kernel_arguments)?;
        let target = folder.join(&name);
        fs::create_dir(&target).at("creating", &target)?;
        write_kernel(parts, &target.join(KERNEL))?;
        write_initrd(parts.initrd()?, parts.root()?, parts.image.epoch, &target.join(INITRD))?;
        fs::write(target.join(SCRIPT), script).at("writing", target.join(SCRIPT))?;
        Ok([KERNEL, INITRD, SCRIPT].map(|file| format!("{name}/{file}").into()).into())
    }
}

fn write_kernel(parts: &Parts<'_>, path: &Path) -> Result<()> {
    let mut content = parts.kernel()?.body.open().at("reading", "the kernel")?;
    let mut file = File::create(path).at("creating", path)?;
    io::copy(&mut content, &mut file).at("writing", path)?;
    Ok(())
}

/// The initrd followed by an uncompressed archive with the root: it is compressed already.
fn write_initrd(initrd: &Path, root: &Path, epoch: u64, path: &Path) -> Result<()> {
    let mut file = File::create(path).at("creating", path)?;
    let len = io::copy(&mut File::open(initrd).at("opening", initrd)?, &mut file).at("writing", path)?;
    if len % BLOCK != 0 {
        return Err(Error::new(
            ErrorKind::Internal,
            format!("{} is not padded to {BLOCK} bytes", initrd.display()),
        ));
    }
    let mut content = File::open(root).at("opening", root)?;
    let len = content.metadata().at("reading", root)?.len();
    let mut cpio = CpioWriter::new(file, epoch)?;
    cpio.file(contract::INITRD_ROOT_IMAGE.trim_start_matches('/'), 0o444, len, &mut content)?;
    cpio.finish()?;
    Ok(())
}

/// The iPXE script. Addresses are relative to its own.
fn script(name: &str, arguments: &[String]) -> Result<String> {
    let mut line = format!("kernel {KERNEL} initrd={INITRD}");
    for argument in arguments {
        check_argument(argument)?;
        line.push(' ');
        line.push_str(argument);
    }
    // An autoexec.ipxe that led here would end up in the initrd (iPXE issue 1723).
    Ok(format!(
        "#!ipxe\n# {name}: runs from memory\nimgfree autoexec.ipxe ||\n{line}\ninitrd {INITRD}\nboot\n"
    ))
}

/// iPXE expands `${…}`, chains commands at `&&`, `||` and `;`, and cannot quote any of that.
fn check_argument(argument: &str) -> Result<()> {
    let harmful = argument.contains("${") || argument.contains(['\n', '\r']);
    if harmful || argument.split_whitespace().any(|word| ["&&", "||", ";"].contains(&word)) {
        return Err(Error::new(
            ErrorKind::Definition,
            format!("the kernel argument {argument:?} cannot stand in an iPXE script"),
        )
        .help("leave out ${…}, line breaks, and && or || between blanks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_relative_and_names_the_initrd() {
        let script = script("debian-13", &["console=ttyS0".to_owned(), "quiet".to_owned()]).unwrap();
        let expected = "#!ipxe\n# debian-13: runs from memory\nimgfree autoexec.ipxe ||\n\
            kernel vmlinuz initrd=initrd console=ttyS0 quiet\ninitrd initrd\nboot\n";
        assert_eq!(script, expected);
    }

    #[test]
    fn arguments_that_ipxe_would_act_on_are_refused() {
        for bad in ["x=${net0/mac}", "a\nb", "a && reboot", "||"] {
            let error = script("x", &[bad.to_owned()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Definition, "{bad}");
        }
        script("x", &["a&&b=c|d".to_owned()]).unwrap();
    }

    #[test]
    fn the_root_follows_the_initrd_on_a_block_boundary() {
        let folder = tempfile::tempdir().unwrap();
        let [initrd, root, out] = ["initrd", "root", "out"].map(|name| folder.path().join(name));
        fs::write(&initrd, [1; 512]).unwrap();
        fs::write(&root, [2; 1000]).unwrap();
        write_initrd(&initrd, &root, 0, &out).unwrap();
        let bytes = fs::read(&out).unwrap();
        assert_eq!(bytes[..512], [1; 512]);
        assert!(bytes[512..].starts_with(b"070701") && bytes.len() % 512 == 0);
        assert!(bytes.windows(14).any(|window| window == b"root.squashfs\0"));
        fs::write(&initrd, [1; 511]).unwrap();
        assert_eq!(write_initrd(&initrd, &root, 0, &out).unwrap_err().kind(), ErrorKind::Internal);
    }
}
