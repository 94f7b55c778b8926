//! What an image needs of a given root, whatever its outputs are.

use crate::definition::plan::Arch;
use crate::elf::{self, Machine};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::{Node, Tree};

/// Where systemd is in a root whose `/usr` is merged.
const SYSTEMD: &str = "usr/lib/systemd/systemd";

/// Folders that a merged `/usr` has taken over.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// Refuses a root that no image can be made of; `title` names it.
pub(super) fn check(tree: &Tree, arch: Arch, title: &str) -> Result<()> {
    let fail = |why: &str, help: &str| {
        Err(Error::new(ErrorKind::Definition, format!("{title} is no root for an image: {why}")).help(help))
    };
    if let Some(name) = MERGED
        .iter()
        .find(|name| tree.get(name).is_some_and(|entry| entry.node == Node::Directory))
    {
        let why = format!("/{name} is a folder, not a link into /usr");
        return fail(&why, "take a release of the system whose /usr is merged");
    }
    if tree.os_release("ID").is_none() {
        return fail(
            "it has no os-release with an ID",
            "name the whole root file system of an operating system",
        );
    }
    let Some(systemd) = tree.file(SYSTEMD) else {
        let why = format!("it has no systemd (/{SYSTEMD})");
        return fail(&why, "take a root that boots with systemd: those of containers mostly have none");
    };
    let machine = systemd.open().and_then(elf::machine).at("reading", SYSTEMD)?;
    match machine {
        Some(machine) if machine == Machine::Known(arch) => Ok(()),
        Some(machine) => fail(
            &format!("systemd is for {machine}, the image is for {}", arch.name()),
            "set arch in the definition, or take the root of the other architecture",
        ),
        None => fail(&format!("/{SYSTEMD} is no program"), "check where the root comes from"),
    }
}
