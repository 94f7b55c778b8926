//! The disk for QEMU, KVM, libvirt and OpenStack.

use std::path::Path;

use crate::error::Result;
use crate::output::{Image, Output, Written};
use crate::process::{Run, tool};

/// The Debian package of the tools.
const PACKAGE: &str = "qemu-utils";

/// Version 3 without options that need a new QEMU.
const FORMAT: &str = "compat=1.1,cluster_size=65536,lazy_refcounts=off,preallocation=off";

/// `<name>.qcow2`.
pub struct Qcow2;

impl Output for Qcow2 {
    fn name(&self) -> &'static str {
        "qcow2"
    }

    fn summary(&self) -> &'static str {
        "a disk image for QEMU, KVM and OpenStack"
    }

    fn write(&self, image: &Image<'_>, folder: &Path) -> Result<Vec<Written>> {
        let name = format!("{}.qcow2", image.plan.name);
        let disk = image.disk()?;
        image.record_tool("qemu-img", &version()?);
        let _step = image.progress.step("converting the disk to qcow2");
        let mut command = tool("qemu-img");
        command
            .args(["convert", "-q", "-f", "raw", "-O", "qcow2", "-o", FORMAT])
            .arg(&disk.path)
            .arg(folder.join(&name));
        command.run(PACKAGE)?;
        Ok(vec![name.into()])
    }
}

/// The version of the installed tool ("7.2.22").
fn version() -> Result<String> {
    let output = tool("qemu-img").arg("--version").run(PACKAGE)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().nth(2).unwrap_or("unknown").to_owned())
}
