//! The initrd: the agent as `/init`, the kernel modules that reach the root, and nothing else.
//!
//! ```text
//! /init            the agent (usr/bin/firstboot of the image)
//! /modules         modules to load at every boot, in order; one that is `optional` may fail
//! /modules.alias   modules to load for a device that is present; one that begins with `-` may fail
//! /lib/*.ko        the modules
//! /lib/firmware    what of the image's firmware they name
//! /dev /proc /sys /run /var /sysroot   mount points; /dev/console and /dev/null for the first instant
//! ```
//!
//! Before it lies an uncompressed archive with the processors' microcode, if the image has any.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::assembly::{Image, Packages};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::cpio::{BLOCK, CpioWriter};
use crate::part::firmware;
use crate::part::modules::{self, Load, Selection};
use crate::part::work::Work;
use crate::store::{Content, Key};
use crate::tree::Tree;

/// zstd's level. Of 9.5 MB it makes 3.29 MB in 0.23 s; 19 makes 2.98 MB in 4.1 s, for which every build of a
/// disk would wait.
const LEVEL: i32 = 9;

/// Folder of the modules in the initrd.
const MODULE_FOLDER: &str = "lib";

/// Folder of the firmware in the initrd: where the kernel looks for it.
const FIRMWARE_FOLDER: &str = "lib/firmware";

/// Name of the finished file.
const FILE: &str = "initrd";

const KIND: &str = "initrd";
/// Raise it when the same archive and level come to give other bytes.
const FORMAT: u32 = 2;

#[derive(Serialize)]
struct Inputs {
    archive: Digest,
    level: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    microcode: Option<Digest>,
}

/// Makes the initrd, or takes it from the store. Padded, so that another archive can follow.
pub fn make(image: &Image<'_>, work: &Work<'_>) -> Result<PathBuf> {
    let archive = archive(image.tree(), image.epoch, image.packages)?;
    let mut early = firmware::microcode(image.tree(), image.epoch)?;
    let microcode = (!early.is_empty()).then(|| Digest::of(&early));
    let inputs = Inputs { archive: Digest::of(&archive), level: LEVEL, microcode };
    let key = Key::new(KIND, FORMAT, &inputs, &[])?;
    let built = work.store.built(&key, FILE, |path| {
        early.extend(zstd::encode_all(&archive[..], LEVEL).at("compressing", FILE)?);
        // The kernel skips zeros between two archives.
        early.resize(early.len().next_multiple_of(BLOCK as usize), 0);
        fs::write(path, &early).at("writing", path)?;
        Ok(Content { sha256: Digest::of(&early), size: early.len() as u64 })
    })?;
    Ok(built.path)
}

/// The initrd before compression.
pub fn archive(tree: &Tree, epoch: u64, packages: Packages) -> Result<Vec<u8>> {
    check_kernel(tree, packages)?;
    let selection = modules::select(tree, packages)?;
    let agent = tree.file(contract::AGENT).ok_or_else(|| {
        Error::new(
            ErrorKind::Definition,
            format!("the image has no {}, which is the init of its initrd", contract::AGENT),
        )
        .help("add the layer firstboot to the image")
    })?;
    let mut cpio = CpioWriter::new(Vec::new(), epoch)?;
    for folder in
        ["dev", "proc", "sys", "run", "var", contract::INITRD_SYSROOT.trim_start_matches('/'), MODULE_FOLDER]
    {
        cpio.folder(folder, 0o755)?;
    }
    cpio.character_device("dev/console", 0o600, (5, 1))?;
    cpio.character_device("dev/null", 0o666, (1, 3))?;
    cpio.file("init", 0o755, agent.len(), &mut *agent.open().at("reading", contract::AGENT)?)?;
    cpio.bytes(contract::INITRD_MODULE_LIST.trim_start_matches('/'), 0o644, list(&selection).as_bytes())?;
    cpio.bytes(
        contract::INITRD_MODULE_ALIASES.trim_start_matches('/'),
        0o644,
        aliases(&selection).as_bytes(),
    )?;
    for (name, bytes) in &selection.files {
        cpio.bytes(&format!("{MODULE_FOLDER}/{name}"), 0o644, bytes)?;
    }
    add_firmware(&mut cpio, &selection)?;
    cpio.finish()
}

fn add_firmware(cpio: &mut CpioWriter<Vec<u8>>, selection: &Selection) -> Result<()> {
    let parents = |name: &str| {
        let ends = name.match_indices('/').map(|(end, _)| end);
        ends.map(|end| format!("{FIRMWARE_FOLDER}/{}", &name[..end])).collect::<Vec<_>>()
    };
    let mut folders: BTreeSet<String> = selection.firmware.keys().flat_map(|name| parents(name)).collect();
    if !selection.firmware.is_empty() {
        folders.insert(FIRMWARE_FOLDER.to_owned());
    }
    for folder in &folders {
        cpio.folder(folder, 0o755)?;
    }
    for (name, body) in &selection.firmware {
        let content = &mut *body.open().at("reading", name)?;
        cpio.file(&format!("{FIRMWARE_FOLDER}/{name}"), 0o644, body.len(), content)?;
    }
    Ok(())
}

/// The kernel must be able to unpack zstd, where its configuration is in the image.
fn check_kernel(tree: &Tree, packages: Packages) -> Result<()> {
    let path = format!("boot/config-{}", modules::kernel_version(tree, packages)?);
    let Some(body) = tree.file(&path) else { return Ok(()) };
    let config = body.read().at("reading", &path)?;
    if config.split(|byte| *byte == b'\n').any(|line| line == b"CONFIG_RD_ZSTD=y") {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Definition,
        format!("the image's kernel cannot unpack a zstd initrd: {path} has no CONFIG_RD_ZSTD=y"),
    )
    .help("choose a kernel of 5.9 or later with that option"))
}

fn list(selection: &Selection) -> String {
    let mut text = String::new();
    for Load { file, optional } in &selection.load {
        let optional = if *optional { " optional" } else { "" };
        writeln!(text, "/{MODULE_FOLDER}/{file}{optional}").expect("writing to a string");
    }
    text
}

fn aliases(selection: &Selection) -> String {
    let mut text = String::new();
    for (pattern, loads) in &selection.aliases {
        let path = |Load { file, optional }: &Load| {
            format!(" {}/{MODULE_FOLDER}/{file}", if *optional { "-" } else { "" })
        };
        let paths: String = loads.iter().map(path).collect();
        writeln!(text, "{pattern}{paths}").expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Body, Entry};

    const PACKAGES: Packages = Packages { kernel: "kernel", full_kernel: "full", boot_loader: "loader" };

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let folder = "usr/lib/modules/6.12";
        for (name, bytes) in [
            ("modules.dep", &b"overlay.ko:\nvirtio_blk.ko:\n"[..]),
            ("modules.builtin", b"loop.ko\nsquashfs.ko\next4.ko\n"),
            ("modules.softdep", b""),
            ("modules.alias", b"alias virtio:d2v* virtio_blk\n"),
            ("overlay.ko", b"\x7fELF"),
            ("virtio_blk.ko", b"\x7fELF"),
        ] {
            tree.insert(format!("{folder}/{name}"), Entry::file(Body::inline(bytes), 0o644));
        }
        tree.insert(contract::AGENT, Entry::file(Body::inline(*b"agent"), 0o755));
        tree.complete();
        tree
    }

    #[test]
    fn holds_the_agent_the_modules_and_their_lists() {
        let bytes = archive(&tree(), 0, PACKAGES).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for expected in [
            "init\0",
            "/lib/overlay.ko\n",
            "virtio:d2v* /lib/virtio_blk.ko\n",
            "lib/overlay.ko\0",
            "dev/console\0",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
        assert_eq!(bytes, archive(&tree(), 0, PACKAGES).unwrap());
    }

    #[test]
    fn holds_the_firmware_that_a_driver_of_the_disk_names() {
        let mut with = tree();
        let driver = b"\x7fELF\0firmware=maker/disk.bin\0";
        with.insert("usr/lib/modules/6.12/virtio_blk.ko", Entry::file(Body::inline(*driver), 0o644));
        with.insert("usr/lib/firmware/maker/disk.bin", Entry::file(Body::inline(*b"microprogram"), 0o644));
        with.insert("usr/lib/firmware/other.bin", Entry::file(Body::inline(*b"for nothing here"), 0o644));
        let bytes = archive(&with, 0, PACKAGES).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for expected in
            ["lib/firmware\0", "lib/firmware/maker\0", "lib/firmware/maker/disk.bin\0", "microprogram"]
        {
            assert!(text.contains(expected), "{expected}");
        }
        assert!(!text.contains("other.bin"));
    }

    #[test]
    fn a_missing_agent_and_an_old_kernel_are_named() {
        let mut without = tree();
        without.remove(contract::AGENT);
        assert!(archive(&without, 0, PACKAGES).unwrap_err().message().contains("usr/bin/firstboot"));
        let mut old = tree();
        old.insert("boot/config-6.12", Entry::file(Body::inline(*b"# CONFIG_RD_ZSTD is not set\n"), 0o644));
        assert!(archive(&old, 0, PACKAGES).unwrap_err().message().contains("CONFIG_RD_ZSTD"));
        old.insert("boot/config-6.12", Entry::file(Body::inline(*b"CONFIG_X=y\nCONFIG_RD_ZSTD=y\n"), 0o644));
        archive(&old, 0, PACKAGES).unwrap();
    }
}
