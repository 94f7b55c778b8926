//! The identity of a disk: what tells it from another one that shows the same label.

use std::fs;
use std::path::Path;

use super::labels;
use crate::host::files;
use crate::host::root::Root;
use crate::paths;
use crate::text::hex;

/// Longest serial number.
const LONGEST: u64 = 256;
/// Where drivers show a serial number, below the folder of a disk.
const SERIALS: &[&str] = &["serial", "device/serial", "wwid", "device/wwid"];

/// Whether the device holds discs, which the hypervisor's or the machine's owner puts in.
pub fn is_optical(name: &str) -> bool {
    name.starts_with("sr")
}

/// Its place in the machine, its serial number, and the identifier of its file system. An optical disc is
/// known by its drive, because platforms write these discs anew.
pub fn of(root: &Root, name: &str, head: &[u8]) -> String {
    let folder = fs::canonicalize(root.path(Path::new(paths::BLOCK_CLASS).join(name))).unwrap_or_default();
    let whole = match folder.join("partition").exists() {
        true => folder.parent().unwrap_or(&folder),
        false => &folder,
    };
    let text = |path: &Path| {
        let bytes = files::read(path, LONGEST).ok().flatten()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let serial = SERIALS.iter().find_map(|serial| text(&whole.join(serial))).unwrap_or_default();
    let partition = text(&folder.join("partition")).unwrap_or_default();
    let identifier = if is_optical(name) { String::new() } else { hex(labels::identifier(head)) };
    format!("{} {partition} {serial} {identifier}", place(whole))
}

/// The addresses on the buses. Numbers that the kernel counts up as it finds devices differ between boots.
fn place(folder: &Path) -> String {
    let parts = folder.iter().filter_map(|part| part.to_str()?.split_once(':'));
    parts
        .map(|(first, rest)| match rest.contains('.') {
            true => format!("/{first}:{rest}"),
            false => format!("/{rest}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(root: &Root, name: &str, path: &str) {
        fs::create_dir_all(root.path(format!("/sys/devices/{path}"))).unwrap();
        fs::create_dir_all(root.path(paths::BLOCK_CLASS)).unwrap();
        std::os::unix::fs::symlink(
            format!("/sys/devices/{path}"),
            root.entry(Path::new(paths::BLOCK_CLASS).join(name)),
        )
        .unwrap();
    }

    #[test]
    fn a_disk_is_known_by_its_place_its_serial_and_its_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        link(&root, "vdb", "pci0000:00/0000:00:05.0/virtio3/block/vdb");
        link(&root, "sr0", "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sr0");
        files::write(&root.path("/sys/class/block/vdb/serial"), b"vol-1\n", 0o444).unwrap();
        let mut head = vec![0; labels::HEAD];
        head[1080..1082].copy_from_slice(b"\x53\xef");
        head[1128] = 0xab;
        let known = of(&root, "vdb", &head);
        assert!(
            known.contains("/0000:00:05.0") && known.contains("vol-1") && known.contains("ab00"),
            "{known}"
        );
        head[1128] = 0xac;
        assert_ne!(of(&root, "vdb", &head), known, "another file system");
        let disc = of(&root, "sr0", &head);
        assert!(disc.contains("/0000:00:1f.2") && !disc.contains("ac00"), "{disc}");
        assert_eq!(of(&root, "sr0", &[]), disc, "a disc that was written anew");
    }

    #[test]
    fn numbers_that_change_between_boots_do_not_count() {
        let at = |path: &str| place(Path::new(path));
        assert_eq!(
            at("/sys/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sr0"),
            at("/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sr1")
        );
        assert_ne!(
            at("/sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda"),
            at("/sys/devices/pci0000:00/0000:00:05.0/virtio1/block/vda")
        );
    }
}
