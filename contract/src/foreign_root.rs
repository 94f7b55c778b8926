//! Roots that Kiln's initrd does not reach: kernel arguments of other initrds that ask for one.
//!
//! Sources: dracut.cmdline(7), initramfs-tools(7), the kernel's
//! Documentation/admin-guide/nfs/nfsroot.rst.

/// Where a root may be, and how the arguments begin that say so.
const ARGUMENTS: &[(&str, &[&str])] = &[
    (
        "an iSCSI disk",
        &[
            "iscsi_initiator=",
            "iscsi_target_",
            "iscsi_firmware",
            "rd.iscsi.",
            "netroot=iscsi:",
            "root=iscsi:",
            "ip=ibft",
        ],
    ),
    ("an NVMe-oF disk", &["rd.nvmf.", "netroot=nvmf"]),
    ("a multipath disk", &["rd.multipath", "root=/dev/mapper/mpath"]),
    ("an FCoE disk", &["fcoe=", "rd.fcoe"]),
    ("NFS", &["nfsroot=", "root=/dev/nfs", "root=nfs", "netroot=nfs"]),
    ("a network block device", &["netroot=nbd:", "root=nbd:"]),
    ("an encrypted disk", &["rd.luks.uuid=", "rd.luks.name=", "rd.luks.partuuid=", "cryptdevice="]),
    ("a volume of LVM", &["rd.lvm.lv=", "rd.lvm.vg="]),
    ("a software RAID", &["rd.md.uuid="]),
];

/// The place of the root that a kernel argument asks for, where Kiln's initrd does not reach it.
pub fn foreign_root(argument: &str) -> Option<&'static str> {
    // dracut's way to switch a thing off.
    if argument.ends_with("=0") || argument.ends_with("=no") {
        return None;
    }
    let asks = |(_, starts): &&(&str, &[&str])| starts.iter().any(|start| argument.starts_with(start));
    ARGUMENTS.iter().find(asks).map(|(place, _)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_ask_for_a_root_elsewhere_are_known() {
        for (argument, place) in [
            ("netroot=iscsi:@10.0.0.1::3260::iqn.2026-01.example:root", Some("an iSCSI disk")),
            ("rd.iscsi.initiator=iqn.2026-01.example:node", Some("an iSCSI disk")),
            ("iscsi_firmware", Some("an iSCSI disk")),
            ("ip=ibft", Some("an iSCSI disk")),
            ("rd.nvmf.discover=tcp,10.0.0.1,,4420", Some("an NVMe-oF disk")),
            ("rd.multipath=default", Some("a multipath disk")),
            ("root=/dev/mapper/mpatha1", Some("a multipath disk")),
            ("nfsroot=10.0.0.1:/srv/node", Some("NFS")),
            ("rd.multipath=0", None),
            ("rd.luks=0", None),
            ("ip=dhcp", None),
            ("root=PARTUUID=5d1ee8a0-0000-4000-8000-000000000000", None),
            ("console=ttyS0", None),
        ] {
            assert_eq!(foreign_root(argument), place, "{argument}");
        }
    }
}
