//! Firmware of the image that is needed before its root is there.

use std::collections::BTreeMap;

use super::compression::{ENDINGS, plain};
use crate::error::{IoContext, Result};
use crate::format::cpio::CpioWriter;
use crate::tree::{Body, Node, Tree};

/// Where images keep their firmware.
const FOLDER: &str = "usr/lib/firmware";

/// The largest microcode file, decompressed, in bytes. The largest real one has some 100 kB.
const LARGEST_MICROCODE: u64 = 16 << 20;

/// The address of an update must be a multiple of this: Intel's Software Developer's Manual, volume 3,
/// "Microcode Update Loader".
const ALIGNMENT: u64 = 16;

/// The folder in which the kernel looks for microcode before it unpacks anything
/// (its Documentation/arch/x86/microcode.rst).
const EARLY: &[&str] = &["kernel", "kernel/x86", "kernel/x86/microcode"];

/// A maker of processors: the file that its kernel code reads, and which files of the image are in it.
struct Maker {
    file: &'static str,
    folder: &'static str,
    starts: &'static str,
}

const MAKERS: [Maker; 2] = [
    Maker { file: "AuthenticAMD.bin", folder: "amd-ucode", starts: "microcode_amd" },
    Maker { file: "GenuineIntel.bin", folder: "intel-ucode", starts: "" },
];

/// The uncompressed archive with the processors' microcode, which comes before the initrd; empty for an
/// image that has none.
///
/// # Errors
/// When a file cannot be read or decompressed.
pub fn microcode(tree: &Tree, epoch: u64) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    for maker in &MAKERS {
        let content = joined(tree, maker)?;
        if !content.is_empty() {
            found.push((format!("{}/{}", EARLY[EARLY.len() - 1], maker.file), content));
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mut cpio = CpioWriter::new(Vec::new(), epoch)?;
    for folder in EARLY {
        cpio.folder(folder, 0o755)?;
    }
    for (path, content) in found {
        cpio.aligned_bytes(&path, 0o644, &content, ALIGNMENT)?;
    }
    cpio.finish()
}

fn joined(tree: &Tree, maker: &Maker) -> Result<Vec<u8>> {
    let folder = format!("{FOLDER}/{}", maker.folder);
    let mut joined = Vec::new();
    for (path, entry) in tree.below(&folder) {
        let name = path.rsplit('/').next().unwrap_or_default();
        // Signatures lie beside the files.
        if !name.starts_with(maker.starts) || name.ends_with(".asc") {
            continue;
        }
        if let Node::File(body) = &entry.node {
            joined.extend(plain(path, &body.read().at("reading", path)?, LARGEST_MICROCODE)?);
        }
    }
    Ok(joined)
}

/// The firmware that a kernel module names (`firmware=` in its section `.modinfo`), as the image has it:
/// below the folder of firmware, compressed or not. Most names are of other devices than a machine has, and
/// an image may lack them.
pub fn of_module(tree: &Tree, module: &[u8], found: &mut BTreeMap<String, Body>) {
    let texts = module.split(|byte| *byte == 0).filter_map(|text| text.strip_prefix(b"firmware="));
    for name in texts.filter_map(|name| std::str::from_utf8(name).ok()) {
        for ending in std::iter::once("").chain(ENDINGS) {
            let name = format!("{name}{ending}");
            if let Some(body) = file(tree, &format!("{FOLDER}/{name}")) {
                found.insert(name, body.clone());
            }
        }
    }
}

/// The file at `path`, through a link to another name in its folder, as firmware of several devices has.
fn file<'a>(tree: &'a Tree, path: &str) -> Option<&'a Body> {
    match &tree.get(path)?.node {
        Node::File(body) => Some(body),
        Node::Symlink(target) => tree.file(&format!("{}/{target}", path.rsplit_once('/')?.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Entry;

    fn tree(files: &[(&str, &[u8])]) -> Tree {
        let mut tree = Tree::default();
        for (name, bytes) in files {
            tree.insert(format!("{FOLDER}/{name}"), Entry::file(Body::inline(*bytes), 0o644));
        }
        tree.complete();
        tree
    }

    #[test]
    fn microcode_of_both_makers_lies_where_the_kernel_and_the_processor_want_it() {
        let packed = zstd::encode_all(&b"second Intel"[..], 1).unwrap();
        let tree = tree(&[
            ("amd-ucode/microcode_amd.bin", b"first AMD, "),
            ("amd-ucode/microcode_amd.bin.asc", b"signature"),
            ("amd-ucode/microcode_amd_fam19h.bin", b"second AMD"),
            ("amd-ucode/README", b"no"),
            ("intel-ucode/06-0f-02", b"first Intel, "),
            ("intel-ucode/06-4f-01.initramfs.zst", &packed),
        ]);
        let archive = microcode(&tree, 0).unwrap();
        for (name, content) in
            [("AuthenticAMD.bin", "first AMD, second AMD"), ("GenuineIntel.bin", "first Intel, second Intel")]
        {
            let find = |what: &[u8]| archive.windows(what.len()).position(|part| part == what).unwrap();
            let at = find(content.as_bytes());
            assert_eq!(at % 16, 0, "{name} at {at}");
            assert!(find(format!("kernel/x86/microcode/{name}\0").as_bytes()) < at);
        }
        assert_eq!(archive.len() % 512, 0);
    }

    #[test]
    fn an_image_without_microcode_has_nothing_before_its_initrd() {
        assert!(microcode(&tree(&[("ql2400_fw.bin", b"x")]), 0).unwrap().is_empty());
    }

    #[test]
    fn the_firmware_that_a_module_names_is_found_as_it_is_compressed() {
        let mut tree = tree(&[("ql2400_fw.bin", b"a"), ("ql2500_fw.bin.zst", b"b"), ("other.bin", b"c")]);
        let module =
            b"\x7fELF\0firmware=ql2500_fw.bin\0firmware=ql2400_fw.bin\0firmware=link.bin\0firmware=absent.bin\0";
        tree.insert(format!("{FOLDER}/link.bin"), Entry::symlink("ql2400_fw.bin"));
        let mut found = BTreeMap::new();
        of_module(&tree, module, &mut found);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["link.bin", "ql2400_fw.bin", "ql2500_fw.bin.zst"]);
    }
}
