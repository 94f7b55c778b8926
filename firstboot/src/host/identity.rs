//! The identity of the machine, which differs from that of a clone of its disk.

pub use contract::product_uuid::doubt;
use ring::digest::{Context, SHA256};

use super::root::Root;
use super::{firmware, system};
use crate::text::hex;

/// A prefix for the hash, so that the identity cannot be used for other purposes.
const DOMAIN: &[u8] = b"firstboot machine identity v1\0";

/// The firmware's UUID, unchanged; none without DMI, as on many arm64 machines.
pub fn product_uuid(root: &Root) -> Option<String> {
    firmware::text(root, "product_uuid")
}

/// 32 hex digits that the system made for itself; none before its first boot.
pub fn machine_id(root: &Root) -> Option<String> {
    system::machine_id(root).filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The machine's identity, 64 hex digits: the SHA-256 of its firmware's UUID if that is usable, else of its
/// machine-id; none if it has neither. A clone of the disk on another (virtual) machine has another identity.
pub fn of(root: &Root) -> Option<String> {
    let firmware = product_uuid(root)
        .filter(|uuid| doubt(uuid).is_none())
        .map(|uuid| format!("uuid:{}", uuid.to_ascii_lowercase()));
    let source =
        firmware.or_else(|| machine_id(root).map(|id| format!("machine-id:{}", id.to_ascii_lowercase())))?;
    let mut context = Context::new(&SHA256);
    context.update(DOMAIN);
    context.update(source.as_bytes());
    Some(hex(context.finish().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (path, text) in files {
            super::super::files::write(&root.path(path), text.as_bytes(), 0o644).unwrap();
        }
        (folder, root)
    }

    const UUID: &str = "/sys/class/dmi/id/product_uuid";
    const ID: &str = "/etc/machine-id";

    #[test]
    fn placeholders_are_doubted() {
        for wrong in [
            "",
            "\n",
            "Not Settable",
            "To Be Filled By O.E.M.",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "4c4c4544-0042",
            "ämlich-nicht",
        ] {
            assert!(doubt(wrong).is_some(), "{wrong}");
        }
        assert_eq!(doubt("4c4c4544-0042-3510-8052-b4c04f4e3232\n"), None);
    }

    #[test]
    fn the_identity_is_the_firmwares_then_the_machine_ids() {
        let id = "0123456789abcdef0123456789abcdef\n";
        let (_a, both) = root_with(&[(UUID, "4C4C4544-0042-3510-8052-B4C04F4E3232\n"), (ID, id)]);
        let (_b, clone) = root_with(&[(UUID, "5c4c4544-0042-3510-8052-b4c04f4e3232\n"), (ID, id)]);
        let (_c, lower) = root_with(&[(UUID, "4c4c4544-0042-3510-8052-b4c04f4e3232\n"), (ID, "another")]);
        let (_d, alone) = root_with(&[(ID, id)]);
        let (_e, bogus) = root_with(&[(UUID, "03000200-0400-0500-0006-000700080009"), (ID, id)]);
        assert_ne!(of(&both), of(&clone), "a cloned disk on another machine");
        assert_eq!(of(&both), of(&lower), "another disk on the same machine");
        assert_eq!(of(&alone), of(&bogus), "a placeholder counts for nothing");
        assert_ne!(of(&alone), of(&both));
        assert_eq!(of(&alone).unwrap().len(), 64);
    }

    #[test]
    fn a_machine_without_any_identifier_has_no_identity() {
        for text in ["", "uninitialized\n", "0123"] {
            let (_folder, root) = root_with(&[(ID, text)]);
            assert_eq!((machine_id(&root), of(&root)), (None, None), "{text}");
        }
    }
}
