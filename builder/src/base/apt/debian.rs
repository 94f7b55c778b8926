//! Debian: a row of the engine.

use super::{Archives, Distribution, Keys, MirrorOption, Security, SnapshotService, Unwanted};
use crate::assembly::Packages;
use crate::base::BaseOption;

/// Debian, from its packages.
pub const DEBIAN: Distribution = Distribution {
    name: "debian",
    title: "Debian",
    suites: &["bookworm", "trixie"],
    ecosystems: &[("bookworm", "Debian:12"), ("trixie", "Debian:13")],
    keys: Keys {
        // The second is the name from Debian 13 on.
        files: &[
            "/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp",
        ],
        package: "debian-archive-keyring",
        fingerprints: &[],
        option: None,
    },
    archives: Archives {
        main: "debian",
        ports: None,
        // The security archive has all its files below this folder, so that both can be served as one.
        security: Security::Own { name: "debian-security", paths: "pool/updates/" },
        components: "main",
        moving_suites: &["sid", "unstable", "experimental"],
    },
    // usrmerge converts a root whose /usr is split and brings Perl for that; Kiln's is never split, and
    // usr-is-merged satisfies the same dependency.
    unwanted: &[Unwanted { package: "usrmerge", except: &[] }],
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
