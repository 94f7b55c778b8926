//! What an image needs of a given root, whatever its outputs are.

use crate::definition::plan::Arch;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::tree::{Node, Tree};

/// Where systemd is in a root whose `/usr` is merged.
const SYSTEMD: &str = "usr/lib/systemd/systemd";

/// Folders that a merged `/usr` has taken over.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// The length of the part of an ELF header that tells the machine.
const ELF_HEAD: usize = 20;

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
    let mut head = vec![0; ELF_HEAD];
    let read = systemd.open().and_then(|mut systemd| systemd.read_exact(&mut head));
    match read {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(error).at("reading", SYSTEMD)?
        }
        Err(_) => head.clear(),
        Ok(()) => {}
    }
    match machine(&head) {
        Some(machine) if machine == expected(arch) => Ok(()),
        Some(machine) => fail(
            &format!("systemd is for {}, the image is for {}", name(machine), name(expected(arch))),
            "set arch in the definition, or take the root of the other architecture",
        ),
        None => fail(&format!("/{SYSTEMD} is no program"), "check where the root comes from"),
    }
}

/// `e_machine` of a little-endian ELF header (gABI, "ELF Header").
fn machine(head: &[u8]) -> Option<u16> {
    let little = head.starts_with(b"\x7fELF") && head.get(5) == Some(&1);
    let bytes = head.get(18..ELF_HEAD).filter(|_| little)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

const fn expected(arch: Arch) -> u16 {
    match arch {
        Arch::Amd64 => EM_X86_64,
        Arch::Arm64 => EM_AARCH64,
    }
}

fn name(machine: u16) -> String {
    match machine {
        EM_X86_64 => "amd64".to_owned(),
        EM_AARCH64 => "arm64".to_owned(),
        other => format!("another machine (ELF {other})"),
    }
}
