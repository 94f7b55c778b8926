//! Network boot: kernel, an initrd that carries the root file system, and an iPXE script. The machine then
//! runs from memory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::assembly::Part;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::output::raw::link_or_copy;
use crate::output::{Output, OutputFile, Writer};
use crate::part::Parts;
use crate::tree::Body;

pub(super) const OUTPUT: Output = Output::new::<Pxe>(
    "pxe",
    "a folder with kernel, initrd and iPXE script: the machine boots from the network and runs from memory",
    &[Part::Network],
);

/// The kernel in the folder.
pub(crate) const KERNEL: &str = "vmlinuz";

/// The initrd in the folder: one file, and the script says `initrd=` with exactly this name, as old
/// iPXE on UEFI needs it.
pub(crate) const INITRD: &str = "initrd";

/// The script in the folder.
pub(crate) const SCRIPT: &str = "boot.ipxe";

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
        link_or_copy(parts.network_initrd()?, &target.join(INITRD))?;
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

/// The kernel arguments in a script of this output; `None` if it is none.
pub(crate) fn arguments(script: &str) -> Option<&str> {
    let start = format!("kernel {KERNEL} initrd={INITRD}");
    let rest = script.lines().find_map(|line| line.strip_prefix(&start))?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim())
}

/// iPXE expands `${…}`, chains commands at `&&`, `||` and `;`, takes a word that begins with `#` and all
/// behind it for a comment (its core/exec.c), and cannot quote any of that.
fn check_argument(argument: &str) -> Result<()> {
    let harmful = argument.contains("${") || argument.contains(['\n', '\r']);
    let is_harmful = |word: &str| ["&&", "||", ";"].contains(&word) || word.starts_with('#');
    if harmful || argument.split_whitespace().any(is_harmful) {
        return Err(Error::new(
            ErrorKind::Definition,
            format!("the kernel argument {argument:?} cannot stand in an iPXE script"),
        )
        .help("leave out ${…}, line breaks, # at the beginning, and && or || between blanks"));
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
        assert_eq!(arguments(&script), Some("console=ttyS0 quiet"));
        assert_eq!(arguments(&super::script("x", &[]).unwrap()), Some(""));
        assert_eq!(arguments("#!ipxe\nkernel vmlinuz initrd=initrd2\n"), None);
    }

    #[test]
    fn arguments_that_ipxe_would_act_on_are_refused() {
        for bad in ["x=${net0/mac}", "a\nb", "a && reboot", "||", "#x"] {
            let error = script("x", &[bad.to_owned()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Definition, "{bad}");
        }
        script("x", &["a&&b=c|d".to_owned()]).unwrap();
    }
}
