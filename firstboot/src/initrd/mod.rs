//! `/init` of the initrd: boots from the kernel to systemd of the real root, without udev and without a
//! shell.
//!
//! ```text
//! disk:    GPT ─► repair ─► grow ─┬─► root (squashfs, read-only) at /sysroot
//! memory:  /root.squashfs ─► loop ┘   var (ext4, or tmpfs in memory) at /sysroot/var, /etc an overlay with its upper side on var
//! ```
//!
//! The overlay on `/etc` stores the node's changes. No other part of the root is ever written.

pub mod arguments;
pub mod boot_option;
pub mod console;
pub mod disks;
pub mod failure;
pub mod firmware;
pub mod glob;
pub mod grow;
pub mod modules;
pub mod mounts;
pub mod place;
pub mod populate;
pub mod root;
pub mod switch;

use crate::paths;
use std::convert::Infallible;
use std::path::Path;

use arguments::Arguments;
use contract;
use failure::{Context, Failure, Result};
use mounts::Var;
use root::Root;

/// Whether this process is the `/init` of an initrd: the first process, with that name.
pub fn is_init() -> bool {
    let named_init = std::env::args_os().next().is_some_and(|name| Path::new(&name).ends_with("init"));
    named_init && std::process::id() == 1
}

/// Boots the real root. Never returns: the process becomes systemd, or stops the machine with a message.
pub fn main() -> ! {
    std::panic::set_hook(Box::new(|panic| {
        failure::stop(&Failure::new(format!("a defect of Kiln: {panic}")), Default::default())
    }));
    let prepared = mounts::kernel_file_systems().and_then(|()| {
        let line = std::fs::read_to_string(paths::COMMAND_LINE).doing("reading the kernel command line")?;
        Ok(arguments::parse(&line))
    });
    let arguments = match prepared {
        Ok(arguments) => arguments,
        Err(failure) => failure::stop(&failure, Default::default()),
    };
    match boot(&arguments) {
        Ok(never) => match never {},
        Err(failure) => failure::stop(&failure, arguments.on_failure),
    }
}

/// A local disk with a root is not the one that such a machine is to boot.
fn refuse_foreign_root(arguments: &Arguments) -> Result<()> {
    let Some((argument, place)) = &arguments.foreign_root else { return Ok(()) };
    Err(Failure::new(format!("{argument} on the kernel command line asks for a root on {place}"))
        .line("help: boot from a local disk without this argument, or from the network with the image's network set"))
}

/// The boot, step by step.
fn boot(arguments: &Arguments) -> Result<Infallible> {
    arguments.notices.iter().for_each(|notice| console::warn(notice));
    let image = Path::new(contract::INITRD_ROOT_IMAGE);
    let (root, var) = if image.exists() {
        modules::load_list();
        (Root::Memory(image), Var::Memory)
    } else {
        refuse_foreign_root(arguments)?;
        let mut hardware = modules::Hardware::read();
        hardware.load();
        modules::load_list();
        let found = disks::wait(arguments, &mut hardware, firmware::boot_disk().as_ref())?;
        let devices = root::prepare_disk(&found, arguments.timeout)?;
        (Root::Partition(devices.root), Var::Partition(devices.var))
    };
    root::mount(&root)?;
    mounts::var(&var)?;
    populate::once(&Path::new(contract::INITRD_SYSROOT).join("var"), Path::new(mounts::VAR))?;
    mounts::move_var()?;
    mounts::etc_overlay()?;
    mounts::keep_until_shutdown();
    modules::end();
    switch::root(arguments, image)
}
