//! Debian: a row of the engine.

use super::{Archives, Distribution, MirrorOption, SnapshotService};
use crate::assembly::Packages;
use crate::base::BaseOption;

/// Debian, from its packages.
pub const DEBIAN: Distribution = Distribution {
    name: "debian",
    title: "Debian",
    suites: &["bookworm", "trixie"],
    // The second is the name from Debian 13 on.
    keyrings: &[
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "/usr/share/keyrings/debian-archive-keyring.pgp",
    ],
    keyring_package: "debian-archive-keyring",
    archives: Archives {
        main: "debian",
        security: "debian-security",
        // The security archive has all its files below this folder, so that both can be served as one.
        security_paths: "pool/updates/",
        component: "main",
        moving_suites: &["sid", "unstable", "experimental"],
    },
    // usrmerge converts a root whose /usr is split and brings Perl for that; Kiln's is never split, and
    // usr-is-merged satisfies the same dependency.
    unwanted: &["usrmerge"],
    packages: Packages {
        kernel: "linux-image-cloud-amd64",
        full_kernel: "linux-image-amd64",
        boot_loader: "systemd-boot-efi",
    },
    options: &[
        BaseOption {
            name: "debian-mirror",
            value: "URL[,SECURITY-URL]",
            help: "Debian mirror [default: $KILN_DEBIAN_MIRROR, else the one in this machine's apt configuration]",
        },
        BaseOption {
            name: "debian-snapshots",
            value: "URL",
            help: "Debian's snapshot service, for packages that left the mirrors \
                   [default: $KILN_DEBIAN_SNAPSHOTS, else https://snapshot.debian.org/archive]",
        },
    ],
    mirror: MirrorOption { option: "debian-mirror", variable: "KILN_DEBIAN_MIRROR" },
    // https://snapshot.debian.org: any time is taken as the last one before it at which the archive was
    // copied, every six hours.
    snapshots: SnapshotService {
        option: "debian-snapshots",
        variable: "KILN_DEBIAN_SNAPSHOTS",
        url: "https://snapshot.debian.org/archive",
        main: "debian",
        security: "debian-security",
    },
};
