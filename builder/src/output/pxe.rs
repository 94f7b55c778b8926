//! Network boot: kernel, an initrd that carries the root file system, and an iPXE script. The machine then
//! runs from memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::cpio::{BLOCK, CpioWriter};
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::part::network::NetworkSet;
use crate::tree::{Body, Node};

pub(super) const OUTPUT: Output = Output::new::<Pxe>(
    "pxe",
    "a folder with kernel, initrd and iPXE script: the machine boots from the network and runs from memory",
    &[Part::Network],
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
        let set = parts.network()?;
        let own = set.arguments.iter().map(|argument| (*argument).to_owned());
        let arguments: Vec<String> = own.chain(plan.kernel_arguments.iter().cloned()).collect();
        let script = script(&plan.name, &arguments)?;
        let target = folder.join(&name);
        fs::create_dir(&target).at("creating", &target)?;
        write_kernel(&set.kernel, &target.join(KERNEL))?;
        write_initrd(&set, parts.image.epoch, &target.join(INITRD))?;
        fs::write(target.join(SCRIPT), script).at("writing", target.join(SCRIPT))?;
        Ok([KERNEL, INITRD, SCRIPT].map(|file| format!("{name}/{file}").into()).into())
    }
}

fn write_kernel(kernel: &Body, path: &Path) -> Result<()> {
    let mut content = kernel.open().at("reading", "the kernel")?;
    let mut file = File::create(path).at("creating", path)?;
    io::copy(&mut content, &mut file).at("writing", path)?;
    Ok(())
}

/// The initrd followed by an uncompressed archive: what it carries is compressed already. Zeros between the
/// two are passed over by the kernel.
fn write_initrd(set: &NetworkSet, epoch: u64, path: &Path) -> Result<()> {
    let mut file = File::create(path).at("creating", path)?;
    let mut initrd = File::open(&set.initrd).at("opening", &set.initrd)?;
    let len = io::copy(&mut initrd, &mut file).at("writing", path)?;
    let padding = vec![0; (len.next_multiple_of(BLOCK) - len) as usize];
    file.write_all(&padding).at("writing", path)?;
    let mut cpio = CpioWriter::new(file, epoch)?;
    for (path, entry) in &set.appended.entries {
        match &entry.node {
            Node::Directory => cpio.folder(path, entry.mode)?,
            Node::File(body) => {
                let mut content = body.open().at("reading", path)?;
                cpio.file(path, entry.mode, body.len(), &mut content)?;
            }
            Node::Symlink(_) => return Err(Error::new(ErrorKind::Internal, "an initrd has no links")),
        }
    }
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
    use crate::tree::{Entry, Tree};

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
    fn the_archive_follows_the_initrd_on_a_block_boundary() {
        let folder = tempfile::tempdir().unwrap();
        let [initrd, out] = ["initrd", "out"].map(|name| folder.path().join(name));
        for length in [512, 511, 1] {
            fs::write(&initrd, vec![1; length]).unwrap();
            let mut appended = Tree::default();
            appended.insert("root.squashfs", Entry::file(Body::inline([2; 1000]), 0o444));
            let set =
                NetworkSet { kernel: Body::inline(*b"k"), initrd: initrd.clone(), appended, arguments: &[] };
            write_initrd(&set, 0, &out).unwrap();
            let bytes = fs::read(&out).unwrap();
            assert!(bytes[..length] == vec![1; length] && bytes[length..512].iter().all(|byte| *byte == 0));
            assert!(bytes[512..].starts_with(b"070701") && bytes.len() % 512 == 0);
            assert!(bytes.windows(14).any(|window| window == b"root.squashfs\0"));
        }
    }
}
